//! Moves bytes between sockets and the engine.
//!
//! Each connection has one task, which reads, and writes what did not go out at once. Answers that other events bring
//! about (a reply from another core, a time-out) are sent straight from where they arise; the task is woken only if
//! the socket is full or the connection's state has changed.

use super::core::Core;
use crate::limits::{ACCEPT_RETRY_MS, ACCEPTS_PER_TURN, TURN_BYTES_MAX};
use crate::session::{ConnId, Flow};
use crate::time::Now;
use futures_io::{AsyncRead as _, AsyncWrite as _};
use glommio::net::{TcpListener, TcpStream};
use glommio::{GlommioError, timer};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A fault that lasts is logged so often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// Reads of one connection in a turn.
const READS_PER_TURN: usize = 4;

/// Lets the executor look at its sockets, timers and other tasks. Waking oneself up does not: glommio goes on with
/// runnable tasks for up to 100 ms before it looks.
pub async fn breathe() {
    timer::sleep(Duration::from_micros(1)).await;
}

/// The socket of a connection and the waker of its task.
#[derive(Debug)]
pub struct Connection {
    fd: RawFd,
    task: Option<Waker>,
    /// Whether our side has been shut down, and what still comes is dropped.
    lingering: bool,
}

impl Connection {
    /// The peer's address, if it is still there.
    pub fn peer(&self) -> Option<SocketAddr> {
        // SAFETY: the task of this connection owns the descriptor and removes the connection before it closes it.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        socket2::SockRef::from(&fd).peer_addr().ok().and_then(|address| address.as_socket())
    }
}

