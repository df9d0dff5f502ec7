//! What is between the cores: inboxes that parcels take no time to reach, and what travels, counted.

use cache_service::command::{Command, Outcome, Span, Value};
use cache_service::engine::host::{Host, Notice};
use cache_service::parcel::Parcel;
use cache_service::routing::ShardId;
use std::collections::VecDeque;

const LINE_BYTES: usize = 64;
/// Lines of the lane itself that change cores for a message: its slot, and the place where the next one goes.
const LINES_OF_A_LANE: usize = 2;

/// What has been sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Parcels sent, and sent back.
    pub messages: u64,
    /// Keys, values and their descriptions in them.
    pub bytes: u64,
    /// Cache lines that they and their lanes take, each time that they change cores. An estimate.
    pub lines: u64,
}

/// A parcel and the moment from which on its receiver can see it.
type Sent = (u64, Box<Parcel>);

/// What has been sent to one core.
#[derive(Debug, Default)]
struct Inbox {
    requests: VecDeque<Sent>,
    replies: VecDeque<Sent>,
}

/// The host of all engines: it holds what they send until the step ends in which they do.
#[derive(Debug)]
pub struct Post {
    inboxes: Vec<Inbox>,
    mailbox: usize,
    outgoing: VecDeque<Box<Parcel>>,
    returning: VecDeque<Box<Parcel>>,
    /// Since it was last taken.
    pub traffic: Traffic,
}

/// What arrives at a core.
#[derive(Debug)]
pub enum Arrival {
    /// To be carried out.
    Work(Box<Parcel>),
    /// Carried out.
    Reply(Box<Parcel>),
}

/// What a step has sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Parcels that set out.
    pub parcels: u64,
    /// Keys in them.
    pub keys: u64,
}

impl Post {
    /// Between so many cores, at each of which so many requests may wait.
    pub fn new(cores: usize, mailbox: usize) -> Self {
        let inboxes = (0..cores).map(|_| Inbox::default()).collect();
        Self { inboxes, mailbox, outgoing: VecDeque::new(), returning: VecDeque::new(), traffic: Traffic::default() }
    }

    /// What was sent out since the last step.
    pub fn load(&self) -> Load {
        let keys = self.outgoing.iter().map(|parcel| parcel.len() as u64).sum();
        Load { parcels: self.outgoing.len() as u64, keys }
    }

    /// Delivers what the step has sent, to be seen from the moment `at` on. Returns the receivers.
    pub fn deliver(&mut self, at: u64) -> impl Iterator<Item = usize> {
        let mut receivers = Vec::with_capacity(self.outgoing.len() + self.returning.len());
        for parcel in self.outgoing.drain(..) {
            self.traffic.count(question_bytes(&parcel), lines_of_question(&parcel));
            receivers.push(parcel.to.index());
            put(&mut self.inboxes[parcel.to.index()].requests, at, parcel);
        }
        for parcel in self.returning.drain(..) {
            self.traffic.count(answer_bytes(&parcel), lines_of_answer(&parcel));
            receivers.push(parcel.from.index());
            put(&mut self.inboxes[parcel.from.index()].replies, at, parcel);
        }
        receivers.into_iter()
    }

    /// The next parcel that a core can see, replies first, as on the real lanes.
    pub fn next_arrival(&mut self, core: usize, now: u64) -> Option<Arrival> {
        let Inbox { requests, replies } = &mut self.inboxes[core];
        take(replies, now).map(Arrival::Reply).or_else(|| take(requests, now).map(Arrival::Work))
    }

    /// Whether a core can see a parcel.
    pub fn has_arrivals(&self, core: usize, now: u64) -> bool {
        let Inbox { requests, replies } = &self.inboxes[core];
        is_seen(requests, now) || is_seen(replies, now)
    }

    fn waiting(&self, to: ShardId) -> usize {
        self.inboxes[to.index()].requests.len() + self.outgoing.iter().filter(|parcel| parcel.to == to).count()
    }
}

fn is_seen(lane: &VecDeque<Sent>, now: u64) -> bool {
    lane.front().is_some_and(|(at, _)| *at <= now)
}

fn take(lane: &mut VecDeque<Sent>, now: u64) -> Option<Box<Parcel>> {
    if is_seen(lane, now) { lane.pop_front().map(|(_, parcel)| parcel) } else { None }
}

/// Behind all that can be seen as early: senders finish their steps in another order than they begin them.
fn put(lane: &mut VecDeque<Sent>, at: u64, parcel: Box<Parcel>) {
    let place = lane.iter().rposition(|(earlier, _)| *earlier <= at).map_or(0, |last| last + 1);
    lane.insert(place, (at, parcel));
}

impl Traffic {
    fn count(&mut self, bytes: usize, lines: u64) {
        self.messages += 1;
        self.bytes += bytes as u64;
        self.lines += lines;
    }
}

fn key_bytes(parcel: &Parcel) -> usize {
    (0..parcel.len()).map(|place| parcel.key(place).len()).sum()
}

fn value_bytes(parcel: &Parcel) -> usize {
    let of_outcome = |place| match parcel.outcome(place) {
        Outcome::Found { media, value: Value::Inline(value), .. } => media.len() + value.len(),
        _ => 0,
    };
    (0..parcel.len()).map(of_outcome).sum()
}

fn question_bytes(parcel: &Parcel) -> usize {
    key_bytes(parcel) + parcel.len() * size_of::<Command<Span>>()
}

fn answer_bytes(parcel: &Parcel) -> usize {
    value_bytes(parcel) + parcel.len() * size_of::<Outcome<Span>>()
}

/// The parcel itself, its commands and its keys, and its lane.
pub fn lines_of_question(parcel: &Parcel) -> u64 {
    let commands = parcel.len() * size_of::<Command<Span>>();
    let lines: usize = [size_of::<Parcel>(), commands, key_bytes(parcel)].into_iter().map(lines).sum();
    (lines + LINES_OF_A_LANE) as u64
}

/// The parcel itself, its outcomes and its values, and its lane; the places for these went to the owner before, who writes them, and so
/// they count twice.
pub fn lines_of_answer(parcel: &Parcel) -> u64 {
    let outcomes = parcel.len() * size_of::<Outcome<Span>>();
    (lines(size_of::<Parcel>()) + 2 * (lines(outcomes) + lines(value_bytes(parcel))) + LINES_OF_A_LANE) as u64
}

const fn lines(bytes: usize) -> usize {
    bytes.div_ceil(LINE_BYTES)
}

impl Host for Post {
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        if self.waiting(parcel.to) >= self.mailbox {
            return Err(parcel);
        }
        self.outgoing.push_back(parcel);
        Ok(())
    }

    fn reply(&mut self, parcel: Box<Parcel>) {
        self.returning.push_back(parcel);
    }

    fn notice(&mut self, notice: Notice) {
        panic!("nothing to tell: {notice:?}");
    }
}
