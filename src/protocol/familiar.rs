//! Heads whose fields are those of an earlier request, byte for byte: clients say the same about themselves each time, and
//! only the request line is another. What the fields mean follows from their bytes alone, so it is remembered.

use super::auth::Credentials;
use super::head::{self, BodyLength, FieldLines, Head, HeadError};
use super::media::accepts_raw;
use super::route::Method;
use super::target::{KV_PREFIX, plain_key};
use crate::limits::{FAMILIAR_BYTES_MAX, FAMILIAR_HEADS, HEAD_BYTES_MAX, KEY_CHARS_MAX};

/// Unfamiliar heads that are read before one of them takes the place of a familiar one: fields that are different in each
/// request, such as a request ID, are not worth remembering each time.
const PATIENCE: u32 = 8;

/// The fields that this core has seen lately. Whatever it remembers, it reads a head as [`head::parse`] does.
#[derive(Debug, Default)]
pub struct FamiliarHeads {
    /// The one that was met last comes first.
    known: Vec<Familiar>,
    unfamiliar: u32,
}

/// What a plain GET begins with.
pub const GET: &[u8] = b"GET ";
/// Where the key begins in a plain GET.
pub const PLAIN_KEY_AT: usize = GET.len() + KV_PREFIX.len();

const _: () = assert!(
    PLAIN_KEY_AT + KEY_CHARS_MAX + FAMILIAR_BYTES_MAX <= HEAD_BYTES_MAX,
    "a plain GET with familiar fields is never too long"
);

/// All that follows the target of a request, and what it means.
#[derive(Debug)]
struct Familiar {
    /// From the space before the version to the empty line, both included; but not what the token was.
    bytes: Vec<u8>,
    token: Option<Span>,
    http11: bool,
    keep_alive: bool,
    body: BodyLength,
    expect_continue: bool,
    request_id: Option<Span>,
    accept: Option<Span>,
    accept_encoding: Option<Span>,
    content_type: Option<Span>,
    /// Whether a GET with these fields asks for a value as most do: in JSON, over a connection of HTTP/1.1 that goes on.
    is_usual: bool,
}

/// A part of the remembered bytes: where it begins, and how long it is.
type Span = (usize, usize);

impl FamiliarHeads {
    /// Reads the head at the beginning of `buf`: see [`head::parse`].
    ///
    /// # Errors
    /// See [`head::parse`].
    pub fn parse<'b>(&mut self, buf: &'b [u8]) -> Result<Option<(Head<'b>, usize)>, HeadError> {
        let Some((method, target, rest)) = request_line(buf) else { return head::parse(buf) };
        if let Some(known) = self.recall(rest) {
            let len = buf.len() - rest.len() + known.bytes.len();
            if len <= HEAD_BYTES_MAX
                && let Ok((path, query)) = head::split_target(target)
            {
                return Ok(Some((known.head(method, path, query, rest), len)));
            }
        }
        let parsed = head::parse(buf)?;
        if let Some((head, len)) = &parsed {
            self.meet(head, &rest[..len - (buf.len() - rest.len())]);
        }
        Ok(parsed)
    }

    /// How long the fields are that `rest` begins with, if they are familiar and say no more than most do: no body, no name
    /// of its own, the value wanted in JSON; and who asks. With [`plain_line`] before them, [`FamiliarHeads::parse`] would have
    /// said the same; where this gives nothing, there may still be a head.
    pub fn plain_fields<'b>(&mut self, rest: &'b [u8]) -> Option<(usize, Credentials<'b>)> {
        let known = self.recall(rest).filter(|known| known.is_usual)?;
        Some((known.bytes.len(), known.credentials(rest)))
    }

    /// What is remembered of the fields that `rest` begins with.
    fn recall(&mut self, rest: &[u8]) -> Option<&Familiar> {
        let place = self.known.iter().position(|known| known.is_in(rest))?;
        if place > 0 {
            self.known[..=place].rotate_right(1);
        }
        self.known.first()
    }

    /// Remembers the fields of `head`, if it is their turn.
    fn meet(&mut self, head: &Head<'_>, bytes: &[u8]) {
        // There may be no end of heads that are never remembered.
        self.unfamiliar = self.unfamiliar.saturating_add(1);
        let has_room = self.known.len() < FAMILIAR_HEADS;
        if bytes.len() > FAMILIAR_BYTES_MAX || !(has_room || self.unfamiliar >= PATIENCE) {
            return;
        }
        if let Some(familiar) = Familiar::new(head, bytes) {
            self.unfamiliar = 0;
            if !has_room {
                self.known.pop();
            }
            self.known.insert(0, familiar);
        }
    }
}

