//! Random commands, time, upkeep, budgets, leases and reservations, against a shard and a naive model side by side.
//!
//! `MODEL_SEED` replays a run, `MODEL_STEPS` makes it longer or shorter.

mod naive;

use cache_service::blob::Blob;
use cache_service::command::{
    Command, Conditions, LeaseId, Outcome, Payload, Put, Value, ValueKind, Verb, Version, VersionSet,
};
use cache_service::limits::{BLOB_CHUNK_BYTES, INLINE_VALUE_BYTES_MAX};
use cache_service::routing::{KeyHash, Router};
use cache_service::shard::{Shard, ShardConfig};
use cache_service::time::{Mono, Now, Ttl};
use naive::{Ask, Naive};
use std::time::{SystemTime, UNIX_EPOCH};

/// Steps with one shard before the next one begins afresh.
const STEPS_PER_ROUND: u64 = 500;
const STEPS_DEFAULT: u64 = 15_000;

/// Budgets for rounds in which anything may happen, in which short values compete, and in which long ones do.
const BUDGETS: [&[Option<u64>]; 3] = [
    &[None, Some(0), Some(1_000), Some(40_000), Some(2_000_000)],
    &[Some(3_000), Some(5_000), Some(30_000)],
    &[Some(120_000), Some(250_000), Some(500_000)],
];

