//! Where requests begin and end, to us and to the parser of a proxy: `kawa`, which Sōzu reads HTTP/1.1 with. It is
//! made of nom's combinators and has nothing in common with httparse.
//!
//! We may refuse what the proxy takes: then our connection ends, and nothing behind it is ever read. Where both of us
//! go on, both must have seen the same request, up to the same byte. What the proxy refuses and we take must be of a
//! kind that is listed here: see [`Stricter`].

use super::requests::{self, Request, Rest};
use cache_service::protocol::familiar::FamiliarHeads;
use cache_service::protocol::head;
use kawa::h1::NoCallbacks;
use kawa::{Block, Buffer, Kawa, Kind, ParsingPhase, SliceBuffer, StatusLine, Store, Version, h1};

pub fn run(data: &[u8]) {
    check_familiar(data);
    let (ours, rest) = requests::read(data);
    let mut proxy = Proxy::new(data);
    for request in &ours {
        match proxy.next() {
            Theirs::Request(theirs) => assert_eq!(Seen::of(request), theirs, "one request, seen by two"),
            Theirs::Refused => {
                let bytes = &data[request.starts_at..request.ends_at];
                let reason = Stricter::of(request, bytes);
                assert!(reason.is_some(), "the proxy refuses for an unknown reason: {}", bytes.escape_ascii());
                return;
            }
            Theirs::Incomplete => panic!("the proxy waits for more of {}", data.escape_ascii()),
        }
    }
    match (rest, proxy.next()) {
        // We are done with this connection, or the proxy is.
        (Rest::BadHead | Rest::BadBody, _) | (_, Theirs::Refused) => {}
        (Rest::Head | Rest::Body, Theirs::Incomplete) => {}
        (Rest::Head | Rest::Body, Theirs::Request(theirs)) => panic!("we wait for more of {theirs:?}"),
    }
}

/// What a core remembers of heads changes nothing in how it reads them.
fn check_familiar(data: &[u8]) {
    let mut heads = FamiliarHeads::default();
    for _ in 0..2 {
        let mut at = 0;
        while at < data.len() {
            let first = format!("{:?}", head::parse(&data[at..]));
            let again = heads.parse(&data[at..]);
            assert_eq!(format!("{again:?}"), first, "{}", data[at..].escape_ascii());
            match again {
                Ok(Some((_, len))) => at += len,
                _ => break,
            }
        }
    }
}

/// Why the proxy refuses a request that we take. None of these moves the end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stricter {
    /// Empty lines in front of the request line (RFC 9112, 2.2).
    EmptyLines,
    /// A chunk extension (RFC 9112, 7.1.1), which the proxy knows nothing of.
    ChunkExtension,
    /// Bytes from 0x80 to 0x9f in the value of a field or a trailer (obs-text: RFC 9110, 5.5): in UTF-8 they continue a
    /// character, and the proxy takes others above 0x7f.
    ObsText,
    /// A `Cookie` whose inside the proxy does not understand.
    Cookie,
}

impl Stricter {
    fn of(request: &Request<'_>, bytes: &[u8]) -> Option<Self> {
        let (head, framed) = bytes.split_at(request.body_at - request.starts_at);
        if head.starts_with(b"\r\n") {
            Some(Self::EmptyLines)
        } else if has_obs_text(head) || has_obs_text(trailers(request, framed)) {
            Some(Self::ObsText)
        } else if head.split(|&byte| byte == b'\n').any(|line| is_named(line, b"cookie:")) {
            Some(Self::Cookie)
        } else if request.head.body == head::BodyLength::Chunked && has_extension(framed) {
            Some(Self::ChunkExtension)
        } else {
            None
        }
    }
}

fn has_obs_text(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| (0x80..0xa0).contains(byte))
}

fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// What follows the last chunk of a chunked body.
fn trailers<'b>(request: &Request<'_>, framed: &'b [u8]) -> &'b [u8] {
    if request.head.body != head::BodyLength::Chunked {
        return &[];
    }
    let mut rest = framed;
    while let Some((size, _, behind)) = chunk(rest) {
        rest = behind;
        if size == 0 {
            break;
        }
    }
    rest
}

