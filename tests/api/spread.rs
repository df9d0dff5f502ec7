//! Every key is found from every connection, however many shards there are, and every shard has its part.

use crate::support::{Launch, Server, eventually_equal, proc_fs};

const KEYS: usize = 400;
const CONNECTIONS: usize = 24;

fn keys_are_found_over_other_connections(server: &Server, shards: usize) {
    let mut writers: Vec<_> = (0..CONNECTIONS).map(|_| server.client()).collect();
    for n in 0..KEYS {
        writers[n % CONNECTIONS].put_value(&format!("key-{n}"), &n.to_string()).expect_status(201);
    }
    let mut readers: Vec<_> = (0..CONNECTIONS).map(|_| server.client()).collect();
    for n in 0..KEYS {
        let answer = readers[n * 5 % CONNECTIONS].get(&format!("key-{n}")).expect_status(200);
        assert_eq!(answer.member_text("value"), n.to_string());
    }
    for (n, reader) in readers.iter_mut().enumerate().take(10) {
        reader.get(&format!("absent-{n}")).expect_status(404);
    }
    check_counts(server, shards);
}

fn check_counts(server: &Server, shards: usize) {
    let sums = || {
        let metrics = server.metrics();
        ["cache_entries_total", "cache_hits_total", "cache_misses_total", "cache_sets_total"]
            .map(|name| metrics.sum(name))
    };
    let keys = KEYS as f64;
    eventually_equal("entries, hits, misses, sets", &[keys, keys, 10.0, keys], sums);
    let metrics = server.metrics();
    let entries = metrics.all("cache_entries_total");
    assert_eq!(entries.len(), shards, "{entries:?}");
    assert!(entries.iter().all(|(labels, count)| labels.contains_key("shard") && *count > 0.0), "{entries:?}");
}

#[test]
fn one_shard() {
    keys_are_found_over_other_connections(&Server::with_shards(1), 1);
}

#[test]
fn two_shards() {
    keys_are_found_over_other_connections(&Server::with_shards(2), 2);
}

#[test]
fn four_shards() {
    keys_are_found_over_other_connections(&Server::with_shards(4), 4);
}

#[test]
fn eight_shards() {
    keys_are_found_over_other_connections(&Server::with_shards(8), 8);
}

#[test]
fn one_processor_and_so_one_shard() {
    let cpu = *proc_fs::own_cpus().last().expect("there is a processor");
    let server = Launch::new(&[]).on_cpus(&cpu.to_string()).start();
    keys_are_found_over_other_connections(&server, 1);
}
