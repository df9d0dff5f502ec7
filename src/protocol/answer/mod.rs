//! Complete HTTP/1.1 answers, appended to an output buffer from prepared pieces. Nothing here allocates or formats on
//! the way of a read.
//!
//! What may be kept by caches in between: a value only if it is asked for anew each time (`no-cache`, with an `ETag` to
//! ask by), for a write must be seen by every later read; errors and reports never (`no-store`).

mod batch;
mod code;
mod dates;
mod found;
mod outcome;
mod prepared;

use super::conditions::hex;
use super::json::text::escape_into;
pub use batch::{BatchGet, DeleteResult, DeleteStatus, SetResult, delete_results, set_results};
pub use code::ErrorCode;
use dates::RFC3339_CHARS;
pub use dates::{imf_fixdate, rfc3339};
pub use found::{Form, Found, Tail, found};
pub use outcome::{conflict, counted, deleted, not_modified, written};
pub use prepared::PreparedHead;

/// What a peer waits for that sent `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

const JSON: &[u8] = b"\r\nContent-Type: application/json; charset=utf-8";
const LENGTH: &[u8] = b"\r\nContent-Length: ";
const NO_STORE: &[u8] = b"\r\nCache-Control: no-store";

/// The name of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestIdText<'a> {
    /// What the client called it: visible ASCII.
    Given(&'a str),
    /// A fresh one; written as 32 hexadecimal digits.
    Fresh([u64; 2]),
}

/// What every answer needs to know.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'a> {
    /// The name of the request.
    pub request_id: RequestIdText<'a>,
    /// The moment, from [`imf_fixdate`]; to be made once for each second.
    pub date: &'a [u8; 29],
    /// Whether the request was HTTP/1.1, or else 1.0.
    pub http11: bool,
    /// Whether the connection goes on.
    pub keep_alive: bool,
    /// Whether the body is to be left out (HEAD); the head stays the same.
    pub head_only: bool,
}

/// What stands in the beginning of an answer until the moment is known.
const NO_DATE: &[u8; 29] = b"ddd, 00 mmm 0000 00:00:00 GMT";
/// What stands there until the name of the request is known.
const NO_ID: &[u8; 32] = b"00000000000000000000000000000000";
/// What stands between the two.
const ID_FIELD: &[u8] = b"\r\nX-Request-ID: ";

macro_rules! beginnings {
    ($status:expr, $($code:literal $reason:literal),+) => {
        match $status {
            $($code => concat!(
                "HTTP/1.1 ", $code, " ", $reason, "\r\nDate: ddd, 00 mmm 0000 00:00:00 GMT",
                "\r\nX-Request-ID: 00000000000000000000000000000000"
            ).as_bytes(),)+
            _ => panic!("no answer of ours has this status"),
        }
    };
}

/// The status line and the fields `Date` and `X-Request-ID`, to be filled in: [`NO_DATE`], [`ID_FIELD`] and [`NO_ID`]
/// are its end.
const fn beginning(status: u16) -> &'static [u8] {
    beginnings!(
        status, 200 "OK", 201 "Created", 204 "No Content", 304 "Not Modified", 400 "Bad Request", 401 "Unauthorized",
        404 "Not Found", 405 "Method Not Allowed", 408 "Request Timeout", 409 "Conflict", 413 "Content Too Large",
        431 "Request Header Fields Too Large", 500 "Internal Server Error", 503 "Service Unavailable"
    )
}

/// An answer's head has hardly ever more than this, in bytes; room for it is made at once.
const HEAD_BYTES_USUAL: usize = 384;

/// Writes the status line and the fields that all answers have. More fields may follow, each beginning with CR LF.
fn begin(out: &mut Vec<u8>, head: &AnswerHead<'_>, status: u16) {
    out.reserve(HEAD_BYTES_USUAL);
    // One copy and some digits put in their places cost less than piece after piece.
    out.extend_from_slice(beginning(status));
    let id_at = out.len() - NO_ID.len();
    let date_at = id_at - ID_FIELD.len() - NO_DATE.len();
    out[date_at..date_at + NO_DATE.len()].copy_from_slice(head.date);
    match head.request_id {
        RequestIdText::Fresh([core, number]) => {
            put_hex(out, id_at, core);
            put_hex(out, id_at + NO_ID.len() / 2, number);
        }
        RequestIdText::Given(id) => {
            out.truncate(id_at);
            out.extend_from_slice(id.as_bytes());
        }
    }
    match (head.keep_alive, head.http11) {
        (true, true) => {}
        (true, false) => out.extend_from_slice(b"\r\nConnection: keep-alive"),
        (false, _) => out.extend_from_slice(b"\r\nConnection: close"),
    }
}

/// Puts the 16 hexadecimal digits of `number` over what stands at `at`.
#[inline]
fn put_hex(out: &mut [u8], at: usize, number: u64) {
    out[at..at + 16].copy_from_slice(&hex(number));
}

/// Writes the end of a head that a body of `len` bytes follows.
fn end(out: &mut Vec<u8>, len: u64) {
    out.extend_from_slice(LENGTH);
    push_number(out, len);
    out.extend_from_slice(b"\r\n\r\n");
}

fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a JSON string.
fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape_into(text, out);
    out.push(b'"');
}

/// Appends a JSON string or `null`.
fn push_string_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => push_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// A key as text.
///
/// # Panics
/// If it is not UTF-8: no such key passes the door.
fn key_text(key: &[u8]) -> &str {
    std::str::from_utf8(key).expect("keys are checked where they come in")
}

