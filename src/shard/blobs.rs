//! Long values: who holds them, and how they end.
//!
//! A blob is held by its entry and by any number of leases. When nobody holds it any more it goes to the graveyard,
//! from where it is freed chunk by chunk: to give back 256 MiB at once would stall the core.

use super::footprint;
use crate::blob::Blob;
use crate::limits::INLINE_VALUE_BYTES_MAX;
use slab::Slab;
use std::collections::HashSet;

/// The memory that one blob costs here besides its chunks, in bytes.
pub const BYTES_PER_BLOB: u64 = size_of::<Held>() as u64;

/// Names a blob for as long as somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobId(u32);

#[derive(Debug)]
struct Held {
    blob: Blob,
    /// Whether an entry has this value.
    owned: bool,
    leases: u32,
}

impl Held {
    fn footprint(&self) -> u64 {
        footprint::blob(self.blob.len())
    }
}

/// The long values of one shard.
#[derive(Debug, Default)]
pub struct Blobs {
    held: Slab<Held>,
    graveyard: Vec<Blob>,
    leased_bytes: u64,
    orphaned_bytes: u64,
    graveyard_bytes: u64,
}

impl Blobs {
    /// Takes in the value of an entry.
    ///
    /// # Panics
    /// If it is short enough to be kept inline.
    pub fn insert(&mut self, mut blob: Blob) -> BlobId {
        assert!(blob.len() > INLINE_VALUE_BYTES_MAX as u64, "a short value is kept inline");
        blob.shrink();
        let index = u32::try_from(self.held.insert(Held { blob, owned: true, leases: 0 }));
        BlobId(index.expect("2^32 blobs of 16 KiB are more than 64 TiB"))
    }

    /// The bytes of a blob.
    pub fn get(&self, id: BlobId) -> &Blob {
        &self.held[id.0 as usize].blob
    }

    /// Whether somebody holds a lease on it.
    pub fn is_leased(&self, id: BlobId) -> bool {
        self.held[id.0 as usize].leases > 0
    }

    /// The entry that had this value has it no more.
    pub fn disown(&mut self, id: BlobId) {
        let held = &mut self.held[id.0 as usize];
        assert!(held.owned, "a blob has one entry");
        held.owned = false;
        if held.leases > 0 {
            self.orphaned_bytes += held.footprint();
        } else {
            self.bury(id);
        }
    }

    /// Adds a lease.
    pub fn lease(&mut self, id: BlobId) {
        let held = &mut self.held[id.0 as usize];
        if held.leases == 0 {
            self.leased_bytes += held.footprint();
        }
        held.leases += 1;
    }

    /// Takes a lease away.
    pub fn release(&mut self, id: BlobId) {
        let held = &mut self.held[id.0 as usize];
        assert!(held.leases > 0, "a lease is released once");
        held.leases -= 1;
        if held.leases > 0 {
            return;
        }
        self.leased_bytes -= held.footprint();
        if !held.owned {
            self.orphaned_bytes -= held.footprint();
            self.bury(id);
        }
    }

    /// Takes in a value that has no entry and will have none, to be freed in slices.
    pub fn discard(&mut self, mut blob: Blob) {
        blob.shrink();
        self.graveyard_bytes += footprint::blob(blob.len());
        self.graveyard.push(blob);
    }

    fn bury(&mut self, id: BlobId) {
        let blob = self.held.remove(id.0 as usize).blob;
        self.discard(blob);
    }

    /// Frees at most `chunks_max` chunks of the dead; true if some are left.
    pub fn free_dead(&mut self, chunks_max: usize) -> bool {
        for _ in 0..chunks_max {
            let Some(blob) = self.graveyard.last_mut() else { return false };
            self.graveyard_bytes -= footprint::blob(blob.len());
            blob.drop_last_chunk();
            if blob.is_empty() {
                self.graveyard.pop();
            } else {
                self.graveyard_bytes += footprint::blob(blob.len());
            }
        }
        !self.graveyard.is_empty()
    }

    /// Bytes of all blobs that are leased, whether their entries live or not.
    pub fn leased_bytes(&self) -> u64 {
        self.leased_bytes
    }

    /// Bytes of blobs that only leases hold.
    pub fn orphaned_bytes(&self) -> u64 {
        self.orphaned_bytes
    }

    /// Bytes of blobs that nobody holds and that are not freed yet.
    pub fn graveyard_bytes(&self) -> u64 {
        self.graveyard_bytes
    }

    /// Leases on all blobs.
    pub fn leases(&self) -> u64 {
        self.held.iter().map(|(_, held)| u64::from(held.leases)).sum()
    }

    /// Checks the blobs against themselves and those that entries have.
    pub fn assert_invariants(&self, owned: Vec<BlobId>) {
        let held_by_entries = owned.len();
        let owned: HashSet<BlobId> = owned.into_iter().collect();
        assert_eq!(owned.len(), held_by_entries, "no two entries have the same blob");
        for (index, held) in &self.held {
            assert_eq!(held.owned, owned.contains(&BlobId(index as u32)), "a blob knows whether it has an entry");
            assert!(held.owned || held.leases > 0, "a blob that nobody holds is in the graveyard");
        }
        let bytes_of = |wanted: fn(&Held) -> bool| -> u64 {
            self.held.iter().filter(|(_, held)| wanted(held)).map(|(_, held)| held.footprint()).sum()
        };
        assert_eq!(self.leased_bytes, bytes_of(|held| held.leases > 0));
        assert_eq!(self.orphaned_bytes, bytes_of(|held| !held.owned));
        assert_eq!(self.graveyard_bytes, self.graveyard.iter().map(|blob| footprint::blob(blob.len())).sum::<u64>());
    }
}
