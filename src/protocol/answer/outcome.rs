//! Answers to writes, and those without a value.

use super::{
    AnswerHead, ErrorCode, Failure, JSON, RFC3339_CHARS, begin, begin_error, end, end_with, error_with, key_text,
};
use super::{push_string_or_null, put_hex, rfc3339};
use crate::command::{NumberText, Version};
use crate::protocol::conditions::{VERSION_CHARS, version_text};
use crate::time::UnixMillis;
use smallvec::SmallVec;

/// Answers to a PUT that took place: 201 if it created the entry, else 200.
pub fn written(
    out: &mut Vec<u8>,
    head: &AnswerHead<'_>,
    created: bool,
    version: Version,
    expires_at: Option<UnixMillis>,
) {
    const VERSION: &[u8] = b"{\"version\":\"0123456789abcdef\"";
    const EXPIRES_AT: &[u8] = b",\"expiresAt\":\"";
    let of_expiry = expires_at.map_or(0, |_| EXPIRES_AT.len() + RFC3339_CHARS + 1);
    begin(out, head, if created { 201 } else { 200 });
    out.extend_from_slice(JSON);
    end(out, (VERSION.len() + of_expiry + 1) as u64);
    if head.head_only {
        return;
    }
    out.extend_from_slice(VERSION);
    let version_at = out.len() - VERSION_CHARS - 1;
    put_hex(out, version_at, version.0);
    if let Some(at) = expires_at {
        out.extend_from_slice(EXPIRES_AT);
        out.extend_from_slice(&rfc3339(at));
        out.push(b'"');
    }
    out.push(b'}');
}

/// Answers to a DELETE that took place: 204.
pub fn deleted(out: &mut Vec<u8>, head: &AnswerHead<'_>) {
    begin(out, head, 204);
    out.extend_from_slice(b"\r\n\r\n");
}

/// Answers to an increment.
pub fn counted(out: &mut Vec<u8>, head: &AnswerHead<'_>, value: &NumberText, version: Version) {
    let mut body = SmallVec::<[u8; 96]>::new();
    body.extend_from_slice(b"{\"value\":");
    body.extend_from_slice(value);
    body.extend_from_slice(b",\"version\":\"");
    body.extend_from_slice(&version_text(version));
    body.extend_from_slice(b"\"}");
    begin(out, head, 200);
    out.extend_from_slice(JSON);
    end_with(out, head, &body);
}

/// Answers to a read of a version that the client has: 304.
pub fn not_modified(out: &mut Vec<u8>, head: &AnswerHead<'_>, version: Version) {
    begin(out, head, 304);
    push_validators(out, version);
    out.extend_from_slice(b"\r\n\r\n");
}

/// What a cache needs to know of a value: its tag, that it has to ask each time, and that `Accept` decides the form.
pub(super) fn push_validators(out: &mut Vec<u8>, version: Version) {
    const FIELDS: &[u8] = b"\r\nCache-Control: no-cache\r\nVary: Accept\r\nETag: \"0123456789abcdef\"";
    out.extend_from_slice(FIELDS);
    let tag_at = out.len() - VERSION_CHARS - 1;
    put_hex(out, tag_at, version.0);
}

/// Answers that a condition does not hold: 409. `expected` is what `If-Match` said (see
/// [`crate::protocol::conditions::expected_text`]), `None` if no entry was expected; `actual` is the entry's version.
pub fn conflict(out: &mut Vec<u8>, head: &AnswerHead<'_>, key: &[u8], expected: Option<&str>, actual: Option<Version>) {
    let message = match (expected, actual) {
        (Some(_), None) => "there is no entry, but If-Match expects one",
        (Some(_), Some(_)) => "the entry has another version than If-Match expects",
        (None, _) => "the entry has a version that If-None-Match excludes",
    };
    let mut body = Vec::with_capacity(256);
    begin_error(&mut body, ErrorCode::Conflict, message);
    body.extend_from_slice(b",\"details\":{\"key\":");
    push_string_or_null(&mut body, Some(key_text(key)));
    body.extend_from_slice(b",\"expected\":");
    push_string_or_null(&mut body, expected);
    body.extend_from_slice(b",\"actual\":");
    let actual = actual.map(version_text);
    push_string_or_null(&mut body, actual.as_ref().map(|text| key_text(text)));
    body.extend_from_slice(b"}}}");
    error_with(out, head, &Failure::new(ErrorCode::Conflict, message), &body);
}