/// The key of a GET without a query, and what follows it, if `buf` begins with one and the key stands there as it is.
#[must_use]
pub fn plain_line(buf: &[u8]) -> Option<(&[u8], &[u8])> {
    plain_key(buf.strip_prefix(GET)?.strip_prefix(KV_PREFIX.as_bytes())?)
}

/// The method, the target and what follows it, if `buf` begins as nearly all requests do.
fn request_line(buf: &[u8]) -> Option<(Method, &str, &[u8])> {
    let (method, rest) = match buf {
        [b'G', b'E', b'T', b' ', rest @ ..] => (Method::Get, rest),
        [b'P', b'U', b'T', b' ', rest @ ..] => (Method::Put, rest),
        [b'P', b'O', b'S', b'T', b' ', rest @ ..] => (Method::Post, rest),
        [b'D', b'E', b'L', b'E', b'T', b'E', b' ', rest @ ..] => (Method::Delete, rest),
        _ => return None,
    };
    let (target, rest) = rest.split_at(memchr::memchr(b' ', rest)?);
    Some((method, std::str::from_utf8(target).ok()?, rest))
}

impl Familiar {
    /// What `head` says apart from its request line, which `bytes` follow. Conditions are not worth remembering: they name
    /// a version.
    fn new(head: &Head<'_>, bytes: &[u8]) -> Option<Self> {
        let (token, secrets) = match head.credentials {
            Credentials::None => (None, 0),
            Credentials::Token(token) => (Some(span(bytes, token).filter(|_| is_visible(token))?), 1),
            Credentials::Malformed => return None,
        };
        // To compare what is secret with what others send takes a time that tells how much of it they have guessed. So the
        // token is left out, and where there is more, nothing is remembered.
        if secrets_in(bytes) != secrets || !head.if_match.is_empty() || !head.if_none_match.is_empty() {
            return None;
        }
        let mut kept = bytes.to_vec();
        if let Some((start, len)) = token {
            kept[start..start + len].fill(0);
        }
        let of_text = |text: Option<&str>| match text {
            None => Some(None),
            Some(text) => span(bytes, text.as_bytes()).map(Some),
        };
        Some(Self {
            is_usual: head.http11
                && head.keep_alive
                && (head.body, head.request_id) == (BodyLength::None, None)
                && !accepts_raw(head.accept),
            bytes: kept,
            token,
            http11: head.http11,
            keep_alive: head.keep_alive,
            body: head.body,
            expect_continue: head.expect_continue,
            request_id: of_text(head.request_id)?,
            accept: of_text(head.accept)?,
            accept_encoding: of_text(head.accept_encoding)?,
            content_type: of_text(head.content_type)?,
        })
    }

    /// Whether `rest` begins with these bytes, whatever its token is.
    fn is_in(&self, rest: &[u8]) -> bool {
        let Some(rest) = rest.get(..self.bytes.len()) else { return false };
        match self.token {
            None => rest == self.bytes,
            Some((start, len)) => {
                let end = start + len;
                rest[..start] == self.bytes[..start]
                    && rest[end..] == self.bytes[end..]
                    && is_visible(&rest[start..end])
            }
        }
    }

    /// What `rest`, which begins with these bytes, says of who asks.
    fn credentials<'b>(&self, rest: &'b [u8]) -> Credentials<'b> {
        self.token.map_or(Credentials::None, |(start, len)| Credentials::Token(&rest[start..start + len]))
    }

    /// The head whose line says this, and which goes on with `rest`.
    fn head<'b>(&self, method: Method, path: &'b str, query: Option<&'b str>, rest: &'b [u8]) -> Head<'b> {
        let bytes = |(start, len): Span| &rest[start..start + len];
        let text =
            |span: Span| std::str::from_utf8(bytes(span)).expect("these bytes were text when they were remembered");
        Head {
            method,
            path,
            query,
            http11: self.http11,
            keep_alive: self.keep_alive,
            body: self.body,
            expect_continue: self.expect_continue,
            request_id: self.request_id.map(text),
            credentials: self.credentials(rest),
            if_match: FieldLines::new(),
            if_none_match: FieldLines::new(),
            accept: self.accept.map(text),
            accept_encoding: self.accept_encoding.map(text),
            content_type: self.content_type.map(text),
        }
    }
}

