//! Finds an entry by the hash of its key, and remembers which keys were evicted lately. Knows no key bytes, no time and no
//! memory budget.
//!
//! Many small tables, one of which is picked by some bits of the hash. Each is an array of slots in the order of a further
//! 15 bits, the tag (ordered linear probing: Amble and Knuth, "Ordered hash tables", 1974): a slot stands at the place
//! that its tag names, `tag * slots / 2^15`, or behind it with no gap between. So a table grows without looking at a
//! key, by a sixteenth, and on its own: nothing ever doubles, and no growth touches more than one table.
//!
//! A **ghost** is a slot without an entry: it remembers the hash of a key that was evicted, and roughly when. Ghosts that
//! are too old go when a table is full.

use super::log::Loc;
use crate::limits::{INDEX_TABLES_MAX, INDEX_TABLES_MIN};
use crate::memory::prefetch;
use crate::routing::KeyHash;

const TAG_BITS: u32 = 15;
/// One less than all ones, so that an empty slot is no ghost.
const TAG_MAX: u16 = (1 << TAG_BITS) - 2;
const GHOST: u16 = 1 << TAG_BITS;
/// A table never has fewer slots than this.
const SLOTS_MIN: usize = 8;
/// Bytes of budget for each table.
const BUDGET_BYTES_PER_TABLE: u64 = 128 * 1024;

/// A tag with its ghost bit, and 32 bits: the location of the entry, or more of the hash and the time of a ghost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    tag: u16,
    low: u16,
    high: u16,
}

const _: () = assert!(size_of::<Slot>() == 6, "six bytes an entry");

impl Slot {
    const EMPTY: Self = Self { tag: u16::MAX, low: 0, high: 0 };

    const fn entry(tag: u16, loc: Loc) -> Self {
        Self { tag, low: loc.0 as u16, high: (loc.0 >> 16) as u16 }
    }

    const fn is_empty(self) -> bool {
        self.tag == u16::MAX
    }

    const fn is_ghost(self) -> bool {
        self.tag & GHOST != 0 && !self.is_empty()
    }

    /// Orders the slots; greater than any tag for an empty one.
    const fn rank(self) -> u16 {
        self.tag & !GHOST
    }

    const fn loc(self) -> Loc {
        Loc(self.low as u32 | (self.high as u32) << 16)
    }
}

/// When a ghost came, by a clock that counts what has been evicted; it wraps around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub u16);

/// How old a ghost may be.
#[derive(Clone, Copy, Debug)]
pub struct GhostAge {
    /// Now.
    pub now: Stamp,
    /// Ghosts that came earlier than this many ticks ago are forgotten.
    pub ticks_max: u16,
}

impl GhostAge {
    const fn is_over(self, slot: Slot) -> bool {
        self.now.0.wrapping_sub(slot.low) > self.ticks_max
    }
}

#[derive(Clone, Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    /// How many places tags name. There are a few slots more behind the last one.
    places: u32,
    filled: u32,
    /// How many of the filled ones are ghosts.
    ghosts: u32,
}

impl Table {
    const fn home(&self, tag: u16) -> usize {
        (tag as usize * self.places as usize) >> TAG_BITS
    }

    /// The slots from where `tag` belongs up to where it is known not to be, with their places.
    fn run(&self, tag: u16) -> impl Iterator<Item = (usize, Slot)> {
        let home = self.home(tag);
        let run = self.slots[home.min(self.slots.len())..].iter().copied();
        let upto = run.take_while(move |slot| slot.rank() <= tag && !slot.is_empty());
        (home..).zip(upto).filter(move |(_, slot)| slot.rank() == tag)
    }

