//! Keys that were chosen to collide, by somebody who was told the seed: see `/v1/topology`.

use crate::ground::Ground;
use crate::neighbours::{beside, beside_those_of};
use cache_service::limits::INDEX_TABLES_MIN;

/// The tag that a key's slot has, in bits: see `shard::index`.
const TAG_BITS: u32 = 15;
/// Where the tag begins.
const TABLE_BITS: u32 = 10;
/// Keys that share a table and a tag; each takes a million attempts to find.
const COLLIDING: usize = 48;

/// Keys of core 0 that all belong to the same place of the smallest index.
fn colliding_keys(ground: &Ground) -> Vec<String> {
    let router = ground.router();
    let place = |hash: u64| (hash % INDEX_TABLES_MIN as u64, hash >> TABLE_BITS & ((1 << TAG_BITS) - 1));
    let (mut wanted, mut found) = (None, Vec::new());
    for number in 0_u64.. {
        let key = format!("{number:x}");
        let hash = router.hash(key.as_bytes());
        if router.owner(hash).0 == 0 && *wanted.get_or_insert(place(hash.0)) == place(hash.0) {
            found.push(key);
            if found.len() == COLLIDING {
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
    let keys = colliding_keys(&ground);
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
    beside_those_of(&ground, 1..1, |_| {
        let mut hostile = ground.client_of(0);
        for number in 0..3_000 {
            let key = ground.key(0, &format!("flood-{number}"));
            let answer = hostile.put_bytes(&key, "a/b", &[b'x'; 4_000]);
            assert!(answer.status == 201, "{answer:?}");
        }
        kept.iter().for_each(|key| assert_eq!(client.get(key).expect_status(200).member_text("value"), "\"kept\""));
    });
    let evicted = |shard| ground.server.metrics().sum_where("cache_evictions_total", &[("shard", shard)]);
    assert!(evicted("0") > 1_000.0, "the flood was too weak: {} evicted", evicted("0"));
    assert_eq!(evicted("1"), 0.0);
}
