//! The answers of one connection, in the order of its requests, and the bytes that go out.

use super::Context;
use super::stream::Stream;
use super::ticket::Ticket;
use crate::engine::host::Host;
use crate::engine::parts::{Answered, Parts, SpareOutputs};
use crate::limits::{GATHERED_MAX, OUTPUT_HIGH_WATER_BYTES, PIPELINE_DEPTH_MAX, STREAM_STEP_BYTES};
use crate::parcel::Parcel;
use crate::shard::Shard;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Bytes that are to be sent one after another and lie apart from each other.
pub type Gathered<'o> = SmallVec<[&'o [u8]; GATHERED_MAX]>;

/// A piece of an answer.
#[derive(Debug)]
pub enum Piece {
    /// Bytes that are there.
    Bytes(Vec<u8>),
    /// Bytes of the program that are still to be copied.
    Static(&'static [u8]),
    /// A long value, still at its shard.
    Stream(Box<Stream>),
}

/// An answer as it was written, with the request that it belongs to.
#[derive(Debug)]
pub struct Answer {
    /// Its pieces, in order.
    pub pieces: SmallVec<[Piece; 1]>,
    /// What the metrics need to know of it; `None` for a `100 Continue`.
    pub answered: Option<Answered>,
}

impl Answer {
    /// Bytes that it holds.
    fn len(&self) -> usize {
        self.pieces.iter().map(|piece| if let Piece::Bytes(bytes) = piece { bytes.len() } else { 0 }).sum()
    }
}

/// What an unanswered request waits for.
#[derive(Debug)]
pub enum Awaited {
    /// The one parcel that carries its one command.
    Outcome,
    /// All parcels of a batch.
    Batch(Box<super::batch::Batch>),
    /// What all cores report.
    Survey,
}

impl Awaited {
    /// Whether the request is one of those in progress as operators see them. Who asks for the numbers of all cores is
    /// not in them, or a server that does nothing would never show 0.
    const fn is_counted(&self) -> bool {
        !matches!(self, Self::Survey)
    }

    /// How many single requests this one counts for among those that a connection may have waiting. The answer to a
    /// batch may hold as many values; a question goes to all cores, and one at a time is enough for a connection.
    fn weight(&self) -> usize {
        match self {
            Self::Outcome => 1,
            Self::Survey => PIPELINE_DEPTH_MAX,
            Self::Batch(batch) => batch.len().div_ceil(BATCH_ITEMS_PER_SLOT),
        }
    }
}

/// Files go out in steps of this many bytes while the buffers of all connections take too much.
const STEP_BYTES_WHEN_FULL: usize = 4 * 1024;

/// Items of a batch that weigh as much as a request of its own.
const BATCH_ITEMS_PER_SLOT: usize = 2;

/// A place in the order of answers.
#[derive(Debug)]
enum Slot {
    Waiting(Waiting),
    Ready(Answer),
}

/// A request without an answer.
#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    awaited: Awaited,
    weight: usize,
}

impl Slot {
    fn weight(&self) -> usize {
        match self {
            Self::Waiting(waiting) => waiting.weight,
            Self::Ready(_) => 1,
        }
    }
}

/// Answers waiting for their turn, the one that is going out, and bytes not yet sent.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    slots: VecDeque<Slot>,
    /// The number of the front slot; slots are numbered in the order of requests.
    front: u64,
    /// How much the slots weigh: see [`Awaited::weight`].
    weight: usize,
    /// Bytes in answers that wait for their turn, or for room.
    held: usize,
    /// Whether nothing was to be sent when the answer that is being written was begun.
    was_clear: bool,
    /// What is left of the answer that is going out.
    going: VecDeque<Piece>,
    going_answered: Option<Answered>,
    /// Whether the first of these is a value that is sent from where it is stored, behind the bytes.
    is_lending: bool,
}

