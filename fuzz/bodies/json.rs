//! Bodies of JSON, whole and in pieces, beside `serde_json`.

use super::tape::{Tape, pieces};
use cache_service::command::ValueKind;
use cache_service::limits::{BATCH_ITEMS_MAX, INLINE_VALUE_BYTES_MAX, JSON_DEPTH_MAX, KEY_CHARS_MAX};
use cache_service::protocol::body::{
    BatchItem, BodyError, Captured, IncrReader, ItemsReader, KeysReader, PutReader, SentKey, StreamedPut,
    incr_in_place, plain_keys, put_in_place,
};
use cache_service::protocol::json::JsonError;
use cache_service::time::Ttl;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

pub fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let kind = tape.byte();
    let cuts = tape.cuts(|tape| tape.rest().len());
    let body = tape.rest();
    if body.len() > INLINE_VALUE_BYTES_MAX {
        return;
    }
    let pieces = [vec![body], pieces(body, &cuts), body.chunks(1).collect()];
    match kind % 4 {
        0 => check_put(body, &pieces),
        1 => check_keys(body, &pieces),
        2 => check_items(body, &pieces),
        _ => check_incr(body, &pieces),
    }
}

/// The text with each half of a surrogate pair that stands alone replaced: to us it is U+FFFD, to `serde_json` no
/// string.
fn without_lone_surrogates(body: &[u8]) -> Vec<u8> {
    let mut text = body.to_vec();
    let unit = |text: &[u8], at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|_| digits[0] != b'+')
    };
    let mut at = 0;
    while at < text.len() {
        match unit(&text, at) {
            Some(0xd800..0xdc00) if matches!(unit(&text, at + 6), Some(0xdc00..0xe000)) => at += 12,
            Some(0xd800..0xe000) => {
                text[at..at + 6].copy_from_slice(b"\\ufffd");
                at += 6;
            }
            Some(_) => at += 6,
            None => at += if text[at] == b'\\' { 2 } else { 1 },
        }
    }
    text
}

type Members<'b> = BTreeMap<String, &'b RawValue>;

/// What `serde_json` makes of a body.
enum Read<'b> {
    Object(Members<'b>),
    Other,
    NoJson,
}

fn read(body: &[u8]) -> Read<'_> {
    match serde_json::from_slice::<&RawValue>(body) {
        Err(_) => Read::NoJson,
        Ok(raw) if !raw.get().starts_with('{') => Read::Other,
        Ok(raw) => Read::Object(serde_json::from_str(raw.get()).expect("an object is an object")),
    }
}

/// Whether something is nested so deeply that we may refuse it.
fn is_deep(body: &[u8]) -> bool {
    body.iter().filter(|byte| b"[{".contains(byte)).count() > JSON_DEPTH_MAX
}