    fn insert(&mut self, slot: Slot) {
        loop {
            let home = self.home(slot.rank());
            let run = &self.slots[home.min(self.slots.len())..];
            let passed = run.iter().take_while(|other| other.rank() <= slot.rank() && !other.is_empty()).count();
            let at = home + passed;
            let moved = self.slots[at.min(self.slots.len())..].iter().position(|other| other.is_empty());
            if let Some(moved) = moved {
                self.slots.copy_within(at..at + moved, at + 1);
                self.slots[at] = slot;
                self.filled += 1;
                self.ghosts += u32::from(slot.is_ghost());
                return;
            }
            self.rebuild(self.places as usize, |_| true);
        }
    }

    /// Takes out the slot at `at` and closes the gap.
    fn remove(&mut self, at: usize) {
        self.ghosts -= u32::from(self.slots[at].is_ghost());
        let behind = self.slots[at + 1..].iter();
        let moved =
            (at + 1..).zip(behind).take_while(|(place, slot)| !slot.is_empty() && self.home(slot.rank()) < *place);
        let moved = moved.count();
        self.slots.copy_within(at + 1..=at + moved, at);
        self.slots[at + moved] = Slot::EMPTY;
        self.filled -= 1;
    }

    /// Makes room for one more slot: drops old ghosts if there are any, else grows.
    fn reserve(&mut self, age: Option<GhostAge>) {
        let is_full = |table: &Self| (table.filled as usize + 1) * 10 > table.places as usize * 9;
        if !is_full(self) {
            return;
        }
        let stale = |slot: &Slot| slot.is_ghost() && age.is_none_or(|age| age.is_over(*slot));
        if self.slots.iter().any(stale) {
            self.rebuild(self.places as usize, |slot| !stale(slot));
        }
        // A little further than to the brim, or the next one would be back here.
        if (self.filled as usize + 1) * 20 > self.places as usize * 17 {
            self.rebuild(self.places as usize + (self.places as usize / 16).max(SLOTS_MIN), |_| true);
        }
    }

    /// Gives back what half of a table or more does not need.
    fn shrink(&mut self) {
        if (self.filled as usize) * 20 < self.places as usize * 9 && self.places as usize > SLOTS_MIN {
            self.rebuild((self.filled as usize * 5 / 4).max(SLOTS_MIN), |_| true);
        }
    }

    /// Gives back what is not needed for entries, and with it all ghosts.
    fn shed(&mut self) {
        let entries = (self.filled - self.ghosts) as usize;
        let is_large = entries * 20 < self.places as usize * 9 && self.places as usize > SLOTS_MIN;
        if is_large {
            self.rebuild((entries * 5 / 4).max(SLOTS_MIN), |slot| !slot.is_ghost());
        }
    }

    fn rebuild(&mut self, places: usize, keep: impl Fn(&Slot) -> bool) {
        let old = std::mem::take(&mut self.slots);
        self.places = u32::try_from(places).unwrap_or(u32::MAX);
        (self.filled, self.ghosts) = (0, 0);
        // The last tags may need slots behind the last place.
        let behind = 4 + places / 128;
        let mut slots = Vec::new();
        slots.reserve_exact(places + behind);
        for slot in old.into_iter().filter(|slot| !slot.is_empty() && keep(slot)) {
            let at = self.home(slot.rank()).max(slots.len());
            slots.resize(at, Slot::EMPTY);
            slots.push(slot);
            self.filled += 1;
            self.ghosts += u32::from(slot.is_ghost());
        }
        let len = (places + behind).max(slots.len() + behind);
        slots.reserve_exact(len - slots.len());
        slots.resize(len, Slot::EMPTY);
        self.slots = slots;
    }

    const fn bytes(&self) -> u64 {
        (self.slots.capacity() * size_of::<Slot>()) as u64
    }
}

/// Key hashes and the entries that have them.
#[derive(Debug)]
pub struct Index {
    tables: Box<[Table]>,
    entries: usize,
    /// What the slots of all tables take.
    slot_bytes: u64,
    /// How often it was changed.
    changes: u64,
}

