//! One core's brain: its connections, its shard, and what it has asked of other cores.
//!
//! Synchronous and deterministic. Bytes, parcels and the time come in as arguments; bytes and parcels go out. Any
//! number of engines can therefore be run in one thread under a seeded scheduler, with a clock of its own.

pub mod host;
pub mod parts;
pub mod rules;
pub mod surveys;

use crate::command::Refusal;
use crate::forward::Waiter;
use crate::limits::{ADMITTED_PER_SLICE, SESSIONS_PER_SLICE};
use crate::memory::prefetch_all;
use crate::metrics::BackpressureReason;
use crate::parcel::{Parcel, Work};
use crate::protocol::answer::{self, AnswerHead, ErrorCode, Failure};
pub use crate::session::plain::Plain as ReadAhead;
use crate::session::{ConnId, Context, Flow, Gathered, Session};
use crate::time::{Mono, Now};
use host::{Host, Notice};
use parts::{Parts, apply_to};
use rules::Rules;
use slab::Slab;
use std::collections::VecDeque;

/// Parked parcels carried out in one slice of [`Engine::tick`].
const PARCELS_PER_SLICE: usize = 16;

/// A parcel that waits for room, and the bytes of long values in it.
#[derive(Debug)]
struct Parked {
    parcel: Box<Parcel>,
    bytes: u64,
}

/// The brain of one core. It lives on that core's thread for as long as the process.
#[derive(Debug)]
pub struct Engine {
    parts: Parts,
    sessions: Slab<Session>,
    generation: u32,
    dirty: Vec<ConnId>,
    /// Parcels with long values for which there is no room yet, and what came from the same cores after them.
    parked: VecDeque<Parked>,
    /// Where [`Engine::tick`] goes on looking after connections.
    swept_to: usize,
}

