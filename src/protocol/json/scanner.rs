//! A validator that a text is fed to piece by piece and that says, token by token, where in the text it is.
//!
//! It holds no tree and does not recurse: one bit for each open container, and constant memory whatever it is fed.

use super::JsonError;
use super::strings::StringCheck;
use crate::limits::JSON_DEPTH_MAX;

/// Levels that the envelope around a value takes at most: `{"items":[{"value":…}]}`.
const ENVELOPE_LEVELS: usize = 3;
const WORDS: usize = (JSON_DEPTH_MAX + ENVELOPE_LEVELS).div_ceil(64);

/// A value that holds others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

/// A value that is neither a container nor a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
}

/// What a piece of the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The end of the piece that was fed; all of it is taken in.
    More,
    /// White space, commas and colons.
    Gap,
    /// A bracket that opens a container.
    Open(Container),
    /// A bracket that closes one, and whatever of its inside was not told apart.
    Close(Container),
    /// The first quote of a string; of a member's name, or else of a value.
    StringOpen {
        /// Whether it is a name.
        name: bool,
    },
    /// A part of the inside of a string, escape sequences as they are; may be cut anywhere.
    StringText,
    /// The last quote.
    StringClose {
        /// Whether it is a name.
        name: bool,
    },
    /// The first byte of a number, of `true`, `false` or `null`.
    ScalarOpen(Scalar),
    /// Further bytes of it.
    ScalarText,
    /// Its end; no byte.
    ScalarClose,
}

/// One step through the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// How many bytes of the input it takes.
    pub len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    /// After `[`: a value or the end.
    FirstElement,
    /// After `{`: a name or the end.
    FirstName,
    Name,
    Colon,
    AfterValue,
    String {
        name: bool,
    },
    Number(Number),
    /// What is still to come of a literal.
    Literal(&'static [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Int,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    /// Where `byte` leads to; `None` if it does not belong to the number.
    const fn after(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Int, b'0'..=b'9') => Self::Int,
            (Self::Zero | Self::Int, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Int | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::ExponentSign,
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => Self::ExponentDigits,
            _ => return None,
        })
    }

    const fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Int | Self::Fraction | Self::ExponentDigits)
    }
}

/// Checks one JSON text.
#[derive(Clone, Debug)]
pub struct Scanner {
    state: State,
    depth: usize,
    depth_max: usize,
    /// For each open container, from the outermost: whether it is an object.
    objects: [u64; WORDS],
    strings: StringCheck,
}

impl Scanner {
    /// At the beginning of a text in which `envelope` levels are not counted against [`JSON_DEPTH_MAX`].
    ///
    /// # Panics
    /// If `envelope` is more than three levels.
    #[must_use]
    pub fn new(envelope: usize) -> Self {
        assert!(envelope <= ENVELOPE_LEVELS, "no envelope of ours is that deep");
        let depth_max = JSON_DEPTH_MAX + envelope;
        Self { state: State::Value, depth: 0, depth_max, objects: [0; WORDS], strings: StringCheck::default() }
    }

    /// How many containers are open.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// Bytes of UTF-8 of the string that was read last, or is being read, when unescaped.
    #[must_use]
    pub const fn string_raw_len(&self) -> u64 {
        self.strings.raw_len()
    }

    /// The next token of `input`, or [`Kind::More`] at its end. Containers are told apart down to `detail` levels: what
    /// is inside of a container that opens at that depth is passed over as part of its [`Kind::Close`].
    ///
    /// # Errors
    /// See [`JsonError`].
    pub fn next(&mut self, input: &[u8], detail: usize) -> Result<Token, JsonError> {
        let mut len = 0;
        loop {
            let before = self.depth;
            let token = self.step(&input[len..])?;
            len += token.len;
            if token.kind == Kind::More || before.min(self.depth) <= detail {
                return Ok(Token { kind: token.kind, len });
            }
        }
    }

    /// Whether the text may end here.
    ///
    /// # Errors
    /// [`JsonError::Incomplete`] if not.
    pub fn finish(&self) -> Result<(), JsonError> {
        let complete = match self.state {
            State::AfterValue => true,
            State::Number(number) => number.may_end(),
            State::Literal(rest) => rest.is_empty(),
            _ => false,
        };
        if complete && self.depth == 0 { Ok(()) } else { Err(JsonError::Incomplete) }
    }

    fn step(&mut self, input: &[u8]) -> Result<Token, JsonError> {
        if input.is_empty() {
            return Ok(Token { kind: Kind::More, len: 0 });
        }
        match self.state {
            State::String { name } => self.string(input, name),
            State::Number(number) => self.number(input, number),
            State::Literal(rest) => self.literal(input, rest),
            _ => match self.gap(input) {
                0 => self.significant(input[0]).map(|kind| Token { kind, len: 1 }),
                len => Ok(Token { kind: Kind::Gap, len }),
            },
        }
    }

