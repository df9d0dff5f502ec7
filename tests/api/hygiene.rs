//! Clients come, go and vanish; what they used is given back.

use crate::support::{RawConnection, Server, TOKEN, eventually, eventually_equal, proc_fs};
use std::io::Read as _;

/// Connections of one round; half of them stay idle until its end, the others are dropped in the middle of something.
const CONNECTIONS: usize = 1_000;
/// What this process and the server need each: the connections, and room for the tests that run beside this one.
const DESCRIPTORS_MIN: u64 = 4_096;
/// How often a thousand connections come and go.
const ROUNDS: usize = 8;
/// After two rounds all that is kept for the next connections is there, but for buffers that an unlucky round needs at
/// once. A leak of 6 KiB for each connection would be seen.
const ROUND_GROWTH_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// More than the buffers of one connection can take, far less than the answers that it does not read.
const DEAF_GROWTH_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Descriptors that may come and go by themselves while the test looks: its own scrape, for example.
const FD_SLACK: usize = 4;
/// Longer than what the kernel buffers for a client that does not read.
const LONG_VALUE_BYTES: usize = 8_000_000;

/// Where a connection is dropped.
const HALF_A_HEAD: &str = "GET /v1/kv/k HTTP/1.1\r\nHost: t\r\nX-Half: a fie";
const A_LONG_ANSWER: &str = "GET /v1/kv/long HTTP/1.1\r\nHost: t\r\n\r\n";

fn half_a_body() -> String {
    format!(
        "PUT /v1/kv/half HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\nhalf a body"
    )
}

/// Twenty requests of which none is read the answer, and a part of one more.
fn half_a_pipeline() -> String {
    "GET /v1/kv/k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(20) + HALF_A_HEAD
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let descriptors = proc_fs::raise_fd_limit();
    assert!(
        descriptors >= DESCRIPTORS_MIN,
        "this test needs {DESCRIPTORS_MIN} open files and may have {descriptors}: raise `ulimit -n`"
    );
    let server = Server::start(&[
        ("SHARDS", "2"),
        ("MAX_CONNECTIONS", "2000"),
        ("MAX_INFLIGHT", "4000"),
        ("MAX_ITEM_BYTES", &LONG_VALUE_BYTES.to_string()),
        ("REQUEST_TIMEOUT_MS", "60000"),
        ("HEADER_TIMEOUT_MS", "60000"),
    ]);
    // Whatever a first request brings into being is not a leak.
    server.client().put_value("k", "1").expect_status(201);
    server.client().put_bytes("long", "text/plain", &vec![b'x'; LONG_VALUE_BYTES]).expect_status(201);
    assert_in_flight(&server, 0);
    let fds = proc_fs::open_fds(server.pid());
    let resident: Vec<u64> = (0..ROUNDS).map(|_| round(&server, fds)).collect();
    let growth = resident[ROUNDS - 1].saturating_sub(resident[1]);
    assert!(growth < ROUND_GROWTH_BYTES_MAX, "{growth} bytes more since the second round: {resident:?}");
    server.client().get("k").expect_status(200);
    server.client().get("half").expect_status(404);
}

/// A thousand connections come and go. Gives the memory that is resident afterwards.
fn round(server: &Server, fds_before: usize) -> u64 {
    let mut idle: Vec<RawConnection> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    idle.iter_mut().for_each(RawConnection::assert_open);
    let opened = proc_fs::open_fds(server.pid()).saturating_sub(fds_before);
    assert!(opened.abs_diff(CONNECTIONS) <= FD_SLACK, "{opened} connections are open");

    let mut dropped = idle.split_off(CONNECTIONS / 2);
    let (half_bodies, others) = dropped.split_at_mut(CONNECTIONS / 8);
    let (half_heads, others) = others.split_at_mut(CONNECTIONS / 8);
    let (half_pipelines, long_answers) = others.split_at_mut(CONNECTIONS / 8);
    half_bodies.iter_mut().for_each(|connection| connection.send(half_a_body()));
    half_heads.iter_mut().for_each(|connection| connection.send(HALF_A_HEAD));
    half_pipelines.iter_mut().for_each(|connection| connection.send(half_a_pipeline()));
    // The answers to the pipelines are with the kernel, and what is half a head is no request yet.
    assert_in_flight(server, half_bodies.len());
    // How much of a long answer the kernel takes is its own affair, so these are not counted: they have begun.
    long_answers.iter_mut().for_each(|connection| connection.send(A_LONG_ANSWER));
    long_answers.iter().for_each(assert_begins_well);
    drop(dropped);
    eventually("the dropped connections are closed", || {
        (proc_fs::open_fds(server.pid()) <= fds_before + idle.len() + FD_SLACK).then_some(())
    });
    assert_in_flight(server, 0);
    idle.iter_mut().for_each(RawConnection::assert_open);
    drop(idle);
    eventually("all connections are closed", || {
        (proc_fs::open_fds(server.pid()) <= fds_before + FD_SLACK).then_some(())
    });
    assert_in_flight(server, 0);
    proc_fs::resident_bytes(server.pid())
}

/// Reads the status of an answer and no more of it.
fn assert_begins_well(connection: &RawConnection) {
    let mut start = [0; 12];
    connection.writer().read_exact(&mut start).expect("an answer begins");
    assert_eq!(&start, b"HTTP/1.1 200");
}

/// Waits until so many requests are in progress. The scrape does not count itself.
#[track_caller]
fn assert_in_flight(server: &Server, count: usize) {
    eventually_equal("requests in progress", &(count as f64), || server.metrics().single("http_active_requests"));
}

#[test]
fn a_client_that_does_not_read_does_not_make_the_server_grow() {
    let server = Server::with_shards(2);
    let mut client = server.client();
    client.put_value("k", &format!("\"{}\"", "x".repeat(100_000))).expect_status(201);
    let before = proc_fs::resident_bytes(server.pid());
    let mut deaf = server.connect();
    // 20,000 answers of 100 KB would be 2 GB. The server stops reading, so sending them stops at some point as well.
    let writer = deaf.writer();
    writer.set_nonblocking(true).expect("a socket can be made non-blocking");
    let request = "GET /v1/kv/k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(100);
    for _ in 0..200 {
        if !deaf.try_send(&request) {
            break;
        }
    }
    server.client().get_path("/healthz").expect_status(200);
    client.get("k").expect_status(200);
    let growth = proc_fs::resident_bytes(server.pid()).saturating_sub(before);
    assert!(growth < DEAF_GROWTH_BYTES_MAX, "{growth} bytes more for a client that does not read");
}
