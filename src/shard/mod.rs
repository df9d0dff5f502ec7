//! One shard: a single-threaded, deterministic cache that is asked with [`crate::command`]s and told the time.
//!
//! | module | what it is about |
//! | --- | --- |
//! | `read`, `write`, `counter` | the verbs |
//! | `room`, `budget` | how much memory may be used, and who goes so that it suffices |
//! | `cleaning` | moving records together, so that blocks become free |
//! | `expiry` | entries whose time has come |
//! | `upkeep` | what is done when nobody asks |
//! | `log`, `record` | where bytes live: records in blocks |
//! | `held`, `lease` | long values, and who holds them |
//! | `index` | lookup by hash |
//! | `eviction` | the order of victims |
//! | `versions`, `media` | what entries share |
//!
//! **Memory.** In use are the live records, the rests at the ends of blocks, the chunks of long values, the index and the
//! other tables, what is reserved for values being received, and the buffers of the core's connections. That sum and
//! the slack that the log needs to be cleaned stay within the budget: room is made before anything is admitted, first
//! from expired entries, then in the order of the policy. What is mapped stays within it as well: a block is mapped only
//! if it fits, else one is cleaned.

mod budget;
mod cleaning;
mod counter;
mod eviction;
mod expiry;
mod held;
mod index;
mod lease;
mod log;
mod media;
mod read;
mod record;
mod regain;
mod room;
#[cfg(test)]
mod small_tests;
pub mod stats;
#[cfg(test)]
mod tests;
mod upkeep;
mod versions;
mod write;

use crate::blob::Blob;
use crate::command::{Command, LeaseId, Outcome, Verb};
use crate::limits::{SHARD_BUDGET_BYTES_MIN, STREAM_STEP_BYTES};
use crate::memory::{CACHE_LINE_BYTES, prefetch};
use crate::routing::{KeyHash, KeyHasher};
use crate::time::{Mono, Now};
use budget::Budget;
use eviction::Order;
pub use eviction::{EvictionPolicy, PATIENCE};
use held::LongValues;
use index::Index;
use lease::Leases;
use log::{Geometry, Loc, Log};
use media::MediaTypes;
pub use read::Glance;
use record::Entry;
use regain::Denial;
use stats::ShardStats;
use versions::Versions;

/// So much of an entry is foreseen: a key and a value that are short.
const LINES_FORESEEN: usize = 3;

/// How a shard begins.
#[derive(Clone, Copy, Debug)]
pub struct ShardConfig {
    /// This shard's part of the memory budget, in bytes, overhead included; `None`: unlimited. Less than
    /// [`SHARD_BUDGET_BYTES_MIN`] counts as that.
    pub budget_bytes: Option<u64>,
    /// The version of the first write; the following ones count up from there. It must be above every version that
    /// an earlier process gave to keys of this shard.
    pub first_version: u64,
    /// Who goes when there is no room.
    pub policy: EvictionPolicy,
    /// What the keys of commands are hashed with.
    pub hasher: KeyHasher,
}

/// What an entry takes, in bytes. For tests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Its record, before rounding.
    pub record: usize,
    /// All that it takes in the log and in chunks.
    pub weight: u64,
    /// Whether its value lies outside of the record.
    pub is_long: bool,
}

/// Where an entry probably lies: see [`Shard::foresee_entry`]. Good until any entry comes, goes or moves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spot {
    loc: Option<Loc>,
    changes: u64,
}