    /// Passes over what stands between values; returns how much that is.
    fn gap(&mut self, input: &[u8]) -> usize {
        let mut len = 0;
        while let Some(&byte) = input.get(len) {
            match (self.state, byte) {
                (_, b' ' | b'\t' | b'\n' | b'\r') => {}
                (State::Colon, b':') => self.state = State::Value,
                (State::AfterValue, b',') if self.depth > 0 => {
                    self.state = if self.innermost() == Container::Object { State::Name } else { State::Value };
                }
                _ => break,
            }
            len += 1;
        }
        len
    }

    fn significant(&mut self, byte: u8) -> Result<Kind, JsonError> {
        match (self.state, byte) {
            (State::Value | State::FirstElement, b'{') => self.open(Container::Object),
            (State::Value | State::FirstElement, b'[') => self.open(Container::Array),
            (State::FirstName, b'}') => Ok(self.close()),
            (State::FirstElement, b']') => Ok(self.close()),
            (State::AfterValue, b'}') if self.depth > 0 && self.innermost() == Container::Object => Ok(self.close()),
            (State::AfterValue, b']') if self.depth > 0 && self.innermost() == Container::Array => Ok(self.close()),
            (State::FirstName | State::Name, b'"') => Ok(self.open_string(true)),
            (State::Value | State::FirstElement, b'"') => Ok(self.open_string(false)),
            (State::Value | State::FirstElement, _) => self.open_scalar(byte),
            _ => Err(JsonError::Unexpected),
        }
    }

    fn open(&mut self, container: Container) -> Result<Kind, JsonError> {
        if self.depth == self.depth_max {
            return Err(JsonError::TooDeep);
        }
        let (word, bit) = (self.depth / 64, 1_u64 << (self.depth % 64));
        match container {
            Container::Object => {
                self.objects[word] |= bit;
                self.state = State::FirstName;
            }
            Container::Array => {
                self.objects[word] &= !bit;
                self.state = State::FirstElement;
            }
        }
        self.depth += 1;
        Ok(Kind::Open(container))
    }

    fn close(&mut self) -> Kind {
        let container = self.innermost();
        self.depth -= 1;
        self.state = State::AfterValue;
        Kind::Close(container)
    }

    /// The container that is open; only asked while there is one.
    fn innermost(&self) -> Container {
        let at = self.depth - 1;
        if self.objects[at / 64] >> (at % 64) & 1 == 1 { Container::Object } else { Container::Array }
    }

    fn open_string(&mut self, name: bool) -> Kind {
        self.strings.begin();
        self.state = State::String { name };
        Kind::StringOpen { name }
    }

    fn open_scalar(&mut self, byte: u8) -> Result<Kind, JsonError> {
        let (state, scalar) = match byte {
            b'-' => (State::Number(Number::Minus), Scalar::Number),
            b'0' => (State::Number(Number::Zero), Scalar::Number),
            b'1'..=b'9' => (State::Number(Number::Int), Scalar::Number),
            b't' => (State::Literal(b"rue"), Scalar::Boolean),
            b'f' => (State::Literal(b"alse"), Scalar::Boolean),
            b'n' => (State::Literal(b"ull"), Scalar::Null),
            _ => return Err(JsonError::Unexpected),
        };
        self.state = state;
        Ok(Kind::ScalarOpen(scalar))
    }

    fn string(&mut self, input: &[u8], name: bool) -> Result<Token, JsonError> {
        let (len, closed) = self.strings.take(input)?;
        if len > 0 || !closed {
            return Ok(Token { kind: Kind::StringText, len });
        }
        self.state = if name { State::Colon } else { State::AfterValue };
        Ok(Token { kind: Kind::StringClose { name }, len: 1 })
    }

    fn number(&mut self, input: &[u8], mut number: Number) -> Result<Token, JsonError> {
        let mut len = 0;
        while let Some(next) = input.get(len).and_then(|&byte| number.after(byte)) {
            number = next;
            len += 1;
        }
        self.state = State::Number(number);
        self.scalar_token(len, number.may_end(), JsonError::Number)
    }

    fn literal(&mut self, input: &[u8], rest: &'static [u8]) -> Result<Token, JsonError> {
        let len = input.iter().zip(rest).take_while(|(byte, expected)| byte == expected).count();
        self.state = State::Literal(&rest[len..]);
        self.scalar_token(len, len == rest.len(), JsonError::Unexpected)
    }

    /// `len` bytes of a scalar, or its end if there are none and it may end.
    fn scalar_token(&mut self, len: usize, may_end: bool, error: JsonError) -> Result<Token, JsonError> {
        match (len, may_end) {
            (1.., _) => Ok(Token { kind: Kind::ScalarText, len }),
            (0, false) => Err(error),
            (0, true) => {
                self.state = State::AfterValue;
                Ok(Token { kind: Kind::ScalarClose, len: 0 })
            }
        }
    }
}

#[cfg(test)]
mod tests;
