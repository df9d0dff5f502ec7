//! Finds an entry by the hash of its key. Knows no key bytes, no time and no memory budget.

use super::store::Handle;
use crate::routing::KeyHash;
use hashbrown::HashTable;

/// The memory that one entry costs here, in bytes: a slot and its control byte in a table that is 7/16 full, as it is
/// right after it has grown.
pub const BYTES_PER_ENTRY: u64 = ((size_of::<Slot>() as u64 + 1) * 16).div_ceil(7);

/// The low half of the hash is kept, so that growing reads neither keys nor entries.
#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u32,
    handle: Handle,
}

/// Key hashes and the entries that have them.
#[derive(Debug, Default)]
pub struct Index {
    table: HashTable<Slot>,
}

impl Index {
    /// The entry under `hash` that `is_key` accepts; asked only about entries whose hashes agree in their low half.
    pub fn find(&self, hash: KeyHash, is_key: impl Fn(Handle) -> bool) -> Option<Handle> {
        let tag = tag_of(hash);
        self.table.find(spread(tag), |slot| slot.tag == tag && is_key(slot.handle)).map(|slot| slot.handle)
    }

    /// Adds an entry whose key is not there yet.
    pub fn insert(&mut self, hash: KeyHash, handle: Handle) {
        let tag = tag_of(hash);
        self.table.insert_unique(spread(tag), Slot { tag, handle }, |slot| spread(slot.tag));
    }

    /// Forgets an entry.
    ///
    /// # Panics
    /// If it is not there under this hash.
    pub fn remove(&mut self, hash: KeyHash, handle: Handle) {
        let found = self.table.find_entry(spread(tag_of(hash)), |slot| slot.handle == handle);
        assert!(found.is_ok(), "{handle:?} is not in the index");
        if let Ok(slot) = found {
            slot.remove();
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }
}

const fn tag_of(hash: KeyHash) -> u32 {
    hash.0 as u32
}

/// The table looks at the highest bits to tell the slots of one group apart. The high half of a hash has picked the
/// shard and is much the same for all of its keys, so the low half stands in for both.
const fn spread(tag: u32) -> u64 {
    ((tag as u64) << 32) | tag as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_with_equal_hashes_are_told_apart_by_their_keys() {
        let mut index = Index::default();
        let hash = KeyHash(42);
        index.insert(hash, Handle(1));
        index.insert(hash, Handle(2));
        assert_eq!(index.find(hash, |handle| handle == Handle(2)), Some(Handle(2)));
        index.remove(hash, Handle(2));
        assert_eq!(index.find(hash, |_| true), Some(Handle(1)));
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn entries_are_found_after_growth_with_hashes_that_differ_in_few_bits() {
        let mut index = Index::default();
        for n in 0..10_000_u32 {
            index.insert(KeyHash(0xffff_ffff_0000_0000 | u64::from(n) << 8), Handle(n));
        }
        for n in 0..10_000_u32 {
            assert_eq!(index.find(KeyHash(u64::from(n) << 8), |_| true), Some(Handle(n)));
        }
    }
}
