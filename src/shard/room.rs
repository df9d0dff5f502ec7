//! Making room: who goes so that something else may come.

use super::eviction::PATIENCE;
use super::log::{Geometry, Loc};
use super::record::Entry;
use super::{Shard, limit_of};
use crate::limits::{BLOCKS_IN_RESERVE, INDEX_SHARE_DIVISOR, SLACK_DIVISOR};
use crate::time::Now;

/// No write is so short that it could not win back so much of the slack, in bytes.
const SMALL_CHANGE_BYTES: u64 = 1024;

impl Shard {
    /// Bytes in use that do not lie in the log.
    pub(super) fn fixed_bytes(&self) -> u64 {
        self.table_bytes() + self.values.chunk_bytes() + self.budget.reserved() + self.budget.buffers()
    }

    fn table_bytes(&self) -> u64 {
        self.index.bytes() + self.log.table_bytes() + self.values.table_bytes() + self.media.bytes()
    }

    /// Bytes that count against the budget.
    pub(super) fn in_use(&self) -> u64 {
        self.log.live_bytes() + self.log.waste_bytes() + self.fixed_bytes()
    }

    /// Bytes that the process has from the kernel on behalf of this shard, or may soon have.
    pub(super) fn committed(&self) -> u64 {
        self.log.mapped_bytes() + self.fixed_bytes()
    }

    /// What may be committed: the limit, or what is committed already if the limit was lowered below that.
    fn ceiling(&self) -> u64 {
        self.budget.limit().max(self.committed())
    }

    /// Bytes that stay free of what is in use, so that cleaning always finds something to gain.
    pub(super) fn slack(&self) -> u64 {
        (self.budget.limit() / SLACK_DIVISOR).max(self.slack_min())
    }

    pub(super) fn slack_min(&self) -> u64 {
        BLOCKS_IN_RESERVE * self.log.geometry().block_bytes()
    }

    /// Whether `bytes` could fit into this shard's part of the budget if nothing else were there, and the kernel had memory for
    /// all of it.
    #[must_use]
    pub fn could_hold(&self, bytes: u64) -> bool {
        let geometry = self.geometry_to_be().unwrap_or_else(|| self.log.geometry());
        Self::fits_in(self.budget.wanted(), geometry, self.index.bytes_min().saturating_add(bytes))
    }

    /// Whether `bytes` in all fit into the limit beside what stays free in a log of this geometry.
    pub(super) fn fits_with(&self, geometry: Geometry, bytes: u64) -> bool {
        Self::fits_in(self.budget.limit(), geometry, bytes)
    }

    fn fits_in(limit: u64, geometry: Geometry, bytes: u64) -> bool {
        let block_bytes = geometry.block_bytes();
        let slack = (limit / SLACK_DIVISOR).max(BLOCKS_IN_RESERVE * block_bytes);
        (slack + block_bytes).saturating_add(bytes) <= limit
    }

    /// Whether `bytes` fit if every entry goes. Leased values stay even if their entries go, with what is wasted around
    /// them, and so do tables.
    pub(super) fn can_fit(&self, bytes: u64) -> bool {
        let leased = self.values.leased_bytes();
        let waste = if leased > 0 { self.log.waste_bytes() } else { 0 };
        self.fits_beside(self.table_bytes() + self.budget.reserved() + self.budget.buffers() + leased + waste, bytes)
    }

    /// Whether `bytes` fit beside what stays in any case. A block is left for what tables may grow by meanwhile.
    fn fits_beside(&self, immovable: u64, bytes: u64) -> bool {
        let needed = immovable + self.slack() + self.log.geometry().block_bytes();
        needed.saturating_add(bytes) <= self.budget.limit()
    }

    /// Whether `bytes` more would be too much, with this much slack.
    fn is_short_of(&self, bytes: u64, slack: u64) -> bool {
        let (in_log, addressable) = (self.log.live_bytes() + self.log.waste_bytes(), self.log.geometry().bytes_max());
        // Where there are no more addresses, the log needs slack to be cleaned as it does at the end of the budget.
        let kept_free = self.slack_min().max(addressable / SLACK_DIVISOR);
        let is_log_full = in_log + bytes.min(addressable) + kept_free > addressable;
        self.in_use().saturating_add(bytes).saturating_add(slack) > self.ceiling() || is_log_full
    }

