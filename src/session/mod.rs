//! One connection: bytes in, answers out, in the order of the requests. Knows no socket.
//!
//! | module | what it is about |
//! | --- | --- |
//! | `request` | from a request head to the work that it asks for |
//! | `intake` | bodies that do not come in one piece with their head |
//! | `ask` | one command: applied here, or sent to the core that owns the key |
//! | `batch` | many commands, one parcel for each shard |
//! | `admin` | questions to all cores: health, readiness, metrics, hot keys, slow requests |
//! | `files` | the API's description and its page |
//! | `outbox`, `stream` | answers waiting for their turn; long values on their way out |
//! | `writing` | outcomes to answers |

mod admin;
mod ask;
mod batch;
mod files;
mod intake;
mod outbox;
pub(crate) mod plain;
mod request;
pub mod request_id;
mod stream;
mod ticket;
mod topology;
mod writing;

use crate::engine::host::Host;
use crate::engine::parts::Parts;
use crate::insight::Report;
use crate::insight::page::WrittenPage;
use crate::limits::{
    BODY_GRACE_CROWDED_MS, BODY_GRACE_MS, BUFFER_KEEP_BYTES, BUFFERS_KEPT_MS, CONNECTION_BYTES, LINGER_MS,
    PLACE_PATIENCE_MS, TICK_MS,
};
use crate::metrics::BackpressureReason;
use crate::parcel::Parcel;
use crate::shard::Shard;
use crate::time::{Mono, Now};
use intake::Intake;
pub use outbox::Gathered;
use outbox::Outbox;
use plain::Plain;
use writing::Failure;

/// Names a connection of one core; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    place: u32,
    generation: u32,
}

impl ConnId {
    /// The connection in `place`, which is the `generation`-th that this core has seen.
    #[must_use]
    pub const fn new(place: u32, generation: u32) -> Self {
        Self { place, generation }
    }

    /// The connection's place in a table; used again after the connection has ended.
    #[must_use]
    pub const fn index(self) -> usize {
        self.place as usize
    }

    /// Which of the connections that this core has seen it is; tells it from others in the same place.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// What is to be done with a connection's socket next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Read from it.
    Reading,
    /// Do not read: what has been read is not answered yet.
    Paused,
    /// The last answer has gone out: end our side, drop what still comes, close when the peer does.
    Lingering,
    /// Close it.
    Closed,
}

/// What a connection needs to work: the moment, its core, the world.
#[derive(Debug)]
pub struct Context<'a, H> {
    /// The moment of this wake-up.
    pub now: Now,
    /// Its core.
    pub parts: &'a mut Parts,
    /// The world.
    pub host: &'a mut H,
}

/// What the next bytes are.
#[derive(Debug)]
enum Reading {
    /// A request head.
    Head,
    /// The body of the request that was read last.
    Body(Box<Intake>),
    /// Nothing that we look at: this connection ends.
    Nothing,
}

/// How waiting for a place has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    /// There is one.
    Admitted,
    /// There was none in time.
    InVain,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    id: ConnId,
    /// Bytes that could not be used yet. Almost always empty.
    input: Vec<u8>,
    reading: Reading,
    outbox: Outbox,
    /// A request waits in `input` because this core has as many in progress as it may.
    throttled: bool,
    /// Since when that request waits among those of other connections, because there is no answer of our own to wait for.
    waits_since: Option<Mono>,
    /// That request has waited: it is its turn, or it has waited for too long.
    has_waited: Option<Waited>,
    peer_closed: bool,
    aborted: bool,
    /// What the socket was last told to do.
    told: Flow,
    heard_at: Mono,
    head_began_at: Option<Mono>,
    /// When output was last taken, or there was none.
    taken_at: Mono,
    lingers_since: Option<Mono>,
}

impl Session {
    /// A connection that has just been opened.
    #[must_use]
    pub fn new(id: ConnId, now: Now) -> Self {
        Self {
            id,
            input: Vec::new(),
            reading: Reading::Head,
            outbox: Outbox::default(),
            throttled: false,
            waits_since: None,
            has_waited: None,
            peer_closed: false,
            aborted: false,
            told: Flow::Reading,
            heard_at: now.mono(),
            head_began_at: None,
            taken_at: now.mono(),
            lingers_since: None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.id
    }

    /// The memory that the connection takes, in bytes; what is reserved for a long body is counted there.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        let of_body = if let Reading::Body(intake) = &self.reading { intake.footprint() } else { 0 };
        CONNECTION_BYTES + self.input.capacity() as u64 + self.outbox.footprint() + of_body
    }

    /// Takes bytes from the peer; `first` is what was read ahead of them.
    pub fn receive<H: Host>(&mut self, cx: &mut Context<'_, H>, bytes: &[u8], first: Option<Plain>) {
        self.heard_at = cx.now.mono();
        if self.input.is_empty() {
            let used = self.consume(cx, bytes, first);
            self.input.extend_from_slice(&bytes[used..]);
        } else {
            self.input.extend_from_slice(bytes);
            self.consume_input(cx);
        }
        self.note_waiting_head(cx.now);
    }

