//! Requests, how they are worded, and what their answers say of each key.

use crate::history::{Action, Answer, Condition, Version};
use crate::support::client::Request;
use crate::support::{Answer as Reply, Client};
use crate::values::Kind;
use serde_json::{Value, json};
use std::collections::HashMap;

/// A request: operations on one key each. Several of them are a batch, all of the same kind.
#[derive(Clone, Debug)]
pub struct Ask {
    pub wishes: Vec<(String, Action)>,
    /// A GET wants the value itself and no JSON around it.
    pub otherwise: bool,
}

impl Ask {
    fn is_batch(&self) -> bool {
        self.wishes.len() > 1
    }

    /// The bytes of the request.
    pub fn wire(&self, client: &Client) -> Vec<u8> {
        let (key, action) = &self.wishes[0];
        if self.is_batch() {
            return self.batch_wire(client, action);
        }
        let target = format!("/v1/kv/{key}");
        match action {
            Action::Get { unless } => {
                let target = if self.otherwise { target + "?raw=true" } else { target };
                let quoted = unless.as_ref().map(|version| format!("\"{version}\""));
                let headers: Vec<(&str, &str)> = quoted.iter().map(|text| ("If-None-Match", text.as_str())).collect();
                client.wire(&Request { target: &target, headers: &headers, ..Request::default() })
            }
            Action::Put { value, ttl_secs, condition } => {
                let body = put_body(key, *value, *ttl_secs);
                let request = Request { method: "PUT", target: &target, ..Request::default() };
                conditional(client, &request, condition, Some(&body))
            }
            Action::Delete { condition } => {
                let request = Request { method: "DELETE", target: &target, ..Request::default() };
                conditional(client, &request, condition, None)
            }
            Action::Incr { delta, ttl_secs } => {
                let mut body = json!({ "key": key, "delta": delta });
                ttl_secs.iter().for_each(|secs| body["ttlSec"] = json!(secs));
                post(client, "/v1/kv/incr", &body.to_string())
            }
        }
    }

    fn batch_wire(&self, client: &Client, action: &Action) -> Vec<u8> {
        let keys: Vec<&str> = self.wishes.iter().map(|(key, _)| key.as_str()).collect();
        match action {
            Action::Get { .. } => post(client, "/v1/kv/batch/get", &json!({ "keys": keys }).to_string()),
            Action::Delete { .. } => post(client, "/v1/kv/batch/delete", &json!({ "keys": keys }).to_string()),
            Action::Put { .. } | Action::Incr { .. } => {
                let items: Vec<String> = self.wishes.iter().map(|(key, action)| set_item(key, action)).collect();
                post(client, "/v1/kv/batch/set", &format!("{{\"items\":[{}]}}", items.join(",")))
            }
        }
    }

    /// What a reply says of each key, in the order of the wishes.
    pub fn understand(&self, reply: &Reply) -> Vec<Answer> {
        match reply.status {
            400.. if !matches!(reply.status, 404 | 409) => vec![Answer::Refused(reply.status); self.wishes.len()],
            _ if self.is_batch() => self.understand_batch(&reply.json()),
            _ => vec![self.understand_one(reply)],
        }
    }

    fn understand_one(&self, reply: &Reply) -> Answer {
        let (key, action) = &self.wishes[0];
        let kind = Kind::of(key);
        match (reply.status, action) {
            (200, Action::Get { .. }) if self.otherwise => {
                let text = reply.text();
                let json = if kind == Kind::Number { text.to_owned() } else { format!("\"{text}\"") };
                Answer::Hit { value: kind.number(&json), version: etag(reply) }
            }
            (200, Action::Get { .. }) => {
                let (value, version) = (kind.number(&reply.member_text("value")), reply.version().into());
                assert_eq!(etag(reply), version, "{reply:?}");
                Answer::Hit { value, version }
            }
            (304, Action::Get { .. }) => Answer::NotModified { version: etag(reply) },
            (404, Action::Get { .. } | Action::Delete { .. }) => Answer::Missing,
            (200 | 201, Action::Put { .. }) => {
                Answer::Written { created: reply.status == 201, version: reply.version().into() }
            }
            (409, Action::Put { .. } | Action::Delete { .. }) => {
                let actual = reply.json()["error"]["details"]["actual"].as_str().map(Version::from);
                Answer::Conflict { actual }
            }
            (204, Action::Delete { .. }) => Answer::Deleted,
            (200, Action::Incr { .. }) => {
                let value = reply.member_text("value").parse().expect("a sum of integers is one");
                Answer::Counted { value, version: reply.version().into() }
            }
            other => panic!("{other:?} has no such answer: {reply:?}"),
        }
    }

