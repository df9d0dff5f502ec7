//! Writing and deleting entries.

use super::Shard;
use super::eviction::Arrival;
use super::held::HeldId;
use super::log::{Loc, Stream};
use super::record::{self, Entry, NewEntry, PIECE_HEAD_BYTES, Stored};
use super::versions::written_ms;
use crate::blob::Blob;
use crate::command::{Conditions, Outcome, Payload, Put, Refusal, ValueKind, Version};
use crate::limits::{INLINE_VALUE_BYTES_MAX, KEY_BYTES_MAX, MEDIA_TYPE_BYTES_MAX, PIECE_BYTES_MIN, STREAM_STEP_BYTES};
use crate::memory::{self, Region};
use crate::routing::KeyHash;
use crate::time::Now;

/// A value that takes the place of an entry's old one, or makes an entry.
#[derive(Debug)]
pub struct NewValue<'a> {
    /// The entry as it is, alive, if there is one.
    pub existing: Option<Loc>,
    /// The type of the value.
    pub kind: ValueKind,
    /// The value.
    pub payload: Payload<&'a [u8]>,
    /// How many bytes it has when it is sent raw.
    pub raw_len: u64,
    /// The media type, or nothing.
    pub media: &'a [u8],
    /// The millisecond since the shard began at which it expires.
    pub deadline_ms: Option<u64>,
}

/// What stays of an entry that is written over.
#[derive(Clone, Copy, Debug)]
struct Predecessor {
    created_ms: u64,
    mark: u8,
}

