//! What is done when nobody asks: in slices, so that nobody waits for it.

use super::Shard;
use super::eviction::PATIENCE;
use super::log::{Geometry, Log};
use crate::limits::{BLOB_CHUNKS_FREED_PER_SLICE, FREED_PER_SLICE_MAX};
use crate::time::Now;

/// Blocks that go back to the kernel in one slice of work.
const BLOCKS_UNMAPPED_PER_SLICE: usize = 4;
/// Spare blocks that are kept for what is written and moved, besides the slack.
const SPARE_BLOCKS_KEPT: u64 = 4;

impl Shard {
    /// Does one slice of the work that is due: frees expired entries, evicts entries over a lowered budget, gives memory
    /// back to the kernel. True if more is due now.
    pub fn tick(&mut self, now: Now) -> bool {
        let now = self.observe(now);
        let expiry_is_due = self.expire_slice(now);
        let freeing_is_due = self.values.free_dead(BLOB_CHUNKS_FREED_PER_SLICE);
        // What has expired goes before what lives.
        let has_shrunk = (!expiry_is_due && self.evict_slice(now)) | self.compact_slice();
        self.regain(now);
        self.fit_blocks();
        self.fit_blocks_beside_leases();
        self.unmap_surplus();
        self.stats.expiry_lag_ms = self.expiry_lag_ms(now);
        self.refresh_gauges();
        expiry_is_due || freeing_is_due || has_shrunk
    }

    /// Evicts for one slice of work what is over the limit; true if it still is, by more than a value that waits can
    /// live with, and there is nothing in the way of doing more. Cleaning that goes on in any case is not waited for.
    pub fn catch_up(&mut self, now: Now) -> bool {
        let now = self.observe(now);
        let can_go_on = self.expire_slice(now) || self.evict_slice(now) | self.compact_slice();
        self.refresh_gauges();
        can_go_on && (self.in_use() + self.slack_min() > self.budget.limit() || self.is_credit_used_up())
    }

    fn is_over(&self) -> bool {
        self.in_use().saturating_add(self.slack()) > self.budget.limit() || self.geometry_to_be().is_some()
    }

    /// What the log is to have as soon as nothing is left in it: smaller blocks, where those that there are, which are as
    /// large as the first budget asked for, are too large for the one that there is now: beside what it takes to work with them,
    /// two would not fit. Where they do fit, entries stay.
    pub(super) fn geometry_to_be(&self) -> Option<Geometry> {
        let fitting = Geometry::for_limit(self.budget.limit());
        let is_smaller = fitting.block_bytes() < self.log.geometry().block_bytes();
        let needed = self.index.bytes_min() + self.slack_min() + 2 * self.log.geometry().block_bytes();
        (is_smaller && needed > self.budget.limit()).then_some(fitting)
    }

    /// Begins anew with smaller blocks where these are too large, as soon as nothing is left in them.
    pub(super) fn fit_blocks(&mut self) {
        let Some(geometry) = self.geometry_to_be() else { return };
        let is_empty = self.index.len() == 0 && self.leases.len() == 0 && !self.values.has_dead();
        if is_empty && self.log.live_bytes() == 0 {
            self.begin_anew(geometry);
        }
    }

    /// The same where values are left that are being sent, if they fit: a reader that takes his time must not keep everybody
    /// from writing. Their ends come along, which are few bytes where blocks are too large.
    fn fit_blocks_beside_leases(&mut self) {
        let Some(geometry) = self.geometry_to_be() else { return };
        let is_left_to_readers = self.index.len() == 0 && !self.values.has_dead();
        if is_left_to_readers && self.fits_with(geometry, self.log.live_bytes() + self.fixed_bytes()) {
            let ends = self.values.take_ends(&self.log);
            self.begin_anew(geometry);
            ends.iter().for_each(|(id, end)| self.keep_end(*id, end));
            self.values.recount_leased(&self.log);
            self.refresh_gauges();
        }
    }

    fn begin_anew(&mut self, geometry: Geometry) {
        self.log = Log::new(geometry);
        self.due_ms = u64::MAX;
        self.refresh_gauges();
    }

    /// Evicts what is over the limit; true if that was not enough.
    fn evict_slice(&mut self, now: Now) -> bool {
        let mut patience = PATIENCE;
        for _ in 0..FREED_PER_SLICE_MAX {
            if !self.is_over() {
                return false;
            }
            if self.values.has_dead() {
                self.values.free_dead(1);
            } else if !self.evict_next(now, &mut patience) {
                return false;
            }
        }
        self.is_over()
    }

    /// Cleans and unmaps blocks that are over the limit, and cleans if much is dead. True if that was of use and there
    /// may be more to do.
    fn compact_slice(&mut self) -> bool {
        let is_over = |shard: &Self| shard.committed() > shard.budget.limit();
        for _ in 0..BLOCKS_UNMAPPED_PER_SLICE {
            if !is_over(self) || self.log.spare_blocks() <= 1 {
                break;
            }
            self.log.unmap_spare();
        }
        if !is_over(self) && !self.should_clean() {
            return false;
        }
        self.log.spare_blocks() > 1 && is_over(self) || self.clean_slice()
    }

    /// Gives back what cleaning and expiry have left over.
    fn unmap_surplus(&mut self) {
        let kept =
            self.slack().min(self.log.mapped_bytes() / 8) / self.log.geometry().block_bytes() + SPARE_BLOCKS_KEPT;
        for _ in 0..BLOCKS_UNMAPPED_PER_SLICE {
            if self.log.spare_blocks() <= kept {
                return;
            }
            self.log.unmap_spare();
        }
    }
}
