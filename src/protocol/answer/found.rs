//! Answers with a value, at once or as its bytes come.

use super::outcome::push_validators;
use super::{AnswerHead, JSON, RFC3339_CHARS, begin, end, push_number, rfc3339};
use crate::command::{Expires, Meta, Value, ValueKind, Version};
use crate::protocol::conditions::{VERSION_CHARS, hex};
use crate::protocol::json::text::Unescaper;
use crate::time::UnixMillis;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How a reader wants a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As `{"value":…,"type":…,"version":…}`.
    Json {
        /// With times.
        include_meta: bool,
    },
    /// The value alone.
    Raw,
}

/// An entry that was found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// What is known of it.
    pub meta: &'a Meta,
    /// The media type of a [`ValueKind::Bytes`], else empty.
    pub media: &'a [u8],
    /// The value.
    pub value: &'a Value<&'a [u8]>,
}

/// How stored bytes become those on the wire.
#[derive(Clone, Copy, Debug)]
enum Encoder {
    Plain,
    /// In quotes.
    Base64(Held),
    /// The inside of a JSON string.
    Unescape(Unescaper),
}

/// Up to two bytes that are held back, for three become four characters.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    bytes: [u8; 3],
    len: usize,
}

impl Held {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Takes as many of `bytes` as make three; returns the others.
    fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (now, rest) = bytes.split_at(bytes.len().min(self.bytes.len() - self.len));
        self.bytes[self.len..self.len + now.len()].copy_from_slice(now);
        self.len += now.len();
        rest
    }
}

impl Encoder {
    const fn of(kind: ValueKind, form: Form) -> Self {
        match (kind, form) {
            (ValueKind::Bytes, Form::Json { .. }) => Self::Base64(Held { bytes: [0; 3], len: 0 }),
            (ValueKind::String, Form::Raw) => Self::Unescape(Unescaper::new()),
            _ => Self::Plain,
        }
    }

    /// How many bytes it makes of the value.
    fn len(&self, meta: &Meta) -> u64 {
        match self {
            Self::Plain => meta.len,
            Self::Base64(_) => 2 + meta.len.div_ceil(3) * 4,
            Self::Unescape(_) => meta.raw_len,
        }
    }

    fn begin(&self, out: &mut Vec<u8>) {
        if matches!(self, Self::Base64(_)) {
            out.push(b'"');
        }
    }

    fn encode(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Plain => out.extend_from_slice(bytes),
            Self::Unescape(unescaper) => unescaper.feed(bytes, |part| out.extend_from_slice(part)),
            Self::Base64(held) => {
                if held.len > 0 {
                    bytes = held.fill(bytes);
                    if held.len == 3 {
                        push_base64(out, held.bytes());
                        held.len = 0;
                    }
                }
                let (now, rest) = bytes.split_at(bytes.len() - bytes.len() % 3);
                push_base64(out, now);
                held.fill(rest);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Plain => {}
            Self::Unescape(unescaper) => unescaper.finish(|part| out.extend_from_slice(part)),
            Self::Base64(held) => {
                push_base64(out, held.bytes());
                out.push(b'"');
            }
        }
    }
}

/// Appends the base64 text (RFC 4648, 4, padded) of `bytes`.
fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    assert_eq!(written.ok(), Some(out.len() - start), "the room was made to measure");
}

/// What is still to be sent of an answer whose head is written: the value, piece by piece, and what follows it.
#[derive(Debug)]
pub struct Tail {
    encoder: Encoder,
    /// Bytes of the value, as it is stored, that are still to come.
    left: u64,
    suffix: Option<Suffix>,
}

impl Tail {
    /// Bytes of the value, as it is stored, that are still to come.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.left
    }

    /// Whether the value goes out as it is stored.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self.encoder, Encoder::Plain)
    }

    /// Takes note that the next `len` bytes of the value went out as they are stored.
    ///
    /// # Panics
    /// If the value has not so many more, or does not go out as it is stored.
    pub const fn skip(&mut self, len: u64) {
        assert!(self.is_plain() && len <= self.left, "a value is as long as its description says");
        self.left -= len;
    }

    /// Appends what `chunk`, the next bytes of the value as it is stored, becomes on the wire.
    ///
    /// # Panics
    /// If these are more bytes than the value has: the peer would take the rest for the next answer.
    pub fn encode_slice(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        assert!(chunk.len() as u64 <= self.left, "a value is as long as its description says");
        self.left -= chunk.len() as u64;
        self.encoder.encode(chunk, out);
    }

    /// Appends what follows the value.
    ///
    /// # Panics
    /// If bytes of the value are missing.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        assert!(self.left == 0, "a value is as long as its description says");
        self.encoder.finish(out);
        if let Some(suffix) = self.suffix {
            suffix.write(out);
        }
    }
}

/// What is written of one value: its encoded bytes, and what follows them.
pub(super) struct Body {
    encoder: Encoder,
    suffix: Option<Suffix>,
}

impl Body {
    /// The value within a JSON object, which ends behind it.
    pub fn json(meta: &Meta, include_meta: bool) -> Self {
        let encoder = Encoder::of(meta.kind, Form::Json { include_meta });
        Self { encoder, suffix: Some(Suffix::new(meta, include_meta)) }
    }

    fn raw(meta: &Meta) -> Self {
        Self { encoder: Encoder::of(meta.kind, Form::Raw), suffix: None }
    }

    /// How many bytes it has.
    pub fn len(&self, meta: &Meta) -> u64 {
        self.encoder.len(meta) + self.suffix.as_ref().map_or(0, Suffix::len)
    }

