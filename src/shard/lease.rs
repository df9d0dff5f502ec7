//! Names for the holds on long values that are being sent.

use super::blobs::BlobId;
use crate::command::LeaseId;
use hashbrown::HashMap;

/// The leases of one shard. Names come from a counter, so none is ever used twice. How many there can be is bounded
/// by those who ask: each belongs to an answer in progress.
#[derive(Debug, Default)]
pub struct Leases {
    granted: HashMap<LeaseId, BlobId>,
    next: u64,
}

impl Leases {
    /// A new lease on a blob.
    pub fn grant(&mut self, blob: BlobId) -> LeaseId {
        let lease = LeaseId(self.next);
        self.next += 1;
        self.granted.insert(lease, blob);
        lease
    }

    /// The blob that a lease holds.
    pub fn blob(&self, lease: LeaseId) -> Option<BlobId> {
        self.granted.get(&lease).copied()
    }

    /// Ends a lease and returns the blob that it held.
    pub fn end(&mut self, lease: LeaseId) -> Option<BlobId> {
        self.granted.remove(&lease)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.granted.len()
    }
}
