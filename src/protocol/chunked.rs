//! The chunked transfer coding (RFC 9112, 7.1), decoded wherever the bytes happen to be cut.
//!
//! Stricter than the grammar where implementations are known to differ: no space around the size, at most 16 digits,
//! lines end with CR LF and nothing else.

use crate::limits::{CHUNK_LINE_BYTES_MAX, HEAD_BYTES_MAX, HEAD_FIELDS_MAX};

/// Why a chunked body was refused: 400. The connection is out of step after it and must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Not 1 to 16 hexadecimal digits.
    #[error("invalid chunk size")]
    Size,
    /// A control character in a chunk extension.
    #[error("invalid chunk extension")]
    Extension,
    /// A size line of more than [`CHUNK_LINE_BYTES_MAX`] bytes.
    #[error("chunk size line too long")]
    LineTooLong,
    /// CR LF is missing where it has to be.
    #[error("a chunk must end with CR LF")]
    LineEnd,
    /// A trailer that is no field line.
    #[error("invalid trailer")]
    Trailer,
    /// More than [`HEAD_FIELDS_MAX`] trailers or [`HEAD_BYTES_MAX`] bytes of them.
    #[error("too many trailers")]
    TrailersTooLarge,
}

/// What one call has made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'i> {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// Bytes of the body, possibly none.
    pub data: &'i [u8],
    /// Whether the body has ended; the input from `consumed` on belongs to the next request.
    pub done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a size.
    Size {
        digits: u32,
    },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a line after the last chunk.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// Decodes one body.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// The size being read, then what is left of the chunk.
    left: u64,
    line_bytes: usize,
    trailer_bytes: usize,
    trailers: usize,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkedDecoder {
    /// At the beginning of a body.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Size { digits: 0 }, left: 0, line_bytes: 0, trailer_bytes: 0, trailers: 0 }
    }

    /// Decodes up to the end of the next run of data, of the body, or of `input`, whichever comes first. Call again
    /// with the rest while something of `input` is left and the body is not done.
    ///
    /// # Errors
    /// See [`ChunkError`].
    pub fn decode<'i>(&mut self, input: &'i [u8]) -> Result<Decoded<'i>, ChunkError> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let take = usize::try_from(self.left).map_or(input.len() - at, |left| left.min(input.len() - at));
                self.left -= take as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Decoded { consumed: at + take, data: &input[at..at + take], done: false });
            }
            self.state = self.step(input[at])?;
            at += 1;
        }
        Ok(Decoded { consumed: at, data: &[], done: self.state == State::Done })
    }

    /// Takes in one byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        match (self.state, byte) {
            (State::Size { .. } | State::Extension | State::SizeLf, _) => self.size_line(byte),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                (self.left, self.line_bytes) = (0, 0);
                Ok(State::Size { digits: 0 })
            }
            (State::DataCr | State::DataLf, _) => Err(ChunkError::LineEnd),
            _ => self.trailer(byte),
        }
    }

    fn size_line(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.line_bytes += 1;
        if self.line_bytes > CHUNK_LINE_BYTES_MAX {
            return Err(ChunkError::LineTooLong);
        }
        match (self.state, byte) {
            (State::Size { digits: 1.. }, b'\r') | (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Size { digits: 1.. }, b';') => Ok(State::Extension),
            (State::Size { digits: 0..=15 }, _) => {
                let State::Size { digits } = self.state else { return Err(ChunkError::Size) };
                let digit = char::from(byte).to_digit(16).ok_or(ChunkError::Size)?;
                // Sixteen digits are 64 bits: nothing is ever shifted out.
                self.left = self.left << 4 | u64::from(digit);
                Ok(State::Size { digits: digits + 1 })
            }
            (State::Size { .. }, _) => Err(ChunkError::Size),
            (State::Extension, byte) if is_text(byte) => Ok(State::Extension),
            (State::Extension, _) => Err(ChunkError::Extension),
            (_, b'\n') if self.left == 0 => Ok(State::TrailerStart),
            (_, b'\n') => Ok(State::Data),
            _ => Err(ChunkError::LineEnd),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > HEAD_BYTES_MAX {
            return Err(ChunkError::TrailersTooLarge);
        }
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart, byte) if is_token(byte) => {
                self.trailers += 1;
                if self.trailers > HEAD_FIELDS_MAX { Err(ChunkError::TrailersTooLarge) } else { Ok(State::TrailerName) }
            }
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerName, byte) if is_token(byte) => Ok(State::TrailerName),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, byte) if is_text(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::TrailerLf | State::EndLf, _) => Err(ChunkError::LineEnd),
            _ => Err(ChunkError::Trailer),
        }
    }
}

