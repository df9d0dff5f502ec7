//! The notify protocol of systemd, heard at a real socket.

use crate::support::{Launch, Server, TOKEN, eventually};
use crate::tracer::Held;
use cache_service::limits::{PING_MS, SILENT_AFTER_PINGS};
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread::sleep;
use std::time::Duration;

/// What systemd would hear.
struct Manager(UnixDatagram);

impl Manager {
    fn at(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        Self(socket)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let len = self.0.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..len].to_vec()).expect("text")
    }
}

fn value<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn ready_reloading_and_stopping_are_told_in_this_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify");
    let config = dir.path().join("config.toml");
    fs::write(&config, "").expect("a file");
    let manager = Manager::at(UnixDatagram::bind(&path).expect("a socket"));
    let mut server = Launch::new(&[("NOTIFY_SOCKET", path.to_str().expect("text"))])
        .args(&["--config", config.to_str().expect("text")])
        .start();
    let ready = manager.next();
    assert_eq!(value(&ready, "READY"), Some("1"));
    assert!(value(&ready, "STATUS").is_some_and(|it| it.contains(&server.address().to_string())), "{ready}");
    // Whoever waited for this finds the port open.
    server.client().put_value("k", "1").expect_status(201);
    for (text, words) in [("max_inflight = 7", "in force"), ("max_inflight = \"many\"", "refused")] {
        fs::write(&config, text).expect("a file");
        server.signal(libc::SIGHUP);
        let reloading = manager.next();
        assert_eq!(value(&reloading, "RELOADING"), Some("1"));
        assert!(value(&reloading, "MONOTONIC_USEC").and_then(|it| it.parse::<u64>().ok()).is_some(), "{reloading}");
        let ready = manager.next();
        assert_eq!(value(&ready, "READY"), Some("1"), "a bad file must not leave the unit reloading");
        assert!(value(&ready, "STATUS").is_some_and(|it| it.contains(words)), "{ready}");
    }
    server.signal(libc::SIGTERM);
    assert_eq!(value(&manager.next(), "STOPPING"), Some("1"));
    assert!(server.wait().success());
}

#[test]
fn an_abstract_socket_is_understood() {
    let name = format!("cache-service-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let manager = Manager::at(UnixDatagram::bind_addr(&address).expect("a socket"));
    let _server = Server::start(&[("NOTIFY_SOCKET", &format!("@{name}"))]);
    assert_eq!(value(&manager.next(), "READY"), Some("1"));
}

#[test]
fn the_watchdog_is_fed_until_a_core_hangs() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify");
    let manager = Manager::at(UnixDatagram::bind(&path).expect("a socket"));
    let notify = path.to_str().expect("text");
    let mut server = Server::start(&[("NOTIFY_SOCKET", notify), ("WATCHDOG_USEC", "300000"), ("SHARDS", "2")]);
    let fed = (0..12).map(|_| manager.next()).filter(|message| message == "WATCHDOG=1").count();
    assert!(fed >= 10, "{fed}");
    let held = Held::stop(server.pid(), "core-1");
    // Fed for as long as a core may be silent before that is noticed, and not after; long before the server ends itself.
    let noticed_after = Duration::from_millis(SILENT_AFTER_PINGS * PING_MS);
    let silence = noticed_after + Duration::from_secs(1);
    manager.0.set_read_timeout(Some(silence)).expect("a time-out");
    let end = loop {
        if let Err(error) = manager.0.recv(&mut [0; 64]) {
            break error;
        }
    };
    assert!(matches!(end.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{end}");
    assert!(server.is_running(), "it was silent because it had ended");
    held.release();
    assert_eq!(manager.next(), "WATCHDOG=1", "fed again when the core answers again");
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify");
    let manager = Manager::at(UnixDatagram::bind(&path).expect("a socket"));
    let notify = path.to_str().expect("text");
    let mut server = Server::start(&[("NOTIFY_SOCKET", notify), ("WATCHDOG_USEC", "100000"), ("WATCHDOG_PID", "1")]);
    assert_eq!(value(&manager.next(), "READY"), Some("1"));
    // Its own watchdog would have been fed some ten times by then.
    sleep(Duration::from_millis(400));
    server.signal(libc::SIGTERM);
    assert_eq!(value(&manager.next(), "STOPPING"), Some("1"), "nothing came between");
    server.wait();
}

#[test]
fn a_manager_that_does_not_listen_stops_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify");
    let full = UnixDatagram::bind(&path).expect("a socket");
    let filler = UnixDatagram::unbound().expect("a socket");
    filler.connect(&path).expect("it is there");
    filler.set_nonblocking(true).expect("a flag");
    while filler.send(b"x").is_ok() {}
    let notify = path.to_str().expect("text");
    let server = Server::start(&[("NOTIFY_SOCKET", notify), ("WATCHDOG_USEC", "30000"), ("METRICS_INTERVAL_MS", "20")]);
    server.client_with(Some(TOKEN)).put_value("k", "1").expect_status(201);
    // The supervisor still does its other work: the process's numbers go on.
    let cpu = |server: &Server| server.metrics().single("process_cpu_seconds_total");
    let before = cpu(&server);
    eventually("the numbers of the process are read again", || {
        server.client().get("k").expect_status(200);
        (cpu(&server) > before).then_some(())
    });
    // A server that is told to end does so, whoever listens.
    let mut server = server;
    server.signal(libc::SIGHUP);
    assert!(server.term().success());
    drop(full);
    let nowhere = Server::start(&[("NOTIFY_SOCKET", "/nowhere/notify")]);
    nowhere.log_line("a warning", |line| line.contains("NOTIFY_SOCKET"));
}
