//! A shard whose budget was lowered, or is small: found by a second reader of the store.

use super::*;
use crate::command::{Conditions, Payload, Put, Value, ValueKind};
use crate::limits::{BLOB_CHUNK_BYTES, BLOCK_BYTES_MIN};
use crate::time::Ttl;

fn at(millis: u64) -> Now {
    Now::new(Mono::from_millis(millis), 0)
}

fn hasher() -> KeyHasher {
    KeyHasher::new([1, 2])
}

fn shard(budget_bytes: u64, policy: EvictionPolicy) -> Shard {
    Shard::new(ShardConfig { budget_bytes: Some(budget_bytes), first_version: 1, policy, hasher: hasher() })
}

/// Whether it is stored.
fn put(shard: &mut Shard, now: Now, key: &str, payload: Payload<&[u8]>) -> bool {
    let (kind, ttl, conditions) = (ValueKind::Json, Ttl::NONE, Conditions::default());
    let verb = Verb::Put(Put { kind, payload, raw_len: 1, media: &b""[..], ttl, conditions });
    let command = Command { key: key.as_bytes(), hash: hasher().hash(key.as_bytes()), verb };
    matches!(shard.apply(now, command), Outcome::Written { .. })
}

/// How many of a thousand writes are taken.
fn fill(shard: &mut Shard, millis: u64) -> usize {
    let mut stored = |n: u64| put(shard, at(millis), &format!("{n:04}"), Payload::Inline(&[1; 1_000]));
    (0..1_000).filter(|n| stored(*n)).count()
}

/// Ghosts held on to the tables, so that all entries were evicted for a lower budget, and every write refused afterwards.
#[test]
fn a_much_smaller_budget_leaves_entries_and_takes_writes() {
    const FROM: u64 = 8 << 20;
    for (policy, tos) in [(EvictionPolicy::Lru, &[2 << 20][..]), (EvictionPolicy::S3Fifo, &[1 << 20, 2 << 20])] {
        for &to in tos {
            let mut shard = shard(FROM, policy);
            for n in 0..250_000 {
                put(&mut shard, at(n / 1_000), &format!("{n:08}"), Payload::Inline(b"1"));
            }
            shard.set_budget(Some(to));
            while shard.tick(at(1_000)) {}
            let entries = shard.stats().entries;
            assert!(shard.in_use() <= to && entries * 100 > to / 2, "{policy:?}, {to}: {entries} entries are left");
            for n in 0..10_000 {
                assert!(
                    put(&mut shard, at(2_000 + n), &format!("new{n}"), Payload::Inline(b"1")),
                    "{policy:?}, {to}: {n}"
                );
                if n % 100 == 0 {
                    while shard.tick(at(2_000 + n)) {}
                }
            }
            assert!(shard.stats().entries * 2 > entries, "{policy:?}, {to}: {} entries", shard.stats().entries);
            shard.assert_invariants();
        }
    }
}

/// Chunks that were kept for later counted in the budget until nothing else had room.
#[test]
fn long_values_that_come_and_go_leave_a_small_shard_room() {
    const LIMIT: u64 = 1 << 20;
    let mut shard = shard(LIMIT, EvictionPolicy::S3Fifo);
    let look_after = |shard: &mut Shard, now| {
        crate::memory::keep_for(shard.limit());
        shard.set_buffers(crate::memory::kept_bytes());
        while shard.tick(now) {}
    };
    look_after(&mut shard, at(0));
    for round in 1..8 {
        // Filled by another core, as it is for a foreign value.
        let filled = std::thread::spawn(|| {
            let mut blob = Blob::new();
            blob.extend_from_slice(&vec![7; BLOB_CHUNK_BYTES]).expect("memory");
            blob
        });
        let blob = filled.join().expect("a blob");
        assert!(put(&mut shard, at(round), "long", Payload::Blob(blob)), "round {round}");
        let verb = Verb::Delete { conditions: Conditions::default() };
        let deleted = shard.apply(at(round), Command { key: b"long", hash: hasher().hash(b"long"), verb });
        assert_eq!(deleted, Outcome::Deleted);
        look_after(&mut shard, at(round));
    }
    for n in 0..100 {
        assert!(put(&mut shard, at(100 + n), &format!("k{n}"), Payload::Inline(b"1")), "{n}");
    }
}

