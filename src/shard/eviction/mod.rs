//! Picks victims. Policy only: knows neither budget nor time, and drops nothing.

mod list;
mod lru;
mod s3_fifo;

use super::index::GhostAge;
use super::log::{Loc, Log};
use super::record::Entry;
use lru::Lru;
use s3_fifo::S3Fifo;

/// So many entries that have earned to stay are passed over for one request for room, at most: the work that a write may
/// cause is bounded, and the order of eviction is not quite that of the policy only where nearly everything is in use.
pub const PATIENCE: u32 = 512;

/// Who goes when there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// The least recently used entry, in exact order.
    Lru,
    /// S3-FIFO: what was asked for only once goes first, so that scans do no harm.
    #[default]
    S3Fifo,
}

impl EvictionPolicy {
    /// All policies.
    pub const ALL: [Self; 2] = [Self::Lru, Self::S3Fifo];

    /// The name in the configuration and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::S3Fifo => "s3fifo",
        }
    }
}

/// How an entry comes into the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Its key was not there.
    New {
        /// But was evicted lately.
        comes_again: bool,
    },
    /// It takes the place of an entry with this mark.
    Rewritten {
        /// See [`Entry::mark`].
        mark: u8,
    },
}

/// The order of eviction. Weights are bytes.
#[derive(Debug)]
pub enum Order {
    /// See [`EvictionPolicy::Lru`].
    Lru(Lru),
    /// See [`EvictionPolicy::S3Fifo`].
    S3Fifo(S3Fifo),
}

impl Order {
    /// An empty order for a cache that may take up `limit` bytes.
    pub fn new(policy: EvictionPolicy, limit: u64) -> Self {
        match policy {
            EvictionPolicy::Lru => Self::Lru(Lru::default()),
            EvictionPolicy::S3Fifo => Self::S3Fifo(S3Fifo::new(limit)),
        }
    }

    /// Follows the limit of the cache.
    pub fn set_limit(&mut self, limit: u64) {
        if let Self::S3Fifo(queues) = self {
            queues.set_limit(limit);
        }
    }

    /// Adds an entry.
    pub fn insert(&mut self, log: &mut Log, loc: Loc, weight: u64, arrival: Arrival) {
        match (self, arrival) {
            (Self::Lru(order), _) => order.insert(log, loc),
            (Self::S3Fifo(queues), Arrival::New { comes_again }) => queues.insert(log, loc, weight, comes_again),
            (Self::S3Fifo(queues), Arrival::Rewritten { mark }) => queues.reinsert(log, loc, weight, mark),
        }
    }

    /// Whether [`Order::touch`] would change anything for the entry at `loc`, whose mark is `mark`.
    pub fn notices(&self, loc: Loc, mark: u8) -> bool {
        match self {
            Self::Lru(order) => order.notices(loc),
            Self::S3Fifo(_) => s3_fifo::notices(mark),
        }
    }

    /// Takes note that an entry was used.
    pub fn touch(&mut self, log: &mut Log, loc: Loc) {
        match self {
            Self::Lru(order) => order.touch(log, loc),
            Self::S3Fifo(queues) => queues.touch(log, loc),
        }
    }

    /// Forgets an entry.
    pub fn remove(&mut self, log: &mut Log, loc: Loc, weight: u64) {
        match self {
            Self::Lru(order) => order.remove(log, loc),
            Self::S3Fifo(queues) => queues.remove(log, loc, weight),
        }
    }

    /// Follows an entry whose bytes were copied to `to`, its neighbours among them.
    pub fn moved(&mut self, log: &mut Log, to: Loc) {
        match self {
            Self::Lru(order) => order.moved(log, to),
            Self::S3Fifo(queues) => queues.moved(log, to),
        }
    }

    /// The next victim; entries that have earned to stay are passed over as long as there is `patience`.
    pub fn victim(&mut self, log: &mut Log, patience: &mut u32, weight_of: impl Fn(&Log, Loc) -> u64) -> Option<Loc> {
        match self {
            Self::Lru(order) => order.victim(),
            Self::S3Fifo(queues) => queues.victim(log, patience, weight_of),
        }
    }

    /// Whether the key of an entry that is evicted is to be remembered.
    pub fn leaves_ghost(&mut self, log: &Log, loc: Loc, weight: u64) -> bool {
        match self {
            Self::Lru(_) => false,
            Self::S3Fifo(queues) => queues.leaves_ghost(log, loc, weight),
        }
    }

    /// How old remembered keys are, if the policy remembers any.
    pub fn ghost_age(&self) -> Option<GhostAge> {
        match self {
            Self::Lru(_) => None,
            Self::S3Fifo(queues) => Some(queues.ghost_age()),
        }
    }

    /// All entries, for tests.
    pub fn entries<'l>(&self, log: &'l Log) -> Box<dyn Iterator<Item = Loc> + 'l> {
        match self {
            Self::Lru(order) => Box::new(order.iter(log)),
            Self::S3Fifo(queues) => Box::new(queues.iter(log)),
        }
    }

    /// Checks the order against the entries in it.
    pub fn assert_invariants(&self, log: &Log, weight_of: impl Fn(&Log, Loc) -> u64) {
        let mut before = None;
        for loc in self.entries(log) {
            let older = Entry(log.at(loc)).older();
            assert!(older == Loc::NIL || before == Some(older), "{loc:?} knows its neighbours");
            before = Some(loc);
        }
        if let Self::S3Fifo(queues) = self {
            queues.assert_invariants(log, weight_of);
        }
    }
}