    fn understand_batch(&self, reply: &Value) -> Vec<Answer> {
        if matches!(self.wishes[0].1, Action::Get { .. }) {
            return self.understand_hits(reply);
        }
        let results = reply["results"].as_array().expect("a list of results");
        assert_eq!(results.len(), self.wishes.len(), "{reply}");
        let answers = self.wishes.iter().zip(results).map(|((key, _), result)| {
            assert_eq!(result["key"], json!(key), "results are in the order of the request");
            result_of(result)
        });
        answers.collect()
    }

    fn understand_hits(&self, reply: &Value) -> Vec<Answer> {
        let hits = reply["hits"].as_array().expect("a list of hits");
        let hits: HashMap<&str, &Value> = hits.iter().map(|hit| (hit["key"].as_str().expect("text"), hit)).collect();
        let misses = reply["misses"].as_array().expect("a list of misses");
        let answers = self.wishes.iter().map(|(key, _)| match hits.get(key.as_str()) {
            Some(hit) => {
                let value = Kind::of(key).number(&hit["value"].to_string());
                Answer::Hit { value, version: text(&hit["version"]) }
            }
            None => {
                assert!(misses.contains(&json!(key)), "{key} is neither a hit nor a miss: {reply}");
                Answer::Missing
            }
        });
        answers.collect()
    }
}

fn result_of(result: &Value) -> Answer {
    match result["status"].as_str().expect("a status") {
        created_or_updated @ ("created" | "updated") => {
            Answer::Written { created: created_or_updated == "created", version: text(&result["version"]) }
        }
        "deleted" => Answer::Deleted,
        "missing" => Answer::Missing,
        _ => Answer::Refused(503),
    }
}

fn text(value: &Value) -> Version {
    value.as_str().expect("a text").into()
}

fn etag(reply: &Reply) -> Version {
    reply.required("ETag").trim_matches('"').into()
}

fn put_body(key: &str, value: i64, ttl_secs: Option<u64>) -> String {
    let ttl = ttl_secs.map(|secs| format!(",\"ttlSec\":{secs}")).unwrap_or_default();
    format!("{{\"value\":{}{ttl}}}", Kind::of(key).json(value))
}

fn set_item(key: &str, action: &Action) -> String {
    let Action::Put { value, ttl_secs, condition: Condition::Always } = action else {
        panic!("a batch has no {action}")
    };
    format!("{{\"key\":\"{key}\",{}", &put_body(key, *value, *ttl_secs)[1..])
}

fn conditional(client: &Client, request: &Request<'_>, condition: &Condition, body: Option<&str>) -> Vec<u8> {
    let quoted = |version: &Version| format!("\"{version}\"");
    let field = match condition {
        Condition::Always => None,
        Condition::Exists => Some(("If-Match", "*".to_owned())),
        Condition::Missing => Some(("If-None-Match", "*".to_owned())),
        Condition::Matches(version) => Some(("If-Match", quoted(version))),
        Condition::Differs(version) => Some(("If-None-Match", quoted(version))),
    };
    let mut headers: Vec<(&str, &str)> = field.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers.extend(body.map(|_| ("Content-Type", "application/json")));
    client.wire(&Request { headers: &headers, body: body.map(str::as_bytes), ..*request })
}

fn post(client: &Client, target: &str, body: &str) -> Vec<u8> {
    let headers = [("Content-Type", "application/json")];
    client.wire(&Request { method: "POST", target, headers: &headers, body: Some(body.as_bytes()) })
}
