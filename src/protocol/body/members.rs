//! The members of one JSON object, of which four names mean something: `value`, `ttlSec`, `key` and `delta`.

use super::BodyError;
use super::capture::Capture;
use super::whole::{WHOLE_BYTES_MAX, whole_number};
use crate::command::ValueKind;
use crate::limits::KEY_BYTES_MAX;
use crate::protocol::json::scanner::{Container, Kind, Scalar};
use crate::protocol::json::text::Unescaper;
use crate::protocol::target::{KeyError, check_key};
use crate::time::Ttl;
use smallvec::SmallVec;

/// At most `N` bytes, and whether there were more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounded<const N: usize> {
    bytes: SmallVec<[u8; 24]>,
    more: bool,
}

impl<const N: usize> Bounded<N> {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.more = false;
    }

    pub fn push(&mut self, text: &[u8]) {
        let room = N - self.bytes.len();
        self.more |= text.len() > room;
        self.bytes.extend_from_slice(&text[..text.len().min(room)]);
    }

    /// All the bytes, if there were not too many.
    pub fn whole(&self) -> Option<&[u8]> {
        (!self.more).then_some(self.bytes.as_slice())
    }
}

/// The longest name of a member that means something, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 6;
/// A string that was sent as a key; not yet known to be one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentKey(pub(super) Bounded<KEY_BYTES_MAX>);

impl SentKey {
    /// The key.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn valid(&self) -> Result<&[u8], KeyError> {
        let key = self.0.whole().ok_or(KeyError::TooLong)?;
        check_key(key).map(|()| key)
    }

    /// What was sent, to be named in an answer; `None` if it is too long to have been kept.
    #[must_use]
    pub fn shown(&self) -> Option<&str> {
        self.0.whole().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

/// A member that may be there or not, and then be of the right kind or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Slot<T> {
    /// Not there, or `null`.
    #[default]
    Absent,
    /// Something else than it should be.
    Bad,
    /// As it should be.
    Good(T),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Value,
    TtlSec,
    Key,
    Delta,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the object.
    Before,
    /// Between two members.
    Between,
    /// In a member's name.
    Name,
    /// Between a member's name and its value, or in the value.
    Value(Member),
    /// Behind the object.
    Behind,
}

/// Reads one object from the tokens of its own level.
#[derive(Debug)]
pub(super) struct Members<C> {
    at: At,
    name: Bounded<NAME_BYTES_MAX>,
    number: Bounded<WHOLE_BYTES_MAX>,
    unescaper: Unescaper,
    /// The text of `value`.
    pub value: C,
    /// The kind of `value` and its length when sent raw.
    pub kind: Slot<(ValueKind, u64)>,
    pub ttl: Slot<Ttl>,
    pub key: Slot<()>,
    pub key_text: SentKey,
    pub delta: Slot<i64>,
}

impl<C: Capture> Members<C> {
    pub fn new(value: C) -> Self {
        Self {
            at: At::Before,
            name: Bounded::default(),
            number: Bounded::default(),
            unescaper: Unescaper::new(),
            value,
            kind: Slot::Absent,
            ttl: Slot::Absent,
            key: Slot::Absent,
            key_text: SentKey::default(),
            delta: Slot::Absent,
        }
    }

    /// Whether the object has ended.
    pub fn is_done(&self) -> bool {
        self.at == At::Behind
    }

    /// Takes in a token of the object's level, whose `text` begins at byte `offset` of the input; `raw_len` is what
    /// the scanner says of the string read last.
    pub fn token(&mut self, kind: Kind, text: &[u8], offset: usize, raw_len: u64) -> Result<(), BodyError> {
        match (self.at, kind) {
            (_, Kind::Gap) => {}
            (At::Value(member), _) => self.value_token(member, kind, text, offset, raw_len),
            (_, Kind::More) => {}
            (At::Before, Kind::Open(Container::Object)) => self.at = At::Between,
            (At::Before | At::Behind, _) => return Err(BodyError::NotAnObject),
            (At::Between, Kind::StringOpen { .. }) => {
                self.name.clear();
                self.unescaper = Unescaper::new();
                self.at = At::Name;
            }
            (At::Between, _) => self.at = At::Behind,
            (At::Name, Kind::StringText) => self.unescaper.feed(text, |part| self.name.push(part)),
            (At::Name, _) => {
                self.unescaper.finish(|part| self.name.push(part));
                let member = self.member();
                self.reset(member);
                self.at = At::Value(member);
            }
        }
        Ok(())
    }

