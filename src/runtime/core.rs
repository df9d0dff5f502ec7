//! One core at work: its engine, its lanes, its sockets. Everything here belongs to one thread.

use super::clock::Clock;
use super::lanes::{Arrival, Facts, Lanes, Word};
use super::pump::Connection;
use super::scribe::Scribe;
use crate::engine::Engine;
use crate::engine::parts::{Host, LaneDepths, Notice, PagesErrand, PagesState};
use crate::limits::{LANE_BURST_MAX, READ_BUFFER_BYTES, TICK_MS, TURN_US_MAX};
use crate::logging::REQUESTS;
use crate::metrics::ProcessStats;
use crate::parcel::Parcel;
use crate::process_stats::{self, cpu_nanos_of_this_thread};
use crate::session::ConnId;
use crate::time::Mono;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// A core: what the tasks of its executor share. Borrowed for one poll at a time, never across an `.await`.
pub struct Core {
    /// The brain.
    pub(super) engine: Engine,
    /// The way to the other cores, and to the log.
    pub(super) host: CoreHost,
    /// The clocks.
    pub(super) clock: Clock,
    /// The sockets and wakers of the connections, by [`ConnId::index`].
    pub(super) connections: Vec<Option<Connection>>,
    /// What sockets are read into; only leftovers are kept for a connection.
    pub(super) buffer: Vec<u8>,
    /// Connections of all cores. Touched when one opens or closes, never by a request.
    pub(super) open_connections: Arc<AtomicUsize>,
    pub(super) connections_max: usize,
    stop: Arc<AtomicBool>,
    next_tick: Mono,
}

/// Why the task at the doorbell stops for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// There is more to do, and others have waited long enough.
    Breathe,
    /// The server drains: take the connections that the kernel holds for us, then no more.
    AcceptTheRest,
}

/// The clock is looked at after so many parcels.
const ARRIVALS_PER_LOOK: usize = 8;

/// The world around an engine, as this runtime gives it.
#[derive(Debug)]
pub struct CoreHost {
    pub(super) lanes: Lanes,
    notices: Vec<Notice>,
    facts: Facts,
    clock: Clock,
    scribe: Scribe,
}

impl Host for CoreHost {
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        self.lanes.send(parcel)
    }

    fn reply(&mut self, parcel: Box<Parcel>) {
        self.lanes.reply(parcel);
    }

    fn process_stats(&mut self) -> ProcessStats {
        self.facts.stats
    }

    fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    fn silent_cores(&self) -> Vec<u16> {
        self.lanes.silent_cores()
    }

    fn logs_requests(&self) -> bool {
        tracing::enabled!(target: REQUESTS, tracing::Level::DEBUG)
    }

    fn moment(&self) -> Option<Mono> {
        Some(self.clock.now().mono())
    }

    fn cpu_nanos(&mut self) -> u64 {
        cpu_nanos_of_this_thread()
    }

    fn lane_depths(&self) -> LaneDepths {
        self.lanes.depths()
    }

    fn log_lines_dropped(&self) -> u64 {
        self.facts.log_lines_dropped
    }

    fn write_pages(&mut self, errand: PagesErrand) -> PagesState {
        self.scribe.hand_in(errand)
    }
}

impl Core {
    /// A core that has not begun; `scribe` writes pages for it, `stop` tells it to drain, `open_connections` counts those of
    /// all cores.
    #[must_use]
    pub fn new(
        engine: Engine,
        lanes: Lanes,
        scribe: Scribe,
        stop: Arc<AtomicBool>,
        open_connections: Arc<AtomicUsize>,
    ) -> Self {
        let facts = Facts { stats: process_stats::read(), log_lines_dropped: 0 };
        Self {
            open_connections,
            connections_max: engine.parts().settings.connections_max,
            engine,
            host: CoreHost { lanes, notices: Vec::new(), facts, clock: Clock::new(), scribe },
            clock: Clock::new(),
            connections: Vec::new(),
            buffer: vec![0; READ_BUFFER_BYTES],
            stop,
            next_tick: Mono::default(),
        }
    }

