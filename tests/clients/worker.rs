//! One client of the mixed load: it knows what each of its keys holds, so it knows what each answer must be.

use crate::reader::{Reader, Reply};
use crate::support::TOKEN;
use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::net::SocketAddr;

/// Requests sent before the first of their answers is read.
const PIPELINED_MAX: u64 = 16;
/// Keys of one worker.
const KEYS: u64 = 40;
/// Size of the large values in bytes.
const LARGE_BYTES: usize = 100_000;
/// One write in so many is of a large value.
const LARGE_ONE_IN: u64 = 40;
/// Requests after which a worker opens another connection.
const REQUESTS_PER_CONNECTION: u64 = 500;

/// What the model says of one key.
#[derive(Clone, Debug, Default)]
struct Held {
    value: Option<Vec<u8>>,
    /// As the last answer that named it said; of use only while no write is under way.
    etag: String,
}

/// A request that is not answered yet, and all that its answer must be.
#[derive(Debug)]
struct Expected {
    id: String,
    key: u64,
    status: u16,
    head: bool,
    /// The body of a 200 that brings a value, or its length if it was asked for with HEAD.
    value: Option<Vec<u8>>,
    /// Whether the answer's `ETag` is that of the key's value from here on.
    names_version: bool,
}

/// A worker.
#[derive(Debug)]
pub struct Worker {
    name: String,
    address: SocketAddr,
    random: u64,
    held: HashMap<u64, Held>,
    out: Vec<u8>,
    expected: VecDeque<Expected>,
    sequence: u64,
    /// Answers by status.
    pub seen: HashMap<u16, u64>,
}

