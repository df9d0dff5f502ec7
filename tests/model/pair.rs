//! A shard and its model, asked the same.

use super::ask::random_ask;
use super::naive::{Ask, Entry, Known, Naive, counted, sum};
use super::random::Random;
use cache_service::blob::Blob;
use cache_service::command::{
    Command, Expires, LeaseId, Meta, Outcome, Payload, Put, Refusal, Value, ValueKind, Verb, Version,
};
use cache_service::limits::INLINE_VALUE_BYTES_MAX;
use cache_service::routing::KeyHasher;
use cache_service::shard::{EvictionPolicy, Footprint, Shard, ShardConfig};
use cache_service::time::{Mono, Now};
use std::collections::BTreeSet;
use std::ops::AddAssign;

const KIB: u64 = 1024;
/// Budgets of rounds in which entries compete. Without one, nothing is ever evicted, and time may pass as it likes.
const BUDGETS: [u64; 3] = [512 * KIB, 1_024 * KIB, 2_048 * KIB];
/// Times to live are whole seconds, and the shard frees in steps of 64 ms: at multiples of both it is never late.
const EXACT_STEP_MS: u64 = 8_000;
/// What the blocks on credit, the index and other tables may take beyond the slack that was asked for.
const TABLES_BYTES: u64 = 64 * KIB;

/// What has happened in a run: a model that is never put to the test proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    evictions: u64,
    expirations: u64,
    recalled: u64,
    in_place: u64,
    long: u64,
    leases: u64,
    refusals: u64,
    ghost_questions: u64,
}

impl AddAssign for Done {
    fn add_assign(&mut self, other: Self) {
        self.evictions += other.evictions;
        self.expirations += other.expirations;
        self.recalled += other.recalled;
        self.in_place += other.in_place;
        self.long += other.long;
        self.leases += other.leases;
        self.refusals += other.refusals;
        self.ghost_questions += other.ghost_questions;
    }
}

impl Done {
    pub fn assert_enough(&self, steps: u64) {
        let least = [
            (self.evictions, 40),
            (self.expirations, 200),
            (self.recalled, 500),
            (self.in_place, 1_000),
            (self.long, 400),
            (self.leases, 1_000),
            (self.refusals, 2_000),
            (self.ghost_questions, 1_000),
        ];
        for (number, steps_for_one) in least {
            assert!(number >= steps / steps_for_one, "too little happened in {steps} steps: {self:?}");
        }
    }
}

/// A lease, and what must be read through it.
struct Held {
    lease: LeaseId,
    bytes: Vec<u8>,
}

pub struct Pair {
    shard: Shard,
    model: Naive,
    hasher: KeyHasher,
    keys: u64,
    last_key: u64,
    /// The largest budget of this round, 0 for none.
    budget: u64,
    limit: u64,
    mono_ms: u64,
    wall_offset_ms: u64,
    held: Vec<Held>,
    reserved: u64,
    /// What has expired but need not have been freed yet.
    expired: BTreeSet<Vec<u8>>,
    last_version: Option<Version>,
    first_version: u64,
    writes_since_time_passed: u64,
    /// More is taken up than the limit allows, until upkeep has caught up.
    is_over: bool,
    done: Done,
    pub trace: String,
}

impl Pair {
    pub fn new(random: &mut Random, round: u64) -> Self {
        let policy = EvictionPolicy::ALL[round as usize % 2];
        let budget = if random.one_in(6) { 0 } else { random.of(&BUDGETS) };
        let first_version = random.of(&[1, 1_000_000, u64::MAX - 100]);
        // Bits that pick a table, bits that pick a place in it, and bits that tell ghosts apart.
        let mask = random.of(&[0b11 | 0xffff << 25, 0xff << 10 | 0xffff << 25, u64::MAX]);
        let hasher = KeyHasher::new([random.next(), random.next()]).masked(mask);
        let budget_bytes = (budget > 0).then_some(budget);
        let keys = random.of(&[40, 400, 2_000]);
        Self {
            shard: Shard::new(ShardConfig { budget_bytes, first_version, policy, hasher }),
            model: Naive::new(policy),
            hasher,
            keys,
            last_key: 0,
            budget,
            limit: if budget > 0 { budget } else { u64::MAX },
            mono_ms: random.of(&[0, EXACT_STEP_MS * 7, 1 << 40]),
            wall_offset_ms: 1_700_000_000_000,
            held: Vec::new(),
            reserved: 0,
            expired: BTreeSet::new(),
            last_version: None,
            first_version,
            writes_since_time_passed: 0,
            is_over: false,
            done: Done::default(),
            trace: String::new(),
        }
    }

