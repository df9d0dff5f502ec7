//! The layout of records, the units of which a shard's log is made. Knows bytes only: not where they lie, not what they
//! are for.
//!
//! An **entry** is a key with its value and all that is known of it; fields that most entries do not need are there
//! only if a flag says so:
//!
//! | bytes | what |
//! | --- | --- |
//! | 2 | flags: type, which fields follow, the high bits of the key's length, the policy's mark |
//! | 2 | length of the value, as far as it is in the record |
//! | 4, 4 | neighbours in the order of eviction |
//! | 1 | length of the key, low bits |
//! | 6 | version, which tells the time of the last write as well |
//! | 5 | time of the first write, if it is not that of the last |
//! | 6 | deadline, if there is one that is not so many seconds after the last write |
//! | 2 | length of the value when it is sent raw, unless it follows from that of the text |
//! | 4 | time to live in seconds, if that tells the deadline |
//! | 1 | media type, by its number; [`media::INLINE`] is followed by its length and itself |
//! | | the key, the value or the number of a long one |
//!
//! A **piece** is a part of a long value's end: flags, its place among the pieces, the number of the value, its length.
//!
//! Every record tells its own length, dead ones too, so that a block can be walked from its beginning.

use super::held::HeldId;
use super::log::Loc;
use super::media::{self, MediaRef};
use super::versions::written_ms;
use crate::command::ValueKind;
use crate::limits::{BLOCK_BYTES_MAX, INLINE_VALUE_BYTES_MAX, KEY_BYTES_MAX, MEDIA_TYPE_BYTES_MAX};
use std::ops::Range;

const KIND_MASK: u16 = 0b111;
const PIECE: u16 = 1 << 3;
const DEAD: u16 = 1 << 4;
const LONG: u16 = 1 << 5;
const CREATED: u16 = 1 << 6;
const DEADLINE: u16 = 1 << 7;
const RAW_LEN: u16 = 1 << 8;
const MEDIA: u16 = 1 << 9;
const KEY_LEN_SHIFT: u32 = 10;
const KEY_LEN_MASK: u16 = 0b11 << KEY_LEN_SHIFT;
const MARK_SHIFT: u32 = 12;
const MARK_MASK: u16 = 0b111 << MARK_SHIFT;
const TTL: u16 = 1 << 15;

const FLAGS_AT: usize = 0;
const VALUE_LEN_AT: usize = 2;
const NEWER_AT: usize = 4;
const OLDER_AT: usize = 8;
const KEY_LEN_AT: usize = 12;
const COUNTER_AT: usize = 13;
/// The fixed part of an entry, in bytes.
pub const ENTRY_BYTES_MIN: usize = 19;

const CREATED_BYTES: usize = 5;
const DEADLINE_BYTES: usize = 6;
const RAW_LEN_BYTES: usize = 2;
const TTL_BYTES: usize = 4;
const COUNTER_BYTES: usize = 6;
const HELD_BYTES: usize = 4;

const PLACE_AT: usize = 2;
const PIECE_HELD_AT: usize = 4;
const PIECE_LEN_AT: usize = 8;
/// What a piece takes besides its bytes.
pub const PIECE_HEAD_BYTES: usize = 12;

/// Versions of one shard beyond this one would not fit into a record: at a million writes a second, after nine years.
pub const COUNTER_MAX: u64 = (1 << (8 * COUNTER_BYTES)) - 1;

/// The longest time to live that is kept as one.
const TTL_SECS_MAX: u64 = u32::MAX as u64;

