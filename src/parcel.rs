//! What travels between cores: questions on the way out, the same parcel with the answers on the way back.

use crate::command::{Command, LeaseId, Outcome, Span};
use crate::metrics::CoreMetrics;
use crate::routing::ShardId;
use crate::time::Mono;

/// Names a parcel at the core that sent it; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParcelId(pub u64);

/// What a parcel asks for, and then holds.
#[derive(Debug)]
pub enum Work {
    /// Apply commands to the shard; the outcomes come back in the same order.
    Commands,
    /// Copy the bytes of a leased value from `offset` up to the end of its chunk into the answer.
    Pull {
        /// The lease.
        lease: LeaseId,
        /// Where to begin.
        offset: u64,
    },
    /// Release a lease.
    Release(LeaseId),
    /// Report the core's numbers.
    Snapshot(Option<Box<CoreMetrics>>),
}

/// One burst of work for another core. It is allocated once, used again and again by the core that made it, and
/// belongs to one core at a time.
#[derive(Debug)]
pub struct Parcel {
    /// Its name at the sender.
    pub id: ParcelId,
    /// The core that sent it and waits for it to come back.
    pub from: ShardId,
    /// The owner refuses commands that it sees after this moment. Only the owner decides, so the sender never calls
    /// a write failed that then takes place.
    pub deadline: Mono,
    /// What is asked.
    pub work: Work,
    /// The commands of [`Work::Commands`], their bytes in `request`.
    commands: Vec<Command<Span>>,
    request: Vec<u8>,
    /// One for each command once the owner has seen it, their bytes in `answer`.
    outcomes: Vec<Outcome<Span>>,
    answer: Vec<u8>,
}
