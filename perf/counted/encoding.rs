//! From outcomes to bytes.

use crate::counter::Counter;
use cache_service::command::{Meta, Value, ValueKind, Version};
use cache_service::protocol::answer::{self, AnswerHead, BatchGet, ErrorCode, Failure, Form, Found, RequestIdText};
use cache_service::time::UnixMillis;
use std::hint::black_box;

/// A JSON string of 64 bytes, its quotes included.
const VALUE: &[u8] = br#""a value of sixty-four bytes, the quotes on both sides included.""#;
const DATE: [u8; 29] = *b"Sun, 22 Nov 2026 21:41:00 GMT";
const BATCH: usize = 100;

const fn head() -> AnswerHead<'static> {
    let request_id = RequestIdText::Fresh([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
    AnswerHead { request_id, date: &DATE, http11: true, keep_alive: true, head_only: false }
}

const fn meta(kind: ValueKind) -> Meta {
    let at = UnixMillis(1_763_847_660_000);
    let (len, raw_len) = (VALUE.len() as u64, VALUE.len() as u64 - 2);
    Meta { kind, version: Version(0x9f9e_bb63_fd4d_b5ce), created_at: at, updated_at: at, expires: None, len, raw_len }
}

/// Answers to reads.
pub fn count(counter: &mut Counter) {
    let mut out = Vec::with_capacity(64 << 10);
    let (meta, value) = (meta(ValueKind::String), Value::Inline(VALUE));
    for (name, form) in [("JSON", Form::Json { include_meta: false }), ("raw", Form::Raw)] {
        counter.count(&format!("encode a found value, {name}"), |_| {
            out.clear();
            let found = Found { meta: black_box(&meta), media: b"", value: black_box(&value) };
            let tail = answer::found(&mut out, black_box(&head()), &found, form);
            assert!(tail.is_none() && out.starts_with(b"HTTP/1.1 200 "));
        });
    }
    counter.count("encode a 404", |_| {
        out.clear();
        let failure = Failure::new(ErrorCode::NotFound, "there is no entry with this key");
        answer::error(&mut out, black_box(&head()), black_box(&failure));
        assert!(out.starts_with(b"HTTP/1.1 404 "));
    });
    let keys: Vec<String> = (0..BATCH).map(|number| format!("{number:016x}")).collect();
    counter.count("encode a batch of 100 found values", |_| {
        out.clear();
        encode_batch(&mut out, &keys, &meta, &value);
    });
}

fn encode_batch(out: &mut Vec<u8>, keys: &[String], meta: &Meta, value: &Value<&[u8]>) {
    let hits = keys.iter().map(|key| (key.as_bytes(), meta));
    let mut batch = BatchGet::begin(out, black_box(&head()), hits, std::iter::empty());
    for key in black_box(keys) {
        assert!(batch.hit(out, key.as_bytes(), black_box(meta), black_box(value)).is_none());
    }
    batch.finish(out, std::iter::empty());
    assert!(out.ends_with(b"]}"));
}
