//! The answer that most requests get, but for what differs from one to the next.

use super::found::Suffix;
use super::outcome::push_validators;
use super::{AnswerHead, ID_FIELD, JSON, LENGTH, NO_ID, RequestIdText, begin, push_number, put_hex};
use crate::command::{ValueKind, Version};
use crate::protocol::conditions::{VERSION_CHARS, hex};

/// The two hexadecimal digits of each byte.
static HEX_PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        let digits = hex(byte as u64);
        pairs[byte] = [digits[14], digits[15]];
        byte += 1;
    }
    pairs
};

/// The head of an answer with a value in JSON, for requests of HTTP/1.1 without a name of their own whose connection goes on.
/// Made for the request IDs of one core.
#[derive(Debug)]
pub struct PreparedHead {
    bytes: Vec<u8>,
    date_at: usize,
    /// Where the second half of the request's ID belongs.
    id_at: usize,
    /// What stands there, but for its last two digits: IDs count up, so the others mostly stay.
    id_high: u64,
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
        Self { bytes, date_at, id_at, id_high: 0, version_at }
    }

    /// From now on answers are dated `date`.
    pub fn set_date(&mut self, date: &[u8; 29]) {
        self.bytes[self.date_at..self.date_at + date.len()].copy_from_slice(date);
    }

    /// Appends the answer to the request `id` of the core, with `value`, which is JSON: what [`super::found`] writes.
    pub fn write(&mut self, out: &mut Vec<u8>, id: u64, kind: ValueKind, version: Version, value: &[u8]) {
        const BEFORE: &[u8] = b"\r\n\r\n{\"value\":";
        const VALUE: &[u8] = b"{\"value\":";
        if id >> 8 != self.id_high {
            self.id_high = id >> 8;
            put_hex(&mut self.bytes, self.id_at, id);
        }
        let suffix = Suffix::plain(kind, version);
        let len = VALUE.len() + value.len() + suffix.len() as usize;
        out.reserve(self.bytes.len() + BEFORE.len() + len + 20);
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let head = &mut out[start..];
        let version = hex(version.0);
        head[self.id_at + 14..self.id_at + 16].copy_from_slice(&HEX_PAIRS[(id & 0xff) as usize]);
        head[self.version_at..self.version_at + VERSION_CHARS].copy_from_slice(&version);
        push_number(out, len);
        out.extend_from_slice(BEFORE);
        out.extend_from_slice(value);
        suffix.write_with(out, &version);
    }
}

#[cfg(test)]
mod tests {
    use super::super::found::{Form, Found, found};
    use super::*;
    use crate::command::{Meta, Value};
    use crate::time::UnixMillis;

    #[test]
    fn every_request_gets_its_own_id_whichever_came_before() {
        let (date, later) = (b"Thu, 01 Jan 1970 00:00:00 GMT", b"Fri, 02 Jan 1970 00:00:00 GMT");
        let mut prepared = PreparedHead::new(date, 0xab);
        prepared.set_date(later);
        let (kind, version, value) = (ValueKind::Number, Version(0xfedc_ba98), b"17".as_slice());
        let (created_at, updated_at, expires) = (UnixMillis(0), UnixMillis(0), None);
        let meta = Meta { kind, version, created_at, updated_at, expires, len: 2, raw_len: 2 };
        for id in (0..600).chain([u64::MAX - 1, u64::MAX, 0, 1, 0x100, 0xff, 0x1_0000_0000]) {
            let request_id = RequestIdText::Fresh([0xab, id]);
            let head = AnswerHead { request_id, date: later, http11: true, keep_alive: true, head_only: false };
            let (mut short, mut long) = (Vec::new(), Vec::new());
            prepared.write(&mut short, id, kind, version, value);
            let media = b"".as_slice();
            found(
                &mut long,
                &head,
                &Found { meta: &meta, media, value: &Value::Inline(value) },
                Form::Json { include_meta: false },
            );
            assert_eq!(short.escape_ascii().to_string(), long.escape_ascii().to_string());
        }
    }
}
