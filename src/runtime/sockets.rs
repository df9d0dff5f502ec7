//! The sockets of one core: its listeners and its connections. Knows no request.
//!
//! The ring receives for as long as a connection wants it, into buffers that are shared. Answers are sent by plain calls, as
//! soon as they are there; what the kernel does not take at once waits until the ring says that there is room.

use super::ring::{Completion, Ring, Token};
use crate::limits::{ACCEPTS_PER_TURN, GATHERED_MAX, RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, TURN_BYTES_MAX};
use crate::session::{ConnId, Gathered};
use smallvec::SmallVec;
use socket2::{SockRef, Socket};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

/// A listening socket.
#[derive(Debug)]
struct Listener {
    socket: Socket,
    /// Whether connections may be waiting.
    ready: bool,
}

/// Whether the ring receives for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiving {
    /// It does not.
    Off,
    /// It is to do so when there are buffers again.
    Starved,
    /// It does.
    On,
    /// It was told to end, and has not said yet that it has.
    Ending,
}

/// One connection's socket.
#[derive(Debug)]
struct Connection {
    id: ConnId,
    socket: OwnedFd,
    receiving: Receiving,
    /// Whether the peer has said more than we could use, and has not been seen since to pause. The kernel, once it receives for
    /// as long as there is something, hands over a quarter of a megabyte before it can be told to stop.
    is_verbose: bool,
    /// Whether the ring says when the socket takes bytes again.
    awaits_room: bool,
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
    /// Connections that found all buffers in use.
    starved: VecDeque<ConnId>,
    /// Closed as soon as the ring does not look for them any more: until then their numbers must not be given away.
    closing: Vec<OwnedFd>,
}

impl Sockets {
    /// The sockets of a core that will accept connections on `listeners`.
    #[must_use]
    pub fn new(ring: Ring, listeners: Vec<Socket>) -> Self {
        let listeners = listeners.into_iter().map(|socket| Listener { socket, ready: false }).collect();
        Self { ring, listeners, connections: Vec::new(), starved: VecDeque::new(), closing: Vec::new() }
    }

    /// Begins to watch the listeners.
    ///
    /// # Errors
    /// If they cannot be told not to block.
    pub fn watch_listeners(&mut self) -> io::Result<()> {
        for (listener, number) in self.listeners.iter().zip(0..) {
            listener.socket.set_nonblocking(true)?;
            self.ring.watch(listener.socket.as_raw_fd(), Token::Listener(number));
        }
        Ok(())
    }

