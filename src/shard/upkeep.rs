//! What happens to entries that nobody asked about: making room, expiry, and freeing what is dead.

use super::Shard;
use super::expiry::Step;
use super::store::Handle;
use crate::limits::{BLOB_CHUNKS_FREED_PER_SLICE, FREED_PER_SLICE_MAX, INLINE_VALUE_BYTES_MAX};
use crate::time::Now;

impl Shard {
    /// Sets `bytes` of the budget aside for a value that is being received by this core, and makes room for them.
    /// False, and nothing set aside or evicted, if they do not fit beside what is leased and reserved already.
    ///
    /// To reserve in steps as the bytes arrive spreads the evictions as well.
    #[must_use]
    pub fn reserve(&mut self, now: Now, bytes: u64) -> bool {
        let now = self.observe(now);
        self.free_slice();
        let fits = self.can_fit(bytes);
        if fits {
            self.make_room(now, bytes, 0);
            self.budget.reserve(bytes);
        }
        self.refresh_gauges();
        fits
    }

    /// Gives back what was set aside.
    ///
    /// # Panics
    /// If it is more than that.
    pub fn unreserve(&mut self, bytes: u64) {
        self.budget.unreserve(bytes);
        self.refresh_gauges();
    }

    /// Changes this shard's part of the memory budget, in bytes; `None`: unlimited. [`Self::tick`] evicts what no
    /// longer fits, slice by slice; until it is done no write adds to what is in use.
    pub fn set_budget(&mut self, budget: Option<u64>) {
        let in_use = self.in_use();
        self.budget.set_limit(budget, in_use);
    }

    /// Does one slice of the work that is due: removes expired entries, evicts entries over a lowered budget, frees
    /// long values that nobody holds any more. True if more is due now.
    pub fn tick(&mut self, now: Now) -> bool {
        let now = self.observe(now);
        let expiry_is_due = self.expire_slice(now);
        let eviction_is_due = self.evict_slice(now);
        let freeing_is_due = self.free_slice();
        expiry_is_due || eviction_is_due || freeing_is_due
    }

    /// Bytes that count against the budget: entries, reservations, and values that only leases hold.
    pub(super) fn in_use(&self) -> u64 {
        self.store.live_bytes() + self.budget.reserved() + self.store.blobs.orphaned_bytes()
    }

    /// Makes room for an entry of `footprint` bytes that may replace `existing`, and counts that as a use of the
    /// latter. False, and nothing changed, if it cannot fit.
    pub(super) fn admit(&mut self, now: Now, existing: Option<Handle>, footprint: u64) -> bool {
        if footprint > INLINE_VALUE_BYTES_MAX as u64 {
            self.free_slice();
        }
        if !self.can_fit(footprint) {
            return false;
        }
        // The entry that is being replaced is now the last that could be a victim; since the new one fits beside
        // what cannot go, there is room before its turn comes.
        let outgoing = existing.map_or(0, |handle| {
            self.order.touch(handle);
            self.store.reclaimable(handle)
        });
        self.make_room(now, footprint, outgoing);
        true
    }

    /// An entry's time has come.
    pub(super) fn expire(&mut self, handle: Handle) {
        self.remove(handle);
        self.stats.expirations += 1;
    }

    /// Whether `bytes` could fit into this shard's part of the budget if nothing else were there.
    #[must_use]
    pub fn could_hold(&self, bytes: u64) -> bool {
        bytes <= self.budget.limit()
    }

    /// Whether `bytes` fit if every entry goes. Leased values stay even if their entries go.
    fn can_fit(&self, bytes: u64) -> bool {
        let immovable = self.budget.reserved() + self.store.blobs.leased_bytes();
        immovable.saturating_add(bytes) <= self.budget.limit()
    }

    /// Drops entries until `incoming` bytes more fit when `outgoing` ones have gone: expired entries first, as far
    /// as one slice of work finds them, then victims. The caller has made sure that this can be achieved.
    fn make_room(&mut self, now: Now, incoming: u64, outgoing: u64) {
        let mut steps = FREED_PER_SLICE_MAX;
        while (self.in_use() - outgoing).saturating_add(incoming) > self.budget.ceiling() {
            if steps > 0 && self.expire_step(now) {
                steps -= 1;
                continue;
            }
            steps = 0;
            let victim = self.order.victim().expect("what fits beside the immovable fits when all entries are gone");
            self.evict(now, victim);
        }
    }

    fn evict(&mut self, now: Now, handle: Handle) {
        if self.store.facts(handle).expired(now.mono().as_millis()) {
            self.expire(handle);
        } else {
            self.remove(handle);
            self.stats.evictions += 1;
        }
    }

    /// One step of expiry; false if no deadline has passed.
    fn expire_step(&mut self, now: Now) -> bool {
        let store = &self.store;
        let deadline_of = |handle| store.facts(handle).deadline_ms.expect("only entries that expire are in the wheel");
        match self.deadlines.step(now.mono().as_millis(), deadline_of) {
            Step::Due(handle) => self.expire(handle),
            Step::Moved => {}
            Step::Idle => return false,
        }
        true
    }

    fn free_slice(&mut self) -> bool {
        let more = self.store.blobs.free_dead(BLOB_CHUNKS_FREED_PER_SLICE);
        self.refresh_gauges();
        more
    }

    fn expire_slice(&mut self, now: Now) -> bool {
        (0..FREED_PER_SLICE_MAX).all(|_| self.expire_step(now))
    }

    fn evict_slice(&mut self, now: Now) -> bool {
        for _ in 0..FREED_PER_SLICE_MAX {
            match self.order.victim() {
                Some(victim) if self.in_use() > self.budget.limit() => self.evict(now, victim),
                _ => break,
            }
        }
        let in_use = self.in_use();
        self.budget.lower_ceiling(in_use);
        in_use > self.budget.limit() && self.order.victim().is_some()
    }
}
