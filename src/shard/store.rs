//! Where the bytes of entries live, and what they cost. Knows no policy: nothing is found, chosen or dropped here
//! unless somebody names it.

use super::blobs::{BlobId, Blobs};
use super::{eviction, expiry, footprint, index};
use crate::command::{Payload, ValueKind, Version};
use crate::limits::{INLINE_VALUE_BYTES_MAX, KEY_BYTES_MAX, MEDIA_TYPE_BYTES_MAX};
use crate::routing::KeyHash;
use crate::time::UnixMillis;
use slab::Slab;

/// Names an entry of this shard for as long as it lives; then the next entry may get the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(pub u32);

impl Handle {
    /// The place of the entry in an array with one element for each handle.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An entry on its way into the store.
#[derive(Debug)]
pub struct Record<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The media type, or nothing.
    pub media: &'a [u8],
    /// The value.
    pub payload: Payload<&'a [u8]>,
    /// The rest.
    pub facts: Facts,
}

/// What is known of an entry besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The hash of the key.
    pub hash: KeyHash,
    /// The type of the value.
    pub kind: ValueKind,
    /// The write that it comes from.
    pub version: Version,
    /// First write since the key was last absent.
    pub created_at: UnixMillis,
    /// Last write.
    pub updated_at: UnixMillis,
    /// The monotonic millisecond at which it is gone.
    pub deadline_ms: Option<u64>,
    /// How many bytes the value has when it is sent raw.
    pub raw_len: u64,
}

impl Facts {
    /// Whether the entry's time has come.
    pub fn expired(&self, now_ms: u64) -> bool {
        self.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms)
    }
}

#[derive(Debug)]
struct Entry {
    /// The key, the media type, and the value if it is short.
    bytes: Box<[u8]>,
    blob: Option<BlobId>,
    facts: Facts,
    key_len: u16,
    media_len: u8,
}

const _: () = assert!(KEY_BYTES_MAX <= u16::MAX as usize && MEDIA_TYPE_BYTES_MAX <= u8::MAX as usize);

/// The memory that every entry costs whatever it holds, in bytes: its place in each of the shard's tables.
const BYTES_PER_ENTRY: u64 =
    size_of::<Entry>() as u64 + index::BYTES_PER_ENTRY + expiry::BYTES_PER_ENTRY + eviction::BYTES_PER_ENTRY;

/// The memory that an entry takes in all, in bytes, from the lengths of its parts.
pub fn entry_footprint(key_len: usize, media_len: usize, payload_len: u64) -> u64 {
    let beside_key = (key_len + media_len) as u64;
    BYTES_PER_ENTRY
        + if payload_len <= INLINE_VALUE_BYTES_MAX as u64 {
            footprint::allocation(beside_key + payload_len)
        } else {
            footprint::allocation(beside_key) + footprint::blob(payload_len)
        }
}

/// How many bytes a value has.
pub fn payload_len(payload: &Payload<&[u8]>) -> u64 {
    match payload {
        Payload::Inline(bytes) => bytes.len() as u64,
        Payload::Blob(blob) => blob.len(),
    }
}

/// The entries of one shard.
#[derive(Debug, Default)]
pub struct Store {
    entries: Slab<Entry>,
    /// What all entries take, in bytes.
    live_bytes: u64,
    /// Their long values, and those that have lost their entries.
    pub blobs: Blobs,
}

impl Store {
    /// Adds an entry.
    ///
    /// # Panics
    /// If a part is longer than its limit, or the shard has four billion entries.
    pub fn insert(&mut self, record: Record<'_>) -> Handle {
        self.live_bytes += entry_footprint(record.key.len(), record.media.len(), payload_len(&record.payload));
        let entry = self.entry_of(record, None);
        let index = u32::try_from(self.entries.insert(entry)).unwrap_or(u32::MAX);
        assert!(index != u32::MAX, "a shard has room for fewer than 2^32 - 1 entries");
        Handle(index)
    }

    /// Puts a new value, and all that belongs to it, in the place of the old one.
    pub fn replace(&mut self, handle: Handle, record: Record<'_>) {
        self.live_bytes -= self.footprint(handle);
        self.live_bytes += entry_footprint(record.key.len(), record.media.len(), payload_len(&record.payload));
        let old = &mut self.entries[handle.index()];
        let (blob, bytes) = (old.blob.take(), std::mem::take(&mut old.bytes));
        if let Some(blob) = blob {
            self.blobs.disown(blob);
        }
        self.entries[handle.index()] = self.entry_of(record, Some(bytes));
    }