/// One shard of the cache.
#[derive(Debug)]
pub struct Shard {
    hasher: KeyHasher,
    index: Index,
    log: Log,
    values: LongValues,
    leases: Leases,
    media: MediaTypes,
    order: Order,
    budget: Budget,
    versions: Versions,
    stats: ShardStats,
    /// The first moment that the shard was told of; times in records count from there.
    began: Option<Mono>,
    /// The latest moment that the shard was told of.
    latest: Mono,
    denial: Denial,
    /// Nothing in the log expires before this, in milliseconds since the shard began.
    due_ms: u64,
}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(config: ShardConfig) -> Self {
        Self::with_log(config, Geometry::for_limit(limit_of(config.budget_bytes)))
    }

    fn with_log(config: ShardConfig, geometry: Geometry) -> Self {
        let limit = limit_of(config.budget_bytes);
        let mut shard = Self {
            hasher: config.hasher,
            index: Index::new(limit),
            log: Log::new(geometry),
            values: LongValues::default(),
            leases: Leases::default(),
            media: MediaTypes::default(),
            order: Order::new(config.policy, limit),
            budget: Budget::new(limit),
            versions: Versions::new(config.first_version),
            stats: ShardStats::default(),
            began: None,
            latest: Mono::default(),
            denial: Denial::default(),
            due_ms: u64::MAX,
        };
        shard.refresh_gauges();
        shard
    }

    /// Carries out one command; the answer's bytes are the shard's own.
    ///
    /// [`crate::command::Refusal::OverBudget`] means that the entry does not fit even if all others go; what is
    /// leased or reserved meanwhile cannot go.
    ///
    /// # Panics
    /// If the key, the media type or an inline value is longer than [`crate::limits`] allow, or a blob is not longer
    /// than an inline value may be.
    pub fn apply(&mut self, now: Now, command: Command<&[u8]>) -> Outcome<&[u8]> {
        let now = self.observe(now);
        let Command { key, hash, verb } = command;
        debug_assert_eq!(hash, self.hasher.hash(key), "keys are hashed as the shard hashes them");
        match verb {
            Verb::Get { unless, with_value } => self.get(now, key, hash, unless.as_ref(), with_value),
            Verb::Put(put) => self.put(now, key, hash, put),
            Verb::Delete { conditions } => self.delete(now, key, hash, &conditions),
            Verb::Incr { delta, ttl } => self.incr(now, key, hash, delta, ttl),
        }
    }

    /// The bytes of a leased value from `offset` on, as far as they lie together; empty at the end of the value.
    /// There they stay until the lease is released, but for those of the value's end, behind its whole chunks, which
    /// may move when the shard is asked for anything.
    ///
    /// # Panics
    /// If there is no such lease.
    #[must_use]
    pub fn lease_rest(&self, lease: LeaseId, offset: u64) -> &[u8] {
        let value = self.leases.value(lease).expect("a lease is read before it is released");
        self.values.slice_from(&self.log, value, offset)
    }

    /// The same up to the end of a step of [`crate::limits::STREAM_STEP_BYTES`], for who copies them.
    ///
    /// # Panics
    /// See [`Self::lease_rest`].
    #[must_use]
    pub fn lease_slice(&self, lease: LeaseId, offset: u64) -> &[u8] {
        let bytes = self.lease_rest(lease, offset);
        let step = STREAM_STEP_BYTES - (offset % STREAM_STEP_BYTES as u64) as usize;
        &bytes[..bytes.len().min(step)]
    }

    /// Ends a lease.
    ///
    /// # Panics
    /// If there is no such lease.
    pub fn release(&mut self, lease: LeaseId) {
        let value = self.leases.end(lease).expect("a lease is released once");
        self.values.release(&mut self.log, value);
        self.refresh_gauges();
    }

    /// Takes in a long value that is not wanted any more, to be freed in slices by [`Self::tick`].
    pub fn discard(&mut self, blob: Blob) {
        let (mut chunks, rest) = blob.into_parts();
        chunks.extend(rest.into_chunk());
        self.values.discard(chunks);
        self.refresh_gauges();
    }

    /// What the shard has counted.
    #[must_use]
    pub const fn stats(&self) -> &ShardStats {
        &self.stats
    }

    /// Whether any long value is held for somebody who sends it.
    #[must_use]
    pub fn has_leases(&self) -> bool {
        self.leases.len() > 0
    }

    /// Checks everything in the shard against everything else; takes time in proportion to what it holds.
    ///
    /// # Panics
    /// If something does not fit together.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        let mut owned = Vec::new();
        let mut entries = 0;
        self.log.assert_invariants(|loc, kind| match kind {
            record::Kind::Entry => {
                let entry = Entry(self.log.at(loc));
                owned.extend(entry.held());
                entries += 1;
                self.find(self.hasher.hash(entry.key()), entry.key()) == Some(loc)
            }
            record::Kind::Piece(value, place) => self.values.has_piece(value, place, loc),
        });
        owned.sort_unstable();
        self.values.assert_invariants(&self.log, &owned);
        self.index.assert_invariants();
        assert_eq!((self.index.len(), self.stats.entries), (entries, entries as u64));
        let mut in_order: Vec<Loc> = self.order.entries(&self.log).take(entries + 1).collect();
        in_order.sort_unstable();
        in_order.dedup();
        assert_eq!(in_order.len(), entries, "the order of eviction holds every entry once");
        self.order.assert_invariants(&self.log, |log, loc| weight_of(log, &self.values, loc));
        assert_eq!(self.values.leases(), self.leases.len() as u64, "every lease holds a long value");
        assert!(self.due_ms <= self.log.due_ms(), "no deadline is missed");
        assert_eq!(self.stats.memory_bytes, self.in_use());
        assert_eq!(self.log.mapped_bytes() + self.fixed_bytes(), self.committed());
    }

    /// The keys of all entries, in the order in which the policy keeps them, with their marks. For tests.
    #[doc(hidden)]
    pub fn keys_in_order(&self) -> impl Iterator<Item = (&[u8], u8)> {
        self.order.entries(&self.log).map(|loc| Entry(self.log.at(loc))).map(|entry| (entry.key(), entry.mark()))
    }

    /// What the entry with this key takes, if it is there. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn footprint_of(&self, key: &[u8]) -> Option<Footprint> {
        let loc = self.find(self.hasher.hash(key), key)?;
        let entry = Entry(self.log.at(loc));
        Some(Footprint { record: entry.len(), weight: self.weight(loc), is_long: entry.held().is_some() })
    }

    /// The bytes that are mapped or set aside, those that writes leave free, and the size of a block. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn room_facts(&self) -> (u64, u64, u64) {
        (self.committed(), self.slack(), self.log.geometry().block_bytes())
    }

    /// The bytes that are set aside for values being received. For tests.
    #[doc(hidden)]
    #[must_use]
    pub const fn reserved_bytes(&self) -> u64 {
        self.budget.reserved()
    }

    /// Time never goes back here, even if it should for the caller: what has expired stays expired.
    fn observe(&mut self, now: Now) -> Now {
        self.latest = self.latest.max(now.mono());
        self.began.get_or_insert(self.latest);
        Now::new(self.latest, now.wall_time_of(0).0)
    }

    fn began_ms(&self) -> u64 {
        self.began.map_or(0, Mono::as_millis)
    }

    /// Milliseconds since the shard began, as times are kept in records.
    fn since_ms(&self, now: Now) -> u64 {
        now.mono().as_millis() - self.began_ms()
    }

    /// Has the processor fetch what it takes to find the entry under `hash`: a lookup is two waits for memory, one after the
    /// other, each as long as a hundred instructions or more. To be called some time before [`Shard::foresee_entry`].
    pub fn foresee(&self, hash: KeyHash) {
        self.index.foresee(hash);
    }

    /// Has the processor fetch the beginning of the entry under `hash`, and says where that is. To be called some time before
    /// the entry is asked for.
    pub fn foresee_entry(&self, hash: KeyHash) -> Spot {
        let loc = self.index.find(hash, |_| true);
        if let Some(loc) = loc {
            self.log.at(loc).iter().step_by(CACHE_LINE_BYTES).take(LINES_FORESEEN).for_each(prefetch);
        }
        Spot { loc, changes: self.index.changes() }
    }

    /// The same as [`Shard::find`] where `spot` may be the place.
    fn find_at(&self, spot: Spot, hash: KeyHash, key: &[u8]) -> Option<Loc> {
        let still = spot.loc.filter(|_| spot.changes == self.index.changes());
        still.filter(|&loc| Entry(self.log.at(loc)).key() == key).or_else(|| self.find(hash, key))
    }

    #[inline]
    fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Loc> {
        self.index.find(hash, |loc| Entry(self.log.at(loc)).key() == key)
    }

    /// The entry with this key. If its time has come it goes at once.
    fn find_live(&mut self, now: Now, hash: KeyHash, key: &[u8]) -> Option<Loc> {
        let loc = self.find(hash, key)?;
        if Entry(self.log.at(loc)).expired(self.since_ms(now)) {
            self.expire(hash, loc);
            return None;
        }
        Some(loc)
    }

    /// An entry's time has come.
    fn expire(&mut self, hash: KeyHash, loc: Loc) {
        self.remove(hash, loc);
        self.stats.expirations += 1;
    }

    /// The memory that an entry takes, in bytes: its record and its long value.
    fn weight(&self, loc: Loc) -> u64 {
        weight_of(&self.log, &self.values, loc)
    }

    /// Removes an entry from everywhere.
    fn remove(&mut self, hash: KeyHash, loc: Loc) {
        let weight = self.weight(loc);
        self.index.remove(hash, loc);
        self.order.remove(&mut self.log, loc, weight);
        let held = Entry(self.log.at(loc)).held();
        self.log.free(loc);
        if let Some(value) = held {
            self.values.disown(&mut self.log, value);
        }
        self.refresh_gauges();
    }

    fn refresh_gauges(&mut self) {
        self.stats.entries = self.index.len() as u64;
        self.stats.memory_bytes = self.in_use();
        self.stats.denied_bytes = self.budget.missing();
    }
}

fn limit_of(budget_bytes: Option<u64>) -> u64 {
    budget_bytes.map_or(u64::MAX, |bytes| bytes.max(SHARD_BUDGET_BYTES_MIN))
}

fn weight_of(log: &Log, values: &LongValues, loc: Loc) -> u64 {
    let entry = Entry(log.at(loc));
    log.geometry().room(entry.len()) as u64 + entry.held().map_or(0, |value| values.footprint(log, value))
}