impl Index {
    /// An index for a shard that may use `limit` bytes. It grows as needed; the limit only decides how fine the steps are.
    pub fn new(limit: u64) -> Self {
        let tables = (limit / BUDGET_BYTES_PER_TABLE).clamp(INDEX_TABLES_MIN as u64, INDEX_TABLES_MAX as u64);
        let tables = 1_usize << tables.ilog2();
        Self { tables: vec![Table::default(); tables].into_boxed_slice(), entries: 0, slot_bytes: 0, changes: 0 }
    }

    fn table_of(&self, hash: KeyHash) -> usize {
        hash.0 as usize & (self.tables.len() - 1)
    }

    /// Has the processor fetch where [`Index::find`] will look.
    pub fn foresee(&self, hash: KeyHash) {
        let table = &self.tables[self.table_of(hash)];
        if let Some(slot) = table.slots.get(table.home(tag_of(hash))) {
            prefetch(slot);
        }
    }

    /// The entry under `hash` that `is_it` accepts; asked only about entries whose hashes are much the same.
    pub fn find(&self, hash: KeyHash, is_it: impl Fn(Loc) -> bool) -> Option<Loc> {
        let run = self.tables[self.table_of(hash)].run(tag_of(hash));
        run.filter(|(_, slot)| !slot.is_ghost()).map(|(_, slot)| slot.loc()).find(|&loc| is_it(loc))
    }

    /// Adds an entry whose key is not there yet.
    pub fn insert(&mut self, hash: KeyHash, loc: Loc, age: Option<GhostAge>) {
        self.add(hash, Slot::entry(tag_of(hash), loc), age);
        self.entries += 1;
    }

    fn add(&mut self, hash: KeyHash, slot: Slot, age: Option<GhostAge>) {
        self.change(hash, |table| {
            table.reserve(age);
            table.insert(slot);
        });
    }

    /// Changes the table for `hash` and keeps count of its memory.
    fn change<T>(&mut self, hash: KeyHash, change: impl FnOnce(&mut Table) -> T) -> T {
        self.changes += 1;
        let at = self.table_of(hash);
        let table = &mut self.tables[at];
        let before = table.bytes();
        let result = change(table);
        self.slot_bytes = self.slot_bytes - before + table.bytes();
        result
    }

    /// Takes note that an entry has moved.
    ///
    /// # Panics
    /// If it was not at `from`.
    pub fn moved(&mut self, hash: KeyHash, from: Loc, to: Loc) {
        self.changes += 1;
        let at = self.place_of(hash, from);
        let table = self.table_of(hash);
        self.tables[table].slots[at] = Slot::entry(tag_of(hash), to);
    }

    fn place_of(&self, hash: KeyHash, loc: Loc) -> usize {
        let mut run = self.tables[self.table_of(hash)].run(tag_of(hash));
        let found = run.find(|(_, slot)| !slot.is_ghost() && slot.loc() == loc);
        found.expect("an entry is in the index under the hash of its key").0
    }

    /// Forgets an entry.
    ///
    /// # Panics
    /// If it is not there under this hash.
    pub fn remove(&mut self, hash: KeyHash, loc: Loc) {
        let at = self.place_of(hash, loc);
        self.change(hash, |table| {
            table.remove(at);
            table.shrink();
        });
        self.entries -= 1;
    }

    /// Remembers that the key with this hash was evicted just now.
    pub fn remember(&mut self, hash: KeyHash, age: GhostAge) {
        let ghost = Slot { tag: tag_of(hash) | GHOST, low: age.now.0, high: more_of(hash) };
        self.add(hash, ghost, Some(age));
    }

    /// Has the table for `hash` give back what it does not need for entries: the index takes too much.
    pub fn shed(&mut self, hash: KeyHash) {
        self.change(hash, Table::shed);
    }

    /// Whether the key with this hash, or one that is hard to tell from it, was evicted lately. Forgets that it was.
    pub fn recall(&mut self, hash: KeyHash, age: GhostAge) -> bool {
        let mut run = self.tables[self.table_of(hash)].run(tag_of(hash));
        let is_it = |slot: Slot| slot.is_ghost() && slot.high == more_of(hash) && !age.is_over(slot);
        let Some((at, _)) = run.find(|&(_, slot)| is_it(slot)) else { return false };
        drop(run);
        self.change(hash, |table| table.remove(at));
        true
    }

