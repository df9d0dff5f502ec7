//! Moves bytes between sockets and the engine: what a core does with what its ring tells.

use super::core::{Core, EVENTS_PER_LOOK};
use super::ring::{Completion, Token};
use super::sockets::{Sent, send_now};
use crate::engine::ReadAhead;
use crate::limits::ACCEPT_RETRY_MS;
use crate::session::{ConnId, Flow};
use crate::time::Mono;
use smallvec::{SmallVec, smallvec};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::Ordering;
use std::{io, iter};

/// A fault that lasts is logged so often, in milliseconds.
const COMPLAIN_EVERY_MS: u64 = 1_000;

/// Where a core stands with accepting connections.
#[derive(Debug, Default)]
pub struct Accepting {
    begun: bool,
    /// After a failure, when to try again.
    pause_until: Option<Mono>,
    complained_at: Option<Mono>,
}

/// Completions that are looked at together.
type Taken = SmallVec<[Completion; EVENTS_PER_LOOK]>;

impl Core {
    /// Hears what has become of the ring's operations, for one turn; true if there is more.
    pub(super) fn take_completions(&mut self) -> bool {
        let began = self.now.mono();
        self.has_heard = false;
        loop {
            let mut taken: Taken =
                iter::from_fn(|| self.sockets.ring.next_completion()).take(EVENTS_PER_LOOK).collect();
            let is_all = taken.len() < EVENTS_PER_LOOK;
            self.has_heard |= !taken.is_empty();
            self.brought += taken.len();
            let ahead = self.read_ahead(&taken);
            for (completion, ahead) in taken.drain(..).zip(ahead) {
                self.take_completion(completion, ahead);
            }
            if is_all || self.is_over(began) {
                return !is_all;
            }
        }
    }

    /// Reads what has come in on several connections before the first of them is looked at.
    fn read_ahead(&mut self, taken: &Taken) -> SmallVec<[Option<ReadAhead>; EVENTS_PER_LOOK]> {
        let Self { sockets, engine, .. } = self;
        if taken.len() < 2 {
            return smallvec![None; taken.len()];
        }
        let read = taken.iter().map(|it| engine.read_ahead(sockets.ring.bytes(it.filled.as_ref()?)));
        let mut ahead: SmallVec<[Option<ReadAhead>; EVENTS_PER_LOOK]> = read.collect();
        engine.foresee(taken.iter().zip(&mut ahead).filter_map(|(completion, ahead)| match completion.token {
            Token::Receive(conn) => Some((conn, ahead.as_mut()?)),
            _ => None,
        }));
        ahead
    }

    fn take_completion(&mut self, completion: Completion, ahead: Option<ReadAhead>) {
        match completion.token {
            Token::Receive(conn) => self.received(conn, completion, ahead),
            Token::Room(conn) => {
                self.note_activity();
                self.sockets.has_room(conn);
                self.tend(conn);
            }
            Token::Listener(number) => self.sockets.listener_changed(number, &completion),
            Token::Bell if !completion.more => self.listen_to_bell(),
            Token::Bell | Token::End => {}
        }
    }

