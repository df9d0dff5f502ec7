//! Answers come in the order of their requests, whichever core knows them.

use crate::support::client::Request;
use crate::support::{Client, Server};
use std::io::Write as _;

const REQUESTS: usize = 1_000;
const KEYS: usize = 50;

/// What the answer to a pipelined request must be.
enum Expected {
    /// The value of key number so and so.
    Value(usize),
    /// A HEAD of an existing key.
    Head,
    /// This status.
    Status(u16),
}

/// Request number `n` of a mix over own and foreign keys, present and absent ones, and routes without a key.
fn request(client: &Client, n: usize) -> (Vec<u8>, Expected) {
    let key = n * 7 % KEYS;
    let target = format!("/v1/kv/k{key}");
    let plain = |method, target| client.wire(&Request { method, target, ..Request::default() });
    match n % 10 {
        3 => (plain("HEAD", &target), Expected::Head),
        4 => (plain("GET", &format!("/v1/kv/absent{n}")), Expected::Status(404)),
        5 => {
            let body = format!("{{\"value\":\"value of k{key}\"}}");
            let request = Request {
                method: "PUT",
                target: &target,
                headers: &[("Content-Type", "application/json")],
                body: Some(body.as_bytes()),
            };
            (client.wire(&request), Expected::Status(200))
        }
        6 => (plain("GET", "/nowhere"), Expected::Status(404)),
        7 => (plain("POST", &target), Expected::Status(405)),
        8 => (plain("DELETE", &format!("/v1/kv/absent{n}")), Expected::Status(404)),
        _ => (plain("GET", &target), Expected::Value(key)),
    }
}

fn a_thousand_at_once(shards: usize) {
    let server = Server::with_shards(shards);
    let mut client = server.client();
    for key in 0..KEYS {
        client.put_value(&format!("k{key}"), &format!("\"value of k{key}\"")).expect_status(201);
    }
    let (wires, expected): (Vec<_>, Vec<_>) = (0..REQUESTS).map(|n| request(&client, n)).unzip();
    let mut connection = server.connect();
    let mut writer = connection.writer();
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&wires.concat()).expect("the server reads on"));
        for (n, expected) in expected.iter().enumerate() {
            match expected {
                Expected::Value(key) => {
                    let answer = connection.answer().expect_status(200);
                    assert_eq!(answer.member_text("value"), format!("\"value of k{key}\""), "answer {n}");
                }
                Expected::Head => assert_eq!(connection.answer_to_head().status, 200, "answer {n}"),
                Expected::Status(status) => assert_eq!(connection.answer().status, *status, "answer {n}"),
            }
        }
    });
    connection.assert_open();
}

#[test]
fn a_thousand_mixed_requests_at_once_on_one_shard() {
    a_thousand_at_once(1);
}

#[test]
fn a_thousand_mixed_requests_at_once_on_four_shards() {
    a_thousand_at_once(4);
}

#[test]
fn a_write_is_seen_by_the_read_behind_it() {
    let server = Server::with_shards(4);
    let client = server.client();
    let mut connection = server.connect();
    for key in 0..20 {
        let target = format!("/v1/kv/k{key}");
        let json = [("Content-Type", "application/json")];
        let put =
            client.wire(&Request { method: "PUT", target: &target, headers: &json, body: Some(b"{\"value\":7}") });
        let get = client.wire(&Request { target: &target, ..Request::default() });
        let delete = client.wire(&Request { method: "DELETE", target: &target, ..Request::default() });
        connection.send([&put[..], &get, &delete, &get, &put, &get].concat());
        let statuses: Vec<u16> = (0..6).map(|_| connection.answer().status).collect();
        assert_eq!(statuses, [201, 200, 204, 404, 201, 200], "{target}");
    }
}

#[test]
fn long_answers_keep_their_place() {
    let server = Server::with_shards(2);
    let mut client = server.client();
    let long = |n: usize| format!("\"{}\"", char::from(b'a' + n as u8).to_string().repeat(100_000 * (n % 3) + 1));
    for n in 0..8 {
        client.put_value(&format!("k{n}"), &long(n)).expect_status(201);
    }
    let wire: Vec<u8> = (0..64)
        .flat_map(|n| client.wire(&Request { target: &format!("/v1/kv/k{}", n % 8), ..Request::default() }))
        .collect();
    let mut connection = server.connect();
    connection.send(wire);
    for n in 0..64 {
        assert!(connection.answer().expect_status(200).member_text("value") == long(n % 8), "answer {n}");
    }
}
