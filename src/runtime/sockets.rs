//! The sockets of one core: its listeners and its connections, and what its ring does for them. Knows no request.

use super::ring::{Completion, Filled, Ring};
use crate::limits::TURN_BYTES_MAX;
use crate::session::ConnId;
use socket2::{SockRef, Socket};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

/// Whether the ring receives for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiving {
    /// It does not.
    Off,
    /// It does.
    On,
    /// It was told to stop, and has not said yet that it has.
    Ending,
}

/// One connection's socket.
#[derive(Debug)]
struct Connection {
    id: ConnId,
    socket: OwnedFd,
    receiving: Receiving,
    /// Whether the ring says when the socket takes bytes again.
    awaits_room: bool,
    /// Whether our side has been shut down, and what still comes is dropped.
    lingering: bool,
}

/// How sending has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing is left.
    All,
    /// The socket is full; the ring will say when it has room.
    Blocked,
    /// There is more, and others have waited long enough.
    More,
    /// The connection is broken.
    Broken,
}

/// The sockets of one core.
pub struct Sockets {
    /// What speaks to the kernel.
    pub ring: Ring,
    listeners: Vec<Socket>,
    /// By [`ConnId::index`].
    connections: Vec<Option<Connection>>,
}

impl Sockets {
    /// The sockets of a core that listens on `listeners`, not accepting yet.
    #[must_use]
    pub const fn new(ring: Ring, listeners: Vec<Socket>) -> Self {
        Self { ring, listeners, connections: Vec::new() }
    }

    /// Begins, or goes on, to accept connections on the listener number `listener`.
    pub fn accept(&mut self, listener: u32) {
        self.ring.accept(self.listeners[listener as usize].as_raw_fd(), listener);
    }

    /// Begins to accept connections on all listeners.
    pub fn accept_on_all(&mut self) {
        (0..self.listeners.len() as u32).for_each(|listener| self.accept(listener));
    }

    /// Lets no more connections in, and gives those that the kernel has accepted already, which may have sent requests.
    pub fn stop_accepting(&mut self) -> Vec<OwnedFd> {
        let rest = self.listeners.iter().flat_map(accepted_already).collect();
        for listener in &self.listeners {
            // Fails only for a socket that does not listen.
            let _ = listener.shutdown(std::net::Shutdown::Both);
        }
        rest
    }

    /// Takes the socket of a new connection, and begins to receive on it.
    pub fn open(&mut self, id: ConnId, socket: OwnedFd) {
        let place = id.index();
        if self.connections.len() <= place {
            self.connections.resize_with(place + 1, || None);
        }
        self.ring.receive(socket.as_raw_fd(), id);
        let (receiving, awaits_room, lingering) = (Receiving::On, false, false);
        self.connections[place] = Some(Connection { id, socket, receiving, awaits_room, lingering });
    }

    /// Closes a connection.
    pub fn close(&mut self, id: ConnId) {
        let Some(connection) = self.connections[id.index()].take() else { return };
        // The kernel keeps a socket for as long as an operation has it.
        if connection.receiving == Receiving::On {
            self.ring.stop_receiving(id);
        }
        if connection.awaits_room {
            self.ring.forget_room(id);
        }
    }

    /// Whether what still comes on a connection is to be dropped.
    pub fn is_lingering(&self, id: ConnId) -> bool {
        self.connection(id).is_some_and(|connection| connection.lingering)
    }

    /// Takes note that the ring receives no more for a connection.
    pub fn receiving_ended(&mut self, id: ConnId) {
        if let Some(connection) = self.connection_mut(id) {
            connection.receiving = Receiving::Off;
        }
    }

    /// Takes note that a connection takes bytes again.
    pub fn has_room(&mut self, id: ConnId) {
        if let Some(connection) = self.connection_mut(id) {
            connection.awaits_room = false;
        }
    }