/// Answers with a JSON text.
pub fn json(out: &mut Vec<u8>, head: &AnswerHead<'_>, status: u16, body: &[u8]) {
    begin(out, head, status);
    out.extend_from_slice(JSON);
    out.extend_from_slice(NO_STORE);
    end_with(out, head, body);
}

/// Writes the head of an answer with a page of numbers, of `len` bytes as it is sent; the page itself must follow, unless
/// the request was HEAD.
pub fn page(out: &mut Vec<u8>, head: &AnswerHead<'_>, content_type: &str, gzip: bool, len: u64) {
    begin(out, head, 200);
    out.extend_from_slice(b"\r\nContent-Type: ");
    out.extend_from_slice(content_type.as_bytes());
    if gzip {
        out.extend_from_slice(b"\r\nContent-Encoding: gzip");
    }
    out.extend_from_slice(b"\r\nVary: Accept, Accept-Encoding\r\nX-Content-Type-Options: nosniff");
    out.extend_from_slice(NO_STORE);
    end(out, len);
}

/// What the head of a file's answer says of the file.
#[derive(Clone, Copy, Debug)]
pub struct FileFacts<'a> {
    /// Its media type.
    pub content_type: &'a str,
    /// Further fields, each beginning with CR LF.
    pub fields: &'a str,
    /// Its entity tag without quotes.
    pub tag: &'a str,
    /// Its length in bytes.
    pub len: u64,
}

/// Writes the head of an answer with a file; the file itself must follow, unless the request was HEAD.
pub fn file(out: &mut Vec<u8>, head: &AnswerHead<'_>, file: &FileFacts<'_>) {
    begin(out, head, 200);
    push_file_fields(out, file);
    out.extend_from_slice(b"\r\nContent-Type: ");
    out.extend_from_slice(file.content_type.as_bytes());
    out.extend_from_slice(b"\r\nX-Content-Type-Options: nosniff");
    end(out, file.len);
}

/// Answers that the client has this file already: 304.
pub fn file_not_modified(out: &mut Vec<u8>, head: &AnswerHead<'_>, file: &FileFacts<'_>) {
    begin(out, head, 304);
    push_file_fields(out, file);
    out.extend_from_slice(b"\r\n\r\n");
}

fn push_file_fields(out: &mut Vec<u8>, file: &FileFacts<'_>) {
    out.extend_from_slice(file.fields.as_bytes());
    out.extend_from_slice(b"\r\nETag: \"");
    out.extend_from_slice(file.tag.as_bytes());
    out.push(b'"');
}

fn end_with(out: &mut Vec<u8>, head: &AnswerHead<'_>, body: &[u8]) {
    end(out, body.len() as u64);
    if !head.head_only {
        out.extend_from_slice(body);
    }
}

/// What an error says.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// What went wrong.
    pub code: ErrorCode,
    /// The status; [`ErrorCode::status`], or a more special one such as 431.
    pub status: u16,
    /// For people.
    pub message: &'a str,
    /// The methods that the route knows, for [`ErrorCode::MethodNotAllowed`].
    pub allow: Option<&'static str>,
}

impl<'a> Failure<'a> {
    /// An error with the usual status of its code.
    #[must_use]
    pub const fn new(code: ErrorCode, message: &'a str) -> Self {
        Self { code, status: code.status(), message, allow: None }
    }

    /// An error with the code that belongs to `status`.
    #[must_use]
    pub const fn of_status(status: u16, message: &'a str) -> Self {
        Self { code: ErrorCode::of_status(status), status, message, allow: None }
    }

    /// The path is known, but only with the methods in `allow`.
    #[must_use]
    pub const fn method_not_allowed(allow: &'static str) -> Self {
        let code = ErrorCode::MethodNotAllowed;
        Self { code, status: code.status(), message: "this path does not know the method", allow: Some(allow) }
    }
}

/// Answers with an error: with `WWW-Authenticate` if it is 401, `Retry-After` if it is 503.
pub fn error(out: &mut Vec<u8>, head: &AnswerHead<'_>, failure: &Failure<'_>) {
    let mut body = Vec::with_capacity(64 + failure.message.len());
    push_error(&mut body, failure.code, failure.message);
    body.push(b'}');
    error_with(out, head, failure, &body);
}

/// Appends `{"error":{"code":…,"message":…}`, without the last bracket.
fn begin_error(body: &mut Vec<u8>, code: ErrorCode, message: &str) {
    body.extend_from_slice(b"{\"error\":{\"code\":\"");
    body.extend_from_slice(code.name().as_bytes());
    body.extend_from_slice(b"\",\"message\":");
    push_string(body, message);
}

fn push_error(body: &mut Vec<u8>, code: ErrorCode, message: &str) {
    begin_error(body, code, message);
    body.push(b'}');
}

fn error_with(out: &mut Vec<u8>, head: &AnswerHead<'_>, failure: &Failure<'_>, body: &[u8]) {
    begin(out, head, failure.status);
    out.extend_from_slice(JSON);
    out.extend_from_slice(NO_STORE);
    if let Some(methods) = failure.allow {
        out.extend_from_slice(b"\r\nAllow: ");
        out.extend_from_slice(methods.as_bytes());
    }
    match failure.status {
        401 => out.extend_from_slice(b"\r\nWWW-Authenticate: Bearer realm=\"cache-service\""),
        503 => {
            out.extend_from_slice(b"\r\nRetry-After: ");
            push_number(out, crate::limits::RETRY_AFTER_SECS);
        }
        _ => {}
    }
    end_with(out, head, body);
}

#[cfg(test)]
mod tests;