    fn member(&self) -> Member {
        match self.name.whole() {
            Some(b"value") => Member::Value,
            Some(b"ttlSec") => Member::TtlSec,
            Some(b"key") => Member::Key,
            Some(b"delta") => Member::Delta,
            _ => Member::Unknown,
        }
    }

    /// Forgets what an earlier member of the same name said.
    fn reset(&mut self, member: Member) {
        match member {
            Member::Value => {
                self.value.begin();
                self.kind = Slot::Absent;
            }
            Member::TtlSec => self.ttl = Slot::Absent,
            Member::Key => {
                self.key_text.0.clear();
                self.key = Slot::Absent;
            }
            Member::Delta => self.delta = Slot::Absent,
            Member::Unknown => {}
        }
        self.number.clear();
        self.unescaper = Unescaper::new();
    }

    fn value_token(&mut self, member: Member, kind: Kind, text: &[u8], offset: usize, raw_len: u64) {
        match member {
            Member::Value => self.take_value(kind, text, offset, raw_len),
            Member::TtlSec => {
                let ttl = |number: &[u8]| u64::try_from(whole_number(number)?).ok().and_then(Ttl::from_secs);
                take_number(&mut self.number, &mut self.ttl, kind, text, ttl);
            }
            Member::Delta => {
                take_number(&mut self.number, &mut self.delta, kind, text, whole_number);
            }
            Member::Key => self.take_key(kind, text),
            Member::Unknown => {}
        }
        if matches!(kind, Kind::Close(_) | Kind::StringClose { .. } | Kind::ScalarClose) {
            self.at = At::Between;
        }
    }

    fn take_value(&mut self, kind: Kind, text: &[u8], offset: usize, raw_len: u64) {
        let begun = match kind {
            Kind::Open(_) => Some(ValueKind::Json),
            Kind::StringOpen { .. } => Some(ValueKind::String),
            Kind::ScalarOpen(Scalar::Number) => Some(ValueKind::Number),
            Kind::ScalarOpen(Scalar::Boolean) => Some(ValueKind::Boolean),
            _ => None,
        };
        if let Some(begun) = begun {
            self.kind = Slot::Good((begun, 0));
        }
        if let Slot::Good((kind, len)) = &mut self.kind {
            if !text.is_empty() {
                self.value.push(text, offset);
            }
            *len = if *kind == ValueKind::String { raw_len } else { self.value.len() };
        }
    }

    fn take_key(&mut self, kind: Kind, text: &[u8]) {
        match kind {
            Kind::StringOpen { .. } => self.key = Slot::Good(()),
            Kind::StringText => self.unescaper.feed(text, |part| self.key_text.0.push(part)),
            Kind::StringClose { .. } => self.unescaper.finish(|part| self.key_text.0.push(part)),
            Kind::Open(_) | Kind::ScalarOpen(_) => self.key = Slot::Bad,
            _ => {}
        }
    }

    /// The time to live, `None` if none is given.
    pub fn ttl(&self) -> Result<Option<Ttl>, BodyError> {
        match self.ttl {
            Slot::Absent => Ok(None),
            Slot::Good(ttl) => Ok(Some(ttl)),
            Slot::Bad => Err(BodyError::TtlSec),
        }
    }

    /// The kind of the value and its length when sent raw.
    pub fn value(&self) -> Result<(ValueKind, u64), BodyError> {
        match self.kind {
            Slot::Good(value) => Ok(value),
            Slot::Absent | Slot::Bad => Err(BodyError::NoValue),
        }
    }

    /// Whether the key is one.
    pub fn check_key(&self) -> Result<(), BodyError> {
        match self.key {
            Slot::Good(()) => Ok(self.key_text.valid().map(|_| ())?),
            Slot::Absent | Slot::Bad => Err(BodyError::NoKey),
        }
    }
}

/// Reads a member that has to be a number which `parse` understands.
fn take_number<T>(
    number: &mut Bounded<WHOLE_BYTES_MAX>,
    slot: &mut Slot<T>,
    kind: Kind,
    text: &[u8],
    parse: impl Fn(&[u8]) -> Option<T>,
) {
    match (kind, &slot) {
        (Kind::ScalarOpen(Scalar::Null), _) => {}
        (Kind::ScalarOpen(Scalar::Number), _) => number.push(text),
        (Kind::Open(_) | Kind::StringOpen { .. } | Kind::ScalarOpen(_), _) => *slot = Slot::Bad,
        (Kind::ScalarText, _) if number.whole() != Some(b"") => number.push(text),
        (Kind::ScalarClose, Slot::Absent) if number.whole() != Some(b"") => {
            *slot = number.whole().and_then(parse).map_or(Slot::Bad, Slot::Good);
        }
        _ => {}
    }
}
