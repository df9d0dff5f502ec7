//! Counters.

use crate::support::{Client, Server};

fn incr(client: &mut Client, delta: &str) -> crate::support::Answer {
    client.post("/v1/kv/incr", &format!("{{\"key\":\"n\",\"delta\":{delta}}}"))
}

#[test]
fn an_absent_counter_starts_at_zero_and_counts_both_ways() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (delta, value) in [("5", "5"), ("-7", "-2"), ("0", "-2"), ("2", "0")] {
        let answer = incr(&mut client, delta).expect_status(200);
        assert_eq!(answer.member_text("value"), value);
        let stored = client.get("n").expect_status(200);
        assert_eq!((stored.member_text("value"), stored.version()), (value.to_owned(), answer.version()));
        assert_eq!(stored.json()["type"], "number");
    }
}

#[test]
fn integers_are_exact_to_64_bits_and_overflow_changes_nothing() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put_value("n", "9223372036854775806").expect_status(201);
    assert_eq!(incr(&mut client, "1").expect_status(200).member_text("value"), "9223372036854775807");
    let version = client.get("n").version();
    incr(&mut client, "1").expect_status(400);
    assert_eq!(client.get("n").version(), version);
    client.put_value("n", "-9223372036854775807").expect_status(200);
    assert_eq!(incr(&mut client, "-1").expect_status(200).member_text("value"), "-9223372036854775808");
    incr(&mut client, "-1").expect_status(400);
    assert_eq!(incr(&mut client, "9223372036854775807").expect_status(200).member_text("value"), "-1");
}

#[test]
fn what_is_not_a_number_is_not_counted() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for value in ["\"1\"", "true", "[1]", "{}"] {
        client.put_value("n", value);
        incr(&mut client, "1").expect_status(400);
        assert_eq!(client.get("n").member_text("value"), value);
    }
    client.put_bytes("n", "text/plain", b"1").expect_status(200);
    incr(&mut client, "1").expect_status(400);
}

#[test]
fn a_bad_request_to_count_is_refused() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let bad = [
        r#"{"delta":1}"#,
        r#"{"key":"n"}"#,
        r#"{"key":"n","delta":"1"}"#,
        r#"{"key":"n","delta":1.5}"#,
        r#"{"key":"n","delta":9223372036854775808}"#,
        r#"{"key":"n","delta":null}"#,
        r#"{"key":"","delta":1}"#,
        r#"{"key":5,"delta":1}"#,
        r#"{"key":"n","delta":1,"ttlSec":-1}"#,
        "[]",
        "",
    ];
    for body in bad {
        client.post("/v1/kv/incr", body).expect_status(400);
    }
    client.get("n").expect_status(404);
}

#[test]
fn the_expiry_is_kept_unless_another_is_given() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("n", r#"{"value":1,"ttlSec":100000}"#).expect_status(201);
    let expiry = |client: &mut Client| client.get("n?includeMeta=true").expect_status(200).json()["expiresAt"].clone();
    let before = expiry(&mut client);
    incr(&mut client, "1").expect_status(200);
    assert!(!before.is_null() && expiry(&mut client) == before);
    client.post("/v1/kv/incr", r#"{"key":"n","delta":1,"ttlSec":200000}"#).expect_status(200);
    assert_ne!(expiry(&mut client), before);
    client.post("/v1/kv/incr", r#"{"key":"n","delta":1,"ttlSec":0}"#).expect_status(200);
    assert!(expiry(&mut client).is_null(), "0 means no expiry");
}

#[test]
fn no_count_is_lost_between_connections() {
    let server = Server::with_shards(2);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..50 {
                    incr(&mut client, "1").expect_status(200);
                }
            });
        }
    });
    assert_eq!(server.client().get("n").member_text("value"), "400");
}
