//! Requests and answers as the server, memcached and Redis want them. Whatever the protocol, an answer has a status of HTTP:
//! 200 or 201 when it was done, 404 when there is no such key, 503 when it was refused for now.

use crate::answers::{Answer, complete_answer};
use crate::values::{self, Form};
use memchr::memchr;
use std::error::Error;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is spoken.
#[derive(Debug, Clone)]
pub enum Protocol {
    /// HTTP as in the server's contract.
    Http {
        /// What goes into every head.
        host: String,
        /// May write.
        token: String,
    },
    /// memcached's text protocol.
    Memcached,
    /// Redis's protocol, version 2.
    Redis,
}

/// A write.
#[derive(Debug, Clone, Copy)]
pub struct Put {
    /// Which key.
    pub key: u64,
    /// Bytes of the value.
    pub length: usize,
    /// The number of the write.
    pub write: u32,
    /// Seconds until it expires.
    pub ttl: Option<u32>,
}

impl Protocol {
    /// Appends a write.
    pub fn append_put(&self, output: &mut Vec<u8>, form: Form, put: Put) {
        match (self, form) {
            (Self::Http { host, token }, Form::Bytes) => {
                append_http_line(
                    output,
                    "PUT",
                    put.key,
                    &put.ttl.map_or(String::new(), |ttl| format!("?ttlSec={ttl}")),
                );
                append_http_put_head(output, host, token, "application/octet-stream", put.length);
                append_value(output, form, put);
            }
            (Self::Http { host, token }, Form::Text) => {
                let tail = put.ttl.map_or("\"}".to_owned(), |ttl| format!("\",\"ttlSec\":{ttl}}}"));
                let opening = b"{\"value\":\"";
                append_http_line(output, "PUT", put.key, "");
                let length = opening.len() + put.length + tail.len();
                append_http_put_head(output, host, token, "application/json", length);
                output.extend_from_slice(opening);
                append_value(output, form, put);
                output.extend_from_slice(tail.as_bytes());
            }
            (Self::Memcached, _) => {
                output.extend_from_slice(b"set ");
                values::append_key(output, put.key);
                output.extend_from_slice(format!(" 0 {} {}\r\n", put.ttl.unwrap_or(0), put.length).as_bytes());
                append_value(output, form, put);
                output.extend_from_slice(b"\r\n");
            }
            (Self::Redis, _) => {
                let parts = if put.ttl.is_some() { 5 } else { 3 };
                output.extend_from_slice(format!("*{parts}\r\n$3\r\nSET\r\n$16\r\n").as_bytes());
                values::append_key(output, put.key);
                output.extend_from_slice(format!("\r\n${}\r\n", put.length).as_bytes());
                append_value(output, form, put);
                output.extend_from_slice(b"\r\n");
                if let Some(ttl) = put.ttl {
                    let ttl = ttl.to_string();
                    output.extend_from_slice(format!("$2\r\nEX\r\n${}\r\n{ttl}\r\n", ttl.len()).as_bytes());
                }
            }
        }
    }

    /// Appends a read of the value itself.
    pub fn append_get(&self, output: &mut Vec<u8>, key: u64) {
        match self {
            Self::Http { host, .. } => {
                append_http_line(output, "GET", key, "?raw=true");
                output.extend_from_slice(b"Host: ");
                output.extend_from_slice(host.as_bytes());
                output.extend_from_slice(b"\r\n\r\n");
            }
            Self::Memcached => {
                output.extend_from_slice(b"get ");
                values::append_key(output, key);
                output.extend_from_slice(b"\r\n");
            }
            Self::Redis => {
                output.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$16\r\n");
                values::append_key(output, key);
                output.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The answer at the start of `bytes`, if it is complete, and how many bytes it takes.
    ///
    /// # Errors
    /// If it is no answer.
    pub fn complete_answer(&self, bytes: &[u8]) -> Result<Option<(Answer, usize)>> {
        match self {
            Self::Http { .. } => Ok(complete_answer(bytes)?.map(|answer| {
                let end = answer.body.end;
                (answer, end)
            })),
            Self::Memcached => complete_memcached_answer(bytes),
            Self::Redis => complete_redis_answer(bytes),
        }
    }
}

fn append_http_line(output: &mut Vec<u8>, method: &str, key: u64, query: &str) {
    output.extend_from_slice(method.as_bytes());
    output.extend_from_slice(b" /v1/kv/");
    values::append_key(output, key);
    output.extend_from_slice(query.as_bytes());
    output.extend_from_slice(b" HTTP/1.1\r\n");
}

fn append_http_put_head(output: &mut Vec<u8>, host: &str, token: &str, media_type: &str, length: usize) {
    let head = format!(
        "Host: {host}\r\nX-API-Token: {token}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    output.extend_from_slice(head.as_bytes());
}

fn append_value(output: &mut Vec<u8>, form: Form, put: Put) {
    values::append_value(output, form, put.key, put.length, put.write);
}

fn complete_memcached_answer(bytes: &[u8]) -> Result<Option<(Answer, usize)>> {
    let Some((line, start)) = first_line(bytes)? else { return Ok(None) };
    if let Some(described) = line.strip_prefix("VALUE ") {
        let length: usize = described.rsplit(' ').next().unwrap_or_default().parse()?;
        let end = start + length + b"\r\nEND\r\n".len();
        let answer = Answer { status: 200, body: start..start + length };
        return Ok((bytes.len() >= end).then_some((answer, end)));
    }
    let status = match line {
        "STORED" => 200,
        "END" => 404,
        _ if line.starts_with("SERVER_ERROR") => 503,
        _ => return Err(format!("not an answer: {line}").into()),
    };
    Ok(Some((Answer { status, body: start..start }, start)))
}

fn complete_redis_answer(bytes: &[u8]) -> Result<Option<(Answer, usize)>> {
    let Some((line, start)) = first_line(bytes)? else { return Ok(None) };
    if let Some(length) = line.strip_prefix('$').filter(|length| *length != "-1") {
        let end = start + length.parse::<usize>()?;
        let whole = bytes.len() >= end + b"\r\n".len();
        return Ok(whole.then_some((Answer { status: 200, body: start..end }, end + b"\r\n".len())));
    }
    let status = match line {
        "+OK" => 200,
        "$-1" => 404,
        _ if line.starts_with("-OOM") => 503,
        _ => return Err(format!("not an answer: {line}").into()),
    };
    Ok(Some((Answer { status, body: start..start }, start)))
}

/// The first line of `bytes`, and where the next one starts.
fn first_line(bytes: &[u8]) -> Result<Option<(&str, usize)>> {
    let Some(end) = memchr(b'\n', bytes) else { return Ok(None) };
    let line = bytes[..end].strip_suffix(b"\r").ok_or("a line without a carriage return")?;
    Ok(Some((std::str::from_utf8(line)?, end + 1)))
}