/// What we make of a body must be what is expected of it, or else a refusal of what is no JSON at all.
fn compare<T: PartialEq + std::fmt::Debug>(
    body: &[u8],
    ours: &Result<T, BodyError>,
    expected: impl FnOnce(Members<'_>) -> Result<T, BodyError>,
) {
    let shown = || body.escape_ascii().to_string();
    match read(&without_lone_surrogates(body)) {
        _ if is_deep(body) && matches!(ours, Err(BodyError::Json(JsonError::TooDeep))) => {}
        // The first token that is no brace is enough.
        Read::NoJson => {
            assert!(matches!(ours, Err(BodyError::Json(_) | BodyError::NotAnObject)), "{ours:?} of {}", shown());
        }
        Read::Other => assert_eq!(ours.as_ref().err(), Some(&BodyError::NotAnObject), "{}", shown()),
        Read::Object(members) => assert_eq!(*ours, expected(members), "{}", shown()),
    }
}

/// The error without what exactly is no JSON: of several mistakes, another one may be met first in pieces.
const fn coarse(error: BodyError) -> BodyError {
    match error {
        BodyError::Json(_) => BodyError::Json(JsonError::Unexpected),
        error => error,
    }
}

/// A value as it should be stored: its kind, its text, its length when it is sent raw, its time to live.
type Stored = (ValueKind, Vec<u8>, u64, Ttl);

fn stored(members: &Members<'_>) -> Result<Stored, BodyError> {
    let raw = members.get("value").map_or("null", |raw| raw.get());
    let (kind, raw_len) = match raw.as_bytes()[0] {
        b'n' => return Err(BodyError::NoValue),
        b'"' => (ValueKind::String, serde_json::from_str::<String>(raw).expect("a string").len()),
        b't' | b'f' => (ValueKind::Boolean, raw.len()),
        b'{' | b'[' => (ValueKind::Json, raw.len()),
        _ => (ValueKind::Number, raw.len()),
    };
    Ok((kind, raw.as_bytes().to_vec(), raw_len as u64, ttl(members)?.unwrap_or(Ttl::NONE)))
}

fn ttl(members: &Members<'_>) -> Result<Option<Ttl>, BodyError> {
    let raw = members.get("ttlSec").map_or("null", |raw| raw.get());
    if raw == "null" {
        return Ok(None);
    }
    let secs = whole(raw).and_then(|secs| u64::try_from(secs).ok());
    secs.and_then(Ttl::from_secs).map(Some).ok_or(BodyError::TtlSec)
}

/// The whole number of 64 bits that a text of JSON is, worked out digit by digit on the decimal point's place.
fn whole(raw: &str) -> Option<i64> {
    if !raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()) || raw.len() > 40 {
        return None;
    }
    let (mantissa, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: String = format!("{}{fraction}", integer.trim_start_matches('-'));
    if digits.bytes().all(|digit| digit == b'0') {
        // Zero times whatever; an exponent beyond 32 bits we do not read.
        return exponent.parse::<i32>().ok()?.checked_sub(fraction.trim_end_matches('0').len() as i32).map(|_| 0);
    }
    let mut places = exponent.parse::<i64>().ok()? - fraction.len() as i64;
    while places < 0 {
        if digits.pop()? != '0' {
            return None;
        }
        places += 1;
    }
    if places > 20 {
        return None;
    }
    digits.extend(std::iter::repeat_n('0', places as usize));
    let digits = digits.trim_start_matches('0');
    if digits.len() > 25 {
        return None;
    }
    let sign = if integer.starts_with('-') { "-" } else { "" };
    format!("{sign}{digits}").parse::<i128>().ok().and_then(|number| i64::try_from(number).ok())
}

fn bytes_of(captured: &Captured) -> Vec<u8> {
    match captured {
        Captured::Inline(bytes) => bytes.clone(),
        Captured::Blob(_) => unreachable!("no input is that long"),
    }
}

fn taken(put: &StreamedPut) -> Stored {
    (put.kind, without_lone_surrogates(&bytes_of(&put.payload)), put.raw_len, put.ttl)
}

fn check_put(body: &[u8], pieces: &[Vec<&[u8]>]) {
    let whole = put_in_place(body);
    let ours = whole.map(|put| (put.kind, without_lone_surrogates(put.text), put.raw_len, put.ttl));
    compare(body, &ours, |members| stored(&members));
    for pieces in pieces {
        let put = put_of(pieces, u64::MAX);
        let taken_put = put.as_ref().map(taken).map_err(|error| *error);
        assert_eq!(taken_put.map_err(coarse), ours.clone().map_err(coarse), "{}", body.escape_ascii());
        // A bound refuses what is longer and nothing else.
        let bounded = put_of(pieces, 10);
        match (bounded, &put) {
            (Err(BodyError::TooLarge), _) => assert!(body.len() > 10),
            (bounded, put) => {
                assert_eq!(bounded.as_ref().map(taken), put.as_ref().map(taken), "{}", body.escape_ascii());
                assert!(bounded.is_err() || bounded.is_ok_and(|put| put.payload.len() <= 10));
            }
        }
    }
}

fn put_of(pieces: &[&[u8]], value_bytes_max: u64) -> Result<StreamedPut, BodyError> {
    let mut reader = PutReader::new(value_bytes_max);
    pieces.iter().try_for_each(|piece| reader.feed(piece))?;
    reader.finish()
}

/// A list under `name`, as long as a batch may be.
fn list<'b>(members: &Members<'b>, name: &str, error: BodyError) -> Result<Vec<&'b RawValue>, BodyError> {
    let list: Option<Vec<&RawValue>> = members.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok());
    list.filter(|list| (1..=BATCH_ITEMS_MAX).contains(&list.len())).ok_or(error)
}

