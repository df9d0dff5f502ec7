//! A strict reader of HTTP/1.1 answers over a plain socket. It shares no code with the server, forgives nothing, and
//! checks of every answer what the contract promises of every answer.

use super::PATIENCE;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// One complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names as they came, values without surrounding blanks, in order, repeated ones repeated.
    pub headers: Vec<(String, String)>,
    /// The body; empty for answers that have none.
    pub body: Vec<u8>,
    /// Bytes of the whole answer on the wire.
    pub wire_bytes: usize,
}

impl Answer {
    /// All values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The value of a header that may be there once at most.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} is repeated: {values:?} in {self:?}");
        values.first().copied()
    }

    /// The value of a header that must be there exactly once.
    #[track_caller]
    pub fn required(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body as JSON; its media type must say so.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let media = self.required("Content-Type");
        assert!(media.starts_with("application/json"), "{media} is not JSON: {self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The exact text of a member of the body's top object.
    #[track_caller]
    pub fn member_text(&self, name: &str) -> String {
        type Members = std::collections::BTreeMap<String, Box<serde_json::value::RawValue>>;
        let members: Members =
            serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()));
        members.get(name).unwrap_or_else(|| panic!("no {name} in {}", self.text())).get().to_owned()
    }

    /// The version that the body names: letters and digits only.
    #[track_caller]
    pub fn version(&self) -> String {
        let quoted = self.member_text("version");
        let version = quoted.trim_matches('"').to_owned();
        assert!(!version.is_empty() && version.bytes().all(|b| b.is_ascii_alphanumeric()), "{version:?}");
        version
    }

    /// This answer, if it has the expected status.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}, body {:?}", String::from_utf8_lossy(&self.body));
        self
    }

    /// Whether the server says that it will close the connection.
    pub fn closes(&self) -> bool {
        self.all("Connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
    }

    /// What the contract promises of every answer.
    #[track_caller]
    fn check_promises(&self) {
        let date = self.required("Date");
        assert!(date.ends_with(" GMT") && httpdate::parse_http_date(date).is_ok(), "bad Date {date:?}");
        let id = self.required("X-Request-ID");
        assert!((1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()), "bad request ID {id:?}");
        assert!(self.all("Transfer-Encoding").is_empty(), "every answer has a known length: {self:?}");
        match self.status {
            204 => assert!(self.header("Content-Length").is_none(), "204 with a length: {self:?}"),
            304 => {}
            _ => assert!(self.header("Content-Length").is_some(), "no length: {self:?}"),
        }
    }
}

/// What becomes of a connection when one more answer is read from it.
#[derive(Debug)]
pub enum Next {
    /// An answer came.
    Answer(Answer),
    /// The server closed the connection before the first byte of another answer.
    Closed,
}

