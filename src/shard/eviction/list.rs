//! A doubly linked list through the records themselves.

use crate::shard::log::{Loc, Log};
use crate::shard::record::{self, Entry};

/// Entries from the oldest to the newest.
#[derive(Debug)]
pub struct List {
    newest: Loc,
    oldest: Loc,
}

impl Default for List {
    fn default() -> Self {
        Self { newest: Loc::NIL, oldest: Loc::NIL }
    }
}

impl List {
    /// Adds an entry as the newest.
    pub fn push(&mut self, log: &mut Log, loc: Loc) {
        let older = std::mem::replace(&mut self.newest, loc);
        let entry = log.at_mut(loc);
        record::set_newer(entry, Loc::NIL);
        record::set_older(entry, older);
        if older == Loc::NIL {
            self.oldest = loc;
        } else {
            record::set_newer(log.at_mut(older), loc);
        }
    }

    /// Takes an entry out.
    pub fn unlink(&mut self, log: &mut Log, loc: Loc) {
        let entry = Entry(log.at(loc));
        let (newer, older) = (entry.newer(), entry.older());
        self.join(log, older, newer);
    }

    /// Follows an entry that has moved and brought its neighbours along.
    pub fn moved(&mut self, log: &mut Log, to: Loc) {
        let entry = Entry(log.at(to));
        let (newer, older) = (entry.newer(), entry.older());
        self.join(log, older, to);
        self.join(log, to, newer);
    }

    /// Makes `newer` follow `older`; either may be an end of the list.
    fn join(&mut self, log: &mut Log, older: Loc, newer: Loc) {
        if newer == Loc::NIL {
            self.newest = older;
        } else {
            record::set_older(log.at_mut(newer), older);
        }
        if older == Loc::NIL {
            self.oldest = newer;
        } else {
            record::set_newer(log.at_mut(older), newer);
        }
    }

    /// The newest entry.
    pub fn newest(&self) -> Option<Loc> {
        (self.newest != Loc::NIL).then_some(self.newest)
    }

    /// The oldest entry.
    pub fn oldest(&self) -> Option<Loc> {
        (self.oldest != Loc::NIL).then_some(self.oldest)
    }

    /// All entries, the oldest first.
    pub fn iter<'l>(&self, log: &'l Log) -> impl Iterator<Item = Loc> + use<'l> {
        let next = |loc: &Loc| Some(Entry(log.at(*loc)).newer()).filter(|&newer| newer != Loc::NIL);
        std::iter::successors(self.oldest(), next)
    }
}
