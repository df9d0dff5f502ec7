//! The sockets of one core: its listeners and its connections. Knows no request.
//!
//! The ring says when something has changed at a socket, once for each change; what can be read or written then is found
//! out by trying. So a socket that is not read from costs nothing, and nothing is received that nobody has asked for.

use super::ring::{Event, Ring, Token};
use crate::limits::{ACCEPTS_PER_TURN, TURN_BYTES_MAX};
use crate::session::ConnId;
use socket2::{SockRef, Socket};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

/// What is watched at a connection: both directions, and the end of the peer's.
const OF_CONNECTION: u32 = (libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP) as u32;
/// What says that reading leads to an end.
const END: u32 = (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) as u32;
const READABLE: u32 = libc::POLLIN as u32 | END;

/// A listening socket.
#[derive(Debug)]
struct Listener {
    socket: Socket,
    /// Whether connections may be waiting.
    ready: bool,
}

/// One connection's socket.
#[derive(Debug)]
struct Connection {
    id: ConnId,
    socket: OwnedFd,
    /// Whether there may be something to read.
    readable: bool,
    /// Whether the peer's end has been seen from afar: then it is read up to.
    ends: bool,
    /// Whether our side has been shut down, and what still comes is dropped.
    lingering: bool,
}

/// How sending has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing is left, or the socket is full and the ring will say when it has room.
    Enough,
    /// There is more, and others have waited long enough.
    More,
    /// The connection is broken.
    Broken,
}

/// The sockets of one core.
pub struct Sockets {
    /// What watches them.
    pub ring: Ring,
    listeners: Vec<Listener>,
    /// By [`ConnId::index`].
    connections: Vec<Option<Connection>>,
    /// Closed as soon as the ring does not look for them any more: until then their numbers must not be given away.
    closing: Vec<OwnedFd>,
}

impl Sockets {
    /// The sockets of a core that will accept connections on `listeners`.
    #[must_use]
    pub fn new(ring: Ring, listeners: Vec<Socket>) -> Self {
        let listeners = listeners.into_iter().map(|socket| Listener { socket, ready: false }).collect();
        Self { ring, listeners, connections: Vec::new(), closing: Vec::new() }
    }

    /// Begins to watch the listeners.
    ///
    /// # Errors
    /// If they cannot be told not to block.
    pub fn watch_listeners(&mut self) -> io::Result<()> {
        for (listener, number) in self.listeners.iter().zip(0..) {
            listener.socket.set_nonblocking(true)?;
            self.ring.watch(listener.socket.as_raw_fd(), libc::POLLIN as u32, Token::Listener(number));
        }
        Ok(())
    }

    /// Takes note of what has happened at a listener.
    pub fn listener_changed(&mut self, number: u32, event: &Event) {
        let listener = &mut self.listeners[number as usize];
        listener.ready = true;
        if !event.more {
            self.ring.watch(listener.socket.as_raw_fd(), libc::POLLIN as u32, Token::Listener(number));
        }
    }

    /// Whether connections may be waiting.
    #[must_use]
    pub fn may_accept(&self) -> bool {
        self.listeners.iter().any(|listener| listener.ready)
    }

