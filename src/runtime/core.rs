//! One core at work: its engine, its lanes, its sockets. Everything here belongs to one thread.

use super::clock::Clock;
use super::lanes::{Arrival, Facts, Lanes, Word};
use super::pump::Accepting;
use super::ring::Token;
use super::scribe::Scribe;
use super::sockets::Sockets;
use crate::engine::Engine;
use crate::engine::host::{Host, LaneDepths, Notice, PagesErrand, PagesState, Shortages, WakeUps};
use crate::limits::{LANE_BURST_MAX, TICK_MS, TURN_US_MAX};
use crate::logging::REQUESTS;
use crate::metrics::ProcessStats;
use crate::parcel::Parcel;
use crate::process_stats::{self, cpu_nanos_of_this_thread};
use crate::session::ConnId;
use crate::time::{Mono, Now};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A core. Everything happens in its wake-ups, on its own thread.
pub struct Core {
    /// The brain.
    pub(super) engine: Engine,
    /// The way to the other cores, and to the log.
    pub(super) host: CoreHost,
    /// The sockets, and the ring that serves them.
    pub(super) sockets: Sockets,
    /// Connections that had more to send than fits into a turn.
    pub(super) unfinished: VecDeque<ConnId>,
    pub(super) accepting: Accepting,
    /// The moment of what is being done.
    pub(super) now: Now,
    /// Connections of all cores. Touched when one opens or closes, never by a request.
    pub(super) open_connections: Arc<AtomicUsize>,
    pub(super) connections_max: usize,
    /// Whether all cores live, and connections may come in.
    pub(super) open: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    clock: Clock,
    next_tick: Mono,
    /// In how many wake-ups in a row a tick was due and not done.
    ticks_put_off: u32,
    /// Whether anything was heard of from the ring in this wake-up.
    pub(super) has_heard: bool,
    /// Whether there is more to do at once.
    more: bool,
    /// What the last wake-up brought, for [`Core::wait`] to see whether more may follow at once: requests, or parcels that
    /// came or went.
    pub(super) brought: usize,
    /// How often to look once more before sleeping.
    looks_left: u32,
    /// What the bell is heard by; it belongs to the bell, which lives as long as the process.
    event: RawFd,
}

/// What the cores of a process have in common.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// Tells them to drain.
    pub stop: Arc<AtomicBool>,
    /// All of them live, and connections may come in.
    pub open: Arc<AtomicBool>,
    /// Connections of all cores.
    pub open_connections: Arc<AtomicUsize>,
}

/// The clock is looked at after so many parcels, or things that happened at sockets.
pub(super) const EVENTS_PER_LOOK: usize = 8;

/// A wake-up that brought so many requests, or any parcel, is followed by other looks before the core sleeps.
const BROUGHT_FOR_ANOTHER_LOOK: usize = 2;
/// So many of them, if they find nothing.
const LOOKS_BEFORE_SLEEP: u32 = 2;
/// A core that hears of more and more does its ticks all the same, after so many wake-ups.
const TICKS_PUT_OFF_MAX: u32 = 256;

/// The world around an engine, as this runtime gives it.
#[derive(Debug)]
pub struct CoreHost {
    pub(super) lanes: Lanes,
    notices: Vec<Notice>,
    facts: Facts,
    clock: Clock,
    scribe: Scribe,
    wake_ups: WakeUps,
    pub(super) shortages: Shortages,
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

    fn wake_ups(&self) -> WakeUps {
        self.wake_ups
    }

