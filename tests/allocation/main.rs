//! A GET that hits its own core's shard allocates nothing on a warm connection.
//!
//! This binary counts what every thread of its own takes from the allocator. The engine is driven by hand, as the
//! runtime drives it, so that nothing but the engine is counted.

mod counting;
mod warm;

use warm::{PUT_VALUE, Warm};

/// Requests counted, over ten seconds of the engine's clock: an allocation once a second would show.
const REQUESTS: usize = 10_000;

/// Heads that a GET may come with: what it asks for and how it is recognised must not cost an allocation.
const GETS: [(&str, &str); 8] = [
    ("JSON", "GET /v1/kv/key HTTP/1.1\r\nHost: t\r\n"),
    ("JSON with its times", "GET /v1/kv/key?includeMeta=true HTTP/1.1\r\nHost: t\r\n"),
    ("raw", "GET /v1/kv/key?raw=true HTTP/1.1\r\nHost: t\r\n"),
    ("raw by Accept", "GET /v1/kv/key HTTP/1.1\r\nHost: t\r\nAccept: application/octet-stream\r\n"),
    ("bytes as JSON", "GET /v1/kv/bytes HTTP/1.1\r\nHost: t\r\n"),
    ("raw bytes", "GET /v1/kv/bytes?raw=true HTTP/1.1\r\nHost: t\r\n"),
    ("percent-encoded", "GET /v1/kv/%6Bey HTTP/1.1\r\nHost: t\r\n"),
    (
        "as a browser asks",
        "GET /v1/kv/key HTTP/1.1\r\nHost: t\r\nUser-Agent: a/1.0 (b)\r\nAccept: text/html,*/*;q=0.8\r\n\
         Accept-Encoding: gzip, br\r\nConnection: keep-alive\r\nCookie: a=b\r\n",
    ),
];

/// More fields, which any GET may have.
const FIELDS: [&str; 2] = ["", "X-Request-ID: 6f1e2d\r\n"];

#[test]
fn a_get_that_hits_allocates_nothing() {
    for reads_need_a_token in [false, true] {
        let mut warm = Warm::new(reads_need_a_token);
        for (what, get) in GETS {
            for fields in FIELDS {
                let wire = format!("{get}{fields}{}\r\n", Warm::TOKEN_FIELD);
                let allocations = warm.allocations_of(REQUESTS, wire.as_bytes(), b"HTTP/1.1 200 ");
                assert_eq!(allocations, 0, "{what}, {fields:?}, reads need a token: {reads_need_a_token}");
            }
        }
    }
}

#[test]
fn a_get_without_a_token_or_with_a_bearer_allocates_nothing() {
    let mut open = Warm::new(false);
    let wire = b"GET /v1/kv/key HTTP/1.1\r\nHost: t\r\n\r\n";
    assert_eq!(open.allocations_of(REQUESTS, wire, b"HTTP/1.1 200 "), 0);
    let mut closed = Warm::new(true);
    let wire = format!("GET /v1/kv/key HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\n\r\n", Warm::TOKEN);
    assert_eq!(closed.allocations_of(REQUESTS, wire.as_bytes(), b"HTTP/1.1 200 "), 0);
}

#[test]
fn a_miss_allocates_nothing_but_the_body_of_its_answer() {
    let miss = b"GET /v1/kv/absent?raw=true HTTP/1.1\r\nHost: t\r\n\r\n";
    let allocations = Warm::new(false).allocations_of(REQUESTS, miss, b"HTTP/1.1 404 ");
    assert!(allocations <= REQUESTS as u64, "{allocations} allocations in {REQUESTS} misses");
}

#[test]
fn heads_and_unchanged_answers_allocate_nothing() {
    let mut warm = Warm::new(false);
    let head = b"HEAD /v1/kv/key HTTP/1.1\r\nHost: t\r\n\r\n";
    assert_eq!(warm.allocations_of(REQUESTS, head, b"HTTP/1.1 200 "), 0);
    let unchanged = b"GET /v1/kv/key HTTP/1.1\r\nHost: t\r\nIf-None-Match: *\r\n\r\n";
    assert_eq!(warm.allocations_of(REQUESTS, unchanged, b"HTTP/1.1 304 "), 0);
}

#[test]
fn pipelined_gets_allocate_nothing() {
    let mut warm = Warm::new(false);
    let wire = b"GET /v1/kv/key HTTP/1.1\r\nHost: t\r\n\r\n".repeat(32);
    assert_eq!(warm.allocations_of(REQUESTS / 32, &wire, b"HTTP/1.1 200 "), 0);
}

#[test]
fn a_put_in_place_of_a_value_as_long_allocates_once_at_most() {
    let mut warm = Warm::new(false);
    let json = Warm::put("key", "", PUT_VALUE);
    let bytes = Warm::put("bytes?ttlSec=86400", "Content-Type: application/x-thing\r\n", "more bytes");
    for wire in [json, bytes] {
        let allocations = warm.allocations_of(REQUESTS, wire.as_bytes(), b"HTTP/1.1 200 ");
        println!("{allocations} allocations in {REQUESTS} PUTs");
        assert!(allocations <= REQUESTS as u64, "{allocations} allocations in {REQUESTS} PUTs");
    }
}

#[test]
fn the_counter_counts() {
    let before = counting::allocations();
    let boxed = std::hint::black_box(Box::new(1_u64));
    let mut grown = std::hint::black_box(vec![*boxed]);
    grown.reserve(1_000);
    drop(std::hint::black_box(grown));
    assert_eq!(counting::allocations() - before, 3);
}
