//! A proxy that changes values on their way from the server: every byte else is the real server's.

use crate::support::Server;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which answers are changed: told the request line and how many answers to reads came before.
type Chosen = fn(&str, u64) -> bool;

/// Starts a proxy in front of a server; its threads end with the connections.
pub fn tampering_proxy(server: &Server, chosen: Chosen) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (address, upstream, reads) = (listener.local_addr(), server.address(), Arc::new(AtomicU64::new(0)));
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let reads = Arc::clone(&reads);
            std::thread::spawn(move || relay(&client, upstream, chosen, &reads));
        }
    });
    address.expect("the listener has an address")
}

/// Passes requests and answers on until one of the sides closes.
fn relay(client: &TcpStream, upstream: SocketAddr, chosen: Chosen, reads: &AtomicU64) -> Option<()> {
    let upstream = TcpStream::connect(upstream).ok()?;
    upstream.set_nodelay(true).ok()?;
    client.set_nodelay(true).ok()?;
    let (mut requests, mut answers) = (BufReader::new(client), BufReader::new(&upstream));
    loop {
        let (head, body) = message(&mut requests, false)?;
        (&upstream).write_all(&[head.as_bytes(), &body].concat()).ok()?;
        let no_body = head.starts_with("HEAD");
        let (answer, mut value) = message(&mut answers, no_body)?;
        if head.starts_with("GET /v1/kv/") && chosen(&head, reads.fetch_add(1, Ordering::Relaxed)) {
            tamper(&mut value);
        }
        (&*client).write_all(&[answer.as_bytes(), &value].concat()).ok()?;
    }
}

/// A head, the empty line included, and its body.
fn message(from: &mut BufReader<&TcpStream>, no_body: bool) -> Option<(String, Vec<u8>)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
        let line = head[start..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let bodiless = no_body || head.starts_with("HTTP/1.1 204") || head.starts_with("HTTP/1.1 304");
    let mut body = vec![0; if bodiless { 0 } else { length }];
    from.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Changes one letter of the value.
fn tamper(body: &mut [u8]) {
    let begin = body.windows(9).position(|window| window == b"\"value\":\"").map(|at| at + 9);
    if let Some(letter) = begin.and_then(|begin| body.get_mut(begin + 3)) {
        *letter = if *letter == b'x' { b'y' } else { b'x' };
    }
}
