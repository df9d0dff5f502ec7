//! Behind a proxy that shares its connections among all clients, every answer still belongs to its request.

use crate::proxies::{Kind, Proxy};
use crate::support::Server;
use crate::worker::Worker;
use std::collections::BTreeMap;
use std::time::Duration;

/// Requests through each proxy.
const REQUESTS: u64 = 100_000;
/// Clients at the same time.
const WORKERS: u64 = 8;
/// Fewer than there are clients, so that they share.
const UPSTREAM_CONNECTIONS: usize = 4;
/// How long the proxy waits for a client: longer than any machine makes one wait here.
const IDLE: Duration = Duration::from_secs(30);

#[track_caller]
fn every_answer_belongs_to_its_request(kind: Kind) {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs());
    println!("seed {seed}");
    // A machine that takes a core's CPU away for seconds has its requests refused, which is right and not what this is about.
    let server = Server::start(&[("SHARDS", "2"), ("REQUEST_TIMEOUT_MS", "60000")]);
    let proxy = Proxy::start(kind, server.address(), UPSTREAM_CONNECTIONS, IDLE);
    let mut seen = BTreeMap::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let mut worker = Worker::new(&format!("worker{number}"), proxy.address(), seed + number);
                scope.spawn(move || {
                    worker.run(REQUESTS / WORKERS);
                    worker.seen
                })
            })
            .collect();
        for worker in workers {
            for (status, count) in worker.join().expect("every answer was the right one") {
                *seen.entry(status).or_insert(0) += count;
            }
        }
    });
    println!("{kind:?}: {seen:?}");
    assert_eq!(seen.values().sum::<u64>(), REQUESTS);
    for status in [200, 201, 204, 304, 404] {
        assert!(seen.get(&status).is_some_and(|count| *count > 1_000), "hardly any {status}: {seen:?}");
    }
}

#[test]
fn a_hundred_thousand_requests_through_nginx() {
    every_answer_belongs_to_its_request(Kind::Nginx);
}

#[test]
fn a_hundred_thousand_requests_through_haproxy() {
    every_answer_belongs_to_its_request(Kind::HaProxy);
}