    fn consume_input<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let mut input = std::mem::take(&mut self.input);
        let used = self.consume(cx, &input, None);
        input.drain(..used);
        if input.is_empty() {
            input.shrink_to(BUFFER_KEEP_BYTES);
        }
        self.input = input;
    }

    /// Uses as much of `bytes` as can be used now, and says how much that was. Whatever was read ahead is a request only if
    /// one was to come.
    fn consume<H: Host>(&mut self, cx: &mut Context<'_, H>, bytes: &[u8], mut first: Option<Plain>) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.may_take_on() {
            let rest = &bytes[at..];
            let used = match self.reading {
                Reading::Head => match self.read_plain(cx, rest, first.take()) {
                    0 => self.read_request(cx, rest),
                    used => used,
                },
                Reading::Body(_) => self.read_body(cx, rest),
                Reading::Nothing => rest.len(),
            };
            if used == 0 {
                break;
            }
            first = None;
            at += used;
        }
        at
    }

    const fn is_ending(&self) -> bool {
        matches!(self.reading, Reading::Nothing)
    }

    fn may_take_on(&self) -> bool {
        self.outbox.has_room() && !self.throttled
    }

    /// Starts the clock of a head that has begun to arrive, and stops it when there is none.
    fn note_waiting_head(&mut self, now: Now) {
        let waiting = matches!(self.reading, Reading::Head) && !self.input.is_empty() && self.may_take_on();
        self.head_began_at = if waiting { self.head_began_at.or(Some(now.mono())) } else { None };
    }

    /// Hears that the peer sends no more. Half a request is dropped; whole ones are still answered.
    pub fn peer_closed<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        self.peer_closed = true;
        if !self.throttled && self.outbox.has_room() {
            self.end_reading(cx);
        }
    }

    /// Nothing more is read as a request.
    fn end_reading<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if let Reading::Body(intake) = std::mem::replace(&mut self.reading, Reading::Nothing) {
            intake.abandon(cx.parts);
        }
        self.input = Vec::new();
    }

    /// What waits to be sent, piece by piece, as far as there is room in `pieces`: what is in the connection's buffer and
    /// then, for a long value of this core's own, what is in `shard`.
    pub fn gather<'o>(&'o self, shard: &'o Shard, pieces: &mut Gathered<'o>) {
        self.outbox.gather(shard, pieces);
    }

    /// Whether anything waits to be sent.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.outbox.has_output()
    }

    /// Hears that the first `len` bytes of what [`Session::gather`] gives have been sent.
    pub fn sent<H: Host>(&mut self, cx: &mut Context<'_, H>, len: usize) {
        self.taken_at = cx.now.mono();
        // As long as answers go out, or keep us from reading, the peer's silence is not its own doing.
        self.heard_at = self.taken_at;
        let was_going_on = self.outbox.has_slots();
        self.outbox.forget(cx.parts, len);
        if was_going_on || !self.input.is_empty() || self.peer_closed {
            self.go_on(cx);
        }
    }

    /// Takes a parcel that slot `slot` has waited for.
    pub fn answered<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, parcel: Box<Parcel>) {
        self.take_answer(cx, slot, parcel);
        self.go_on(cx);
    }

    /// Takes the page that slot `slot` has waited for.
    pub fn page_written<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, page: &WrittenPage) {
        self.answer_page(cx, slot, page);
        self.go_on(cx);
    }

    /// Takes the reports of all cores that slot `slot` has waited for.
    pub fn reported<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, reports: &[Report]) {
        self.answer_ready(cx, slot, reports);
        self.go_on(cx);
    }

    /// Hears that what slot `slot` has waited for does not come.
    pub fn survey_failed<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, why: &str) {
        self.fail_slot(cx, slot, &Failure::unavailable(why.to_owned()));
        self.go_on(cx);
    }

    /// Takes bytes of a long value that another core has sent.
    pub fn pulled<H: Host>(&mut self, cx: &mut Context<'_, H>, parcel: Box<Parcel>) {
        self.outbox.pulled(cx, &parcel);
        cx.parts.forward.recycle(parcel);
        self.go_on(cx);
    }

    /// Goes on with answers and requests that had to wait.
    fn go_on<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        self.outbox.advance(cx);
        self.throttled = false;
        if !self.input.is_empty() && self.may_take_on() {
            self.heard_at = cx.now.mono();
            self.consume_input(cx);
            self.note_waiting_head(cx.now);
        }
        if self.peer_closed && self.may_take_on() {
            self.end_reading(cx);
        }
    }

    /// Whether a request waits for a place.
    pub const fn waits_for_place(&self) -> bool {
        self.waits_since.is_some()
    }

    /// Takes on the request that has waited for a place.
    pub fn take_turn<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        self.end_waiting(cx, Waited::Admitted);
    }

    /// The request that waited, if one did, has been taken on or refused: whoever comes next has not waited yet.
    const fn forget_waiting(&mut self) {
        (self.waits_since, self.has_waited) = (None, None);
    }

    fn end_waiting<H: Host>(&mut self, cx: &mut Context<'_, H>, how: Waited) {
        self.waits_since = None;
        self.has_waited = Some(how);
        self.go_on(cx);
        self.has_waited = None;
    }

    /// What is to be done with the socket next, after it was offered the output; the answer is remembered as told.
    pub fn flow(&mut self, parts: &mut Parts) -> Flow {
        if !self.aborted && self.hoards(parts) {
            parts.metrics.backpressure(BackpressureReason::OverBudget);
            self.aborted = true;
        }
        self.told = self.flow_now();
        self.told
    }

    /// Whether there is no more room for buffers, and the requests of this connection that have to wait take more than its even
    /// share of it: mostly because the peer does not take the answers to earlier ones. Answers are not counted: who is slow to
    /// take one has not made it long.
    fn hoards(&self, parts: &Parts) -> bool {
        parts.are_buffers_full() && !self.may_take_on() && self.input.capacity() as u64 > parts.even_share_of_buffers()
    }

    /// Whether the socket should do something else than it was told.
    #[must_use]
    pub fn has_changed_flow(&self) -> bool {
        self.told != self.flow_now()
    }

    /// What is to be done with the socket now.
    #[must_use]
    pub fn flow_now(&self) -> Flow {
        let done = self.is_ending() && self.outbox.is_empty();
        match (self.aborted, done, self.peer_closed) {
            (true, _, _) | (_, true, true) => Flow::Closed,
            (_, true, false) => Flow::Lingering,
            (_, false, _) if self.is_ending() || self.peer_closed || !self.may_take_on() => Flow::Paused,
            _ => Flow::Reading,
        }
    }

    /// Whether nothing is in progress: no request whose head is complete is unanswered, no answer unsent, and no last
    /// answer that a hard end could still take from the peer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.outbox.is_empty() && !self.throttled && matches!(self.reading, Reading::Head)
    }

    /// Ends what has taken too long. True if the socket has something to do because of it.
    pub fn look_at_the_clock<H: Host>(&mut self, cx: &mut Context<'_, H>) -> bool {
        let now = cx.now.mono();
        if !self.outbox.has_output() {
            self.taken_at = now;
        }
        if now > self.heard_at.plus_millis(BUFFERS_KEPT_MS) {
            self.give_back_buffers();
        }
        let waits_for_us = self.flow_now() != Flow::Reading || self.outbox.has_slots();
        if let (Reading::Body(intake), true) = (&mut self.reading, waits_for_us) {
            intake.excuse(TICK_MS);
        }
        if self.outbox.has_slots() {
            self.go_on(cx);
        }
        if self.waits_since.is_some_and(|since| now > since.plus_millis(PLACE_PATIENCE_MS)) {
            self.end_waiting(cx, Waited::InVain);
        }
        let settings = &cx.parts.settings;
        let grace_ms = if cx.parts.are_bodies_enough() { BODY_GRACE_CROWDED_MS } else { BODY_GRACE_MS };
        let after = |since: Mono, millis: u64| now > since.plus_millis(millis);
        match (self.flow_now(), &self.reading) {
            (Flow::Lingering, _) => {
                let since = *self.lingers_since.get_or_insert(now);
                self.aborted = after(since, LINGER_MS);
            }
            // Behind an unanswered request, the peer may still wait to be invited to send its body.
            (Flow::Reading, Reading::Body(_)) if self.outbox.has_slots() => self.heard_at = now,
            (Flow::Reading, Reading::Body(intake)) if after(self.heard_at, settings.request_timeout_ms) => {
                self.aborted = intake.is_discarding();
                self.time_out(cx, "the body stood still for longer than REQUEST_TIMEOUT_MS");
            }
            (Flow::Reading, Reading::Body(intake)) if intake.is_trickling(now, grace_ms) => {
                self.aborted = intake.is_discarding();
                self.time_out(cx, "the body brought less than 1 KiB a second");
            }
            (Flow::Reading, Reading::Head) => match self.head_began_at {
                Some(began) if after(began, settings.header_timeout_ms) => {
                    self.time_out(cx, "the request head took longer than HEADER_TIMEOUT_MS");
                }
                Some(_) => {}
                None => self.aborted = self.outbox.is_empty() && after(self.heard_at, settings.idle_timeout_ms),
            },
            _ => {}
        }
        if self.outbox.has_output() && after(self.taken_at, cx.parts.settings.idle_timeout_ms) {
            self.aborted = true;
        }
        self.outbox.has_output() || self.has_changed_flow()
    }

    /// Gives back the buffers that hold nothing: whoever has been silent may be so for long.
    fn give_back_buffers(&mut self) {
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        self.outbox.give_back_buffers();
    }

    /// Forgets everything; what other cores still do for this connection is dropped when it comes back.
    pub fn close<H: Host>(mut self, cx: &mut Context<'_, H>) {
        self.end_reading(cx);
        self.outbox.close(cx);
    }
}
