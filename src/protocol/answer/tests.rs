use super::*;
use crate::command::{Expires, LeaseId, Meta, NumberText, Value, ValueKind, Version};
use crate::time::UnixMillis;

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";
const HEAD: AnswerHead<'static> = AnswerHead {
    request_id: RequestIdText::Given("id-1"),
    date: DATE,
    http11: true,
    keep_alive: true,
    head_only: false,
};

fn meta(kind: ValueKind, len: usize, raw_len: usize) -> Meta {
    Meta {
        kind,
        version: Version(0xabc),
        created_at: UnixMillis(0),
        updated_at: UnixMillis(1_500),
        expires: None,
        len: len as u64,
        raw_len: raw_len as u64,
    }
}

/// What `write` appends: its head and its body. Whatever was in the buffer before must stay, and the length be right.
fn answer(write: impl FnOnce(&mut Vec<u8>)) -> (String, Vec<u8>) {
    let mut out = b"before".to_vec();
    write(&mut out);
    let out = out.strip_prefix(b"before").unwrap();
    let end = memchr::memmem::find(out, b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(out[..end].to_vec()).unwrap();
    let mut fields = [httparse::EMPTY_HEADER; 20];
    let mut parsed = httparse::Response::new(&mut fields);
    assert!(parsed.parse(head.as_bytes()).unwrap().is_complete());
    let body = out[end..].to_vec();
    let length = parsed.headers.iter().find(|field| field.name == "Content-Length");
    match parsed.code {
        Some(204 | 304) => assert!(length.is_none() && body.is_empty()),
        _ if body.is_empty() => {}
        _ => assert_eq!(length.unwrap().value, body.len().to_string().as_bytes()),
    }
    (head, body)
}

fn read(meta: &Meta, value: &[u8], form: Form) -> (String, Vec<u8>) {
    let found_entry = Found { meta, media: b"image/png", value: &Value::Inline(value) };
    let whole = answer(|out| assert!(found(out, &HEAD, &found_entry, form).is_none()));
    for piece in [1, 2, 3, 4, 5, 7, 100] {
        let leased = Found { value: &Value::Leased(LeaseId(1)), ..found_entry };
        let streamed = answer(|out| {
            let mut tail = found(out, &HEAD, &leased, form).unwrap();
            value.chunks(piece).for_each(|chunk| tail.encode_slice(chunk, out));
            assert_eq!(tail.remaining(), 0);
            tail.finish(out);
        });
        assert_eq!(streamed, whole, "by {piece}");
    }
    let omitted = Found { value: &Value::Omitted, ..found_entry };
    let head_only = AnswerHead { head_only: true, ..HEAD };
    let (head, body) = answer(|out| assert!(found(out, &head_only, &omitted, form).is_none()));
    assert_eq!((head, body.len()), (whole.0.clone(), 0));
    whole
}

#[test]
fn a_value_is_given_out_in_json_however_it_is_held() {
    let json = Form::Json { include_meta: false };
    let (head, body) = read(&meta(ValueKind::Number, 4, 4), b"1.50", json);
    assert_eq!(body, br#"{"value":1.50,"type":"number","version":"0000000000000abc"}"#);
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Request-ID: id-1\r\n\
         Cache-Control: no-cache\r\nVary: Accept\r\nETag: \"0000000000000abc\"\r\n\
         Content-Type: application/json; charset=utf-8\r\nContent-Length: 59\r\n\r\n"
    );
    let bytes: Vec<u8> = (0..=255).collect();
    for (len, expected) in [(0, ""), (1, "AA=="), (2, "AAE="), (3, "AAEC"), (7, "AAECAwQFBg==")] {
        let (_, body) = read(&meta(ValueKind::Bytes, len, len), &bytes[..len], json);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&value["value"], &value["type"]), (&expected.into(), &"bytes".into()));
    }
}

#[test]
fn times_are_told_if_they_are_asked_for() {
    let mut meta = meta(ValueKind::Boolean, 4, 4);
    let with_meta = Form::Json { include_meta: true };
    let plain = r#"{"value":true,"type":"boolean","version":"0000000000000abc","createdAt":"1970-01-01T00:00:00.000Z","updatedAt":"1970-01-01T00:00:01.500Z""#;
    assert_eq!(String::from_utf8(read(&meta, b"true", with_meta).1).unwrap(), format!("{plain}}}"));
    meta.expires = Some(Expires { at: UnixMillis(61_500), ttl_secs: 2_147_483_647 });
    let expiry = r#","expiresAt":"1970-01-01T00:01:01.500Z","ttlSec":2147483647}"#;
    assert_eq!(String::from_utf8(read(&meta, b"true", with_meta).1).unwrap(), format!("{plain}{expiry}"));
    assert!(!String::from_utf8(read(&meta, b"true", Form::Json { include_meta: false }).1).unwrap().contains("At"));
}