const _: () = assert!(KEY_BYTES_MAX < 1 << 10, "ten bits hold the length of a key");
const _: () = assert!(INLINE_VALUE_BYTES_MAX <= u16::MAX as usize && MEDIA_TYPE_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(BLOCK_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(COUNTER_AT + COUNTER_BYTES == ENTRY_BYTES_MIN);
const _: () = assert!(ValueKind::ALL.len() <= KIND_MASK as usize);

/// Where the value of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored<'a> {
    /// In the record.
    Inline(&'a [u8]),
    /// Elsewhere, under this number.
    Held(HeldId),
}

/// An entry to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The media type.
    pub media: MediaRef<'a>,
    /// The value.
    pub stored: Stored<'a>,
    /// The type of the value.
    pub kind: ValueKind,
    /// The version, counted from the shard's first one.
    pub counter: u64,
    /// The time of the first write in milliseconds since the shard began, if it is not that of the last.
    pub created_ms: Option<u64>,
    /// The deadline in milliseconds since the shard began.
    pub deadline_ms: Option<u64>,
    /// The length of an inline value when it is sent raw.
    pub raw_len: u64,
    /// What the policy knows of the entry.
    pub mark: u8,
}

impl NewEntry<'_> {
    /// How many bytes it takes.
    pub fn len(&self) -> usize {
        ENTRY_BYTES_MIN + numbers_len(self.flags()) + self.media.len() + self.key.len() + self.value_len()
    }

    /// The deadline as a time to live, if it is one, and as it is otherwise.
    fn deadline(&self) -> (Option<u64>, Option<u64>) {
        let Some(deadline_ms) = self.deadline_ms else { return (None, None) };
        let lives_ms = deadline_ms.checked_sub(written_ms(self.counter));
        let ttl_secs = lives_ms.filter(|ms| ms % 1_000 == 0).map(|ms| ms / 1_000).filter(|&secs| secs <= TTL_SECS_MAX);
        if ttl_secs.is_some() { (ttl_secs, None) } else { (None, Some(deadline_ms)) }
    }

    const fn value_len(&self) -> usize {
        match self.stored {
            Stored::Inline(value) => value.len(),
            Stored::Held(_) => HELD_BYTES,
        }
    }

    fn writes_raw_len(&self) -> bool {
        match self.stored {
            Stored::Inline(value) => self.raw_len != implied_raw_len(self.kind, value.len()),
            Stored::Held(_) => false,
        }
    }

    fn flags(&self) -> u16 {
        let mut flags = self.kind as u16 | (self.key.len() >> 8 << KEY_LEN_SHIFT) as u16;
        flags |= u16::from(self.mark) << MARK_SHIFT;
        let (ttl_secs, deadline_ms) = self.deadline();
        let optional = [
            (matches!(self.stored, Stored::Held(_)), LONG),
            (self.created_ms.is_some(), CREATED),
            (deadline_ms.is_some(), DEADLINE),
            (ttl_secs.is_some(), TTL),
            (self.writes_raw_len(), RAW_LEN),
            (self.media.len() > 0, MEDIA),
        ];
        optional.iter().filter(|(there, _)| *there).for_each(|(_, flag)| flags |= flag);
        flags
    }

    /// Writes it at the beginning of `out`; the neighbours stay as they are.
    pub fn write(&self, out: &mut [u8]) {
        put(out, FLAGS_AT, u64::from(self.flags()), 2);
        put(out, VALUE_LEN_AT, self.value_len() as u64, 2);
        out[KEY_LEN_AT] = self.key.len() as u8;
        put(out, COUNTER_AT, self.counter, COUNTER_BYTES);
        let mut at = ENTRY_BYTES_MIN;
        let mut field = |value: Option<u64>, bytes: usize| {
            if let Some(value) = value {
                put(out, at, value, bytes);
                at += bytes;
            }
        };
        let (ttl_secs, deadline_ms) = self.deadline();
        field(self.created_ms, CREATED_BYTES);
        field(deadline_ms, DEADLINE_BYTES);
        field(self.writes_raw_len().then_some(self.raw_len), RAW_LEN_BYTES);
        field(ttl_secs, TTL_BYTES);
        at += self.media.write(&mut out[at..]);
        out[at..at + self.key.len()].copy_from_slice(self.key);
        at += self.key.len();
        match self.stored {
            Stored::Inline(value) => out[at..at + value.len()].copy_from_slice(value),
            Stored::Held(held) => put(out, at, u64::from(held.0), HELD_BYTES),
        }
    }
}