impl Outbox {
    /// What can be sent now, piece by piece, as far as there is room in `pieces`: bytes of its own, and then a value where
    /// `shard` has it stored.
    pub fn gather<'o>(&'o self, shard: &'o Shard, pieces: &mut Gathered<'o>) {
        let own = self.unsent();
        if !own.is_empty() {
            pieces.push(own);
        }
        if let (true, Some(Piece::Stream(stream))) = (self.is_lending, self.going.front()) {
            stream.gather(shard, pieces);
        }
    }

    /// Whether there is anything to send now.
    pub fn has_output(&self) -> bool {
        self.is_lending || !self.unsent().is_empty()
    }

    /// Its own bytes that can be sent now.
    fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Forgets the first `len` bytes of what [`Outbox::gather`] gives.
    pub fn forget(&mut self, parts: &mut Parts, len: usize) {
        let own = len.min(self.unsent().len());
        if own > 0 {
            self.forget_own(parts, own);
        }
        if own < len {
            self.forget_lent(parts, len - own);
        }
    }

    fn forget_own(&mut self, parts: &mut Parts, len: usize) {
        self.sent += len;
        if self.sent == self.bytes.len() {
            parts.spare_outputs.keep(std::mem::take(&mut self.bytes));
            self.sent = 0;
        } else if self.sent >= OUTPUT_HIGH_WATER_BYTES / 2 {
            // A reader that never catches up must not make the sent part grow for ever.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn forget_lent(&mut self, parts: &mut Parts, len: usize) {
        let going = self.going.front_mut().filter(|_| self.is_lending);
        let Some(Piece::Stream(stream)) = going else { panic!("no more is sent than there is") };
        stream.take_sent(parts, len, &mut self.bytes);
        if stream.is_done() {
            self.is_lending = false;
            self.going.pop_front();
        }
    }

    /// Gives back the buffers that hold nothing.
    pub fn give_back_buffers(&mut self) {
        if self.is_empty() {
            (self.bytes, self.sent) = (Vec::new(), 0);
            (self.slots, self.going) = (VecDeque::new(), VecDeque::new());
        }
    }

    /// The memory that it takes, in bytes.
    pub const fn footprint(&self) -> u64 {
        (self.bytes.capacity() + self.held) as u64
    }

    /// Whether every request is answered and every answer sent.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.going.is_empty() && !self.has_output()
    }

    /// Whether a request waits for its answer, or an answer for its turn.
    pub fn has_slots(&self) -> bool {
        !self.slots.is_empty() || !self.going.is_empty()
    }

    /// Whether another request may be taken on. A value that is lent is as good as a buffer that is full.
    pub fn has_room(&self) -> bool {
        !self.is_lending
            && self.weight < PIPELINE_DEPTH_MAX
            && self.unsent().len() + self.held < OUTPUT_HIGH_WATER_BYTES
    }

    /// How many more requests may wait for their answers.
    pub const fn places_left(&self) -> usize {
        PIPELINE_DEPTH_MAX.saturating_sub(self.weight)
    }

    /// Makes room for the answer to the next request, which `awaited` will bring. Returns the slot's number.
    pub fn wait(&mut self, parts: &mut Parts, ticket: Ticket, awaited: Awaited) -> u64 {
        parts.metrics.active_requests += u64::from(awaited.is_counted());
        let weight = awaited.weight();
        self.weight += weight;
        self.slots.push_back(Slot::Waiting(Waiting { ticket, awaited, weight }));
        self.next_slot() - 1
    }

    /// The number that the next slot will have.
    pub fn next_slot(&self) -> u64 {
        self.front + self.slots.len() as u64
    }

    /// Where to write the answer to a request that is answered at once: behind what goes out, if it is its turn.
    pub fn begin(&mut self, parts: &mut Parts) -> Vec<u8> {
        self.was_clear = self.is_empty();
        if self.has_slots() { Vec::new() } else { self.take_bytes(parts) }
    }

    /// The bytes that go out, to write whole answers behind them where nothing waits for its turn.
    pub fn straight(&mut self, spare: &mut SpareOutputs) -> &mut Vec<u8> {
        debug_assert!(!self.has_slots(), "answers go out in the order of their requests");
        if self.bytes.capacity() == 0 {
            self.bytes = spare.pop();
        }
        &mut self.bytes
    }

    /// The bytes that go out, to write behind them. Where nothing goes out, room that another connection has used last: it is
    /// still in the processor's cache, and who has nothing to say holds no memory.
    fn take_bytes(&mut self, parts: &mut Parts) -> Vec<u8> {
        if self.bytes.capacity() == 0 { parts.spare_outputs.pop() } else { std::mem::take(&mut self.bytes) }
    }

    /// Takes back what [`Outbox::begin`] gave, with the answer in it, or a further piece of it.
    pub fn finish<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        bytes: Vec<u8>,
        stream: Option<Stream>,
        mut answered: Answered,
    ) {
        answered.moments.paced_by_peer = !self.was_clear || stream.is_some();
        if self.has_slots() {
            let mut pieces = SmallVec::from_iter([Piece::Bytes(bytes)]);
            pieces.extend(stream.map(|stream| Piece::Stream(Box::new(stream))));
            return self.push(cx, Answer { pieces, answered: Some(answered) });
        }
        self.bytes = bytes;
        match stream {
            None => cx.parts.answered.push(answered),
            Some(stream) => {
                cx.parts.metrics.active_requests += 1;
                cx.parts.answers_untaken += 1;
                self.going_answered = Some(answered);
                self.going.push_back(Piece::Stream(Box::new(stream)));
                self.advance(cx);
            }
        }
    }

    /// Adds an answer that is complete, in the next slot.
    pub fn push<H: Host>(&mut self, cx: &mut Context<'_, H>, mut answer: Answer) {
        if let Some(answered) = &mut answer.answered {
            answered.moments.paced_by_peer = true;
        }
        cx.parts.metrics.active_requests += u64::from(answer.answered.is_some());
        cx.parts.answers_untaken += u64::from(answer.answered.is_some());
        self.weight += 1;
        self.held += answer.len();
        self.slots.push_back(Slot::Ready(answer));
        self.advance(cx);
    }

    /// The request that waits in slot `number`, if it still does.
    pub fn waiting(&mut self, number: u64) -> Option<(&Ticket, &mut Awaited)> {
        match self.slots.get_mut(usize::try_from(number.checked_sub(self.front)?).ok()?)? {
            Slot::Waiting(waiting) => Some((&waiting.ticket, &mut waiting.awaited)),
            Slot::Ready(_) => None,
        }
    }

    /// Where to write the answer for slot `number`: behind what goes out, if it is its turn.
    pub fn begin_slot(&mut self, parts: &mut Parts, number: u64) -> Vec<u8> {
        self.was_clear = self.is_turn_of(number) && self.unsent().is_empty();
        if self.is_turn_of(number) { self.take_bytes(parts) } else { Vec::new() }
    }

    /// Takes back what [`Outbox::begin_slot`] gave, with the answer in it; `rest` comes behind it.
    pub fn finish_slot<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        number: u64,
        bytes: Vec<u8>,
        rest: impl IntoIterator<Item = Piece>,
        mut answered: Answered,
    ) {
        let mut pieces = SmallVec::new();
        if self.is_turn_of(number) {
            self.bytes = bytes;
        } else {
            pieces.push(Piece::Bytes(bytes));
        }
        let written = pieces.len();
        pieces.extend(rest);
        answered.moments.paced_by_peer = !self.was_clear || pieces.len() > written;
        let answer = Answer { pieces, answered: Some(answered) };
        self.held += answer.len();
        let place = usize::try_from(number - self.front).expect("a slot is one of a few");
        let waited = std::mem::replace(&mut self.slots[place], Slot::Ready(answer));
        if let Slot::Waiting(waiting) = &waited {
            cx.parts.metrics.active_requests += u64::from(!waiting.awaited.is_counted());
        }
        cx.parts.answers_untaken += 1;
        self.weight = self.weight - waited.weight() + 1;
        self.advance(cx);
    }

    fn is_turn_of(&self, number: u64) -> bool {
        number == self.front && self.going.is_empty()
    }

    /// Moves answers whose turn has come into the bytes that go out, as far as there is room.
    pub fn advance<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        loop {
            if self.going.is_empty() {
                self.retire(cx.parts);
            }
            // Where all buffers together take too much, what goes out next waits until all before it has gone out.
            let (high_water, step) = if cx.parts.are_buffers_full() {
                (1, STEP_BYTES_WHEN_FULL)
            } else {
                (OUTPUT_HIGH_WATER_BYTES, STREAM_STEP_BYTES)
            };
            if self.unsent().len() >= high_water {
                return;
            }
            match self.going.front_mut() {
                Some(Piece::Bytes(bytes)) => {
                    self.held -= bytes.len();
                    self.bytes.append(bytes);
                    self.going.pop_front();
                }
                Some(Piece::Static(bytes)) => {
                    let (now, rest) = bytes.split_at(bytes.len().min(step));
                    self.bytes.extend_from_slice(now);
                    *bytes = rest;
                    if rest.is_empty() {
                        self.going.pop_front();
                    }
                }
                Some(Piece::Stream(stream)) if stream.is_lent(cx.parts.me) => {
                    self.is_lending = true;
                    return;
                }
                Some(Piece::Stream(stream)) => {
                    if !stream.advance(cx, &mut self.bytes) {
                        return;
                    }
                    if stream.is_done() {
                        self.going.pop_front();
                    }
                }
                None => {
                    let Some(Slot::Ready(_)) = self.slots.front() else { return };
                    if let Some(Slot::Ready(answer)) = self.slots.pop_front() {
                        self.front += 1;
                        self.weight -= 1;
                        self.going.extend(answer.pieces);
                        self.going_answered = answer.answered;
                    }
                }
            }
        }
    }

    /// Counts the answer that has gone out.
    fn retire(&mut self, parts: &mut Parts) {
        if let Some(answered) = self.going_answered.take() {
            parts.metrics.active_requests -= 1;
            parts.answers_untaken -= 1;
            parts.answered.push(answered);
        }
    }

    /// Takes the bytes that the stream that is going out has waited for.
    pub fn pulled<H: Host>(&mut self, cx: &mut Context<'_, H>, parcel: &Parcel) {
        let Some(Piece::Stream(stream)) = self.going.front_mut() else {
            unreachable!("only the stream that is going out pulls, and it does not end before its parcel is back")
        };
        stream.take_pulled(cx, parcel, &mut self.bytes);
        if stream.is_done() {
            self.going.pop_front();
        }
        self.advance(cx);
    }

    /// Drops everything; leases are released.
    pub fn close<H: Host>(self, cx: &mut Context<'_, H>) {
        let going = u64::from(self.going_answered.is_some());
        let untaken = |slot: &&Slot| matches!(slot, Slot::Ready(answer) if answer.answered.is_some());
        let waiting = |slot: &&Slot| matches!(slot, Slot::Waiting(waiting) if waiting.awaited.is_counted());
        let untaken = going + self.slots.iter().filter(untaken).count() as u64;
        cx.parts.metrics.active_requests -= untaken + self.slots.iter().filter(waiting).count() as u64;
        cx.parts.answers_untaken -= untaken;
        let ready = self.slots.into_iter().flat_map(|slot| match slot {
            Slot::Ready(answer) => answer.pieces,
            Slot::Waiting(waiting) => {
                if let Awaited::Batch(batch) = waiting.awaited {
                    batch.release(cx);
                }
                SmallVec::new()
            }
        });
        for piece in self.going.into_iter().chain(ready.collect::<Vec<_>>()) {
            if let Piece::Stream(stream) = piece {
                stream.release(cx);
            }
        }
    }
}
