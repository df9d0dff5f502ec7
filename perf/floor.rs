//! The floor under every server: one thread, one epoll loop, and the same bytes for whatever is asked.
//!
//! It reads what there is, counts the empty lines that end request heads, and writes as many copies of one answer, so
//! what it costs is what the kernel takes for moving a request and an answer of that size. It understands nothing: a
//! body must not contain an empty line, and one write must fit into the socket's buffer.
//!
//! `floor --answer-bytes N --body-bytes M` prints `listening ADDRESS` and serves until it is killed.

mod epoll;

use epoll::Epoll;
use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// The name of the listener among the connections, which are named by their descriptors' order.
const LISTENER: u64 = u64::MAX;
const READ_BYTES: usize = 64 * 1024;

struct Peer {
    stream: TcpStream,
    /// How many bytes of `\r\n\r\n` the input so far ends with.
    matched: usize,
}

fn main() -> io::Result<()> {
    let answer = answer(argument("--answer-bytes")?, argument("--body-bytes")?)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("listening {}", listener.local_addr()?);
    let epoll = Epoll::new()?;
    epoll.watch(&listener, LISTENER)?;
    let mut peers: HashMap<u64, Peer> = HashMap::new();
    let (mut next_token, mut ready, mut output) = (0, Vec::new(), Vec::new());
    let mut input = vec![0_u8; READ_BYTES];
    loop {
        epoll.wait(&mut ready, None)?;
        for &token in &ready {
            if token == LISTENER {
                accept_all(&listener, &epoll, &mut peers, &mut next_token)?;
            } else if peers.get_mut(&token).is_some_and(|peer| !serve(peer, &mut input, &mut output, &answer)) {
                peers.remove(&token);
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    epoll: &Epoll,
    peers: &mut HashMap<u64, Peer>,
    next_token: &mut u64,
) -> io::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll.watch(&stream, *next_token)?;
        peers.insert(*next_token, Peer { stream, matched: 0 });
        *next_token += 1;
    }
    Ok(())
}

/// Reads once and answers what was asked; false if the connection is over.
fn serve(peer: &mut Peer, input: &mut [u8], output: &mut Vec<u8>, answer: &[u8]) -> bool {
    let count = match peer.stream.read(input) {
        Ok(0) => return false,
        Ok(count) => count,
        Err(error) => return matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
    };
    output.clear();
    for &byte in &input[..count] {
        peer.matched = match (peer.matched, byte) {
            (0 | 2, b'\r') | (1 | 3, b'\n') => peer.matched + 1,
            (_, b'\r') => 1,
            _ => 0,
        };
        if peer.matched == 4 {
            peer.matched = 0;
            output.extend_from_slice(answer);
        }
    }
    output.is_empty() || peer.stream.write(output).is_ok_and(|written| written == output.len())
}

/// An answer of exactly so many bytes in all, of which so many are the body.
fn answer(answer_bytes: usize, body_bytes: usize) -> io::Result<Vec<u8>> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {body_bytes}\r\nX-Pad: ");
    let end = "\r\n\r\n";
    let pad = answer_bytes.checked_sub(head.len() + end.len() + body_bytes);
    let pad = pad.ok_or_else(|| io::Error::other("--answer-bytes is too small for a head and that body"))?;
    Ok([head.as_bytes(), "x".repeat(pad).as_bytes(), end.as_bytes(), "y".repeat(body_bytes).as_bytes()].concat())
}

fn argument(name: &str) -> io::Result<usize> {
    let value = std::env::args().skip_while(|argument| argument != name).nth(1);
    let value = value.and_then(|value| value.parse().ok());
    value.ok_or_else(|| io::Error::other(format!("{name} NUMBER is missing")))
}