/// How long a value is when it is sent raw, if it has no escapes.
const fn implied_raw_len(kind: ValueKind, len: usize) -> u64 {
    let len = len as u64;
    if matches!(kind, ValueKind::String) { len.saturating_sub(2) } else { len }
}

/// An entry as it lies in the log, from its first byte to the end of its block or beyond.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a>(pub &'a [u8]);

impl<'a> Entry<'a> {
    fn flags(self) -> u16 {
        get(self.0, FLAGS_AT, 2) as u16
    }

    fn key_len(self) -> usize {
        self.0[KEY_LEN_AT] as usize | ((self.flags() & KEY_LEN_MASK) >> KEY_LEN_SHIFT << 8) as usize
    }

    fn value_len(self) -> usize {
        get(self.0, VALUE_LEN_AT, 2) as usize
    }

    /// Where the optional number behind `flag` is, if it is there. They are in the order of their flags.
    fn optional(self, flag: u16, bytes: usize) -> Option<u64> {
        let before = self.flags() & (flag - 1);
        (self.flags() & flag != 0).then(|| get(self.0, ENTRY_BYTES_MIN + numbers_len(before), bytes))
    }

    fn media_at(self) -> usize {
        ENTRY_BYTES_MIN + numbers_len(self.flags())
    }

    fn media_len(self) -> usize {
        if self.flags() & MEDIA == 0 { 0 } else { media::stored_len(&self.0[self.media_at()..]) }
    }

    fn key_at(self) -> usize {
        self.media_at() + self.media_len()
    }

    /// How many bytes it takes.
    pub fn len(self) -> usize {
        self.key_at() + self.key_len() + self.value_len()
    }

    /// The key.
    pub fn key(self) -> &'a [u8] {
        let at = self.key_at();
        &self.0[at..at + self.key_len()]
    }

    /// Where the value lies, or its number if it is long.
    pub fn value_at(self) -> Range<usize> {
        let at = self.key_at() + self.key_len();
        at..at + self.value_len()
    }

    /// The value.
    pub fn stored(self) -> Stored<'a> {
        let at = self.value_at();
        if !self.is_long() {
            Stored::Inline(&self.0[at])
        } else {
            Stored::Held(HeldId(get(self.0, at.start, HELD_BYTES) as u32))
        }
    }

    /// Whether the value is not in the record.
    pub fn is_long(self) -> bool {
        self.flags() & LONG != 0
    }

    /// The number of the value, if it is long.
    pub fn held(self) -> Option<HeldId> {
        if !self.is_long() {
            return None;
        }
        match self.stored() {
            Stored::Held(held) => Some(held),
            Stored::Inline(_) => None,
        }
    }

    /// The media type.
    pub fn media(self) -> MediaRef<'a> {
        if self.flags() & MEDIA == 0 { MediaRef::None } else { MediaRef::read(&self.0[self.media_at()..]) }
    }

    /// The type of the value.
    pub fn kind(self) -> ValueKind {
        ValueKind::ALL[(self.flags() & KIND_MASK) as usize]
    }

    /// The version, counted from the shard's first one.
    pub fn counter(self) -> u64 {
        get(self.0, COUNTER_AT, COUNTER_BYTES)
    }

    /// The time of the first write in milliseconds since the shard began, if it is not that of the last.
    pub fn created_ms(self) -> Option<u64> {
        self.optional(CREATED, CREATED_BYTES)
    }

    /// The deadline in milliseconds since the shard began.
    pub fn deadline_ms(self) -> Option<u64> {
        if self.flags() & (DEADLINE | TTL) == 0 {
            return None;
        }
        let of_ttl = |secs| written_ms(self.counter()) + secs * 1_000;
        self.optional(TTL, TTL_BYTES).map(of_ttl).or_else(|| self.optional(DEADLINE, DEADLINE_BYTES))
    }

    /// The length of the value when it is sent raw, if it is inline.
    pub fn raw_len(self) -> u64 {
        self.optional(RAW_LEN, RAW_LEN_BYTES).unwrap_or_else(|| implied_raw_len(self.kind(), self.value_len()))
    }

    /// Whether the entry's time has come.
    pub fn expired(self, now_ms: u64) -> bool {
        self.deadline_ms().is_some_and(|deadline_ms| deadline_ms <= now_ms)
    }

    /// What the policy knows of it.
    pub fn mark(self) -> u8 {
        ((self.flags() & MARK_MASK) >> MARK_SHIFT) as u8
    }

    /// The next one in the order of eviction that was used, or came, later.
    pub fn newer(self) -> Loc {
        Loc(get(self.0, NEWER_AT, 4) as u32)
    }

    /// The next one in the order of eviction that was used, or came, earlier.
    pub fn older(self) -> Loc {
        Loc(get(self.0, OLDER_AT, 4) as u32)
    }
}

