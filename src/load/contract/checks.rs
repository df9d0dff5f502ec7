//! What is tried out, in this order.

use super::{Check, Prober, Request, Wrong, hopeless, require};
use serde_json::json;

/// Every check, in the order in which they are made.
pub const CHECKS: &[Check] = &[
    Check { name: "GET /healthz: alive", run: healthz },
    Check { name: "GET /readyz: ready", run: readyz },
    Check { name: "GET /metrics: counters for Prometheus", run: metrics },
    Check { name: "PUT without a token: refused", run: token },
    Check { name: "PUT: creates, updates", run: put },
    Check { name: "GET: value, type, version, ETag", run: get },
    Check { name: "GET ?raw=true: the value itself", run: raw },
    Check { name: "GET If-None-Match: not modified", run: not_modified },
    Check { name: "HEAD: the head of GET", run: head },
    Check { name: "PUT If-Match, If-None-Match: conditions", run: conditions },
    Check { name: "PUT text/plain: bytes with their type", run: bytes },
    Check { name: "POST incr: counts", run: incr },
    Check { name: "POST batch: set, get, delete", run: batch },
    Check { name: "DELETE: gone", run: delete },
    Check { name: "ttlSec: told, and expires", run: ttl },
];

fn healthz(prober: &mut Prober) -> Result<(), Wrong> {
    let answer = prober.get(200, "/healthz")?.json();
    require("status ok", answer["status"] == "ok", &answer)
}

fn readyz(prober: &mut Prober) -> Result<(), Wrong> {
    let answer = prober.get(200, "/readyz")?.json();
    require("status ready", answer["status"] == "ready", &answer)
}

fn metrics(prober: &mut Prober) -> Result<(), Wrong> {
    let answer = prober.get(200, "/metrics")?;
    let text = String::from_utf8_lossy(&answer.body);
    require("cache_hits_total among the metrics", text.contains("cache_hits_total"), &"none")
}

