//! How much is too much.

use crate::support::client::Request;
use crate::support::http::Next;
use crate::support::{RawConnection, Server, TOKEN, eventually, proc_fs};

const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEAD_FIELDS_MAX: usize = 64;
const MAX_ITEM_BYTES: usize = 4096;

fn server() -> Server {
    Server::start(&[("MAX_ITEM_BYTES", &MAX_ITEM_BYTES.to_string()), ("SHARDS", "2")])
}

/// A GET whose head has exactly `bytes` bytes.
fn head_of(bytes: usize) -> String {
    let (start, end) = ("GET /v1/kv/absent HTTP/1.1\r\nHost: t\r\nX: ", "\r\n\r\n");
    format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len()))
}

#[test]
fn a_head_of_16_kib_is_taken_and_one_byte_more_is_431() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    assert_eq!(connection.exchange(head_of(HEAD_BYTES_MAX)).status, 404);
    assert_eq!(connection.exchange(head_of(HEAD_BYTES_MAX)).status, 404);
    connection.try_send(head_of(HEAD_BYTES_MAX + 1));
    assert_eq!(connection.answer().status, 431);
    connection.assert_closed();
}

#[test]
fn a_head_that_never_ends_is_431() {
    let server = Server::start(&[]);
    for start in ["GET /", "GET /v1/kv/k HTTP/1.1\r\nX: "] {
        let mut connection = server.connect();
        connection.try_send(format!("{start}{}", "x".repeat(HEAD_BYTES_MAX + 1)));
        assert_eq!(connection.answer().status, 431);
        connection.assert_closed();
    }
}

#[test]
fn sixty_four_fields_are_taken_and_one_more_is_431() {
    let server = Server::start(&[]);
    let with_fields =
        |count: usize| format!("GET /v1/kv/absent HTTP/1.1\r\nHost: t\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    let mut connection = server.connect();
    assert_eq!(connection.exchange(with_fields(HEAD_FIELDS_MAX)).status, 404);
    connection.try_send(with_fields(HEAD_FIELDS_MAX + 1));
    assert_eq!(connection.answer().status, 431);
    connection.assert_closed();
}

#[test]
fn a_value_may_have_as_many_bytes_as_configured_and_no_more() {
    let server = server();
    let mut client = server.client();
    for key in ["a", "b", "c", "d"] {
        let most = format!("\"{}\"", "x".repeat(MAX_ITEM_BYTES - 2));
        client.put_value(key, &most).expect_status(201);
        let more = format!("\"{}\"", "x".repeat(MAX_ITEM_BYTES - 1));
        let answer = client.put_value(key, &more).expect_status(413);
        assert_eq!(answer.json()["error"]["code"], "PAYLOAD_TOO_LARGE");
        assert_eq!(client.get(key).member_text("value"), most);
        client.put_bytes(key, "text/plain", &[b'x'; MAX_ITEM_BYTES]).expect_status(200);
        client.put_bytes(key, "text/plain", &[b'x'; MAX_ITEM_BYTES + 1]).expect_status(413);
        assert_eq!(client.get(&format!("{key}?raw=true")).body.len(), MAX_ITEM_BYTES);
    }
}

#[test]
fn too_large_a_body_is_refused_from_the_head() {
    let server = server();
    for (media, length) in [
        ("application/json", MAX_ITEM_BYTES + 4096 + 1),
        ("application/octet-stream", MAX_ITEM_BYTES + 1),
        ("application/json", usize::MAX / 2),
    ] {
        let mut connection = server.connect();
        // No byte of the body is ever sent.
        connection.send(format!(
            "PUT /v1/kv/k HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n"
        ));
        assert_eq!(connection.answer().status, 413, "{media} {length}");
    }
    server.client().get("k").expect_status(404);
}

#[test]
fn too_large_a_chunked_body_is_refused_as_it_grows() {
    let server = server();
    let mut connection = server.connect();
    connection.send(format!(
        "PUT /v1/kv/k HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    for _ in 0..=MAX_ITEM_BYTES / 0x400 + 8 {
        if !connection.try_send(&chunk) {
            break;
        }
    }
    // The last chunk is never sent.
    assert_eq!(connection.answer().status, 413);
    server.client().get("k").expect_status(404);
}

#[test]
fn a_batch_may_be_larger_than_an_item() {
    let server = server();
    let mut client = server.client();
    let item = |n: usize, bytes: usize| format!("{{\"key\":\"k{n}\",\"value\":\"{}\"}}", "x".repeat(bytes));
    let items: Vec<String> = (0..100).map(|n| item(n, 4000)).collect();
    client.post("/v1/kv/batch/set", &format!("{{\"items\":[{}]}}", items.join(","))).expect_status(200);
    let mixed = format!("{{\"items\":[{},{}]}}", item(1, MAX_ITEM_BYTES), item(2, 5));
    let results = client.post("/v1/kv/batch/set", &mixed).expect_status(200).json();
    assert_eq!(
        (&results["results"][0]["status"], &results["results"][1]["status"]),
        (&"error".into(), &"updated".into())
    );
    let body = " ".repeat(1024 * 1024 + 1);
    let request = Request { method: "POST", target: "/v1/kv/batch/set", headers: &[], body: Some(body.as_bytes()) };
    client.send(&request).expect_status(413);
}

#[test]
fn connections_beyond_the_limit_do_not_harm_those_within() {
    let server = Server::start(&[("MAX_CONNECTIONS", "20"), ("SHARDS", "2")]);
    let mut within: Vec<_> = (0..10).map(|_| server.connect()).collect();
    within.iter_mut().for_each(RawConnection::assert_open);
    let fds_within = proc_fs::open_fds(server.pid());
    let mut beyond: Vec<_> = (0..100).filter_map(|_| RawConnection::try_open(server.address()).ok()).collect();
    for connection in &mut beyond {
        connection.try_send("GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    within.iter_mut().for_each(RawConnection::assert_open);
    // A connection may be accepted before it is turned away, but does not stay.
    eventually("no more connections than allowed are held", || {
        (proc_fs::open_fds(server.pid()) <= fds_within + 10).then_some(())
    });
    drop(beyond);
    eventually("new connections are served again", || {
        let mut connection = RawConnection::try_open(server.address()).ok()?;
        connection.try_send("GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n");
        matches!(connection.next(), Next::Answer(answer) if answer.status == 200).then_some(())
    });
}

#[test]
fn a_head_that_stands_still_ends_its_connection() {
    let server = Server::start(&[("HEADER_TIMEOUT_MS", "200"), ("IDLE_TIMEOUT_MS", "300")]);
    let mut slow = server.connect();
    slow.send("GET /v1/kv/k HTTP/1.1\r\nHo");
    let answer = slow.answer().expect_status(408);
    assert_eq!(answer.json()["error"]["code"], "REQUEST_TIMEOUT");
    assert!(answer.closes(), "{answer:?}");
    slow.assert_closed();
    let mut idle = server.connect();
    idle.assert_open();
    idle.assert_closed();
}

#[test]
fn a_body_that_stands_still_is_408() {
    let server = Server::start(&[("REQUEST_TIMEOUT_MS", "200")]);
    let mut connection = server.connect();
    connection.send(format!(
        "PUT /v1/kv/k HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nab"
    ));
    let answer = connection.answer().expect_status(408);
    assert_eq!(answer.json()["error"]["code"], "REQUEST_TIMEOUT");
    connection.assert_closed();
    server.client().get("k").expect_status(404);
}