/// Accepts connections for one core, from when `open` says that all cores live until its listener is shut down.
pub async fn accept(core: Rc<RefCell<Core>>, listener: TcpListener, open: Arc<AtomicBool>) {
    while !open.load(Ordering::Acquire) {
        timer::sleep(Duration::from_millis(1)).await;
    }
    let (mut accepted, mut complained_at) = (0, None);
    loop {
        match listener.accept().await {
            Ok(stream) => {
                welcome(&core, stream);
                accepted += 1;
                if accepted % ACCEPTS_PER_TURN == 0 {
                    breathe().await;
                }
            }
            Err(error) if is_shut_down(&error) => return,
            Err(GlommioError::IoError(error)) if error.kind() == io::ErrorKind::WouldBlock => breathe().await,
            Err(error) => {
                // EMFILE and its like return at once, again and again: pause, or this loop starves the core.
                let now = Instant::now();
                if complained_at.is_none_or(|at| now.duration_since(at) > COMPLAIN_EVERY) {
                    complained_at = Some(now);
                    let what_to_do = "raise the limit on open files (LimitNOFILE), or lower MAX_CONNECTIONS";
                    tracing::warn!(%error, "cannot accept connections: {what_to_do}");
                }
                timer::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

/// Takes the connections that the kernel has accepted already, which may have sent requests, and lets no more in.
pub fn accept_the_rest(core: &Rc<RefCell<Core>>, listener: RawFd) {
    // SAFETY: the accepting task owns the descriptor and lives as long as its executor, so it is still this listener.
    let borrowed = unsafe { BorrowedFd::borrow_raw(listener) };
    // It has blocked so far, so that the kernel waits for connections in our place.
    let set = socket2::SockRef::from(&borrowed).set_nonblocking(true);
    while set.is_ok() {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: null pointers say that the peer's address is not wanted; the descriptor is the listener, as above.
        let fd = unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
        if fd < 0 {
            break;
        }
        // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
        welcome(core, unsafe { TcpStream::from_raw_fd(fd) });
    }
    // SAFETY: as above; `shutdown` takes a descriptor and a constant.
    unsafe { libc::shutdown(listener, libc::SHUT_RDWR) };
}

fn is_shut_down(error: &GlommioError<()>) -> bool {
    matches!(error, GlommioError::IoError(error) if error.raw_os_error() == Some(libc::EINVAL))
}

fn welcome(core: &Rc<RefCell<Core>>, stream: TcpStream) {
    // A peer that is gone already makes this fail; its first read tells.
    let _ = stream.set_nodelay(true);
    let opened = core.borrow_mut().open(stream.as_raw_fd());
    if let Some(conn) = opened {
        glommio::spawn_local(serve(Rc::clone(core), stream, conn)).detach();
    }
}

/// Serves one connection to its end.
async fn serve(core: Rc<RefCell<Core>>, mut stream: TcpStream, conn: ConnId) {
    while let Turn::Again = poll_fn(|cx| core.borrow_mut().poll_connection(cx, &mut stream, conn)).await {
        breathe().await;
    }
    core.borrow_mut().close(conn);
}

/// How the turn of a connection ends, if not by waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There is more to do, and others have waited long enough.
    Again,
    /// The connection is to be closed.
    Closed,
}

impl Core {
    /// Takes a new connection, or tells it in one answer that there are too many.
    fn open(&mut self, fd: RawFd) -> Option<ConnId> {
        let now = self.clock.now();
        let already = self.open_connections.fetch_add(1, Ordering::Relaxed);
        let opened =
            if already < self.connections_max { self.engine.open(now) } else { Err(self.engine.turn_away(now)) };
        match opened {
            Ok(conn) => {
                let place = conn.index();
                if self.connections.len() <= place {
                    self.connections.resize_with(place + 1, || None);
                }
                self.connections[place] = Some(Connection { fd, task: None, lingering: false });
                Some(conn)
            }
            Err(refusal) => {
                self.open_connections.fetch_sub(1, Ordering::Relaxed);
                // One attempt: whoever cannot take a hundred bytes now is dropped all the same.
                let _ = send_now(fd, &refusal);
                None
            }
        }
    }

    fn close(&mut self, conn: ConnId) {
        let now = self.clock.now();
        self.engine.close(now, &mut self.host, conn);
        self.open_connections.fetch_sub(1, Ordering::Relaxed);
        self.connections[conn.index()] = None;
        self.end_of_wake_up();
    }

    /// Does for a connection what can be done without waiting, for one turn.
    fn poll_connection(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream, conn: ConnId) -> Poll<Turn> {
        self.note_activity();
        self.remember_task(cx, conn);
        let result = self.take_turn(cx, stream, conn);
        self.end_of_wake_up();
        result
    }

    fn remember_task(&mut self, cx: &Context<'_>, conn: ConnId) {
        let connection = self.connections[conn.index()].as_mut().expect("a connection lives as long as its task");
        if !connection.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            connection.task = Some(cx.waker().clone());
        }
    }

    fn take_turn(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream, conn: ConnId) -> Poll<Turn> {
        // The clock is looked at once a read, and not before there is anything to do.
        let (mut began, mut now) = (None, None);
        for read in 0..READS_PER_TURN {
            if read > 0 && began.is_some_and(|began| self.is_over(began)) {
                break;
            }
            match self.write(cx, stream, conn, &mut now) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => return Poll::Ready(Turn::Closed),
            }
            match self.engine.flow(conn) {
                Flow::Closed => return Poll::Ready(Turn::Closed),
                Flow::Paused => return Poll::Pending,
                Flow::Lingering => {
                    self.half_close(conn);
                    match self.read(cx, stream) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(1..)) => {}
                        Poll::Ready(_) => return Poll::Ready(Turn::Closed),
                    }
                }
                Flow::Reading => {
                    let Poll::Ready(read) = self.read(cx, stream) else { return Poll::Pending };
                    let now = *now.insert(self.clock.now());
                    began.get_or_insert(now.mono());
                    match read {
                        Err(_) => return Poll::Ready(Turn::Closed),
                        Ok(0) => self.engine.peer_closed(now, &mut self.host, conn),
                        Ok(len) => self.engine.receive(now, &mut self.host, conn, &self.buffer[..len]),
                    }
                }
            }
        }
        Poll::Ready(Turn::Again)
    }

    fn read(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<io::Result<usize>> {
        Pin::new(stream).poll_read(cx, &mut self.buffer)
    }

    /// Writes until the output is empty or the socket is full; when that has room again the task is woken. False if
    /// there is more to write, but others have waited long enough. `now` is when the turn last looked at the clock.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        conn: ConnId,
        now: &mut Option<Now>,
    ) -> io::Result<bool> {
        let mut written = 0;
        while written < TURN_BYTES_MAX {
            let output = self.engine.output(conn);
            if output.is_empty() {
                return Ok(true);
            }
            match Pin::new(&mut *stream).poll_write(cx, output) {
                Poll::Pending => return Ok(true),
                Poll::Ready(Ok(len)) => {
                    written += len;
                    let now = *now.get_or_insert_with(|| self.clock.now());
                    self.engine.sent(now, &mut self.host, conn, len);
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Sends what a connection has to say, from outside its task.
    pub(super) fn flush(&mut self, conn: ConnId) {
        let Some(fd) = self.connections.get(conn.index()).and_then(Option::as_ref).map(|it| it.fd) else { return };
        let mut written = 0;
        while written < TURN_BYTES_MAX {
            let output = self.engine.output(conn);
            if output.is_empty() {
                break;
            }
            match send_now(fd, output) {
                Ok(len) => {
                    written += len;
                    self.engine.sent(self.clock.now(), &mut self.host, conn, len);
                }
                Err(_) => break,
            }
        }
        if self.engine.needs_its_task(conn)
            && let Some(Connection { task: Some(task), .. }) = &self.connections[conn.index()]
        {
            task.wake_by_ref();
        }
    }

    /// Ends our side, so that the peer can read its last answer to the end while we drop what it still sends.
    fn half_close(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections[conn.index()].as_mut().filter(|it| !it.lingering) {
            connection.lingering = true;
            // SAFETY: `shutdown` takes a descriptor and a constant, and the task that runs now owns the descriptor.
            unsafe { libc::shutdown(connection.fd, libc::SHUT_WR) };
        }
    }
}

/// Hands the kernel what it takes at once.
fn send_now(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of a live slice, which the kernel only reads; the descriptor belongs
    // to a connection whose task has not ended.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
