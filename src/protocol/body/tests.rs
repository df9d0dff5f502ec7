use super::*;
use crate::command::ValueKind;
use crate::limits::{BATCH_ITEMS_MAX, INLINE_VALUE_BYTES_MAX};
use crate::time::Ttl;

fn bytes_of(captured: &Captured) -> Vec<u8> {
    match captured {
        Captured::Inline(bytes) => bytes.clone(),
        Captured::Blob(blob) => blob.to_vec(),
    }
}

fn streamed(body: &[u8], piece: usize, value_bytes_max: u64) -> Result<StreamedPut, BodyError> {
    let mut reader = PutReader::new(value_bytes_max);
    body.chunks(piece).try_for_each(|part| reader.feed(part))?;
    reader.finish()
}

fn keys(body: &str, piece: usize) -> Result<Vec<SentKey>, BodyError> {
    let mut reader = KeysReader::new();
    body.as_bytes().chunks(piece).try_for_each(|part| reader.feed(part))?;
    reader.finish()
}

fn items(body: &str, piece: usize, value_bytes_max: u64) -> Result<Vec<BatchItem>, BodyError> {
    let mut reader = ItemsReader::new(value_bytes_max);
    body.as_bytes().chunks(piece).try_for_each(|part| reader.feed(part))?;
    reader.finish()
}

