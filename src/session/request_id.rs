//! The name of a request, in answers and logs.

use crate::protocol::answer::RequestIdText;
use smallvec::SmallVec;
use std::fmt;

/// A request's ID, kept for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// The client's own: visible ASCII, checked by the parser.
    Given(SmallVec<[u8; 40]>),
    /// One that we made.
    Fresh([u64; 2]),
}

impl RequestId {
    /// The ID that a client sent.
    #[must_use]
    pub fn given(text: &str) -> Self {
        Self::Given(SmallVec::from_slice(text.as_bytes()))
    }

    /// As the answer wants it.
    #[must_use]
    pub fn text(&self) -> RequestIdText<'_> {
        match self {
            Self::Given(text) => RequestIdText::Given(std::str::from_utf8(text).expect("it was a str when it came")),
            Self::Fresh(halves) => RequestIdText::Fresh(*halves),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            RequestIdText::Given(text) => f.write_str(text),
            RequestIdText::Fresh([core, number]) => write!(f, "{core:016x}{number:016x}"),
        }
    }
}

/// Makes request IDs of 32 hexadecimal digits, each once: a random half that belongs to the core, and a counter that
/// starts at a random place.
#[derive(Clone, Debug)]
pub struct RequestIds {
    core: u64,
    next: u64,
}

impl RequestIds {
    /// IDs that begin with `core` and count up from `first`; both should be random.
    #[must_use]
    pub const fn new(core: u64, first: u64) -> Self {
        Self { core, next: first }
    }

    /// What all of them begin with.
    #[must_use]
    pub const fn core(&self) -> u64 {
        self.core
    }

    /// The next one.
    pub const fn fresh(&mut self) -> RequestId {
        RequestId::Fresh([self.core, self.next_number()])
    }

    /// The half of the next one that tells it from the others.
    pub const fn next_number(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_comes_once() {
        let mut ids = RequestIds::new(0xab, u64::MAX);
        assert_eq!(ids.fresh(), RequestId::Fresh([0xab, 0]));
        assert_eq!(ids.fresh(), RequestId::Fresh([0xab, 1]));
        assert_eq!(ids.fresh().to_string(), "00000000000000ab0000000000000002");
        assert_eq!(RequestId::given("abc").to_string(), "abc");
    }
}