fn token(prober: &mut Prober) -> Result<(), Wrong> {
    let target = prober.target("no-token");
    let fields = [("Content-Type", "application/json")];
    let request = Request { method: "PUT", target: &target, fields: &fields, body: Some(br#"{"value":1}"#) };
    let answer = prober.connection.ask_without_token(&request);
    let status = answer.map(|answer| answer.status).map_err(|failure| hopeless(&request, &failure))?;
    require("401", status == 401, &status)
}

fn put(prober: &mut Prober) -> Result<(), Wrong> {
    let target = prober.target("value");
    let created = prober.put(201, &target, &json!({"value": "first"}), &[])?.version()?;
    let updated = prober.put(200, &target, &json!({"value": "second"}), &[])?.version()?;
    require("another version after an update", created != updated, &updated)
}

fn get(prober: &mut Prober) -> Result<(), Wrong> {
    for (value, kind) in
        [(json!("text"), "string"), (json!(-1.5), "number"), (json!(true), "boolean"), (json!({"a": [1]}), "json")]
    {
        let target = prober.target(kind);
        let version = prober.put(201, &target, &json!({ "value": value }), &[])?.version()?;
        let answer = prober.get(200, &target)?;
        let expected = json!({"value": value, "type": kind, "version": version});
        require(&expected.to_string(), answer.json() == expected, &answer.json())?;
        let etag = answer.field("ETag").unwrap_or_default();
        require(&format!("ETag \"{version}\""), etag == format!("\"{version}\""), &etag)?;
    }
    let absent = prober.target("absent");
    prober.get(404, &absent).map(drop)
}

fn raw(prober: &mut Prober) -> Result<(), Wrong> {
    let target = prober.target("raw");
    prober.put(201, &target, &json!({"value": "a \"quoted\" word"}), &[])?;
    let answer = prober.get(200, &format!("{target}?raw=true"))?;
    require("the text", answer.body == b"a \"quoted\" word", &String::from_utf8_lossy(&answer.body))
}

fn not_modified(prober: &mut Prober) -> Result<(), Wrong> {
    let target = prober.target("not-modified");
    let version = prober.put(201, &target, &json!({"value": 1}), &[])?.version()?;
    let etag = format!("\"{version}\"");
    let fields = [("If-None-Match", etag.as_str())];
    prober.ask(304, &Request { method: "GET", target: &target, fields: &fields, body: None }).map(drop)
}

fn head(prober: &mut Prober) -> Result<(), Wrong> {
    let target = prober.target("head");
    prober.put(201, &target, &json!({"value": "head"}), &[])?;
    let got = prober.get(200, &target)?;
    let head = prober.ask(200, &Request { method: "HEAD", target: &target, fields: &[], body: None })?;
    for name in ["ETag", "Content-Length", "Content-Type"] {
        let (expected, told) = (got.field(name).unwrap_or_default(), head.field(name).unwrap_or_default());
        require(&format!("{name} {expected}"), told == expected, &told)?;
    }
    Ok(())
}

fn conditions(prober: &mut Prober) -> Result<(), Wrong> {
    let target = prober.target("conditions");
    let value = |value: &str| json!({ "value": value });
    prober.put(409, &target, &value("too early"), &[("If-Match", "*")])?;
    let first = prober.put(201, &target, &value("first"), &[("If-None-Match", "*")])?.version()?;
    prober.put(409, &target, &value("again"), &[("If-None-Match", "*")])?;
    prober.put(200, &target, &value("second"), &[("If-Match", &first)])?;
    prober.put(409, &target, &value("stale"), &[("If-Match", &first)])?;
    let answer = prober.get(200, &target)?.json();
    require("what the last good write set", answer["value"] == "second", &answer)
}

fn bytes(prober: &mut Prober) -> Result<(), Wrong> {
    let target = prober.target("bytes");
    let body = b"\x00\xffnot text".as_slice();
    let fields = [("Content-Type", "application/x-smoke")];
    prober.ask(201, &Request { method: "PUT", target: &target, fields: &fields, body: Some(body) })?;
    let answer = prober.get(200, &format!("{target}?raw=true"))?;
    require("the same bytes", answer.body == body, &format!("{} bytes", answer.body.len()))?;
    let media = answer.field("Content-Type").unwrap_or_default();
    require("Content-Type application/x-smoke", media == "application/x-smoke", &media)
}

fn incr(prober: &mut Prober) -> Result<(), Wrong> {
    let key = prober.key("counter");
    for (delta, expected) in [(5, 5), (-2, 3)] {
        let answer = prober.post("/v1/kv/incr", &json!({"key": key, "delta": delta}))?;
        require(&format!("the value {expected}"), answer["value"] == expected, &answer)?;
    }
    Ok(())
}

fn batch(prober: &mut Prober) -> Result<(), Wrong> {
    let (one, two, none) = (prober.key("one"), prober.key("two"), prober.key("none"));
    let items = json!({"items": [{"key": one, "value": 1}, {"key": two, "value": "2"}]});
    let set = prober.post("/v1/kv/batch/set", &items)?;
    let statuses = [&set["results"][0]["status"], &set["results"][1]["status"]];
    require("two created", statuses == ["created", "created"], &set)?;
    let keys = json!({"keys": [two, none, one]});
    let got = prober.post("/v1/kv/batch/get", &keys)?;
    let hits = [&got["hits"][0]["key"], &got["hits"][0]["value"], &got["hits"][1]["key"], &got["hits"][1]["value"]];
    let right = hits == [&json!(two), &json!("2"), &json!(one), &json!(1)] && got["misses"] == json!([none]);
    require("two hits and a miss in the order of the keys", right, &got)?;
    let deleted = prober.post("/v1/kv/batch/delete", &keys)?;
    let statuses = [0, 1, 2].map(|index| &deleted["results"][index]["status"]);
    require("two deleted and one missing", statuses == ["deleted", "missing", "deleted"], &deleted)
}

fn delete(prober: &mut Prober) -> Result<(), Wrong> {
    let target = prober.target("delete");
    prober.put(201, &target, &json!({"value": 1}), &[])?;
    prober.delete(204, &target)?;
    prober.delete(404, &target)?;
    prober.get(404, &target).map(drop)
}

fn ttl(prober: &mut Prober) -> Result<(), Wrong> {
    let target = prober.target("ttl");
    let answer = prober.put(201, &target, &json!({"value": 1, "ttlSec": 60}), &[])?.json();
    require("expiresAt in the answer", answer["expiresAt"].is_string(), &answer)?;
    let answer = prober.get(200, &format!("{target}?includeMeta=true"))?.json();
    let left = answer["ttlSec"].as_u64().unwrap_or_default();
    require("ttlSec from 50 to 60", (50..=60).contains(&left), &answer)?;
    prober.put(200, &target, &json!({"value": 1, "ttlSec": 1}), &[])?;
    prober.wait_for_expiry(&target)
}