#[test]
fn a_value_is_taken_exactly_as_it_was_written() {
    use ValueKind::{Boolean, Json, Number, String};
    let cases = [
        (r#"{"value":"a\u00e9\n"}"#, String, r#""a\u00e9\n""#, 4, 0),
        (r#" { "value" : 1.50e+3 , "ttlSec" : 60 } "#, Number, "1.50e+3", 7, 60),
        (r#"{"ttlSec":0,"value":true}"#, Boolean, "true", 4, 0),
        (r#"{"value":{ "a" : [1, "x"] },"ttlSec":2147483647}"#, Json, r#"{ "a" : [1, "x"] }"#, 18, 2_147_483_647),
        (r#"{"value":[ ],"ttlSec":null}"#, Json, "[ ]", 3, 0),
        (r#"{"v\u0061lue":0}"#, Number, "0", 1, 0),
        (r#"{"x":{"value":1},"value":"","y":[{"ttlSec":-1}],"value ":2,"valueX":3}"#, String, "\"\"", 0, 0),
        (r#"{"value":null,"value":1,"ttlSec":"x","ttlSec":3}"#, Number, "1", 1, 3),
        (r#"{"value":[1],"value":false}"#, Boolean, "false", 5, 0),
        (r#"{"value":1,"key":5,"delta":"x"}"#, Number, "1", 1, 0),
    ];
    for (body, kind, text, raw_len, ttl) in cases {
        let ttl = Ttl::from_secs(ttl).unwrap();
        assert_eq!(put_in_place(body.as_bytes()), Ok(PutBody { kind, text: text.as_bytes(), raw_len, ttl }), "{body}");
        for piece in 1..=body.len() {
            let put = streamed(body.as_bytes(), piece, 1_000).unwrap();
            assert_eq!((put.kind, put.raw_len, put.ttl), (kind, raw_len, ttl), "{body} by {piece}");
            assert_eq!(bytes_of(&put.payload), text.as_bytes(), "{body} by {piece}");
        }
    }
}

#[test]
fn envelopes_that_say_no_value_are_refused() {
    use JsonError::{Incomplete, Unexpected};
    let cases = [
        ("", BodyError::Json(Incomplete)),
        ("{", BodyError::Json(Incomplete)),
        (r#"{"value":1"#, BodyError::Json(Incomplete)),
        (r#"{"value":1}{"#, BodyError::Json(Unexpected)),
        (r#"{"value":1,}"#, BodyError::Json(Unexpected)),
        ("[]", BodyError::NotAnObject),
        ("1", BodyError::NotAnObject),
        ("\"value\"", BodyError::NotAnObject),
        ("{}", BodyError::NoValue),
        (r#"{"value":null}"#, BodyError::NoValue),
        (r#"{"value":1,"value":null}"#, BodyError::NoValue),
        (r#"{"Value":1}"#, BodyError::NoValue),
        (r#"{"x":{"value":1}}"#, BodyError::NoValue),
        (r#"{"value":1,"ttlSec":1.5}"#, BodyError::TtlSec),
        (r#"{"value":1,"ttlSec":1e10}"#, BodyError::TtlSec),
        (r#"{"value":1,"ttlSec":-1}"#, BodyError::TtlSec),
        (r#"{"value":1,"ttlSec":2147483648}"#, BodyError::TtlSec),
        (r#"{"value":1,"ttlSec":100000000000000000000000000000}"#, BodyError::TtlSec),
        (r#"{"value":1,"ttlSec":"1"}"#, BodyError::TtlSec),
        (r#"{"value":1,"ttlSec":[1]}"#, BodyError::TtlSec),
        (r#"{"value":1,"ttlSec":true}"#, BodyError::TtlSec),
        (r#"{"value":1,"ttlSec":1,"ttlSec":{}}"#, BodyError::TtlSec),
    ];
    for (body, error) in cases {
        assert_eq!(put_in_place(body.as_bytes()), Err(error), "{body}");
        assert_eq!(error.status(), 400);
        for piece in 1..=body.len() {
            assert_eq!(streamed(body.as_bytes(), piece, 1_000).err(), Some(error), "{body} by {piece}");
        }
    }
}

#[test]
fn values_beyond_the_bound_are_refused_as_soon_as_it_is_known() {
    let body = br#"{"value":"12345678"}"#;
    assert!(streamed(body, 3, 10).is_ok());
    assert_eq!(streamed(body, 3, 9).unwrap_err().status(), 413);
    let mut reader = PutReader::new(9);
    assert_eq!(reader.feed(br#"{"value":[1,2,3,4,5"#), Err(BodyError::TooLarge));
}

#[test]
fn long_values_are_kept_in_chunks() {
    for (len, inline) in [(INLINE_VALUE_BYTES_MAX, true), (INLINE_VALUE_BYTES_MAX + 1, false), (200_000, false)] {
        let text = format!("\"{}\"", "x".repeat(len - 2));
        for piece in [1_000, len * 2] {
            let put = streamed(format!("{{\"value\":{text}}}").as_bytes(), piece, u64::MAX).unwrap();
            assert_eq!(matches!(put.payload, Captured::Inline(_)), inline, "{len}");
            assert_eq!((put.payload.len(), put.raw_len), (len as u64, len as u64 - 2));
            assert!(bytes_of(&put.payload) == text.as_bytes());
        }
    }
    let mut reader = PutReader::new(u64::MAX);
    reader.feed(b"{\"value\":\"").unwrap();
    reader.feed(&[b'x'; 100_000]).unwrap();
    assert!((100_000..200_000).contains(&reader.captured_bytes()));
}

#[test]
fn keys_come_in_order_and_are_judged_one_by_one() {
    let long = "x".repeat(251);
    let body = format!(r#"{{"n":[["keys"]],"k\u0065ys":["a","b\/\u00e9","","\u0000", "a" ,"{long}"],"z":1}}"#);
    for piece in [1, 2, 5, body.len()] {
        let keys = keys(&body, piece).unwrap();
        let valid: Vec<_> = keys.iter().map(SentKey::valid).collect();
        let expected: [Result<&[u8], KeyError>; 6] = [
            Ok(b"a"),
            Ok("b/é".as_bytes()),
            Err(KeyError::Empty),
            Err(KeyError::Nul),
            Ok(b"a"),
            Err(KeyError::TooLong),
        ];
        assert_eq!(valid, expected, "by {piece}");
        assert_eq!(keys[1].shown(), Some("b/é"));
    }
    let huge = keys(&format!("{{\"keys\":[\"{}\"]}}", "x".repeat(100_000)), 999).unwrap();
    assert_eq!((huge[0].valid(), huge[0].shown()), (Err(KeyError::TooLong), None));
}

#[test]
fn lists_of_the_wrong_shape_are_refused() {
    let strings = |n: usize| vec!["\"k\""; n].join(",");
    let of_keys = |list: &str| keys(&format!("{{\"keys\":{list}}}"), 3).map(|keys| keys.len());
    assert_eq!(of_keys(&format!("[{}]", strings(BATCH_ITEMS_MAX))), Ok(BATCH_ITEMS_MAX));
    assert_eq!(of_keys(&format!("[{}]", strings(BATCH_ITEMS_MAX + 1))), Err(BodyError::Keys));
    for bad in ["[]", "{}", "\"a\"", "null", "1", "[1]", "[null]", "[\"a\",[\"b\"]]", "[{}]", "[\"a\"],\"keys\":1"] {
        assert_eq!(of_keys(bad), Err(BodyError::Keys), "{bad}");
    }
    assert_eq!(of_keys("[1,[2]],\"keys\":[\"a\"]"), Ok(1));
    assert_eq!(keys("{}", 1).err(), Some(BodyError::Keys));
    assert_eq!(keys("[\"a\"]", 1).err(), Some(BodyError::NotAnObject));
    assert_eq!(keys("{\"keys\":[\"a\"]", 1).err(), Some(BodyError::Json(JsonError::Incomplete)));
    let objects = |n: usize| format!("{{\"items\":[{}]}}", vec!["{\"key\":\"k\",\"value\":1}"; n].join(","));
    assert_eq!(items(&objects(BATCH_ITEMS_MAX), 9, 10).map(|items| items.len()), Ok(BATCH_ITEMS_MAX));
    for bad in [objects(0), objects(BATCH_ITEMS_MAX + 1), "{\"items\":{}}".into(), "{}".into()] {
        assert_eq!(items(&bad, 9, 10).err(), Some(BodyError::Items), "{bad}");
    }
}

#[test]
fn a_bad_item_spoils_no_other() {
    let body = r#"{"items":[{"key":"a","value":1}, 5, {"value":2}, {"key":7,"value":2}, {"key":"","value":2},
        {"key":"b"}, {"key":"c","value":null}, {"key":"d","value":3,"ttlSec":-1}, ["key",["value"],{"key":1}], "s",
        null, {"key":"e","value":"123456789"}, {}, {"key":"f","value":{"key":"x","value":[]},"ttlSec":9},
        {"k\u0065y":"\u0067","value":"é"}]}"#;
    let expected = [
        ("a", None),
        ("", Some(BodyError::Item)),
        ("", Some(BodyError::NoKey)),
        ("", Some(BodyError::NoKey)),
        ("", Some(BodyError::Key(KeyError::Empty))),
        ("b", Some(BodyError::NoValue)),
        ("c", Some(BodyError::NoValue)),
        ("d", Some(BodyError::TtlSec)),
        ("", Some(BodyError::Item)),
        ("", Some(BodyError::Item)),
        ("", Some(BodyError::Item)),
        ("e", Some(BodyError::TooLarge)),
        ("", Some(BodyError::NoKey)),
        ("f", None),
        ("g", None),
    ];
    for piece in [1, 2, 3, 7, 50, body.len()] {
        // The longest good value is 22 bytes; `e` is made too long for the bound by padding it here.
        let body = body.replace("123456789", &"9".repeat(30));
        let items = items(&body, piece, 25).unwrap();
        let seen = items.iter().map(|item| (item.key.shown().unwrap(), item.put.as_ref().err().copied()));
        let seen: Vec<_> = seen.collect();
        assert_eq!(seen, expected, "by {piece}");
        let nested = items[13].put.as_ref().unwrap();
        assert_eq!(bytes_of(&nested.payload), br#"{"key":"x","value":[]}"#);
        assert_eq!((nested.kind, nested.ttl.as_secs()), (ValueKind::Json, 9));
        let text = items[14].put.as_ref().unwrap();
        assert_eq!((text.kind, text.raw_len), (ValueKind::String, 2));
    }
}

#[test]
fn counters_are_asked_for_exactly() {
    let cases = [
        (r#"{"key":"n","delta":1}"#, Ok((1, None))),
        (r#"{"key":"n","delta":-9223372036854775808,"ttlSec":5}"#, Ok((i64::MIN, Some(5)))),
        (r#"{"key":"n","delta":9223372036854775807,"ttlSec":0}"#, Ok((i64::MAX, Some(0)))),
        (r#"{"key":"n","delta":-0,"ttlSec":null}"#, Ok((0, None))),
        (r#"{"key":"n","delta":9223372036854775808}"#, Err(BodyError::Delta)),
        (r#"{"key":"n","delta":1.5}"#, Err(BodyError::Delta)),
        (r#"{"key":"n","delta":-2.0,"ttlSec":6e1}"#, Ok((-2, Some(60)))),
        (r#"{"key":"n","delta":"1"}"#, Err(BodyError::Delta)),
        (r#"{"key":"n"}"#, Err(BodyError::Delta)),
        (r#"{"key":"n","delta":null}"#, Err(BodyError::Delta)),
        (r#"{"delta":1}"#, Err(BodyError::NoKey)),
        (r#"{"key":null,"delta":1}"#, Err(BodyError::NoKey)),
        (r#"{"key":"","delta":1}"#, Err(BodyError::Key(KeyError::Empty))),
        (r#"{"key":"n","delta":1,"ttlSec":0.5}"#, Err(BodyError::TtlSec)),
        (r#"[]"#, Err(BodyError::NotAnObject)),
    ];
    for (body, expected) in cases {
        let read = |result: Result<IncrBody, BodyError>| {
            result.map(|incr| {
                assert_eq!(incr.key(), b"n");
                (incr.delta, incr.ttl.map(Ttl::as_secs))
            })
        };
        assert_eq!(read(incr_in_place(body.as_bytes())), expected, "{body}");
        for piece in 1..body.len() {
            let mut reader = IncrReader::new();
            let fed = body.as_bytes().chunks(piece).try_for_each(|part| reader.feed(part));
            assert_eq!(read(fed.and_then(|()| reader.finish())), expected, "{body} by {piece}");
        }
    }
}

/// Insides of strings, and things that only look like them.
const INSIDES: [&str; 12] =
    ["", "a", "k e y", "é😀", "\u{7f}", "\\n", "\\u0041", "\\", "a\tb", "\u{0}", "a\"b", "a\",\"x\":\"b"];

#[test]
fn a_value_found_at_a_glance_is_the_one_that_is_read() {
    for inside in INSIDES {
        for body in [
            format!("{{\"value\":\"{inside}\"}}"),
            format!("{{\"value\": \"{inside}\"}}"),
            format!("{{\"value\":\"{inside}\"}}}}"),
            format!("{{\"value\":\"{inside}}}"),
            format!("{{\"value\":{inside}\"}}"),
        ] {
            let at_once = put_in_place(body.as_bytes()).map(|put| (put.kind, put.raw_len, put.ttl, put.text.to_vec()));
            let read =
                streamed(body.as_bytes(), 3, 1_000).map(|put| (put.kind, put.raw_len, put.ttl, bytes_of(&put.payload)));
            assert_eq!(at_once, read, "{body:?}");
        }
    }
    assert!(put_in_place(b"{\"value\":\"\xff\"}").is_err());
}

#[test]
fn keys_found_at_a_glance_are_those_that_are_read() {
    let mut found_at_once = 0;
    for (one, other) in INSIDES.iter().flat_map(|one| INSIDES.iter().map(move |other| (one, other))) {
        for body in [
            format!("{{\"keys\":[\"{one}\",\"{other}\"]}}"),
            format!("{{\"keys\": [ \"{one}\", \"{other}\"]}}"),
            format!("{{\"keys\":[\"{one}\"],\"keys\":[\"{other}\"]}}"),
            format!("{{\"keys\":[\"{one}\",{other}]}}"),
            format!("{{\"keys\":[\"{one}\",]}}"),
            format!("{{\"keys\":\u{c}[\u{c}\"{one}\"]}}"),
            format!("{{\"keys\":\t\r\n [\n\"{one}\"]}}"),
        ] {
            let Some(at_once) = plain_keys(body.as_bytes()) else { continue };
            let read = keys(&body, body.len()).expect("what is found is there");
            assert!(read.iter().map(|key| key.valid().expect("a key")).eq(at_once.iter().copied()), "{body}");
            found_at_once += 1;
        }
    }
    assert!(found_at_once > 30, "{found_at_once}");
    let of = |count: usize| format!("{{\"keys\":[{}]}}", vec!["\"k\""; count].join(","));
    assert_eq!(plain_keys(of(BATCH_ITEMS_MAX).as_bytes()).map(|keys| keys.len()), Some(BATCH_ITEMS_MAX));
    assert!(plain_keys(of(BATCH_ITEMS_MAX + 1).as_bytes()).is_none() && plain_keys(of(0).as_bytes()).is_none());
    assert!(plain_keys(b"{\"keys\":[\"\xff\"]}").is_none());
}
