//! How clients go away before they have got what they asked for.

use crate::random::Random;
use crate::support::RawConnection;
use socket2::SockRef;
use std::time::Duration;

/// What a client does to its last request, or instead of waiting for its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Closes in the middle of its last request.
    CloseMidRequest,
    /// Resets the connection in the middle of its last request.
    ResetMidRequest,
    /// Closes as soon as it has asked.
    Close,
    /// Resets the connection as soon as it has asked.
    Reset,
    /// Reads some, and resets the connection with the rest of the answers unread.
    ResetMidAnswer,
    /// Says that it will send no more, and waits: that is allowed, and all must be answered.
    HalfClose,
    /// Stalls in the middle of its last request, and then goes on.
    Stall,
}

/// Those with which clients go away, or say that they will.
pub const DEPARTURES: [Mishap; 6] = [
    Mishap::CloseMidRequest,
    Mishap::ResetMidRequest,
    Mishap::Close,
    Mishap::Reset,
    Mishap::ResetMidAnswer,
    Mishap::HalfClose,
];

impl Mishap {
    /// How many of a burst's requests are sent at once and as a whole.
    pub const fn whole_of(self, burst: usize) -> usize {
        if matches!(self, Self::CloseMidRequest | Self::ResetMidRequest | Self::Stall) { burst - 1 } else { burst }
    }

    /// How many bytes of a request of `len` are sent before the mishap happens; whoever stalls does so in the body if
    /// there is one.
    pub fn cut(self, len: usize, random: &mut Random) -> usize {
        if self == Self::Stall { len - 1 } else { random.below(len as u64) as usize }
    }

    /// Whether the connection ends with a reset.
    pub const fn resets(self) -> bool {
        matches!(self, Self::ResetMidRequest | Self::Reset | Self::ResetMidAnswer)
    }
}

/// Ends a connection with a reset: what the server has sent or is about to send is lost.
pub fn reset(connection: RawConnection) {
    let socket = connection.writer();
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("a socket can be told how to end");
    drop(connection);
}