    fn now(&self) -> Now {
        Now::new(Mono::from_millis(self.mono_ms), self.wall_offset_ms)
    }

    pub fn step(&mut self, random: &mut Random) {
        let what = random.below(200);
        self.trace += &format!(" ({what})");
        match what {
            0..3 => self.pass_time(random),
            3 => self.wall_offset_ms = self.wall_offset_ms.wrapping_add_signed(random.of(&[-5_000, 5_000])),
            4..7 => self.tick(),
            7 => self.change_budget(random),
            8..14 => self.release(random),
            14..17 => self.reserve(random),
            17..20 => self.unreserve(),
            20 => self.change_buffers(random),
            _ => self.ask(random),
        }
        if self.held.len() > 2 {
            self.release(random);
        }
    }

    fn pass_time(&mut self, random: &mut Random) {
        let steps = random.of(&[1, 1, 1, 2, 500, 100_000]);
        let is_exact = self.budget > 0;
        self.mono_ms += if is_exact { steps * EXACT_STEP_MS } else { random.of(&[1, 99, 1_000, 64_001]) * steps };
        self.writes_since_time_passed = 0;
        self.expire();
        if is_exact {
            self.settle();
        }
    }

    fn expire(&mut self) {
        let gone = self.model.expire(self.now());
        self.done.expirations += gone.len() as u64;
        self.expired.extend(gone);
    }

    /// Ticks until nothing is due.
    fn settle(&mut self) {
        while self.shard.tick(self.now()) {
            self.follow();
        }
        self.follow();
        let is_late = |key: &Vec<u8>| self.shard.footprint_of(key).is_some() && self.model.find(key).is_none();
        if self.budget > 0 {
            assert!(!self.expired.iter().any(is_late), "{}: what has expired is freed", self.trace);
        }
        self.forget_freed();
        let (committed, _, _) = self.shard.room_facts();
        self.is_over = committed > self.limit;
    }

    /// Of what has expired, remembers only what is still there.
    fn forget_freed(&mut self) {
        let (shard, model) = (&self.shard, &self.model);
        self.expired.retain(|key| shard.footprint_of(key).is_some() && model.find(key).is_none());
    }

    fn tick(&mut self) {
        self.shard.tick(self.now());
        self.follow();
    }

    fn change_budget(&mut self, random: &mut Random) {
        if self.budget == 0 {
            return;
        }
        self.limit = random.of(&[self.budget, self.budget / 2, self.budget * 2]).max(BUDGETS[0]);
        self.shard.set_budget(Some(self.limit));
        self.model.blur_ghosts();
        self.is_over = true;
        match random.below(3) {
            0 => self.settle(),
            1 => {
                self.shard.catch_up(self.now());
                self.follow();
            }
            _ => {}
        }
    }

    fn change_buffers(&mut self, random: &mut Random) {
        self.shard.set_buffers(random.of(&[0, 10_000, 50_000]));
        self.is_over = true;
    }

    fn reserve(&mut self, random: &mut Random) {
        let bytes = random.of(&[1, 1_000, 32 * KIB, 100 * KIB]);
        let before = self.model.len();
        if self.shard.reserve(self.now(), bytes) {
            self.reserved += bytes;
            self.follow();
        } else {
            assert!(self.is_crowded(bytes), "{}: {bytes} fit", self.trace);
            self.follow();
            assert_eq!(self.model.len(), before, "{}: a refusal evicts nobody", self.trace);
        }
    }