impl Worker {
    /// A worker whose keys begin with `name`.
    pub fn new(name: &str, address: SocketAddr, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            address,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            held: HashMap::new(),
            out: Vec::new(),
            expected: VecDeque::new(),
            sequence: 0,
            seen: HashMap::new(),
        }
    }

    /// Sends `count` requests, a handful at a time, and checks each answer.
    pub fn run(&mut self, count: u64) {
        let mut connection = Reader::open(self.address);
        while self.sequence < count {
            let at_once = (1 + self.draw(PIPELINED_MAX)).min(count - self.sequence);
            for _ in 0..at_once {
                self.write_request();
            }
            assert!(connection.send(&self.out), "{}: the proxy has closed the connection", self.name);
            self.out.clear();
            while let Some(expected) = self.expected.pop_front() {
                let reply = connection.next(expected.head);
                let reply = reply.unwrap_or_else(|| panic!("{}: closed instead of {expected:?}", self.name));
                self.check(&expected, &reply, connection.body(&reply));
            }
            if self.sequence % REQUESTS_PER_CONNECTION < at_once {
                connection = Reader::open(self.address);
            }
        }
    }

    /// xorshift64: a number below `bound`.
    fn draw(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    /// Adds a request to what is to be sent, and its answer to what is expected.
    fn write_request(&mut self) {
        self.sequence += 1;
        let key = self.draw(KEYS);
        match self.draw(100) {
            0..30 => self.put(key),
            30..60 => self.get(key),
            60..70 => self.head(key),
            70..82 => self.revalidate(key),
            82..92 => self.delete(key),
            _ => self.get(KEYS + key),
        }
    }

    fn put(&mut self, key: u64) {
        let value = self.value(key);
        let before = self.held.entry(key).or_default().value.replace(value.clone());
        let chunked = self.draw(3) == 0;
        self.begin("PUT", key, "");
        self.out.extend_from_slice(format!("X-API-Token: {TOKEN}\r\nContent-Type: text/plain\r\n").as_bytes());
        if chunked {
            self.out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in value.chunks(30_000) {
                write!(self.out, "{:x}\r\n", piece.len()).expect("a vector takes all");
                self.out.extend_from_slice(piece);
                self.out.extend_from_slice(b"\r\n");
            }
            self.out.extend_from_slice(b"0\r\n\r\n");
        } else {
            write!(self.out, "Content-Length: {}\r\n\r\n", value.len()).expect("a vector takes all");
            self.out.extend_from_slice(&value);
        }
        self.forget_etag(key);
        self.expect(key, if before.is_some() { 200 } else { 201 }, None);
    }

    fn get(&mut self, key: u64) {
        let value = self.held.get(&key).and_then(|held| held.value.clone());
        self.begin("GET", key, "?raw=true");
        self.out.extend_from_slice(b"\r\n");
        self.expect(key, if value.is_some() { 200 } else { 404 }, value);
    }

    fn head(&mut self, key: u64) {
        self.begin("HEAD", key, "?raw=true");
        self.out.extend_from_slice(b"\r\n");
        let value = self.held.get(&key).and_then(|held| held.value.clone());
        self.expect(key, if value.is_some() { 200 } else { 404 }, value);
        self.expected.back_mut().expect("it was just put there").head = true;
    }

    /// A conditional GET with the version that the key has, if that is known.
    fn revalidate(&mut self, key: u64) {
        let held = self.held.get(&key).cloned().unwrap_or_default();
        if held.value.is_none() || held.etag.is_empty() {
            return self.get(key);
        }
        self.begin("GET", key, "?raw=true");
        write!(self.out, "If-None-Match: {}\r\n\r\n", held.etag).expect("a vector takes all");
        self.expect(key, 304, None);
    }

    fn delete(&mut self, key: u64) {
        let before = self.held.entry(key).or_default().value.take();
        self.forget_etag(key);
        self.begin("DELETE", key, "");
        write!(self.out, "X-API-Token: {TOKEN}\r\n\r\n").expect("a vector takes all");
        self.expect(key, if before.is_some() { 204 } else { 404 }, None);
    }

    /// Answers that are still to come must not bring an older version back.
    fn forget_etag(&mut self, key: u64) {
        self.held.entry(key).or_default().etag.clear();
        for expected in self.expected.iter_mut().filter(|expected| expected.key == key) {
            expected.names_version = false;
        }
    }

    fn begin(&mut self, method: &str, key: u64, query: &str) {
        let (name, sequence) = (&self.name, self.sequence);
        write!(
            self.out,
            "{method} /v1/kv/{name}-{key}{query} HTTP/1.1\r\nHost: cache\r\nX-Request-ID: {name}.{sequence}\r\n"
        )
        .expect("a vector takes all");
    }

    fn expect(&mut self, key: u64, status: u16, value: Option<Vec<u8>>) {
        let id = format!("{}.{}", self.name, self.sequence);
        let names_version = matches!(status, 200 | 201 | 304);
        self.expected.push_back(Expected { id, key, status, head: false, value, names_version });
    }

    /// A value that no other write of any worker has.
    fn value(&mut self, key: u64) -> Vec<u8> {
        let head = format!("{}-{key} written by {};", self.name, self.sequence);
        let len = if self.draw(LARGE_ONE_IN) == 0 { LARGE_BYTES } else { head.len() };
        let mut value = head.repeat(len.div_ceil(head.len())).into_bytes();
        value.truncate(len);
        value
    }

    fn check(&mut self, expected: &Expected, reply: &Reply, body: &[u8]) {
        assert_eq!(reply.request_id, expected.id, "the answer is another request's: {reply:?}, {expected:?}");
        assert_eq!(reply.status, expected.status, "{reply:?}, {expected:?}, {}", String::from_utf8_lossy(body));
        if let Some(value) = &expected.value {
            assert_eq!(reply.length, Some(value.len()), "{reply:?}");
            // Not assert_eq: nobody wants to read two large values.
            assert!(expected.head || body == value, "another value than was written: {reply:?}");
        }
        if expected.names_version && !reply.etag.is_empty() {
            self.held.entry(expected.key).or_default().etag.clone_from(&reply.etag);
        }
        assert!(!reply.closes, "nothing here ends a connection: {reply:?}");
        *self.seen.entry(reply.status).or_default() += 1;
    }
}
