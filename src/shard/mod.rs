//! One shard: a single-threaded, deterministic cache that is asked with [`crate::command`]s and told the time.
//!
//! | module | what it is about |
//! | --- | --- |
//! | `read`, `write`, `counter` | the verbs |
//! | `upkeep` | making room, expiry, freeing: what happens to entries that nobody asked about |
//! | `index` | lookup by hash |
//! | `store`, `blobs`, `lease` | where bytes live, what they cost and who holds them |
//! | `expiry` | deadlines |
//! | `eviction` | the order of victims |
//! | `budget` | how much memory may be used |
//!
//! **Memory.** In use are the entries, what is reserved for values being received, and the long values that lost
//! their entries but are still leased. That sum never grows beyond the budget: room is made before anything is
//! admitted, first from expired entries, then from the least recently used ones. Long values that nobody holds any
//! more lie in a graveyard until they are freed chunk by chunk. The graveyard is reported as memory, but it makes no
//! room and takes none: counted in, a long write would find its victims' bytes still there and evict ever more.
//! Instead whoever asks for room for a long value frees a slice of the graveyard first.

mod blobs;
mod budget;
mod counter;
mod eviction;
mod expiry;
mod footprint;
mod index;
mod lease;
mod read;
pub mod stats;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;
mod write;

use crate::blob::Blob;
use crate::command::{Command, LeaseId, Outcome, Verb, Version};
use crate::routing::KeyHash;
use crate::time::{Mono, Now};
use budget::Budget;
use eviction::Lru;
use expiry::Wheel;
use index::Index;
use lease::Leases;
use stats::ShardStats;
use store::{Handle, Store};

/// How a shard begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardConfig {
    /// This shard's part of the memory budget, in bytes, overhead included; `None`: unlimited.
    pub budget_bytes: Option<u64>,
    /// The version of the first write; the following ones count up from there. It must be above every version that
    /// an earlier process gave to keys of this shard.
    pub first_version: u64,
}

/// One shard of the cache.
#[derive(Debug)]
pub struct Shard {
    index: Index,
    store: Store,
    leases: Leases,
    deadlines: Wheel,
    order: Lru,
    budget: Budget,
    stats: ShardStats,
    next_version: u64,
    /// The latest moment that the shard was told of.
    latest: Mono,
}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(config: ShardConfig) -> Self {
        Self {
            index: Index::default(),
            store: Store::default(),
            leases: Leases::default(),
            deadlines: Wheel::default(),
            order: Lru::default(),
            budget: Budget::new(config.budget_bytes),
            stats: ShardStats::default(),
            next_version: config.first_version,
            latest: Mono::default(),
        }
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
        match verb {
            Verb::Get { unless, with_value } => self.get(now, key, hash, unless.as_ref(), with_value),
            Verb::Put(put) => self.put(now, key, hash, put),
            Verb::Delete { conditions } => self.delete(now, key, hash, &conditions),
            Verb::Incr { delta, ttl } => self.incr(now, key, hash, delta, ttl),
        }
    }

    /// The bytes of a leased value from `offset` to the end of their chunk; empty at the end of the value.
    ///
    /// # Panics
    /// If there is no such lease.
    #[must_use]
    pub fn lease_slice(&self, lease: LeaseId, offset: u64) -> &[u8] {
        let blob = self.leases.blob(lease).expect("a lease is read before it is released");
        self.store.blobs.get(blob).slice_from(offset)
    }

    /// Ends a lease.
    ///
    /// # Panics
    /// If there is no such lease.
    pub fn release(&mut self, lease: LeaseId) {
        let blob = self.leases.end(lease).expect("a lease is released once");
        self.store.blobs.release(blob);
        self.refresh_gauges();
    }

    /// Takes in a long value that is not wanted any more, to be freed in slices by [`Self::tick`].
    pub fn discard(&mut self, blob: Blob) {
        self.store.blobs.discard(blob);
        self.refresh_gauges();
    }

    /// What the shard has counted.
    #[must_use]
    pub const fn stats(&self) -> &ShardStats {
        &self.stats
    }

    /// The memory that an entry takes, in bytes, from the lengths of its key, its media type and its payload.
    #[must_use]
    pub fn entry_footprint(key_len: usize, media_len: usize, payload_len: u64) -> u64 {
        store::entry_footprint(key_len, media_len, payload_len)
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
        self.store.assert_invariants();
        let mut in_order: Vec<Handle> = self.order.iter().take(self.store.len() + 1).collect();
        in_order.sort_unstable_by_key(|handle| handle.0);
        assert!(self.store.handles().eq(in_order), "the order of eviction holds every entry once");
        assert_eq!(self.index.len(), self.store.len(), "the index holds every entry once");
        let deadline_of = |handle| self.store.facts(handle).deadline_ms.expect("only entries that expire are there");
        let mut with_deadline = 0;
        for handle in self.store.handles() {
            let facts = self.store.facts(handle);
            assert_eq!(self.find(facts.hash, self.store.key(handle)), Some(handle), "the index finds every entry");
            assert_eq!(self.deadlines.contains(handle), facts.deadline_ms.is_some(), "what expires has a deadline");
            with_deadline += usize::from(facts.deadline_ms.is_some());
        }
        assert_eq!(self.deadlines.assert_invariants(deadline_of), with_deadline, "no deadline is stale");
        assert_eq!(self.store.blobs.leases(), self.leases.len() as u64, "every lease holds a blob");
        assert!(self.in_use() <= self.budget.ceiling(), "room is made before it is needed");
        assert_eq!(self.stats.entries, self.store.len() as u64);
        assert_eq!(self.stats.memory_bytes, self.in_use() + self.store.blobs.graveyard_bytes());
    }

    /// Time never goes back here, even if it should for the caller: what has expired stays expired.
    fn observe(&mut self, now: Now) -> Now {
        self.latest = self.latest.max(now.mono());
        Now::new(self.latest, now.wall_time_of(0).0)
    }

    fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Handle> {
        self.index.find(hash, |handle| self.store.key(handle) == key)
    }

    /// The entry with this key. If its time has come it goes at once.
    fn find_live(&mut self, now: Now, hash: KeyHash, key: &[u8]) -> Option<Handle> {
        let handle = self.find(hash, key)?;
        if self.store.facts(handle).expired(now.mono().as_millis()) {
            self.expire(handle);
            return None;
        }
        Some(handle)
    }

    /// Removes an entry from everywhere.
    fn remove(&mut self, handle: Handle) {
        self.index.remove(self.store.facts(handle).hash, handle);
        self.order.remove(handle);
        self.deadlines.remove(handle);
        self.store.remove(handle);
        self.refresh_gauges();
    }

    /// The version of the next successful write.
    fn take_version(&mut self) -> Version {
        let version = Version(self.next_version);
        self.next_version = self.next_version.wrapping_add(1);
        version
    }

    fn refresh_gauges(&mut self) {
        self.stats.entries = self.store.len() as u64;
        self.stats.memory_bytes = self.in_use() + self.store.blobs.graveyard_bytes();
    }
}
