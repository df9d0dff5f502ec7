//! Who may do what, and what is told about those who may not.

use crate::support::client::Request;
use crate::support::{Launch, Server, TOKEN, eventually_equal};

const WRONG: &str = "a-wrong-token-that-must-never-be-logged";

fn writes() -> [(&'static str, &'static str, &'static str); 6] {
    [
        ("PUT", "/v1/kv/k", r#"{"value":1}"#),
        ("DELETE", "/v1/kv/k", ""),
        ("POST", "/v1/kv/incr", r#"{"key":"n","delta":1}"#),
        ("POST", "/v1/kv/batch/set", r#"{"items":[{"key":"k","value":1}]}"#),
        ("POST", "/v1/kv/batch/delete", r#"{"keys":["k"]}"#),
        ("PUT", "/v1/kv/k?ttlSec=5", "not json"),
    ]
}

#[test]
fn writes_need_a_token() {
    let server = Server::start(&[]);
    for token in [None, Some(WRONG), Some(""), Some(&TOKEN[1..]), Some(&format!("{TOKEN}x")[..])] {
        for (method, target, body) in writes() {
            let mut client = server.client_with(token);
            let answer = client.send(&Request { method, target, body: Some(body.as_bytes()), ..Request::default() });
            let answer = answer.expect_status(401);
            assert_eq!(answer.json()["error"]["code"], "UNAUTHORIZED");
            assert!(!answer.required("WWW-Authenticate").is_empty());
        }
    }
    assert_eq!(server.metrics().sum("cache_entries_total"), 0.0);
}

#[test]
fn either_of_two_tokens_writes_by_either_header() {
    let tokens = ["first-token-of-32-characters-or-more", "second-token-of-32-characters-or-more"];
    let server = Server::start(&[("API_TOKEN", &tokens.join(","))]);
    let mut client = server.client_with(None);
    for token in tokens {
        for (name, value) in [
            ("X-API-Token", token.to_owned()),
            ("x-api-token", token.to_owned()),
            ("Authorization", format!("Bearer {token}")),
            ("authorization", format!("bearer {token}")),
        ] {
            let status = client.put_with("k", r#"{"value":1}"#, &[(name, &value)]).status;
            assert!(matches!(status, 200 | 201), "{name}: {value} gave {status}");
        }
    }
    for bad in [tokens.join(","), format!("Basic {}", tokens[0]), tokens[0].to_owned()] {
        client.put_with("k", r#"{"value":1}"#, &[("Authorization", &bad)]).expect_status(401);
    }
}

#[test]
fn reads_need_no_token_unless_configured() {
    let server = Server::start(&[]);
    server.client().put_value("k", "1").expect_status(201);
    let mut stranger = server.client_with(None);
    stranger.get("k").expect_status(200);
    stranger.head("k").expect_status(200);
    stranger.post("/v1/kv/batch/get", r#"{"keys":["k"]}"#).expect_status(200);
}

#[test]
fn reads_need_a_token_if_configured() {
    let server = Server::start(&[("READ_REQUIRES_AUTH", "true")]);
    let mut owner = server.client();
    owner.put_value("k", "1").expect_status(201);
    owner.get("k").expect_status(200);
    for token in [None, Some(WRONG)] {
        let mut stranger = server.client_with(token);
        stranger.get("k").expect_status(401);
        stranger.head("k").expect_status(401);
        stranger.get("absent").expect_status(401);
        stranger.post("/v1/kv/batch/get", r#"{"keys":["k"]}"#).expect_status(401);
    }
}

#[test]
fn health_and_metrics_never_need_a_token() {
    let server = Server::start(&[("READ_REQUIRES_AUTH", "true")]);
    for path in ["/healthz", "/readyz", "/metrics"] {
        server.client_with(None).get_path(path).expect_status(200);
        server.client_with(Some(WRONG)).get_path(path).expect_status(200);
    }
}

#[test]
fn failures_are_counted_by_reason() {
    let server = Server::start(&[]);
    let counts = || {
        let metrics = server.metrics();
        ["missing_token", "invalid_token"].map(|r| metrics.sum_where("cache_auth_failures_total", &[("reason", r)]))
    };
    assert_eq!(counts(), [0.0, 0.0]);
    for _ in 0..3 {
        server.client_with(None).put_value("k", "1").expect_status(401);
    }
    server.client_with(Some(WRONG)).put_value("k", "1").expect_status(401);
    eventually_equal("failures without and with a wrong token", &[3.0, 1.0], counts);
}

#[test]
fn failures_are_logged_without_the_token() {
    let server = Server::start(&[]);
    server.client_with(Some(WRONG)).put_value("k", "1").expect_status(401);
    let line = server.log_line("a log line about the failure", |line| line.contains("auth") && line.contains("401"));
    assert!(line.to_lowercase().contains("warn"), "{line}");
    assert!(line.contains("127.0.0.1"), "the peer is named: {line}");
    let all = server.log_lines().join("\n");
    assert!(!all.contains(WRONG) && !all.contains(TOKEN), "a token is in the log:\n{all}");
}

#[test]
fn without_a_configured_token_one_is_made_printed_once_and_works() {
    let server = Launch::new(&[]).without("API_TOKEN").without("HOST").start();
    assert!(server.address().ip().is_loopback(), "{}", server.address());
    server.client_with(None).put_value("k", "1").expect_status(401);
    server.client().put_value("k", "1").expect_status(401);
    let words = server.log_lines().join("\n");
    let candidates =
        words.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').filter(|w| w.len() >= 32);
    let working: Vec<&str> =
        candidates.filter(|word| server.client_with(Some(word)).put_value("k", "1").status < 300).collect();
    assert_eq!(working.len(), 1, "exactly one printed word is a token:\n{words}");
}

#[test]
fn a_token_behind_the_body_or_within_it_is_none() {
    let server = Server::start(&[]);
    let head = "PUT /v1/kv/k HTTP/1.1\r\nHost: t\r\nContent-Type: text/plain\r\n";
    for rest in [
        format!("Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-API-Token: {TOKEN}\r\n\r\n"),
        format!("Trailer: X-API-Token\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"),
        format!("Cookie: X-API-Token={TOKEN}\r\nContent-Length: 0\r\n\r\n"),
        format!("Content-Length: {}\r\n\r\nX-API-Token: {TOKEN}\r\n\r\n", TOKEN.len() + 17),
    ] {
        let mut connection = server.connect();
        assert_eq!(connection.exchange(format!("{head}{rest}")).status, 401, "{rest}");
        connection.assert_open();
    }
    assert_eq!(server.metrics().sum("cache_entries_total"), 0.0);
}

#[test]
fn a_refused_write_keeps_the_connection_in_order() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    let refused = "PUT /v1/kv/k HTTP/1.1\r\nHost: t\r\nContent-Length: 11\r\n\r\n{\"value\":1}";
    let next = "GET /v1/kv/k HTTP/1.1\r\nHost: t\r\n\r\n";
    connection.send(format!("{refused}{next}{refused}{next}"));
    let statuses: Vec<u16> = (0..4).map(|_| connection.answer().status).collect();
    assert_eq!(statuses, [401, 404, 401, 404]);
}
