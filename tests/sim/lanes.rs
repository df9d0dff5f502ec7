//! The lanes between the cores, and their bad habits.

use crate::fault::{Fault, Faults};
use crate::seen::Seen;
use cache_service::engine::host::{Host, Notice, PagesErrand, PagesState};
use cache_service::parcel::{Parcel, Work};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Which lane: whether it leads back, from where, to where, and whether it is the one of commands. Parcels of one lane keep
/// their order.
pub type Ends = (bool, u16, u16, bool);

/// Pages that wait to be written; more are refused.
const ERRANDS_MAX: usize = 3;

#[derive(Debug)]
pub struct Lanes {
    lanes: BTreeMap<Ends, VecDeque<Box<Parcel>>>,
    /// Pages that somebody else is to write, in his own time.
    pub errands: Vec<PagesErrand>,
    /// For each core, how many of the next parcels are refused.
    pub full_for: Vec<u8>,
    mailbox_max: usize,
    /// Nothing is refused any more.
    pub is_calm: bool,
    /// Parcels that are not carried out yet, by sender and name, in the order in which they were sent.
    undone: HashMap<(u16, u64), u64>,
    sent: u64,
    /// For each core, how many of its parcels are under way.
    pub under_way: Vec<usize>,
    pub faults: Faults,
    pub seen: Seen,
}

impl Lanes {
    pub fn new(cores: u16, mailbox_max: usize, faults: Faults) -> Self {
        Self {
            lanes: BTreeMap::new(),
            errands: Vec::new(),
            full_for: vec![0; usize::from(cores)],
            mailbox_max,
            is_calm: false,
            undone: HashMap::new(),
            sent: 0,
            under_way: vec![0; usize::from(cores)],
            faults,
            seen: Seen::default(),
        }
    }

    pub fn are_empty(&self) -> bool {
        self.errands.is_empty() && self.lanes.values().all(VecDeque::is_empty)
    }

    /// How many parcels have been sent so far.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether all that `core` had sent when it had sent `sent` in all is carried out.
    pub fn is_done(&self, core: u16, sent: u64) -> bool {
        !self.undone.iter().any(|((from, _), number)| *from == core && *number < sent)
    }

    /// The lane that `pick` stands for, among those with something in them that lead to a core which `is_awake`.
    pub fn pick(&self, leads_back: bool, pick: u16, is_awake: impl Fn(u16) -> bool) -> Option<Ends> {
        let may = |(ends, lane): &(&Ends, &VecDeque<_>)| ends.0 == leads_back && !lane.is_empty() && is_awake(ends.2);
        let waiting: Vec<Ends> = self.lanes.iter().filter(may).map(|(ends, _)| *ends).collect();
        let chosen = usize::from(pick).checked_rem(waiting.len())?;
        Some(waiting[chosen])
    }

    pub fn take(&mut self, ends: Ends) -> Option<Box<Parcel>> {
        let lane = self.lanes.get_mut(&ends)?;
        if lane.len() > 1 && self.faults.strikes(Fault::OvertakingParcel) {
            return lane.remove(1);
        }
        if ends.0
            && ends.3
            && lane.len() > 1
            && lane[0].work.is_commands()
            && lane[1].work.is_commands()
            && self.faults.strikes(Fault::SwappedReplies)
        {
            let (first, second) = (lane[0].id, lane[1].id);
            (lane[0].id, lane[1].id) = (second, first);
        }
        lane.pop_front()
    }

    fn waiting_for(&self, core: u16) -> usize {
        let to_core = |ends: &&Ends| !ends.0 && ends.2 == core && ends.3;
        self.lanes.keys().filter(to_core).map(|ends| self.lanes[ends].len()).sum()
    }

    fn is_full_for(&mut self, parcel: &Parcel) -> bool {
        if self.is_calm {
            return false;
        }
        let full_for = &mut self.full_for[parcel.to.index()];
        if *full_for > 0 {
            *full_for -= 1;
            self.seen.note("refused by a lane");
            return true;
        }
        let is_full = parcel.work.is_commands() && self.waiting_for(parcel.to.0) >= self.mailbox_max;
        self.seen.note_if(is_full, "refused by a lane that had filled");
        is_full
    }
}

impl Host for Lanes {
    fn send(&mut self, mut parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        if self.is_full_for(&parcel) {
            return Err(parcel);
        }
        self.under_way[parcel.from.index()] += 1;
        self.undone.insert((parcel.from.0, parcel.id.0), self.sent);
        self.sent += 1;
        if self.faults.strikes(Fault::LostParcel) {
            return Ok(());
        }
        if let Work::Pull { offset, .. } = &mut parcel.work {
            self.seen.note("long values pulled");
            if *offset > 0 && self.faults.strikes(Fault::TornValue) {
                *offset = 0;
            }
        }
        let ends = (false, parcel.from.0, parcel.to.0, parcel.work.is_commands());
        self.lanes.entry(ends).or_default().push_back(parcel);
        Ok(())
    }

    fn reply(&mut self, parcel: Box<Parcel>) {
        self.undone.remove(&(parcel.from.0, parcel.id.0));
        if self.faults.strikes(Fault::LostReply) {
            return;
        }
        self.lanes.entry((true, parcel.to.0, parcel.from.0, true)).or_default().push_back(parcel);
    }

    fn notice(&mut self, _notice: Notice) {}

    fn write_pages(&mut self, errand: PagesErrand) -> PagesState {
        if !self.is_calm && self.errands.len() >= ERRANDS_MAX {
            self.seen.note("pages refused");
            return PagesState::Busy;
        }
        self.errands.push(errand);
        PagesState::Later
    }
}
