//! A client: what it has asked, what it may hear, and what an answer tells of the keys.

use crate::model::{Content, OpId, Told, Verb, When};
use crate::plan::{Ask, Form, On, Sent, Value};
use crate::wire::{self, Answer, Request};
use cache_service::session::ConnId;
use serde_json::Value as Json;
use std::collections::{HashMap, VecDeque};

/// A request that was made up and is not answered yet.
#[derive(Debug)]
pub struct Expected {
    /// The answer bears the same name.
    pub id: String,
    pub kind: Kind,
    /// What it asks of which key, and the name of that.
    pub ops: Vec<(u8, OpId, Verb)>,
    /// It begins, and its head and all of it are whole, when so many bytes of the connection have reached the core.
    pub begin: u64,
    pub head_end: u64,
    pub end: u64,
    pub is_delivered: bool,
    /// The head goes out by itself.
    pub expects: bool,
    /// Longest value in it.
    pub value_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Get(Form),
    Put,
    Delete,
    Incr,
    GetMany,
    SetMany,
    DeleteMany,
    Page,
    /// The status that it must be answered with.
    Wrong(u16),
}

/// A connection, as the kernel and the core see it.
#[derive(Debug)]
pub struct Connection {
    pub core: u16,
    pub id: ConnId,
    /// Counts connections; no two have the same.
    pub serial: u64,
    /// The core wants to be told of bytes that come.
    pub receives: bool,
    pub lingers: bool,
    pub is_closed: bool,
    /// How long nothing had moved when the core closed it.
    pub silent_ms: u64,
    /// The core wants to be told when the client has taken bytes.
    pub awaits_room: bool,
    /// What the kernel has for the client.
    pub kernel: Vec<u8>,
    pub told_of_end: bool,
    /// The client has heard an answer after which there is no other.
    pub is_over: bool,
    /// A long body was refused; the connection ends if too much of it still comes.
    pub drops_body: bool,
    /// The core has closed it because its waiting requests took too much room, and has counted that.
    pub hoarded: bool,
    /// When the client did anything last, or its core did anything for it.
    pub moved_ms: u64,
    /// Bytes of the client that have reached the core.
    pub delivered: u64,
}

#[derive(Debug, Default)]
pub struct Client {
    pub connection: Option<Connection>,
    pub next_core: u16,
    /// Bytes that have not reached the core.
    pub to_say: Vec<u8>,
    /// Bytes said on this connection so far, whether they have reached the core or not.
    said: u64,
    pub has_hung_up: bool,
    pub expected: VecDeque<Expected>,
    pub heard: Vec<u8>,
    /// The version of each key that it has heard of last.
    known: HashMap<u8, u64>,
}

/// Most unanswered requests of a client.
pub const UNANSWERED_MAX: usize = 40;

/// The name of a key on the wire; one of them needs to be encoded.
pub fn key_name(key: u8) -> String {
    if key == 5 { "key/5 ü".to_owned() } else { format!("key-{key}") }
}

/// Where a key is found.
pub fn target(key: u8) -> String {
    if key == 5 { "/v1/kv/key%2F5%20%C3%BC".to_owned() } else { format!("/v1/kv/key-{key}") }
}

impl Client {
    /// A client whose first connection goes to `core`.
    pub fn of(core: u16) -> Self {
        Self { next_core: core, ..Self::default() }
    }

    /// Forgets the connection that there was.
    pub fn begin_anew(&mut self) {
        self.connection = None;
        self.to_say.clear();
        self.said = 0;
        self.has_hung_up = false;
        self.expected.clear();
        self.heard.clear();
    }

    /// The version of `key` that the client knows, or else none of any key.
    fn known(&self, key: u8) -> u64 {
        self.known.get(&key).copied().unwrap_or(0xdead)
    }

