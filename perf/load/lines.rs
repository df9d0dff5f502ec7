//! The protocols of Redis and memcached.

use crate::Result;
use crate::values;
use memchr::memchr;
use std::ops::Range;

/// The values of an answer.
#[derive(Debug)]
pub struct Values {
    /// Where they are.
    pub ranges: Vec<Range<usize>>,
    /// Where the answer ends.
    pub end: usize,
}

/// Appends GET, or MGET for several keys.
pub fn append_redis_get(output: &mut Vec<u8>, keys: impl Iterator<Item = u64>) {
    let mut body = Vec::new();
    let mut count = 0;
    for key in keys {
        body.extend_from_slice(b"$16\r\n");
        values::append_key(&mut body, key);
        body.extend_from_slice(b"\r\n");
        count += 1;
    }
    let head = if count == 1 { "*2\r\n$3\r\nGET\r\n".into() } else { format!("*{}\r\n$4\r\nMGET\r\n", count + 1) };
    output.extend_from_slice(head.as_bytes());
    output.extend_from_slice(&body);
}

/// Appends SET up to the value, after which comes an end of line.
pub fn append_redis_set(output: &mut Vec<u8>, key: u64, length: usize) {
    output.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$16\r\n");
    values::append_key(output, key);
    output.extend_from_slice(format!("\r\n${length}\r\n").as_bytes());
}

/// Appends get.
pub fn append_memcached_get(output: &mut Vec<u8>, keys: impl Iterator<Item = u64>) {
    output.extend_from_slice(b"get");
    for key in keys {
        output.push(b' ');
        values::append_key(output, key);
    }
    output.extend_from_slice(b"\r\n");
}

/// Appends set up to the value, after which comes an end of line.
pub fn append_memcached_set(output: &mut Vec<u8>, key: u64, length: usize) {
    output.extend_from_slice(b"set ");
    values::append_key(output, key);
    output.extend_from_slice(format!(" 0 0 {length}\r\n").as_bytes());
}

/// The values of an answer to GET, or to MGET if there are several, if it is complete.
///
/// # Errors
/// If it is something else.
pub fn redis_values(bytes: &[u8], count: u64) -> Result<Option<Values>> {
    let mut at = 0;
    if count > 1 {
        let Some(end) = line_end(bytes) else { return Ok(None) };
        if length(&bytes[..end], b"*")? as u64 != count {
            return Err("an array of another length".into());
        }
        at = end;
    }
    let mut ranges = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let Some(end) = line_end(&bytes[at..]) else { return Ok(None) };
        let start = at + end;
        ranges.push(start..start + length(&bytes[at..start], b"$")?);
        at = start + ranges[ranges.len() - 1].len() + 2;
        if bytes.len() < at {
            return Ok(None);
        }
    }
    Ok(Some(Values { ranges, end: at }))
}

/// The values of an answer to get, if it is complete.
///
/// # Errors
/// If it is something else.
pub fn memcached_values(bytes: &[u8]) -> Result<Option<Values>> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = bytes.get(at..).and_then(line_end) else { return Ok(None) };
        let (line, start) = (&bytes[at..at + end], at + end);
        if line == b"END\r\n" {
            return Ok(Some(Values { ranges, end: start }));
        }
        let described = line.strip_prefix(b"VALUE ").ok_or_else(|| strange(line))?;
        let last = described.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
        ranges.push(start..start + length(last, b"")?);
        at = start + ranges[ranges.len() - 1].len() + 2;
    }
}

/// Where the line that `bytes` begin with ends, its end included.
pub fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr(b'\n', bytes).map(|end| end + 1)
}

/// The number after `prefix` on a line.
fn length(line: &[u8], prefix: &[u8]) -> Result<usize> {
    let digits = line.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(b"\r\n"));
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| strange(line).into())
}

fn strange(line: &[u8]) -> String {
    format!("not an answer: {}", String::from_utf8_lossy(line))
}