/// The length of the optional numbers that `flags` names.
#[inline]
const fn numbers_len(flags: u16) -> usize {
    if flags & (CREATED | DEADLINE | RAW_LEN | TTL) == 0 {
        return 0;
    }
    (if flags & CREATED == 0 { 0 } else { CREATED_BYTES })
        + (if flags & DEADLINE == 0 { 0 } else { DEADLINE_BYTES })
        + (if flags & RAW_LEN == 0 { 0 } else { RAW_LEN_BYTES })
        + (if flags & TTL == 0 { 0 } else { TTL_BYTES })
}

/// Changes the neighbour of an entry that is newer.
pub fn set_newer(entry: &mut [u8], loc: Loc) {
    put(entry, NEWER_AT, u64::from(loc.0), 4);
}

/// Changes the neighbour of an entry that is older.
pub fn set_older(entry: &mut [u8], loc: Loc) {
    put(entry, OLDER_AT, u64::from(loc.0), 4);
}

/// Changes what the policy knows of an entry: three bits.
pub fn set_mark(entry: &mut [u8], mark: u8) {
    let flags = get(entry, FLAGS_AT, 2) as u16 & !MARK_MASK;
    put(entry, FLAGS_AT, u64::from(flags | u16::from(mark) << MARK_SHIFT), 2);
}

/// Writes the head of a piece of a long value.
pub fn write_piece_head(out: &mut [u8], held: HeldId, place: u16, len: usize) {
    put(out, FLAGS_AT, u64::from(PIECE), 2);
    put(out, PLACE_AT, u64::from(place), 2);
    put(out, PIECE_HELD_AT, u64::from(held.0), 4);
    put(out, PIECE_LEN_AT, len as u64, 4);
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key with its value.
    Entry,
    /// The piece in this place of a long value.
    Piece(HeldId, u16),
}

/// A record of any kind, from its first byte to the end of its block or beyond.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a>(pub &'a [u8]);

impl<'a> Record<'a> {
    /// What it is.
    pub fn kind(self) -> Kind {
        if get(self.0, FLAGS_AT, 2) as u16 & PIECE == 0 {
            return Kind::Entry;
        }
        Kind::Piece(HeldId(get(self.0, PIECE_HELD_AT, 4) as u32), get(self.0, PLACE_AT, 2) as u16)
    }

    /// How many bytes it takes.
    pub fn len(self) -> usize {
        match self.kind() {
            Kind::Entry => Entry(self.0).len(),
            Kind::Piece(..) => PIECE_HEAD_BYTES + get(self.0, PIECE_LEN_AT, 4) as usize,
        }
    }

    /// Whether nobody needs it any more.
    pub fn is_dead(self) -> bool {
        get(self.0, FLAGS_AT, 2) as u16 & DEAD != 0
    }

    /// The bytes of a piece.
    pub fn piece_bytes(self) -> &'a [u8] {
        &self.0[PIECE_HEAD_BYTES..self.len()]
    }
}

/// Leaves word that nobody needs a record any more.
pub fn mark_dead(record: &mut [u8]) {
    let flags = get(record, FLAGS_AT, 2) | u64::from(DEAD);
    put(record, FLAGS_AT, flags, 2);
}

