//! Parcels on their way: what this core has asked of others and not yet heard of, and who waits for it.

use crate::limits::SPARE_PARCELS_MAX;
use crate::parcel::{Parcel, ParcelId};
use crate::routing::ShardId;
use crate::session::ConnId;
use slab::Slab;

/// Who waits for a parcel to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// An answer slot of a connection.
    Slot {
        /// The connection.
        conn: ConnId,
        /// The slot's number on that connection.
        slot: u64,
    },
    /// A connection that is sending a long value of another core.
    Stream(ConnId),
    /// Nobody: a lease was released.
    Nobody,
}

/// The parcels that one core has under way, at most as many as its reply lane has room for, so that a reply is never
/// refused. No channel in here: sending is the caller's.
#[derive(Debug)]
pub struct Forward {
    me: ShardId,
    under_way: Slab<(u32, Waiter)>,
    parcels_max: usize,
    round: u32,
    spare: Vec<Box<Parcel>>,
}

impl Forward {
    /// For the core `me`, which may have `parcels_max` parcels under way at once.
    #[must_use]
    pub fn new(me: ShardId, parcels_max: usize) -> Self {
        Self { me, under_way: Slab::new(), parcels_max, round: 0, spare: Vec::new() }
    }

    /// Parcels under way now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether `parcels` more may set out.
    #[must_use]
    pub fn has_room_for(&self, parcels: usize) -> bool {
        self.under_way.len() + parcels <= self.parcels_max
    }

    /// An empty parcel, a used one if there is any.
    pub fn blank(&mut self) -> Box<Parcel> {
        self.spare.pop().unwrap_or_else(|| Box::new(Parcel::new(self.me)))
    }

    /// Enters `parcel` as under way and gives it its name.
    ///
    /// # Panics
    /// If there is no room; see [`Forward::has_room_for`].
    pub fn enter(&mut self, parcel: &mut Parcel, to: ShardId, waiter: Waiter) {
        assert!(self.has_room_for(1), "the reply lane has room for every parcel under way");
        self.round = self.round.wrapping_add(1);
        let place = self.under_way.insert((self.round, waiter));
        parcel.id = ParcelId((u64::from(self.round) << 32) | place as u64);
        parcel.to = to;
    }

    /// Takes a parcel that came back, or that could not be sent, off the list and says who waits for it.
    ///
    /// # Panics
    /// If it is not on the list: every parcel comes back once.
    pub fn leave(&mut self, parcel: &Parcel) -> Waiter {
        let place = (parcel.id.0 & u64::from(u32::MAX)) as usize;
        let (round, waiter) = self.under_way.remove(place);
        assert!(u64::from(round) == parcel.id.0 >> 32, "a parcel comes back once");
        waiter
    }

    /// Keeps a parcel for its next journey.
    pub fn recycle(&mut self, mut parcel: Box<Parcel>) {
        if self.spare.len() < SPARE_PARCELS_MAX {
            parcel.clear();
            self.spare.push(parcel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_comes_back_to_whoever_waits() {
        let mut forward = Forward::new(ShardId(0), 2);
        let mut parcels = [forward.blank(), forward.blank()];
        for (n, parcel) in parcels.iter_mut().enumerate() {
            forward.enter(parcel, ShardId(1), Waiter::Slot { conn: ConnId::new(n as u32, 7), slot: 9 });
        }
        assert!(!forward.has_room_for(1));
        assert_eq!(forward.leave(&parcels[1]), Waiter::Slot { conn: ConnId::new(1, 7), slot: 9 });
        assert_eq!(forward.leave(&parcels[0]), Waiter::Slot { conn: ConnId::new(0, 7), slot: 9 });
        assert!(forward.is_empty());
    }

    #[test]
    #[should_panic(expected = "a parcel comes back once")]
    fn a_parcel_that_comes_back_twice_is_our_own_mistake() {
        let mut forward = Forward::new(ShardId(0), 2);
        let mut parcel = forward.blank();
        forward.enter(&mut parcel, ShardId(1), Waiter::Nobody);
        let stale = parcel.id;
        forward.leave(&parcel);
        forward.enter(&mut parcel, ShardId(1), Waiter::Nobody);
        parcel.id = stale;
        forward.leave(&parcel);
    }
}