    /// Drops entries until `bytes` more may be in use: expired ones first, as far as one slice of work finds them, then
    /// victims. False if that cannot be.
    ///
    /// The work is bounded by what `bytes` asks for: if others have taken up the slack meanwhile, that is made good by
    /// upkeep.
    pub(super) fn make_room(&mut self, now: Now, bytes: u64) -> bool {
        let mut patience = PATIENCE;
        let least = self.slack_to_keep(self.slack_min());
        let slack = self.slack_to_keep(self.slack());
        if self.is_short_of(bytes, slack) {
            self.expire_slice(now);
        }
        let used_before = self.in_use();
        loop {
            let has_paid = used_before.saturating_sub(self.in_use()) > 2 * bytes.max(SMALL_CHANGE_BYTES);
            if !self.is_short_of(bytes, if has_paid { least } else { slack }) {
                return true;
            }
            if self.values.has_dead() {
                self.values.free_dead(1);
            } else if !self.evict_next(now, &mut patience) {
                break;
            }
        }
        !self.is_short_of(bytes, least)
    }

    /// The slack that a write has to leave: `wanted`, but over the limit no more than there is now, since to win it back is
    /// left to upkeep then.
    fn slack_to_keep(&self, wanted: u64) -> u64 {
        let is_over = self.committed() > self.budget.limit();
        if is_over { wanted.min(self.committed() - self.in_use()) } else { wanted }
    }

    /// Drops one victim; false if there is none.
    pub(super) fn evict_next(&mut self, now: Now, patience: &mut u32) -> bool {
        let (order, values) = (&mut self.order, &self.values);
        let victim = order.victim(&mut self.log, patience, |log, loc| super::weight_of(log, values, loc));
        victim.map(|victim| self.evict(now, victim)).is_some()
    }

    fn evict(&mut self, now: Now, loc: Loc) {
        let entry = Entry(self.log.at(loc));
        let hash = self.hasher.hash(entry.key());
        if entry.expired(self.since_ms(now)) {
            return self.expire(hash, loc);
        }
        let weight = self.weight(loc);
        let leaves_ghost = self.order.leaves_ghost(&self.log, loc, weight);
        self.remove(hash, loc);
        self.stats.evictions += 1;
        // A slot that stays as a ghost keeps its table as large as it is. After the budget was lowered, or where entries are
        // tiny, that would evict entry after entry and free nothing, until nothing is left but tables.
        if self.index.bytes() > self.budget.limit() / INDEX_SHARE_DIVISOR {
            self.index.shed(hash);
        } else if leaves_ghost && let Some(age) = self.order.ghost_age() {
            self.index.remember(hash, age);
        }
    }

    /// Gives blocks and chunks back to the kernel until `bytes` that do not lie in the log may be committed.
    pub(super) fn make_space(&mut self, bytes: u64) {
        let allowed = self.ceiling();
        while self.committed().saturating_add(bytes) > allowed {
            let given_back = if self.values.has_dead() {
                self.values.free_dead(1);
                true
            } else if self.log.spare_blocks() > 1 {
                self.log.unmap_spare()
            } else {
                self.clean_slice()
            };
            if !given_back {
                break;
            }
        }
    }

    /// Sets `bytes` of the budget aside for a value that is being received by this core, and makes room for them.
    /// False, and nothing set aside or evicted, if they do not fit beside what is leased and reserved already.
    ///
    /// To reserve in steps as the bytes arrive spreads the evictions as well.
    #[must_use]
    pub fn reserve(&mut self, now: Now, bytes: u64) -> bool {
        let now = self.observe(now);
        let fits = self.can_fit(bytes) && self.make_room(now, bytes);
        if fits {
            self.make_space(bytes);
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

    /// Whether a long value of `bytes` that has arrived from another core must wait, so that room for it is made in
    /// slices: see [`Self::take_in`] and [`Self::catch_up`]. One that cannot be stored in any case need not.
    #[must_use]
    pub fn must_catch_up(&self, bytes: u64) -> bool {
        self.can_fit(bytes) && self.in_use() + bytes + self.slack() > self.budget.limit()
    }

    /// What the shard may use, in bytes; `u64::MAX` if that is not limited.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.budget.limit()
    }

    /// Takes note of memory that exists already: a long value that has arrived from another core, `bytes` long. To be
    /// taken back by [`Self::unreserve`] when the value is stored. [`Self::catch_up`] makes the room.
    pub fn take_in(&mut self, bytes: u64) {
        self.budget.reserve(bytes);
        self.refresh_gauges();
    }

    /// Takes note of what the buffers of the core's connections take, in bytes.
    pub fn set_buffers(&mut self, bytes: u64) {
        self.budget.set_buffers(bytes);
        self.refresh_gauges();
    }

    /// Changes this shard's part of the memory budget, in bytes; `None`: unlimited. [`Self::tick`] evicts what no
    /// longer fits, slice by slice; until it is done no write adds to what is in use.
    pub fn set_budget(&mut self, budget_bytes: Option<u64>) {
        let limit = limit_of(budget_bytes);
        self.budget.want(limit);
        self.set_limit(limit);
        self.refresh_gauges();
    }

    pub(super) fn set_limit(&mut self, limit: u64) {
        self.budget.set_limit(limit);
        self.order.set_limit(limit);
        self.fit_blocks();
    }
}
