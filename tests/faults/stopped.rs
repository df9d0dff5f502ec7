//! A process that is stopped for longer than every timeout, and goes on. (For longer than the watchdog's patience:
//! `runtime/watchdog.rs`.)

use crate::support::{Launch, Server, TOKEN, eventually, proc_fs};
use crate::wire::{Wire, get, put};
use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

/// Every patience that can be set, in milliseconds.
const PATIENCE_MS: &str = "300";
/// Longer than that, and than a lifetime of one second.
const STOPPED_FOR: Duration = Duration::from_millis(1_500);
/// How often a server under load is stopped.
const STOPS: usize = 4;

fn impatient() -> Server {
    Server::start(&[
        ("SHARDS", "2"),
        ("REQUEST_TIMEOUT_MS", PATIENCE_MS),
        ("HEADER_TIMEOUT_MS", PATIENCE_MS),
        ("IDLE_TIMEOUT_MS", "60000"),
    ])
}

/// Stops the server, does `meanwhile`, and lets it go on after a while.
fn stop(server: &Server, meanwhile: impl FnOnce()) {
    server.signal(libc::SIGSTOP);
    // Each thread stops when it comes to hear of it.
    eventually("all threads have stopped", || proc_fs::is_stopped(server.pid()).then_some(()));
    meanwhile();
    sleep(STOPPED_FOR);
    server.signal(libc::SIGCONT);
}

