//! Moves bytes between sockets and the engine: what a core does with what its ring brings.

use super::core::{Core, EVENTS_PER_LOOK};
use super::ring::{Completion, Filled};
use super::sockets::{Sent, send_now};
use crate::limits::ACCEPT_RETRY_MS;
use crate::session::{ConnId, Flow};
use crate::time::Mono;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::Ordering;

/// A fault that lasts is logged so often, in milliseconds.
const COMPLAIN_EVERY_MS: u64 = 1_000;

/// The state of accepting connections.
#[derive(Debug, Default)]
pub struct Accepting {
    /// Whether it has begun.
    pub begun: bool,
    /// Listeners that failed, and when to try them again.
    failed: Vec<u32>,
    retry_at: Mono,
    complained_at: Option<Mono>,
}

impl Core {
    /// Takes what has happened at the sockets, for one turn; true if there is more.
    pub(super) fn take_completions(&mut self) -> bool {
        let began = self.now.mono();
        for taken in 1.. {
            let Some(completion) = self.sockets.next_completion() else { return false };
            self.take_completion(completion);
            if taken % EVENTS_PER_LOOK == 0 && self.is_over(began) {
                return true;
            }
        }
        true
    }

    fn take_completion(&mut self, completion: Completion) {
        match completion {
            Completion::Received { conn, bytes, more } => self.received(conn, bytes, more),
            Completion::Accepted { listener, socket, more } => self.accepted(listener, socket, more),
            Completion::Room(conn) => {
                self.sockets.has_room(conn);
                self.tend(conn);
            }
            Completion::Event { more: false } => self.listen_to_event(),
            Completion::Unheard(core) => self.host.lanes.ring_from_outside(core),
            Completion::Event { more: true } | Completion::Nothing => {}
        }
    }

    /// Takes what has come in on a connection, or why nothing does any more.
    fn received(&mut self, conn: ConnId, bytes: io::Result<Option<Filled>>, more: bool) {
        self.note_activity();
        if !more {
            self.sockets.receiving_ended(conn);
        }
        let lingering = self.sockets.is_lingering(conn);
        match bytes {
            Ok(Some(filled)) if !filled.is_empty() => {
                if !lingering {
                    self.engine.receive(self.now, &mut self.host, conn, self.sockets.bytes(&filled));
                }
                self.sockets.give_back(filled);
            }
            Ok(end) => {
                end.into_iter().for_each(|filled| self.sockets.give_back(filled));
                if lingering {
                    return self.close(conn);
                }
                self.engine.peer_closed(self.now, &mut self.host, conn);
            }
            // Told to stop; or all buffers were in use, and by now they are not.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::ENOBUFS)) => {}
            Err(_) => return self.close(conn),
        }
        self.tend(conn);
    }

    /// Sends what a connection has to say, and has its socket do what the session wants next.
    pub(super) fn tend(&mut self, conn: ConnId) {
        let Self { sockets, engine, host, now, .. } = self;
        let sent =
            sockets.send(conn, engine, |engine| engine.output(conn), |engine, len| engine.sent(*now, host, conn, len));
        match sent {
            Sent::All | Sent::Blocked => {}
            Sent::More if self.unfinished.contains(&conn) => {}
            Sent::More => self.unfinished.push_back(conn),
            Sent::Broken => return self.close(conn),
        }
        match self.engine.flow(conn) {
            Flow::Reading => self.sockets.receive(conn),
            Flow::Paused => self.sockets.pause(conn),
            Flow::Lingering => {
                self.sockets.linger(conn);
                self.sockets.receive(conn);
            }
            Flow::Closed => self.close(conn),
        }
    }

    /// Goes on with connections that had more to send than fits into a turn.
    pub(super) fn go_on_sending(&mut self) {
        for _ in 0..self.unfinished.len() {
            let Some(conn) = self.unfinished.pop_front() else { return };
            self.tend(conn);
        }
    }

    fn close(&mut self, conn: ConnId) {
        if self.engine.close(self.now, &mut self.host, conn) {
            self.open_connections.fetch_sub(1, Ordering::Relaxed);
            self.sockets.close(conn);
        }
    }

    /// Begins to accept connections when all cores live, and tries again what has failed.
    pub(super) fn look_after_listeners(&mut self) {
        if !self.accepting.begun && self.open.load(Ordering::Acquire) {
            self.accepting.begun = true;
            self.sockets.accept_on_all();
        }
        if !self.accepting.failed.is_empty() && self.accepting.retry_at <= self.now.mono() {
            for listener in std::mem::take(&mut self.accepting.failed) {
                self.sockets.accept(listener);
            }
        }
    }

    /// When to look after the listeners again, if they need it before anything happens.
    pub(super) fn listeners_wait_until(&self) -> Option<Mono> {
        (!self.accepting.failed.is_empty()).then_some(self.accepting.retry_at)
    }

    /// Takes the connections that the kernel holds for us, and lets no more in.
    pub(super) fn accept_the_rest(&mut self) {
        for socket in self.sockets.stop_accepting() {
            self.welcome(socket);
        }
    }

    fn accepted(&mut self, listener: u32, socket: io::Result<OwnedFd>, more: bool) {
        match socket {
            Ok(socket) => {
                self.welcome(socket);
                if !more {
                    self.sockets.accept(listener);
                }
            }
            Err(_) if more || self.engine.is_draining() => {}
            // One that went away while it waited.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => self.sockets.accept(listener),
            Err(error) => {
                // EMFILE and its like come at once, again and again: pause, or this loop starves the core.
                self.complain_of_accepting(&error);
                self.accepting.failed.push(listener);
                self.accepting.retry_at = self.now.mono().plus_millis(ACCEPT_RETRY_MS);
            }
        }
    }

    fn complain_of_accepting(&mut self, error: &io::Error) {
        let now = self.now.mono();
        if self.accepting.complained_at.is_none_or(|at| now > at.plus_millis(COMPLAIN_EVERY_MS)) {
            self.accepting.complained_at = Some(now);
            let what_to_do = "raise the limit on open files (LimitNOFILE), or lower MAX_CONNECTIONS";
            tracing::warn!(%error, "cannot accept connections: {what_to_do}");
        }
    }

    /// Takes a new connection, or tells it in one answer that there are too many.
    fn welcome(&mut self, socket: OwnedFd) {
        let already = self.open_connections.fetch_add(1, Ordering::Relaxed);
        let opened = if already < self.connections_max {
            self.engine.open(self.now)
        } else {
            Err(self.engine.turn_away(self.now))
        };
        match opened {
            Ok(conn) => self.sockets.open(conn, socket),
            Err(refusal) => {
                self.open_connections.fetch_sub(1, Ordering::Relaxed);
                // One attempt: whoever cannot take a hundred bytes now is dropped all the same.
                let _ = send_now(socket.as_raw_fd(), &refusal);
            }
        }
    }
}
