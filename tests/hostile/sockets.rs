//! What hostile clients do with sockets that others do not: come in thousands, never wait, never read, vanish.

use crate::support::PATIENCE;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Connections from one loopback address, of which there are many: the kernel has some 28,000 ports for each, and keeps those
/// that were closed for a minute.
const CONNECTIONS_OF_AN_ADDRESS: usize = 5_000;

const RECEIVE_BUFFER_BYTES: usize = 8 * 1024;

/// How a connection has ended for a client that reads to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Closed after these bytes.
    Closed(Vec<u8>),
    /// Reset after these bytes.
    Reset(Vec<u8>),
}

impl Ending {
    /// What had come.
    pub fn bytes(&self) -> &[u8] {
        let (Self::Closed(bytes) | Self::Reset(bytes)) = self;
        bytes
    }

    /// The status of the first answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        std::str::from_utf8(self.bytes().get(9..12)?).ok()?.parse().ok()
    }
}

/// A connection that never waits unless it is told to.
#[derive(Debug)]
pub struct Rude {
    pub stream: TcpStream,
    /// Bytes sent so far.
    pub sent: usize,
}

/// Connects `count` times.
///
/// # Panics
/// If the kernel does not connect.
#[track_caller]
pub fn crowd(address: SocketAddr, count: usize) -> Vec<Rude> {
    static LOTS: AtomicU8 = AtomicU8::new(1);
    let mut source = 0;
    let connect = |number: usize| {
        if number.is_multiple_of(CONNECTIONS_OF_AN_ADDRESS) {
            source = LOTS.fetch_add(1, Ordering::Relaxed);
        }
        let from = SocketAddr::from(([127, 0, 1, source], 0));
        Rude::open(from, address).unwrap_or_else(|error| panic!("connection {number} of {count}: {error}"))
    };
    (0..count).map(connect).collect()
}

impl Rude {
    fn open(from: SocketAddr, to: SocketAddr) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&from.into())?;
        // Who does not read lets the kernel keep little for him, so that the server soon feels it.
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self { stream: socket.into(), sent: 0 })
    }

    /// Sends what the kernel takes at once; false if the connection is over.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write(bytes) {
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        true
    }

    /// Whether the server has said something, or ended the connection.
    pub fn has_heard(&self) -> bool {
        !matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether what has come begins with this; it stays where it is.
    pub fn has_been_answered_with(&self, start: &[u8]) -> bool {
        let mut begun = vec![0; start.len()];
        matches!(self.stream.peek(&mut begun), Ok(len) if len == start.len()) && begun == start
    }

    /// Says that no more will be sent.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is there");
    }

    /// Reads to the end, which must come.
    #[track_caller]
    pub fn ending(mut self) -> Ending {
        self.stream.set_nonblocking(false).expect("a socket can be made to block");
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a patience");
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => Ending::Closed(bytes),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Ending::Reset(bytes)
            }
            Err(error) => panic!("the connection does not end: {error}, after {} bytes", bytes.len()),
        }
    }

    /// Reads until what has come ends with `end`, which must come.
    #[track_caller]
    pub fn hears(&mut self, end: &[u8]) {
        self.stream.set_nonblocking(false).expect("a socket can be made to block");
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a patience");
        let (mut heard, mut piece) = (Vec::new(), [0; 1024]);
        while !heard.ends_with(end) {
            let len = self.stream.read(&mut piece).expect("an answer");
            assert!(len > 0, "closed after {:?}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&piece[..len]);
        }
    }

    /// Ends it by a reset, as a machine does that knows nothing of the connection any more.
    pub fn reset(self) {
        let socket = Socket::from(self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket can be made to end hard");
    }
}

/// Has each of `crowd` do something again and again, until `done` says so of every one or the patience is over.
///
/// # Panics
/// With `what` if it is over.
#[track_caller]
pub fn until_all(what: &str, crowd: &mut [Rude], pause: Duration, mut done: impl FnMut(&mut Rude) -> bool) {
    let began = Instant::now();
    loop {
        let left = crowd.iter_mut().filter_map(|rude| (!done(rude)).then_some(())).count();
        if left == 0 {
            return;
        }
        assert!(began.elapsed() < PATIENCE * 3, "{what}: not yet so for {left} of {}", crowd.len());
        std::thread::sleep(pause);
    }
}

/// How many answers with each status there are in `bytes`, which hold whole answers.
#[track_caller]
pub fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |text| text.parse::<usize>().expect("a length"));
        found.push(head[9..12].parse().expect("a status"));
        bytes = bytes.get(end + length..).expect("a whole body");
    }
    found
}
