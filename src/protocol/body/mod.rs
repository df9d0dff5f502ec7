//! Request bodies: JSON envelopes around values, whole or piece by piece.
//!
//! All readers take a body in pieces of any size and keep no more of it than they give out in the end. Unknown members
//! mean nothing; of members with equal names (however they are escaped) the last counts.

mod batch;
mod capture;
mod incr;
mod members;
mod put;
mod whole;

use super::json::JsonError;
use super::target::KeyError;
use crate::memory::NoMemory;
pub use batch::{BatchItem, ItemsReader, KeysReader, PlainKeys, plain_keys};
pub use capture::Captured;
pub use incr::{IncrBody, IncrReader, incr_in_place};
pub use members::SentKey;
pub use put::{PutBody, PutReader, StreamedPut, put_in_place};

/// Why a body, or one item of a batch, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON, but no object.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// No `value`, or `null`.
    #[error("value is required and must not be null")]
    NoValue,
    /// `ttlSec` is no integer in its range.
    #[error("ttlSec must be an integer from 0 to 2147483647")]
    TtlSec,
    /// No `key`, or not a string.
    #[error("key is required and must be a string")]
    NoKey,
    /// A string that may not be a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No `delta`, or not an integer of 64 bits.
    #[error("delta is required and must be an integer of at most 64 bits")]
    Delta,
    /// Not 1 to 100 strings under `keys`.
    #[error("keys must be an array of 1 to 100 strings")]
    Keys,
    /// Not 1 to 100 elements under `items`.
    #[error("items must be an array of 1 to 100 objects")]
    Items,
    /// An element of `items` that is no object.
    #[error("an item must be an object with key and value")]
    Item,
    /// The value is longer than the largest value may be.
    #[error("the value is larger than MAX_ITEM_BYTES")]
    TooLarge,
    /// There is no memory for the value.
    #[error("{NoMemory}")]
    NoMemory,
}

impl BodyError {
    /// The status to answer with: 400, 413 or 503.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TooLarge => 413,
            Self::NoMemory => 503,
            _ => 400,
        }
    }
}

#[cfg(test)]
mod tests;
