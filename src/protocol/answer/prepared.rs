//! The answer that most requests get, but for what differs from one to the next.

use super::found::Suffix;
use super::outcome::push_validators;
use super::{AnswerHead, ID_FIELD, JSON, LENGTH, NO_ID, RequestIdText, begin, push_number, put_hex};
use crate::command::{ValueKind, Version};
use crate::protocol::conditions::{VERSION_CHARS, hex};

/// The head of an answer with a value in JSON, for requests of HTTP/1.1 without a name of their own whose connection goes on.
/// Made for the request IDs of one core.
#[derive(Debug)]
pub struct PreparedHead {
    bytes: Vec<u8>,
    date_at: usize,
    /// Where the second half of the request's ID belongs.
    id_at: usize,
    /// Where the version belongs.
    version_at: usize,
}

impl PreparedHead {
    /// For requests whose IDs begin with `core`, answered at `date`.
    #[must_use]
    pub fn new(date: &[u8; 29], core: u64) -> Self {
        let request_id = RequestIdText::Fresh([core, 0]);
        let head = AnswerHead { request_id, date, http11: true, keep_alive: true, head_only: false };
        let mut bytes = Vec::new();
        begin(&mut bytes, &head, 200);
        let id_at = bytes.len() - NO_ID.len() / 2;
        let date_at = bytes.len() - NO_ID.len() - ID_FIELD.len() - date.len();
        push_validators(&mut bytes, Version(0));
        let version_at = bytes.len() - 1 - VERSION_CHARS;
        bytes.extend_from_slice(JSON);
        bytes.extend_from_slice(LENGTH);
        Self { bytes, date_at, id_at, version_at }
    }

    /// From now on answers are dated `date`.
    pub fn set_date(&mut self, date: &[u8; 29]) {
        self.bytes[self.date_at..self.date_at + date.len()].copy_from_slice(date);
    }

    /// Appends the answer to the request `id` of the core, with `value`, which is JSON: what [`super::found`] writes.
    pub fn write(&self, out: &mut Vec<u8>, id: u64, kind: ValueKind, version: Version, value: &[u8]) {
        const BEFORE: &[u8] = b"\r\n\r\n{\"value\":";
        const VALUE: &[u8] = b"{\"value\":";
        let suffix = Suffix::plain(kind, version);
        let len = VALUE.len() + value.len() + suffix.len() as usize;
        out.reserve(self.bytes.len() + BEFORE.len() + len + 20);
        let head = out.len();
        out.extend_from_slice(&self.bytes);
        put_hex(out, head + self.id_at, id);
        let version = hex(version.0);
        let version_at = head + self.version_at;
        out[version_at..version_at + VERSION_CHARS].copy_from_slice(&version);
        push_number(out, len);
        out.extend_from_slice(BEFORE);
        out.extend_from_slice(value);
        suffix.write_with(out, &version);
    }
}