    /// Has the ring receive on a connection, or go on with it. While it still ends, the end has to come first.
    pub fn receive(&mut self, id: ConnId) {
        let Self { ring, connections, .. } = self;
        if let Some(connection) = of(connections, id)
            && connection.receiving == Receiving::Off
        {
            connection.receiving = Receiving::On;
            ring.receive(connection.socket.as_raw_fd(), id);
        }
    }

    /// Has the ring receive no more on a connection. What has come already is still heard of.
    pub fn pause(&mut self, id: ConnId) {
        let Self { ring, connections, .. } = self;
        if let Some(connection) = of(connections, id)
            && connection.receiving == Receiving::On
        {
            connection.receiving = Receiving::Ending;
            ring.stop_receiving(id);
        }
    }

    /// Ends our side, so that the peer can read its last answer to the end while we drop what it still sends.
    pub fn linger(&mut self, id: ConnId) {
        if let Some(connection) = self.connection_mut(id).filter(|connection| !connection.lingering) {
            connection.lingering = true;
            // A peer that is gone already makes this fail; then receiving ends as well.
            let _ = SockRef::from(&connection.socket).shutdown(std::net::Shutdown::Write);
        }
    }

    /// Hands the kernel what it takes at once of what `output` gives, and tells `sent` how much that was, until there is no
    /// more.
    pub fn send<E>(
        &mut self,
        id: ConnId,
        engine: &mut E,
        output: impl Fn(&E) -> &[u8],
        mut sent: impl FnMut(&mut E, usize),
    ) -> Sent {
        let Self { ring, connections, .. } = self;
        let Some(connection) = of(connections, id) else { return Sent::All };
        let mut written = 0;
        while written < TURN_BYTES_MAX {
            let bytes = output(engine);
            if bytes.is_empty() {
                return Sent::All;
            }
            match send_now(connection.socket.as_raw_fd(), bytes) {
                Ok(len) => {
                    written += len;
                    sent(engine, len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !std::mem::replace(&mut connection.awaits_room, true) {
                        ring.await_room(connection.socket.as_raw_fd(), id);
                    }
                    return Sent::Blocked;
                }
                Err(_) => return Sent::Broken,
            }
        }
        Sent::More
    }

    /// The peer's address, if it is still there.
    pub fn peer(&self, id: ConnId) -> Option<SocketAddr> {
        SockRef::from(&self.connection(id)?.socket).peer_addr().ok()?.as_socket()
    }

    /// See [`Ring::next_completion`].
    pub fn next_completion(&mut self) -> Option<Completion> {
        self.ring.next_completion()
    }

    /// See [`Ring::bytes`].
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        self.ring.bytes(filled)
    }

    /// See [`Ring::give_back`].
    pub fn give_back(&mut self, filled: Filled) {
        self.ring.give_back(filled);
    }

    /// See [`Ring::enter`].
    pub fn enter(&mut self, patience: Duration) {
        self.ring.enter(patience);
    }

    fn connection(&self, id: ConnId) -> Option<&Connection> {
        self.connections.get(id.index())?.as_ref().filter(|connection| connection.id == id)
    }

    fn connection_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        of(&mut self.connections, id)
    }
}

fn of(connections: &mut [Option<Connection>], id: ConnId) -> Option<&mut Connection> {
    connections.get_mut(id.index())?.as_mut().filter(|connection| connection.id == id)
}

/// The connections that wait at a listener.
fn accepted_already(listener: &Socket) -> Vec<OwnedFd> {
    // It has blocked so far, so that the ring waits for connections instead of failing.
    if listener.set_nonblocking(true).is_err() {
        return Vec::new();
    }
    let one = || {
        // SAFETY: null pointers say that the peer's address is not wanted; the descriptor is that of a live socket.
        let fd = unsafe {
            libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC)
        };
        // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
        (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    };
    std::iter::from_fn(one).collect()
}

/// Hands the kernel what it takes at once.
pub fn send_now(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of a live slice, which the kernel only reads; the descriptor belongs
    // to whoever calls this.
    let sent =
        unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
