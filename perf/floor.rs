//! The floor under every server: an epoll loop that writes the same bytes for whatever is asked.
//!
//! It reads what there is, counts off requests whose length it was told, and writes as many copies of one answer, so what
//! it costs is what the kernel takes for moving a request and an answer of that size. It understands nothing but the first
//! letter of a request: `G` (GET) begins one of the first kind, anything else (PUT, POST) one of the second. What a socket
//! does not take is written when it takes more, and nothing is read from that connection meanwhile.
//!
//! `floor [--get REQUEST:ANSWER:BODY[:COPIES]] [--put REQUEST:ANSWER:BODY[:COPIES]] [--threads 1]`: bytes of a whole
//! request, of the whole answer, and of the body in it. Long answers come from as many copies in turn, as those of a server
//! that has many values come from many places in memory. It prints `listening ADDRESS[,ADDRESS…]`, one for each thread, which has a processor of its
//! own if it is not alone, and serves until it is killed.

mod epoll;

use epoll::{Epoll, Interest};
use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The name of the listener among the connections, which are named by the order in which they came.
const LISTENER: u64 = u64::MAX;
const READ_BYTES: usize = 64 * 1024;
/// Copies of an answer that lie one after another, so that answers to a burst go out in one write.
const BLOCK_BYTES: usize = 64 * 1024;

fn main() -> Result<()> {
    let kinds = [Kind::from_argument("--get")?, Kind::from_argument("--put")?];
    let threads = argument("--threads").map_or(Ok(1), |text| text.parse())?;
    let listeners: Vec<TcpListener> =
        (0..threads).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
    let addresses: Vec<String> =
        listeners.iter().map(|it| Ok(it.local_addr()?.to_string())).collect::<io::Result<_>>()?;
    println!("listening {}", addresses.join(","));
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    std::thread::scope(|scope| {
        for (number, listener) in listeners.into_iter().enumerate() {
            let (kinds, cpus) = (&kinds, &cpus);
            scope.spawn(move || {
                if threads > 1 && !cpus.is_empty() {
                    core_affinity::set_for_current(cpus[number % cpus.len()]);
                }
                if let Err(error) = Server::new(listener, kinds).and_then(|mut server| server.run()) {
                    eprintln!("floor: {error}");
                    std::process::exit(1);
                }
            });
        }
    });
    Ok(())
}

/// How long a request of some kind is, and what it is answered with.
struct Kind {
    request_bytes: usize,
    answer_bytes: usize,
    /// The answer, one after another.
    block: Vec<u8>,
    /// In how many of its places an answer may start.
    copies: usize,
}

impl Kind {
    /// The kind that an argument describes; one that nobody asks for if it is absent.
    fn from_argument(name: &str) -> Result<Self> {
        let text = argument(name).unwrap_or_else(|| "1:100:0".into());
        let sizes: Vec<usize> = text.split(':').map(str::parse).collect::<std::result::Result<_, _>>()?;
        let (request_bytes, answer_bytes, body_bytes, copies) = match *sizes.as_slice() {
            [request, answer, body] => (request, answer, body, 1),
            [request, answer, body, copies] => (request, answer, body, copies),
            _ => return Err(format!("{name} {text}: REQUEST:ANSWER:BODY[:COPIES]").into()),
        };
        if request_bytes == 0 || copies == 0 {
            return Err(format!("{name} {text}: a request has bytes, and there is a copy at least").into());
        }
        let in_a_row = if copies == 1 { (BLOCK_BYTES / answer_bytes).max(1) } else { copies };
        let block = answer(answer_bytes, body_bytes)?.repeat(in_a_row);
        Ok(Self { request_bytes, answer_bytes, block, copies })
    }
}

/// An answer of exactly so many bytes in all, of which so many are the body.
fn answer(answer_bytes: usize, body_bytes: usize) -> Result<Vec<u8>> {
    let head = "HTTP/1.1 200 OK\r\nX-Pad: ";
    let end = format!("\r\nContent-Length: {body_bytes}\r\n\r\n");
    let pad = answer_bytes.checked_sub(head.len() + end.len() + body_bytes);
    let pad = pad.ok_or_else(|| format!("{answer_bytes} bytes are too few for a head and a body of {body_bytes}"))?;
    Ok([head.as_bytes(), "x".repeat(pad).as_bytes(), end.as_bytes(), "y".repeat(body_bytes).as_bytes()].concat())
}

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

