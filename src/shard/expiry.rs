//! Entries whose time has come.
//!
//! There is no list of deadlines: every few kilobytes of the log know the first deadline among their entries, and are
//! walked when it has passed. So an expiry costs an entry nothing but its deadline, and what expires together mostly
//! lies together, since it was written together.

use super::Shard;
use super::log::{Loc, SegmentId};
use super::record::{Entry, Kind, Record};
use crate::limits::FREED_PER_SLICE_MAX;
use crate::time::Now;

/// Segments that are walked in one slice of work, some 40 short entries each.
const SEGMENTS_PER_SLICE: usize = 32;

impl Shard {
    /// Frees entries that have expired, for one slice of work; true if there may be more.
    pub(super) fn expire_slice(&mut self, now: Now) -> bool {
        let now_ms = self.since_ms(now);
        if now_ms < self.due_ms {
            return false;
        }
        let due = self.log.due_segments(now_ms, SEGMENTS_PER_SLICE);
        let mut freed = 0;
        for &segment in &due {
            freed += self.walk(segment, now_ms);
            if freed >= FREED_PER_SLICE_MAX {
                return true;
            }
        }
        if due.len() < SEGMENTS_PER_SLICE {
            self.due_ms = self.log.due_ms();
        }
        self.due_ms <= now_ms
    }

    /// Frees what has expired in a segment; returns how many entries that were.
    fn walk(&mut self, segment: SegmentId, now_ms: u64) -> usize {
        let (mut expired, mut first_ms) = (Vec::new(), u64::MAX);
        for loc in self.log.records_of(segment) {
            let record = Record(self.log.at(loc));
            if record.is_dead() || record.kind() != Kind::Entry {
                continue;
            }
            match Entry(record.0).deadline_ms() {
                Some(deadline_ms) if deadline_ms <= now_ms => expired.push(loc),
                Some(deadline_ms) => first_ms = first_ms.min(deadline_ms),
                None => {}
            }
        }
        self.log.set_first_deadline(segment, first_ms);
        for &loc in &expired {
            let hash = self.hasher.hash(Entry(self.log.at(loc)).key());
            self.expire(hash, loc);
        }
        expired.len()
    }

    /// Takes note of the deadline of an entry that was just written.
    pub(super) fn note_deadline(&mut self, loc: Loc, deadline_ms: u64) {
        let due_ms = self.log.note_deadline(loc, deadline_ms);
        self.due_ms = self.due_ms.min(due_ms);
    }

    /// For how long an entry has been expired that is not freed yet, in milliseconds, at most; 0 if there is none.
    pub(super) fn expiry_lag_ms(&self, now: Now) -> u64 {
        self.since_ms(now).saturating_sub(self.log.due_ms())
    }
}
