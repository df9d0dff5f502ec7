//! Requests over HTTP, and what is in the bodies of answers.

use crate::Result;
use crate::values;
use serde::Deserialize;
use std::convert::Infallible;
use std::str::FromStr;

/// Where a key stands in the target of a request.
#[derive(Debug, Clone)]
pub struct Path {
    before: String,
    after: String,
    /// What reads have besides.
    query: String,
}

impl Path {
    /// A path with `{key}` in it.
    pub fn new(template: &str, query: &str) -> Self {
        let (before, after) = template.split_once("{key}").unwrap_or((template, ""));
        Self { before: before.to_owned(), after: after.to_owned(), query: query.to_owned() }
    }
}

impl FromStr for Path {
    type Err = Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(Self::new(text, ""))
    }
}

/// Writes requests, all of a kind as long as each other.
pub struct Writer {
    get: (Vec<u8>, Vec<u8>),
    put: (Vec<u8>, Vec<u8>),
    batch: Vec<u8>,
    body: Vec<u8>,
}

impl Writer {
    /// Requests about keys at this path.
    pub fn new(path: Path, token: Option<&str>) -> Self {
        let Path { before, after, query } = path;
        let token = token.map_or(String::new(), |token| format!("X-API-Token: {token}\r\n"));
        // The name says no port, so that requests to all servers have the same length.
        let fields = format!(" HTTP/1.1\r\nHost: cache\r\n{token}");
        Self {
            get: (format!("GET {before}").into(), format!("{after}{query}{fields}\r\n").into()),
            put: (format!("PUT {before}").into(), format!("{after}{fields}").into()),
            batch: format!("POST /v1/kv/batch/get{fields}").into(),
            body: Vec::new(),
        }
    }

    /// Appends a read.
    pub fn append_get(&self, output: &mut Vec<u8>, key: u64) {
        output.extend_from_slice(&self.get.0);
        values::append_key(output, key);
        output.extend_from_slice(&self.get.1);
    }

    /// Appends a write.
    pub fn append_put(&self, output: &mut Vec<u8>, key: u64, media_type: &str, body: &[u8]) {
        output.extend_from_slice(&self.put.0);
        values::append_key(output, key);
        output.extend_from_slice(&self.put.1);
        append_body(output, media_type, body);
    }

    /// Appends a read of several keys.
    pub fn append_batch(&mut self, output: &mut Vec<u8>, keys: impl Iterator<Item = u64>) {
        self.body.clear();
        self.body.extend_from_slice(b"{\"keys\":[");
        for (number, key) in keys.enumerate() {
            self.body.extend_from_slice(if number == 0 { b"\"" } else { b",\"" });
            values::append_key(&mut self.body, key);
            self.body.push(b'"');
        }
        self.body.extend_from_slice(b"]}");
        output.extend_from_slice(&self.batch);
        append_body(output, "application/json", &self.body);
    }
}

fn append_body(output: &mut Vec<u8>, media_type: &str, body: &[u8]) {
    let length = body.len();
    output.extend_from_slice(format!("Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n").as_bytes());
    output.extend_from_slice(body);
}

/// The value in `{"value":"…","type":"string","version":"…"}`, which has no escapes in it.
pub fn json_value(body: &[u8]) -> Option<&[u8]> {
    let rest = body.strip_prefix(b"{\"value\":\"")?;
    let (value, rest) = rest.split_at(memchr::memchr(b'"', rest)?);
    let version = rest.strip_prefix(b"\",\"type\":\"string\",\"version\":\"")?.strip_suffix(b"\"}")?;
    is_version(version).then_some(value)
}

/// Whether this is `{"version":"…"}`.
pub fn has_version(body: &[u8]) -> bool {
    let version = body.strip_prefix(b"{\"version\":\"").and_then(|rest| rest.strip_suffix(b"\"}"));
    version.is_some_and(is_version)
}

fn is_version(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_alphanumeric)
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
    misses: Vec<&'a str>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    key: &'a str,
    value: &'a str,
    version: &'a str,
}

/// The values of a batch's answer, each with the number of its key.
///
/// # Errors
/// If they are not all there, in the order of `keys`.
pub fn batch_values(body: &[u8], keys: impl Iterator<Item = u64>) -> Result<Vec<(u64, &[u8])>> {
    let batch: Batch<'_> = serde_json::from_slice(body)?;
    let (mut values, mut name, mut hits) = (Vec::with_capacity(batch.hits.len()), Vec::new(), batch.hits.iter());
    for key in keys {
        name.clear();
        values::append_key(&mut name, key);
        let hit = hits.next().filter(|hit| hit.key.as_bytes() == name && is_version(hit.version.as_bytes()));
        values.push((key, hit.ok_or("a key that was asked for is missing")?.value.as_bytes()));
    }
    if hits.next().is_none() && batch.misses.is_empty() { Ok(values) } else { Err("more than was asked for".into()) }
}
