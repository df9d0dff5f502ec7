//! Mistakes that the world makes on purpose, so that it is seen to find such mistakes.

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A parcel is said to be on its way, and is lost.
    LostParcel,
    /// A parcel that was carried out is lost on its way back.
    LostReply,
    /// Two parcels that come back have each other's names.
    SwappedReplies,
    /// A parcel overtakes another one of the same lane.
    OvertakingParcel,
    /// A write is carried out by another shard than the one that is read.
    LostWrite,
    /// A piece of a long value comes from its beginning instead of where it was asked for.
    TornValue,
    /// A lease is not released.
    LeakedLease,
    /// The engine does not hear that a client has gone.
    LeakedConnection,
    /// A core's clock stands still.
    StandingClock,
    /// A read gets the answer of an earlier one.
    StaleRead,
    /// A write that took place is said to have failed.
    LyingRefusal,
    /// A write that was refused is said to have taken place.
    LyingSuccess,
    /// An answer comes twice.
    RepeatedAnswer,
    /// Answers of a connection change places.
    SwappedAnswers,
    /// An entry is gone, and nothing says that it was evicted.
    SilentLoss,
    /// The memory budget is not obeyed.
    IgnoredBudget,
    /// A core does not look after a connection that something has changed for.
    MissedWakeUp,
    /// A refusal is not counted.
    UnknownRefusal,
}

impl Fault {
    pub const ALL: [Self; 18] = [
        Self::LostParcel,
        Self::LostReply,
        Self::SwappedReplies,
        Self::OvertakingParcel,
        Self::LostWrite,
        Self::TornValue,
        Self::LeakedLease,
        Self::LeakedConnection,
        Self::StandingClock,
        Self::StaleRead,
        Self::LyingRefusal,
        Self::LyingSuccess,
        Self::RepeatedAnswer,
        Self::SwappedAnswers,
        Self::SilentLoss,
        Self::IgnoredBudget,
        Self::MissedWakeUp,
        Self::UnknownRefusal,
    ];
}

/// Says when a fault strikes: at every other opportunity.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    what: Option<Fault>,
    opportunities: u64,
}

impl Faults {
    pub const fn new(what: Option<Fault>) -> Self {
        Self { what, opportunities: 0 }
    }

    /// Whether this fault is there at all.
    pub fn has(&self, fault: Fault) -> bool {
        self.what == Some(fault)
    }

    /// Whether it strikes, now that it could.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        if !self.has(fault) {
            return false;
        }
        self.opportunities += 1;
        self.opportunities.is_multiple_of(2)
    }
}