fn has_extension(mut framed: &[u8]) -> bool {
    while let Some((size, line, behind)) = chunk(framed) {
        if line.contains(&b';') {
            return true;
        }
        if size == 0 {
            break;
        }
        framed = behind;
    }
    false
}

/// The first chunk of a body that is known to be a good one: its size, its size line, and what follows it.
fn chunk(framed: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let end = memchr::memmem::find(framed, b"\r\n")?;
    let line = &framed[..end];
    let digits = line.split(|&byte| byte == b';').next()?;
    let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    let data = if size == 0 { 0 } else { size + 2 };
    Some((size, line, framed.get(end + 2 + data..)?))
}

/// What two readers of a request must agree on.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    line: Vec<u8>,
    fields: Vec<Vec<u8>>,
    body: Vec<u8>,
    ends_at: usize,
}

impl Seen {
    fn of(request: &Request<'_>) -> Self {
        let head = &request.head;
        let target = head.query.map_or_else(|| head.path.to_owned(), |query| format!("{}?{query}", head.path));
        let conditions = head.if_match.iter().chain(&head.if_none_match);
        Self {
            line: format!("{target} {}", u8::from(head.http11)).into_bytes(),
            fields: conditions.map(|value| value.to_vec()).collect(),
            body: request.body.clone(),
            ends_at: request.ends_at,
        }
    }
}

/// What the proxy makes of the bytes that follow.
enum Theirs {
    Request(Seen),
    Refused,
    Incomplete,
}

/// The proxy's parser, on a stream that is there as a whole.
struct Proxy {
    bytes: Vec<u8>,
    at: usize,
}

impl Proxy {
    fn new(data: &[u8]) -> Self {
        Self { bytes: data.to_vec(), at: 0 }
    }

    fn next(&mut self) -> Theirs {
        let starts_at = self.at;
        let rest = &mut self.bytes[starts_at..];
        let len = rest.len();
        let mut storage = Buffer::new(SliceBuffer(rest));
        storage.end = len;
        let mut kawa = Kawa::new(Kind::Request, storage);
        h1::parse(&mut kawa, &mut NoCallbacks);
        match kawa.parsing_phase {
            ParsingPhase::Terminated => {
                let seen = seen_by_proxy(&kawa, starts_at);
                self.at = seen.ends_at;
                Theirs::Request(seen)
            }
            ParsingPhase::Error { .. } => Theirs::Refused,
            _ => Theirs::Incomplete,
        }
    }
}

fn seen_by_proxy(kawa: &Kawa<SliceBuffer<'_>>, starts_at: usize) -> Seen {
    let buffer = kawa.storage.buffer();
    let text = |store: &Store| if store.is_empty() { Vec::new() } else { store.data(buffer).to_vec() };
    let StatusLine::Request { uri, version, .. } = &kawa.detached.status_line else {
        unreachable!("a whole request has a request line")
    };
    let mut line = text(uri);
    line.extend_from_slice(if matches!(version, Version::V11) { b" 1" } else { b" 0" });
    let (mut body, mut if_match, mut if_none_match, mut in_head) = (Vec::new(), Vec::new(), Vec::new(), true);
    for block in &kawa.blocks {
        match block {
            Block::Header(field) if in_head => match text(&field.key) {
                name if name.eq_ignore_ascii_case(b"if-match") => if_match.push(text(&field.val)),
                name if name.eq_ignore_ascii_case(b"if-none-match") => if_none_match.push(text(&field.val)),
                _ => {}
            },
            Block::Flags(flags) => in_head &= !flags.end_header,
            Block::Chunk(chunk) => body.extend(text(&chunk.data)),
            _ => {}
        }
    }
    if_match.append(&mut if_none_match);
    Seen { line, fields: if_match, body, ends_at: starts_at + kawa.storage.head }
}
