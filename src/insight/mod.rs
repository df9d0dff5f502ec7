//! What a core can tell of itself when an operator asks: its numbers, its hottest keys, its slowest requests.
//!
//! | module | what it is about |
//! | --- | --- |
//! | `hot_keys` | which keys are asked for most: Space-Saving over a sample of the operations |
//! | `slow_log` | which requests took long, and what the time was spent on |
//! | `page` | the reports of all cores, written as one page |
//!
//! Every core keeps its own and answers a [`Question`] with a [`Report`]. Reports are gathered by the core that was asked
//! and written by whoever has time: see [`crate::engine::surveys`].

pub mod hot_keys;
pub mod page;
pub mod slow_log;

use crate::metrics::CoreMetrics;
use crate::routing::ShardId;
use hot_keys::HotKey;
use slow_log::SlowRequest;

/// What every core is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Question {
    /// How much it holds.
    Readiness,
    /// What it has counted.
    Numbers,
    /// Which keys of its shard are asked for most.
    HotKeys,
    /// Which of its requests took long.
    SlowRequests,
}

impl Question {
    /// All questions, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Readiness, Self::Numbers, Self::HotKeys, Self::SlowRequests];
}

/// What a core answers.
#[derive(Clone, Debug)]
pub enum Report {
    /// To [`Question::Readiness`].
    Readiness {
        /// Entries in its shard.
        entries: u64,
        /// Memory in use, in bytes.
        memory_bytes: u64,
    },
    /// To [`Question::Numbers`].
    Numbers(Box<CoreMetrics>),
    /// To [`Question::HotKeys`].
    HotKeys {
        /// For how long it has looked, in milliseconds.
        watched_ms: u64,
        /// The keys, in no order.
        keys: Vec<HotKey>,
    },
    /// To [`Question::SlowRequests`], in no order.
    SlowRequests(Vec<SlowRequest>),
}

impl Report {
    /// The numbers, if it was asked for those.
    #[must_use]
    pub fn numbers(&self) -> Option<&CoreMetrics> {
        match self {
            Self::Numbers(numbers) => Some(numbers),
            Self::Readiness { .. } | Self::HotKeys { .. } | Self::SlowRequests(_) => None,
        }
    }
}

/// Every report with the core that it is from.
pub(crate) fn by_core(reports: &[Report]) -> impl Iterator<Item = (ShardId, &Report)> {
    (0..).map(ShardId).zip(reports)
}