    /// Makes up a request; `next` names what it asks of each key.
    pub fn ask(&mut self, ask: &Ask, number: u64, next: &mut OpId) {
        let mut ops = Ops { list: Vec::new(), next };
        let (kind, request, value_bytes) = match ask {
            Ask::Get { key, form, on } => {
                let (when, fields) = self.condition(*key, *on);
                ops.add(*key, Verb::Get { unless: when });
                (Kind::Get(*form), get(*key, *form, &fields), 0)
            }
            Ask::Put { key, value, ttl_secs, on, sent } => {
                let (when, fields) = self.condition(*key, *on);
                let content = content_of(*value, *ops.next);
                ops.add(*key, Verb::Put { content, ttl_ms: ttl_ms(*ttl_secs), when });
                (Kind::Put, put(*key, *value, content, *ttl_secs, &fields, *sent), len_of(content))
            }
            Ask::Delete { key, on } => {
                let (when, fields) = self.condition(*key, *on);
                ops.add(*key, Verb::Delete { when });
                let (method, target, sent) = ("DELETE", target(*key), Sent::Length);
                (Kind::Delete, Request { method, target, fields, body: None, sent }, 0)
            }
            Ask::Incr { key, delta, ttl_secs } => {
                let delta = i64::from(*delta);
                ops.add(*key, Verb::Incr { delta, ttl_ms: ttl_ms(*ttl_secs) });
                let body = format!("{{\"key\":{:?},\"delta\":{delta}{}}}", key_name(*key), ttl_member(*ttl_secs));
                (Kind::Incr, post("/v1/kv/incr", body.into_bytes()), 0)
            }
            Ask::GetMany { keys } => {
                keys.iter().for_each(|key| ops.add(*key, Verb::Get { unless: When::Always }));
                (Kind::GetMany, post("/v1/kv/batch/get", keys_body(keys)), 0)
            }
            Ask::DeleteMany { keys } => {
                keys.iter().for_each(|key| ops.add(*key, Verb::Delete { when: When::Always }));
                (Kind::DeleteMany, post("/v1/kv/batch/delete", keys_body(keys)), 0)
            }
            Ask::SetMany { items } => {
                let (mut body, mut longest) = (b"{\"items\":[".to_vec(), 0);
                for (n, (key, value, ttl_secs)) in items.iter().enumerate() {
                    let content = content_of(text_for(*value), *ops.next);
                    longest = longest.max(len_of(content));
                    ops.add(*key, Verb::Put { content, ttl_ms: ttl_ms(*ttl_secs), when: When::Always });
                    let comma = if n > 0 { "," } else { "" };
                    body.extend_from_slice(format!("{comma}{{\"key\":{:?},\"value\":", key_name(*key)).as_bytes());
                    body.extend_from_slice(&json_text(content));
                    body.extend_from_slice(format!("{}}}", ttl_member(*ttl_secs)).as_bytes());
                }
                body.extend_from_slice(b"]}");
                (Kind::SetMany, post("/v1/kv/batch/set", body), longest)
            }
            Ask::Page { number } => (Kind::Page, page(*number), 0),
            Ask::Wrong { number, key } => wrong(*number, *key),
        };
        let id = format!("r{number}");
        let bytes = request.bytes(&id);
        let head_len = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a request has a head") + 4;
        let (begin, head_end) = (self.said, self.said + head_len as u64);
        self.said += bytes.len() as u64;
        self.to_say.extend(bytes);
        let (end, is_delivered, ops) = (self.said, false, ops.list);
        let expects = request.sent == Sent::Expecting;
        self.expected.push_back(Expected { id, kind, ops, begin, head_end, end, is_delivered, expects, value_bytes });
    }

    fn condition(&self, key: u8, on: On) -> (When, String) {
        let known = self.known(key);
        match on {
            On::Always => (When::Always, String::new()),
            On::Absent => (When::Absent, "If-None-Match: *\r\n".to_owned()),
            On::There => (When::There, "If-Match: *\r\n".to_owned()),
            On::Known => (When::Version(known), format!("If-Match: \"{known:016x}\"\r\n")),
            On::NotKnown => (When::NotVersion(known), format!("If-None-Match: \"{known:016x}\"\r\n")),
        }
    }

    /// Remembers the versions that an answer has told.
    pub fn learn(&mut self, expected: &Expected, told: &[Told]) {
        for ((key, ..), told) in expected.ops.iter().zip(told) {
            match told {
                Told::Found { version, .. } | Told::Written { version, .. } | Told::Counted { version, .. } => {
                    self.known.insert(*key, *version);
                }
                _ => {}
            }
        }
    }
}

/// What a request asks of each key, as it is made up.
struct Ops<'n> {
    list: Vec<(u8, OpId, Verb)>,
    next: &'n mut OpId,
}

