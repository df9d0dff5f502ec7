//! Bytes with a media type, and values as bodies.

use crate::support::Server;

#[test]
fn bytes_keep_their_media_type_and_come_back_as_they_were() {
    let server = Server::with_shards(2);
    let mut client = server.client();
    let every_byte: Vec<u8> = (0..=255).collect();
    let long: Vec<u8> = (0..500_000_u32).map(|n| (n % 253) as u8).collect();
    for (media, body) in [
        ("application/octet-stream", &every_byte[..]),
        ("image/png", &long[..]),
        ("text/plain; charset=utf-8", "grün".as_bytes()),
        ("text/html", &b""[..]),
    ] {
        client.put_bytes("k", media, body);
        let raw = client.get("k?raw=true").expect_status(200);
        assert_eq!(raw.required("Content-Type"), media);
        assert!(raw.body == body, "{media}: {} bytes for {}", raw.body.len(), body.len());
        let accepted = client.get_with("/v1/kv/k", &[("Accept", "application/octet-stream")]).expect_status(200);
        assert!(accepted.body == body && accepted.header("ETag") == raw.header("ETag"));
    }
}

#[test]
fn bytes_are_base64_in_json() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (body, base64) in
        [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (&[251, 255, 254], "+//+")]
    {
        client.put_bytes("k", "application/octet-stream", body);
        let answer = client.get("k").expect_status(200);
        assert_eq!(answer.member_text("value"), format!("\"{base64}\""));
        assert_eq!(answer.json()["type"], "bytes");
    }
}

#[test]
fn strings_are_unescaped_and_others_are_json_when_raw() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let cases = [
        (r#""a\"b\\c\/d\n\u00e9\ud83d\ude00""#, "a\"b\\c/d\né😀"),
        ("\"\"", ""),
        ("1.0", "1.0"),
        ("1e400", "1e400"),
        ("true", "true"),
        (r#"{"a" : [1, 2]}"#, r#"{"a" : [1, 2]}"#),
    ];
    for (value, raw) in cases {
        client.put_value("k", value);
        let answer = client.get("k?raw=true").expect_status(200);
        assert_eq!(answer.text(), raw);
        let media = if value.starts_with('"') { "text/plain" } else { "application/json" };
        assert!(answer.required("Content-Type").starts_with(media), "{answer:?}");
        assert_eq!(answer.required("ETag"), format!("\"{}\"", client.get("k").version()));
    }
}

#[test]
fn a_ttl_comes_in_the_query() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let answer = client.put_bytes("k?ttlSec=1000", "text/plain", b"x").expect_status(201);
    assert!(!answer.json()["expiresAt"].is_null());
    let meta = client.get("k?includeMeta=true").json();
    assert!((900..=1000).contains(&meta["ttlSec"].as_u64().unwrap()), "{meta}");
}

#[test]
fn conditions_hold_for_bytes_as_well() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let put = |client: &mut crate::support::Client, header: &str, value: &str| {
        let headers = [("Content-Type", "text/plain"), (header, value)];
        let target = "/v1/kv/k";
        let request = crate::support::client::Request { method: "PUT", target, headers: &headers, body: Some(b"x") };
        client.send(&request).status
    };
    assert_eq!(put(&mut client, "If-None-Match", "*"), 201);
    assert_eq!(put(&mut client, "If-None-Match", "*"), 409);
    let version = client.get("k").version();
    assert_eq!(put(&mut client, "If-Match", &version), 200);
    assert_eq!(put(&mut client, "If-Match", &version), 409);
}

#[test]
fn payload_bytes_are_counted_by_operation_and_type() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put_bytes("k", "text/plain", &[7; 1000]).expect_status(201);
    client.put_value("s", "\"abc\"").expect_status(201);
    let count = |kind: &str| server.metrics().sum_where("cache_payload_bytes_total", &[("type", kind)]);
    crate::support::eventually_equal("bytes", &1000.0, || count("bytes"));
    crate::support::eventually_equal("string", &5.0, || count("string"));
    client.get("k").expect_status(200);
    crate::support::eventually_equal("bytes written and read", &2000.0, || count("bytes"));
}
