//! What one shard is asked for.

use crate::counter::{Counter, ROUNDS, WARM_UP};
use crate::scramble::scramble;
use cache_service::command::{Command, Conditions, Outcome, Payload, Put, Value, ValueKind, Verb};
use cache_service::routing::{KeyHash, KeyHasher};
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};
use cache_service::time::{Mono, Now, Ttl};
use std::hint::black_box;

/// Keys that every operation finds its own among: one for each of its rounds.
const KEYS: u64 = (WARM_UP + ROUNDS) as u64;
const MANY_KEYS: u64 = 1_000_000;
/// Room for them all.
const BUDGET_BYTES: u64 = 256 << 20;
/// Room for a few thousand keys.
const SMALL_BUDGET_BYTES: u64 = 1 << 20;
const VALUE: [u8; 64] = [b'v'; 64];

/// A key and its hash, so that neither is made while instructions are counted.
struct Key {
    text: [u8; 16],
    hash: KeyHash,
}

struct Bench {
    shard: Shard,
    hasher: KeyHasher,
}

impl Bench {
    fn new(budget_bytes: u64) -> Self {
        let hasher = KeyHasher::new([3, 4]);
        let policy = EvictionPolicy::default();
        let shard = Shard::new(ShardConfig { budget_bytes: Some(budget_bytes), first_version: 1, policy, hasher });
        Self { shard, hasher }
    }

    /// A shard that holds the keys of these numbers.
    fn with(budget_bytes: u64, numbers: impl Iterator<Item = u64>) -> Self {
        let mut bench = Self::new(budget_bytes);
        for number in numbers {
            let key = bench.key(number);
            bench.put(&key);
        }
        bench
    }

    fn key(&self, number: u64) -> Key {
        let mut text = [0; 16];
        text.copy_from_slice(format!("{number:016x}").as_bytes());
        Key { text, hash: self.hasher.hash(&text) }
    }

    fn keys(&self, numbers: impl Iterator<Item = u64>) -> Vec<Key> {
        numbers.map(|number| self.key(number)).collect()
    }

    fn apply(&mut self, key: &Key, verb: Verb<&[u8]>) -> Outcome<&[u8]> {
        let now = Now::new(Mono::from_millis(1_000), 1_700_000_000_000);
        black_box(self.shard.apply(now, Command { key: &key.text, hash: key.hash, verb }))
    }

    fn put(&mut self, key: &Key) -> bool {
        let (kind, media) = (ValueKind::Bytes, &b"application/octet-stream"[..]);
        let (payload, raw_len) = (Payload::Inline(&VALUE[..]), VALUE.len() as u64);
        let put = Put { kind, payload, raw_len, media, ttl: Ttl::NONE, conditions: Conditions::default() };
        matches!(self.apply(key, Verb::Put(put)), Outcome::Written { created: true, .. })
    }

    fn finds(&mut self, key: &Key) -> bool {
        let outcome = self.apply(key, Verb::Get { unless: None, with_value: true });
        matches!(outcome, Outcome::Found { value: Value::Inline(_), .. })
    }
}

/// Reads, writes, deletes, counters.
pub fn count(counter: &mut Counter) {
    reads(counter);
    writes(counter);
    let mut bench = Bench::with(BUDGET_BYTES, 0..KEYS);
    let keys = bench.keys(0..KEYS);
    counter.count("shard: delete", |round| {
        let delete = Verb::Delete { conditions: Conditions::default() };
        assert!(matches!(bench.apply(&keys[round], delete), Outcome::Deleted));
    });
    let key = bench.key(KEYS);
    bench.apply(&key, Verb::Incr { delta: 1_000_000, ttl: None });
    counter.count("shard: incr", |_| {
        assert!(matches!(bench.apply(&key, Verb::Incr { delta: 1, ttl: None }), Outcome::Counted { .. }));
    });
}

fn reads(counter: &mut Counter) {
    let mut bench = Bench::with(BUDGET_BYTES, 0..KEYS);
    let (there, absent) = (bench.keys(0..KEYS), bench.keys(KEYS..2 * KEYS));
    counter.count("shard: get of 64 bytes", |round| assert!(bench.finds(&there[round])));
    counter.count("shard: get of an absent key", |round| assert!(!bench.finds(&absent[round])));
    let name = "shard: get of 64 bytes among a million";
    if counter.wants(name) {
        let mut bench = Bench::with(BUDGET_BYTES, 0..MANY_KEYS);
        let keys = bench.keys((0..KEYS).map(|n| scramble(n) % MANY_KEYS));
        counter.count(name, |round| assert!(bench.finds(&keys[round])));
    }
}

fn writes(counter: &mut Counter) {
    let mut bench = Bench::with(BUDGET_BYTES, 0..KEYS);
    let (there, absent) = (bench.keys(0..KEYS), bench.keys(KEYS..2 * KEYS));
    counter.count("shard: put over 64 bytes", |round| assert!(!bench.put(&there[round])));
    counter.count("shard: put of a new key", |round| assert!(bench.put(&absent[round])));
    let mut bench = Bench::with(SMALL_BUDGET_BYTES, 0..20 * KEYS);
    let absent = bench.keys(20 * KEYS..21 * KEYS);
    counter.count("shard: put of a new key that evicts", |round| assert!(bench.put(&absent[round])));
    assert!(bench.shard.stats().evictions > 10 * KEYS, "so many keys do not fit");
}
