//! Where a request begins and ends: one table of requests, told to the server in every way that bytes can arrive.

use super::framing_cases::{CASES, Case};
use crate::support::Server;
use crate::support::http::{Next, RawConnection};

/// Requests up to this long are also split in two at each position.
const SPLIT_BYTES_MAX: usize = 256;

fn server_with_key(shards: usize) -> Server {
    let server = Server::with_shards(shards);
    server.client().put_value("k", "1").expect_status(201);
    server
}

/// Reads the answer of `case`, `times` over if the connection goes on, and finds the connection as the case says.
/// A request that ends the connection is answered once however often it was sent.
fn check(case: &Case, how: &str, connection: &mut RawConnection, times: usize) {
    for _ in 0..if case.kept { times } else { 1 } {
        match connection.next() {
            Next::Answer(answer) => assert_eq!(answer.status, case.status, "{}, {how}: {answer:?}", case.name),
            Next::Closed => panic!("{}, {how}: closed without an answer", case.name),
        }
    }
    if case.kept {
        connection.assert_open();
    } else if let Next::Answer(extra) = connection.next() {
        panic!("{}, {how}: one answer too many: {extra:?}", case.name);
    }
}

/// Sends `pieces` one by one. The server may have refused and closed before the last.
fn send_pieces<'a>(connection: &mut RawConnection, pieces: impl IntoIterator<Item = &'a [u8]>) {
    for piece in pieces {
        if !connection.try_send(piece) {
            return;
        }
    }
}

fn for_each_case(shards: usize, run: impl Fn(&Server, &Case)) {
    let server = server_with_key(shards);
    for case in CASES {
        run(&server, case);
    }
}

fn sent_whole(server: &Server, case: &Case) {
    let mut connection = server.connect();
    send_pieces(&mut connection, [case.bytes]);
    check(case, "whole", &mut connection, 1);
}

fn sent_twice_at_once(server: &Server, case: &Case) {
    let mut connection = server.connect();
    send_pieces(&mut connection, [&case.bytes.repeat(2)[..]]);
    check(case, "twice at once", &mut connection, 2);
}

fn sent_byte_by_byte(server: &Server, case: &Case) {
    let mut connection = server.connect();
    send_pieces(&mut connection, case.bytes.chunks(1));
    check(case, "byte by byte", &mut connection, 1);
}

fn sent_in_two(server: &Server, case: &Case) {
    if case.bytes.len() > SPLIT_BYTES_MAX {
        return;
    }
    let mut connection = server.connect();
    for at in 1..case.bytes.len() {
        let (first, second) = case.bytes.split_at(at);
        send_pieces(&mut connection, [first, second]);
        check(case, &format!("split at {at}"), &mut connection, 1);
        if !case.kept {
            connection = server.connect();
        }
    }
}

#[test]
fn requests_sent_whole() {
    for_each_case(1, sent_whole);
    for_each_case(4, sent_whole);
}

#[test]
fn requests_pipelined_twice() {
    for_each_case(1, sent_twice_at_once);
    for_each_case(4, sent_twice_at_once);
}

#[test]
fn requests_byte_by_byte() {
    for_each_case(1, sent_byte_by_byte);
    for_each_case(4, sent_byte_by_byte);
}

#[test]
fn requests_split_at_each_position() {
    for_each_case(1, sent_in_two);
    for_each_case(4, sent_in_two);
}

#[test]
fn a_refused_request_says_that_the_connection_ends() {
    for_each_case(1, |server, case| {
        let mut connection = server.connect();
        send_pieces(&mut connection, [case.bytes]);
        let answer = connection.answer();
        // HTTP/1.0 ends by default, and need not say so.
        let by_default = case.bytes.windows(8).any(|word| word == b"HTTP/1.0");
        assert!(answer.closes() != case.kept || by_default, "{}: {answer:?}", case.name);
    });
}

#[test]
fn what_is_left_of_a_refused_request_is_never_taken_for_another() {
    let server = server_with_key(2);
    let smuggled =
        format!("0\r\n\r\nDELETE /v1/kv/k HTTP/1.1\r\nHost: t\r\nX-API-Token: {}\r\n\r\n", crate::support::TOKEN);
    let head = "POST /v1/kv/incr HTTP/1.1\r\nHost: t\r\n";
    for fields in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", smuggled.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", smuggled.len()),
        format!("Content-Length: 5\r\nContent-Length: {}\r\n", smuggled.len()),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "X: y\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Content-Length: 5 \r\n Transfer-Encoding: chunked\r\n".to_owned(),
    ] {
        let mut connection = server.connect();
        connection.try_send(format!("{head}{fields}\r\n{smuggled}"));
        assert_eq!(connection.answer().status, 400, "{fields:?}");
        connection.assert_closed();
        server.client().get("k").expect_status(200);
    }
}
