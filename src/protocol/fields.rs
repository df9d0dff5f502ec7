//! The header fields that mean something to us, gathered line by line.

use super::auth::{Credentials, Presented};
use super::head::{BodyLength, FieldLines, HeadError};
use crate::limits::REQUEST_ID_CHARS_MAX;

/// What the field lines of one head have said so far.
#[derive(Default)]
pub(super) struct Fields<'b> {
    host: bool,
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    stay: bool,
    pub expect_continue: bool,
    pub request_id: Option<&'b str>,
    api_token: Presented<'b>,
    authorization: Presented<'b>,
    pub if_match: FieldLines<'b>,
    pub if_none_match: FieldLines<'b>,
    pub accept: Option<&'b str>,
    pub accept_encoding: Option<&'b str>,
    pub content_type: Option<&'b str>,
}

impl<'b> Fields<'b> {
    /// Takes in one line. The length of the name rules out all but one or two fields.
    pub fn add(&mut self, name: &str, value: &'b [u8]) -> Result<(), HeadError> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is("Host") => self.add_host(value)?,
            6 if is("Accept") => keep_first(&mut self.accept, value),
            6 if is("Expect") => self.expect_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            8 if is("If-Match") => self.if_match.push(value),
            10 if is("Connection") => self.add_connection(value),
            11 if is("X-API-Token") => self.api_token.add(value),
            12 if is("X-Request-ID") => self.add_request_id(value),
            12 if is("Content-Type") => self.add_content_type(value),
            13 if is("Authorization") => self.authorization.add(value),
            13 if is("If-None-Match") => self.if_none_match.push(value),
            14 if is("Content-Length") => self.add_content_length(value)?,
            15 if is("Accept-Encoding") => keep_first(&mut self.accept_encoding, value),
            17 if is("Transfer-Encoding") => self.add_transfer_encoding(value)?,
            _ => {}
        }
        Ok(())
    }

    fn add_host(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.host {
            return Err(HeadError::Host("it came more than once"));
        }
        if !is_host(value) {
            return Err(HeadError::Host("it must be a name or an address, with or without a port"));
        }
        self.host = true;
        Ok(())
    }

    fn add_connection(&mut self, value: &[u8]) {
        for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.stay |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn add_request_id(&mut self, value: &'b [u8]) {
        let harmless = (1..=REQUEST_ID_CHARS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        if harmless {
            keep_first(&mut self.request_id, value);
        }
    }

    fn add_content_type(&mut self, value: &'b [u8]) {
        let readable = std::str::from_utf8(value).ok().filter(|_| self.content_type.is_none());
        self.content_type = Some(readable.unwrap_or(""));
    }

    fn add_content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.content_length.is_some() {
            return Err(HeadError::Framing("Content-Length came more than once"));
        }
        let Some(length) = plain_decimal(value) else {
            return Err(HeadError::Framing("Content-Length must be one plain decimal number"));
        };
        self.content_length = Some(length);
        Ok(())
    }

    fn add_transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::Framing("the only Transfer-Encoding known here is chunked, once"));
        }
        self.chunked = true;
        Ok(())
    }

    /// Whether `Host` is there if it has to be.
    pub fn check_host(&self, http11: bool) -> Result<(), HeadError> {
        if http11 && !self.host { Err(HeadError::Host("it is missing")) } else { Ok(()) }
    }

    /// Whether the peer wants the connection to go on.
    pub fn keep_alive(&self, http11: bool) -> bool {
        !self.close && (http11 || self.stay)
    }

    /// Where the body ends.
    pub fn body_length(&self, http11: bool) -> Result<BodyLength, HeadError> {
        match (self.chunked, self.content_length) {
            (true, _) if !http11 => Err(HeadError::Framing("HTTP/1.0 has no Transfer-Encoding")),
            (true, Some(_)) => Err(HeadError::Framing("both Content-Length and Transfer-Encoding")),
            (true, None) => Ok(BodyLength::Chunked),
            (false, None | Some(0)) => Ok(BodyLength::None),
            (false, Some(length)) => Ok(BodyLength::Length(length)),
        }
    }

    /// What the peer knows.
    pub fn credentials(&self) -> Credentials<'b> {
        Credentials::from_fields(self.api_token, self.authorization)
    }
}

fn keep_first<'b>(slot: &mut Option<&'b str>, value: &'b [u8]) {
    if slot.is_none() {
        *slot = std::str::from_utf8(value).ok();
    }
}

/// A number of ASCII digits alone, without leading zeros, that fits into 64 bits.
pub(super) fn plain_decimal(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] => text.iter().try_fold(0_u64, |number, &byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        }),
        _ => None,
    }
}

/// Whether each byte may stand in a registered name or an IPv4 address.
static IS_IN_NAME: [bool; 256] = {
    let mut is_in_name = [false; 256];
    let marks = b"-._~!$&'()*+;=%";
    let mut at = 0;
    while at < 256 {
        is_in_name[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    at = 0;
    while at < marks.len() {
        is_in_name[marks[at] as usize] = true;
        at += 1;
    }
    is_in_name
};

/// Whether `value` is a registered name or an address, with or without a port (RFC 3986, 3.2.2). A comma is refused
/// though the grammar has it: it looks like two values joined by a proxy.
fn is_host(value: &[u8]) -> bool {
    let (host_is_fine, rest) = match value {
        [b'[', rest @ ..] => {
            let end = memchr::memchr(b']', rest).unwrap_or(0);
            let inside = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            (end > 0 && rest[..end].iter().all(inside), rest.get(end + 1..).unwrap_or(&[]))
        }
        _ => {
            let end = value.iter().position(|&byte| !IS_IN_NAME[usize::from(byte)]).unwrap_or(value.len());
            (end > 0, &value[end..])
        }
    };
    host_is_fine
        && match rest {
            [] => true,
            [b':', port @ ..] => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}
