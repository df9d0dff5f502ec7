//! Conditional requests: optimistic concurrency and revalidation.

use crate::support::{Client, Server};
use serde_json::{Value, json};

fn put_if(client: &mut Client, header: &str, versions: &str) -> u16 {
    client.put_with("k", r#"{"value":"new"}"#, &[(header, versions)]).status
}

#[test]
fn a_put_with_if_match_takes_place_only_at_that_version() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let first = client.put_value("k", "1").expect_status(201).version();
    let second = client.put_with("k", r#"{"value":2}"#, &[("If-Match", &first)]).expect_status(200).version();
    assert_ne!(first, second);
    assert_eq!(put_if(&mut client, "If-Match", &first), 409);
    assert_eq!(client.get("k").member_text("value"), "2");
}

#[test]
fn if_match_takes_quotes_lists_and_a_star() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(put_if(&mut client, "If-Match", "*"), 409, "the key must exist");
    let mut version = client.put_value("k", "1").expect_status(201).version();
    for shape in ["V", "\"V\"", "\"nope\", \"V\"", "nope,V", "\"V\" , \"nope\"", "*"] {
        let answer = client.put_with("k", r#"{"value":1}"#, &[("If-Match", &shape.replace('V', &version))]);
        version = answer.expect_status(200).version();
    }
    for shape in ["\"nope\"", "nope, nope2", "\"*\"", "0"] {
        assert_eq!(put_if(&mut client, "If-Match", shape), 409, "{shape}");
    }
    assert_eq!(client.get("k").version(), version);
}

#[test]
fn a_conflict_tells_what_was_expected_and_what_there_is() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let details = |answer: crate::support::Answer| -> Value {
        let body = answer.expect_status(409).json();
        assert_eq!(body["error"]["code"], "CONFLICT");
        body["error"]["details"].clone()
    };
    let absent = details(client.put_with("k", r#"{"value":1}"#, &[("If-Match", "abc1")]));
    assert_eq!(absent, json!({"key": "k", "expected": "abc1", "actual": null}));
    let version = client.put_value("k", "1").expect_status(201).version();
    let other = details(client.put_with("k", r#"{"value":1}"#, &[("If-Match", "abc1")]));
    assert_eq!(other, json!({"key": "k", "expected": "abc1", "actual": version}));
    let deletion = details(client.delete_with("k", &[("If-Match", "abc1")]));
    assert_eq!(deletion, json!({"key": "k", "expected": "abc1", "actual": version}));
}

#[test]
fn if_none_match_star_creates_only() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(put_if(&mut client, "If-None-Match", "*"), 201);
    assert_eq!(put_if(&mut client, "If-None-Match", "*"), 409);
    client.delete("k").expect_status(204);
    assert_eq!(put_if(&mut client, "If-None-Match", "*"), 201);
}

#[test]
fn if_none_match_with_versions_spares_those() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let version = client.put_value("k", "1").expect_status(201).version();
    assert_eq!(put_if(&mut client, "If-None-Match", &format!("\"nope\", \"{version}\"")), 409);
    assert_eq!(put_if(&mut client, "If-None-Match", "\"nope\""), 200);
}

#[test]
fn a_delete_with_if_match_takes_place_only_at_that_version() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let old = client.put_value("k", "1").expect_status(201).version();
    let new = client.put_value("k", "2").expect_status(200).version();
    client.delete_with("k", &[("If-Match", &old)]).expect_status(409);
    client.get("k").expect_status(200);
    client.delete_with("k", &[("If-Match", &new)]).expect_status(204);
    client.get("k").expect_status(404);
}

#[test]
fn the_etag_of_a_get_is_the_version_and_goes_round() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let version = client.put_value("k", "1").expect_status(201).version();
    let got = client.get("k").expect_status(200);
    let etag = got.required("ETag").to_owned();
    assert_eq!((etag.clone(), got.version()), (format!("\"{version}\""), version));
    client.put_with("k", r#"{"value":2}"#, &[("If-Match", &etag)]).expect_status(200);
    client.put_with("k", r#"{"value":3}"#, &[("If-Match", &etag)]).expect_status(409);
}

#[test]
fn a_get_of_what_the_client_has_is_304() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put_value("k", "1").expect_status(201);
    let etag = client.get("k").required("ETag").to_owned();
    for shape in [etag.clone(), format!("W/{etag}"), format!("\"nope\", {etag}"), "*".to_owned()] {
        let answer = client.get_with("/v1/kv/k", &[("If-None-Match", &shape)]).expect_status(304);
        assert_eq!(answer.required("ETag"), etag);
    }
    client.get_with("/v1/kv/k", &[("If-None-Match", "\"nope\"")]).expect_status(200);
    client.put_value("k", "2").expect_status(200);
    let changed = client.get_with("/v1/kv/k", &[("If-None-Match", &etag)]).expect_status(200);
    assert_eq!(changed.member_text("value"), "2");
    client.get_with("/v1/kv/absent", &[("If-None-Match", &etag)]).expect_status(404);
}

#[test]
fn conflicts_are_counted_by_operation() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put_value("k", "1").expect_status(201);
    let counts = |server: &Server| {
        let metrics = server.metrics();
        ["set", "delete"].map(|operation| metrics.sum_where("cache_cas_conflicts_total", &[("operation", operation)]))
    };
    assert_eq!(put_if(&mut client, "If-Match", "nope"), 409);
    assert_eq!(put_if(&mut client, "If-None-Match", "*"), 409);
    client.delete_with("k", &[("If-Match", "nope")]).expect_status(409);
    crate::support::eventually_equal("conflicts of put and delete", &[2.0, 1.0], || counts(&server));
}

#[test]
fn versions_differ_for_every_write_of_a_key_also_across_restarts() {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let server = Server::start(&[]);
        let mut client = server.client();
        for _ in 0..20 {
            assert!(seen.insert(client.put_value("k", "1").version()), "a version was given twice");
        }
        client.delete("k").expect_status(204);
        assert!(seen.insert(client.put_value("k", "1").version()), "a version was given twice");
    }
}

#[test]
fn of_many_writers_with_the_same_version_one_wins() {
    let server = Server::with_shards(2);
    let version = server.client().put_value("k", "0").expect_status(201).version();
    let (server, version) = (&server, &version);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..16)
            .map(|n| {
                scope.spawn(move || {
                    let body = format!("{{\"value\":{n}}}");
                    server.client().put_with("k", &body, &[("If-Match", version)]).status
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 15, "{statuses:?}");
}