/// At the end of what the log can address: a budget raised far beyond that of the start, or none.
#[test]
fn a_log_without_further_addresses_evicts_and_goes_on() {
    const ADDRESSES: u64 = 1 << 22;
    for (seed, policy) in [(2, EvictionPolicy::Lru), (3, EvictionPolicy::S3Fifo), (8, EvictionPolicy::Lru)] {
        let geometry = Geometry::with_addresses(u64::MAX, ADDRESSES).with_blocks_of(BLOCK_BYTES_MIN);
        let config = ShardConfig { budget_bytes: None, first_version: 1, policy, hasher: hasher() };
        let mut shard = Shard::with_log(config, geometry);
        let mut random: u64 = seed;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for n in 0..60_000 {
            let key = format!("k{:07}", draw(20_000));
            let stored = if draw(10) == 0 {
                let mut blob = Blob::new();
                blob.extend_from_slice(&vec![7; 16_385 + draw(200_000) as usize]).expect("memory");
                put(&mut shard, at(n / 100), &key, Payload::Blob(blob))
            } else {
                put(&mut shard, at(n / 100), &key, Payload::Inline(&[7; 6_010][..10 + draw(6_000) as usize]))
            };
            assert!(stored, "{policy:?}, seed {seed}, write {n}");
            if n % 400 == 0 {
                shard.tick(at(n / 100));
            }
        }
        assert!(shard.stats().evictions > 0);
        shard.assert_invariants();
    }
}

/// Blocks were as large as the first budget asked for: under one far smaller, not even what must stay free of them fitted
/// in, and every write was refused until a restart.
#[test]
fn a_budget_far_smaller_than_the_first_one_takes_writes() {
    for (from, to) in [(None, 4 << 20), (None, 7 << 20), (Some(1 << 30), 2 << 20), (Some(64 << 20), 512 << 10)] {
        for policy in EvictionPolicy::ALL {
            let config = ShardConfig { budget_bytes: from, first_version: 1, policy, hasher: hasher() };
            let mut shard = Shard::new(config);
            assert_eq!(fill(&mut shard, 0), 1_000);
            shard.set_budget(Some(to));
            while shard.tick(at(1)) {}
            assert_eq!(fill(&mut shard, 2), 1_000, "{from:?}, then {to}, {policy:?}");
            while shard.tick(at(3)) {}
            let (entries, committed) = (shard.stats().entries, shard.committed());
            assert!(entries * 4_000 > to && committed <= to || entries == 1_000, "{entries} in {committed} of {to}");
            shard.assert_invariants();
        }
    }
}

/// Somebody is being sent a long value meanwhile, and takes his time: every write was refused for as long as he liked.
#[test]
fn a_slow_reader_keeps_no_far_smaller_budget_from_taking_writes() {
    let lens = [20_000, BLOB_CHUNK_BYTES + 100_000];
    for (from, to, len) in [(None, 4 << 20, lens[1]), (Some(1 << 30), 2 << 20, lens[1]), (None, 512 << 10, lens[0])] {
        for policy in EvictionPolicy::ALL {
            let config = ShardConfig { budget_bytes: from, first_version: 1, policy, hasher: hasher() };
            let mut shard = Shard::new(config);
            let value: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let mut blob = Blob::new();
            blob.extend_from_slice(&value).expect("memory");
            assert!(put(&mut shard, at(0), "long", Payload::Blob(blob)));
            let lease = lease(&mut shard, at(0), "long");
            assert_eq!(fill(&mut shard, 0), 1_000);
            shard.set_budget(Some(to));
            while shard.tick(at(1)) {}
            shard.assert_invariants();
            assert_eq!(fill(&mut shard, 2), 1_000, "{from:?}, then {to}, {policy:?}");
            while shard.tick(at(3)) {}
            assert!(shard.committed() <= to, "{} of {to}", shard.committed());
            assert!(rest_of(&shard, lease) == value, "what is being sent stays as it was");
            shard.assert_invariants();
            shard.release(lease);
            while shard.tick(at(4)) {}
            assert_eq!(fill(&mut shard, 5), 1_000);
            shard.assert_invariants();
        }
    }
}

fn lease(shard: &mut Shard, now: Now, key: &str) -> LeaseId {
    let verb = Verb::Get { unless: None, with_value: true };
    match shard.apply(now, Command { key: key.as_bytes(), hash: hasher().hash(key.as_bytes()), verb }) {
        Outcome::Found { value: Value::Leased(lease), .. } => lease,
        other => panic!("{key} is no long value: {other:?}"),
    }
}

fn rest_of(shard: &Shard, lease: LeaseId) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match shard.lease_rest(lease, bytes.len() as u64) {
            [] => return bytes,
            piece => bytes.extend_from_slice(piece),
        }
    }
}