    /// Takes what has come in on a connection, or why nothing does any more. It may be closed already.
    fn received(&mut self, conn: ConnId, completion: Completion, ahead: Option<ReadAhead>) {
        self.note_activity();
        if !completion.more {
            self.sockets.receiving_ended(conn);
        }
        let lingering = self.sockets.is_lingering(conn);
        // Who reads its answers in time is soon read from again: only a peer that goes on sending is stopped.
        if let Ok(len @ 1..) = completion.result {
            if self.engine.peek_flow(conn) == Flow::Paused {
                self.sockets.pause(conn);
            } else {
                self.sockets.has_brought(conn, len as usize);
            }
        }
        let outcome = match completion.result {
            Ok(0) if lingering => Err(()),
            Ok(0) => {
                self.engine.peer_closed(self.now, &mut self.host, conn);
                Ok(())
            }
            Ok(_) if lingering => Ok(()),
            Ok(_) => {
                let filled = completion.filled.as_ref().expect("what was received is in a buffer");
                let bytes = self.sockets.ring.bytes(filled);
                self.engine.receive_foreseen(self.now, &mut self.host, conn, bytes, ahead);
                Ok(())
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ECANCELED) => Ok(()),
                Some(libc::ENOBUFS) => {
                    self.host.shortages.buffers += 1;
                    self.sockets.receive_later(conn);
                    Ok(())
                }
                _ => Err(()),
            },
        };
        if let Some(filled) = completion.filled {
            self.sockets.ring.give_back(filled);
        }
        match outcome {
            Ok(()) => self.tend(conn),
            Err(()) => self.close(conn),
        }
    }

    /// Sends what a connection has to say, and has its socket do what the session wants next.
    pub(super) fn tend(&mut self, conn: ConnId) {
        match self.send(conn) {
            Sent::Enough => {}
            Sent::More if self.unfinished.contains(&conn) => {}
            Sent::More => self.unfinished.push_back(conn),
            Sent::Broken => return self.close(conn),
        }
        match self.engine.flow(conn) {
            Flow::Reading => self.receive(conn),
            Flow::Paused => {}
            Flow::Lingering => {
                self.sockets.linger(conn);
                self.receive(conn);
            }
            Flow::Closed => self.close(conn),
        }
    }

    fn receive(&mut self, conn: ConnId) {
        self.sockets.receive(conn, self.engine.parts().are_buffers_full());
    }

    fn send(&mut self, conn: ConnId) -> Sent {
        let Self { sockets, engine, host, now, .. } = self;
        sockets.send(conn, engine, |engine| engine.gather(conn), |engine, len| engine.sent(*now, host, conn, len))
    }

    /// Goes on, for one turn, with connections that had more to send than fits into a turn.
    pub(super) fn go_on_with_unfinished(&mut self) {
        let began = self.now.mono();
        for _ in 0..self.unfinished.len() {
            let Some(conn) = self.unfinished.pop_front() else { return };
            self.tend(conn);
            if self.is_over(began) {
                return;
            }
        }
    }

    fn close(&mut self, conn: ConnId) {
        if self.engine.close(self.now, &mut self.host, conn) {
            self.open_connections.fetch_sub(1, Ordering::Relaxed);
            self.sockets.close(conn);
        }
    }

    /// Takes connections that wait, for one turn; true if there may be more.
    pub(super) fn accept(&mut self) -> bool {
        if self.engine.is_draining() {
            return false;
        }
        if !self.accepting.begun {
            self.begin_to_accept();
        }
        if self.accepting.pause_until.is_some_and(|at| self.now.mono() < at) || !self.sockets.may_accept() {
            return false;
        }
        self.accepting.pause_until = None;
        let mut accepted = Vec::new();
        let result = self.sockets.accept(&mut accepted);
        accepted.into_iter().for_each(|socket| self.welcome(socket));
        if let Err(error) = result {
            // EMFILE and its like come at once, again and again: pause, or this loop starves the core.
            self.complain_of_accepting(&error);
            self.accepting.pause_until = Some(self.now.mono().plus_millis(ACCEPT_RETRY_MS));
            return false;
        }
        self.sockets.may_accept()
    }

    /// When to accept again after a failure.
    pub(super) const fn accepts_again_at(&self) -> Option<Mono> {
        self.accepting.pause_until
    }

    /// Nobody is let in before all cores live.
    fn begin_to_accept(&mut self) {
        if self.open.load(Ordering::Acquire) {
            self.accepting.begun = true;
            self.sockets.watch_listeners().expect("a live descriptor can be told not to block");
        }
    }

    /// Takes the connections that the kernel holds for us, and lets no more in.
    pub(super) fn accept_the_rest(&mut self) {
        // Or the core would wake up for it again and again.
        self.accepting.pause_until = None;
        self.sockets.stop_accepting().into_iter().for_each(|socket| self.welcome(socket));
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
        self.note_activity();
        let already = self.open_connections.fetch_add(1, Ordering::Relaxed);
        let opened = if already < self.connections_max {
            self.engine.open(self.now)
        } else {
            Err(self.engine.turn_away(self.now))
        };
        match opened {
            Ok(conn) => {
                self.sockets.open(conn, socket);
                self.receive(conn);
            }
            Err(refusal) => {
                self.open_connections.fetch_sub(1, Ordering::Relaxed);
                // One attempt: whoever cannot take a hundred bytes now is dropped all the same.
                let _ = send_now(socket.as_raw_fd(), &refusal);
            }
        }
    }
}
