//! Deadlines: a hierarchical timing wheel (Varghese and Lauck, 1987) with millisecond resolution.
//!
//! Eleven levels of 64 slots cover every 64-bit deadline. A deadline lies at the level of the highest 6-bit group in
//! which it differs from the time the wheel has reached, in the slot that this group names. Hence no slot is ever
//! visited in vain, however far time leaps: bit sets name the occupied ones. Entries sink towards level 0 as their
//! time comes near, one in a step, so that a slot with a million entries stalls nobody.

use super::store::Handle;

/// The memory that one entry costs here, in bytes.
pub const BYTES_PER_ENTRY: u64 = size_of::<Node>() as u64;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(SLOT_BITS) as usize;
/// The end of a slot's list.
const NIL: Handle = Handle(u32::MAX);
/// The slot of an entry that has no deadline here.
const NOWHERE: u16 = u16::MAX;

const _: () = assert!(LEVELS * SLOTS < NOWHERE as usize, "every slot has a number of its own");

#[derive(Clone, Copy, Debug)]
struct Node {
    previous: Handle,
    next: Handle,
    slot: u16,
}

/// What one step of the wheel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The deadline of this entry has passed; the wheel has forgotten it.
    Due(Handle),
    /// An entry moved nearer to its deadline.
    Moved,
    /// No deadline has passed.
    Idle,
}

/// The deadlines of entries, which are kept with the entries themselves and asked for by handle.
#[derive(Debug)]
pub struct Wheel {
    nodes: Vec<Node>,
    heads: Box<[Handle; LEVELS * SLOTS]>,
    occupied: [u64; LEVELS],
    /// Everything before this moment has been handed out.
    reached_ms: u64,
    /// A slot above level 0 whose entries are on their way down; they come before all others.
    draining: Option<u16>,
}

impl Default for Wheel {
    fn default() -> Self {
        let heads = Box::new([NIL; LEVELS * SLOTS]);
        Self { nodes: Vec::new(), heads, occupied: [0; LEVELS], reached_ms: 0, draining: None }
    }
}

impl Wheel {
    /// Adds an entry that has no deadline here yet. A deadline that has passed is due at the next step.
    pub fn insert(&mut self, handle: Handle, deadline_ms: u64) {
        if handle.index() >= self.nodes.len() {
            self.nodes.resize(handle.index() + 1, Node { previous: NIL, next: NIL, slot: NOWHERE });
        }
        assert_eq!(self.nodes[handle.index()].slot, NOWHERE, "{handle:?} has a deadline already");
        self.link(handle, self.slot_for(deadline_ms));
    }

    /// Forgets an entry's deadline, if it has one here.
    pub fn remove(&mut self, handle: Handle) {
        if self.contains(handle) {
            self.unlink(handle);
        }
    }

    /// Whether an entry has a deadline here.
    pub fn contains(&self, handle: Handle) -> bool {
        self.nodes.get(handle.index()).is_some_and(|node| node.slot != NOWHERE)
    }

    /// Does a constant amount of work towards `now_ms`; `deadline_of` tells the deadlines of entries in the wheel.
    /// Repeated until it is idle, it hands out every entry whose deadline is not after `now_ms`.
    pub fn step(&mut self, now_ms: u64, deadline_of: impl Fn(Handle) -> u64) -> Step {
        let Some(slot) = self.draining.or_else(|| self.enter_next_slot(now_ms)) else {
            self.reached_ms = self.reached_ms.max(now_ms);
            return Step::Idle;
        };
        let handle = self.heads[slot as usize];
        self.unlink(handle);
        if (slot as usize) < SLOTS {
            return Step::Due(handle);
        }
        self.link(handle, self.slot_for(deadline_of(handle)));
        Step::Moved
    }

    /// Moves to the first occupied slot, unless it begins after `now_ms`.
    fn enter_next_slot(&mut self, now_ms: u64) -> Option<u16> {
        let (slot, begins_ms) = self.next_slot().filter(|&(_, begins_ms)| begins_ms <= now_ms)?;
        self.reached_ms = begins_ms;
        self.draining = (slot as usize >= SLOTS).then_some(slot);
        Some(slot)
    }

    /// The first occupied slot and the moment at which it begins. Lower levels come first: they share more of their
    /// high bits with the time reached. All slots that time has passed are empty, so nothing wraps around.
    fn next_slot(&self) -> Option<(u16, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let within = self.occupied[level].trailing_zeros();
        let shift = level as u32 * SLOT_BITS;
        let above = self.reached_ms.checked_shr(shift + SLOT_BITS).unwrap_or(0);
        let begins_ms = above.checked_shl(shift + SLOT_BITS).unwrap_or(0) | u64::from(within) << shift;
        Some(((level * SLOTS) as u16 + within as u16, begins_ms))
    }

    fn slot_for(&self, deadline_ms: u64) -> u16 {
        let deadline_ms = deadline_ms.max(self.reached_ms);
        let level = (deadline_ms ^ self.reached_ms).checked_ilog2().unwrap_or(0) / SLOT_BITS;
        let within = (deadline_ms >> (level * SLOT_BITS)) % SLOTS as u64;
        (level as usize * SLOTS) as u16 + within as u16
    }

    fn link(&mut self, handle: Handle, slot: u16) {
        let next = std::mem::replace(&mut self.heads[slot as usize], handle);
        self.nodes[handle.index()] = Node { previous: NIL, next, slot };
        if next != NIL {
            self.nodes[next.index()].previous = handle;
        }
        self.occupied[slot as usize / SLOTS] |= 1 << (slot as usize % SLOTS);
    }

