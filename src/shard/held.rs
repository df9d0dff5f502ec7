//! Long values: who holds them, where their bytes are, and how they end.
//!
//! A long value is held by its entry and by any number of leases. Its whole chunks are mappings of their own, as they
//! came in; its end lies in the log, in pieces. When nobody holds it any more the chunks go to the graveyard, from where
//! they are freed a few at a time: to give back 256 MiB at once would stall the core.

use super::log::{Loc, Log};
use super::record::{PIECE_HEAD_BYTES, Record};
use crate::limits::{BLOB_CHUNK_BYTES, BLOCK_BYTES_MIN, PIECE_BYTES_MIN};
use crate::memory::{self, Region};
use slab::Slab;
use smallvec::SmallVec;

/// Names a long value for as long as somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeldId(pub u32);

/// A piece of the end of a long value.
#[derive(Clone, Copy, Debug)]
struct Piece {
    loc: Loc,
    len: u32,
}

#[derive(Debug)]
struct Value {
    chunks: Vec<Region>,
    pieces: SmallVec<[Piece; 2]>,
    len: u64,
    raw_len: u64,
    /// Whether an entry has this value.
    owned: bool,
    leases: u32,
}

const CHUNK: u64 = BLOB_CHUNK_BYTES as u64;
const _: () = assert!(BLOB_CHUNK_BYTES / PIECE_BYTES_MIN < u16::MAX as usize, "a piece's place fits into its record");
const _: () = assert!(PIECE_BYTES_MIN < BLOCK_BYTES_MIN);

/// The long values of one shard.
#[derive(Debug, Default)]
pub struct LongValues {
    values: Slab<Value>,
    graveyard: Vec<Region>,
    /// Chunks of values that are held.
    chunks: u64,
    leased_bytes: u64,
}

impl LongValues {
    /// Takes in the whole chunks of the value of an entry; its pieces follow.
    ///
    /// # Panics
    /// If the shard has four billion of them.
    pub fn insert(&mut self, chunks: Vec<Region>, raw_len: u64) -> HeldId {
        self.chunks += chunks.len() as u64;
        let len = chunks.len() as u64 * CHUNK;
        let value = Value { chunks, pieces: SmallVec::new(), len, raw_len, owned: true, leases: 0 };
        let index = u32::try_from(self.values.insert(value));
        HeldId(index.expect("2^32 values of 16 KiB are more than 64 TiB"))
    }

    /// Adds a piece behind those that are there. Returns its place, for its record.
    pub fn next_place(&self, id: HeldId) -> u16 {
        self.value(id).pieces.len() as u16
    }

    /// Adds a piece of `len` bytes behind those that are there.
    pub fn add_piece(&mut self, id: HeldId, loc: Loc, len: usize) {
        let value = &mut self.values[id.0 as usize];
        value.pieces.push(Piece { loc, len: len as u32 });
        value.len += len as u64;
    }

    /// Follows a piece that has moved.
    pub fn moved(&mut self, id: HeldId, place: u16, from: Loc, to: Loc) {
        let piece = &mut self.values[id.0 as usize].pieces[place as usize];
        assert_eq!(piece.loc, from, "a piece is where its value says");
        piece.loc = to;
    }

    /// Takes what comes behind the chunks of each value out of a log that is to be given up, to be added again in another.
    pub fn take_ends(&mut self, log: &Log) -> Vec<(HeldId, Vec<u8>)> {
        let ends = self.values.iter_mut().map(|(index, value)| {
            value.len = value.chunks.len() as u64 * CHUNK;
            let pieces = value.pieces.drain(..).map(|piece| Record(log.at(piece.loc)).piece_bytes());
            (HeldId(index as u32), pieces.flatten().copied().collect())
        });
        ends.collect()
    }

    /// Counts anew what is leased, where it has come to take another room.
    pub fn recount_leased(&mut self, log: &Log) {
        let leased = self.values.iter().filter(|(_, value)| value.leases > 0);
        self.leased_bytes = leased.map(|(index, _)| self.footprint(log, HeldId(index as u32))).sum();
    }

    /// Whether the piece in this place of a value is at `loc`.
    pub fn has_piece(&self, id: HeldId, place: u16, loc: Loc) -> bool {
        let value = self.values.get(id.0 as usize);
        value.is_some_and(|value| value.pieces.get(place as usize).is_some_and(|piece| piece.loc == loc))
    }