/// Little-endian, in so many bytes.
fn put(out: &mut [u8], at: usize, value: u64, bytes: usize) {
    debug_assert!(bytes == 8 || value >> (8 * bytes) == 0, "{value} does not fit into {bytes} bytes");
    out[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
}

fn get(from: &[u8], at: usize, bytes: usize) -> u64 {
    let mut value = [0; 8];
    value[..bytes].copy_from_slice(&from[at..at + bytes]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain<'a>(key: &'a [u8], value: &'a [u8]) -> NewEntry<'a> {
        NewEntry {
            key,
            media: MediaRef::None,
            stored: Stored::Inline(value),
            kind: ValueKind::Json,
            counter: 7,
            created_ms: None,
            deadline_ms: None,
            raw_len: value.len() as u64,
            mark: 0,
        }
    }

    #[test]
    fn an_entry_reads_as_it_was_written_whatever_fields_it_has() {
        let key = vec![b'k'; KEY_BYTES_MAX];
        for fields in 0..64_u32 {
            let has = |bit: u32| fields >> bit & 1 == 1;
            let text = if has(3) { "x".repeat(255) } else { String::new() };
            let stored = if has(4) { Stored::Held(HeldId(u32::MAX - 1)) } else { Stored::Inline(b"value") };
            let new = NewEntry {
                created_ms: has(0).then_some((1 << 40) - 1),
                deadline_ms: has(1).then(|| if has(5) { written_ms(COUNTER_MAX) + 9_000 } else { (1 << 48) - 1 }),
                raw_len: if has(2) { 3 } else { 5 },
                media: if has(3) { MediaRef::Inline(text.as_bytes()) } else { MediaRef::None },
                stored,
                counter: COUNTER_MAX,
                mark: 0b101,
                ..plain(&key, b"")
            };
            let mut bytes = vec![0; new.len() + 3];
            new.write(&mut bytes);
            set_newer(&mut bytes, Loc(1));
            set_older(&mut bytes, Loc(u32::MAX));
            let entry = Entry(&bytes);
            assert_eq!((entry.len(), Record(&bytes).len(), Record(&bytes).kind()), (new.len(), new.len(), Kind::Entry));
            assert_eq!((entry.key(), entry.stored(), entry.kind()), (&key[..], stored, ValueKind::Json));
            assert_eq!((entry.counter(), entry.mark()), (COUNTER_MAX, 0b101));
            assert_eq!((entry.created_ms(), entry.deadline_ms()), (new.created_ms, new.deadline_ms));
            assert_eq!((entry.newer(), entry.older()), (Loc(1), Loc(u32::MAX)));
            assert_eq!(entry.media(), new.media);
            if !has(4) {
                assert_eq!(entry.raw_len(), new.raw_len);
            }
            set_mark(&mut bytes, 2);
            mark_dead(&mut bytes);
            assert_eq!((Entry(&bytes).mark(), Record(&bytes).is_dead(), Record(&bytes).len()), (2, true, new.len()));
        }
    }

    #[test]
    fn what_most_entries_need_is_short() {
        assert_eq!(plain(&[b'k'; 16], &[b'1'; 64]).len(), 99);
        let string = NewEntry { kind: ValueKind::String, raw_len: 64, ..plain(&[b'k'; 16], &[b'"'; 66]) };
        assert_eq!(string.len(), 101);
        let for_a_day = NewEntry { deadline_ms: Some(written_ms(7) + 86_400_000), ..plain(&[b'k'; 16], &[b'1'; 64]) };
        assert_eq!(for_a_day.len(), 103);
    }

    #[test]
    fn a_piece_knows_whose_it_is() {
        let mut bytes = vec![7; PIECE_HEAD_BYTES + 100];
        write_piece_head(&mut bytes, HeldId(9), 3, 90);
        let record = Record(&bytes);
        assert_eq!((record.kind(), record.len()), (Kind::Piece(HeldId(9), 3), PIECE_HEAD_BYTES + 90));
        assert!(record.piece_bytes() == [7; 90] && !record.is_dead());
    }
}
