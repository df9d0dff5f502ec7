//! What the load generators know of HTTP: where an answer ends, its status, and where its body is.

use std::error::Error;
use std::ops::Range;

const LONGEST_HEAD_BYTES: usize = 16 * 1024;

/// Statuses whose answers have no body and need not say so.
const BODILESS: [u16; 2] = [204, 304];

/// An answer that has come in as a whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Where its body is in the bytes that were looked at; the answer ends with it.
    pub body: Range<usize>,
}

/// The answer at the start of `bytes`, if it is complete.
///
/// # Errors
/// If it is no answer, or one that should have a `Content-Length` and has none.
pub fn complete_answer(bytes: &[u8]) -> Result<Option<Answer>, Box<dyn Error>> {
    let Some(head_end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > LONGEST_HEAD_BYTES { Err("a head without an end".into()) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&bytes[..head_end])?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| format!("not an answer: {head}"))?;
    let start = head_end + 4;
    let length = match usual_length(head).or_else(|| any_length(head)) {
        Some(length) => length.trim().parse()?,
        None if BODILESS.contains(&status) => 0,
        None => return Err("an answer without a length".into()),
    };
    let body = start..start + length;
    Ok((bytes.len() >= body.end).then_some(Answer { status, body }))
}

/// The length, if its field is written as most servers do: found at one go, wherever it stands among the fields.
fn usual_length(head: &str) -> Option<&str> {
    const NAME: &str = "\r\nContent-Length: ";
    let at = memchr::memmem::find(head.as_bytes(), NAME.as_bytes())? + NAME.len();
    head[at..].lines().next()
}

fn any_length(head: &str) -> Option<&str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, length)| length)
}