impl Engine {
    /// An engine without connections.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, sessions: Slab::new(), generation: 0, dirty: Vec::new(), parked: VecDeque::new(), swept_to: 0 }
    }

    /// Takes a new connection.
    ///
    /// # Errors
    /// The whole answer to send before the connection is closed, if there are too many already.
    pub fn open(&mut self, now: Now) -> Result<ConnId, Vec<u8>> {
        if self.sessions.len() >= self.parts.settings.connections_max {
            return Err(self.turn_away(now));
        }
        self.generation = self.generation.wrapping_add(1);
        let entry = self.sessions.vacant_entry();
        let place = u32::try_from(entry.key()).expect("connections are bounded by file descriptors");
        let conn = ConnId::new(place, self.generation);
        let session = entry.insert(Session::new(conn, now));
        self.parts.buffers_changed(0, session.footprint());
        self.parts.metrics.connections += 1;
        self.parts.metrics.connections_accepted += 1;
        Ok(conn)
    }

    /// Counts a connection that is one too many, and gives the whole answer to send before it is closed.
    pub fn turn_away(&mut self, now: Now) -> Vec<u8> {
        self.parts.metrics.backpressure(BackpressureReason::MaxConnections);
        let date = self.parts.date(now);
        let id = self.parts.request_ids.fresh();
        let (http11, keep_alive, head_only) = (true, false, false);
        let head = AnswerHead { request_id: id.text(), date: &date, http11, keep_alive, head_only };
        let message = "this server has as many connections as MAX_CONNECTIONS allows";
        let mut bytes = Vec::new();
        answer::error(&mut bytes, &head, &Failure::new(ErrorCode::ServiceUnavailable, message));
        bytes
    }

    /// Takes bytes that a connection has sent.
    pub fn receive(&mut self, now: Now, host: &mut impl Host, conn: ConnId, bytes: &[u8]) {
        self.receive_foreseen(now, host, conn, bytes, None);
    }

    /// The same with what [`Engine::read_ahead`] gave for these bytes, in the same wake-up.
    pub fn receive_foreseen(
        &mut self,
        now: Now,
        host: &mut impl Host,
        conn: ConnId,
        bytes: &[u8],
        first: Option<ReadAhead>,
    ) {
        self.with(now, host, conn, |session, cx| session.receive(cx, bytes, first));
    }

    /// Reads what a connection has sent, before it is received, as far as that takes no knowledge of the connection.
    #[must_use]
    pub fn read_ahead(&mut self, bytes: &[u8]) -> Option<ReadAhead> {
        self.parts.read_ahead(bytes)
    }

    /// Has the processor fetch what it takes to answer all that was read ahead, for it takes as long for all as for one; and
    /// what is known of those connections.
    pub fn foresee<'a>(&self, ahead: impl Iterator<Item = (ConnId, &'a mut ReadAhead)>) {
        self.parts.foresee_all(ahead.map(|(conn, it)| {
            self.sessions.get(conn.index()).into_iter().for_each(prefetch_all);
            it
        }));
    }

    /// Hears that a connection will send no more; it still gets the answers that it waits for.
    pub fn peer_closed(&mut self, now: Now, host: &mut impl Host, conn: ConnId) {
        self.with(now, host, conn, Session::peer_closed);
    }

    /// What waits to be sent on a connection, piece by piece: as many pieces as one call of the kernel takes. It may be more
    /// when this has been sent. Empty if there is nothing, or the connection is gone.
    ///
    /// These are bytes of the connection's own buffer and, when a long value of this core's shard comes next as it is
    /// stored, bytes of the shard, up to [`crate::limits::BLOB_CHUNK_BYTES`] in a piece. Either may move with any call that
    /// takes the engine as `&mut`; who has the kernel read them later than that must copy them.
    #[must_use]
    pub fn gather(&self, conn: ConnId) -> Gathered<'_> {
        let mut pieces = Gathered::new();
        if let Some(session) = self.session(conn) {
            session.gather(&self.parts.shard, &mut pieces);
        }
        pieces
    }

    /// The first piece of [`Engine::gather`], for who takes no more; empty if there is none.
    #[must_use]
    pub fn output(&self, conn: ConnId) -> &[u8] {
        self.gather(conn).first().copied().unwrap_or_default()
    }

    /// Hears that the first `len` bytes of [`Engine::gather`] have been sent.
    pub fn sent(&mut self, now: Now, host: &mut impl Host, conn: ConnId, len: usize) {
        self.with(now, host, conn, |session, cx| session.sent(cx, len));
    }

    /// What is to be done with a connection's socket next.
    #[must_use]
    pub fn flow(&mut self, conn: ConnId) -> Flow {
        let session = self.sessions.get_mut(conn.index()).filter(|session| session.id() == conn);
        session.map_or(Flow::Closed, |session| session.flow(&mut self.parts))
    }

    /// What [`Engine::flow`] would say, without taking it as told.
    #[must_use]
    pub fn peek_flow(&self, conn: ConnId) -> Flow {
        self.session(conn).map_or(Flow::Closed, Session::flow_now)
    }

    /// Forgets a connection, if it is not forgotten yet; then this returns false. What it has asked of other cores is still
    /// carried out; the answers are dropped.
    pub fn close(&mut self, now: Now, host: &mut impl Host, conn: ConnId) -> bool {
        if self.session(conn).is_none() {
            return false;
        }
        let session = self.sessions.remove(conn.index());
        self.parts.metrics.connections -= 1;
        self.parts.buffers_changed(session.footprint(), 0);
        session.close(&mut Context { now, parts: &mut self.parts, host });
        true
    }

    /// Carries out a parcel of another core and sends it back. One with long values waits, if it must, until there is
    /// room for them: to evict all that it takes in one go would stall this core. What comes from the same core
    /// meanwhile waits behind it, so that the requests of one connection keep their order.
    pub fn carry_out(&mut self, now: Now, host: &mut impl Host, mut parcel: Box<Parcel>) {
        assert!(parcel.to == self.parts.me, "a parcel goes to the core whose name is on it");
        let bytes = parcel.long_bytes();
        let waits = bytes > 0 && self.parts.shard.must_catch_up(bytes);
        if waits || self.parked.iter().any(|other| other.parcel.from == parcel.from) {
            self.parts.shard.take_in(bytes);
            self.parked.push_back(Parked { parcel, bytes });
            return;
        }
        self.parts.carry_out(now, host, &mut parcel);
        host.reply(parcel);
    }

    /// Whether there is work for [`Engine::tick`] at once: parcels wait for room, pages to be handed out, or writes use up
    /// blocks faster than they clean them.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        !self.parked.is_empty() || self.parts.surveys.is_handing_out() || self.parts.shard.is_pressed()
    }

    /// Makes room for what is parked, for one slice of work, or carries it out; true if there is more.
    fn go_on_with_parked(&mut self, now: Now, host: &mut impl Host) -> bool {
        let Some(first) = self.parked.front() else { return false };
        // Under many writes to this core the room may be used up as fast as it is made. Then the value is stored all the
        // same, in one go, while it still has time.
        let half_way = now.mono().plus_millis(self.parts.settings.request_timeout_ms / 2);
        let has_time = half_way < first.parcel.deadline;
        if self.parts.shard.catch_up(now) && has_time {
            return true;
        }
        let slice = self.parked.len().min(PARCELS_PER_SLICE);
        for Parked { mut parcel, bytes } in self.parked.drain(..slice) {
            self.parts.shard.unreserve(bytes);
            self.parts.carry_out(now, host, &mut parcel);
            host.reply(parcel);
        }
        !self.parked.is_empty()
    }

    /// Takes back a parcel of this core's that another one has carried out.
    pub fn come_back(&mut self, now: Now, host: &mut impl Host, parcel: Box<Parcel>) {
        match self.parts.forward.leave(&parcel) {
            Waiter::Slot { conn, slot } if self.session(conn).is_some() => {
                self.dirty.push(conn);
                self.with(now, host, conn, |session, cx| session.answered(cx, slot, parcel));
            }
            Waiter::Stream(conn) if self.session(conn).is_some() => {
                self.dirty.push(conn);
                self.with(now, host, conn, |session, cx| session.pulled(cx, parcel));
            }
            Waiter::Survey(id) => self.report_came(now, host, id, parcel),
            Waiter::Slot { .. } => {
                self.parts.metrics.late_replies += 1;
                self.parts.discard(parcel);
            }
            Waiter::Stream(_) | Waiter::Nobody => self.parts.forward.recycle(parcel),
        }
    }

    /// Does what is due by time, in one bounded slice: expiry, time-outs, releases that found a full lane. Call it each
    /// [`crate::limits::TICK_MS`], and again at once as long as it returns true.
    pub fn tick(&mut self, now: Now, host: &mut impl Host) -> bool {
        self.parts.retry_releases();
        self.parts.look_at_ourselves(now, host);
        self.parts.count_buffers();
        self.look_after_surveys(now, host);
        let sweeping = self.sweep(now, host);
        let has_parked = self.go_on_with_parked(now, host);
        self.parts.shard.tick(now) || sweeping || has_parked || self.parts.surveys.is_handing_out()
    }

    /// Looks after a slice of the connections; true if there are more.
    fn sweep(&mut self, now: Now, host: &mut impl Host) -> bool {
        let end = (self.swept_to + SESSIONS_PER_SLICE).min(self.sessions.capacity());
        for place in self.swept_to..end {
            let Some(session) = self.sessions.get_mut(place) else { continue };
            let before = session.footprint();
            if session.look_at_the_clock(&mut Context { now, parts: &mut self.parts, host }) {
                self.dirty.push(session.id());
            }
            self.parts.buffers_changed(before, session.footprint());
        }
        let more = end < self.sessions.capacity();
        self.swept_to = if more { end } else { 0 };
        more
    }

    /// A connection whose output or state was changed by something else than its own socket.
    pub fn next_dirty(&mut self) -> Option<ConnId> {
        self.dirty.pop()
    }

    /// Ends a wake-up: sends off releases, and enters the durations of all requests answered since the last call. `now`
    /// is read after the answers were sent.
    pub fn settle(&mut self, now: Now, host: &mut impl Host) {
        self.parts.count_buffers_if_changed();
        self.parts.send_releases(host, now);
        self.parts.logs_requests = host.logs_requests();
        let mut answered = std::mem::take(&mut self.parts.answered);
        for it in answered.drain(..) {
            self.parts.metrics.answered += it.times;
            if self.parts.logs_requests {
                host.notice(Notice::Answered { conn: it.conn, method: it.method, route: it.route, status: it.status });
            }
            self.parts.enter(now, it);
        }
        // The list keeps its room for the next wake-up.
        self.parts.answered = answered;
    }

    /// Takes other rules. A smaller budget is enforced by the following ticks, in slices.
    pub fn obey(&mut self, rules: Rules) {
        self.parts.settings = rules.settings;
        self.parts.shard.set_budget(rules.budget_bytes);
    }

    /// From now on every answer is the last one on its connection, and the server is not ready.
    pub const fn start_draining(&mut self) {
        self.parts.draining = true;
    }

    /// Whether [`Engine::start_draining`] was called.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.parts.draining
    }

    /// Whether no request is in progress: none half received, none unanswered, no answer unsent, nothing under way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.parked.is_empty()
            && self.parts.forward.is_empty()
            && self.sessions.iter().all(|(_, session)| session.is_idle())
    }

    /// The brain's parts, for tests and for the numbers.
    #[must_use]
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    fn session(&self, conn: ConnId) -> Option<&Session> {
        self.sessions.get(conn.index()).filter(|session| session.id() == conn)
    }

    fn with<H: Host>(
        &mut self,
        now: Now,
        host: &mut H,
        conn: ConnId,
        act: impl FnOnce(&mut Session, &mut Context<'_, H>),
    ) {
        self.with_session(now, host, conn, act);
        self.go_on_with_surveys(now, host);
    }

    /// Gives places that are free to connections that wait for one, one request each: for one slice of work. To be called once
    /// in each wake-up, before its dirty connections are looked after; true if there are more who could have one.
    pub fn admit_waiting(&mut self, now: Now, host: &mut impl Host) -> bool {
        let slice = self.parts.waiting.len().min(ADMITTED_PER_SLICE);
        for _ in 0..slice {
            let Some(waiting) = self.parts.waiting.pop_front() else { break };
            if !self.session(waiting.conn).is_some_and(Session::waits_for_place) {
                continue;
            }
            if !self.parts.has_place_for(waiting) {
                self.parts.waiting.push_back(waiting);
                continue;
            }
            self.with_session(now, host, waiting.conn, Session::take_turn);
            self.dirty.push(waiting.conn);
        }
        self.parts.waiting.iter().any(|&waiting| self.parts.has_place_for(waiting))
    }

    fn with_session<H: Host>(
        &mut self,
        now: Now,
        host: &mut H,
        conn: ConnId,
        act: impl FnOnce(&mut Session, &mut Context<'_, H>),
    ) {
        if let Some(session) = self.sessions.get_mut(conn.index()).filter(|session| session.id() == conn) {
            let before = session.footprint();
            act(session, &mut Context { now, parts: &mut self.parts, host });
            self.parts.buffers_changed(before, session.footprint());
        }
    }
}

/// 0 where time stands still.
fn nanos_between(began: Option<Mono>, ended: Option<Mono>) -> u64 {
    began.zip(ended).map_or(0, |(began, ended)| ended.nanos_since(began))
}

impl Parts {
    /// Carries out the work of a parcel on this core, whoever sent it.
    pub(crate) fn carry_out(&mut self, now: Now, host: &mut impl Host, parcel: &mut Parcel) {
        let now = now.no_earlier_than(parcel.sent);
        match &mut parcel.work {
            Work::Commands => {
                let began = if parcel.is_quick() { None } else { host.moment() };
                self.apply_all(now, parcel);
                let ended = began.and_then(|_| host.moment());
                parcel.shard_nanos = nanos_between(began, ended);
            }
            Work::Pull { lease, offset } => {
                let bytes = self.shard.lease_slice(*lease, *offset);
                parcel.put_pulled(bytes);
            }
            Work::Release(leases) => leases.drain(..).for_each(|lease| self.shard.release(lease)),
            Work::Tell { question, report } => *report = Some(self.report(now, host, *question)),
        }
    }

    fn apply_all(&mut self, now: Now, parcel: &mut Parcel) {
        let too_late = now.mono() > parcel.deadline;
        if too_late {
            self.metrics.backpressure(BackpressureReason::Deadline);
        }
        let Self { me, router, shard, hot_keys, metrics, .. } = self;
        parcel.hashes().for_each(|hash| shard.foresee(hash));
        parcel.hashes().for_each(|hash| _ = shard.foresee_entry(hash));
        parcel.apply(|command, sink| {
            assert!(router.owner(command.hash) == *me, "a command goes to the core that owns its key");
            if too_late {
                command.into_blob().into_iter().for_each(|blob| shard.discard(blob));
                sink.refuse(Refusal::TooLate);
            } else {
                sink.put(apply_to(shard, hot_keys, metrics, now, command));
            }
        });
    }
}
