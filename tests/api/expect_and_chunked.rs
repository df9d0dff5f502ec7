//! `Expect: 100-continue`, and bodies in chunks.

use crate::support::{Server, TOKEN};

fn put_head(fields: &str) -> String {
    format!(
        "PUT /v1/kv/k HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: application/json\r\n{fields}\r\n"
    )
}

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    for (expect, status) in [("100-continue", 201), ("100-Continue", 200)] {
        connection.send(put_head(&format!("Content-Length: 11\r\nExpect: {expect}\r\n")));
        connection.interim_continue();
        connection.send("{\"value\":1}");
        assert_eq!(connection.answer().status, status);
    }
    connection.send(put_head("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"));
    connection.interim_continue();
    assert_eq!(connection.exchange("b\r\n{\"value\":2}\r\n0\r\n\r\n").status, 200);
    assert_eq!(server.client().get("k").member_text("value"), "2");
}

#[test]
fn a_client_that_will_be_refused_is_not_told_to_go_on() {
    let server = Server::start(&[("MAX_ITEM_BYTES", "4096")]);
    let cases = [
        (put_head("Content-Length: 100000000\r\nExpect: 100-continue\r\n"), 413),
        (put_head("Content-Length: 11\r\nExpect: 100-continue\r\n").replace(TOKEN, "wrong"), 401),
        (put_head("Content-Length: 11\r\nExpect: 100-continue\r\n").replace("/v1/kv/k", "/nowhere"), 404),
    ];
    for (head, status) in cases {
        let mut connection = server.connect();
        connection.send(&head);
        assert_eq!(connection.answer().status, status, "{head}");
    }
}

#[test]
fn an_http_1_0_client_is_never_told_to_go_on() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    let head = put_head("Content-Length: 11\r\nExpect: 100-continue\r\n").replace("HTTP/1.1", "HTTP/1.0");
    connection.send(head + "{\"value\":1}");
    assert_eq!(connection.answer().status, 201);
}

#[test]
fn a_body_that_comes_along_needs_no_leave() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    connection.send(put_head("Content-Length: 11\r\nExpect: 100-continue\r\n") + "{\"value\":1}");
    // An interim answer may come or not; the final one must.
    let first = connection.next_status();
    let last = if first == 100 { connection.next_status() } else { first };
    assert_eq!(last, 201);
    connection.assert_open();
}

#[test]
fn chunks_of_any_size_make_one_value() {
    let server = Server::with_shards(2);
    let value: String = (0..100_000_u32).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let body = format!("{{\"value\":\"{value}\"}}");
    let mut connection = server.connect();
    for size in [1_usize, 2, 7, 1_000, 16_384, 65_537, 1_000_000] {
        let body = if size < 100 { "{\"value\":\"short\"}" } else { &body };
        let mut wire = put_head("Transfer-Encoding: chunked\r\n").into_bytes();
        for chunk in body.as_bytes().chunks(size) {
            wire.extend_from_slice(format!("{:x};extension=\"x\"\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
        connection.send(&wire);
        assert!(matches!(connection.answer().status, 200 | 201), "chunks of {size}");
        let stored = server.client().get("k?raw=true");
        assert!(stored.body == if size < 100 { b"short" } else { value.as_bytes() }, "chunks of {size}");
    }
}

#[test]
fn a_chunked_body_of_bytes_is_stored_as_such() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    let head = put_head("Transfer-Encoding: chunked\r\n").replace("application/json", "image/png");
    connection.send(head + "3\r\n\x01\r\n\r\n1\r\n\x02\r\n0\r\n\r\n");
    assert_eq!(connection.answer().status, 201);
    assert_eq!(server.client().get("k?raw=true").body, b"\x01\r\n\x02");
}

#[test]
fn a_chunked_body_cut_short_changes_nothing() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    connection.send(put_head("Transfer-Encoding: chunked\r\n") + "b\r\n{\"value\":1}\r\n");
    connection.finish_sending();
    if let crate::support::http::Next::Answer(answer) = connection.next() {
        assert!(matches!(answer.status, 400 | 408), "{answer:?}");
    }
    server.client().get("k").expect_status(404);
}
