//! S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), by bytes instead of entries and
//! with the constants of its authors' simulator.
//!
//! What is new stands in a small queue. When it reaches the end there, it goes, and is remembered for a time, unless it
//! was used twice: then it moves to the main queue, and so does what comes again while it is remembered. At the end of
//! the main queue an entry that was used since goes around once more for each of its last three uses. So what is asked
//! for once, a scan for example, passes through a tenth of the cache.
//!
//! Besides the paper: a use of an entry never moves it, nor does a write over it with a value of the same length; when
//! an order of eviction has to be found in one go, no more than [`super::PATIENCE`] entries are passed over.

use super::list::List;
use crate::shard::index::{GhostAge, Stamp};
use crate::shard::log::{Loc, Log};
use crate::shard::record::{self, Entry};

/// The main queue may have this many times what the small one has, in bytes.
const MAIN_PER_SMALL: u64 = 9;
/// What was used so often in the small queue moves to the main queue.
const USES_TO_STAY: u8 = 2;
/// Uses are counted up to this.
const USES_MAX: u8 = 0b11;
/// The part of a mark that counts uses.
const USES: u8 = 0b11;
/// The bit of a mark that says that the entry is in the main queue.
const IN_MAIN: u8 = 0b100;
/// Ghosts are remembered until this part of the limit has been evicted after them: numerator and denominator.
const GHOST_WINDOW: (u64, u64) = (9, 10);
/// The clock of the ghosts ticks so often in that time.
const TICKS_PER_WINDOW: u64 = 4096;

/// The two queues, and the clock of the ghosts, which the index keeps.
#[derive(Debug)]
pub struct S3Fifo {
    small: List,
    main: List,
    small_bytes: u64,
    main_bytes: u64,
    tick: Stamp,
    /// Bytes evicted since the last tick.
    since_tick: u64,
    bytes_per_tick: u64,
}

impl S3Fifo {
    /// Empty queues of a cache that may take up `limit` bytes.
    pub fn new(limit: u64) -> Self {
        let (small, main) = (List::default(), List::default());
        let mut queues =
            Self { small, main, small_bytes: 0, main_bytes: 0, tick: Stamp(0), since_tick: 0, bytes_per_tick: 1 };
        queues.set_limit(limit);
        queues
    }

    /// Follows the limit of the cache.
    pub fn set_limit(&mut self, limit: u64) {
        self.bytes_per_tick = (limit / GHOST_WINDOW.1 * GHOST_WINDOW.0 / TICKS_PER_WINDOW).max(1);
    }

    /// Adds an entry of `weight` bytes: a new one, or one that comes again.
    pub fn insert(&mut self, log: &mut Log, loc: Loc, weight: u64, comes_again: bool) {
        self.push(log, loc, weight, if comes_again { IN_MAIN } else { 0 });
    }

    /// Adds an entry that takes the place of one with this mark.
    pub fn reinsert(&mut self, log: &mut Log, loc: Loc, weight: u64, mark: u8) {
        self.push(log, loc, weight, used(mark));
    }

    fn push(&mut self, log: &mut Log, loc: Loc, weight: u64, mark: u8) {
        record::set_mark(log.at_mut(loc), mark);
        let (queue, bytes) = self.queue_of(mark);
        *bytes += weight;
        queue.push(log, loc);
    }

    fn queue_of(&mut self, mark: u8) -> (&mut List, &mut u64) {
        if mark & IN_MAIN == 0 {
            (&mut self.small, &mut self.small_bytes)
        } else {
            (&mut self.main, &mut self.main_bytes)
        }
    }

    /// Takes note that an entry was used.
    pub fn touch(&self, log: &mut Log, loc: Loc) {
        let mark = Entry(log.at(loc)).mark();
        if notices(mark) {
            record::set_mark(log.at_mut(loc), used(mark));
        }
    }

    /// Forgets an entry of `weight` bytes.
    pub fn remove(&mut self, log: &mut Log, loc: Loc, weight: u64) {
        let (queue, bytes) = self.queue_of(Entry(log.at(loc)).mark());
        *bytes -= weight;
        queue.unlink(log, loc);
    }

    /// Follows an entry that has moved.
    pub fn moved(&mut self, log: &mut Log, to: Loc) {
        self.queue_of(Entry(log.at(to)).mark()).0.moved(log, to);
    }

    /// The next victim. Entries that may stay are passed over, each at the cost of one of `patience`.
    pub fn victim(&mut self, log: &mut Log, patience: &mut u32, weight_of: impl Fn(&Log, Loc) -> u64) -> Option<Loc> {
        loop {
            let is_main_full = self.main_bytes > self.small_bytes * MAIN_PER_SMALL;
            let small = self.small.oldest().filter(|_| !is_main_full);
            let loc = small.or_else(|| self.main.oldest()).or_else(|| self.small.oldest())?;
            let mark = Entry(log.at(loc)).mark();
            let stays = if mark & IN_MAIN == 0 { mark & USES >= USES_TO_STAY } else { mark & USES > 0 };
            if !stays || *patience == 0 {
                return Some(loc);
            }
            *patience -= 1;
            let weight = weight_of(log, loc);
            self.remove(log, loc, weight);
            let uses_left = if mark & IN_MAIN == 0 { 0 } else { (mark & USES) - 1 };
            self.push(log, loc, weight, IN_MAIN | uses_left);
        }
    }

    /// Whether an entry that is evicted is to be remembered; counts it as evicted if so.
    pub fn leaves_ghost(&mut self, log: &Log, loc: Loc, weight: u64) -> bool {
        if Entry(log.at(loc)).mark() & IN_MAIN != 0 {
            return false;
        }
        self.since_tick += weight;
        let ticks = self.since_tick / self.bytes_per_tick;
        self.since_tick %= self.bytes_per_tick;
        self.tick = Stamp(self.tick.0.wrapping_add(ticks as u16));
        true
    }

    /// How old ghosts are now, and may be. The limit decides, not what is in the queues: that may be next to nothing
    /// for a moment, when a long value has just driven everything out.
    pub const fn ghost_age(&self) -> GhostAge {
        GhostAge { now: self.tick, ticks_max: TICKS_PER_WINDOW as u16 }
    }

    /// The entries of the small queue and of the main queue, the oldest first.
    pub fn iter<'l>(&self, log: &'l Log) -> impl Iterator<Item = Loc> + use<'l> {
        self.small.iter(log).chain(self.main.iter(log))
    }

    /// Checks the queues against the entries in them.
    pub fn assert_invariants(&self, log: &Log, weight_of: impl Fn(&Log, Loc) -> u64) {
        for (queue, bytes, in_main) in [(&self.small, self.small_bytes, 0), (&self.main, self.main_bytes, IN_MAIN)] {
            assert!(queue.iter(log).all(|loc| Entry(log.at(loc)).mark() & IN_MAIN == in_main));
            assert_eq!(queue.iter(log).map(|loc| weight_of(log, loc)).sum::<u64>(), bytes);
        }
    }
}

/// Whether another use of an entry with this mark is worth noting.
pub const fn notices(mark: u8) -> bool {
    mark & USES < USES_MAX
}

const fn used(mark: u8) -> u8 {
    if notices(mark) { mark + 1 } else { mark }
}