    /// What the one task does that waits at this core's doorbell: answers pings, takes what arrived on the lanes, looks
    /// after what time has done. Pending when there is nothing more to do for now.
    pub fn poll_doorbell(&mut self, cx: &Context<'_>) -> Poll<Pause> {
        let face = Arc::clone(self.host.lanes.face());
        face.bell.disarm();
        let pinged = face.pinged.load(Ordering::Relaxed);
        let is_ping = face.answered.swap(pinged, Ordering::Relaxed) != pinged;
        if self.stop.load(Ordering::Relaxed) && !self.engine.is_draining() {
            self.engine.start_draining();
            return Poll::Ready(Pause::AcceptTheRest);
        }
        self.take_words();
        let more_to_tend = self.look_at_the_clock();
        let more_arrived = self.take_arrivals();
        self.end_of_wake_up();
        if is_ping && self.engine.is_draining() {
            let quiet = self.engine.is_quiet() && self.host.lanes.is_empty();
            face.quiet.store(quiet, Ordering::Release);
        }
        if more_to_tend || more_arrived || self.engine.is_pressed() {
            return Poll::Ready(Pause::Breathe);
        }
        face.bell.arm(cx.waker());
        if self.host.lanes.is_empty() {
            return Poll::Pending;
        }
        face.bell.disarm();
        Poll::Ready(Pause::Breathe)
    }

    /// Hears what the other threads have to say.
    fn take_words(&mut self) {
        while let Some(word) = self.host.lanes.next_word() {
            match word {
                Word::Facts(facts) => self.host.facts = facts,
                Word::Rules(rules) => {
                    self.connections_max = rules.settings.connections_max;
                    self.engine.obey(*rules);
                }
                Word::Pages(id, pages) => self.engine.pages_written(self.clock.now(), &mut self.host, id, pages),
            }
        }
    }

    /// Takes a burst off the lanes; true if there may be more.
    fn take_arrivals(&mut self) -> bool {
        let now = self.clock.now();
        for taken in 1..=LANE_BURST_MAX {
            match self.host.lanes.next_arrival() {
                None => return false,
                Some(Arrival::Work(parcel)) => self.engine.carry_out(now, &mut self.host, parcel),
                Some(Arrival::Reply(parcel)) => self.engine.come_back(now, &mut self.host, parcel),
            }
            if taken % ARRIVALS_PER_LOOK == 0 && self.is_over(now.mono()) {
                return true;
            }
        }
        true
    }

    /// Whether a turn that began at `began` has lasted long enough.
    pub(super) fn is_over(&self, began: Mono) -> bool {
        self.clock.now().mono().nanos_since(began) > TURN_US_MAX * 1_000
    }

    /// Does what is due by time; true if there is more to do at once.
    fn look_at_the_clock(&mut self) -> bool {
        let now = self.clock.now();
        if now.mono() < self.next_tick && !self.engine.is_pressed() {
            return false;
        }
        self.clock.follow_wall();
        let more = self.engine.tick(now, &mut self.host);
        self.next_tick = if more { now.mono() } else { now.mono().plus_millis(TICK_MS) };
        more
    }

    /// While draining: tells whoever waits for quiet that something has happened.
    pub(super) fn note_activity(&self) {
        if self.engine.is_draining() {
            self.host.lanes.face().activity.fetch_add(1, Ordering::Release);
        }
    }

    /// What every wake-up ends with: answers out, bells rung, durations entered, notices logged.
    pub(super) fn end_of_wake_up(&mut self) {
        while let Some(conn) = self.engine.next_dirty() {
            self.flush(conn);
        }
        self.engine.settle(self.clock.now(), &mut self.host);
        self.host.lanes.ring();
        for notice in std::mem::take(&mut self.host.notices) {
            self.log(notice);
        }
    }

    fn log(&self, notice: Notice) {
        match notice {
            Notice::AuthFailed { conn, reason, route } => {
                let peer = self.peer(conn);
                let (route, reason) = (route.template(), reason.reason());
                tracing::warn!(target: REQUESTS, status = 401, reason, route, peer, "auth failed: 401");
            }
            Notice::Answered { conn, method, route, status } => {
                let (method, route) = (method.name(), route.template());
                tracing::debug!(target: REQUESTS, method, route, status, peer = self.peer(conn), "request");
            }
        }
    }

    fn peer(&self, conn: ConnId) -> String {
        let connection = self.connections.get(conn.index()).and_then(Option::as_ref);
        connection.and_then(Connection::peer).map_or_else(|| "gone".to_owned(), |peer| peer.to_string())
    }
}