    /// Drops an entry. A long value of it stays until its leases are released and then until it is freed in slices.
    pub fn remove(&mut self, handle: Handle) {
        self.live_bytes -= self.footprint(handle);
        if let Some(blob) = self.entries.remove(handle.index()).blob {
            self.blobs.disown(blob);
        }
    }

    /// The key of an entry.
    pub fn key(&self, handle: Handle) -> &[u8] {
        let entry = &self.entries[handle.index()];
        &entry.bytes[..entry.key_len as usize]
    }

    /// What is known of an entry.
    pub fn facts(&self, handle: Handle) -> &Facts {
        &self.entries[handle.index()].facts
    }

    /// The media type of an entry, and its value unless that is a blob.
    pub fn media_and_inline(&self, handle: Handle) -> (&[u8], &[u8]) {
        let entry = &self.entries[handle.index()];
        entry.bytes[entry.key_len as usize..].split_at(entry.media_len as usize)
    }

    /// The value of an entry if it is long.
    pub fn blob(&self, handle: Handle) -> Option<BlobId> {
        self.entries[handle.index()].blob
    }

    /// The length of an entry's value, in bytes.
    pub fn value_len(&self, handle: Handle) -> u64 {
        match self.blob(handle) {
            Some(blob) => self.blobs.get(blob).len(),
            None => self.media_and_inline(handle).1.len() as u64,
        }
    }

    /// What an entry takes, in bytes.
    pub fn footprint(&self, handle: Handle) -> u64 {
        let entry = &self.entries[handle.index()];
        entry_footprint(entry.key_len as usize, entry.media_len as usize, self.value_len(handle))
    }

    /// What would be gained if the entry went away now, in bytes: a leased value would stay.
    pub fn reclaimable(&self, handle: Handle) -> u64 {
        let leased = self.blob(handle).filter(|&blob| self.blobs.is_leased(blob));
        self.footprint(handle) - leased.map_or(0, |blob| footprint::blob(self.blobs.get(blob).len()))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What all entries take, in bytes.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// All entries.
    pub fn handles(&self) -> impl Iterator<Item = Handle> {
        self.entries.iter().map(|(index, _)| Handle(index as u32))
    }

    /// Checks the store against itself.
    pub fn assert_invariants(&self) {
        let live_bytes: u64 = self.handles().map(|handle| self.footprint(handle)).sum();
        assert_eq!(self.live_bytes, live_bytes, "the bytes of entries add up");
        self.blobs.assert_invariants(self.entries.iter().filter_map(|(_, entry)| entry.blob).collect());
    }

    /// Makes the entry, in the bytes of its predecessor if they fit exactly: a rewrite of equal length allocates
    /// nothing.
    fn entry_of(&mut self, record: Record<'_>, spare: Option<Box<[u8]>>) -> Entry {
        let Record { key, media, payload, facts } = record;
        assert!(key.len() <= KEY_BYTES_MAX && media.len() <= MEDIA_TYPE_BYTES_MAX, "the parser keeps to the limits");
        let inline = match &payload {
            Payload::Inline(bytes) => *bytes,
            Payload::Blob(_) => &[],
        };
        assert!(inline.len() <= INLINE_VALUE_BYTES_MAX, "a long value comes as a blob");
        let (key_len, media_len) = (key.len() as u16, media.len() as u8);
        let parts = [key, media, inline];
        let bytes = match spare {
            Some(mut spare) if spare.len() == key.len() + media.len() + inline.len() => {
                let (key_place, rest) = spare.split_at_mut(key.len());
                let (media_place, inline_place) = rest.split_at_mut(media.len());
                key_place.copy_from_slice(key);
                media_place.copy_from_slice(media);
                inline_place.copy_from_slice(inline);
                spare
            }
            _ => parts.concat().into_boxed_slice(),
        };
        let blob = match payload {
            Payload::Inline(_) => None,
            Payload::Blob(blob) => Some(self.blobs.insert(blob)),
        };
        Entry { bytes, blob, facts, key_len, media_len }
    }
}