#[test]
fn what_was_due_while_the_server_was_stopped_is_gone_when_it_goes_on() {
    let server = impatient();
    let mut client = server.client();
    let keys: Vec<String> = (0..20).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        client.put(key, r#"{"value":"short","ttlSec":1}"#).expect_status(201);
        client.put(&format!("long-{key}"), r#"{"value":"long","ttlSec":600}"#).expect_status(201);
    }
    let mut waiting: Vec<Wire> = keys.iter().map(|_| Wire::open(server.address()).expect("it listens")).collect();
    // The requests are there before it goes on, and answered first of all.
    stop(&server, || {
        for (key, wire) in keys.iter().zip(&mut waiting) {
            assert!(wire.send(get(key).as_bytes()));
        }
    });
    for (key, mut wire) in keys.iter().zip(waiting) {
        assert_eq!(wire.reply().expect("an answer").status, 404, "{key} has outlived its time");
        client.get(&format!("long-{key}")).expect_status(200);
    }
}

#[test]
fn who_sent_in_time_is_not_called_late_because_the_server_was_stopped() {
    let server = impatient();
    let head = format!("PUT /v1/kv/k HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: text/plain\r\n");
    let halves = [
        (head.clone(), "Content-Length: 4\r\n\r\nabcd".to_owned()),
        (format!("{head}Content-Length: 4\r\n\r\nab"), "cd".to_owned()),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"), "2\r\ncd\r\n0\r\n\r\n".to_owned()),
    ];
    for (first, second) in halves {
        let mut wire = Wire::open(server.address()).expect("it listens");
        assert!(wire.send(first.as_bytes()));
        // The server has read that much when it answers somebody who came later, or it reads all at once.
        server.client().get_path("/healthz").expect_status(200);
        stop(&server, || assert!(wire.send(second.as_bytes())));
        let reply = wire.reply().expect("an answer");
        assert!(matches!(reply.status, 200 | 201), "{first:?}: {reply:?}");
    }
}

/// Connections in the middle of a body.
const UPLOADS: usize = 200;

#[test]
fn two_hundred_uploads_that_went_on_while_the_server_was_stopped_are_taken() {
    let server = impatient();
    let request = |n: usize| put(&format!("upload-{n}"), &format!("{n:04}").repeat(5_000));
    let mut uploads: Vec<Wire> = (0..UPLOADS).map(|_| Wire::open(server.address()).expect("it listens")).collect();
    for (n, wire) in uploads.iter_mut().enumerate() {
        assert!(wire.send(&request(n).as_bytes()[..500]));
    }
    let in_flight = || (server.metrics().single("http_active_requests") as usize == UPLOADS).then_some(());
    eventually("all uploads are under way", in_flight);
    stop(&server, || {
        for (n, wire) in uploads.iter_mut().enumerate() {
            assert!(wire.send(&request(n).as_bytes()[500..]));
        }
    });
    let statuses: Vec<u16> = uploads.iter_mut().map(|wire| wire.reply().expect("an answer").status).collect();
    assert_eq!(statuses, [201; UPLOADS]);
}

#[test]
fn under_load_every_answer_is_right_or_says_that_there_is_none() {
    let server = impatient();
    let stopping = AtomicBool::new(true);
    let counts: Vec<[usize; 2]> = thread::scope(|scope| {
        let (server, stopping) = (&server, &stopping);
        let clients: Vec<_> = (0..4).map(|me| scope.spawn(move || load(me, server, stopping))).collect();
        for _ in 0..STOPS {
            stop(server, || {});
            sleep(Duration::from_millis(100));
        }
        stopping.store(false, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("every answer was right")).collect()
    });
    for [answered, refused] in counts {
        println!("{answered} requests done, {refused} refused");
        assert!(answered > 100, "{answered} answers are too few to mean anything");
        assert!(refused <= 8 * STOPS, "{refused} requests were refused over {STOPS} stops");
    }
}

/// Writes and reads keys of its own while `stopping` lasts; gives how many requests were done and how many refused.
fn load(me: usize, server: &Server, stopping: &AtomicBool) -> [usize; 2] {
    let mut held: BTreeMap<usize, String> = BTreeMap::new();
    let mut wire = Wire::open(server.address()).expect("it listens");
    let (mut done, mut refused) = (0, 0);
    for step in 0.. {
        if !stopping.load(Ordering::Relaxed) {
            break;
        }
        let (key, value) = (step % 50, format!("value {step} of client {me}"));
        let name = format!("client-{me}-key-{key}");
        let [put_status, get_status, value_read] = {
            assert!(wire.send((put(&name, &value) + &get(&name)).as_bytes()));
            let (first, second) = (wire.reply().expect("an answer"), wire.reply().expect("an answer"));
            [first.status.to_string(), second.status.to_string(), second.body]
        };
        match (put_status.as_str(), get_status.as_str()) {
            ("200" | "201", "200") => {
                assert_eq!(value_read, value, "of {name}");
                held.insert(key, value);
                done += 1;
            }
            // What is refused has not taken place.
            ("503", "200") => {
                assert_eq!(held.get(&key), Some(&value_read), "of {name}, whose PUT was refused");
                refused += 1;
            }
            ("503", "404") => {
                assert_eq!(held.get(&key), None, "of {name}, whose PUT was refused");
                refused += 1;
            }
            ("200" | "201", "503") => {
                held.insert(key, value);
                refused += 1;
            }
            ("503", "503") => refused += 1,
            other => panic!("{other:?} of {name}"),
        }
    }
    [done, refused]
}

#[test]
fn systemd_hears_of_a_server_again_that_was_stopped() {
    let folder = tempfile::tempdir().expect("a folder to work in");
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).expect("a socket can be made");
    systemd.set_read_timeout(Some(crate::support::PATIENCE)).expect("the socket takes a timeout");
    let env = [("NOTIFY_SOCKET", path.to_str().expect("the path is text")), ("WATCHDOG_USEC", "300000")];
    let server = Launch::new(&env).start();
    let hear = |wanted: &str| {
        let mut message = [0; 512];
        loop {
            let length = systemd.recv(&mut message).expect("systemd hears of the server");
            if message[..length] == *wanted.as_bytes() {
                return;
            }
        }
    };
    hear("WATCHDOG=1");
    server.signal(libc::SIGSTOP);
    sleep(STOPPED_FOR);
    systemd.set_nonblocking(true).expect("a socket can be made non-blocking");
    while systemd.recv(&mut [0; 512]).is_ok() {}
    systemd.set_nonblocking(false).expect("a socket can be made blocking");
    server.signal(libc::SIGCONT);
    hear("WATCHDOG=1");
}