fn valid(key: &str) -> bool {
    (1..=KEY_CHARS_MAX).contains(&key.chars().count()) && !key.contains('\0')
}

/// A key as it was sent, and whether it is one.
fn judged(key: &SentKey) -> (Option<String>, bool) {
    (key.shown().map(str::to_owned), key.valid().is_ok())
}

/// A key of more than a thousand bytes is not kept.
fn expected_key(key: String) -> (Option<String>, bool) {
    let is_valid = valid(&key);
    (Some(key).filter(|key| key.len() <= KEY_CHARS_MAX * 4), is_valid)
}

fn check_keys(body: &[u8], pieces: &[Vec<&[u8]>]) {
    for pieces in pieces {
        let mut reader = KeysReader::new();
        let fed = pieces.iter().try_for_each(|piece| reader.feed(piece));
        let keys = fed.and_then(|()| reader.finish());
        let ours = keys.map(|keys| keys.iter().map(judged).collect::<Vec<_>>());
        compare(body, &ours, |members| {
            let keys = list(&members, "keys", BodyError::Keys)?;
            let keys: Result<Vec<String>, _> = keys.iter().map(|raw| serde_json::from_str(raw.get())).collect();
            Ok(keys.map_err(|_| BodyError::Keys)?.into_iter().map(expected_key).collect())
        });
        if let Some(plain) = plain_keys(body) {
            let plain = plain.iter().map(|key| (Some(String::from_utf8_lossy(key).into_owned()), true)).collect();
            assert_eq!(ours, Ok(plain), "{}", body.escape_ascii());
        }
    }
}

/// An item: its key as it was sent, and its value.
type Item = (Option<String>, Result<Stored, BodyError>);

fn expected_item(raw: &RawValue) -> Item {
    let Ok(members) = serde_json::from_str::<Members<'_>>(raw.get()) else {
        return (Some(String::new()), Err(BodyError::Item));
    };
    let Some(key) = members.get("key").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok()) else {
        return (Some(String::new()), Err(BodyError::NoKey));
    };
    let (shown, is_valid) = expected_key(key);
    // Which mistake it is that a key makes, the target `target` knows.
    (shown, if is_valid { stored(&members) } else { Err(BodyError::Keys) })
}

fn taken_item(item: &BatchItem) -> Item {
    let put = item.put.as_ref().map(taken).map_err(|error| match error {
        BodyError::Key(_) => BodyError::Keys,
        error => *error,
    });
    (item.key.shown().map(str::to_owned), put)
}

fn check_items(body: &[u8], pieces: &[Vec<&[u8]>]) {
    for pieces in pieces {
        let mut reader = ItemsReader::new(u64::MAX);
        let fed = pieces.iter().try_for_each(|piece| reader.feed(piece));
        let ours = fed.and_then(|()| reader.finish()).map(|items| items.iter().map(taken_item).collect::<Vec<_>>());
        compare(body, &ours, |members| {
            Ok(list(&members, "items", BodyError::Items)?.into_iter().map(expected_item).collect())
        });
    }
}

fn check_incr(body: &[u8], pieces: &[Vec<&[u8]>]) {
    let whole_body = incr_in_place(body);
    for pieces in pieces {
        let mut reader = IncrReader::new();
        let fed = pieces.iter().try_for_each(|piece| reader.feed(piece));
        let ours = fed.and_then(|()| reader.finish());
        assert_eq!(ours.map_err(coarse), whole_body.clone().map_err(coarse), "{}", body.escape_ascii());
    }
    let ours = whole_body.map(|incr| (incr.key().to_vec(), incr.delta, incr.ttl)).map_err(|error| match error {
        BodyError::Key(_) => BodyError::Keys,
        error => error,
    });
    compare(body, &ours, |members| {
        let key = members.get("key").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let key = key.ok_or(BodyError::NoKey)?;
        if !valid(&key) {
            return Err(BodyError::Keys);
        }
        let delta = members.get("delta").and_then(|raw| whole(raw.get())).ok_or(BodyError::Delta)?;
        Ok((key.into_bytes(), delta, ttl(&members)?))
    });
}
