//! The inside of JSON strings: checked and measured, whatever pieces it comes in.

use super::JsonError;

/// Where in an escape sequence the text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Escape {
    #[default]
    Outside,
    /// After the backslash.
    Letter,
    /// After `\u` and so many digits.
    Hex(u8),
}

/// What the two halves of a surrogate pair look like.
pub(super) const fn is_high(unit: u16) -> bool {
    unit >> 10 == 0xd800 >> 10
}

/// See [`is_high`].
pub(super) const fn is_low(unit: u16) -> bool {
    unit >> 10 == 0xdc00 >> 10
}

/// Checks one string after another.
#[derive(Clone, Debug, Default)]
pub(super) struct StringCheck {
    /// A character whose last bytes have not come yet.
    partial: [u8; 4],
    partial_len: usize,
    escape: Escape,
    unit: u16,
    /// Whether the last thing was a high surrogate, counted as U+FFFD so far.
    after_high: bool,
    raw_len: u64,
}

impl StringCheck {
    /// Begins with the next string.
    pub fn begin(&mut self) {
        *self = Self::default();
    }

    /// Bytes of UTF-8 that the string so far has when unescaped.
    pub const fn raw_len(&self) -> u64 {
        self.raw_len
    }

    /// Takes in what belongs to the string: up to its closing quote (then true), or all of `input`.
    pub fn take(&mut self, input: &[u8]) -> Result<(usize, bool), JsonError> {
        let mut at = 0;
        while at < input.len() {
            if self.escape != Escape::Outside {
                self.escaped(input[at])?;
                at += 1;
                continue;
            }
            let rest = &input[at..];
            let run = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            self.plain(&rest[..run])?;
            at += run;
            if at == input.len() {
                break;
            }
            if self.partial_len > 0 {
                return Err(JsonError::NotUtf8);
            }
            if input[at] == b'"' {
                return Ok((at, true));
            }
            self.escape = Escape::Letter;
            at += 1;
        }
        Ok((at, false))
    }

    fn escaped(&mut self, byte: u8) -> Result<(), JsonError> {
        match (self.escape, byte) {
            (Escape::Letter, b'u') => (self.escape, self.unit) = (Escape::Hex(0), 0),
            (Escape::Letter, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.raw_len += 1;
                (self.escape, self.after_high) = (Escape::Outside, false);
            }
            (Escape::Hex(digits), _) => {
                let digit = char::from(byte).to_digit(16).ok_or(JsonError::Escape)?;
                self.unit = self.unit << 4 | digit as u16;
                self.escape = Escape::Hex(digits + 1);
                if digits == 3 {
                    self.escape = Escape::Outside;
                    self.count_unit();
                }
            }
            _ => return Err(JsonError::Escape),
        }
        Ok(())
    }

    /// Counts a code unit of UTF-16; half of a pair alone counts as U+FFFD, three bytes.
    fn count_unit(&mut self) {
        self.raw_len += match self.unit {
            0..=0x7f => 1,
            0x80..=0x7ff => 2,
            unit if is_low(unit) && self.after_high => 4 - 3,
            _ => 3,
        };
        self.after_high = is_high(self.unit);
    }

    fn plain(&mut self, run: &[u8]) -> Result<(), JsonError> {
        if run.is_empty() {
            return Ok(());
        }
        // No early exit, so that the compiler makes vector instructions of it.
        if run.iter().fold(false, |found, &byte| found | (byte < b' ')) {
            return Err(JsonError::Control);
        }
        self.after_high = false;
        self.raw_len += run.len() as u64;
        let mut rest = run;
        while let ([first, others @ ..], 1..) = (rest, self.partial_len) {
            self.partial[self.partial_len] = *first;
            self.partial_len += 1;
            rest = others;
            match std::str::from_utf8(&self.partial[..self.partial_len]) {
                Ok(_) => self.partial_len = 0,
                Err(error) if error.error_len().is_some() => return Err(JsonError::NotUtf8),
                Err(_) => {}
            }
        }
        match std::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(JsonError::NotUtf8),
            Err(error) => {
                let partial = &rest[error.valid_up_to()..];
                self.partial[..partial.len()].copy_from_slice(partial);
                self.partial_len = partial.len();
                Ok(())
            }
        }
    }
}