    fn shortages(&self) -> Shortages {
        self.shortages
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
    /// A core that has not begun, on the thread that calls this; `scribe` writes pages for it.
    ///
    /// # Errors
    /// If the kernel has no descriptor for its bell.
    pub fn new(engine: Engine, lanes: Lanes, scribe: Scribe, sockets: Sockets, common: Common) -> io::Result<Self> {
        let facts = Facts { stats: process_stats::read(), log_lines_dropped: 0 };
        let clock = Clock::new();
        let event = lanes.face().bell.hang()?;
        let mut core = Self {
            connections_max: engine.parts().settings.connections_max,
            engine,
            host: CoreHost {
                lanes,
                notices: Vec::new(),
                facts,
                clock: Clock::new(),
                scribe,
                wake_ups: WakeUps::default(),
                shortages: Shortages::default(),
            },
            sockets,
            unfinished: VecDeque::new(),
            accepting: Accepting::default(),
            now: clock.now(),
            open_connections: common.open_connections,
            open: common.open,
            stop: common.stop,
            clock,
            next_tick: Mono::default(),
            ticks_put_off: 0,
            has_heard: false,
            more: false,
            brought: 0,
            looks_left: 0,
            event,
        };
        core.listen_to_bell();
        Ok(core)
    }

    /// Hears when other threads ring.
    pub(super) fn listen_to_bell(&mut self) {
        self.sockets.ring.watch(self.event, Token::Bell);
    }

    /// Does all that there is to do, for one turn.
    pub fn wake_up(&mut self) {
        let is_ping = self.answer_ping();
        self.now = self.clock.now();
        if self.stop.load(Ordering::Relaxed) && !self.engine.is_draining() {
            self.engine.start_draining();
            self.accept_the_rest();
        }
        let mut more = self.take_completions();
        self.go_on_with_unfinished();
        more |= self.accept();
        self.take_words();
        more |= self.look_at_the_clock();
        more |= self.take_arrivals();
        more |= self.engine.admit_waiting(self.now, &mut self.host);
        self.end_of_wake_up();
        if is_ping && self.engine.is_draining() {
            let quiet = self.engine.is_quiet() && self.host.lanes.is_empty();
            self.host.lanes.face().quiet.store(quiet, Ordering::Release);
        }
        self.more = more || !self.unfinished.is_empty() || self.engine.is_pressed();
    }

    /// Waits until there is something to do, and at most until the next tick.
    pub fn wait(&mut self) {
        if std::mem::take(&mut self.brought) >= BROUGHT_FOR_ANOTHER_LOOK {
            self.looks_left = LOOKS_BEFORE_SLEEP;
        }
        if self.looks_left > 0 && !self.more {
            self.looks_left -= 1;
            self.look_once_more();
            return;
        }
        let patience = if self.has_nothing_to_do() { self.until_next_tick() } else { Duration::ZERO };
        self.sleep(patience);
    }

    /// Instead of sleeping at once after a wake-up that brought much: an answer, or the next question, is often there before a
    /// sleeper could be woken. Whoever shares this CPU goes first, and may bring it.
    fn look_once_more(&mut self) {
        std::thread::yield_now();
        self.enter(Duration::ZERO);
    }

    /// Whether this core may sleep. Whoever sends it something from now on rings its bell.
    #[must_use]
    pub fn has_nothing_to_do(&self) -> bool {
        if self.more {
            return false;
        }
        self.host.lanes.face().bell.arm();
        self.host.lanes.is_empty()
    }

    fn until_next_tick(&self) -> Duration {
        let until = self.accepts_again_at().map_or(self.next_tick, |at| at.min(self.next_tick));
        Duration::from_nanos(until.nanos_since(self.now.mono()))
    }

    /// Lets the kernel go on with what this core waits for, until there is something to do, and at most for `patience`.
    pub fn sleep(&mut self, patience: Duration) {
        self.host.wake_ups.slept += u64::from(!patience.is_zero());
        self.enter(patience);
        self.host.lanes.face().bell.disarm();
    }

    fn enter(&mut self, patience: Duration) {
        self.sockets.enter(patience, self.engine.parts().are_buffers_full());
        self.host.shortages.completions = self.sockets.ring.overflows();
    }

    /// Tells the supervisor that this core lives; true if it has asked since the last time.
    fn answer_ping(&self) -> bool {
        let face = self.host.lanes.face();
        let pinged = face.pinged.load(Ordering::Relaxed);
        face.answered.swap(pinged, Ordering::Relaxed) != pinged
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
                Word::Pages(id, pages) => self.engine.pages_written(self.now, &mut self.host, id, pages),
            }
        }
    }

    /// Takes a burst off the lanes; true if there may be more.
    fn take_arrivals(&mut self) -> bool {
        let mut began = None;
        for taken in 0..LANE_BURST_MAX {
            let Some(arrival) = self.host.lanes.next_arrival() else { return false };
            // It may have been sent since the clock was looked at, and must not be judged by an older time.
            if taken % EVENTS_PER_LOOK == 0 {
                self.now = self.clock.now();
            }
            let is_over = self.is_past_turn(*began.get_or_insert(self.now.mono()));
            match arrival {
                Arrival::Work(parcel) => self.engine.carry_out(self.now, &mut self.host, parcel),
                Arrival::Reply(parcel) => self.engine.come_back(self.now, &mut self.host, parcel),
            }
            self.brought += BROUGHT_FOR_ANOTHER_LOOK;
            if is_over {
                return true;
            }
        }
        true
    }

    /// Looks at the clock; true if a turn that began at `began` has lasted long enough.
    pub(super) fn is_over(&mut self, began: Mono) -> bool {
        self.now = self.clock.now();
        self.is_past_turn(began)
    }

    /// The same by the clock as it was looked at last.
    const fn is_past_turn(&self, began: Mono) -> bool {
        self.now.mono().nanos_since(began) > TURN_US_MAX * 1_000
    }

    /// Does what is due by time; true if there is more to do at once.
    fn look_at_the_clock(&mut self) -> bool {
        let now = self.now;
        if now.mono() < self.next_tick && !self.engine.is_pressed() {
            return false;
        }
        if self.is_to_hear_first() {
            self.ticks_put_off += 1;
            return true;
        }
        self.ticks_put_off = 0;
        self.clock.follow_wall();
        let more = self.engine.tick(now, &mut self.host);
        self.next_tick = if more { now.mono() } else { now.mono().plus_millis(TICK_MS) };
        more
    }

    /// Whether this core has slept through a tick, because the process was stopped or its CPU taken away, and has not heard of
    /// all yet that came in meanwhile: that has come in time, and nobody is called late for it.
    fn is_to_hear_first(&self) -> bool {
        let was_away = self.next_tick != Mono::default() && self.now.mono() > self.next_tick.plus_millis(TICK_MS);
        was_away && (self.ticks_put_off == 0 || self.has_heard) && self.ticks_put_off < TICKS_PUT_OFF_MAX
    }

    /// While draining: tells whoever waits for quiet that something has happened.
    pub(super) fn note_activity(&self) {
        if self.engine.is_draining() {
            self.host.lanes.face().activity.fetch_add(1, Ordering::Release);
        }
    }

    /// What every wake-up ends with: answers out, bells rung, durations entered, notices logged.
    fn end_of_wake_up(&mut self) {
        while let Some(conn) = self.engine.next_dirty() {
            self.tend(conn);
        }
        self.now = self.clock.now();
        self.engine.settle(self.now, &mut self.host);
        if self.host.lanes.has_sent() {
            self.brought += BROUGHT_FOR_ANOTHER_LOOK;
        }
        self.host.wake_ups.rang += self.host.lanes.ring();
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
        self.sockets.peer(conn).map_or_else(|| "gone".to_owned(), |peer| peer.to_string())
    }
}