#[test]
fn raw_values_are_given_out_as_they_are_meant() {
    let text = r#""a\n\"\ud83d\ude00\ud83d""#.as_bytes();
    let (head, body) = read(&meta(ValueKind::String, text.len(), 10), text, Form::Raw);
    assert_eq!(body, "a\n\"😀\u{fffd}".as_bytes());
    assert!(head.contains("\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"));
    let (head, body) = read(&meta(ValueKind::Bytes, 3, 3), b"\0\xff\n", Form::Raw);
    assert_eq!(body, b"\0\xff\n");
    assert!(head.contains("\r\nContent-Type: image/png\r\n"));
    assert!(head.contains("\r\nContent-Security-Policy: default-src 'none'; sandbox\r\n"));
    let (head, body) = read(&meta(ValueKind::Json, 3, 3), b"[1]", Form::Raw);
    assert_eq!(body, b"[1]");
    assert!(head.contains("\r\nContent-Type: application/json; charset=utf-8\r\n"));
}

#[test]
#[should_panic(expected = "as long as its description says")]
fn a_value_of_another_length_never_leaves() {
    let found_entry = Found { meta: &meta(ValueKind::Number, 3, 3), media: b"", value: &Value::Inline(b"12") };
    found(&mut Vec::new(), &HEAD, &found_entry, Form::Raw);
}