#[test]
fn a_shard_does_what_the_model_does() {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let seed = number_from("MODEL_SEED").unwrap_or_else(clock);
    let steps = number_from("MODEL_STEPS").unwrap_or(STEPS_DEFAULT);
    println!("MODEL_SEED={seed} MODEL_STEPS={steps}");
    let mut random = Random(seed);
    for round in 0..steps.div_ceil(STEPS_PER_ROUND) {
        let mut pair = Pair::new(&mut random);
        for step in 0..STEPS_PER_ROUND.min(steps - round * STEPS_PER_ROUND) {
            pair.trace = format!("round {round}, step {step}");
            pair.step(&mut random);
            pair.compare();
        }
        pair.end();
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// `SplitMix64` (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A lease as the shard and the model know it, and what must be read through it.
struct Held {
    lease: LeaseId,
    value: u64,
    bytes: Vec<u8>,
}

/// The shard and its model.
struct Pair {
    shard: Shard,
    model: Naive,
    router: Router,
    /// Few bits here make the hashes of different keys equal.
    hash_mask: u64,
    keys: u64,
    /// Is asked for again and again: what happens to a key often depends on what just happened to it.
    last_key: u64,
    budgets: &'static [Option<u64>],
    mono_ms: u64,
    wall_offset_ms: u64,
    held: Vec<Held>,
    /// More leases than this leave no room for anything else.
    held_max: usize,
    evictions_seen: u64,
    trace: String,
}

impl Pair {
    fn new(random: &mut Random) -> Self {
        let budgets = random.of(&BUDGETS);
        let budget_bytes = random.of(budgets);
        let first_version = random.of(&[1, 1_000_000, u64::MAX - 100]);
        Self {
            shard: Shard::new(ShardConfig { budget_bytes, first_version }),
            model: Naive::new(budget_bytes, first_version),
            router: Router::new(1, [random.next(), random.next()]),
            hash_mask: random.of(&[0b11, u64::MAX]),
            keys: random.of(&[3, 12, 40]),
            last_key: 0,
            budgets,
            mono_ms: random.of(&[0, 12_345, 1 << 40]),
            wall_offset_ms: 1_700_000_000_000,
            held: Vec::new(),
            held_max: random.of(&[2, 5, 20]),
            evictions_seen: 0,
            trace: String::new(),
        }
    }

    fn now(&self) -> Now {
        Now::new(Mono::from_millis(self.mono_ms), self.wall_offset_ms)
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(100) {
            0..6 => self.mono_ms += random_pause_ms(random),
            6 => self.wall_offset_ms = self.wall_offset_ms.wrapping_add_signed(random.of(&[-5_000, 5_000])),
            7..12 => self.tick(),
            12 => self.change_budget(random),
            13..18 => self.release(random),
            18..20 => self.reserve(random),
            20..25 => self.unreserve(random),
            _ => self.ask(random),
        }
        if self.held.len() > self.held_max {
            self.release(random);
        }
        if random.one_in(16) || self.model.stats.evictions != self.evictions_seen {
            self.compare_keys();
        }
    }

    fn ask(&mut self, random: &mut Random) {
        if !random.one_in(4) {
            self.last_key = random.below(self.keys);
        }
        let key = format!("key-{}", self.last_key).into_bytes();
        let ask = random_ask(random, self.model.version(&key));
        self.trace += &format!(": {key:?} {ask:.200?}");
        let expected = self.model.apply(self.now(), &key, ask.clone());
        let outcome = self.apply(&key, ask);
        assert!(outcome == expected, "{}\nshard: {outcome:.300?}\nmodel: {expected:.300?}", self.trace);
    }

    /// Asks the shard; a leased value is read at once, and the lease kept for later.
    fn apply(&mut self, key: &[u8], ask: Ask) -> Outcome<Vec<u8>> {
        let hash = KeyHash(self.router.hash(key).0 & self.hash_mask);
        let now = self.now();
        let media = if let Ask::Put { media, .. } = &ask { media.clone() } else { Vec::new() };
        let bytes = if let Ask::Put { bytes, .. } = &ask { bytes.clone() } else { Vec::new() };
        let verb = match ask {
            Ask::Get { unless, with_value } => Verb::Get { unless, with_value },
            Ask::Delete { conditions } => Verb::Delete { conditions },
            Ask::Incr { delta, ttl } => Verb::Incr { delta, ttl },
            Ask::Put { kind, raw_len, ttl, conditions, .. } => {
                Verb::Put(Put { kind, payload: payload_of(&bytes), raw_len, media: &media, ttl, conditions })
            }
        };
        let outcome = owned(self.shard.apply(now, Command { key, hash, verb }));
        let Outcome::Found { meta, media, value: Value::Leased(lease) } = outcome else { return outcome };
        let bytes = self.read(lease);
        assert!(bytes.len() > INLINE_VALUE_BYTES_MAX && self.held.iter().all(|held| held.lease != lease));
        let value = self.model.lease(key);
        self.held.push(Held { lease, value, bytes: bytes.clone() });
        Outcome::Found { meta, media, value: Value::Inline(bytes) }
    }

    fn read(&self, lease: LeaseId) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            match self.shard.lease_slice(lease, bytes.len() as u64) {
                [] => return bytes,
                slice => bytes.extend_from_slice(slice),
            }
        }
    }

    fn tick(&mut self) {
        let more = self.shard.tick(self.now());
        self.model.tick(self.now());
        let unfreed = self.shard.stats().memory_bytes - self.model.in_use();
        assert!(unfreed <= self.model.dead_bytes_max, "{}: only the dead are left to free", self.trace);
        assert_eq!(more, unfreed > 0, "{}: a tick tells whether something is left", self.trace);
        self.model.dead_bytes_max = unfreed;
        assert_eq!(self.shard.stats().expirations, self.model.stats.expirations, "{}: expirations", self.trace);
    }

    fn change_budget(&mut self, random: &mut Random) {
        // What has expired and is not freed yet would count in the shard but not in the model.
        self.tick();
        let budget_bytes = random.of(self.budgets);
        self.shard.set_budget(budget_bytes);
        self.model.set_limit(budget_bytes);
    }

    fn release(&mut self, random: &mut Random) {
        if self.held.is_empty() {
            return;
        }
        let held = self.held.swap_remove(random.below(self.held.len() as u64) as usize);
        assert!(self.read(held.lease) == held.bytes, "{}: a lease keeps the bytes", self.trace);
        self.shard.release(held.lease);
        self.model.release(held.value);
    }

    fn reserve(&mut self, random: &mut Random) {
        let bytes = random.of(&[1, 1_000, 70_000, 400_000]);
        let expected = self.model.reserve(self.now(), bytes);
        assert_eq!(self.shard.reserve(self.now(), bytes), expected, "{}: reserve {bytes}", self.trace);
    }

    fn unreserve(&mut self, random: &mut Random) {
        let bytes = if random.one_in(2) { self.model.reserved } else { self.model.reserved / 2 };
        self.shard.unreserve(bytes);
        self.model.reserved -= bytes;
    }

    /// Every key is in both or in neither, at the same version. A Delete that cannot take place tells, and is no use.
    fn compare_keys(&mut self) {
        self.evictions_seen = self.model.stats.evictions;
        let never = Conditions { if_match: Some(VersionSet::These(std::iter::empty().collect())), if_none_match: None };
        for n in 0..self.keys {
            let key = format!("key-{n}").into_bytes();
            let ask = Ask::Delete { conditions: never.clone() };
            let expected = self.model.apply(self.now(), &key, ask.clone());
            assert_eq!(self.apply(&key, ask), expected, "{}: key-{n}", self.trace);
        }
    }

    fn compare(&mut self) {
        self.shard.assert_invariants();
        self.model.expire(self.now());
        let (shard, model) = (self.shard.stats(), &self.model.stats);
        let lag = model.expirations - shard.expirations;
        let mut expected = model.clone();
        expected.entries = self.model.len() as u64 + lag;
        (expected.expirations, expected.memory_bytes) = (shard.expirations, shard.memory_bytes);
        assert_eq!(*shard, expected, "{}", self.trace);
        if lag == 0 {
            let unfreed = shard.memory_bytes - self.model.in_use();
            assert!(unfreed <= self.model.dead_bytes_max, "{}: memory is accounted for", self.trace);
        }
    }

    /// Gives everything back; nothing may be left.
    fn end(mut self) {
        while let Some(held) = self.held.pop() {
            assert!(self.read(held.lease) == held.bytes, "{}: a lease keeps the bytes", self.trace);
            self.shard.release(held.lease);
        }
        self.shard.unreserve(self.model.reserved);
        self.shard.set_budget(Some(0));
        while self.shard.tick(self.now()) {}
        self.shard.assert_invariants();
        assert_eq!((self.shard.stats().entries, self.shard.stats().memory_bytes), (0, 0));
    }
}