impl Ops<'_> {
    fn add(&mut self, key: u8, verb: Verb) {
        self.list.push((key, *self.next, verb));
        *self.next += 1;
    }
}

fn ttl_ms(secs: u8) -> Option<u64> {
    (secs > 0).then_some(u64::from(secs) * 1_000)
}

fn ttl_member(secs: u8) -> String {
    if secs > 0 { format!(",\"ttlSec\":{secs}") } else { String::new() }
}

const fn content_of(value: Value, by: OpId) -> Content {
    match value {
        Value::Text(len) | Value::Bytes(len) => Content::Filled { by, len },
        Value::Number(number) => Content::Number(number as i64),
    }
}

/// Batches carry JSON only.
const fn text_for(value: Value) -> Value {
    match value {
        Value::Bytes(len) => Value::Text(len),
        other => other,
    }
}

fn len_of(content: Content) -> u64 {
    if let Content::Filled { len, .. } = content { u64::from(len) } else { 8 }
}

fn raw(content: Content) -> Vec<u8> {
    match content {
        Content::Filled { by, len } => wire::filled(by, len),
        Content::Number(number) => number.to_string().into_bytes(),
    }
}

fn json_text(content: Content) -> Vec<u8> {
    match content {
        Content::Filled { .. } => [b"\"", &raw(content)[..], b"\""].concat(),
        Content::Number(_) => raw(content),
    }
}

fn get(key: u8, form: Form, fields: &str) -> Request {
    let method = if form == Form::Head { "HEAD" } else { "GET" };
    let query = match form {
        Form::Raw => "?raw=true",
        Form::Json => "?includeMeta=true",
        Form::Head => "",
    };
    let (target, fields) = (target(key) + query, fields.to_owned());
    Request { method, target, fields, body: None, sent: Sent::Length }
}

fn put(key: u8, value: Value, content: Content, ttl_secs: u8, fields: &str, sent: Sent) -> Request {
    let method = "PUT";
    if let Value::Bytes(_) = value {
        let target = if ttl_secs > 0 { format!("{}?ttlSec={ttl_secs}", target(key)) } else { target(key) };
        let fields = format!("{fields}Content-Type: application/octet-stream\r\n");
        return Request { method, target, fields, body: Some(raw(content)), sent };
    }
    let body = [b"{\"value\":", &json_text(content)[..], ttl_member(ttl_secs).as_bytes(), b"}"].concat();
    let fields = format!("{fields}Content-Type: application/json\r\n");
    Request { method, target: target(key), fields, body: Some(body), sent }
}

fn post(path: &str, body: Vec<u8>) -> Request {
    let (method, target, fields) = ("POST", path.to_owned(), String::new());
    Request { method, target, fields, body: Some(body), sent: Sent::Length }
}

fn keys_body(keys: &[u8]) -> Vec<u8> {
    let names: Vec<String> = keys.iter().map(|key| format!("{:?}", key_name(*key))).collect();
    format!("{{\"keys\":[{}]}}", names.join(",")).into_bytes()
}

fn page(number: u8) -> Request {
    let pages = ["/metrics", "/readyz", "/healthz", "/v1/admin/slowlog", "/v1/admin/hotkeys", "/openapi.json"];
    let target = pages[usize::from(number) % pages.len()].to_owned();
    Request { method: "GET", target, fields: String::new(), body: None, sent: Sent::Length }
}

/// Requests that change nothing, each with the status that says so.
fn wrong(number: u8, key: u8) -> (Kind, Request, u64) {
    let put = |body: &str, fields: &str| Request {
        method: "PUT",
        target: target(key),
        fields: fields.to_owned(),
        body: Some(body.into()),
        sent: Sent::Length,
    };
    let (status, request) = match number % 6 {
        0 => (404, Request { target: "/v2".to_owned(), ..get(key, Form::Json, "") }),
        1 => (405, Request { target: "/v1/kv/batch/get".to_owned(), method: "PATCH", ..get(key, Form::Json, "") }),
        2 => (400, put("{\"value\":}", "")),
        3 => (400, put("{\"value\":1}", "If-Match: \"\r\n")),
        4 => (400, post("/v1/kv/incr", b"{\"key\":\"key-1\"}".to_vec())),
        _ => (400, post("/v1/kv/batch/set", b"{\"items\":[]}".to_vec())),
    };
    (Kind::Wrong(status), request, 0)
}

