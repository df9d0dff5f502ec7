//! The server under the filters of system calls that the container profile and the unit install.

use crate::support::{Launch, PATIENCE, eventually};
use crate::{file, tools};
use std::fs;
use std::os::unix::net::UnixDatagram;
use tempfile::TempDir;

/// Debian's Python, which Debian's binding of libseccomp is for.
const PYTHON: &str = "/usr/bin/python3";
/// The exit code for a machine that does not give the server what it needs.
const EX_UNAVAILABLE: i32 = 69;

/// The words in front of the server that have it run under a filter.
fn filtered(kind: &str, path: &str, more: &[&str], env: &[(&str, &str)]) -> Launch {
    // Installs what is missing.
    tools::command(PYTHON);
    let (script, path) = (file("tests/packaging/scripts/under_filter.py"), file(path));
    let [script, path] = [&script, &path].map(|path| path.to_str().expect("the path is text"));
    let env: Vec<_> = [("SHARDS", "2")].iter().chain(env).copied().collect();
    Launch::new(&env).under(&[PYTHON, script, kind, path]).under(more).under(&["--"])
}

/// Has the server do everything that needs the kernel: start, serve, share work, write a log, read again, drain.
#[track_caller]
fn assert_works(kind: &str, path: &str) {
    let folder = TempDir::new().expect("a folder to work in");
    let (settings, log) = (folder.path().join("settings"), folder.path().join("log"));
    fs::write(&settings, "").expect("a file can be made");
    let notify = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&notify).expect("a socket can be made");
    systemd.set_read_timeout(Some(PATIENCE)).expect("the socket takes a timeout");
    // A name has to be found, for which the C library asks the kernel in more than one way.
    let env = [("HOST", "localhost"), ("NOTIFY_SOCKET", notify.to_str().expect("the path is text"))];
    let launch = filtered(kind, path, &[], &env);
    let mut server = launch.args(&["--env-file", settings.to_str().expect("the path is text")]).start();

    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server lives");
    let mode = status.lines().find(|line| line.starts_with("Seccomp:")).expect("the kernel has seccomp");
    assert_eq!(mode.split_whitespace().last(), Some("2"), "no filter is in force: {mode}");

    let mut message = [0; 512];
    let length = systemd.recv(&mut message).expect("systemd is told that the server is ready");
    let message = String::from_utf8_lossy(&message[..length]);
    assert!(message.contains("READY=1"), "{message}");

    let mut client = server.client();
    client.get_path("/healthz").expect_status(200);
    // So many keys that both shards have some, and a value that travels in slices.
    for number in 0..32 {
        client.put(&format!("key-{number}"), &format!(r#"{{"value":{number}}}"#)).expect_status(201);
        assert_eq!(client.get(&format!("key-{number}")).expect_status(200).json()["value"], number);
    }
    let long = vec![b'x'; 8 << 20];
    client.put_bytes("long", "application/octet-stream", &long).expect_status(201);
    assert_eq!(client.get_path("/v1/kv/long?raw=true").expect_status(200).body.len(), long.len());
    assert!(server.metrics().text().contains("process_"), "the process does not see itself");

    fs::write(&settings, format!("LOG_FILE={}\nMAX_ITEM_BYTES=100\n", log.display())).expect("a file can be written");
    server.signal(libc::SIGHUP);
    eventually("the log goes to its file", || fs::read_to_string(&log).ok()?.contains("in force").then_some(()));
    eventually("the cores take the new limit", || {
        (client.put_bytes("long", "application/octet-stream", &long).status == 413).then_some(())
    });
    assert_eq!(server.term().code(), Some(0));
    let log = fs::read_to_string(log).expect("there is a log");
    assert!(log.contains("everything in progress was finished"), "{log}");
}

#[test]
fn the_server_works_under_the_profile_of_the_container() {
    assert_works("profile", "container/seccomp.json");
}

#[test]
fn the_server_works_under_the_filter_and_the_limits_of_the_unit() {
    assert_works("unit", "systemd/cache-service.service");
}

#[test]
fn a_profile_that_forbids_io_uring_is_named_as_what_keeps_the_server_from_starting() {
    let without = ["--without", "io_uring_setup,io_uring_enter,io_uring_register"];
    let (status, output) = filtered("profile", "container/seccomp.json", &without, &[]).run_to_end();
    assert_eq!(status.code(), Some(EX_UNAVAILABLE), "{output}");
    for word in ["io_uring", "seccomp"] {
        assert!(output.contains(word), "no `{word}` in: {output}");
    }
}