    /// How often entries came, went or moved: as long as this stays the same, so do the places of all of them.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// The memory that it takes, in bytes.
    pub const fn bytes(&self) -> u64 {
        self.slot_bytes + self.bytes_min()
    }

    /// The memory that it takes when it is empty, in bytes.
    pub const fn bytes_min(&self) -> u64 {
        (self.tables.len() * size_of::<Table>()) as u64
    }

    /// Checks the index against itself.
    pub fn assert_invariants(&self) {
        let mut entries = 0;
        for table in &self.tables {
            let mut before: Option<(usize, Slot)> = None;
            let (mut filled, mut ghosts) = (0, 0);
            for (at, slot) in table.slots.iter().copied().enumerate().filter(|(_, slot)| !slot.is_empty()) {
                let home = table.home(slot.rank());
                assert!(home <= at, "no slot stands before its place");
                let follows = before.is_some_and(|(place, other)| place + 1 == at && other.rank() <= slot.rank());
                assert!(home == at || follows, "a slot that is not at its place follows another");
                assert!(before.is_none_or(|(_, other)| other.rank() <= slot.rank()), "tags are in order");
                before = Some((at, slot));
                filled += 1;
                ghosts += u32::from(slot.is_ghost());
                entries += usize::from(!slot.is_ghost());
            }
            assert_eq!((filled, ghosts), (table.filled, table.ghosts));
        }
        assert_eq!(entries, self.entries);
        assert_eq!(self.slot_bytes, self.tables.iter().map(Table::bytes).sum::<u64>());
    }
}

/// Behind the bits that pick a table.
const TABLE_BITS: u32 = INDEX_TABLES_MAX.ilog2();
const _: () = assert!(INDEX_TABLES_MAX.is_power_of_two() && INDEX_TABLES_MIN.is_power_of_two());
const _: () =
    assert!(TABLE_BITS + TAG_BITS + 16 <= 48, "the bits that pick the shard are much the same for all its keys");

const fn tag_of(hash: KeyHash) -> u16 {
    let tag = (hash.0 >> TABLE_BITS) as u16 & !GHOST;
    if tag > TAG_MAX { TAG_MAX } else { tag }
}