fn random_ask(random: &mut Random, actual: Option<Version>) -> Ask {
    match random.below(10) {
        0..4 => {
            let unless = random.one_in(4).then(|| random_versions(random, actual));
            Ask::Get { unless, with_value: !random.one_in(4) }
        }
        4..8 => random_put(random, actual),
        8 => Ask::Delete { conditions: random_conditions(random, actual) },
        _ => {
            let ttl = random.one_in(2).then(|| random_ttl(random));
            Ask::Incr { delta: random.of(&[1, -1, 0, 1_000, i64::MAX, i64::MIN]), ttl }
        }
    }
}

fn random_put(random: &mut Random, actual: Option<Version>) -> Ask {
    const NUMBERS: [&str; 8] =
        ["0", "-7", "9223372036854775807", "99999999999999999999", "1.5", "1e3", "1.7976931348623157e308", "1e999"];
    let kind = random.of(&ValueKind::ALL);
    let bytes = if kind == ValueKind::Number && !random.one_in(8) {
        random.of(&NUMBERS).as_bytes().to_vec()
    } else {
        let len = random.of(&[
            0,
            1,
            30,
            200,
            3_000,
            INLINE_VALUE_BYTES_MAX,
            INLINE_VALUE_BYTES_MAX + 1,
            BLOB_CHUNK_BYTES,
            3 * BLOB_CHUNK_BYTES + 5,
        ]);
        let (first, digit) = (random.next(), kind == ValueKind::Number);
        (0..len as u64).map(|n| if digit { b'1' } else { (first ^ n) as u8 }).collect()
    };
    let media = if kind == ValueKind::Bytes { random.of(&["text/plain", ""]).as_bytes().to_vec() } else { Vec::new() };
    let (ttl, conditions) = (random_ttl(random), random_conditions(random, actual));
    Ask::Put { kind, raw_len: bytes.len() as u64 / 2, bytes, media, ttl, conditions }
}

/// Now and then long enough to expire nearly everything.
fn random_pause_ms(random: &mut Random) -> u64 {
    let leap = random.one_in(12);
    random.of(if leap { &[30_000, 4_000_000, 3_000_000_000_000] } else { &[1, 99, 1_000, 1_001] })
}

fn random_ttl(random: &mut Random) -> Ttl {
    Ttl::from_secs(random.of(&[0, 0, 0, 0, 1, 2, 30, 3_600, 2_147_483_647])).expect("within limits")
}

fn random_conditions(random: &mut Random, actual: Option<Version>) -> Conditions {
    let if_match = random.one_in(6).then(|| random_versions(random, actual));
    let if_none_match = random.one_in(6).then(|| random_versions(random, actual));
    Conditions { if_match, if_none_match }
}

fn random_versions(random: &mut Random, actual: Option<Version>) -> VersionSet {
    let stale = Version(random.below(1_000_000));
    match random.below(4) {
        0 => VersionSet::Any,
        1 => VersionSet::These([stale].into_iter().collect()),
        _ => VersionSet::These([Some(stale), actual].into_iter().flatten().collect()),
    }
}

fn payload_of(bytes: &[u8]) -> Payload<&[u8]> {
    if bytes.len() <= INLINE_VALUE_BYTES_MAX {
        return Payload::Inline(bytes);
    }
    let mut blob = Blob::new();
    blob.extend_from_slice(bytes);
    Payload::Blob(blob)
}

fn owned(outcome: Outcome<&[u8]>) -> Outcome<Vec<u8>> {
    match outcome {
        Outcome::Found { meta, media, value } => {
            let value = match value {
                Value::Omitted => Value::Omitted,
                Value::Inline(bytes) => Value::Inline(bytes.to_vec()),
                Value::Leased(lease) => Value::Leased(lease),
            };
            Outcome::Found { meta, media: media.to_vec(), value }
        }
        Outcome::NotModified { version } => Outcome::NotModified { version },
        Outcome::Written { created, version, expires_at } => Outcome::Written { created, version, expires_at },
        Outcome::Deleted => Outcome::Deleted,
        Outcome::Missing => Outcome::Missing,
        Outcome::Conflict { actual } => Outcome::Conflict { actual },
        Outcome::Counted { value, version } => Outcome::Counted { value, version },
        Outcome::Refused(refusal) => Outcome::Refused(refusal),
    }
}
