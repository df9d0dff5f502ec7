//! The name of a request, in answers and logs.

use smallvec::SmallVec;

/// A request's ID: the client's own, or one that we made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(SmallVec<[u8; 40]>);

impl RequestId {
    /// The ID that a client sent: visible ASCII, checked by the parser.
    #[must_use]
    pub fn given(text: &str) -> Self {
        Self(SmallVec::from_slice(text.as_bytes()))
    }

    /// Its characters, visible ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Makes request IDs of 32 hexadecimal digits, each once: a random half that belongs to the core, and a counter that
/// starts at a random place.
#[derive(Clone, Debug)]
pub struct RequestIds {
    prefix: [u8; 16],
    next: u64,
}

impl RequestIds {
    /// IDs that begin with `core` and count up from `first`; both should be random.
    #[must_use]
    pub fn new(core: u64, first: u64) -> Self {
        Self { prefix: hex(core), next: first }
    }

    /// The next one.
    pub fn fresh(&mut self) -> RequestId {
        self.next = self.next.wrapping_add(1);
        let mut text = SmallVec::from_slice(&self.prefix);
        text.extend_from_slice(&hex(self.next));
        RequestId(text)
    }
}

fn hex(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|place| DIGITS[(number >> (60 - 4 * place)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_and_each_comes_once() {
        let mut ids = RequestIds::new(0xab, u64::MAX);
        assert_eq!(ids.fresh().as_bytes(), b"00000000000000ab0000000000000000");
        assert_eq!(ids.fresh().as_bytes(), b"00000000000000ab0000000000000001");
    }
}
