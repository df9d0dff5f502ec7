//! Clients come, go and vanish; what they used is given back.

use crate::support::proc_fs;
use crate::support::{RawConnection, Server, TOKEN, eventually};

/// More than any leak of connection state that matters would stay under, less than a leak of buffers would take.
const RESIDENT_GROWTH_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Descriptors that may come and go by themselves while the test looks: its own scrape, for example.
const FD_SLACK: usize = 4;

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let descriptors = proc_fs::raise_fd_limit();
    // This process and the server each hold one end.
    let count = usize::try_from(descriptors / 2).unwrap_or(usize::MAX).min(1_000);
    let server = Server::start(&[("SHARDS", "2"), ("MAX_CONNECTIONS", "2000"), ("MAX_INFLIGHT", "2000")]);
    // Whatever a first request brings into being is not a leak.
    server.client().put_value("k", "1").expect_status(201);
    server.metrics();
    let (fds_before, resident_before) = (proc_fs::open_fds(server.pid()), proc_fs::resident_bytes(server.pid()));

    let mut idle: Vec<RawConnection> = (0..count).map(|_| server.connect()).collect();
    for connection in &mut idle {
        let answer = connection.exchange("GET /v1/kv/k HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(answer.status, 200);
    }
    let mut dropped = idle.split_off(count / 2);
    for connection in &mut dropped {
        connection.send(format!(
            "PUT /v1/kv/half HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Length: 100000\r\n\r\nhalf a body"
        ));
    }
    let (dropped_count, idle_count) = (dropped.len(), idle.len());
    drop(dropped);
    eventually("the dropped connections are closed", || {
        (proc_fs::open_fds(server.pid()) <= fds_before + idle_count + FD_SLACK).then_some(())
    });
    eventually("no request is active but the scrape itself", || {
        (server.metrics().single("http_active_requests") <= 1.0).then_some(())
    });
    idle.iter_mut().for_each(RawConnection::assert_open);
    drop(idle);
    eventually("all connections are closed", || {
        (proc_fs::open_fds(server.pid()) <= fds_before + FD_SLACK).then_some(())
    });
    let growth = proc_fs::resident_bytes(server.pid()).saturating_sub(resident_before);
    assert!(growth < RESIDENT_GROWTH_BYTES_MAX, "{growth} bytes more after {idle_count} idle, {dropped_count} dropped");
    server.client().get("k").expect_status(200);
    server.client().get("half").expect_status(404);
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
    assert!(growth < RESIDENT_GROWTH_BYTES_MAX, "{growth} bytes more for a client that does not read");
}
