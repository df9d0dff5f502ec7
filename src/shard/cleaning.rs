//! Moving records together, so that blocks become free.
//!
//! Of all blocks, the one with most dead bytes is cleaned next ("greedy"). Under policies that evict in the order of
//! arrival whole blocks die by themselves, and next to nothing is moved; in the worst case, when values are
//! overwritten at random by others of other lengths, what is moved for each byte written depends on the slack.

use super::Shard;
use super::log::{Loc, Stream};
use super::record::{Entry, Kind, Record};
use crate::limits::BLOCKS_IN_RESERVE;

/// Cleaning begins when fewer blocks than this could be opened.
const BLOCKS_AHEAD: u64 = BLOCKS_IN_RESERVE - 2;
/// One block is left to what is moved.
const BLOCKS_LEFT_TO_MOVES: u64 = 1;
/// Beside its bytes, a record costs as much to move as so many bytes.
const BYTES_PER_MOVE: u64 = 128;
/// No write cleans more than this beside its own length, in bytes as they are counted here.
const QUOTA_MAX: u64 = 96 * 1024;

impl Shard {
    /// Blocks that could be opened without growing beyond the limit.
    fn blocks_available(&self) -> u64 {
        let block_bytes = self.log.geometry().block_bytes();
        let unmapped = self.budget.limit().saturating_sub(self.committed()) / block_bytes;
        let addressable = (self.log.geometry().bytes_max() - self.log.mapped_bytes()) / block_bytes;
        self.log.spare_blocks() + unmapped.min(addressable)
    }

    /// Whether it is time to clean: blocks are few, or more than a quarter of the log is dead.
    pub(super) fn should_clean(&self) -> bool {
        let mapped = self.log.mapped_bytes();
        self.blocks_available() < BLOCKS_AHEAD
            || self.log.dead_bytes() > mapped / 4 + BLOCKS_AHEAD * self.log.geometry().block_bytes()
    }

    /// Takes `len` bytes of the log for a record that a client has written; the caller fills them at once.
    pub(super) fn place(&mut self, len: usize) -> Loc {
        self.keep_pace(len);
        if self.log.room(Stream::Written) < self.log.geometry().room(len) {
            self.open_block();
        }
        self.log.append(Stream::Written, len)
    }

    /// Opens a further block for what clients write. If cleaning did not keep pace it is finished now.
    pub(super) fn open_block(&mut self) {
        while self.blocks_available() <= BLOCKS_LEFT_TO_MOVES && self.clean_block() {}
        self.log.open_block(Stream::Written);
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
        let mut quota = (len as u64 + BYTES_PER_MOVE) * per_byte * 3 / 2;
        quota = quota.min(QUOTA_MAX + len as u64);
        while let Some(cost) = self.move_next() {
            quota = quota.saturating_sub(cost);
            if quota == 0 {
                break;
            }
        }
    }

    /// Cleans the block that is being cleaned, or the next one, to its end. False if there is nothing to gain.
    pub(super) fn clean_block(&mut self) -> bool {
        let before = self.log.spare_blocks() + self.log.mapped_bytes();
        let mut moved = 0;
        while moved < self.log.geometry().block_bytes() {
            match self.move_next() {
                Some(cost) => moved += cost,
                None => return false,
            }
            if self.log.spare_blocks() + self.log.mapped_bytes() > before {
                break;
            }
        }
        true
    }

    /// Moves one record; returns what that cost.
    fn move_next(&mut self) -> Option<u64> {
        let (loc, passed) = self.log.next_to_move()?;
        self.relocate(loc);
        Some(passed as u64 + BYTES_PER_MOVE)
    }

    fn relocate(&mut self, from: Loc) {
        let record = Record(self.log.at(from));
        let (kind, room) = (record.kind(), self.log.geometry().room(record.len()));
        if self.log.room(Stream::Moved) < room {
            self.log.open_block(Stream::Moved);
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
    }
}
