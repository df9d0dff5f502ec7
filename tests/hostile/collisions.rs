//! Keys that were chosen to collide, by somebody who was told the seed: see `/v1/topology`.

use crate::bystander::beside_a_bystander;
use crate::ground::Ground;
use crate::neighbours::beside;
use cache_service::limits::INDEX_TABLES_MIN;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The tag that a key's slot has, in bits: see `shard::index`.
const TAG_BITS: u32 = 15;
/// Where the tag begins.
const TABLE_BITS: u32 = 10;
/// Keys that share a table and a tag; each takes a million attempts to find.
const COLLIDING: usize = 48;

/// Keys of core 0 that all belong to the same place of the smallest index.
fn colliding_keys(ground: &Ground, count: usize) -> Vec<String> {
    let router = ground.router();
    let place = |hash: u64| (hash % INDEX_TABLES_MIN as u64, hash >> TABLE_BITS & ((1 << TAG_BITS) - 1));
    let (mut wanted, mut found) = (None, Vec::new());
    for number in 0_u64.. {
        let key = format!("{number:x}");
        let hash = router.hash(key.as_bytes());
        if router.owner(hash).0 == 0 && *wanted.get_or_insert(place(hash.0)) == place(hash.0) {
            found.push(key);
            if found.len() == count {
                break;
            }
        }
    }
    found
}

#[test]
fn keys_that_collide_are_kept_apart() {
    // A part of 2 MiB for each shard: the index has as few tables as there are.
    let ground = Ground::new(&[("MEMORY_BUDGET_BYTES", "4194304")]);
    let keys = colliding_keys(&ground, COLLIDING);
    beside(&ground, |neighbours| {
        let mut client = ground.client_of(1);
        for (number, key) in keys.iter().enumerate() {
            client.put_value(key, &number.to_string()).expect_status(201);
        }
        neighbours.are_served();
        for key in keys.iter().step_by(2) {
            client.delete(key).expect_status(204);
        }
        for (number, key) in keys.iter().enumerate() {
            match number % 2 {
                0 => drop(client.get(key).expect_status(404)),
                _ => assert_eq!(client.get(key).expect_status(200).member_text("value"), number.to_string()),
            }
        }
        keys.iter().skip(1).step_by(2).for_each(|key| drop(client.delete(key).expect_status(204)));
    });
    assert_eq!(ground.sum("cache_evictions_total"), 0.0);
}

/// All that is written belongs to core 0: what core 1 holds, and whom it serves, is not touched.
#[test]
fn a_flood_of_keys_of_one_core_evicts_nothing_of_another() {
    let ground = Ground::new(&[("MEMORY_BUDGET_BYTES", "8388608")]);
    let kept: Vec<String> = (0..200).map(|number| ground.key(1, &format!("kept-{number}"))).collect();
    let mut client = ground.client_of(1);
    kept.iter().for_each(|key| drop(client.put_value(key, "\"kept\"").expect_status(201)));
    drop(client);
    beside_a_bystander(&ground, |bystander| {
        let before = bystander.rounds();
        let mut hostile = ground.client_of(0);
        for number in 0..3_000 {
            let key = ground.key(0, &format!("flood-{number}"));
            let answer = hostile.put_bytes(&key, "a/b", &[b'x'; 4_000]);
            assert!(answer.status == 201, "{answer:?}");
        }
        println!("{} rounds of the bystander during the flood", bystander.rounds() - before);
    });
    let mut client = ground.client_of(1);
    kept.iter().for_each(|key| assert_eq!(client.get(key).expect_status(200).member_text("value"), "\"kept\""));
    assert_only_core_0_evicts(&ground, 1_000.0);
}

#[track_caller]
fn assert_only_core_0_evicts(ground: &Ground, least: f64) {
    let evicted = |shard| ground.server.metrics().sum_where("cache_evictions_total", &[("shard", shard)]);
    assert!(evicted("0") > least, "the flood was too weak: {} evicted", evicted("0"));
    assert_eq!(evicted("1"), 0.0);
}

/// Several at once, as fast as they can, for as long as it takes the bystander to be served some hundred times.
#[test]
fn a_flood_of_long_values_and_of_colliding_keys_is_not_noticed_at_another_core() {
    const WRITERS: usize = 3;
    const ROUNDS: u64 = 1_000;
    let ground = Ground::new(&[("MEMORY_BUDGET_BYTES", "8388608")]);
    let colliding = colliding_keys(&ground, 12);
    let keys: Vec<String> = (0..200).map(|number| ground.key(0, &format!("long-{number}"))).collect();
    let (is_over, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let write = |writer: usize| {
        let mut hostile = ground.client_of(0);
        for number in (writer..).step_by(WRITERS) {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let long = hostile.put_bytes(&keys[number % keys.len()], "a/b", &vec![b'x'; 100_000]);
            let short = hostile.put_value(&colliding[number % colliding.len()], "1");
            assert!([long.status, short.status].iter().all(|status| [200, 201].contains(status)), "{long:?} {short:?}");
            written.fetch_add(2, Ordering::Relaxed);
        }
    };
    beside_a_bystander(&ground, |bystander| {
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let write = &write;
                scope.spawn(move || write(writer));
            }
            bystander.is_served_for(ROUNDS);
            is_over.store(true, Ordering::Relaxed);
        });
    });
    println!("{} writes at core 0 meanwhile", written.load(Ordering::Relaxed));
    assert_only_core_0_evicts(&ground, 20.0);
}