    fn unreserve(&mut self) {
        self.shard.unreserve(std::mem::take(&mut self.reserved));
    }

    fn release(&mut self, random: &mut Random) {
        if self.held.is_empty() {
            return;
        }
        let held = self.held.swap_remove(random.below(self.held.len() as u64) as usize);
        assert!(self.read(held.lease) == held.bytes, "{}: a lease keeps the bytes", self.trace);
        self.shard.release(held.lease);
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

    fn ask(&mut self, random: &mut Random) {
        if !random.one_in(4) {
            // Some keys are asked for more often than others.
            let keys = if random.one_in(2) { self.keys } else { self.keys.div_ceil(8) };
            self.last_key = random.below(keys);
        }
        let key = format!("key-{}", self.last_key).into_bytes();
        let ask = random_ask(random, self.model.find(&key).map(|entry| entry.version));
        self.trace += &format!(": {} {ask}", String::from_utf8_lossy(&key));
        match ask {
            Ask::Get { unless, with_value } => self.get(&key, Verb::Get { unless, with_value }),
            Ask::Delete { conditions } => {
                let actual = self.model.find(&key).map(|entry| entry.version);
                let expected = match actual {
                    _ if !conditions.hold_for(actual) => Outcome::Conflict { actual },
                    None => Outcome::Missing,
                    Some(_) => Outcome::Deleted,
                };
                let outcome = self.apply(&key, Verb::Delete { conditions });
                assert!(outcome == expected, "{}: {outcome:?}, expected {expected:?}", self.trace);
                if outcome == Outcome::Deleted {
                    self.model.take(&key);
                }
                self.follow();
            }
            Ask::Put { kind, bytes, raw_len, media, ttl, conditions } => {
                let actual = self.model.find(&key).map(|entry| entry.version);
                let deadline_ms = ttl.deadline_ms(self.now());
                let holds = conditions.hold_for(actual);
                let put = Put { kind, payload: payload_of(&bytes), raw_len, media: &media[..], ttl, conditions };
                let new = self.entry(&key, kind, bytes.clone(), raw_len, media.clone(), deadline_ms);
                let facts = self.shard.footprint_of(&key);
                let memory_before = self.shard.stats().memory_bytes;
                match self.apply(&key, Verb::Put(put)) {
                    Outcome::Conflict { actual: told } => {
                        assert!(!holds && told == actual, "{}: a conflict with {told:?}", self.trace);
                        self.follow();
                    }
                    Outcome::Written { created, version, expires_at } => {
                        let expected = (actual.is_none(), deadline_ms.map(|ms| self.now().wall_time_of(ms)));
                        assert!(holds && (created, expires_at) == expected, "{}: {created} {expires_at:?}", self.trace);
                        self.written(new, version, facts, memory_before);
                    }
                    Outcome::Refused(refusal) => self.refused(refusal, new.bytes.len() as u64),
                    other => panic!("{}: {other:?}", self.trace),
                }
                if bytes.len() > INLINE_VALUE_BYTES_MAX {
                    // A core would have set memory aside for a value that came to nothing, until it is freed.
                    self.settle();
                }
            }
            Ask::Incr { delta, ttl } => {
                let old = self.model.find(&key);
                let expected = sum(old, delta);
                let kept = old.and_then(|old| old.deadline_ms);
                let deadline_ms = ttl.map_or(kept, |ttl| ttl.deadline_ms(self.now()));
                let facts = self.shard.footprint_of(&key);
                let memory_before = self.shard.stats().memory_bytes;
                let outcome = self.apply(&key, Verb::Incr { delta, ttl });
                match (&outcome, expected) {
                    (Outcome::Counted { version, .. }, Ok(text)) => {
                        assert!(outcome == counted(&text, *version), "{}: {outcome:?}, expected {text}", self.trace);
                        let (bytes, len) = (text.into_bytes(), 0);
                        let mut new = self.entry(&key, ValueKind::Number, bytes, len, Vec::new(), deadline_ms);
                        new.raw_len = new.bytes.len() as u64;
                        self.written(new, *version, facts, memory_before);
                    }
                    (Outcome::Refused(told @ (Refusal::NoRoom | Refusal::OverBudget)), Ok(_)) => {
                        self.refused(*told, 40);
                    }
                    (Outcome::Refused(told), Err(refusal)) => {
                        assert_eq!(*told, refusal, "{}", self.trace);
                        self.follow();
                    }
                    (_, expected) => panic!("{}: {outcome:?}, expected {expected:?}", self.trace),
                }
            }
        }
    }

    fn entry(
        &self,
        key: &[u8],
        kind: ValueKind,
        bytes: Vec<u8>,
        raw_len: u64,
        media: Vec<u8>,
        deadline_ms: Option<u64>,
    ) -> Entry {
        let (hash, now_ms) = (self.hasher.hash(key), self.mono_ms);
        let (version, weight, uses) = (Version(0), 0, 0);
        let (created_ms, updated_ms, key) = (now_ms, now_ms, key.to_vec());
        Entry { key, hash, kind, bytes, raw_len, media, version, created_ms, updated_ms, deadline_ms, weight, uses }
    }

    /// Follows a write that took place.
    fn written(&mut self, mut new: Entry, version: Version, before: Option<Footprint>, memory_before: u64) {
        let given = version.0.wrapping_sub(self.first_version);
        let last = self.last_version.replace(version).map(|last| last.0.wrapping_sub(self.first_version));
        assert!(last.is_none_or(|last| last < given), "{}: {version:?} was given before", self.trace);
        self.writes_since_time_passed += 1;
        let after = self.shard.footprint_of(&new.key).expect("what was written is there");
        (new.version, new.weight) = (version, after.weight);
        self.done.long += u64::from(after.is_long);
        let fits = |it: Footprint| !it.is_long && !after.is_long && it.record == after.record;
        if before.is_some_and(fits) && self.model.find(&new.key).is_some() {
            // An entry that is rewritten in place keeps its place in the order.
            self.done.in_place += 1;
            let key = new.key.clone();
            self.model.rewrite(new);
            self.model.touch(&key);
            return self.follow();
        }
        let old = self.model.take(&new.key);
        let evictions = self.evict_missing(Some(&new.key));
        if evictions > 0 && !self.is_over {
            let (_, slack, _) = self.shard.room_facts();
            let needed = memory_before + new.weight + slack + TABLES_BYTES;
            assert!(needed > self.limit, "{}: {evictions} evictions at {memory_before} bytes", self.trace);
        }
        match old {
            Some((old, was_small)) => {
                (new.created_ms, new.uses) = (old.created_ms, old.uses);
                self.model.put_again(new, was_small);
            }
            None => {
                let known = self.is_known(&new);
                self.model.put_new(new, known);
            }
        }
        self.follow();
    }

    /// Whether the shard takes a new entry for one that comes again; it must be right about it.
    fn is_known(&mut self, new: &Entry) -> bool {
        let mark = self.shard.keys_in_order().find(|(key, _)| *key == new.key).map(|(_, mark)| mark);
        let told = mark.is_some_and(|mark| mark & 0b100 != 0);
        match self.model.known(new.hash, self.limit) {
            Known::No => assert!(!told, "{}: {:?} was never evicted", self.trace, new.key),
            Known::Yes => {
                self.done.ghost_questions += 1;
                assert!(told, "{}: {:?} was evicted just now", self.trace, new.key);
            }
            Known::Perhaps => {}
        }
        told
    }

    /// Whether `bytes` may be too much beside what cannot go: what is reserved and leased, buffers, and the slack.
    fn is_crowded(&self, bytes: u64) -> bool {
        let leased: u64 = self.held.iter().map(|held| held.bytes.len() as u64).sum();
        let (_, slack, _) = self.shard.room_facts();
        let buffers = 50_000;
        self.budget > 0 && bytes + self.reserved + leased + buffers + slack + TABLES_BYTES > self.limit
    }

    fn refused(&mut self, refusal: Refusal, bytes: u64) {
        self.done.refusals += 1;
        assert!(self.is_crowded(bytes), "{}: {refusal:?} though there is room for {bytes} bytes", self.trace);
        let before = self.model.len();
        self.follow();
        assert_eq!(self.model.len(), before, "{}: a refusal changes nothing", self.trace);
    }

    fn get(&mut self, key: &[u8], verb: Verb<&[u8]>) {
        let Verb::Get { unless, with_value } = &verb else { unreachable!("the caller has just made it") };
        let (unless, with_value) = (unless.clone(), *with_value);
        let outcome = self.apply(key, verb);
        let Some(entry) = self.model.find(key).cloned() else {
            assert!(outcome == Outcome::Missing, "{}: {outcome:.200?}", self.trace);
            return self.follow();
        };
        let expected = if unless.is_some_and(|versions| versions.contains(Some(entry.version))) {
            Outcome::NotModified { version: entry.version }
        } else {
            let value = if with_value { Value::Inline(entry.bytes.clone()) } else { Value::Omitted };
            Outcome::Found { meta: self.meta(&entry, &outcome), media: entry.media, value }
        };
        assert!(outcome == expected, "{}\nshard: {outcome:.300?}\nmodel: {expected:.300?}", self.trace);
        self.model.touch(key);
        self.follow();
    }

    /// What must be known of an entry. A burst of writes in one millisecond borrows from the next ones, so that the times
    /// that were `told` may be a little ahead.
    fn meta(&self, entry: &Entry, told: &Outcome<Vec<u8>>) -> Meta {
        let Outcome::Found { meta: told, .. } = told else { panic!("{}: {told:.200?}", self.trace) };
        let now = self.now();
        let ahead = |told: u64, exact: u64| (exact..=exact + 1 + STEPS_AHEAD_MS).contains(&told);
        let (created, updated) = (now.wall_time_of(entry.created_ms), now.wall_time_of(entry.updated_ms));
        assert!(ahead(told.created_at.0, created.0) && ahead(told.updated_at.0, updated.0), "{}: {told:?}", self.trace);
        assert!(told.created_at <= told.updated_at, "{}: {told:?}", self.trace);
        Meta {
            kind: entry.kind,
            version: entry.version,
            created_at: told.created_at,
            updated_at: told.updated_at,
            expires: entry.deadline_ms.map(|deadline_ms| Expires {
                at: now.wall_time_of(deadline_ms),
                ttl_secs: ((deadline_ms - self.mono_ms) / 1_000) as u32,
            }),
            len: entry.bytes.len() as u64,
            raw_len: entry.raw_len,
        }
    }

    /// Asks the shard; a leased value is read at once, and the lease kept for later.
    fn apply(&mut self, key: &[u8], verb: Verb<&[u8]>) -> Outcome<Vec<u8>> {
        let (hash, now) = (self.hasher.hash(key), self.now());
        let outcome = self.shard.apply(now, Command { key, hash, verb }).map(<[u8]>::to_vec);
        let Outcome::Found { meta, media, value: Value::Leased(lease) } = outcome else { return outcome };
        let bytes = self.read(lease);
        assert!(bytes.len() > INLINE_VALUE_BYTES_MAX && self.held.iter().all(|held| held.lease != lease));
        self.done.leases += 1;
        self.held.push(Held { lease, bytes: bytes.clone() });
        Outcome::Found { meta, media, value: Value::Inline(bytes) }
    }

    /// Lets the model evict what the shard has evicted, which must be what it would have chosen itself.
    fn evict_missing(&mut self, but: Option<&[u8]>) -> u64 {
        let left: BTreeSet<Vec<u8>> = self.shard.keys_in_order().map(|(key, _)| key.to_vec()).collect();
        let missing: Vec<Vec<u8>> =
            self.model.all().map(|entry| entry.key.clone()).filter(|key| !left.contains(key)).collect();
        let evictions = missing.len() as u64;
        self.model.evict_all(missing, &self.trace);
        let surplus =
            |key: &Vec<u8>| self.model.find(key).is_none() && Some(&key[..]) != but && !self.expired.contains(key);
        assert!(!left.iter().any(surplus), "{}: something is there that should not be", self.trace);
        evictions
    }

    /// Follows what the shard has evicted, and compares the order and the marks of all that is left.
    fn follow(&mut self) {
        self.evict_missing(None);
        let model =
            self.model.small.iter().map(|entry| (entry, 0)).chain(self.model.main.iter().map(|entry| (entry, 4)));
        let is_s3_fifo = self.model.main.is_empty() || !self.model.small.is_empty() || self.is_marked();
        let shard = self.shard.keys_in_order().filter(|(key, _)| self.model.find(key).is_some());
        for ((entry, queue), (key, mark)) in model.zip(shard) {
            assert_eq!(entry.key, key, "{}: the order; {} evictions", self.trace, self.model.evictions);
            assert!(!is_s3_fifo || mark == queue | entry.uses, "{}: {key:?} is marked {mark}", self.trace);
        }
    }

    fn is_marked(&self) -> bool {
        self.shard.keys_in_order().any(|(_, mark)| mark != 0)
    }

    pub fn compare(&mut self, checks_all: bool) {
        if checks_all {
            self.shard.assert_invariants();
        }
        self.forget_freed();
        let left = self.expired.len();
        let stats = self.shard.stats();
        assert!(stats.entries as usize >= self.model.len(), "{}: {} entries", self.trace, stats.entries);
        assert!(stats.entries as usize <= self.model.len() + left, "{}: {} entries", self.trace, stats.entries);
        assert_eq!(stats.evictions, self.model.evictions, "{}: evictions", self.trace);
        let (committed, _, block_bytes) = self.shard.room_facts();
        let allowed = self.limit.saturating_add(4 * block_bytes + TABLES_BYTES);
        assert!(
            self.is_over || committed <= allowed,
            "{}: {committed} bytes of {}, blocks of {block_bytes}",
            self.trace,
            self.limit
        );
    }

    /// Gives everything back; nothing may be left.
    pub fn end(mut self) -> Done {
        while let Some(held) = self.held.pop() {
            assert!(self.read(held.lease) == held.bytes, "{}: a lease keeps the bytes", self.trace);
            self.shard.release(held.lease);
        }
        self.unreserve();
        self.shard.set_buffers(0);
        self.settle();
        self.shard.assert_invariants();
        self.done.evictions = self.model.evictions;
        self.done.recalled = self.model.recalled;
        let keys: Vec<Vec<u8>> = self.shard.keys_in_order().map(|(key, _)| key.to_vec()).collect();
        for key in keys {
            self.apply(&key, Verb::Delete { conditions: cache_service::command::Conditions::default() });
        }
        while self.shard.tick(self.now()) {}
        self.shard.assert_invariants();
        assert_eq!(self.shard.stats().entries, 0);
        assert!(self.shard.stats().memory_bytes < 100 * KIB + TABLES_BYTES, "{}", self.shard.stats().memory_bytes);
        self.done
    }
}

/// How far the times of a burst may be ahead: a round has fewer writes than this many milliseconds hold.
const STEPS_AHEAD_MS: u64 = 8;

fn payload_of(bytes: &[u8]) -> Payload<&[u8]> {
    if bytes.len() <= INLINE_VALUE_BYTES_MAX {
        return Payload::Inline(bytes);
    }
    let mut blob = Blob::new();
    blob.extend_from_slice(bytes).expect("memory");
    Payload::Blob(blob)
}