    /// Takes connections that wait, as many as fit into a turn.
    ///
    /// # Errors
    /// Why no more can be had now; what was accepted is in `accepted` all the same.
    pub fn accept(&mut self, accepted: &mut Vec<OwnedFd>) -> io::Result<()> {
        for listener in self.listeners.iter_mut().filter(|listener| listener.ready) {
            for _ in 0..ACCEPTS_PER_TURN {
                match accept_now(&listener.socket) {
                    Ok(socket) => accepted.push(socket),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        listener.ready = false;
                        break;
                    }
                    // One that went away while it waited.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Lets no more connections in, and gives those that the kernel has accepted already, which may have sent requests.
    pub fn stop_accepting(&mut self) -> Vec<OwnedFd> {
        let rest = self.listeners.iter().flat_map(|it| std::iter::from_fn(|| accept_now(&it.socket).ok())).collect();
        for (listener, number) in self.listeners.iter().zip(0..) {
            self.ring.stop_watching(Token::Listener(number));
            // Fails only for a socket that does not listen.
            let _ = listener.socket.shutdown(Shutdown::Both);
        }
        rest
    }

    /// Takes the socket of a new connection.
    pub fn open(&mut self, id: ConnId, socket: OwnedFd) {
        let place = id.index();
        if self.connections.len() <= place {
            self.connections.resize_with(place + 1, || None);
        }
        self.ring.watch(socket.as_raw_fd(), OF_CONNECTION, Token::Connection(id));
        self.connections[place] = Some(Connection { id, socket, readable: false, ends: false, lingering: false });
    }

    /// Closes a connection, at the next [`Sockets::enter`].
    pub fn close(&mut self, id: ConnId) {
        if let Some(connection) = self.connections[id.index()].take() {
            // The kernel keeps a socket for as long as it is watched.
            self.ring.stop_watching(Token::Connection(id));
            self.closing.push(connection.socket);
        }
    }

    /// Takes note of what has happened at a connection; it may be one that is closed already.
    pub fn connection_changed(&mut self, id: ConnId, event: &Event) {
        let Self { ring, connections, .. } = self;
        let Some(connection) = of(connections, id) else { return };
        // What cannot be watched can still be read, and that tells why.
        let state = event.state.unwrap_or(END);
        connection.readable |= state & READABLE != 0;
        connection.ends |= state & END != 0;
        if !event.more && event.state.is_ok() {
            ring.watch(connection.socket.as_raw_fd(), OF_CONNECTION, Token::Connection(id));
        }
    }

    /// Reads what has come in, if anything has: 0 bytes at the end.
    pub fn read(&mut self, id: ConnId, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let connection = of(&mut self.connections, id).filter(|connection| connection.readable)?;
        match receive_now(connection.socket.as_raw_fd(), buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                connection.readable = false;
                None
            }
            Ok(len) => {
                // What comes behind a short read is a change of its own.
                connection.readable = len == buffer.len() || (connection.ends && len > 0);
                Some(Ok(len))
            }
            broken => Some(broken),
        }
    }

    /// Ends our side, so that the peer can read its last answer to the end while we drop what it still sends.
    pub fn linger(&mut self, id: ConnId) {
        if let Some(connection) = of(&mut self.connections, id).filter(|connection| !connection.lingering) {
            connection.lingering = true;
            // A peer that is gone already makes this fail; then reading says so.
            let _ = SockRef::from(&connection.socket).shutdown(Shutdown::Write);
        }
    }

    /// Hands the kernel what it takes of what `output` gives, and tells `sent` how much that was, until there is no more.
    pub fn send<E>(
        &self,
        id: ConnId,
        engine: &mut E,
        output: impl Fn(&E) -> &[u8],
        mut sent: impl FnMut(&mut E, usize),
    ) -> Sent {
        let Some(connection) = self.connection(id) else { return Sent::Enough };
        let mut written = 0;
        while written < TURN_BYTES_MAX {
            let bytes = output(engine);
            if bytes.is_empty() {
                return Sent::Enough;
            }
            match send_now(connection.socket.as_raw_fd(), bytes) {
                Ok(len) => {
                    written += len;
                    sent(engine, len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::Enough,
                Err(_) => return Sent::Broken,
            }
        }
        Sent::More
    }

    /// The peer's address, if it is still there.
    #[must_use]
    pub fn peer(&self, id: ConnId) -> Option<SocketAddr> {
        SockRef::from(&self.connection(id)?.socket).peer_addr().ok()?.as_socket()
    }

    /// Lets the kernel say what has happened, and waits for `patience` until something does: see [`Ring::enter`].
    pub fn enter(&mut self, patience: Duration) {
        if !self.closing.is_empty() {
            self.ring.enter(Duration::ZERO);
            self.closing.clear();
        }
        self.ring.enter(patience);
    }

    fn connection(&self, id: ConnId) -> Option<&Connection> {
        self.connections.get(id.index())?.as_ref().filter(|connection| connection.id == id)
    }
}

fn of(connections: &mut [Option<Connection>], id: ConnId) -> Option<&mut Connection> {
    connections.get_mut(id.index())?.as_mut().filter(|connection| connection.id == id)
}

/// A connection that waits at a listener.
fn accept_now(listener: &Socket) -> io::Result<OwnedFd> {
    // SAFETY: null pointers say that the peer's address is not wanted; the descriptor is that of a live socket.
    let fd =
        unsafe { libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes from the kernel what has come in.
fn receive_now(socket: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of a live slice that is ours to write to; the descriptor belongs to
    // whoever calls this.
    let received = unsafe { libc::recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

/// Hands the kernel what it takes at once.
pub fn send_now(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of a live slice, which the kernel only reads; the descriptor belongs
    // to whoever calls this.
    let sent =
        unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
