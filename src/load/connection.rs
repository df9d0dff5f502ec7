//! One connection to the server: a request goes out, its whole answer comes back.

use super::Peer;
use serde::Deserialize;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How much is read at once at least.
const READ_BYTES_MIN: usize = 16 * 1024;
/// Longest answer that is taken.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most fields that the head of an answer may have.
const FIELDS_MAX: usize = 64;

/// A request in words.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub target: &'a str,
    /// Fields besides `Host`, the token and `Content-Length`.
    pub fields: &'a [(&'a str, &'a str)],
    /// The body, if there is one.
    pub body: Option<&'a [u8]>,
}

/// An answer that has come as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The head, status line and empty line included.
    pub head: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// Why a request has no good answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection, or it broke, or what came is not HTTP.
    #[error("{0}")]
    Connection(String),
    /// The answer did not come in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// A status that should not have come.
    #[error("{0} {1}")]
    Status(u16, String),
    /// A status as expected with content that is not.
    #[error("{0}")]
    WrongValue(String),
}

/// One keep-alive connection, opened again when it was closed.
pub struct Connection {
    peer: Arc<Peer>,
    timeout: Duration,
    stream: Option<TcpStream>,
    output: Vec<u8>,
    input: Vec<u8>,
    filled: usize,
    /// How often a kept connection turned out to be closed before it answered, and the request went over a new one.
    pub reconnects: u64,
}

/// What is known of an answer whose head is there.
struct Head {
    status: u16,
    bytes: usize,
    body: usize,
    closes: bool,
}

impl Connection {
    /// A connection that is opened with its first request.
    #[must_use]
    pub const fn new(peer: Arc<Peer>, timeout: Duration) -> Self {
        Self { peer, timeout, stream: None, output: Vec::new(), input: Vec::new(), filled: 0, reconnects: 0 }
    }

    /// Opens it now, if it is not open.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn open(&mut self) -> Result<(), Failure> {
        if self.stream.is_none() {
            let failed = |error: io::Error| Failure::Connection(format!("cannot connect: {error}"));
            let stream = TcpStream::connect_timeout(&self.peer.address, self.timeout).map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            stream.set_read_timeout(Some(self.timeout)).map_err(failed)?;
            stream.set_write_timeout(Some(self.timeout)).map_err(failed)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Sends a request with the token and waits for its answer.
    ///
    /// # Errors
    /// If there is none; whatever status it has is not looked at.
    pub fn ask(&mut self, request: &Request<'_>) -> Result<Answer<'_>, Failure> {
        self.ask_as(request, true)
    }

    /// The same without the token.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn ask_without_token(&mut self, request: &Request<'_>) -> Result<Answer<'_>, Failure> {
        self.ask_as(request, false)
    }

    /// Finds out whether there is a cache at all and whether it takes the token, by deleting a key that no one has.
    ///
    /// # Errors
    /// If not; a server that is merely busy is no failure.
    pub fn check_token(&mut self, prefix: &str) -> Result<(), Failure> {
        let body = serde_json::json!({ "keys": [format!("{prefix}token")] }).to_string();
        let fields = [("Content-Type", "application/json")];
        let target = "/v1/kv/batch/delete";
        let answer = self.ask(&Request { method: "POST", target, fields: &fields, body: Some(body.as_bytes()) })?;
        if matches!(answer.status, 200 | 503) { Ok(()) } else { Err(answer.refused()) }
    }

    fn ask_as(&mut self, request: &Request<'_>, with_token: bool) -> Result<Answer<'_>, Failure> {
        self.write(request, with_token);
        let kept = self.stream.is_some();
        let mut exchanged = self.exchange(request.method == "HEAD");
        // A server may close a connection that was idle at any time, also while a request is on its way. A POST may
        // have been done nevertheless and is not the same when it is done twice.
        let again = kept && self.filled == 0 && request.method != "POST";
        if again && matches!(exchanged, Err(Failure::Connection(_))) {
            self.reconnects += 1;
            exchanged = self.exchange(request.method == "HEAD");
        }
        let head = exchanged?;
        let body = head.bytes..head.bytes + head.body;
        Ok(Answer { status: head.status, head: &self.input[..head.bytes], body: &self.input[body] })
    }

    fn write(&mut self, request: &Request<'_>, with_token: bool) {
        let output = &mut self.output;
        output.clear();
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| output.extend_from_slice(part.as_bytes()));
        put(&[request.method, " ", request.target, " HTTP/1.1\r\nHost: ", &self.peer.host, "\r\n"]);
        if with_token {
            put(&["X-API-Token: ", &self.peer.token, "\r\n"]);
        }
        for (name, value) in request.fields {
            put(&[name, ": ", value, "\r\n"]);
        }
        if let Some(body) = request.body {
            put(&["Content-Length: ", itoa::Buffer::new().format(body.len()), "\r\n"]);
        }
        put(&["\r\n"]);
        output.extend_from_slice(request.body.unwrap_or_default());
    }

    fn exchange(&mut self, no_body: bool) -> Result<Head, Failure> {
        self.filled = 0;
        self.open()?;
        let stream = self.stream.take().ok_or_else(|| Failure::Connection("not connected".to_owned()))?;
        let head = self.exchange_over(&stream, no_body)?;
        // After a failure the stream is dropped instead: what else came over it would belong to nobody knows what.
        if !head.closes {
            self.stream = Some(stream);
        }
        Ok(head)
    }

    fn exchange_over(&mut self, mut stream: &TcpStream, no_body: bool) -> Result<Head, Failure> {
        let began = Instant::now();
        // A server that refuses a body may answer and close before it has read it all: its answer tells more.
        let written = stream.write_all(&self.output);
        let mut head = None;
        loop {
            if head.is_none() {
                head = parse(&self.input[..self.filled], no_body).map_err(Failure::Connection)?;
            }
            if let Some(head) = head.take_if(|head| self.filled >= head.bytes + head.body) {
                let whole: Range<usize> = 0..head.bytes + head.body;
                let more = self.filled > whole.end;
                return if more { Err(broken("more came than the answer's length")) } else { Ok(head) };
            }
            if began.elapsed() >= self.timeout {
                return Err(Failure::Timeout(self.timeout));
            }
            let wanted = head.as_ref().map_or(0, |head| head.bytes + head.body).max(self.filled + READ_BYTES_MIN);
            if self.input.len() < wanted {
                self.input.resize(wanted, 0);
            }
            match stream.read(&mut self.input[self.filled..]) {
                Ok(0) => return Err(closed(written.err(), self.filled)),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Failure::Timeout(self.timeout)),
                Err(error) => return Err(broken(&error.to_string())),
            }
        }
    }
}

