//! Moving records together, so that blocks become free.
//!
//! Of all blocks, the one with most dead bytes is cleaned next ("greedy"). Under policies that evict in the order of
//! arrival whole blocks die by themselves, and next to nothing is moved; in the worst case, when values are
//! overwritten at random by others of other lengths, what is moved for each byte written depends on the slack.

use super::Shard;
use super::eviction::PATIENCE;
use super::log::{Loc, Stream};
use super::record::{Entry, Kind, Record};
use crate::limits::BLOCKS_IN_RESERVE;
use crate::memory::NoMemory;
use crate::time::Now;
use std::alloc::{Layout, handle_alloc_error};

/// Cleaning begins when fewer blocks than this could be opened.
const BLOCKS_AHEAD: u64 = BLOCKS_IN_RESERVE - 2;
/// Upkeep helps when fewer blocks than this could be opened.
const BLOCKS_PRESSED: u64 = 2;
/// One block is left to what is moved.
const BLOCKS_LEFT_TO_MOVES: u64 = 1;
/// So many blocks may be mapped beyond the limit rather than make a write wait until one is clean.
const BLOCKS_ON_CREDIT: u64 = 4;
/// Beside its bytes, a record costs as much to move as so many bytes.
const BYTES_PER_MOVE: u64 = 128;
/// No write, and no slice of upkeep, cleans more than this, in bytes as they are counted here: some 140 short records.
const QUOTA_MAX: u64 = 32 * 1024;

impl Shard {
    /// Blocks that could be opened without growing beyond the limit.
    fn blocks_available(&self) -> u64 {
        let block_bytes = self.log.geometry().block_bytes();
        let unmapped = self.budget.limit().saturating_sub(self.committed()) / block_bytes;
        let addressable = (self.log.geometry().bytes_max() - self.log.mapped_bytes()) / block_bytes;
        self.log.spare_blocks() + unmapped.min(addressable)
    }

    /// Whether more is mapped than the limit allows, and that much more that it cannot go on.
    pub(super) fn is_credit_used_up(&self) -> bool {
        let (limit, geometry) = (self.budget.limit(), self.log.geometry());
        let credit = BLOCKS_ON_CREDIT * geometry.block_bytes();
        self.committed() >= limit.saturating_add(credit)
            // What is moved needs a block with an address, too.
            || self.log.mapped_bytes() + 2 * geometry.block_bytes() > geometry.bytes_max()
    }

    /// Whether it is time to clean: blocks are few, or more than a quarter of the log is dead.
    pub(super) fn should_clean(&self) -> bool {
        let mapped = self.log.mapped_bytes();
        self.blocks_available() < BLOCKS_AHEAD
            || self.log.dead_bytes() > mapped / 4 + BLOCKS_AHEAD * self.log.geometry().block_bytes()
    }

    /// Whether writes use up blocks faster than they clean them, so that upkeep should help at once.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.blocks_available() < BLOCKS_PRESSED && self.log.dead_bytes() > self.slack_min() / 2
    }

    /// Takes `len` bytes of the log for a record that a client has written; the caller fills them at once.
    pub(super) fn place(&mut self, len: usize) -> Loc {
        self.keep_pace(len);
        if self.log.room(Stream::Written) < self.log.geometry().room(len) {
            self.open_block();
        }
        self.log.append(Stream::Written, len)
    }

    /// Opens a further block for what clients write. If cleaning did not keep pace, a little credit is taken; if that is
    /// used up, it is finished now.
    pub(super) fn open_block(&mut self) {
        while self.blocks_available() <= BLOCKS_LEFT_TO_MOVES && self.is_credit_used_up() && self.clean_slice() {}
        while self.log.open_block(Stream::Written).is_err() {
            self.do_with_what_there_is();
            if self.is_open_block_empty() {
                return;
            }
        }
    }

    /// The kernel gives no more memory: what it has given must do. The limit comes down to that, less what upkeep gives back
    /// for the sake of everything else in this process, and entries go until a block is free.
    fn do_with_what_there_is(&mut self) {
        self.stats.blocks_denied += 1;
        self.denial.again(self.latest.as_millis());
        let block_bytes = self.log.geometry().block_bytes();
        let granted = self.committed().saturating_sub(BLOCKS_ON_CREDIT * block_bytes);
        // Below that a shard would hold next to nothing, and refuse the rest.
        let least = 2 * self.slack_min() + self.index.bytes_min();
        self.set_limit(granted.max(least).min(self.budget.limit()));
        let (now, mut patience) = (Now::new(self.latest, 0), PATIENCE);
        // A shard that has one block only can have no spare one, but may empty that.
        while self.log.spare_blocks() == 0 && !self.is_open_block_empty() {
            if !self.clean_slice() && !self.evict_next(now, &mut patience) {
                let block = Layout::array::<u8>(block_bytes as usize);
                handle_alloc_error(block.expect("a block is short"));
            }
        }
    }

    fn is_open_block_empty(&self) -> bool {
        self.log.room(Stream::Written) as u64 == self.log.geometry().block_bytes()
    }

    /// Cleans as much as is fair for one who writes `len` bytes: so much that a further block is free before the one that
    /// is open is full.
    fn keep_pace(&mut self, len: usize) {
        if !self.should_clean() {
            return;
        }
        let gain = self.log.dead_bytes_to_gain();
        if gain == 0 {
            return;
        }
        let per_byte = self.log.geometry().block_bytes() / gain + 1;
        // Half as much again, since the guess may be low.
        self.clean((len as u64 + BYTES_PER_MOVE) * per_byte * 3 / 2);
    }

    /// Cleans for one slice of work. False if there is nothing to gain.
    pub(super) fn clean_slice(&mut self) -> bool {
        self.clean(QUOTA_MAX)
    }

    fn clean(&mut self, quota: u64) -> bool {
        let mut left = quota.min(QUOTA_MAX);
        while left > 0 {
            let Some(cost) = self.move_next() else { return false };
            left = left.saturating_sub(cost);
        }
        true
    }

    /// Moves one record; returns what that cost.
    fn move_next(&mut self) -> Option<u64> {
        let (loc, passed) = self.log.next_to_move()?;
        if self.relocate(loc).is_err() {
            self.log.put_off(loc);
            return None;
        }
        Some(passed as u64 + BYTES_PER_MOVE)
    }

    fn relocate(&mut self, from: Loc) -> Result<(), NoMemory> {
        let record = Record(self.log.at(from));
        let (kind, room) = (record.kind(), self.log.geometry().room(record.len()));
        if self.log.room(Stream::Moved) < room {
            self.log.open_block(Stream::Moved)?;
        }
        let to = self.log.copy(from);
        match kind {
            Kind::Piece(value, place) => self.values.moved(value, place, from, to),
            Kind::Entry => {
                let entry = Entry(self.log.at(to));
                let (hash, deadline_ms) = (self.hasher.hash(entry.key()), entry.deadline_ms());
                self.index.moved(hash, from, to);
                self.order.moved(&mut self.log, to);
                if let Some(deadline_ms) = deadline_ms {
                    self.note_deadline(to, deadline_ms);
                }
            }
        }
        self.log.free(from);
        Ok(())
    }
}