impl Expected {
    pub fn is_head(&self) -> bool {
        self.kind == Kind::Get(Form::Head)
    }

    /// What an answer tells of each key; `wall_ms` is how far the wall clock is ahead.
    pub fn told(&self, answer: &Answer, wall_ms: u64) -> Result<Vec<Told>, String> {
        let told = match (self.kind, answer.status) {
            (Kind::Page, 200 | 408 | 503) => return Ok(Vec::new()),
            (Kind::Wrong(status), told) if told == status || matches!(told, 503 | 408) => return Ok(Vec::new()),
            (Kind::Wrong(_) | Kind::Page, _) => Err(format!("{} {}", answer.status, answer.text())),
            (_, 408 | 413 | 503) => return Ok(vec![Told::Failed; self.ops.len()]),
            (Kind::GetMany, 200) => return self.told_by_hits(&answer.json()?),
            (Kind::SetMany | Kind::DeleteMany, 200) => return self.told_by_results(&answer.json()?),
            _ => self.told_of_one(answer, wall_ms),
        };
        told.map(|told| vec![told])
    }

    fn told_of_one(&self, answer: &Answer, wall_ms: u64) -> Result<Told, String> {
        Ok(match (self.kind, answer.status) {
            (Kind::Get(form), 200) => {
                let version = answer.etag()?;
                let content = match form {
                    Form::Head => None,
                    Form::Raw => Some(wire::content(&answer.body)?),
                    Form::Json => Some(wire::content_of(&answer.json()?)?),
                };
                Told::Found { version, content }
            }
            (Kind::Get(_), 304) => Told::NotModified { version: answer.etag()? },
            (Kind::Get(_) | Kind::Delete, 404) => Told::Missing,
            (Kind::Put, 200 | 201) => {
                let json = answer.json()?;
                let dies_ms = wire::expires_at_ms(&json)?.map(|at| at - wall_ms);
                let (created, version) = (answer.status == 201, wire::version_of(&json)?);
                Told::Written { created, version, dies_ms: Some(dies_ms) }
            }
            (Kind::Delete, 204) => Told::Deleted,
            (Kind::Put | Kind::Delete, 409) => Told::Conflict { actual: Some(answer.actual_version()?) },
            (Kind::Incr, 200) => {
                let json = answer.json()?;
                let value = json["value"].as_i64().ok_or_else(|| format!("a count: {json}"))?;
                Told::Counted { value, version: wire::version_of(&json)? }
            }
            (Kind::Incr, 400) => Told::NotANumber,
            (kind, status) => return Err(format!("{kind:?} is answered with {status} {}", answer.text())),
        })
    }

    fn told_by_hits(&self, json: &Json) -> Result<Vec<Told>, String> {
        let list = |name: &str| json[name].as_array().ok_or_else(|| format!("no {name}"));
        let (mut hits, mut misses) = (list("hits")?.iter().peekable(), list("misses")?.iter().peekable());
        let mut told = Vec::new();
        for (key, ..) in &self.ops {
            let name = key_name(*key);
            // A key that is asked for twice may be hit and missed: the answers keep the order of the request.
            let is_hit = hits.peek().is_some_and(|hit| hit["key"] == name.as_str());
            told.push(if is_hit {
                let hit = hits.next().expect("it was seen just now");
                Told::Found { version: wire::version_of(hit)?, content: Some(wire::content_of(hit)?) }
            } else if misses.next().is_some_and(|miss| *miss == name.as_str()) {
                Told::Missing
            } else {
                return Err(format!("{name} is neither hit nor missed, or out of order"));
            });
        }
        if hits.next().is_some() || misses.next().is_some() { Err("too much is told".to_owned()) } else { Ok(told) }
    }

    fn told_by_results(&self, json: &Json) -> Result<Vec<Told>, String> {
        let results = json["results"].as_array().ok_or("no results")?;
        if results.len() != self.ops.len() {
            return Err(format!("{} results for {} items", results.len(), self.ops.len()));
        }
        let of_item = |(result, (key, ..)): (&Json, &(u8, OpId, Verb))| {
            if result["key"] != key_name(*key).as_str() {
                return Err(format!("{} comes in the place of {}", result["key"], key_name(*key)));
            }
            wire::told_of_item(result)
        };
        results.iter().zip(&self.ops).map(of_item).collect()
    }
}
