//! Answers to batches.

use super::found::{Body, Tail};
use super::{
    AnswerHead, ErrorCode, JSON, NO_STORE, begin, end, key_text, push_error, push_string, push_string_or_null,
};
use crate::command::{Meta, Value, Version};
use crate::protocol::conditions::version_text;
use crate::protocol::json::text::escaped_len;

const HITS: &[u8] = b"{\"hits\":[";
const HIT: &[u8] = b"{\"key\":";
const HIT_VALUE: &[u8] = b",\"value\":";
const MISSES: &[u8] = b"],\"misses\":[";
const END: &[u8] = b"]}";

/// Answers to a batch of reads: first the head, for which all hits and misses must be known, then hit after hit, whose
/// values may come piece by piece, then the end.
#[derive(Debug)]
pub struct BatchGet {
    hits_left: usize,
    first: bool,
}

impl BatchGet {
    /// Writes everything up to the first hit.
    pub fn begin<'k>(
        out: &mut Vec<u8>,
        head: &AnswerHead<'_>,
        hits: impl Iterator<Item = (&'k [u8], &'k Meta)>,
        misses: impl Iterator<Item = &'k [u8]>,
    ) -> Self {
        let (mut len, mut hits_left) = (HITS.len() + MISSES.len() + END.len(), 0);
        let mut values_len = 0;
        for (key, meta) in hits {
            len += HIT.len() + string_len(key) + HIT_VALUE.len() + usize::from(hits_left > 0);
            values_len += Body::json(meta, false).len(meta);
            hits_left += 1;
        }
        for (n, key) in misses.enumerate() {
            len += string_len(key) + usize::from(n > 0);
        }
        begin(out, head, 200);
        out.extend_from_slice(JSON);
        out.extend_from_slice(NO_STORE);
        end(out, len as u64 + values_len);
        out.extend_from_slice(HITS);
        Self { hits_left, first: true }
    }

    /// Writes the next hit. If its value has to be read piece by piece, returns how to go on; the next hit may be
    /// written when that is finished.
    ///
    /// # Panics
    /// If there were less hits to begin with, or the value was not asked for.
    pub fn hit(&mut self, out: &mut Vec<u8>, key: &[u8], meta: &Meta, value: &Value<&[u8]>) -> Option<Tail> {
        assert!(self.hits_left > 0, "all hits were known when the head was written");
        self.hits_left -= 1;
        if !std::mem::take(&mut self.first) {
            out.push(b',');
        }
        out.extend_from_slice(HIT);
        push_string(out, key_text(key));
        out.extend_from_slice(HIT_VALUE);
        Body::json(meta, false).write(out, meta, value)
    }

    /// Writes the end. The misses must be those that were there to begin with.
    ///
    /// # Panics
    /// If a hit is missing.
    pub fn finish<'k>(self, out: &mut Vec<u8>, misses: impl Iterator<Item = &'k [u8]>) {
        assert!(self.hits_left == 0, "all hits were known when the head was written");
        out.extend_from_slice(MISSES);
        for (n, key) in misses.enumerate() {
            push_comma(out, n);
            push_string(out, key_text(key));
        }
        out.extend_from_slice(END);
    }
}

/// Bytes of a key as a JSON string.
fn string_len(key: &[u8]) -> usize {
    2 + escaped_len(key_text(key))
}

fn push_comma(out: &mut Vec<u8>, n: usize) {
    if n > 0 {
        out.push(b',');
    }
}

/// What became of one write of a batch.
#[derive(Clone, Copy, Debug)]
pub struct SetResult<'a> {
    /// What was sent as the key, `None` if it cannot be shown.
    pub key: Option<&'a str>,
    /// Whether the entry was created, and its version; or what is wrong.
    pub outcome: Result<(bool, Version), (ErrorCode, &'a str)>,
}

/// The body of an answer to a batch of writes.
#[must_use]
pub fn set_results<'a>(results: impl Iterator<Item = SetResult<'a>>) -> Vec<u8> {
    let mut body = b"{\"results\":[".to_vec();
    for (n, result) in results.enumerate() {
        begin_result(&mut body, n, result.key);
        match result.outcome {
            Ok((created, version)) => {
                body.extend_from_slice(if created { b"created" } else { b"updated" });
                body.extend_from_slice(b"\",\"version\":\"");
                body.extend_from_slice(&version_text(version));
                body.extend_from_slice(b"\"}");
            }
            Err((code, message)) => push_item_error(&mut body, code, message),
        }
    }
    body.extend_from_slice(END);
    body
}

/// What became of one delete of a batch.
#[derive(Clone, Copy, Debug)]
pub enum DeleteStatus<'a> {
    /// It took place.
    Deleted,
    /// There was no such entry.
    Missing,
    /// Something is wrong.
    Error(ErrorCode, &'a str),
}

/// What became of one delete of a batch, and of which.
#[derive(Clone, Copy, Debug)]
pub struct DeleteResult<'a> {
    /// What was sent as the key, `None` if it cannot be shown.
    pub key: Option<&'a str>,
    /// What became of it.
    pub status: DeleteStatus<'a>,
}

/// The body of an answer to a batch of deletes.
#[must_use]
pub fn delete_results<'a>(results: impl Iterator<Item = DeleteResult<'a>>) -> Vec<u8> {
    let mut body = b"{\"results\":[".to_vec();
    for (n, result) in results.enumerate() {
        begin_result(&mut body, n, result.key);
        match result.status {
            DeleteStatus::Deleted => body.extend_from_slice(b"deleted\"}"),
            DeleteStatus::Missing => body.extend_from_slice(b"missing\"}"),
            DeleteStatus::Error(code, message) => push_item_error(&mut body, code, message),
        }
    }
    body.extend_from_slice(END);
    body
}

/// Appends `{"key":…,"status":"`.
fn begin_result(body: &mut Vec<u8>, n: usize, key: Option<&str>) {
    push_comma(body, n);
    body.extend_from_slice(HIT);
    push_string_or_null(body, key);
    body.extend_from_slice(b",\"status\":\"");
}

/// Appends `error","error":{…}}`.
fn push_item_error(body: &mut Vec<u8>, code: ErrorCode, message: &str) {
    body.extend_from_slice(b"error\",");
    // The error is written as a document of its own, less its first bracket.
    let start = body.len();
    push_error(body, code, message);
    body.remove(start);
    body.push(b'}');
}