    /// Takes note of what has happened at a listener; it may be one that is closed already.
    pub fn listener_changed(&mut self, number: u32, completion: &Completion) {
        let Some(listener) = self.listeners.get_mut(number as usize) else { return };
        listener.ready = true;
        if !completion.more {
            self.ring.watch(listener.socket.as_raw_fd(), Token::Listener(number));
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
        let mut rest = Vec::new();
        for (listener, number) in std::mem::take(&mut self.listeners).into_iter().zip(0..) {
            rest.extend(accepted_already(&listener.socket));
            self.ring.end(Token::Listener(number));
            // Fails only for a socket that does not listen.
            let _ = listener.socket.shutdown(Shutdown::Both);
            self.closing.push(listener.socket.into());
        }
        rest
    }

    /// Takes the socket of a new connection. Nothing is received on it yet.
    pub fn open(&mut self, id: ConnId, socket: OwnedFd) {
        let place = id.index();
        if self.connections.len() <= place {
            self.connections.resize_with(place + 1, || None);
        }
        self.connections[place] = Some(Connection {
            id,
            socket,
            receiving: Receiving::Off,
            is_verbose: false,
            awaits_room: false,
            lingering: false,
        });
    }

    /// Closes a connection, at the next [`Sockets::enter`].
    pub fn close(&mut self, id: ConnId) {
        let Some(connection) = self.connections[id.index()].take() else { return };
        // The kernel keeps a socket for as long as an operation goes on.
        if connection.receiving == Receiving::On {
            self.ring.end(Token::Receive(id));
        }
        if connection.awaits_room {
            self.ring.end(Token::Room(id));
        }
        self.closing.push(connection.socket);
    }

    /// Takes note that the ring receives no more for a connection.
    pub fn receiving_ended(&mut self, id: ConnId) {
        if let Some(connection) = of(&mut self.connections, id) {
            connection.receiving = Receiving::Off;
        }
    }

    /// Takes note that a connection takes bytes again.
    pub fn has_room(&mut self, id: ConnId) {
        if let Some(connection) = of(&mut self.connections, id) {
            connection.awaits_room = false;
        }
    }

    /// Takes note of how much was received on a connection at once.
    pub fn has_brought(&mut self, id: ConnId, len: usize) {
        if let Some(connection) = of(&mut self.connections, id) {
            connection.is_verbose &= len == RECEIVE_BUFFER_BYTES;
        }
    }

    /// Has the ring receive on a connection: for as long as something comes, or, if memory is scarce or the peer has proved
    /// verbose, one buffer. While it still ends receiving, it has to do so first.
    pub fn receive(&mut self, id: ConnId, memory_is_scarce: bool) {
        let Self { ring, connections, .. } = self;
        if let Some(connection) = of(connections, id)
            && connection.receiving == Receiving::Off
        {
            connection.receiving = Receiving::On;
            let socket = connection.socket.as_raw_fd();
            if memory_is_scarce || connection.is_verbose {
                ring.receive_once(socket, id);
            } else {
                ring.receive(socket, id);
            }
        }
    }

    /// Has the ring receive on a connection when there are buffers again.
    pub fn receive_later(&mut self, id: ConnId) {
        if let Some(connection) = of(&mut self.connections, id) {
            connection.receiving = Receiving::Starved;
            self.starved.push_back(id);
        }
    }

    /// Has the ring receive no more on a connection. What has come already is still heard of.
    pub fn pause(&mut self, id: ConnId) {
        let Self { ring, connections, .. } = self;
        let Some(connection) = of(connections, id) else { return };
        connection.is_verbose = true;
        if connection.receiving == Receiving::On {
            connection.receiving = Receiving::Ending;
            ring.end(Token::Receive(id));
        }
    }

    /// Whether what still comes on a connection is to be dropped.
    #[must_use]
    pub fn is_lingering(&self, id: ConnId) -> bool {
        self.connection(id).is_some_and(|connection| connection.lingering)
    }

    /// Ends our side, so that the peer can read its last answer to the end while we drop what it still sends.
    pub fn linger(&mut self, id: ConnId) {
        if let Some(connection) = of(&mut self.connections, id).filter(|connection| !connection.lingering) {
            connection.lingering = true;
            // A peer that is gone already makes this fail; then receiving ends as well.
            let _ = SockRef::from(&connection.socket).shutdown(Shutdown::Write);
        }
    }

    /// Hands the kernel what it takes of the pieces that `output` gives, and tells `sent` how much that was, until there is no
    /// more.
    pub fn send<E>(
        &mut self,
        id: ConnId,
        engine: &mut E,
        output: impl Fn(&E) -> Gathered<'_>,
        mut sent: impl FnMut(&mut E, usize),
    ) -> Sent {
        let Self { ring, connections, .. } = self;
        let Some(connection) = of(connections, id) else { return Sent::Enough };
        let mut written = 0;
        while written < TURN_BYTES_MAX {
            let handed_over = match output(engine).as_slice() {
                [] => return Sent::Enough,
                [bytes] => send_now(connection.socket.as_raw_fd(), bytes),
                pieces => send_pieces(connection.socket.as_raw_fd(), pieces),
            };
            match handed_over {
                Ok(len) => {
                    written += len;
                    sent(engine, len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !std::mem::replace(&mut connection.awaits_room, true) {
                        ring.await_room(connection.socket.as_raw_fd(), id);
                    }
                    return Sent::Enough;
                }
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
    pub fn enter(&mut self, patience: Duration, memory_is_scarce: bool) {
        for _ in 0..self.starved.len().min(usize::from(RECEIVE_BUFFERS)) {
            let Some(id) = self.starved.pop_front() else { break };
            self.feed(id, memory_is_scarce);
        }
        if !self.closing.is_empty() {
            self.ring.enter(Duration::ZERO);
            if self.ring.has_begun_all() {
                self.closing.clear();
            }
        }
        self.ring.enter(patience);
    }

    /// Has the ring try again to receive on a connection that found all buffers in use; by now they are given back.
    fn feed(&mut self, id: ConnId, memory_is_scarce: bool) {
        if let Some(connection) = of(&mut self.connections, id)
            && connection.receiving == Receiving::Starved
        {
            connection.receiving = Receiving::Off;
            self.receive(id, memory_is_scarce);
        }
    }

    fn connection(&self, id: ConnId) -> Option<&Connection> {
        self.connections.get(id.index())?.as_ref().filter(|connection| connection.id == id)
    }
}

fn of(connections: &mut [Option<Connection>], id: ConnId) -> Option<&mut Connection> {
    connections.get_mut(id.index())?.as_mut().filter(|connection| connection.id == id)
}

/// All connections that wait at a listener.
fn accepted_already(listener: &Socket) -> Vec<OwnedFd> {
    let mut accepted = Vec::new();
    // It may be one that does block, since nobody has been let in yet.
    while listener.set_nonblocking(true).is_ok() {
        match accept_now(listener) {
            Ok(socket) => accepted.push(socket),
            // One that went away while it waited.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => break,
        }
    }
    accepted
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

/// What is said with all that is sent: not to wait, and no signal if the peer is gone.
const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Hands the kernel what it takes at once.
pub fn send_now(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let no_address = std::ptr::null::<u8>();
    // Not the C library's `send`: that is a point where threads can be cancelled, which takes two calls of its own.
    // SAFETY: the pointer and the length are those of a live slice, which the kernel only reads; there is no address; the
    // descriptor belongs to whoever calls this.
    let sent =
        unsafe { libc::syscall(libc::SYS_sendto, socket, bytes.as_ptr(), bytes.len(), SEND_FLAGS, no_address, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The same for bytes that lie apart.
fn send_pieces(socket: RawFd, pieces: &[&[u8]]) -> io::Result<usize> {
    let mut vectors: SmallVec<[IoSlice<'_>; GATHERED_MAX]> = pieces.iter().map(|bytes| IoSlice::new(bytes)).collect();
    // SAFETY: for the kernel, zeros are a message that has nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr().cast();
    message.msg_iovlen = vectors.len();
    // SAFETY: an `IoSlice` is an `iovec` on Unix; those of the message are of live slices, which the kernel only reads, as
    // it does the message; the descriptor belongs to whoever calls this.
    let sent = unsafe { libc::syscall(libc::SYS_sendmsg, socket, &raw const message, SEND_FLAGS) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
