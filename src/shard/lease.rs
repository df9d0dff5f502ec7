//! Names for the holds on long values that are being sent.

use super::held::HeldId;
use crate::command::LeaseId;
use hashbrown::HashMap;

/// The leases of one shard. Names come from a counter, so none is ever used twice. How many there can be is bounded
/// by those who ask: each belongs to an answer in progress.
#[derive(Debug, Default)]
pub struct Leases {
    granted: HashMap<LeaseId, HeldId>,
    next: u64,
}

impl Leases {
    /// A new lease on a long value.
    pub fn grant(&mut self, value: HeldId) -> LeaseId {
        let lease = LeaseId(self.next);
        self.next += 1;
        self.granted.insert(lease, value);
        lease
    }

    /// The long value that a lease holds.
    pub fn value(&self, lease: LeaseId) -> Option<HeldId> {
        self.granted.get(&lease).copied()
    }

    /// Ends a lease and returns the long value that it held.
    pub fn end(&mut self, lease: LeaseId) -> Option<HeldId> {
        self.granted.remove(&lease)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.granted.len()
    }
}