fn broken(why: &str) -> Failure {
    Failure::Connection(format!("the connection broke: {why}"))
}

fn closed(write_error: Option<io::Error>, filled: usize) -> Failure {
    let when = if filled == 0 { "before it answered" } else { "in the middle of its answer" };
    match write_error {
        Some(error) => broken(&format!("{error}")),
        None => Failure::Connection(format!("the server closed the connection {when}")),
    }
}

/// What the head of an answer says, once it is there.
fn parse(bytes: &[u8], no_body: bool) -> Result<Option<Head>, String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("the answer is not HTTP: {error}")),
    };
    let status = response.code.unwrap_or_default();
    let mut head = Head { status, bytes: length, body: 0, closes: response.version == Some(0) };
    let mut content_length = None;
    for field in response.headers.iter() {
        let value = std::str::from_utf8(field.value).unwrap_or_default().trim();
        if field.name.eq_ignore_ascii_case("content-length") {
            content_length = value.parse::<usize>().ok().filter(|&length| length <= ANSWER_BYTES_MAX);
        } else if field.name.eq_ignore_ascii_case("connection") {
            head.closes |= value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        }
    }
    if !no_body && !matches!(status, 204 | 304) {
        head.body = content_length.ok_or_else(|| format!("the answer with status {status} has no usable length"))?;
    }
    Ok(Some(head))
}

impl Answer<'_> {
    /// The value of a field of the head.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(self.head).ok()?;
        let mut fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The failure that an answer with an unexpected status is.
    #[must_use]
    pub fn refused(&self) -> Failure {
        #[derive(Deserialize)]
        struct Body {
            error: Error,
        }
        #[derive(Deserialize)]
        struct Error {
            code: String,
            message: String,
        }
        let told = serde_json::from_slice::<Body>(self.body).map(|body| body.error);
        let text = told.map_or_else(
            |_| "with a body that says no reason".to_owned(),
            |error| crate::config::one_line(&format!("{}: {}", error.code, error.message)),
        );
        let hint =
            if self.status == 401 { "; give the server's as API_TOKEN, --api-token or --api-token-file" } else { "" };
        Failure::Status(self.status, text + hint)
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
