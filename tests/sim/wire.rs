//! Requests as bytes, and answers as what they tell.

use crate::model::{Content, OpId, Told};
use crate::plan::Sent;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// How soon the letters of a value repeat.
const PERIOD: u64 = 26 * 26;

/// Bytes of which each tells whose they are and where they belong, all of them letters, digits and dots.
pub fn filled(by: OpId, len: u32) -> Vec<u8> {
    let letter = |at: u64| b'a' + ((at + at / 26 + by * 7) % 26) as u8;
    let mut bytes = (0..PERIOD).map(letter).collect::<Vec<u8>>().repeat(len as usize / PERIOD as usize + 1);
    let name = format!("w{by}.{len}.");
    bytes.truncate((len as usize).max(name.len()));
    bytes.splice(..name.len().min(bytes.len()), name.bytes());
    bytes
}

/// What `bytes` are, if they are a value that was written whole.
pub fn content(bytes: &[u8]) -> Result<Content, String> {
    let text = || String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
    if let Some(number) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()) {
        return Ok(Content::Number(number));
    }
    let head = std::str::from_utf8(&bytes[..bytes.len().min(40)]).ok().and_then(|text| text.strip_prefix('w'));
    let mut parts = head.into_iter().flat_map(|head| head.split('.'));
    let mut next = || parts.next().and_then(|part| part.parse::<u64>().ok());
    let (Some(by), Some(len)) = (next(), next()) else { return Err(format!("nobody wrote {:?}", text())) };
    let len = len as u32;
    if filled(by, len) == bytes { Ok(Content::Filled { by, len }) } else { Err(format!("{:?} is torn", text())) }
}

/// A request on its way to be written.
pub struct Request {
    pub method: &'static str,
    pub target: String,
    /// Whole lines.
    pub fields: String,
    pub body: Option<Vec<u8>>,
    pub sent: Sent,
}

impl Request {
    pub fn bytes(&self, id: &str) -> Vec<u8> {
        let Self { method, target, fields, .. } = self;
        let fields = format!("Host: sim\r\nX-API-Token: {TOKEN}\r\nX-Request-ID: {id}\r\n{fields}");
        let mut bytes = format!("{method} {target} HTTP/1.1\r\n{fields}").into_bytes();
        let Some(body) = &self.body else {
            bytes.extend_from_slice(b"\r\n");
            return bytes;
        };
        match self.sent {
            Sent::Chunked => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in body.chunks(9_000) {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
            Sent::Length | Sent::Expecting => {
                let expect = if self.sent == Sent::Expecting { "Expect: 100-continue\r\n" } else { "" };
                bytes.extend_from_slice(format!("{expect}Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                bytes.extend_from_slice(body);
            }
        }
        bytes
    }
}

/// An answer, taken off the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first whole answer in `bytes`, and its length. An answer to HEAD has no body.
    pub fn first(bytes: &[u8], is_head: bool) -> Result<Option<(Self, usize)>, String> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let end = end + 4;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|error| format!("a head: {error}"))?.to_owned();
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|text| text.parse().ok());
        let status: u16 = status.ok_or_else(|| format!("not an answer: {:?}", &head[..head.len().min(80)]))?;
        let mut answer = Self { status, head, body: Vec::new() };
        // Whoever is told that its head took too long has not been asked what it is the head of.
        let is_empty = (is_head && status != 408) || matches!(status, 100 | 204 | 304);
        let len = if is_empty { 0 } else { answer.length()? };
        let Some(body) = bytes.get(end..end + len) else { return Ok(None) };
        answer.body = body.to_vec();
        Ok(Some((answer, end + len)))
    }

    fn length(&self) -> Result<usize, String> {
        let text = self.field("Content-Length").ok_or_else(|| format!("no length: {:?}", self.head))?;
        text.parse().map_err(|_| format!("a length: {text:?}"))
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let of_line = |line: &'_ str| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name);
        let line = self.head.lines().find(|line| of_line(line) && line.as_bytes()[name.len()] == b':')?;
        Some(line[name.len() + 1..].trim())
    }

    pub fn closes(&self) -> bool {
        self.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub fn json(&self) -> Result<Json, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("{error} in {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).into_owned()
    }

    pub fn etag(&self) -> Result<u64, String> {
        let tag = self.field("ETag").ok_or("no ETag")?;
        version(tag.trim_matches('"'))
    }

    /// `Some(None)`: the answer says that there is no entry.
    pub fn actual_version(&self) -> Result<Option<u64>, String> {
        match &self.json()?["error"]["details"]["actual"] {
            Json::Null => Ok(None),
            Json::String(text) => version(text).map(Some),
            other => Err(format!("an actual version: {other}")),
        }
    }
}

pub fn version(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("a version: {text:?}"))
}

pub fn version_of(json: &Json) -> Result<u64, String> {
    version(json["version"].as_str().ok_or_else(|| format!("no version in {json}"))?)
}

/// What a member `value` with its `type` is.
pub fn content_of(json: &Json) -> Result<Content, String> {
    let text = json["value"].as_str();
    match (json["type"].as_str(), text) {
        (Some("bytes"), Some(text)) => {
            let mut bytes = vec![0; text.len()];
            let len = STANDARD.decode_slice(text, &mut bytes).map_err(|error| error.to_string())?;
            content(&bytes[..len])
        }
        (Some("string"), Some(text)) => content(text.as_bytes()),
        (Some("number"), None) => json["value"].as_i64().map(Content::Number).ok_or_else(|| format!("{json}")),
        _ => Err(format!("a value without its type: {:.200}", json.to_string())),
    }
}

/// What an item of an answer to `batch/set` or `batch/delete` tells; `None` for an error.
pub fn told_of_item(json: &Json) -> Result<Told, String> {
    Ok(match json["status"].as_str() {
        Some(status @ ("created" | "updated")) => {
            Told::Written { created: status == "created", version: version_of(json)?, dies_ms: None }
        }
        Some("deleted") => Told::Deleted,
        Some("missing") => Told::Missing,
        Some("error")
            if json["error"]["code"] == "SERVICE_UNAVAILABLE" || json["error"]["code"] == "PAYLOAD_TOO_LARGE" =>
        {
            Told::Failed
        }
        _ => return Err(format!("an item: {json}")),
    })
}

/// When what was written expires, on the wall clock.
pub fn expires_at_ms(json: &Json) -> Result<Option<u64>, String> {
    let Some(text) = json["expiresAt"].as_str() else { return Ok(None) };
    let at: jiff::Timestamp = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Ok(Some(at.as_millisecond() as u64))
}
