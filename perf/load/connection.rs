//! A connection: what is to be sent, what came, and which answers are awaited.

use crate::Result;
use crate::dialect::{Asked, Dialect};
use crate::epoll::{Epoll, Interest};
use crate::options::Options;
use crate::tally::Tally;
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const READ_BYTES: usize = 256 * 1024;

/// A request that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    asked: Asked,
    /// When latency starts, if it is measured.
    since: Option<Instant>,
}

/// A connection.
pub struct Connection {
    stream: TcpStream,
    token: u64,
    /// Which of the addresses it goes to.
    pub shard: usize,
    unsent: Vec<u8>,
    unsent_from: usize,
    /// Whether the socket takes no more at present.
    is_blocked: bool,
    /// The start of an answer, `filled` bytes of it.
    unread: Vec<u8>,
    filled: usize,
    awaited: VecDeque<Awaited>,
}

/// Opens all connections, which go round the addresses.
///
/// # Errors
/// If one cannot be had.
pub fn open_all(options: &Options, epoll: &Epoll) -> Result<Vec<Connection>> {
    (0..options.connections)
        .map(|number| {
            let shard = number % options.addresses.len();
            let stream = open(&options.addresses[shard])?;
            let token = number as u64;
            epoll.watch(&stream, token)?;
            Ok(Connection {
                stream,
                token,
                shard,
                unsent: Vec::new(),
                unsent_from: 0,
                is_blocked: false,
                unread: Vec::new(),
                filled: 0,
                awaited: VecDeque::new(),
            })
        })
        .collect()
}

fn open(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Where bytes come in that no connection keeps.
pub fn input() -> Vec<u8> {
    vec![0; READ_BYTES]
}

impl Connection {
    /// How many answers are awaited.
    pub fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// Resets it, which has been answered, and opens it anew.
    ///
    /// # Errors
    /// If there is no other one.
    pub fn renew(&mut self, options: &Options, epoll: &Epoll) -> Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        self.stream = open(&options.addresses[self.shard])?;
        epoll.watch(&self.stream, self.token)?;
        Ok(())
    }

    /// Makes a request, which [`Self::send`] sends.
    pub fn push(&mut self, dialect: &mut Dialect, asked: Asked, since: Option<Instant>, tally: &mut Tally) {
        let before = self.unsent.len();
        dialect.append(&mut self.unsent, asked);
        self.awaited.push_back(Awaited { asked, since });
        tally.add_request(asked, self.unsent.len() - before);
    }

    /// Sends as much as the socket takes.
    ///
    /// # Errors
    /// If the connection is over.
    pub fn send(&mut self, epoll: &Epoll) -> Result<()> {
        while self.unsent_from < self.unsent.len() {
            match self.stream.write(&self.unsent[self.unsent_from..]) {
                Ok(count) => self.unsent_from += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !std::mem::replace(&mut self.is_blocked, true) {
                        epoll.change(&self.stream, self.token, Interest { read: true, write: true })?;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.unsent.clear();
        self.unsent_from = 0;
        if std::mem::replace(&mut self.is_blocked, false) {
            epoll.change(&self.stream, self.token, Interest { read: true, write: false })?;
        }
        Ok(())
    }

    /// Sends what is left, reads once, and takes the answers that are complete.
    ///
    /// # Errors
    /// If the connection is over or an answer is wrong.
    pub fn serve(&mut self, epoll: &Epoll, dialect: &mut Dialect, input: &mut [u8], tally: &mut Tally) -> Result<()> {
        if self.is_blocked {
            self.send(epoll)?;
        }
        if self.filled == 0 {
            let count = receive(&mut self.stream, input)?;
            let taken = self.take_answers(&input[..count], dialect, tally)?;
            self.keep(&input[taken..count]);
            return Ok(());
        }
        // The rest of a long answer goes to where its start is.
        if self.unread.len() < self.filled + READ_BYTES {
            self.unread.resize(2 * (self.filled + READ_BYTES), 0);
        }
        self.filled += receive(&mut self.stream, &mut self.unread[self.filled..])?;
        let unread = std::mem::take(&mut self.unread);
        let taken = self.take_answers(&unread[..self.filled], dialect, tally)?;
        self.unread = unread;
        self.unread.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.unread.len() < bytes.len() {
            self.unread.resize(bytes.len(), 0);
        }
        self.unread[..bytes.len()].copy_from_slice(bytes);
        self.filled = bytes.len();
    }

    /// Takes the answers at the start of `bytes`; how many bytes they are.
    fn take_answers(&mut self, bytes: &[u8], dialect: &mut Dialect, tally: &mut Tally) -> Result<usize> {
        let now = tally.is_timed().then(Instant::now);
        let mut at = 0;
        while at < bytes.len() {
            let Awaited { asked, since } = *self.awaited.front().ok_or("an answer to a request that was never sent")?;
            let Some(taken) = dialect.take(&bytes[at..], asked)? else { break };
            self.awaited.pop_front();
            if taken.refused {
                tally.add_refusal();
            } else {
                tally.add_answer(asked, taken);
            }
            if let (Some(now), Some(since)) = (now, since) {
                tally.add_latency(now.duration_since(since), taken.refused);
            }
            at += taken.wire_bytes;
        }
        Ok(at)
    }
}

/// What has come; nothing if nothing has.
fn receive(stream: &mut TcpStream, input: &mut [u8]) -> Result<usize> {
    match stream.read(input) {
        Ok(0) => Err("the server closed a connection".into()),
        Ok(count) => Ok(count),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
