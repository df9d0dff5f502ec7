//! The real logrotate with the file that is installed, while the server writes.

use crate::support::{Launch, Server, eventually, eventually_equal};
use crate::{read, tools};
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// What stands for systemd: says that the service runs, and passes the signal on. Any other question fails.
const SYSTEMCTL: &str = r#"#!/bin/sh
case "$*" in
    "is-active --quiet cache-service.service") ;;
    "kill --kill-whom=main --signal=HUP cache-service.service") kill -HUP "$SERVER_PID" ;;
    *) echo "systemctl $*: not expected" >&2; exit 1 ;;
esac
"#;

/// The lines that requests leave in a log.
fn requests_in(text: &str) -> usize {
    text.lines().filter(|line| line.contains(r#""message":"request""#)).count()
}

fn name_of_own(option: &str) -> String {
    let output = Command::new("id").args([option, "--name"]).stdin(Stdio::null()).output().expect("id can be started");
    String::from_utf8(output.stdout).expect("names are text").trim().to_owned()
}

/// Ends the clients when this is dropped, be it by a failure, for the end of which they would be waited for.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The folder with the log, and what rotates it.
struct Rotation {
    folder: TempDir,
}

impl Rotation {
    /// Lays out the installed file, with the folder and the users of this test.
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder to work in");
        let (user, group) = (name_of_own("--user"), name_of_own("--group"));
        let rules = read("systemd/cache-service.logrotate")
            .replace("/var/log/cache-service/*.log", &format!("{}/*.log", folder.path().display()))
            .replace("su cache-service adm", &format!("su {user} {group}"))
            .replace("create 0640 cache-service adm", &format!("create 0640 {user} {group}"));
        assert!(!rules.contains(" adm") && !rules.contains("\n/var/log"), "{rules}");
        fs::write(folder.path().join("rules"), rules).expect("a file can be made");
        fs::set_permissions(folder.path().join("rules"), fs::Permissions::from_mode(0o644)).expect("the file is ours");
        let systemctl = folder.path().join("systemctl");
        fs::write(&systemctl, SYSTEMCTL).expect("a file can be made");
        fs::set_permissions(systemctl, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    /// What a rotation has compressed.
    fn decompress(&self, name: &str) -> String {
        let file = File::open(self.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut text = String::new();
        GzDecoder::new(file).read_to_string(&mut text).unwrap_or_else(|error| panic!("{name}: {error}"));
        text
    }

    /// Rotates, although the day is not over, and waits until the server writes to the new file.
    #[track_caller]
    fn rotate(&self, server: &Server) {
        let mut command = tools::command("logrotate");
        command.args(["--force", "--verbose", "--state"]).args([self.path().join("state"), self.path().join("rules")]);
        let path = std::env::var("PATH").expect("there is a path");
        command.env("PATH", format!("{}:{path}", self.path().display())).env("SERVER_PID", server.pid().to_string());
        let output = tools::succeed(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("running postrotate script") && !said.contains("error:"), "{said}");
        eventually("the server writes to the new file", || self.read("cache.log").contains("in force").then_some(()));
        let mode = fs::metadata(self.path().join("cache.log")).expect("there is a new file").permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "of the new file");
    }
}

#[test]
fn no_line_is_lost_while_logs_are_rotated() {
    let rotation = Rotation::new();
    // What is no `*.log` stays where it is.
    let settings = rotation.path().join("settings");
    fs::write(&settings, "").unwrap();
    let server = Launch::new(&[("SHARDS", "2"), ("LOG_LEVEL", "debug")])
        .args(&["--env-file", settings.to_str().expect("the path is text")])
        .start();
    // Only now, so that the server could say on its standard error where it listens.
    fs::write(&settings, format!("LOG_FILE={}/cache.log\n", rotation.path().display())).unwrap();
    server.signal(libc::SIGHUP);
    eventually("the log goes to its file", || rotation.read("cache.log").contains("in force").then_some(()));

    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut client, mut sent) = (server.client(), 0);
                    while !stop.load(Ordering::Relaxed) {
                        client.get("nothing").expect_status(404);
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        let stop_at_the_end = StopAtTheEnd(&stop);
        let some_requests = || (requests_in(&rotation.read("cache.log")) > 50).then_some(());
        for _ in 0..2 {
            eventually("requests are in the log", some_requests);
            rotation.rotate(&server);
        }
        eventually("requests are in the log", some_requests);
        drop(stop_at_the_end);
        clients.into_iter().map(|client| client.join().expect("a client ends well")).sum::<usize>()
    });

    let rotated = [rotation.decompress("cache.log.2.gz"), rotation.read("cache.log.1")];
    let in_rotated: usize = rotated.iter().map(|text| requests_in(text)).sum();
    eventually_equal("lines of requests in all files", &sent, || in_rotated + requests_in(&rotation.read("cache.log")));
    for text in rotated.iter().chain([&rotation.read("cache.log")]) {
        assert!(requests_in(text) > 0, "a file without a request: {text}");
        assert!(
            text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
            "a torn line: {text}"
        );
    }
}
