//! A shard whose budget was lowered, or is small: found by a second reader of the store.

use super::*;
use crate::command::{Conditions, Payload, Put, ValueKind};
use crate::limits::BLOB_CHUNK_BYTES;
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

/// Ghosts held on to the tables, so that all entries were evicted for a lower budget, and every write refused afterwards.
#[test]
fn a_much_smaller_budget_leaves_entries_and_takes_writes() {
    const FROM: u64 = 16 << 20;
    for policy in [EvictionPolicy::Lru, EvictionPolicy::S3Fifo] {
        for to in [1 << 20, 3 << 20, 4 << 20] {
            let mut shard = shard(FROM, policy);
            for n in 0..500_000 {
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
            blob.extend_from_slice(&vec![7; BLOB_CHUNK_BYTES]);
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
