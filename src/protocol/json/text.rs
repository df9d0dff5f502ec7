//! To and from the text of JSON strings.

use super::strings::{Escape, is_high, is_low};

/// Appends `text` to `out` as the inside of a JSON string, without the quotes.
pub fn escape_into(text: &str, out: &mut Vec<u8>) {
    if !needs_escapes(text) {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate().filter(|&(_, byte)| escaped_byte_len(byte) > 1) {
        out.extend_from_slice(&text.as_bytes()[plain_from..at]);
        plain_from = at + 1;
        match short_escape(byte) {
            Some(letter) => out.extend_from_slice(&[b'\\', letter]),
            None => {
                let digit = |nibble: u8| b"0123456789abcdef"[nibble as usize & 15];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
}

/// Bytes that [`escape_into`] appends for `text`.
#[must_use]
pub fn escaped_len(text: &str) -> usize {
    if !needs_escapes(text) {
        return text.len();
    }
    text.bytes().map(escaped_byte_len).sum()
}

/// Whether there is anything to escape; mostly there is not.
fn needs_escapes(text: &str) -> bool {
    // No early exit, so that the compiler makes vector instructions of it.
    text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\') | (byte == 0x7f))
}

const fn escaped_byte_len(byte: u8) -> usize {
    match byte {
        _ if short_escape(byte).is_some() => 2,
        0..0x20 | 0x7f => 6,
        _ => 1,
    }
}

const fn short_escape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        0x08 => Some(b'b'),
        0x0c => Some(b'f'),
        _ => None,
    }
}

/// Turns the text of one JSON string, quotes included or not, into what it says, whatever pieces it comes in. Half of
/// a surrogate pair alone becomes U+FFFD. The text must have passed a [`super::scanner::Scanner`]; of any other text
/// something harmless is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unescaper {
    escape: Escape,
    unit: u16,
    /// A high surrogate that waits for its other half.
    high: Option<u16>,
}

impl Unescaper {
    /// At the beginning of a string.
    #[must_use]
    pub const fn new() -> Self {
        Self { escape: Escape::Outside, unit: 0, high: None }
    }

    /// Takes in the next piece and hands pieces of the result to `emit`. They may end within a character only where
    /// `text` does.
    pub fn feed(&mut self, text: &[u8], mut emit: impl FnMut(&[u8])) {
        let mut at = 0;
        while at < text.len() {
            if self.escape != Escape::Outside {
                self.escaped(text[at], &mut emit);
                at += 1;
                continue;
            }
            let rest = &text[at..];
            let run = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            if run > 0 {
                self.finish(&mut emit);
                emit(&rest[..run]);
            }
            match rest.get(run) {
                Some(b'\\') => self.escape = Escape::Letter,
                Some(_) => self.finish(&mut emit),
                None => {}
            }
            at += run + 1;
        }
    }

    /// Hands out what is still held back at the end of the string.
    pub fn finish(&mut self, mut emit: impl FnMut(&[u8])) {
        if self.high.take().is_some() {
            emit("\u{fffd}".as_bytes());
        }
    }

    fn escaped(&mut self, byte: u8, emit: &mut impl FnMut(&[u8])) {
        match (self.escape, byte) {
            (Escape::Letter, b'u') => (self.escape, self.unit) = (Escape::Hex(0), 0),
            (Escape::Hex(digits), _) => {
                self.unit = self.unit << 4 | char::from(byte).to_digit(16).unwrap_or(0) as u16;
                self.escape = Escape::Hex(digits + 1);
                if digits == 3 {
                    self.escape = Escape::Outside;
                    self.emit_unit(emit);
                }
            }
            _ => {
                self.escape = Escape::Outside;
                self.finish(&mut *emit);
                emit(&[match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    _ => byte,
                }]);
            }
        }
    }

    fn emit_unit(&mut self, emit: &mut impl FnMut(&[u8])) {
        let unit = self.unit;
        let code = match self.high.take() {
            Some(high) if is_low(unit) => 0x1_0000 + ((u32::from(high) & 0x3ff) << 10) + (u32::from(unit) & 0x3ff),
            Some(_) => {
                emit("\u{fffd}".as_bytes());
                u32::from(unit)
            }
            None => u32::from(unit),
        };
        if is_high(unit) {
            self.high = Some(unit);
            return;
        }
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        emit(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescape(text: &str, piece: usize) -> Vec<u8> {
        let (mut unescaper, mut out) = (Unescaper::new(), Vec::new());
        text.as_bytes().chunks(piece).for_each(|part| unescaper.feed(part, |bytes| out.extend_from_slice(bytes)));
        unescaper.finish(|bytes| out.extend_from_slice(bytes));
        out
    }

    #[test]
    fn escaped_text_is_json_and_comes_back() {
        let all: String = (0..0x300).filter_map(char::from_u32).chain(['\u{fffd}', '😀']).collect();
        let mut json = vec![b'"'];
        escape_into(&all, &mut json);
        assert_eq!(json.len(), 1 + escaped_len(&all));
        json.push(b'"');
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), all);
        for piece in [1, 2, 3, 5, 7, json.len()] {
            assert_eq!(unescape(std::str::from_utf8(&json).unwrap(), piece), all.as_bytes(), "by {piece}");
        }
    }

    #[test]
    fn surrogates_pair_up_or_are_replaced() {
        let cases = [
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\uD83D""#, "\u{fffd}"),
            (r#""\ude00x""#, "\u{fffd}x"),
            (r#""\ud83dx\ude00""#, "\u{fffd}x\u{fffd}"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\u00e9\/\"\\\b\f""#, "é/\"\\\u{8}\u{c}"),
        ];
        for (json, text) in cases {
            for piece in 1..=json.len() {
                assert_eq!(unescape(json, piece), text.as_bytes(), "{json} by {piece}");
            }
        }
    }
}
