//! Answers with a value, at once or as its bytes come.

use super::outcome::push_validators;
use super::{AnswerHead, JSON, begin, end, push_number, rfc3339};
use crate::command::{Meta, Value, ValueKind};
use crate::protocol::conditions::version_text;
use crate::protocol::json::text::Unescaper;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smallvec::SmallVec;

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

/// What follows a value in JSON; long enough for all that can.
type Suffix = SmallVec<[u8; 192]>;

/// How stored bytes become those on the wire.
#[derive(Clone, Debug)]
enum Encoder {
    Plain,
    /// In quotes; holds up to two bytes back, for three become four characters.
    Base64 {
        held: SmallVec<[u8; 3]>,
    },
    /// The inside of a JSON string.
    Unescape(Unescaper),
}

impl Encoder {
    fn of(kind: ValueKind, form: Form) -> Self {
        match (kind, form) {
            (ValueKind::Bytes, Form::Json { .. }) => Self::Base64 { held: SmallVec::new() },
            (ValueKind::String, Form::Raw) => Self::Unescape(Unescaper::new()),
            _ => Self::Plain,
        }
    }

    /// How many bytes it makes of the value.
    fn len(&self, meta: &Meta) -> u64 {
        match self {
            Self::Plain => meta.len,
            Self::Base64 { .. } => 2 + meta.len.div_ceil(3) * 4,
            Self::Unescape(_) => meta.raw_len,
        }
    }

    fn begin(&self, out: &mut Vec<u8>) {
        if matches!(self, Self::Base64 { .. }) {
            out.push(b'"');
        }
    }

    fn encode(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Plain => out.extend_from_slice(bytes),
            Self::Unescape(unescaper) => unescaper.feed(bytes, |part| out.extend_from_slice(part)),
            Self::Base64 { held } => {
                if !held.is_empty() {
                    let (now, rest) = bytes.split_at(bytes.len().min(3 - held.len()));
                    held.extend_from_slice(now);
                    bytes = rest;
                    if held.len() == 3 {
                        push_base64(out, held);
                        held.clear();
                    }
                }
                let (now, rest) = bytes.split_at(bytes.len() - bytes.len() % 3);
                push_base64(out, now);
                held.extend_from_slice(rest);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Plain => {}
            Self::Unescape(unescaper) => unescaper.finish(|part| out.extend_from_slice(part)),
            Self::Base64 { held } => {
                push_base64(out, held);
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
    suffix: Suffix,
}

impl Tail {
    /// Bytes of the value, as it is stored, that are still to come.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.left
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
        out.extend_from_slice(&self.suffix);
    }
}

/// What is written of one value: its encoded bytes, and what follows them.
pub(super) struct Body {
    encoder: Encoder,
    suffix: Suffix,
}

impl Body {
    /// The value within a JSON object, which ends behind it.
    pub fn json(meta: &Meta, include_meta: bool) -> Self {
        let encoder = Encoder::of(meta.kind, Form::Json { include_meta });
        Self { encoder, suffix: json_suffix(meta, include_meta) }
    }

    fn raw(meta: &Meta) -> Self {
        Self { encoder: Encoder::of(meta.kind, Form::Raw), suffix: Suffix::new() }
    }

    /// How many bytes it has.
    pub fn len(&self, meta: &Meta) -> u64 {
        self.encoder.len(meta) + self.suffix.len() as u64
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
                out.extend_from_slice(&self.suffix);
                assert_eq!(out.len() as u64 - start, len, "a value is as long as its description says");
                None
            }
            Value::Omitted => panic!("a body cannot be written from a value that was not asked for"),
        }
    }
}

fn json_suffix(meta: &Meta, include_meta: bool) -> Suffix {
    let mut suffix = Suffix::new();
    suffix.extend_from_slice(b",\"type\":\"");
    suffix.extend_from_slice(meta.kind.name().as_bytes());
    suffix.extend_from_slice(b"\",\"version\":\"");
    suffix.extend_from_slice(&version_text(meta.version));
    if include_meta {
        suffix.extend_from_slice(b"\",\"createdAt\":\"");
        suffix.extend_from_slice(&rfc3339(meta.created_at));
        suffix.extend_from_slice(b"\",\"updatedAt\":\"");
        suffix.extend_from_slice(&rfc3339(meta.updated_at));
    }
    match meta.expires.filter(|_| include_meta) {
        Some(expires) => {
            suffix.extend_from_slice(b"\",\"expiresAt\":\"");
            suffix.extend_from_slice(&rfc3339(expires.at));
            suffix.extend_from_slice(b"\",\"ttlSec\":");
            push_number(&mut suffix, expires.ttl_secs);
            suffix.push(b'}');
        }
        None => suffix.extend_from_slice(b"\"}"),
    }
    suffix
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
