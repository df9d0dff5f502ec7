//! The head of a request: parsed in place, without a copy, and stricter than most.
//!
//! Whatever two implementations could read differently is refused, so that a proxy in front of us and we never
//! disagree on where a request ends or what it asks for.

use super::auth::Credentials;
use super::fields::Fields;
use super::route::Method;
use crate::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};
use smallvec::SmallVec;
use std::mem::MaybeUninit;

/// The lines of a field that may come in several, in order.
pub type FieldLines<'b> = SmallVec<[&'b [u8]; 2]>;

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body, or one of no bytes.
    None,
    /// This many bytes, at least 1.
    Length(u64),
    /// By [`super::chunked`].
    Chunked,
}

/// What a request's head says. Borrows from the buffer that it was parsed in.
///
/// Values are compared as bytes. Where a field is given out as text and its bytes are not UTF-8, it counts as absent,
/// and its neighbours are not touched by that; only `content_type` is then `Some("")`, see there.
#[derive(Clone, Debug)]
pub struct Head<'b> {
    /// What is to be done.
    pub method: Method,
    /// The target up to `?`: begins with `/`, visible ASCII, still percent-encoded.
    pub path: &'b str,
    /// The target after `?`.
    pub query: Option<&'b str>,
    /// HTTP/1.1, or else 1.0.
    pub http11: bool,
    /// Whether the peer wants to go on with this connection.
    pub keep_alive: bool,
    /// How long the body is.
    pub body: BodyLength,
    /// Whether the peer waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The peer's request ID, if it is 1 to 128 visible ASCII characters; the first if it sent several.
    pub request_id: Option<&'b str>,
    /// What the peer knows.
    pub credentials: Credentials<'b>,
    /// The lines of `If-Match`.
    pub if_match: FieldLines<'b>,
    /// The lines of `If-None-Match`.
    pub if_none_match: FieldLines<'b>,
    /// The first line of `Accept`.
    pub accept: Option<&'b str>,
    /// The first line of `Accept-Encoding`.
    pub accept_encoding: Option<&'b str>,
    /// `Content-Type`. `Some("")`, which is no media type, if it came twice or is not UTF-8: a body must not pass for
    /// JSON only because the statement about it cannot be read.
    pub content_type: Option<&'b str>,
}

/// Why a head was refused. The connection is out of step after it and must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The bytes are no request line followed by header fields.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The length of the body could be read in more than one way.
    #[error("ambiguous body length: {0}")]
    Framing(&'static str),
    /// `Host` is missing, repeated or invalid.
    #[error("invalid Host: {0}")]
    Host(&'static str),
    /// The target is not an absolute path of visible ASCII.
    #[error("invalid request target: {0}")]
    Target(&'static str),
    /// More than [`HEAD_BYTES_MAX`] bytes or [`HEAD_FIELDS_MAX`] fields.
    #[error("request head too large: {0}")]
    TooLarge(&'static str),
}

impl HeadError {
    /// The status to answer with: 400 or 431.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TooLarge(_) => 431,
            _ => 400,
        }
    }
}

/// Parses the head at the beginning of `buf`: `None` if more bytes are needed, else the head and how many bytes it
/// took, empty lines in front of it included. Allocates nothing, unless a peer sends three lines of one condition.
///
/// # Errors
/// See [`HeadError`]. A head that no further byte can save is refused before it is complete.
pub fn parse(buf: &[u8]) -> Result<Option<(Head<'_>, usize)>, HeadError> {
    let window = &buf[..buf.len().min(HEAD_BYTES_MAX)];
    let mut room = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; HEAD_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(window, &mut room).map_err(refusal)? {
        httparse::Status::Complete(len) => {
            refuse_bare_line_feed(&window[..len])?;
            head_of(&request).map(|head| Some((head, len)))
        }
        httparse::Status::Partial => {
            refuse_bare_line_feed(window)?;
            match window.len() {
                HEAD_BYTES_MAX => Err(HeadError::TooLarge("more than 16 KiB")),
                _ => Ok(None),
            }
        }
    }
}

fn refusal(error: httparse::Error) -> HeadError {
    use httparse::Error as E;
    match error {
        E::HeaderName => HeadError::Malformed("invalid character in a field name, or a folded line"),
        E::HeaderValue => HeadError::Malformed("control character in a field value"),
        E::NewLine => HeadError::Malformed("a line must end with CR LF"),
        E::Token => HeadError::Malformed("invalid character in the request line"),
        E::TooManyHeaders => HeadError::TooLarge("more than 64 fields"),
        E::Version => HeadError::Malformed("only HTTP/1.1 and HTTP/1.0 are spoken here"),
        E::Status => HeadError::Malformed("not a request"),
    }
}

/// httparse takes a line feed alone for the end of a line; not every proxy does. (It refuses a carriage return alone.)
fn refuse_bare_line_feed(bytes: &[u8]) -> Result<(), HeadError> {
    let pairs = bytes.iter().zip(bytes.get(1..).unwrap_or_default());
    // No early exit, so that the compiler makes vector instructions of it.
    let is_inside = pairs.fold(false, |found, (&before, &byte)| found | ((byte == b'\n') & (before != b'\r')));
    if is_inside || bytes.first() == Some(&b'\n') {
        return Err(HeadError::Malformed("a line must end with CR LF"));
    }
    Ok(())
}

fn head_of<'b>(request: &httparse::Request<'_, 'b>) -> Result<Head<'b>, HeadError> {
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(HeadError::Malformed("incomplete request line"));
    };
    let http11 = minor == 1;
    let (path, query) = split_target(target)?;
    let mut fields = Fields::default();
    for header in request.headers.iter() {
        fields.add(header.name, header.value)?;
    }
    fields.check_host(http11)?;
    Ok(Head {
        method: Method::from_name(method),
        path,
        query,
        http11,
        keep_alive: fields.keep_alive(http11),
        body: fields.body_length(http11)?,
        expect_continue: http11 && fields.expect_continue,
        request_id: fields.request_id,
        credentials: fields.credentials(),
        if_match: fields.if_match,
        if_none_match: fields.if_none_match,
        accept: fields.accept,
        accept_encoding: fields.accept_encoding,
        content_type: fields.content_type,
    })
}