/// A connection over which a test says exactly the bytes that it wants to say.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl RawConnection {
    /// Connects.
    ///
    /// # Panics
    /// If the server does not accept.
    #[track_caller]
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects, or says why not.
    pub fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// A second handle for writing, for a thread that sends while this one reads.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a socket can be duplicated")
    }

    /// Sends all of `bytes`.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Sends `bytes` to a server that may have answered and closed already; false if it has.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Says that no more will be sent.
    pub fn finish_sending(&mut self) {
        // The server may have closed its side already; there is nothing to shut down then.
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Reads one answer to a request other than HEAD.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.expect_answer(false)
    }

    /// Reads one answer to a HEAD: there is a length and no body.
    #[track_caller]
    pub fn answer_to_head(&mut self) -> Answer {
        self.expect_answer(true)
    }

    /// Sends a request other than HEAD and reads its answer.
    #[track_caller]
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer()
    }

    /// Reads `HTTP/1.1 100 Continue`.
    #[track_caller]
    pub fn interim_continue(&mut self) {
        let head = self.head().unwrap_or_else(|| panic!("closed instead of 100 Continue"));
        assert!(head.starts_with("HTTP/1.1 100 "), "not 100 Continue: {head:?}");
    }

    /// Reads one answer, interim ones as well, and gives its status.
    #[track_caller]
    pub fn next_status(&mut self) -> u16 {
        let head = self.head().unwrap_or_else(|| panic!("closed instead of an answer"));
        if head.starts_with("HTTP/1.1 100 ") { 100 } else { self.rest_of(&head, false).status }
    }

    /// Reads one answer, or finds the connection closed.
    #[track_caller]
    pub fn next(&mut self) -> Next {
        self.head().map_or(Next::Closed, |head| Next::Answer(self.rest_of(&head, false)))
    }

    /// Finds the connection closed by the server, with nothing more to read.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        if let Next::Answer(answer) = self.next() {
            panic!("another answer instead of the end: {answer:?}");
        }
    }

    /// Finds the connection in order: one more request is answered.
    #[track_caller]
    pub fn assert_open(&mut self) {
        let answer = self.exchange("GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    #[track_caller]
    fn expect_answer(&mut self, to_head: bool) -> Answer {
        let head = self.head().unwrap_or_else(|| panic!("closed instead of an answer"));
        self.rest_of(&head, to_head)
    }

    /// The text of the next head up to and with its empty line; `None` if the connection ends before its first byte.
    #[track_caller]
    fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.unread.split_off(end + 4);
                let head = std::mem::replace(&mut self.unread, rest);
                return Some(String::from_utf8(head).unwrap_or_else(|error| panic!("head is not text: {error}")));
            }
            if !self.read_more() {
                assert!(self.unread.is_empty(), "ended within a head: {:?}", String::from_utf8_lossy(&self.unread));
                return None;
            }
        }
    }

    #[track_caller]
    fn rest_of(&mut self, head: &str, to_head: bool) -> Answer {
        let mut answer = parse_head(head);
        answer.check_promises();
        let length = match answer.status {
            204 | 304 => 0,
            _ if to_head => 0,
            _ => answer.required("Content-Length").parse().unwrap_or_else(|_| panic!("bad length: {answer:?}")),
        };
        while self.unread.len() < length {
            assert!(self.read_more(), "ended within a body: {answer:?}");
        }
        let rest = self.unread.split_off(length);
        answer.body = std::mem::replace(&mut self.unread, rest);
        answer.wire_bytes = head.len() + length;
        answer
    }

    /// Reads what there is; false at the end of the connection.
    #[track_caller]
    fn read_more(&mut self) -> bool {
        let mut buffer = [0_u8; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    self.unread.extend_from_slice(&buffer[..count]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return false;
                }
                Err(error) => {
                    panic!("no more within {PATIENCE:?} ({error}), so far {:?}", String::from_utf8_lossy(&self.unread))
                }
            }
        }
    }
}

#[track_caller]
fn parse_head(head: &str) -> Answer {
    let lines = head.strip_suffix("\r\n\r\n").expect("a head ends with an empty line");
    assert!(!lines.replace("\r\n", "").contains(['\r', '\n', '\0']), "stray control characters in {head:?}");
    let mut lines = lines.split("\r\n");
    let status = parse_status(lines.next().unwrap_or_default());
    let headers = lines.map(parse_field).collect();
    Answer { status, headers, body: Vec::new(), wire_bytes: 0 }
}

#[track_caller]
fn parse_status(line: &str) -> u16 {
    let rest = line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("bad status line {line:?}"));
    let (code, reason) = rest.split_once(' ').unwrap_or_else(|| panic!("bad status line {line:?}"));
    assert!(code.len() == 3 && !reason.is_empty(), "bad status line {line:?}");
    code.parse().unwrap_or_else(|_| panic!("bad status line {line:?}"))
}

#[track_caller]
fn parse_field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("field without colon: {line:?}"));
    assert!(!name.is_empty() && name.bytes().all(is_token_byte), "bad field name {name:?}");
    (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