impl Shard {
    pub(super) fn put(&mut self, now: Now, key: &[u8], hash: KeyHash, put: Put<&[u8]>) -> Outcome<&'static [u8]> {
        let Put { kind, payload, raw_len, media, ttl, conditions } = put;
        let existing = self.find_live(now, hash, key);
        let actual = existing.map(|loc| self.version_at(loc));
        if !conditions.hold_for(actual) {
            self.stats.put_conflicts += 1;
            self.bury(payload);
            return Outcome::Conflict { actual };
        }
        let deadline_ms = ttl.deadline_ms(now).map(|deadline_ms| deadline_ms - self.began_ms());
        match self.write(now, key, hash, NewValue { existing, kind, payload, raw_len, media, deadline_ms }) {
            Ok(version) => Outcome::Written {
                created: existing.is_none(),
                version,
                expires_at: ttl.deadline_ms(now).map(|deadline_ms| now.wall_time_of(deadline_ms)),
            },
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn version_at(&self, loc: Loc) -> Version {
        self.versions.version(Entry(self.log.at(loc)).counter())
    }

    /// Makes room and then stores a value. All that can go wrong goes wrong before anything is changed.
    pub(super) fn write(&mut self, now: Now, key: &[u8], hash: KeyHash, new: NewValue<'_>) -> Result<Version, Refusal> {
        assert!(
            key.len() <= KEY_BYTES_MAX && new.media.len() <= MEDIA_TYPE_BYTES_MAX,
            "the parser keeps to the limits"
        );
        let (kind, len) = (new.kind, payload_len(&new.payload));
        let written = match &new.payload {
            Payload::Inline(value) => self.write_short(now, key, hash, value, &new),
            Payload::Blob(_) => self.write_long(now, key, hash, new),
        };
        if written.is_ok() {
            self.stats.sets += 1;
            self.stats.bytes_written[kind as usize] += len;
        }
        self.refresh_gauges();
        written.map(|counter| self.versions.version(counter))
    }

    fn write_short(
        &mut self,
        now: Now,
        key: &[u8],
        hash: KeyHash,
        value: &[u8],
        new: &NewValue<'_>,
    ) -> Result<u64, Refusal> {
        assert!(value.len() <= INLINE_VALUE_BYTES_MAX, "a long value comes as a blob");
        let before = new.existing.map(|loc| self.predecessor(loc));
        let entry = NewEntry {
            key,
            media: self.media.name(new.media),
            stored: Stored::Inline(value),
            kind: new.kind,
            counter: self.versions.peek(self.since_ms(now)),
            created_ms: before.map(|before| before.created_ms),
            deadline_ms: new.deadline_ms,
            raw_len: new.raw_len,
            mark: before.map_or(0, |before| before.mark),
        };
        let room = self.log.geometry().room(entry.len()) as u64;
        if let Some(loc) = new.existing
            && self.fits_in_place(loc, entry.len())
        {
            self.rewrite(loc, &entry);
        } else {
            self.admit(now, hash, new.existing, room)?;
            self.append(hash, &entry, before);
        }
        Ok(self.versions.take(self.since_ms(now)))
    }

    fn write_long(&mut self, now: Now, key: &[u8], hash: KeyHash, new: NewValue<'_>) -> Result<u64, Refusal> {
        let Payload::Blob(blob) = new.payload else { unreachable!("the caller has just seen a long value") };
        assert!(blob.len() > INLINE_VALUE_BYTES_MAX as u64, "a short value is kept inline");
        let before = new.existing.map(|loc| self.predecessor(loc));
        let media = self.media.name(new.media);
        let stored = Stored::Held(HeldId(u32::MAX));
        let (created_ms, mark) = (before.map(|before| before.created_ms), before.map_or(0, |before| before.mark));
        let (kind, deadline_ms, raw_len) = (new.kind, new.deadline_ms, new.raw_len);
        let counter = self.versions.peek(self.since_ms(now));
        let mut entry = NewEntry { key, media, stored, kind, counter, created_ms, deadline_ms, raw_len, mark };
        // Pieces are as long as there is room in the blocks that are open; this is the most that their heads take.
        let heads = 64 * PIECE_HEAD_BYTES;
        let bytes = self.log.geometry().room(entry.len()) as u64 + blob.len() + heads as u64;
        if let Err(refusal) = self.admit(now, hash, new.existing, bytes) {
            self.discard(blob);
            return Err(refusal);
        }
        let (chunks, rest) = blob.into_parts();
        self.make_space(chunks.iter().map(|chunk| chunk.len() as u64).sum());
        entry.stored = Stored::Held(self.keep(chunks, rest.bytes(), raw_len));
        rest.into_chunk().into_iter().for_each(memory::free_chunk);
        self.append(hash, &entry, before);
        Ok(self.versions.take(self.since_ms(now)))
    }

    fn predecessor(&self, loc: Loc) -> Predecessor {
        let entry = Entry(self.log.at(loc));
        let created_ms = entry.created_ms().unwrap_or_else(|| written_ms(entry.counter()));
        Predecessor { created_ms, mark: entry.mark() }
    }

    /// Whether a record of `len` bytes takes exactly the place of the one at `loc`, which is all that the latter has.
    fn fits_in_place(&self, loc: Loc, len: usize) -> bool {
        let old = Entry(self.log.at(loc));
        old.len() == len && old.held().is_none()
    }

    fn rewrite(&mut self, loc: Loc, entry: &NewEntry<'_>) {
        entry.write(self.log.at_mut(loc));
        self.order.touch(&mut self.log, loc);
        if let Some(deadline_ms) = entry.deadline_ms {
            self.note_deadline(loc, deadline_ms);
        }
    }

    /// Makes room for `bytes` in place of `existing`, which goes. An error has changed nothing.
    fn admit(&mut self, now: Now, hash: KeyHash, existing: Option<Loc>, bytes: u64) -> Result<(), Refusal> {
        if !self.can_fit(bytes) {
            return Err(if self.could_hold(bytes) { Refusal::NoRoom } else { Refusal::OverBudget });
        }
        if let Some(loc) = existing {
            self.remove(hash, loc);
        }
        // What fits beside the immovable fits when all entries are gone, but for what blocks that hold an immovable
        // piece waste; an entry that has gone for nothing then was evicted.
        if self.make_room(now, bytes) { Ok(()) } else { Err(Refusal::NoRoom) }
    }

    /// Adds an entry for which there is room.
    fn append(&mut self, hash: KeyHash, entry: &NewEntry<'_>, before: Option<Predecessor>) {
        let arrival = match before {
            Some(Predecessor { mark, .. }) => Arrival::Rewritten { mark },
            None => {
                let age = self.order.ghost_age();
                Arrival::New { comes_again: age.is_some_and(|age| self.index.recall(hash, age)) }
            }
        };
        let loc = self.place(entry.len());
        entry.write(self.log.at_mut(loc));
        self.index.insert(hash, loc, self.order.ghost_age());
        let weight = self.weight(loc);
        self.order.insert(&mut self.log, loc, weight, arrival);
        if let Some(deadline_ms) = entry.deadline_ms {
            self.note_deadline(loc, deadline_ms);
        }
    }

    /// Takes in a long value: its chunks as they are, and its rest.
    fn keep(&mut self, chunks: Vec<Region>, rest: &[u8], raw_len: u64) -> HeldId {
        let id = self.values.insert(chunks, raw_len);
        self.keep_end(id, rest);
        id
    }

    /// Takes in what comes behind the chunks of a long value, in pieces as long as there is room in a block.
    pub(super) fn keep_end(&mut self, id: HeldId, mut rest: &[u8]) {
        while !rest.is_empty() {
            let least = rest.len().min(PIECE_BYTES_MIN) + PIECE_HEAD_BYTES;
            if self.log.room(Stream::Written) < self.log.geometry().room(least) {
                self.open_block();
            }
            let room = self.log.room(Stream::Written) - PIECE_HEAD_BYTES;
            let (now, later) = rest.split_at(rest.len().min(room).min(STREAM_STEP_BYTES));
            let loc = self.place(PIECE_HEAD_BYTES + now.len());
            let record = self.log.at_mut(loc);
            record::write_piece_head(record, id, self.values.next_place(id), now.len());
            record[PIECE_HEAD_BYTES..PIECE_HEAD_BYTES + now.len()].copy_from_slice(now);
            self.values.add_piece(id, loc, now.len());
            rest = later;
        }
    }

    /// A long value that was refused is freed in slices like any other.
    fn bury(&mut self, payload: Payload<&[u8]>) {
        if let Payload::Blob(blob) = payload {
            self.discard(blob);
        }
    }

    pub(super) fn delete(
        &mut self,
        now: Now,
        key: &[u8],
        hash: KeyHash,
        conditions: &Conditions,
    ) -> Outcome<&'static [u8]> {
        let existing = self.find_live(now, hash, key);
        let actual = existing.map(|loc| self.version_at(loc));
        if !conditions.hold_for(actual) {
            self.stats.delete_conflicts += 1;
            return Outcome::Conflict { actual };
        }
        let Some(loc) = existing else { return Outcome::Missing };
        self.remove(hash, loc);
        self.stats.deletes += 1;
        Outcome::Deleted
    }
}

/// How many bytes a value has.
fn payload_len(payload: &Payload<&[u8]>) -> u64 {
    match payload {
        Payload::Inline(bytes) => bytes.len() as u64,
        Payload::Blob(blob) => Blob::len(blob),
    }
}
