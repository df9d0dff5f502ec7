//! Names the operations of a ring in the 64 bits that the kernel carries along.

use crate::session::ConnId;

/// Bits of a connection's place: more connections than a process may have descriptors.
const PLACE_BITS: u32 = 24;
const GENERATION_BITS: u32 = 32;
/// Most connections of one core.
pub const PLACES_MAX: usize = 1 << PLACE_BITS;

/// An operation that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Watching the listener in this place.
    Listener(u32),
    /// Receiving on a connection.
    Receive(ConnId),
    /// Waiting until a connection takes more bytes.
    Room(ConnId),
    /// Watching the core's bell.
    Bell,
    /// Ending another operation.
    End,
}

impl Token {
    /// As the kernel carries it.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        let (kind, place, generation) = match self {
            Self::Listener(listener) => (0, listener, 0),
            Self::Receive(conn) => (1, place(conn), conn.generation()),
            Self::Room(conn) => (2, place(conn), conn.generation()),
            Self::Bell => (3, 0, 0),
            Self::End => (4, 0, 0),
        };
        kind << (PLACE_BITS + GENERATION_BITS) | u64::from(place) << GENERATION_BITS | u64::from(generation)
    }

    /// What the kernel brought back.
    ///
    /// # Panics
    /// If it is none of ours.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        let place = ((bits >> GENERATION_BITS) as u32) & (PLACES_MAX as u32 - 1);
        let conn = ConnId::new(place, bits as u32);
        match bits >> (PLACE_BITS + GENERATION_BITS) {
            0 => Self::Listener(place),
            1 => Self::Receive(conn),
            2 => Self::Room(conn),
            3 => Self::Bell,
            4 => Self::End,
            kind => panic!("the kernel brings back an operation of kind {kind}, which there is not"),
        }
    }
}

fn place(conn: ConnId) -> u32 {
    assert!(conn.index() < PLACES_MAX, "connections are bounded by file descriptors");
    conn.index() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_comes_back_as_it_was() {
        let last = ConnId::new(PLACES_MAX as u32 - 1, u32::MAX);
        let tokens = [
            Token::Listener(0),
            Token::Listener(1),
            Token::Receive(ConnId::new(0, 0)),
            Token::Receive(last),
            Token::Room(last),
            Token::Bell,
            Token::End,
        ];
        for token in tokens {
            assert_eq!(Token::from_bits(token.to_bits()), token);
        }
    }
}
