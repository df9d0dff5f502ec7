//! More requests than may be in progress. What depends on time is measured by `perf/overload`.

use crate::ground::Ground;
use crate::neighbours::beside_those_of;
use crate::support::client::Request;
use crate::support::{Answer, Client, RawConnection};

/// Four requests in progress for each core.
const MAX_INFLIGHT: &str = "8";
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 100;
const PIPELINED: usize = 200;

/// A refusal in its documented form; false if it is none.
#[track_caller]
fn is_refusal(answer: &Answer) -> bool {
    if answer.status != 503 {
        return false;
    }
    let seconds: u32 = answer.required("Retry-After").parse().expect("whole seconds");
    assert!((1..=60).contains(&seconds), "{answer:?}");
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "SERVICE_UNAVAILABLE", "{error}");
    assert!(!error["message"].as_str().expect("a message").is_empty(), "{error}");
    assert!(!answer.closes(), "{answer:?}");
    true
}

/// Requests of a kind, one for each connection, about keys of core 1.
struct Flood {
    connections: Vec<RawConnection>,
    keys: Vec<String>,
    wires: Vec<Vec<u8>>,
    accepted: Vec<u64>,
}

impl Flood {
    fn new(ground: &Ground, name: &str, request: impl Fn(&Client, &str) -> Vec<u8>) -> Self {
        let client = ground.client_of(0);
        let keys: Vec<String> = (0..CONNECTIONS).map(|number| ground.key(1, &format!("{name}-{number}"))).collect();
        Self {
            connections: (0..CONNECTIONS).map(|_| RawConnection::open(ground.of_core(0))).collect(),
            wires: keys.iter().map(|key| request(&client, key)).collect(),
            keys,
            accepted: vec![0; CONNECTIONS],
        }
    }

    /// Asks once on every connection, then hears every answer; how many were refused.
    fn round(&mut self, accepted: impl Fn(&Answer)) -> usize {
        for (connection, wire) in self.connections.iter_mut().zip(&self.wires) {
            connection.send(wire);
        }
        let mut refused = 0;
        for (connection, count) in self.connections.iter_mut().zip(&mut self.accepted) {
            let answer = connection.answer();
            if is_refusal(&answer) {
                refused += 1;
            } else {
                accepted(&answer);
                *count += 1;
            }
        }
        refused
    }
}

fn incr(client: &Client, key: &str) -> Vec<u8> {
    let body = format!("{{\"key\":\"{key}\",\"delta\":1}}");
    let headers = [("Content-Type", "application/json")];
    client.wire(&Request { method: "POST", target: "/v1/kv/incr", headers: &headers, body: Some(body.as_bytes()) })
}

fn put(client: &Client, key: &str) -> Vec<u8> {
    let (target, headers) = (format!("/v1/kv/{key}"), [("If-None-Match", "*"), ("Content-Type", "a/b")]);
    client.wire(&Request { method: "PUT", target: &target, headers: &headers, body: Some(b"written") })
}

/// The neighbour asks core 1, whose share of `MAX_INFLIGHT` the flood at core 0 must not touch.
#[test]
fn each_request_of_a_flood_is_answered_once_and_a_refused_one_has_changed_nothing() {
    let ground = Ground::new(&[("MAX_INFLIGHT", MAX_INFLIGHT)]);
    let refused = beside_those_of(&ground, 1..2, |neighbours| {
        let mut flood = Flood::new(&ground, "counter", incr);
        let refused: usize = (0..ROUNDS).map(|_| flood.round(|answer| assert_eq!(answer.status, 200))).sum();
        neighbours.are_served();
        let mut client = ground.client_of(1);
        for (key, count) in flood.keys.iter().zip(&flood.accepted) {
            let answer = client.get(key);
            let found = if answer.status == 404 { 0 } else { answer.member_text("value").parse().expect("a count") };
            assert_eq!(found, *count, "{key}");
        }
        let accepted: u64 = flood.accepted.iter().sum();
        println!("{accepted} of {} accepted, {refused} refused", ROUNDS * CONNECTIONS);
        assert!(refused > 0 && accepted > 0, "the flood was too weak, or nothing came through: {accepted}, {refused}");
        refused
    });
    assert_eq!(ground.refused("max_inflight"), refused as f64, "each refusal is counted once");
}

#[test]
fn a_refused_write_has_written_nothing() {
    let ground = Ground::new(&[("MAX_INFLIGHT", MAX_INFLIGHT)]);
    beside_those_of(&ground, 1..2, |_| {
        let mut flood = Flood::new(&ground, "key", put);
        let refused = flood.round(|answer| assert_eq!(answer.status, 201));
        let mut client = ground.client_of(1);
        for (key, count) in flood.keys.iter().zip(&flood.accepted) {
            client.get(key).expect_status(if *count == 0 { 404 } else { 200 });
        }
        assert!(refused > 0, "the flood was too weak");
        flood.keys.iter().for_each(|key| drop(client.delete(key)));
    });
}

/// Who has answers under way waits for its turn instead, and who asks for one thing at a time finds a place beside it.
#[test]
fn who_pipelines_waits_and_leaves_places_to_who_does_not() {
    // Sixteen for each core, of which pipelines have twelve.
    let ground = Ground::new(&[("MAX_INFLIGHT", "32")]);
    let key = ground.store(1, "asked-for", 100);
    let wire = format!("GET /v1/kv/{key} HTTP/1.1\r\nHost: t\r\n\r\n").repeat(PIPELINED);
    beside_those_of(&ground, 0..2, |neighbours| {
        let mut pipelines: Vec<RawConnection> = (0..3).map(|_| RawConnection::open(ground.of_core(0))).collect();
        let mut statuses = Vec::new();
        for _ in 0..ROUNDS {
            pipelines.iter_mut().for_each(|connection| connection.send(&wire));
            for connection in &mut pipelines {
                let of_it =
                    (0..PIPELINED).map(|_| connection.answer()).map(|it| if is_refusal(&it) { 503 } else { it.status });
                statuses.extend(of_it);
            }
        }
        neighbours.are_served();
        let refused = statuses.iter().filter(|status| **status == 503).count();
        println!("{refused} of {} refused", statuses.len());
        assert!(statuses.iter().all(|status| [200, 503].contains(status)));
        assert!(refused * 100 < statuses.len(), "{refused} of {} refused", statuses.len());
    });
}
