//! Moves bytes between sockets and the engine.
//!
//! Each connection has one task, which reads, and writes what did not go out at once. Answers that other events bring
//! about (a reply from another core, a time-out) are sent straight from where they arise; the task is woken only if
//! the socket is full or the connection's state has changed.

use super::core::Core;
use crate::limits::ACCEPT_RETRY_MS;
use crate::session::{ConnId, Flow};
use futures_io::{AsyncRead as _, AsyncWrite as _};
use glommio::net::{TcpListener, TcpStream};
use glommio::{GlommioError, timer};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A connection is read from so many times before the others of its core have their turn.
const READS_PER_TURN: usize = 4;

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

/// Accepts connections for one core until its listener is shut down.
pub async fn accept(core: Rc<RefCell<Core>>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok(stream) => welcome(&core, stream),
            Err(error) if is_shut_down(&error) => return,
            Err(error) => {
                // EMFILE and its like return at once, again and again: pause, or this loop starves the core.
                tracing::warn!(%error, "cannot accept: raise the limit on open files (LimitNOFILE), or lower MAX_CONNECTIONS");
                timer::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

fn is_shut_down(error: &GlommioError<()>) -> bool {
    matches!(error, GlommioError::IoError(error) if error.raw_os_error() == Some(libc::EINVAL))
}

fn welcome(core: &Rc<RefCell<Core>>, stream: TcpStream) {
    // A peer that is gone already makes this fail; its first read tells.
    let _ = stream.set_nodelay(true);
    let opened = core.borrow_mut().open(stream.as_raw_fd());
    match opened {
        Some(conn) => glommio::spawn_local(serve(Rc::clone(core), stream, conn)).detach(),
        None => return,
    };
}

/// Serves one connection to its end.
async fn serve(core: Rc<RefCell<Core>>, mut stream: TcpStream, conn: ConnId) {
    poll_fn(|cx| core.borrow_mut().poll_connection(cx, &mut stream, conn)).await;
    core.borrow_mut().close(conn);
}

impl Core {
    /// Takes a new connection, or tells it in one answer that there are too many.
    fn open(&mut self, fd: RawFd) -> Option<ConnId> {
        let now = self.clock.now();
        match self.engine.open(now) {
            Ok(conn) => {
                let place = conn.index();
                if self.connections.len() <= place {
                    self.connections.resize_with(place + 1, || None);
                }
                self.connections[place] = Some(Connection { fd, task: None, lingering: false });
                Some(conn)
            }
            Err(refusal) => {
                // One attempt: whoever cannot take a hundred bytes now is dropped all the same.
                let _ = send_now(fd, &refusal);
                None
            }
        }
    }

    fn close(&mut self, conn: ConnId) {
        let now = self.clock.now();
        self.engine.close(now, &mut self.host, conn);
        self.connections[conn.index()] = None;
        self.end_of_wake_up();
    }

    /// Does for a connection what can be done without waiting; ready when it is to be closed.
    fn poll_connection(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream, conn: ConnId) -> Poll<()> {
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

    fn take_turn(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream, conn: ConnId) -> Poll<()> {
        for _ in 0..READS_PER_TURN {
            if self.write(cx, stream, conn).is_err() {
                return Poll::Ready(());
            }
            match self.engine.flow(conn) {
                Flow::Closed => return Poll::Ready(()),
                Flow::Paused => return Poll::Pending,
                Flow::Lingering => {
                    self.half_close(conn);
                    match self.read(cx, stream) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(1..)) => {}
                        Poll::Ready(_) => return Poll::Ready(()),
                    }
                }
                Flow::Reading => {
                    let read = self.read(cx, stream);
                    let now = self.clock.now();
                    match read {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Err(_)) => return Poll::Ready(()),
                        Poll::Ready(Ok(0)) => self.engine.peer_closed(now, &mut self.host, conn),
                        Poll::Ready(Ok(len)) => self.engine.receive(now, &mut self.host, conn, &self.buffer[..len]),
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn read(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<io::Result<usize>> {
        Pin::new(stream).poll_read(cx, &mut self.buffer)
    }

    /// Writes until the output is empty or the socket is full; when that has room again the task is woken.
    fn write(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream, conn: ConnId) -> io::Result<()> {
        loop {
            let output = self.engine.output(conn);
            if output.is_empty() {
                return Ok(());
            }
            match Pin::new(&mut *stream).poll_write(cx, output) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(len)) => self.engine.sent(self.clock.now(), &mut self.host, conn, len),
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
    }

    /// Sends what a connection has to say, from outside its task.
    pub(super) fn flush(&mut self, conn: ConnId) {
        let Some(fd) = self.connections.get(conn.index()).and_then(Option::as_ref).map(|it| it.fd) else { return };
        loop {
            let output = self.engine.output(conn);
            if output.is_empty() {
                break;
            }
            match send_now(fd, output) {
                Ok(len) => self.engine.sent(self.clock.now(), &mut self.host, conn, len),
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