    /// Appends it, or as much as is there.
    pub fn write(mut self, out: &mut Vec<u8>, meta: &Meta, value: &Value<&[u8]>) -> Option<Tail> {
        let (start, len) = (out.len() as u64, self.len(meta));
        self.encoder.begin(out);
        match value {
            Value::Leased(_) => Some(Tail { encoder: self.encoder, left: meta.len, suffix: self.suffix }),
            Value::Inline(bytes) => {
                self.encoder.encode(bytes, out);
                self.encoder.finish(out);
                if let Some(suffix) = self.suffix {
                    suffix.write(out);
                }
                assert_eq!(out.len() as u64 - start, len, "a value is as long as its description says");
                None
            }
            Value::Omitted => panic!("a body cannot be written from a value that was not asked for"),
        }
    }
}

/// What follows a value in JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suffix {
    kind: ValueKind,
    version: Version,
    times: Option<Times>,
}

/// The times of an entry, for who has asked for them.
#[derive(Clone, Copy, Debug)]
struct Times {
    created_at: UnixMillis,
    updated_at: UnixMillis,
    expires: Option<Expires>,
}

macro_rules! types {
    ($kind:expr, $($known:ident $name:literal),+) => {
        match $kind {
            $(ValueKind::$known => concat!(",\"type\":\"", $name, "\",\"version\":\"0123456789abcdef\"}").as_bytes(),)+
        }
    };
}

/// The type of a value, room for its version, and the end of the object.
const fn type_and_version(kind: ValueKind) -> &'static [u8] {
    types!(kind, String "string", Number "number", Boolean "boolean", Json "json", Bytes "bytes")
}

const CREATED_AT: &[u8] = b",\"createdAt\":\"";
const UPDATED_AT: &[u8] = b"\",\"updatedAt\":\"";
const EXPIRES_AT: &[u8] = b",\"expiresAt\":\"";
const TTL_SEC: &[u8] = b"\",\"ttlSec\":";

impl Suffix {
    fn new(meta: &Meta, include_meta: bool) -> Self {
        let &Meta { kind, version, created_at, updated_at, expires, .. } = meta;
        Self { kind, version, times: include_meta.then_some(Times { created_at, updated_at, expires }) }
    }

    /// Without times.
    pub const fn plain(kind: ValueKind, version: Version) -> Self {
        Self { kind, version, times: None }
    }

    pub fn len(&self) -> u64 {
        let of_times = self.times.as_ref().map_or(0, Times::len);
        (type_and_version(self.kind).len() + of_times) as u64
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(out, &hex(self.version.0));
    }

    /// The same with the digits of the version.
    pub fn write_with(&self, out: &mut Vec<u8>, version: &[u8; VERSION_CHARS]) {
        out.extend_from_slice(type_and_version(self.kind));
        let version_at = out.len() - VERSION_CHARS - b"\"}".len();
        out[version_at..version_at + VERSION_CHARS].copy_from_slice(version);
        if let Some(times) = &self.times {
            out.truncate(out.len() - 1);
            times.write(out);
            out.push(b'}');
        }
    }
}

impl Times {
    fn len(&self) -> usize {
        let of_expiry = self
            .expires
            .map_or(0, |expires| EXPIRES_AT.len() + RFC3339_CHARS + TTL_SEC.len() + decimal_digits(expires.ttl_secs));
        CREATED_AT.len() + UPDATED_AT.len() + 2 * RFC3339_CHARS + 1 + of_expiry
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(CREATED_AT);
        out.extend_from_slice(&rfc3339(self.created_at));
        out.extend_from_slice(UPDATED_AT);
        out.extend_from_slice(&rfc3339(self.updated_at));
        out.push(b'"');
        if let Some(expires) = self.expires {
            out.extend_from_slice(EXPIRES_AT);
            out.extend_from_slice(&rfc3339(expires.at));
            out.extend_from_slice(TTL_SEC);
            push_number(out, expires.ttl_secs);
        }
    }
}

/// How many digits [`push_number`] writes.
fn decimal_digits(number: u32) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Answers to a read: 200 with the value. If the value has to be read piece by piece, returns how to go on.
///
/// # Panics
/// If the value was not asked for though a body is to be written, or is not as long as its description says.
pub fn found(out: &mut Vec<u8>, head: &AnswerHead<'_>, found: &Found<'_>, form: Form) -> Option<Tail> {
    let meta = found.meta;
    begin(out, head, 200);
    push_validators(out, meta.version);
    let (prefix, body): (&[u8], Body) = match form {
        Form::Json { include_meta } => {
            out.extend_from_slice(JSON);
            (b"{\"value\":", Body::json(meta, include_meta))
        }
        Form::Raw => {
            push_raw_type(out, meta.kind, found.media);
            (b"", Body::raw(meta))
        }
    };
    end(out, prefix.len() as u64 + body.len(meta));
    if head.head_only {
        return None;
    }
    out.extend_from_slice(prefix);
    body.write(out, meta, found.value)
}

/// A stored page that a browser opens must not act in the name of this origin, where `/docs` may hold a token.
const SANDBOX: &[u8] = b"\r\nContent-Security-Policy: default-src 'none'; sandbox";

/// The media type was checked where it came in: [`crate::protocol::media::media_type`].
fn push_raw_type(out: &mut Vec<u8>, kind: ValueKind, media: &[u8]) {
    match kind {
        ValueKind::Bytes => {
            out.extend_from_slice(b"\r\nContent-Type: ");
            out.extend_from_slice(if media.is_empty() { b"application/octet-stream" } else { media });
            out.extend_from_slice(SANDBOX);
        }
        ValueKind::String => out.extend_from_slice(b"\r\nContent-Type: text/plain; charset=utf-8"),
        ValueKind::Number | ValueKind::Boolean | ValueKind::Json => out.extend_from_slice(JSON),
    }
    out.extend_from_slice(b"\r\nX-Content-Type-Options: nosniff");
}
