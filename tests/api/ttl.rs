//! Expiry.

use crate::support::{Server, eventually, eventually_equal};

#[test]
fn an_expired_key_is_gone_for_every_operation() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("k", r#"{"value":1,"ttlSec":1}"#).expect_status(201);
    eventually("the key expires", || (client.get("k").status == 404).then_some(()));
    assert_eq!(client.head("k").status, 404);
    client.delete("k").expect_status(404);
    client.put_with("k", r#"{"value":2}"#, &[("If-Match", "*")]).expect_status(409);
    let batch = client.post("/v1/kv/batch/get", r#"{"keys":["k"]}"#).expect_status(200).json();
    assert_eq!(batch["misses"], serde_json::json!(["k"]));
    client.put("k", r#"{"value":2}"#).expect_status(201);
}

#[test]
fn a_counter_that_expired_starts_again_at_zero() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.post("/v1/kv/incr", r#"{"key":"n","delta":5,"ttlSec":1}"#).expect_status(200);
    eventually("the counter expires", || (client.get("n").status == 404).then_some(()));
    let answer = client.post("/v1/kv/incr", r#"{"key":"n","delta":5}"#).expect_status(200);
    assert_eq!(answer.member_text("value"), "5");
}

#[test]
fn memory_of_expired_keys_is_freed_though_nobody_touches_them() {
    let server = Server::with_shards(2);
    let mut client = server.client();
    for n in 0..200 {
        client.put(&format!("k{n}"), r#"{"value":"some text that takes memory","ttlSec":1}"#).expect_status(201);
    }
    client.put_value("stays", "1").expect_status(201);
    eventually_equal("entries", &1.0, || server.metrics().sum("cache_entries_total"));
    eventually_equal("expirations", &200.0, || server.metrics().sum("cache_expirations_total"));
    client.get("stays").expect_status(200);
}

#[test]
fn a_rewrite_replaces_the_expiry() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("k", r#"{"value":1,"ttlSec":1}"#).expect_status(201);
    client.put("witness", r#"{"value":1,"ttlSec":1}"#).expect_status(201);
    let rewritten = client.put("k", r#"{"value":2}"#);
    assert!(rewritten.json().get("expiresAt").is_none(), "{}", rewritten.text());
    eventually("a key of the old age expires", || (client.get("witness").status == 404).then_some(()));
    assert_eq!(client.get("k").expect_status(200).member_text("value"), "2");
}

#[test]
fn a_write_with_a_ttl_says_when_it_expires() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let with = client.put("k", r#"{"value":1,"ttlSec":2147483647}"#).expect_status(201).json();
    assert!(!with["expiresAt"].is_null(), "{with}");
    for none in [r#"{"value":1,"ttlSec":0}"#, r#"{"value":1}"#] {
        let without = client.put("k", none).expect_status(200).json();
        assert!(without.get("expiresAt").is_none(), "{without}");
    }
}

#[test]
fn a_ttl_that_is_not_allowed_is_refused() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for ttl in ["-1", "2147483648", "1.5", "\"10\"", "true", "[]", "1e30", "99999999999999999999"] {
        client.put("k", &format!("{{\"value\":1,\"ttlSec\":{ttl}}}")).expect_status(400);
    }
    for ttl in ["-1", "2147483648", "1.5", "x", ""] {
        client.put_bytes(&format!("k?ttlSec={ttl}"), "text/plain", b"x").expect_status(400);
    }
    client.get("k").expect_status(404);
}