#[test]
fn writes_are_answered_with_their_version() {
    let (head, body) = answer(|out| written(out, &HEAD, true, Version(1), None));
    assert!(head.starts_with("HTTP/1.1 201 Created\r\n"));
    assert_eq!(body, br#"{"version":"0000000000000001"}"#);
    let (head, body) = answer(|out| written(out, &HEAD, false, Version(1), Some(UnixMillis(1_000))));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(body, br#"{"version":"0000000000000001","expiresAt":"1970-01-01T00:00:01.000Z"}"#);
    let value = NumberText::from_slice(b"-9223372036854775808");
    let (_, body) = answer(|out| counted(out, &HEAD, &value, Version(2)));
    assert_eq!(body, br#"{"value":-9223372036854775808,"version":"0000000000000002"}"#);
    assert!(answer(|out| deleted(out, &HEAD)).0.starts_with("HTTP/1.1 204 No Content\r\n"));
    let (head, _) = answer(|out| not_modified(out, &HEAD, Version(3)));
    assert!(head.starts_with("HTTP/1.1 304 Not Modified\r\n") && head.contains("\r\nETag: \"0000000000000003\"\r\n"));
}

#[test]
fn conflicts_say_what_was_expected_and_what_is_there() {
    let details = |expected, actual| -> serde_json::Value {
        let (head, body) = answer(|out| conflict(out, &HEAD, "k\"é".as_bytes(), expected, actual));
        assert!(head.starts_with("HTTP/1.1 409 Conflict\r\n"));
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["code"], "CONFLICT");
        body["error"]["details"].clone()
    };
    let expected = serde_json::json!({"key": "k\"é", "expected": "v\"1", "actual": null});
    assert_eq!(details(Some("v\"1"), None), expected);
    let expected = serde_json::json!({"key": "k\"é", "expected": null, "actual": "0000000000000005"});
    assert_eq!(details(None, Some(Version(5))), expected);
}

#[test]
fn errors_carry_the_fields_that_belong_to_them() {
    let said = |failure: &Failure<'_>| {
        let (head, body) = answer(|out| error(out, &HEAD, failure));
        assert!(head.contains("\r\nCache-Control: no-store\r\n"));
        (head, String::from_utf8(body).unwrap())
    };
    let (head, body) = said(&Failure::new(ErrorCode::NotFound, "no \"such\" key\n"));
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert_eq!(body, r#"{"error":{"code":"NOT_FOUND","message":"no \"such\" key\n"}}"#);
    assert!(said(&Failure::new(ErrorCode::Unauthorized, "")).0.contains("\r\nWWW-Authenticate: Bearer realm="));
    assert!(said(&Failure::new(ErrorCode::ServiceUnavailable, "")).0.contains("\r\nRetry-After: 1\r\n"));
    assert!(said(&Failure::method_not_allowed("POST")).0.contains("\r\nAllow: POST\r\n"));
    let (head, body) = said(&Failure::of_status(431, "m"));
    assert!(head.starts_with("HTTP/1.1 431 ") && body.contains("\"BAD_REQUEST\""));
    for status in [400, 401, 404, 405, 408, 409, 413, 500, 503] {
        assert_eq!(ErrorCode::of_status(status).status(), status);
    }
}

#[test]
fn the_connection_is_announced_as_it_will_be() {
    let fields = |http11, keep_alive| {
        let head = AnswerHead { http11, keep_alive, request_id: RequestIdText::Fresh([1, u64::MAX]), ..HEAD };
        answer(|out| json(out, &head, 200, b"{}")).0
    };
    assert!(!fields(true, true).contains("Connection"));
    assert!(fields(false, true).contains("\r\nConnection: keep-alive\r\n"));
    assert!(fields(true, false).contains("\r\nConnection: close\r\n"));
    assert!(fields(false, false).contains("\r\nConnection: close\r\n"));
    assert!(fields(true, true).contains("\r\nX-Request-ID: 0000000000000001ffffffffffffffff\r\n"));
    for gzip in [false, true] {
        let (head, body) = answer(|out| {
            page(out, &HEAD, "text/html", gzip, 3);
            out.extend_from_slice(b"<p>");
        });
        assert!(head.contains("\r\nContent-Type: text/html\r\n") && head.contains("\r\nContent-Length: 3\r\n"));
        assert!(head.contains("\r\nVary: Accept, Accept-Encoding\r\n"));
        assert_eq!(head.contains("\r\nContent-Encoding: gzip\r\n"), gzip);
        assert_eq!(body, b"<p>");
    }
}

#[test]
fn batches_of_reads_are_measured_before_they_are_written() {
    let (short, long) = (meta(ValueKind::Number, 1, 1), meta(ValueKind::Bytes, 4, 4));
    let hits = [
        (b"a\"b".as_slice(), &short, Value::Inline(b"7".as_slice())),
        (b"long", &long, Value::Leased(LeaseId(1))),
        ("é".as_bytes(), &short, Value::Inline(b"8")),
    ];
    let misses: [&[u8]; 2] = [b"x", b"\n"];
    for (hits, misses) in [(&hits[..], &misses[..]), (&hits[..1], &[]), (&[], &misses[..1]), (&[], &[])] {
        let (_, body) = answer(|out| {
            let shapes = hits.iter().map(|&(key, meta, _)| (key, meta));
            let mut batch = BatchGet::begin(out, &HEAD, shapes, misses.iter().copied());
            for (key, meta, value) in hits {
                if let Some(mut tail) = batch.hit(out, key, meta, value) {
                    tail.encode_slice(b"\0\x01", out);
                    tail.encode_slice(b"\x02\x03", out);
                    tail.finish(out);
                }
            }
            batch.finish(out, misses.iter().copied());
        });
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["hits"].as_array().unwrap().len(), hits.len());
        assert_eq!(body["misses"].as_array().unwrap().len(), misses.len());
        if hits.len() == 3 {
            let expected = serde_json::json!({
                "key": "long", "value": "AAECAw==", "type": "bytes", "version": "0000000000000abc"
            });
            assert_eq!((&body["hits"][1], &body["misses"][1]), (&expected, &"\n".into()));
        }
    }
}

#[test]
fn batches_of_writes_tell_each_result() {
    let sets = [
        SetResult { key: Some("a"), outcome: Ok((true, Version(1))) },
        SetResult { key: None, outcome: Err((ErrorCode::BadRequest, "bad")) },
        SetResult { key: Some("c"), outcome: Ok((false, Version(2))) },
    ];
    let expected = r#"{"results":[{"key":"a","status":"created","version":"0000000000000001"},{"key":null,"status":"error","error":{"code":"BAD_REQUEST","message":"bad"}},{"key":"c","status":"updated","version":"0000000000000002"}]}"#;
    assert_eq!(String::from_utf8(set_results(sets.into_iter())).unwrap(), expected);
    let deletes = [
        DeleteResult { key: Some("a"), status: DeleteStatus::Deleted },
        DeleteResult { key: Some("b"), status: DeleteStatus::Missing },
        DeleteResult { key: Some(""), status: DeleteStatus::Error(ErrorCode::BadRequest, "empty") },
    ];
    let expected = r#"{"results":[{"key":"a","status":"deleted"},{"key":"b","status":"missing"},{"key":"","status":"error","error":{"code":"BAD_REQUEST","message":"empty"}}]}"#;
    assert_eq!(String::from_utf8(delete_results(deletes.into_iter())).unwrap(), expected);
}