    fn unlink(&mut self, handle: Handle) {
        let Node { previous, next, slot } = self.nodes[handle.index()];
        self.nodes[handle.index()].slot = NOWHERE;
        if next != NIL {
            self.nodes[next.index()].previous = previous;
        }
        if previous != NIL {
            self.nodes[previous.index()].next = next;
            return;
        }
        self.heads[slot as usize] = next;
        if next == NIL {
            self.occupied[slot as usize / SLOTS] &= !(1 << (slot as usize % SLOTS));
            self.draining = self.draining.filter(|&draining| draining != slot);
        }
    }

    /// Checks the wheel against itself and returns how many entries are in it.
    pub fn assert_invariants(&self, deadline_of: impl Fn(Handle) -> u64) -> usize {
        let mut entries = 0;
        for (slot, &head) in self.heads.iter().enumerate() {
            let occupied = self.occupied[slot / SLOTS] >> (slot % SLOTS) & 1 == 1;
            assert_eq!(occupied, head != NIL, "the bit of slot {slot} tells whether it is occupied");
            let (mut previous, mut handle) = (NIL, head);
            while handle != NIL {
                let node = self.nodes[handle.index()];
                assert_eq!((node.slot as usize, node.previous), (slot, previous), "{handle:?} knows its place");
                let misplaced = self.draining != Some(node.slot) && self.slot_for(deadline_of(handle)) != node.slot;
                assert!(!misplaced, "{handle:?} is in the slot of its deadline");
                (previous, handle) = (handle, node.next);
                entries += 1;
            }
        }
        assert_eq!(entries, self.nodes.iter().filter(|node| node.slot != NOWHERE).count());
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// All that is due at `now_ms`, checked on the way.
    fn due(wheel: &mut Wheel, deadlines: &BTreeMap<u32, u64>, now_ms: u64) -> Vec<u32> {
        let mut due = Vec::new();
        loop {
            match wheel.step(now_ms, |handle| deadlines[&handle.0]) {
                Step::Due(handle) => due.push(handle.0),
                Step::Moved => {}
                Step::Idle => break,
            }
            wheel.assert_invariants(|handle| deadlines[&handle.0]);
        }
        due.sort_unstable();
        due
    }

    fn wheel_of(deadlines: &BTreeMap<u32, u64>) -> Wheel {
        let mut wheel = Wheel::default();
        deadlines.iter().for_each(|(&handle, &deadline)| wheel.insert(Handle(handle), deadline));
        wheel
    }

    #[test]
    fn a_deadline_is_met_at_its_millisecond_and_not_before() {
        for deadline in [1, 63, 64, 4_095, 4_096, 1_000_000, 2_147_483_647_000, 1 << 60, u64::MAX] {
            let deadlines = BTreeMap::from([(0, deadline)]);
            let mut wheel = wheel_of(&deadlines);
            assert_eq!(due(&mut wheel, &deadlines, deadline - 1), [0; 0], "{deadline}");
            assert_eq!(due(&mut wheel, &deadlines, deadline), [0], "{deadline}");
            assert_eq!(due(&mut wheel, &deadlines, deadline), [0; 0], "{deadline}");
        }
    }

    #[test]
    fn a_leap_hands_out_all_that_it_passes() {
        let deadlines: BTreeMap<u32, u64> = (0..200).map(|n| (n, 7 + u64::from(n) * 977)).collect();
        let mut wheel = wheel_of(&deadlines);
        assert_eq!(due(&mut wheel, &deadlines, 7 + 99 * 977), (0..100).collect::<Vec<_>>());
        assert_eq!(due(&mut wheel, &deadlines, u64::MAX), (100..200).collect::<Vec<_>>());
    }

    #[test]
    fn standing_still_keeps_everything() {
        let deadlines: BTreeMap<u32, u64> = (0..50).map(|n| (n, 5_000 + u64::from(n))).collect();
        let mut wheel = wheel_of(&deadlines);
        for _ in 0..3 {
            assert_eq!(due(&mut wheel, &deadlines, 4_999), [0; 0]);
        }
        assert_eq!(wheel.assert_invariants(|handle| deadlines[&handle.0]), 50);
    }

    #[test]
    fn a_deadline_in_the_past_is_due_at_once_and_delays_nobody() {
        let mut deadlines = BTreeMap::new();
        let mut wheel = Wheel::default();
        assert_eq!(due(&mut wheel, &deadlines, 10_000), [0; 0]);
        for (handle, deadline) in [(1, 10_010), (3, 9_000)] {
            deadlines.insert(handle, deadline);
            wheel.insert(Handle(handle), deadline);
        }
        assert_eq!(due(&mut wheel, &deadlines, 10_000), [3]);
        assert_eq!(due(&mut wheel, &deadlines, 10_010), [1]);
    }

    #[test]
    fn removal_while_a_slot_is_drained_loses_nobody_else() {
        let mut deadlines: BTreeMap<u32, u64> = (0..10).map(|n| (n, 4_096 + u64::from(n) * 64)).collect();
        let mut wheel = wheel_of(&deadlines);
        assert_eq!(wheel.step(5_000, |handle| deadlines[&handle.0]), Step::Moved);
        for gone in 0..9 {
            wheel.remove(Handle(gone));
            assert!(!wheel.contains(Handle(gone)));
        }
        deadlines.insert(20, 4_100);
        wheel.insert(Handle(20), 4_100);
        assert_eq!(due(&mut wheel, &deadlines, 4_096 + 9 * 64), [9, 20]);
    }
}
