//! Reads answers from a proxy: fast enough for many of them, and with less to say about their form than the strict
//! reader of the direct tests, since proxies answer in their own ways.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

/// How long an answer may take before the test gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Room for this many bytes is made before a read.
const READ_BYTES: usize = 64 * 1024;

/// One answer; its body stays in the reader's buffer.
#[derive(Debug, Default)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// `X-Request-ID`, empty if there is none.
    pub request_id: String,
    /// `ETag`, empty if there is none.
    pub etag: String,
    /// `Content-Length`.
    pub length: Option<usize>,
    /// Whether the connection ends after this.
    pub closes: bool,
    body: Range<usize>,
}

/// A connection to a proxy.
#[derive(Debug)]
pub struct Reader {
    stream: TcpStream,
    /// Unread bytes are those from `start` to `end`; filled with zeros once and not for each read.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Reader {
    /// Connects.
    #[track_caller]
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream.set_nodelay(true).expect("an option can be set");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("an option can be set");
        Self { stream, buffer: vec![0; 2 * READ_BYTES], start: 0, end: 0 }
    }

    /// Sends; false if the other side has closed.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next answer that is not an interim one, or `None` at the end of the connection.
    ///
    /// # Panics
    /// If something comes that is no answer, or nothing.
    #[track_caller]
    pub fn next(&mut self, to_head: bool) -> Option<Reply> {
        self.start_anew();
        loop {
            let mut reply = self.head()?;
            if reply.status >= 200 {
                let bodiless = to_head || matches!(reply.status, 204 | 304);
                let len = if bodiless { 0 } else { reply.length.unwrap_or_else(|| self.rest_of_a_proxy(&reply)) };
                while self.end - self.start < len {
                    assert!(self.fill(), "ended within a body: {reply:?}");
                }
                reply.body = self.start..self.start + len;
                self.start += len;
                return Some(reply);
            }
        }
    }

    /// What comes until the end of the connection, which is what some proxies' own answers end with.
    #[track_caller]
    fn rest_of_a_proxy(&mut self, reply: &Reply) -> usize {
        assert!(reply.request_id.is_empty() && reply.status >= 400, "no length: {reply:?}");
        while self.fill() {}
        self.end - self.start
    }

    /// The body of the last answer.
    pub fn body(&self, reply: &Reply) -> &[u8] {
        &self.buffer[reply.body.clone()]
    }

    /// Moves what is unread to the front of the buffer.
    fn start_anew(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    #[track_caller]
    fn head(&mut self) -> Option<Reply> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut parsed = httparse::Response::new(&mut fields);
            let unread = &self.buffer[self.start..self.end];
            match parsed.parse(unread) {
                Ok(httparse::Status::Complete(len)) => {
                    let reply = reply(&parsed);
                    self.start += len;
                    return Some(reply);
                }
                Ok(httparse::Status::Partial) => {}
                Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(&unread[..unread.len().min(300)])),
            }
            if !self.fill() {
                let rest = &self.buffer[self.start..self.end];
                assert!(rest.is_empty(), "ended within a head: {:?}", String::from_utf8_lossy(rest));
                return None;
            }
        }
    }

    /// Reads what there is; false at the end of the connection.
    #[track_caller]
    fn fill(&mut self) -> bool {
        if self.buffer.len() - self.end < READ_BYTES {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        match self.stream.read(&mut self.buffer[self.end..]) {
            Ok(count) => {
                self.end += count;
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no answer within {PATIENCE:?}: {error}"),
        }
    }
}

fn reply(parsed: &httparse::Response<'_, '_>) -> Reply {
    let mut reply = Reply { status: parsed.code.expect("a parsed head has a status"), ..Reply::default() };
    for field in parsed.headers.iter() {
        let value = || String::from_utf8_lossy(field.value).into_owned();
        match field.name.to_ascii_lowercase().as_str() {
            "x-request-id" => reply.request_id = value(),
            "etag" => reply.etag = value(),
            "connection" => reply.closes = field.value.eq_ignore_ascii_case(b"close"),
            "content-length" => reply.length = Some(value().parse().expect("a length is a number")),
            "transfer-encoding" => panic!("an answer of ours has a known length: {}", value()),
            _ => {}
        }
    }
    reply
}
