//! What the memory budget means for single requests.

use crate::support::{Server, eventually};

const BUDGET_BYTES: usize = 2 << 20;

fn small_server() -> Server {
    Server::start(&[("MEMORY_BUDGET_BYTES", &BUDGET_BYTES.to_string()), ("SHARDS", "2")])
}

#[test]
fn a_value_that_no_shard_can_hold_is_413_and_evicts_nothing() {
    let server = small_server();
    let mut client = server.client();
    for n in 0..50 {
        client.put_bytes(&format!("k{n}"), "x/y", &[7; 10_000]).expect_status(201);
    }
    for bytes in [BUDGET_BYTES * 3 / 4, BUDGET_BYTES * 2] {
        let mut client = server.client();
        let answer = client.put_bytes("long", "x/y", &vec![7; bytes]).expect_status(413);
        assert_eq!(answer.header("Retry-After"), None, "trying again would not help");
    }
    assert_eq!(server.metrics().sum("cache_entries_total"), 50.0);
}

#[test]
fn more_than_the_budget_evicts_the_oldest_and_keeps_within_it() {
    let server = small_server();
    let mut client = server.client();
    for n in 0..500 {
        client.put_bytes(&format!("k{n}"), "x/y", &[7; 10_000]).expect_status(201);
    }
    client.get("k499").expect_status(200);
    client.get("k0").expect_status(404);
    let metrics = server.metrics();
    assert!(metrics.sum("cache_memory_bytes") <= BUDGET_BYTES as f64);
    assert_eq!(metrics.sum("cache_evictions_total"), 500.0 - metrics.sum("cache_entries_total"));
}

#[test]
fn what_has_expired_is_freed_without_being_touched() {
    let server = small_server();
    let mut client = server.client();
    for n in 0..100 {
        client.put_bytes(&format!("k{n}?ttlSec=1"), "x/y", &[7; 1_000]).expect_status(201);
    }
    eventually("all entries are gone", || (server.metrics().sum("cache_entries_total") == 0.0).then_some(()));
    assert_eq!(server.metrics().sum("cache_expirations_total"), 100.0);
}
