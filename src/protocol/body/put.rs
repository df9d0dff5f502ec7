//! `{"value":…,"ttlSec":…}`

use super::BodyError;
use super::capture::{Capture, Captured, Copied, Place};
use super::members::Members;
use crate::command::ValueKind;
use crate::protocol::json::scanner::{Kind, Scanner};
use crate::time::Ttl;

/// The body of a PUT that is there as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutBody<'b> {
    /// The type of the value.
    pub kind: ValueKind,
    /// The exact JSON text of the value. Its length is not yet compared with the largest value's.
    pub text: &'b [u8],
    /// Bytes of the value when it is sent raw.
    pub raw_len: u64,
    /// When it expires.
    pub ttl: Ttl,
}

/// A value that was taken out of a body piece by piece.
#[derive(Debug)]
pub struct StreamedPut {
    /// The type of the value.
    pub kind: ValueKind,
    /// The exact JSON text of the value.
    pub payload: Captured,
    /// Bytes of the value when it is sent raw.
    pub raw_len: u64,
    /// When it expires.
    pub ttl: Ttl,
}

/// Reads a body that is there as a whole; copies nothing and allocates nothing.
///
/// # Errors
/// See [`BodyError`].
pub fn put_in_place(body: &[u8]) -> Result<PutBody<'_>, BodyError> {
    if let Some(put) = plain_string(body) {
        return Ok(put);
    }
    let (mut scanner, mut members) = (Scanner::new(1), Members::new(Place::default()));
    feed_object(&mut scanner, &mut members, body)?;
    scanner.finish()?;
    let (kind, raw_len) = members.value()?;
    let ttl = members.ttl()?.unwrap_or(Ttl::NONE);
    Ok(PutBody { kind, text: &body[members.value.0], raw_len, ttl })
}

/// The value of `{"value":"…"}`, a string without escapes and nothing else, spelt as most writers spell it: found
/// without going through the body token by token. `None` says nothing of the body.
fn plain_string(body: &[u8]) -> Option<PutBody<'_>> {
    let text = body.strip_prefix(b"{\"value\":")?.strip_suffix(b"}")?;
    let inside = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    // No early exit, so that the compiler makes vector instructions of it.
    let ends_or_escapes = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    if inside.iter().fold(false, |found, &byte| found | ends_or_escapes(byte)) {
        return None;
    }
    std::str::from_utf8(inside).ok()?;
    Some(PutBody { kind: ValueKind::String, text, raw_len: inside.len() as u64, ttl: Ttl::NONE })
}

/// Feeds a piece of a body that is one object to both.
pub(super) fn feed_object<C: Capture>(
    scanner: &mut Scanner,
    members: &mut Members<C>,
    input: &[u8],
) -> Result<(), BodyError> {
    let mut at = 0;
    loop {
        let token = scanner.next(&input[at..], 1)?;
        members.token(token.kind, &input[at..at + token.len], at, scanner.string_raw_len())?;
        at += token.len;
        if token.kind == Kind::More {
            return Ok(());
        }
    }
}

/// Reads the body of a PUT piece by piece.
#[derive(Debug)]
pub struct PutReader {
    scanner: Scanner,
    members: Members<Copied>,
}

impl PutReader {
    /// At the beginning of a body whose value may have at most `value_bytes_max` bytes of JSON text.
    #[must_use]
    pub fn new(value_bytes_max: u64) -> Self {
        Self { scanner: Scanner::new(1), members: Members::new(Copied::new(value_bytes_max)) }
    }

    /// Takes in the next piece.
    ///
    /// # Errors
    /// See [`BodyError`]; a value that is too large, or for which there is no memory, as soon as that is known.
    pub fn feed(&mut self, input: &[u8]) -> Result<(), BodyError> {
        feed_object(&mut self.scanner, &mut self.members, input)?;
        self.members.value.refused.map_or(Ok(()), Err)
    }

    /// The memory that the value takes so far, in bytes.
    #[must_use]
    pub fn captured_bytes(&self) -> u64 {
        self.members.value.bytes.footprint()
    }

    /// What has been captured of the value, to be disposed of when the body is given up.
    #[must_use]
    pub fn into_captured(self) -> Captured {
        self.members.value.bytes
    }

    /// Gives out the value, at the end of the body.
    ///
    /// # Errors
    /// See [`BodyError`]; what has been captured then stays here, see [`PutReader::into_captured`].
    pub fn finish(&mut self) -> Result<StreamedPut, BodyError> {
        self.scanner.finish()?;
        streamed_put(&mut self.members)
    }
}

/// The value among `members`.
pub(super) fn streamed_put(members: &mut Members<Copied>) -> Result<StreamedPut, BodyError> {
    if let Some(refused) = members.value.refused {
        return Err(refused);
    }
    let (kind, raw_len) = members.value()?;
    let ttl = members.ttl()?.unwrap_or(Ttl::NONE);
    Ok(StreamedPut { kind, payload: members.value.finish(), raw_len, ttl })
}