/// What may stand in a field value or a chunk extension.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// What may stand in a field name.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` in pieces of the given size: the body, how much was consumed, and whether it ended.
    fn decode(input: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool), ChunkError> {
        let (mut decoder, mut body, mut consumed) = (ChunkedDecoder::new(), Vec::new(), 0);
        for mut part in input.chunks(piece) {
            while !part.is_empty() {
                let decoded = decoder.decode(part)?;
                assert!(decoded.consumed > 0, "every call gets on");
                body.extend_from_slice(decoded.data);
                consumed += decoded.consumed;
                part = &part[decoded.consumed..];
                if decoded.done {
                    return Ok((body, consumed, true));
                }
            }
        }
        Ok((body, consumed, false))
    }

    #[test]
    fn bodies_come_out_the_same_however_they_are_cut() {
        let text =
            b"5;a=\"b c\"\r\nhello\r\n00A\r\n, \r\nworld!\r\n0;x\r\nTrailer: dropped\r\nX: \xff\r\n\r\nGET / HTTP";
        let end = text.len() - b"GET / HTTP".len();
        for piece in 1..=text.len() {
            assert_eq!(decode(text, piece), Ok((b"hello, \r\nworld!".to_vec(), end, true)), "{piece}");
        }
        for len in 0..end {
            assert!(!decode(&text[..len], len.max(1)).unwrap().2, "{len}");
        }
    }

    #[test]
    fn malformed_bodies_are_refused_however_they_are_cut() {
        use ChunkError::{Extension, LineEnd, LineTooLong, Size, Trailer, TrailersTooLarge};
        let fields = |n: usize| format!("0\r\n{}\r\n", "A: b\r\n".repeat(n));
        let cases = [
            ("\r\n".to_owned(), Size),
            (";\r\n".into(), Size),
            ("+1\r\na\r\n".into(), Size),
            ("0x1\r\na\r\n".into(), Size),
            (" 1\r\n".into(), Size),
            ("1 \r\n".into(), Size),
            ("1\n".into(), Size),
            ("g\r\n".into(), Size),
            ("00000000000000001\r\n".into(), Size),
            ("1\ra".into(), LineEnd),
            ("1;a\nb".into(), Extension),
            ("1;\0\r\n".into(), Extension),
            (format!("1;{}\r\n", "a".repeat(CHUNK_LINE_BYTES_MAX)), LineTooLong),
            ("1\r\nab".into(), LineEnd),
            ("1\r\na\n".into(), LineEnd),
            ("1\r\na\r\r".into(), LineEnd),
            ("0\r\n\n".into(), Trailer),
            ("0\r\nA\r\n".into(), Trailer),
            ("0\r\nA : b\r\n".into(), Trailer),
            ("0\r\n A: b\r\n".into(), Trailer),
            ("0\r\nA: b\n".into(), Trailer),
            ("0\r\nA: \0\r\n".into(), Trailer),
            ("0\r\nA: b\rC".into(), LineEnd),
            ("0\r\n\rx".into(), LineEnd),
            (fields(HEAD_FIELDS_MAX + 1), TrailersTooLarge),
            (format!("0\r\nA: {}\r\n", "b".repeat(HEAD_BYTES_MAX)), TrailersTooLarge),
        ];
        for (text, error) in cases {
            for piece in [1, 2, 3, text.len()] {
                assert_eq!(decode(text.as_bytes(), piece), Err(error), "{text:?} by {piece}");
            }
        }
        assert!(decode(fields(HEAD_FIELDS_MAX).as_bytes(), 7).unwrap().2);
    }

    #[test]
    fn the_largest_size_is_no_overflow() {
        let (body, consumed, done) = decode(b"ffffffffffffffff\r\nabc", 100).unwrap();
        assert_eq!((body.as_slice(), consumed, done), (b"abc".as_slice(), 21, false));
    }
}
