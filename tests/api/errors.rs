//! Errors, and what every answer carries. The parser of the tests checks `Date`, `Content-Length` and `X-Request-ID`
//! of every answer in every test.

use crate::support::client::Request;
use crate::support::{Answer, Server};
use std::collections::BTreeSet;

#[track_caller]
fn check_error(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = answer.json();
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
    assert_eq!(body["error"]["code"], code, "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
}

#[test]
fn an_unknown_path_is_404() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for path in ["/", "/v1", "/v1/kv", "/v1/kv/a/b", "/v2/kv/a", "/healthz/", "/metrics2", "/v1/kv/batch/other", "//"] {
        check_error(&client.get_path(path), 404, "NOT_FOUND");
    }
    check_error(&client.get("absent"), 404, "NOT_FOUND");
}

#[test]
fn a_known_path_with_another_method_is_405_and_tells_which_are_allowed() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let cases: [(&str, &str, &[&str]); 9] = [
        ("POST", "/v1/kv/k", &["GET", "HEAD", "PUT", "DELETE"]),
        ("PATCH", "/v1/kv/k", &["GET", "HEAD", "PUT", "DELETE"]),
        ("get", "/v1/kv/k", &["GET", "HEAD", "PUT", "DELETE"]),
        ("GET", "/v1/kv/batch/get", &["POST"]),
        ("PUT", "/v1/kv/batch/set", &["POST"]),
        ("DELETE", "/v1/kv/batch/delete", &["POST"]),
        ("POST", "/healthz", &["GET"]),
        ("DELETE", "/readyz", &["GET"]),
        ("PUT", "/metrics", &["GET"]),
    ];
    for (method, target, allowed) in cases {
        let answer = client.send(&Request { method, target, ..Request::default() });
        check_error(&answer, 405, "METHOD_NOT_ALLOWED");
        let allow: BTreeSet<&str> = answer.required("Allow").split(',').map(str::trim).collect();
        assert!(allowed.iter().all(|method| allow.contains(method)), "{method} {target}: {allow:?}");
        assert!(!allow.contains(method), "{method} {target}: {allow:?}");
    }
}

#[test]
fn a_request_id_of_the_client_comes_back() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for id in ["a", "some-id/with:marks~", &"x".repeat(128)] {
        for target in ["/v1/kv/absent", "/healthz", "/nowhere", "/metrics"] {
            assert_eq!(client.get_with(target, &[("X-Request-ID", id)]).required("X-Request-ID"), id, "{target}");
        }
    }
    for bad in ["", "two words", "caf\u{e9}", &"x".repeat(129)] {
        let answer = client.get_with("/healthz", &[("X-Request-ID", bad)]);
        assert_ne!(answer.required("X-Request-ID"), bad);
    }
}

#[test]
fn fresh_request_ids_are_never_the_same() {
    let server = Server::with_shards(2);
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let mut client = server.client();
        for _ in 0..20 {
            let id = client.get("absent").required("X-Request-ID").to_owned();
            assert!(seen.insert(id.clone()), "{id} was given twice");
        }
    }
}

#[test]
fn health_readiness_and_description_answer_in_their_shapes() {
    let server = Server::with_shards(2);
    let mut client = server.client();
    let health = client.get_path("/healthz").expect_status(200).json();
    assert_eq!((&health["status"], &health["service"]), (&"ok".into(), &"cache-service".into()));
    assert!(!health["timestamp"].is_null());
    client.put_value("k", "1").expect_status(201);
    crate::support::eventually_equal("totalEntries", &Some(1), || {
        client.get_path("/readyz").expect_status(200).json()["totalEntries"].as_u64()
    });
    let ready = client.get_path("/readyz").expect_status(200).json();
    assert_eq!((&ready["status"], &ready["shards"]), (&"ready".into(), &2.into()));
    assert!(ready["memoryBytes"].as_u64().is_some_and(|bytes| bytes > 0) && !ready["timestamp"].is_null(), "{ready}");
    let description = client.get_path("/openapi.json").expect_status(200).json();
    assert!(description["paths"]["/v1/kv/{key}"]["put"].is_object(), "{description}");
    let page = client.get_path("/docs").expect_status(200);
    assert!(page.required("Content-Type").starts_with("text/html"));
    for outside in ["src=\"http", "src=\"//", "href=\"//", "url(http", "@import"] {
        assert!(!page.text().contains(outside), "the page needs an outside address: {outside}");
    }
}

#[test]
fn errors_are_counted_under_their_route_and_status() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.get("absent").expect_status(404);
    client.get("absent2").expect_status(404);
    client.put("k", "{").expect_status(400);
    let count = |method: &str, route: &str, status: &str| {
        let labels = [("method", method), ("route", route), ("status_code", status)];
        server.metrics().sum_where("http_request_duration_seconds_count", &labels)
    };
    crate::support::eventually_equal("404 of GET", &2.0, || count("GET", "/v1/kv/:key", "404"));
    crate::support::eventually_equal("400 of PUT", &1.0, || count("PUT", "/v1/kv/:key", "400"));
}
