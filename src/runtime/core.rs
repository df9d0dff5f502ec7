//! One core at work: its engine, its lanes, its sockets. Everything here belongs to one thread.

use super::clock::Clock;
use super::lanes::{Arrival, Lanes};
use super::pump::Connection;
use crate::engine::Engine;
use crate::engine::parts::{Host, Notice};
use crate::limits::{LANE_BURST_MAX, READ_BUFFER_BYTES, TICK_MS};
use crate::metrics::ProcessStats;
use crate::parcel::Parcel;
use crate::process_stats;
use crate::session::ConnId;
use crate::time::Mono;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    stop: Arc<AtomicBool>,
    listener: RawFd,
    next_tick: Mono,
}

/// The world around an engine, as this runtime gives it.
#[derive(Debug)]
pub struct CoreHost {
    pub(super) lanes: Lanes,
    notices: Vec<Notice>,
}

impl Host for CoreHost {
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        self.lanes.send(parcel)
    }

    fn reply(&mut self, parcel: Box<Parcel>) {
        self.lanes.reply(parcel);
    }

    fn process_stats(&mut self) -> ProcessStats {
        process_stats::read()
    }

    fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    fn logs_requests(&self) -> bool {
        tracing::enabled!(tracing::Level::DEBUG)
    }
}

impl Core {
    /// A core that has not begun: `listener` is its listening socket, `stop` tells it to drain.
    #[must_use]
    pub fn new(engine: Engine, lanes: Lanes, listener: RawFd, stop: Arc<AtomicBool>) -> Self {
        Self {
            engine,
            host: CoreHost { lanes, notices: Vec::new() },
            clock: Clock::new(),
            connections: Vec::new(),
            buffer: vec![0; READ_BUFFER_BYTES],
            stop,
            listener,
            next_tick: Mono::default(),
        }
    }

    /// The one task that waits at this core's doorbell: answers pings, takes what arrived on the lanes, looks after
    /// what time has done. Never ends.
    pub fn poll_doorbell(&mut self, cx: &Context<'_>) -> Poll<()> {
        let face = Arc::clone(self.host.lanes.face());
        face.bell.disarm();
        face.answered.store(face.pinged.load(Ordering::Relaxed), Ordering::Relaxed);
        self.look_at_the_clock(cx);
        let more = self.take_arrivals();
        self.end_of_wake_up();
        if more {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        face.bell.arm(cx.waker());
        if !self.host.lanes.is_empty() {
            face.bell.disarm();
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Takes a burst off the lanes; true if there may be more.
    fn take_arrivals(&mut self) -> bool {
        let now = self.clock.now();
        for _ in 0..LANE_BURST_MAX {
            match self.host.lanes.next() {
                None => return false,
                Some(Arrival::Work(parcel)) => self.engine.carry_out(now, &mut self.host, parcel),
                Some(Arrival::Reply(parcel)) => self.engine.come_back(now, &mut self.host, parcel),
            }
        }
        true
    }

    fn look_at_the_clock(&mut self, cx: &Context<'_>) {
        if self.stop.load(Ordering::Relaxed) && !self.engine.is_draining() {
            self.begin_draining();
        }
        let now = self.clock.now();
        if now.mono() >= self.next_tick {
            self.clock.follow_wall();
            self.engine.set_queue_depth(self.host.lanes.waiting());
            let more = self.engine.tick(now, &mut self.host);
            self.next_tick = if more { now.mono() } else { now.mono().plus_millis(TICK_MS) };
            if more {
                cx.waker().wake_by_ref();
            }
        }
        if self.engine.is_draining() {
            let quiet = self.engine.is_quiet() && self.host.lanes.is_empty();
            self.host.lanes.face().quiet.store(quiet, Ordering::Release);
        }
    }

    /// No further connections; those that the kernel has accepted for us already are still served.
    fn begin_draining(&mut self) {
        self.engine.start_draining();
        // SAFETY: `shutdown` takes a descriptor and a constant. The accepting task owns the descriptor and lives as
        // long as its executor, so it is still this listener.
        unsafe { libc::shutdown(self.listener, libc::SHUT_RDWR) };
    }

    /// What every wake-up ends with: answers out, bells rung, durations entered, notices logged.
    pub(super) fn end_of_wake_up(&mut self) {
        while let Some(conn) = self.engine.next_dirty() {
            self.flush(conn);
        }
        self.host.lanes.ring();
        self.engine.settle(self.clock.now(), &mut self.host);
        for notice in std::mem::take(&mut self.host.notices) {
            self.log(notice);
        }
    }

    fn log(&self, notice: Notice) {
        match notice {
            Notice::AuthFailed { conn, reason, route } => {
                let peer = self.peer(conn);
                let (route, reason) = (route.template(), reason.reason());
                tracing::warn!(status = 401, reason, route, peer, "auth failed: 401");
            }
            Notice::Answered { conn, method, route, status } => {
                let (method, route) = (method.name(), route.template());
                tracing::debug!(method, route, status, peer = self.peer(conn), "request");
            }
        }
    }

    fn peer(&self, conn: ConnId) -> String {
        let connection = self.connections.get(conn.index()).and_then(Option::as_ref);
        connection.and_then(Connection::peer).map_or_else(|| "gone".to_owned(), |peer| peer.to_string())
    }
}
