//! Least recently used, in exact order.

use super::list::List;
use crate::shard::log::{Loc, Log};

/// Entries in the order of their last use.
#[derive(Debug, Default)]
pub struct Lru {
    order: List,
}

impl Lru {
    /// Adds an entry as the one used last.
    pub fn insert(&mut self, log: &mut Log, loc: Loc) {
        self.order.push(log, loc);
    }

    /// Whether the use of an entry changes the order.
    pub fn notices(&self, loc: Loc) -> bool {
        self.order.newest() != Some(loc)
    }

    /// Takes note that an entry was used.
    pub fn touch(&mut self, log: &mut Log, loc: Loc) {
        if self.notices(loc) {
            self.order.unlink(log, loc);
            self.order.push(log, loc);
        }
    }

    /// Forgets an entry.
    pub fn remove(&mut self, log: &mut Log, loc: Loc) {
        self.order.unlink(log, loc);
    }

    /// Follows an entry that has moved.
    pub fn moved(&mut self, log: &mut Log, to: Loc) {
        self.order.moved(log, to);
    }

    /// The next victim: the entry that was not used for the longest time.
    pub fn victim(&self) -> Option<Loc> {
        self.order.oldest()
    }

    /// All entries, the next victim first.
    pub fn iter<'l>(&self, log: &'l Log) -> impl Iterator<Item = Loc> + use<'l> {
        self.order.iter(log)
    }
}