/// Further bits, which tell ghosts apart.
const fn more_of(hash: KeyHash) -> u16 {
    (hash.0 >> (TABLE_BITS + TAG_BITS)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const FRESH: GhostAge = GhostAge { now: Stamp(10), ticks_max: 100 };

    /// `SplitMix64` (Steele, Lea and Flood, 2014).
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[test]
    fn entries_with_equal_hashes_are_told_apart_by_their_keys() {
        let mut index = Index::new(0);
        for hash in [KeyHash(42), KeyHash(u64::MAX), KeyHash(u64::from(TAG_MAX) << TABLE_BITS)] {
            for n in 0..100 {
                index.insert(hash, Loc(n), None);
                index.assert_invariants();
            }
            assert_eq!(index.find(hash, |loc| loc == Loc(70)), Some(Loc(70)));
            index.moved(hash, Loc(70), Loc(500));
            assert_eq!(index.find(hash, |loc| loc == Loc(70)), None);
            index.remove(hash, Loc(500));
            for n in (0..100).filter(|&n| n != 70) {
                index.remove(hash, Loc(n));
                index.assert_invariants();
            }
            assert_eq!((index.find(hash, |_| true), index.len()), (None, 0));
        }
    }

    /// Who knows the seed can choose keys that all share a tag; each of them costs a look at all others, and nobody else pays.
    #[test]
    fn keys_that_collide_are_looked_at_only_for_each_other() {
        const COLLIDING: u32 = 2_000;
        let (mut index, looked) = (Index::new(1 << 20), std::cell::Cell::new(0));
        let in_table_3 = |tag: u16| KeyHash(u64::from(tag) << TABLE_BITS | 3);
        (0..COLLIDING).for_each(|n| index.insert(in_table_3(5), Loc(n), None));
        let looks = |hash| {
            looked.set(0);
            assert_eq!(index.find(hash, |_| looked.replace(looked.get() + 1) == u32::MAX), None);
            looked.get()
        };
        assert_eq!(looks(in_table_3(5)), COLLIDING);
        assert!((0..=TAG_MAX).filter(|tag| *tag != 5).all(|tag| looks(in_table_3(tag)) == 0));
        let others = index.tables.iter().enumerate().filter(|(number, _)| *number != 3);
        assert_eq!(others.map(|(_, table)| table.slots.len()).sum::<usize>(), 0, "no other table has grown");
        let most = u64::from(COLLIDING) * size_of::<Slot>() as u64 * 5 / 4;
        assert!(index.bytes() - index.bytes_min() < most, "they take {} bytes", index.bytes() - index.bytes_min());
        index.assert_invariants();
    }

    #[test]
    fn it_does_what_a_map_does() {
        for (seed, mask) in [(1, u64::MAX), (2, 0xff_ffff), (3, 0x7f << TABLE_BITS), (4, 0)] {
            let (mut state, mut index, mut map) = (seed, Index::new(1 << 20), BTreeMap::new());
            for step in 0..20_000_u32 {
                let n = random(&mut state) % 600;
                let hash = KeyHash(random(&mut (n + 1)) & mask);
                let found = index.find(hash, |loc| map.get(&n) == Some(&loc));
                assert_eq!(found, map.get(&n).copied(), "seed {seed}, step {step}");
                match (found, random(&mut state) % 8) {
                    (None, 0) => index.remember(hash, FRESH),
                    (None, _) => {
                        index.insert(hash, Loc(step), Some(FRESH));
                        map.insert(n, Loc(step));
                    }
                    (Some(loc), 0..6) => {
                        index.remove(hash, loc);
                        map.remove(&n);
                    }
                    (Some(loc), _) => {
                        index.moved(hash, loc, Loc(step));
                        map.insert(n, Loc(step));
                    }
                }
                if step % 64 == 0 {
                    index.assert_invariants();
                }
                assert_eq!(index.len(), map.len());
            }
        }
    }

    #[test]
    fn a_ghost_is_recalled_once_and_only_for_a_time() {
        let mut index = Index::new(0);
        let at = |now| GhostAge { now: Stamp(now), ticks_max: 100 };
        index.remember(KeyHash(7), at(u16::MAX - 10));
        assert!(!index.recall(KeyHash(7), at(90)));
        assert!(index.recall(KeyHash(7), at(89)));
        assert!(!index.recall(KeyHash(7), at(89)));
        assert_eq!(index.find(KeyHash(7), |_| true), None);
    }

    #[test]
    fn old_ghosts_make_room_before_a_table_grows() {
        let mut index = Index::new(0);
        for n in 0..100_000_u64 {
            let hash = KeyHash(random(&mut (n + 1)));
            index.remember(hash, GhostAge { now: Stamp((n / 10) as u16), ticks_max: 100 });
        }
        index.assert_invariants();
        assert!(index.bytes() < 1_000 * 6 * 2, "{} bytes for some 1,000 ghosts that are not too old", index.bytes());
    }

    #[test]
    fn an_entry_costs_seven_bytes_and_nothing_stays_when_it_goes() {
        let mut index = Index::new(1 << 30);
        let hash = |n: u32| KeyHash(random(&mut (u64::from(n) + 1)));
        let empty = index.bytes();
        (0..1_000_000).for_each(|n| index.insert(hash(n), Loc(n), None));
        assert!(index.bytes() < 7_300_000, "{}", index.bytes());
        (0..1_000_000).for_each(|n| index.remove(hash(n), Loc(n)));
        assert!(index.bytes() - empty < 400_000, "{}", index.bytes() - empty);
    }
}