struct Peer {
    stream: TcpStream,
    /// The kind of the request that comes in, and how much of it is still to come.
    kind: usize,
    missing: usize,
    /// How many requests there were, which decides which copy answers.
    asked: usize,
    /// What the socket did not take: of which kind, and how many bytes of the answers to it are written and are due.
    unsent: Vec<Owed>,
}

#[derive(Clone, Copy)]
struct Owed {
    kind: usize,
    /// Where the answers begin in the kind's block.
    base: usize,
    written: usize,
    due: usize,
}

struct Server<'a> {
    listener: TcpListener,
    kinds: &'a [Kind; 2],
    epoll: Epoll,
    peers: HashMap<u64, Peer>,
    next_token: u64,
    input: Vec<u8>,
}

impl<'a> Server<'a> {
    fn new(listener: TcpListener, kinds: &'a [Kind; 2]) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new()?;
        epoll.watch(&listener, LISTENER)?;
        Ok(Self { listener, kinds, epoll, peers: HashMap::new(), next_token: 0, input: vec![0; READ_BYTES] })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.epoll.wait(&mut ready, None)?;
            for &token in &ready {
                if token == LISTENER {
                    self.accept_all()?;
                } else if let Some(peer) = self.peers.get_mut(&token)
                    && peer.serve(token, &mut self.input, self.kinds, &self.epoll).is_err()
                {
                    self.peers.remove(&token);
                }
            }
        }
    }

    fn accept_all(&mut self) -> io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            self.epoll.watch(&stream, self.next_token)?;
            self.peers.insert(self.next_token, Peer::new(stream, self.next_token));
            self.next_token += 1;
        }
        Ok(())
    }
}

impl Peer {
    /// Connections begin with different copies.
    fn new(stream: TcpStream, token: u64) -> Self {
        Self { stream, kind: 0, missing: 0, asked: token as usize, unsent: Vec::new() }
    }

    /// Reads once and answers what was asked, or goes on writing; an error if the connection is over.
    fn serve(&mut self, token: u64, input: &mut [u8], kinds: &[Kind; 2], epoll: &Epoll) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.write_on(kinds)?;
            if self.unsent.is_empty() {
                epoll.change(&self.stream, token, Interest { read: true, write: false })?;
            }
            return Ok(());
        }
        let count = match self.stream.read(input) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.count_off(&input[..count], kinds);
        self.write_on(kinds)?;
        if !self.unsent.is_empty() {
            epoll.change(&self.stream, token, Interest { read: false, write: true })?;
        }
        Ok(())
    }

    /// Owes an answer for each request that ends in `input`.
    fn count_off(&mut self, input: &[u8], kinds: &[Kind; 2]) {
        let mut at = 0;
        while at < input.len() {
            if self.missing == 0 {
                self.kind = usize::from(input[at] != b'G');
                self.missing = kinds[self.kind].request_bytes;
            }
            let here = self.missing.min(input.len() - at);
            self.missing -= here;
            at += here;
            if self.missing == 0 {
                self.owe(&kinds[self.kind]);
            }
        }
    }

    /// Owes an answer: with those before it if they are of the same kind and lie in a row.
    fn owe(&mut self, kind: &Kind) {
        self.asked += 1;
        match self.unsent.last_mut() {
            Some(owed) if owed.kind == self.kind && kind.copies == 1 => owed.due += kind.answer_bytes,
            _ => {
                let base = self.asked % kind.copies * kind.answer_bytes;
                self.unsent.push(Owed { kind: self.kind, base, written: 0, due: kind.answer_bytes });
            }
        }
    }

    /// Writes until nothing is owed or the socket takes no more.
    fn write_on(&mut self, kinds: &[Kind; 2]) -> io::Result<()> {
        let mut done = 0;
        'owed: for owed in &mut self.unsent {
            let kind = &kinds[owed.kind];
            while owed.written < owed.due {
                let from = owed.base + owed.written % kind.answer_bytes;
                let to = kind.block.len().min(from + owed.due - owed.written);
                let count = match self.stream.write(&kind.block[from..to]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    other => other?,
                };
                owed.written += count;
                if count < to - from {
                    break 'owed;
                }
            }
            done += 1;
        }
        self.unsent.drain(..done);
        Ok(())
    }
}