/// Whether these bytes cannot end a line, a word or a list.
fn is_visible(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |all, byte| all & byte.is_ascii_graphic() & (*byte != b','))
}

/// How many fields there are that can hold a secret.
fn secrets_in(bytes: &[u8]) -> usize {
    const NAMES: [&[u8]; 4] = [b"x-api-token:", b"authorization:", b"proxy-authorization:", b"cookie:"];
    let is_secret = |line: &[u8]| {
        NAMES.iter().any(|name| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
    };
    bytes.split(|byte| *byte == b'\n').filter(|line| is_secret(line)).count()
}

/// Where `part` lies in `whole`, if it does; a head may also say something that stands nowhere.
fn span(whole: &[u8], part: &[u8]) -> Option<Span> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (start + part.len() <= whole.len()).then_some((start, part.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng as _, RngExt as _, SeedableRng as _};

    /// Lines that heads are put together from; some make a head that is refused.
    const FIELDS: [&str; 20] = [
        "Host: h\r\n",
        "Host: h\r\n",
        "Host: h\r\n",
        "Host: h\r\n",
        "Accept: */*\r\n",
        "Accept: application/octet-stream\r\n",
        "X-API-Token: token-1\r\n",
        "X-API-Token: tok\0n-1\r\n",
        "X-API-Token: token 1\r\n",
        "x-api-token: t,ken-1\r\n",
        "Cookie: a=b\r\n",
        "Authorization: Bearer token-2\r\n",
        "Authorization: Basic x\r\n",
        "X-Request-ID: abc\r\n",
        "Content-Type: application/json\r\n",
        "Content-Length: 3\r\n",
        "Connection: close\r\n",
        "If-None-Match: \"1\"\r\n",
        "Accept-Encoding: gzip\r\n",
        "X: \n\r\n",
    ];
    const LINES: [&str; 12] = [
        "GET /v1/kv/a HTTP/1.1\r\n",
        "GET /v1/kv/b?raw=true HTTP/1.1\r\n",
        "GET /v1/kv/a HTTP/1.0\r\n",
        "GET /v1/kv/\u{e4} HTTP/1.1\r\n",
        "GET /v1/kv/# HTTP/1.1\r\n",
        "GET x HTTP/1.1\r\n",
        "GET  HTTP/1.1\r\n",
        "PUT /v1/kv/a HTTP/1.1\r\n",
        "POST /v1/kv/batch/get HTTP/1.1\r\n",
        "DELETE /v1/kv/a HTTP/1.1\r\n",
        "HEAD /v1/kv/a HTTP/1.1\r\n",
        "\r\nGET /v1/kv/a HTTP/1.1\r\n",
    ];

    fn outcome(parsed: &Result<Option<(Head<'_>, usize)>, HeadError>) -> String {
        format!("{parsed:?}")
    }

    #[test]
    fn whatever_is_remembered_heads_are_read_as_if_for_the_first_time() {
        let fresh = || getrandom::u64().expect("the kernel gives random numbers");
        let seed = std::env::var("SEED").map_or_else(|_| fresh(), |seed| seed.parse().expect("a number"));
        println!("SEED={seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let mut heads = FamiliarHeads::default();
        let mut blocks: Vec<String> = Vec::new();
        for _ in 0..20_000 {
            if blocks.len() < 2 || random.random_ratio(1, 20) {
                let count = random.random_range(0..5);
                blocks.push((0..count).map(|_| FIELDS[random.random_range(0..FIELDS.len())]).collect());
            }
            // Mostly one of the last few, so that they become familiar.
            let block = &blocks[blocks.len() - 1 - random.random_range(0..blocks.len().min(6))];
            let line = LINES[random.random_range(0..LINES.len())];
            let mut bytes = format!("{line}{block}\r\nGET /next").into_bytes();
            match random.next_u32() % 8 {
                0 => bytes.truncate(random.random_range(0..bytes.len())),
                1 => {
                    let place = random.random_range(0..bytes.len());
                    bytes[place] = random.random();
                }
                _ => {}
            }
            assert_eq!(
                outcome(&heads.parse(&bytes)),
                outcome(&head::parse(&bytes)),
                "{:?}",
                bytes.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn a_head_that_comes_again_is_remembered() {
        let mut heads = FamiliarHeads::default();
        for key in 0..3 {
            let text = format!("GET /v1/kv/{key} HTTP/1.1\r\nHost: h\r\nAccept: a/b\r\n\r\n");
            let (head, len) = heads.parse(text.as_bytes()).expect("a head").expect("a whole one");
            assert_eq!((head.accept, len), (Some("a/b"), text.len()));
        }
        assert_eq!(heads.known.len(), 1);
        assert_eq!(heads.unfamiliar, 0);
    }

    #[test]
    fn a_token_is_not_remembered_and_another_one_is_taken_for_what_it_is() {
        let mut heads = FamiliarHeads::default();
        let text = |token: &str| format!("GET /a HTTP/1.1\r\nHost: h\r\nX-API-Token: {token}\r\n\r\n");
        let (first, other) = (text("secret-1"), text("guess--2"));
        assert!(heads.parse(first.as_bytes()).is_ok());
        assert_eq!(memchr::memmem::find(&heads.known[0].bytes, b"secret"), None);
        let (head, _) = heads.parse(other.as_bytes()).expect("a head").expect("a whole one");
        assert_eq!((head.credentials, heads.unfamiliar), (Credentials::Token(b"guess--2"), 0));
        for two_secrets in ["a\r\nCookie: b", "a\r\nAuthorization: Bearer b"] {
            let mut heads = FamiliarHeads::default();
            assert!(heads.parse(text(two_secrets).as_bytes()).is_ok());
            assert!(heads.known.is_empty(), "{two_secrets}");
        }
        for not_a_token in ["a\r\nB: cd", "abc defg", "abc\tdefg", "a\r\n\r\nbcd"] {
            let text = text(not_a_token);
            assert_eq!(outcome(&heads.parse(text.as_bytes())), outcome(&head::parse(text.as_bytes())));
        }
    }

    #[test]
    fn heads_that_are_never_remembered_may_come_for_ever() {
        let mut heads = FamiliarHeads { known: Vec::new(), unfamiliar: u32::MAX };
        assert!(heads.parse(b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: a=b\r\n\r\n").is_ok());
        assert!(heads.known.is_empty());
    }

    #[test]
    fn who_was_met_longest_ago_makes_room() {
        let mut heads = FamiliarHeads::default();
        let of_host = |name: &str| format!(" HTTP/1.1\r\nHost: {name}\r\n\r\n").into_bytes();
        let mut meet = |name: &str| {
            assert!(heads.parse(&[b"GET /a".to_vec(), of_host(name)].concat()).is_ok());
            heads.known.iter().position(|known| known.bytes == of_host(name))
        };
        for name in ["a", "b", "c", "d", "a"] {
            assert_eq!(meet(name), Some(0));
        }
        let strangers = (0..PATIENCE).map(|number| meet(&format!("stranger-{number}")));
        assert_eq!(strangers.filter(Option::is_some).count(), 1);
        let is_known = |name: &str| heads.known.iter().any(|known| known.bytes == of_host(name));
        assert_eq!(["a", "d", "c", "b"].map(is_known), [true, true, true, false]);
    }

    #[test]
    fn every_byte_of_a_target_is_read_as_if_for_the_first_time() {
        let mut heads = FamiliarHeads::default();
        let text = |byte: u8| [b"GET /".as_slice(), &[byte], b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
        assert!(heads.parse(&text(b'a')).is_ok());
        for bytes in (0..=u8::MAX).map(text) {
            assert_eq!(outcome(&heads.parse(&bytes)), outcome(&head::parse(&bytes)), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_longest_head_is_refused_however_familiar_its_fields_are() {
        let mut heads = FamiliarHeads::default();
        let fields = " HTTP/1.1\r\nHost: h\r\n\r\n";
        assert!(heads.parse(format!("GET /a{fields}").as_bytes()).is_ok());
        let text = format!("GET /{}{fields}", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(outcome(&heads.parse(text.as_bytes())), outcome(&head::parse(text.as_bytes())));
    }
}
