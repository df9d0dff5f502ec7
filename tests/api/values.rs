//! JSON values come back as they were written, character for character.

use crate::support::Server;

#[test]
fn every_json_value_keeps_its_exact_text() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let values = [
        ("\"\"", "string"),
        ("\"plain\"", "string"),
        (r#""quote \" backslash \\ slash \/ newline \n nul \u0000""#, "string"),
        (r#""\u00e9 é \ud83d\ude00 😀""#, "string"),
        ("0", "number"),
        ("-0", "number"),
        ("1.0", "number"),
        ("1e400", "number"),
        ("-1.50E-07", "number"),
        ("12345678901234567890", "number"),
        ("0.1000000000000000055511151231257827", "number"),
        ("true", "boolean"),
        ("false", "boolean"),
        ("[]", "json"),
        ("{}", "json"),
        (r#"[1, 2.0,{"a" : null},"x"]"#, "json"),
        (r#"{"b":1,"a":{"b":[true,false]},"b":2}"#, "json"),
    ];
    for (value, kind) in values {
        client.put_value("k", value);
        let answer = client.get("k").expect_status(200);
        assert_eq!(answer.member_text("value"), value);
        assert_eq!(answer.member_text("type"), format!("\"{kind}\""), "{value}");
    }
}

#[test]
fn blanks_around_a_value_are_not_part_of_it() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("k", "\r\n\t { \"value\" :\n 12.50 \t,  \"ttlSec\" : 0 } \n").expect_status(201);
    assert_eq!(client.get("k").expect_status(200).member_text("value"), "12.50");
}

#[test]
fn members_that_nobody_knows_are_ignored() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("k", r#"{"x":{"value":1},"value":2,"y":[{}]}"#).expect_status(201);
    assert_eq!(client.get("k").member_text("value"), "2");
}

#[test]
fn a_body_without_a_usable_value_is_refused_and_changes_nothing() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let before = client.put_value("k", "\"before\"").expect_status(201).version();
    let bad_bodies = [
        "",
        " ",
        "null",
        "1",
        "[1]",
        "{}",
        r#"{"value":null}"#,
        r#"{"Value":1}"#,
        r#"{"value":}"#,
        r#"{"value":1"#,
        r#"{"value":1}}"#,
        r#"{"value":1} x"#,
        r#"{"value":01}"#,
        r#"{"value":+1}"#,
        r#"{"value":.5}"#,
        r#"{"value":1.}"#,
        r#"{"value":NaN}"#,
        r#"{"value":tru}"#,
        r#"{"value":'a'}"#,
        r#"{"value":"a}"#,
        r#"{"value":"\x"}"#,
        "{\"value\":\"a\nb\"}",
        r#"{"value":[1,]}"#,
        r#"{"value":{"a":1,}}"#,
        r#"{"value":1,}"#,
    ];
    for body in bad_bodies {
        let answer = client.put("k", body).expect_status(400);
        assert_eq!(answer.json()["error"]["code"], "BAD_REQUEST", "{body}");
    }
    let after = client.get("k").expect_status(200);
    assert_eq!((after.member_text("value"), after.version()), ("\"before\"".to_owned(), before));
}

#[test]
fn a_body_that_is_not_utf8_is_refused() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let answer = client.put_bytes("k", "application/json", b"{\"value\":\"\xff\xfe\"}");
    answer.expect_status(400);
    client.get("k").expect_status(404);
}

#[test]
fn a_large_value_comes_back_whole_by_both_forms() {
    let server = Server::with_shards(2);
    let mut client = server.client();
    let text: String = (0..300_000_u32).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    for key in ["one", "two", "three", "four"] {
        client.put_value(key, &format!("\"{text}\"")).expect_status(201);
        assert!(client.get(key).expect_status(200).member_text("value") == format!("\"{text}\""), "{key} as JSON");
        let raw = client.get(&format!("{key}?raw=true")).expect_status(200);
        assert!(raw.body == text.as_bytes(), "{key} raw");
    }
}

#[test]
fn meta_is_added_when_it_is_asked_for() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put("k", r#"{"value":1,"ttlSec":1000}"#).expect_status(201);
    client.put("eternal", r#"{"value":1}"#).expect_status(201);
    let meta = client.get("k?includeMeta=true").expect_status(200).json();
    assert!(!meta["createdAt"].is_null() && !meta["updatedAt"].is_null() && !meta["expiresAt"].is_null(), "{meta}");
    assert!((900..=1000).contains(&meta["ttlSec"].as_u64().unwrap()), "{meta}");
    let meta = client.get("eternal?includeMeta=true").expect_status(200).json();
    assert!(!meta["createdAt"].is_null() && meta.get("expiresAt").is_none() && meta.get("ttlSec").is_none(), "{meta}");
    let plain = client.get("k").expect_status(200).json();
    let members: Vec<&String> = plain.as_object().unwrap().keys().collect();
    assert_eq!(members, ["type", "value", "version"]);
}

#[test]
fn a_head_is_the_head_of_the_get() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put_value("k", "\"some text\"").expect_status(201);
    for target in ["k", "k?includeMeta=true", "k?raw=true", "absent"] {
        let (head, get) = (client.head(target), client.get(target));
        assert_eq!(head.status, get.status, "{target}");
        for name in ["Content-Length", "Content-Type", "ETag"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {target}");
        }
    }
}

#[test]
fn keys_are_percent_decoded() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let same = [("a%2Fb", "a%2fb"), ("%61", "a"), ("caf%C3%A9", "caf%c3%a9"), ("a+b", "a%2Bb"), ("a%20b", "a%20b")];
    for (written, read) in same {
        client.put_value(written, &format!("\"{}\"", written.replace('%', ""))).expect_status(201);
        let text = client.get(read).expect_status(200).member_text("value");
        assert_eq!(text, format!("\"{}\"", written.replace('%', "")), "{written} read as {read}");
    }
    let keys = client.post("/v1/kv/batch/get", r#"{"keys":["a/b","café","a+b","a b"]}"#).expect_status(200).json();
    assert_eq!(keys["misses"], serde_json::json!([]), "the decoded keys are the stored ones");
}

#[test]
fn a_key_has_1_to_250_characters_of_utf8_without_nul() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for good in ["k".to_owned(), "k".repeat(250), "%C3%A9".repeat(250), "%F0%9F%98%80".repeat(250)] {
        client.put_value(&good, "1").expect_status(201);
        client.get(&good).expect_status(200);
    }
    for bad in
        ["k".repeat(251), "%C3%A9".repeat(251), "a%00b".into(), "%ff".into(), "%c3".into(), "%zz".into(), "%4".into()]
    {
        client.put_value(&bad, "1").expect_status(400);
        client.get(&bad).expect_status(400);
    }
    for other_path in ["a/b", "a/"] {
        client.put_value(other_path, "1").expect_status(404);
    }
}

#[test]
fn the_names_of_operations_are_ordinary_keys_under_other_methods() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for key in ["incr", "batch"] {
        client.put_value(key, "7").expect_status(201);
        assert_eq!(client.get(key).expect_status(200).member_text("value"), "7");
        client.delete(key).expect_status(204);
        client.get(key).expect_status(404);
    }
}

#[test]
fn a_deleted_key_is_gone_and_created_anew() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.delete("k").expect_status(404);
    client.put_value("k", "1").expect_status(201);
    client.put_value("k", "2").expect_status(200);
    client.delete("k").expect_status(204);
    client.get("k").expect_status(404);
    client.delete("k").expect_status(404);
    client.put_value("k", "3").expect_status(201);
}
