//! Parcels on their way: what this core has asked of others and not yet heard of, and who waits for it.

use crate::engine::surveys::SurveyId;
use crate::limits::{CONTROL_PARCELS_MAX, SPARE_PARCELS_MAX};
use crate::parcel::{Parcel, ParcelId, Work};
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
    /// A survey of this core.
    Survey(SurveyId),
    /// Nobody: a lease was released.
    Nobody,
}

/// How many parcels of a kind are under way, and how many may be.
#[derive(Clone, Copy, Debug)]
struct Cap {
    now: usize,
    max: usize,
}

/// The parcels that one core has under way, at most as many as its reply lane has room for, so that a reply is never
/// refused. No channel in here: sending is the caller's.
#[derive(Debug)]
pub struct Forward {
    me: ShardId,
    under_way: Slab<(u32, Waiter)>,
    commands: Cap,
    control: Cap,
    round: u32,
    #[expect(clippy::vec_box, reason = "a parcel travels as its box, which is allocated once")]
    spare: Vec<Box<Parcel>>,
    spare_bytes: u64,
}

impl Forward {
    /// For the core `me`, which may have `commands_max` parcels with commands under way at once, and
    /// [`CONTROL_PARCELS_MAX`] others.
    #[must_use]
    pub fn new(me: ShardId, commands_max: usize) -> Self {
        let (commands, control) = (Cap { now: 0, max: commands_max }, Cap { now: 0, max: CONTROL_PARCELS_MAX });
        Self { me, under_way: Slab::new(), commands, control, round: 0, spare: Vec::new(), spare_bytes: 0 }
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

    /// Whether one more parcel with this work may set out.
    #[must_use]
    pub const fn has_room_for(&self, work: &Work) -> bool {
        let cap = if work.is_commands() { self.commands } else { self.control };
        cap.now < cap.max
    }

    const fn cap_of(&mut self, work: &Work) -> &mut Cap {
        if work.is_commands() { &mut self.commands } else { &mut self.control }
    }

    /// An empty parcel, a used one if there is any.
    pub fn blank(&mut self) -> Box<Parcel> {
        let Some(parcel) = self.spare.pop() else { return Box::new(Parcel::new(self.me)) };
        self.spare_bytes -= parcel.footprint();
        parcel
    }

    /// The memory that parcels kept for reuse take, in bytes.
    #[must_use]
    pub const fn spare_bytes(&self) -> u64 {
        self.spare_bytes
    }

    /// Enters `parcel` as under way and gives it its name.
    ///
    /// # Panics
    /// If there is no room; see [`Forward::has_room_for`].
    pub fn enter(&mut self, parcel: &mut Parcel, to: ShardId, waiter: Waiter) {
        assert!(self.has_room_for(&parcel.work), "the reply lane has room for every parcel under way");
        self.cap_of(&parcel.work).now += 1;
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
        self.cap_of(&parcel.work).now -= 1;
        waiter
    }

    /// Keeps a parcel for its next journey.
    pub fn recycle(&mut self, mut parcel: Box<Parcel>) {
        if self.spare.len() < SPARE_PARCELS_MAX {
            parcel.clear();
            self.spare_bytes += parcel.footprint();
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
        assert!(!forward.has_room_for(&Work::Commands));
        assert!(forward.has_room_for(&Work::Release(Vec::new())), "questions have room of their own");
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
