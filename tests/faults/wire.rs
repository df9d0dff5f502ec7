//! A client that takes the end of its connection, wherever it comes, for no answer; and whatever is an answer, whole.

use crate::support::{PATIENCE, TOKEN};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// An answer, as far as these tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// A connection to a server that may vanish.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    /// Connects, if somebody listens.
    pub fn open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(Self { stream, unread: Vec::new() })
    }

    /// Sends; false if the connection has ended.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next answer, or `None` if the connection ended before all of it was here.
    ///
    /// # Panics
    /// If what comes is no answer, or nothing comes.
    #[track_caller]
    pub fn reply(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more()?;
        };
        let head = String::from_utf8(self.unread[..end].to_vec()).expect("a head is text");
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {head:?}"));
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |length| length.parse().unwrap_or_else(|_| panic!("no length: {head:?}")));
        while self.unread.len() < end + length {
            self.read_more()?;
        }
        let rest = self.unread.split_off(end + length);
        let answer = std::mem::replace(&mut self.unread, rest);
        let body = String::from_utf8(answer[end..].to_vec()).expect("these bodies are text");
        Some(Reply { status, body })
    }

    #[track_caller]
    fn read_more(&mut self) -> Option<()> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(len @ 1..) => self.unread.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing comes: {:?}", self.unread),
            Ok(0) | Err(_) => return None,
        }
        Some(())
    }
}

/// A PUT of text.
pub fn put(key: &str, value: &str) -> String {
    let length = value.len();
    format!(
        "PUT /v1/kv/{key} HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: text/plain\r\n\
         Content-Length: {length}\r\n\r\n{value}"
    )
}

/// A GET of what such a PUT has stored.
pub fn get(key: &str) -> String {
    format!("GET /v1/kv/{key}?raw=true HTTP/1.1\r\nHost: t\r\n\r\n")
}
