//! How the server starts, refuses to start, and ends.

use crate::support::http::{Next, RawConnection};
use crate::support::{Launch, Server, TOKEN, eventually, proc_fs};
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn half_a_put() -> String {
    format!(
        "PUT /v1/kv/k HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nab"
    )
}

/// A connection on which the server waits for the rest of a body.
fn in_flight(server: &Server) -> RawConnection {
    let mut connection = server.connect();
    connection.assert_open();
    connection.send(half_a_put());
    // The request counts as active once its head was read.
    eventually("the request is in flight", || (server.metrics().single("http_active_requests") >= 1.0).then_some(()));
    connection
}

/// Waits until newcomers are refused, turned away, or told that the server is not ready.
fn wait_for_drain(server: &Server) {
    eventually("the server is no longer ready", || {
        let Ok(mut connection) = RawConnection::try_open(server.address()) else { return Some(()) };
        connection.try_send("GET /readyz HTTP/1.1\r\nHost: t\r\n\r\n");
        match connection.next() {
            Next::Closed => Some(()),
            Next::Answer(answer) => (answer.status == 503).then_some(()),
        }
    });
}

#[test]
fn an_idle_server_ends_at_once_and_well() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::start(&[("SHUTDOWN_TIMEOUT_MS", "60000"), ("SHARDS", "2")]);
        let mut idle = server.connect();
        idle.assert_open();
        server.client().put_value("k", "1").expect_status(201);
        server.signal(signal);
        idle.assert_closed();
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn what_is_in_flight_is_finished_before_the_end() {
    let patient = ("REQUEST_TIMEOUT_MS", "60000");
    let mut server = Server::start(&[("SHUTDOWN_TIMEOUT_MS", "60000"), patient, ("SHARDS", "2")]);
    let mut connection = in_flight(&server);
    server.signal(libc::SIGTERM);
    wait_for_drain(&server);
    assert!(server.is_running(), "the server ended while a request was in flight");
    let answer = connection.exchange("cd").expect_status(201);
    assert!(answer.closes(), "{answer:?}");
    connection.assert_closed();
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn what_is_in_flight_for_too_long_does_not_keep_the_server() {
    let mut server = Server::start(&[("SHUTDOWN_TIMEOUT_MS", "300"), ("REQUEST_TIMEOUT_MS", "60000")]);
    let _connection = in_flight(&server);
    server.term();
}

#[test]
fn a_second_signal_ends_it_without_waiting() {
    let mut server = Server::start(&[("SHUTDOWN_TIMEOUT_MS", "60000"), ("REQUEST_TIMEOUT_MS", "60000")]);
    let _connection = in_flight(&server);
    server.signal(libc::SIGTERM);
    wait_for_drain(&server);
    server.term();
}

#[test]
fn a_taken_port_is_told_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, output) = Launch::new(&[("PORT", &port)]).run_to_end();
    assert!(status.code().is_some_and(|code| code != 0), "{status:?}: {output}");
    let naming: Vec<&str> = output.lines().filter(|line| line.contains(&port)).collect();
    assert_eq!(naming.len(), 1, "{output}");
    assert!(naming[0].to_lowercase().contains("in use"), "{output}");
    assert!(!output.contains("panicked"), "{output}");
}

#[test]
fn bad_settings_are_refused_with_a_line_for_each() {
    let (status, output) = Launch::new(&[("SHARDS", "none"), ("MAX_INFLIGHT", "-3")]).run_to_end();
    assert_eq!(status.code(), Some(78), "{output}");
    for (name, value) in [("SHARDS", "none"), ("MAX_INFLIGHT", "-3")] {
        let lines: Vec<&str> = output.lines().filter(|line| line.contains(name)).collect();
        assert_eq!(lines.len(), 1, "lines about {name}:\n{output}");
        assert!(lines[0].contains(value), "{output}");
    }
    assert!(!output.contains("panicked"), "{output}");
}

#[test]
fn the_port_is_free_again_after_the_end() {
    let mut server = Server::start(&[]);
    let port = server.address().port().to_string();
    let mut connection = server.connect();
    connection.assert_open();
    assert_eq!(server.term().code(), Some(0));
    let again = Server::start(&[("PORT", &port)]);
    again.client().get_path("/healthz").expect_status(200);
}

/// Sets the limit of a running server's open descriptors, and gives what it was.
fn limit_fds(server: &Server, fds: u64) -> u64 {
    proc_fs::set_soft_limit(server.pid(), libc::RLIMIT_NOFILE, fds)
}

/// A server whose one core has no descriptor for a connection that waits.
struct ShortOfFds {
    server: Server,
    in_flight: RawConnection,
    waiting: RawConnection,
    fds: u64,
}

fn short_of_fds() -> ShortOfFds {
    let server = Server::start(&[("SHARDS", "1"), ("SHUTDOWN_TIMEOUT_MS", "60000"), ("REQUEST_TIMEOUT_MS", "60000")]);
    let in_flight = in_flight(&server);
    let fds = limit_fds(&server, 3);
    let waiting = RawConnection::open(server.address());
    server.log_line("why nobody is let in", |line| line.contains("cannot accept connections"));
    ShortOfFds { server, in_flight, waiting, fds }
}

#[test]
fn who_waits_for_want_of_descriptors_is_let_in_when_there_are_some() {
    let mut short = short_of_fds();
    limit_fds(&short.server, short.fds);
    short.waiting.assert_open();
}

#[test]
fn a_server_that_ends_short_of_descriptors_waits_in_its_sleep() {
    let ShortOfFds { mut server, mut in_flight, .. } = short_of_fds();
    server.signal(libc::SIGTERM);
    server.log_line("that it ends", |line| line.contains("SIGTERM"));
    let (before, began) = (proc_fs::cpu_time(server.pid()), Instant::now());
    std::thread::sleep(Duration::from_millis(500));
    let (worked, passed) = (proc_fs::cpu_time(server.pid()) - before, began.elapsed());
    assert!(worked < passed / 2, "{worked:?} of {passed:?}");
    in_flight.exchange("cd").expect_status(201);
    assert_eq!(server.wait().code(), Some(0));
}