    fn value(&self, id: HeldId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// The length of a value, and of what is sent if it is sent raw, in bytes.
    pub fn lens(&self, id: HeldId) -> (u64, u64) {
        let value = self.value(id);
        (value.len, value.raw_len)
    }

    /// The memory that a value takes besides its entry's record, in bytes.
    pub fn footprint(&self, log: &Log, id: HeldId) -> u64 {
        let value = self.value(id);
        let pieces = value.pieces.iter().map(|piece| log.geometry().room(PIECE_HEAD_BYTES + piece.len as usize) as u64);
        value.chunks.len() as u64 * CHUNK + pieces.sum::<u64>()
    }

    /// The bytes of a value from `offset` on, as far as they lie together; empty at the end of the value and beyond.
    pub fn slice_from<'l>(&'l self, log: &'l Log, id: HeldId, offset: u64) -> &'l [u8] {
        let value = self.value(id);
        let (chunk, within) = ((offset / CHUNK) as usize, (offset % CHUNK) as usize);
        if let Some(chunk) = value.chunks.get(chunk) {
            return &chunk[within..];
        }
        let mut offset = (offset - value.chunks.len() as u64 * CHUNK) as usize;
        for piece in &value.pieces {
            if offset < piece.len as usize {
                return &Record(log.at(piece.loc)).piece_bytes()[offset..];
            }
            offset -= piece.len as usize;
        }
        &[]
    }

    /// Whether somebody holds a lease on it.
    pub fn is_leased(&self, id: HeldId) -> bool {
        self.value(id).leases > 0
    }

    /// The entry that had this value has it no more.
    pub fn disown(&mut self, log: &mut Log, id: HeldId) {
        let value = &mut self.values[id.0 as usize];
        assert!(value.owned, "a long value has one entry");
        value.owned = false;
        if value.leases == 0 {
            self.bury(log, id);
        }
    }

    /// Adds a lease.
    pub fn lease(&mut self, log: &Log, id: HeldId) {
        if !self.is_leased(id) {
            self.leased_bytes += self.footprint(log, id);
        }
        self.values[id.0 as usize].leases += 1;
    }

    /// Takes a lease away.
    pub fn release(&mut self, log: &mut Log, id: HeldId) {
        let value = &mut self.values[id.0 as usize];
        assert!(value.leases > 0, "a lease is released once");
        value.leases -= 1;
        let (is_free, owned) = (value.leases == 0, value.owned);
        if is_free {
            self.leased_bytes -= self.footprint(log, id);
            if !owned {
                self.bury(log, id);
            }
        }
    }

    fn bury(&mut self, log: &mut Log, id: HeldId) {
        let value = self.values.remove(id.0 as usize);
        value.pieces.iter().for_each(|piece| log.free(piece.loc));
        self.chunks -= value.chunks.len() as u64;
        self.discard(value.chunks);
    }

    /// Takes in chunks that belong to no entry, to be given back a few at a time.
    pub fn discard(&mut self, chunks: Vec<Region>) {
        self.graveyard.extend(chunks);
    }

    /// Frees at most `chunks_max` chunks of the dead; true if some are left.
    pub fn free_dead(&mut self, chunks_max: usize) -> bool {
        let left = self.graveyard.len().saturating_sub(chunks_max);
        self.graveyard.drain(left..).for_each(memory::free_chunk);
        if self.graveyard.is_empty() {
            self.graveyard.shrink_to(64);
        }
        !self.graveyard.is_empty()
    }

    /// Whether chunks wait in the graveyard.
    pub const fn has_dead(&self) -> bool {
        !self.graveyard.is_empty()
    }

    /// Bytes that cannot go even if all entries do: those of values that are leased.
    pub const fn leased_bytes(&self) -> u64 {
        self.leased_bytes
    }

    /// Bytes of all chunks, those in the graveyard included.
    pub const fn chunk_bytes(&self) -> u64 {
        (self.chunks + self.graveyard.len() as u64) * CHUNK
    }

    /// The memory that is kept to know of the values, in bytes.
    pub fn table_bytes(&self) -> u64 {
        (self.values.capacity() * size_of::<Value>()) as u64
            + (self.chunks + self.graveyard.len() as u64) * size_of::<Region>() as u64
    }

    /// Leases on all values.
    pub fn leases(&self) -> u64 {
        self.values.iter().map(|(_, value)| u64::from(value.leases)).sum()
    }

    /// Checks the values against themselves, the log, and those that entries have, in order.
    pub fn assert_invariants(&self, log: &Log, owned: &[HeldId]) {
        assert!(owned.is_sorted_by(|one, other| one < other), "no two entries have the same long value");
        let mut leased_bytes = 0;
        for (index, value) in &self.values {
            let id = HeldId(index as u32);
            assert_eq!(value.owned, owned.binary_search(&id).is_ok(), "a value knows whether it has an entry");
            assert!(value.owned || value.leases > 0, "a value that nobody holds is buried");
            let pieces: u64 = value.pieces.iter().map(|piece| u64::from(piece.len)).sum();
            assert_eq!(value.len, value.chunks.len() as u64 * CHUNK + pieces, "all bytes are there");
            leased_bytes += if value.leases > 0 { self.footprint(log, id) } else { 0 };
        }
        assert_eq!(self.leased_bytes, leased_bytes);
        assert_eq!(self.chunks, self.values.iter().map(|(_, value)| value.chunks.len() as u64).sum::<u64>());
        assert!(owned.iter().all(|id| self.values.contains(id.0 as usize)));
    }
}
