//! Operations on many keys at once.

use crate::support::Server;
use serde_json::{Value, json};

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("key {n}/ü")).collect()
}

fn statuses(results: &Value) -> Vec<&str> {
    results["results"].as_array().expect("results").iter().filter_map(|result| result["status"].as_str()).collect()
}

#[test]
fn a_batch_goes_over_all_shards_and_keeps_the_order() {
    for shards in [1, 4] {
        let server = Server::with_shards(shards);
        let mut client = server.client();
        let keys = keys(100);
        let items: Vec<Value> = keys.iter().enumerate().map(|(n, key)| json!({"key": key, "value": n})).collect();
        let set = client.post("/v1/kv/batch/set", &json!({ "items": items }).to_string()).expect_status(200).json();
        let order: Vec<&str> = set["results"].as_array().unwrap().iter().map(|r| r["key"].as_str().unwrap()).collect();
        assert_eq!(order, keys);
        assert_eq!(statuses(&set), vec!["created"; 100]);
        let got = client.post("/v1/kv/batch/get", &json!({ "keys": keys }).to_string()).expect_status(200).json();
        assert_eq!(got["misses"], json!([]));
        for (n, hit) in got["hits"].as_array().unwrap().iter().enumerate() {
            assert_eq!((&hit["key"], &hit["value"], &hit["type"]), (&json!(keys[n]), &json!(n), &json!("number")));
            assert_eq!(hit["version"], set["results"][n]["version"]);
        }
        let deleted =
            client.post("/v1/kv/batch/delete", &json!({ "keys": keys }).to_string()).expect_status(200).json();
        assert_eq!(statuses(&deleted), vec!["deleted"; 100]);
    }
}

#[test]
fn hits_and_misses_are_told_apart_in_request_order() {
    let server = Server::with_shards(2);
    let mut client = server.client();
    for key in ["b", "d"] {
        client.put_value(key, "\"x\"").expect_status(201);
    }
    let got = client.post("/v1/kv/batch/get", r#"{"keys":["e","d","c","b","a"]}"#).expect_status(200).json();
    assert_eq!(got["misses"], json!(["e", "c", "a"]));
    let hits: Vec<&Value> = got["hits"].as_array().unwrap().iter().map(|hit| &hit["key"]).collect();
    assert_eq!(hits, [&json!("d"), &json!("b")]);
    let deleted = client.post("/v1/kv/batch/delete", r#"{"keys":["a","b","b"]}"#).expect_status(200).json();
    assert_eq!(statuses(&deleted), ["missing", "deleted", "missing"]);
}

#[test]
fn the_last_write_of_a_repeated_key_wins() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let body = r#"{"items":[{"key":"k","value":1},{"key":"other","value":9},{"key":"k","value":2}]}"#;
    let set = client.post("/v1/kv/batch/set", body).expect_status(200).json();
    assert_eq!(statuses(&set), ["created", "created", "updated"]);
    let got = client.get("k");
    assert_eq!(got.member_text("value"), "2");
    assert_eq!(json!(got.version()), set["results"][2]["version"]);
}

#[test]
fn one_bad_item_does_not_fail_the_others() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let body = r#"{"items":[{"key":"a","value":1},{"key":"b","value":null},{"key":"c"},{"key":"d","value":1,"ttlSec":-1},
        {"key":"","value":1},{"key":"e","value":1e400,"ttlSec":100}]}"#;
    let set = client.post("/v1/kv/batch/set", body).expect_status(200).json();
    assert_eq!(statuses(&set), ["created", "error", "error", "error", "error", "created"]);
    for result in set["results"].as_array().unwrap() {
        assert_eq!(result["status"] == "error", result.get("error").is_some(), "{result}");
        assert_eq!(result["status"] == "error", result.get("version").is_none(), "{result}");
    }
    for absent in ["b", "c", "d"] {
        client.get(absent).expect_status(404);
    }
    assert_eq!(client.get("e").member_text("value"), "1e400");
}

#[test]
fn bytes_are_base64_in_a_batch() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.put_bytes("k", "image/png", &[0, 255, 1]).expect_status(201);
    let got = client.post("/v1/kv/batch/get", r#"{"keys":["k"]}"#).expect_status(200).json();
    assert_eq!((&got["hits"][0]["value"], &got["hits"][0]["type"]), (&json!("AP8B"), &json!("bytes")));
}

#[test]
fn a_batch_has_1_to_100_members() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for path in ["get", "delete"] {
        for body in [json!({"keys": []}), json!({"keys": keys(101)}), json!({"keys": "k"}), json!({}), json!([])] {
            client.post(&format!("/v1/kv/batch/{path}"), &body.to_string()).expect_status(400);
        }
    }
    let items: Vec<Value> = keys(101).iter().map(|key| json!({"key": key, "value": 1})).collect();
    for body in [json!({"items": []}), json!({ "items": items }), json!({}), json!({"items": {}})] {
        client.post("/v1/kv/batch/set", &body.to_string()).expect_status(400);
    }
    assert_eq!(client.get("key%200%2F%C3%BC").status, 404, "a refused batch changes nothing");
}