/// A byte that no target of ours has.
const FOREIGN: u8 = 1;
/// What a query begins with.
const QUESTION: u8 = 2;

/// What each byte is in a target.
static CLASSES: [u8; 256] = {
    let mut classes = [FOREIGN; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        classes[byte as usize] = match byte {
            b'#' => FOREIGN,
            b'?' => QUESTION,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

pub(super) fn split_target(target: &str) -> Result<(&str, Option<&str>), HeadError> {
    if !target.starts_with('/') {
        return Err(HeadError::Target("it must begin with a slash"));
    }
    let found = target.bytes().fold(0, |found, byte| found | CLASSES[usize::from(byte)]);
    if found & FOREIGN != 0 {
        return Err(HeadError::Target("only visible ASCII characters without # are allowed"));
    }
    Ok(match found & QUESTION {
        0 => (target, None),
        _ => target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<Head<'_>, HeadError> {
        let parsed = parse(text.as_bytes())?;
        let (head, len) = parsed.expect("complete");
        assert_eq!(len, text.len());
        Ok(head)
    }

    /// A GET of HTTP/1.1 with a Host and these further field lines.
    fn with(fields: &str) -> String {
        format!("GET /v1/kv/a HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
    }

    #[test]
    fn everything_that_a_head_says_is_read() {
        let text = "PUT /v1/kv/a%2Fb?ttlSec=3&x HTTP/1.1\r\nhost: example.com:8080\r\nContent-LENGTH: 12\r\n\
            X-Request-ID: abc-1\r\nAuthorization: bearer  tok\r\nIf-Match: \"1\"\r\nif-match: 2\r\nAccept: */*\r\n\
            Accept-Encoding: gzip\r\nContent-Type: text/plain\r\nExpect: 100-Continue\r\nIf-None-Match: *\r\n\r\n";
        let head = whole(text).unwrap();
        assert_eq!((head.method, head.path, head.query), (Method::Put, "/v1/kv/a%2Fb", Some("ttlSec=3&x")));
        assert!(head.http11 && head.keep_alive && head.expect_continue);
        assert_eq!(head.body, BodyLength::Length(12));
        assert_eq!(head.request_id, Some("abc-1"));
        assert_eq!(head.credentials, Credentials::Token(b"tok"));
        assert_eq!(head.if_match.as_slice(), [b"\"1\"".as_slice(), b"2"]);
        assert_eq!(head.if_none_match.as_slice(), [b"*"]);
        assert_eq!((head.accept, head.accept_encoding), (Some("*/*"), Some("gzip")));
        assert_eq!(head.content_type, Some("text/plain"));
    }

    #[test]
    fn every_part_of_a_head_is_incomplete_and_the_rest_is_left_alone() {
        let text = "\r\n\r\nPOST /x HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: Chunked\r\n\r\n";
        for end in 0..text.len() {
            assert!(parse(&text.as_bytes()[..end]).unwrap().is_none(), "at {end}");
        }
        let more = format!("{text}GET / HTTP");
        let (head, len) = parse(more.as_bytes()).unwrap().unwrap();
        assert_eq!((head.body, len), (BodyLength::Chunked, text.len()));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let fields = [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 01\r\n",
            "Content-Length: 1 1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Content-Length : 1\r\n",
            "Content-Length\t: 1\r\n",
            " Content-Length: 1\r\n",
            "A: b\r\n c\r\n",
            "A: b\n",
            "A: b\rC: d\r\n",
            "A: b\r\r\n",
            "A: b\0c\r\n",
            "A: b\x01\r\n",
            "A: b\x7f\r\n",
            "A\r\n",
            ": b\r\n",
            "A b: c\r\n",
            "Host: h\r\n",
            "Host: other\r\n",
        ];
        for field in fields {
            let text = with(field);
            assert_eq!(parse(text.as_bytes()).map_err(HeadError::status).err(), Some(400), "{field:?}");
        }
    }

    #[test]
    fn request_lines_that_are_not_ours_are_refused() {
        let lines = [
            "GET http://h/v1/kv/a HTTP/1.1",
            "CONNECT h:80 HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET v1/kv/a HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET /é HTTP/1.1",
            "GET /a HTTP/1.2",
            "GET /a HTTP/2.0",
            "GET /a HTTP/0.9",
            "GET /a http/1.1",
            "GET /a",
            "GET  /a HTTP/1.1",
            "GET /a  HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET\t/a HTTP/1.1",
            " GET /a HTTP/1.1",
            "G(T /a HTTP/1.1",
            "GET /a\x7f HTTP/1.1",
            "GET /a HTTP/1.1 ",
        ];
        for line in lines {
            let text = format!("{line}\r\nHost: h\r\n\r\n");
            assert_eq!(parse(text.as_bytes()).map_err(HeadError::status).err(), Some(400), "{line:?}");
        }
        assert!(parse(b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").is_err());
    }

    #[test]
    fn host_must_be_there_once_and_be_a_host() {
        for host in ["", "Host:\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: u@h\r\n", "Host: h:x\r\n"] {
            let text = format!("GET / HTTP/1.1\r\n{host}\r\n");
            assert!(matches!(parse(text.as_bytes()), Err(HeadError::Host(_))), "{host:?}");
        }
        for host in ["Host: [::1\r\n", "Host: h, g\r\n", "Host: h:80:80\r\n", "Host: \u{fc}\r\n", "Host: :80\r\n"] {
            let text = format!("GET / HTTP/1.1\r\n{host}\r\n");
            assert!(matches!(parse(text.as_bytes()), Err(HeadError::Host(_))), "{host:?}");
        }
        for host in ["localhost", "10.0.0.1:8080", "[fe80::1]", "cache_1.svc", "h:"] {
            let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert!(whole(&text).is_ok(), "{host:?}");
        }
        assert!(whole("GET / HTTP/1.0\r\n\r\n").is_ok());
        assert!(parse(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n").is_err());
    }

    #[test]
    fn connections_persist_as_asked() {
        let cases = [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: foo, Close ,bar\r\n", false),
            ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ];
        for (version, fields, expected) in cases {
            let text = format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
            assert_eq!(whole(&text).unwrap().keep_alive, expected, "{version} {fields:?}");
        }
    }

    #[test]
    fn old_http_knows_neither_chunks_nor_continue() {
        assert!(parse(b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        let text = "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
        assert!(!whole(text).unwrap().expect_continue);
    }

    #[test]
    fn a_head_is_bounded_in_bytes_and_fields() {
        let fields = |n: usize| with(&"A: b\r\n".repeat(n));
        assert!(whole(&fields(HEAD_FIELDS_MAX - 1)).is_ok());
        assert_eq!(parse(fields(HEAD_FIELDS_MAX).as_bytes()).unwrap_err().status(), 431);
        let padded = |n: usize| with(&format!("A: {}\r\n", "x".repeat(n)));
        let spare = HEAD_BYTES_MAX - padded(0).len();
        assert!(whole(&padded(spare)).is_ok());
        assert_eq!(parse(padded(spare + 1).as_bytes()).unwrap_err().status(), 431);
        let endless = format!("GET /{}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(parse(endless.as_bytes()).unwrap_err().status(), 431);
        assert!(parse(&endless.as_bytes()[..HEAD_BYTES_MAX - 1]).unwrap().is_none());
    }

    #[test]
    fn hopeless_beginnings_are_refused_at_once() {
        for bytes in [b"\x16\x03\x01".as_slice(), b"\x16", b"\0", b"{\"", b"GET / HTTP/2", b"GET / HTTP/1.1\n"] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn an_unreadable_value_harms_only_itself() {
        let mut text = with("").into_bytes();
        text.truncate(text.len() - 2);
        text.extend_from_slice(b"Accept: \xff\r\nX-Request-ID: \xff\r\nContent-Type: \xff\r\nX-API-Token: \xff\r\n");
        text.extend_from_slice(b"Content-Length: 3\r\n\r\n");
        let (head, _) = parse(&text).unwrap().unwrap();
        assert_eq!((head.accept, head.request_id, head.content_type), (None, None, Some("")));
        assert_eq!(head.credentials, Credentials::Token(b"\xff"));
        assert_eq!(head.body, BodyLength::Length(3));
        let text = with("Content-Type: application/json\r\nContent-Type: image/png\r\n");
        assert_eq!(whole(&text).unwrap().content_type, Some(""));
    }

    #[test]
    fn request_ids_are_taken_only_if_they_are_harmless() {
        let of = |id: &str| {
            let text = with(&format!("X-Request-ID: {id}\r\n"));
            whole(&text).unwrap().request_id.map(str::to_owned)
        };
        assert_eq!(of("a-1~"), Some("a-1~".to_owned()));
        assert_eq!(of(&"x".repeat(128)), Some("x".repeat(128)));
        for bad in ["", "a b", "é", &"x".repeat(129)] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }
}
