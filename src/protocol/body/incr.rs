//! `{"key":…,"delta":…,"ttlSec":…}`

use super::BodyError;
use super::capture::Nothing;
use super::members::{Members, SentKey, Slot};
use super::put::feed_object;
use crate::protocol::json::scanner::Scanner;
use crate::time::Ttl;

/// What to add to which counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncrBody {
    key: SentKey,
    /// What to add.
    pub delta: i64,
    /// The new expiry, `None` to keep the one that the key has.
    pub ttl: Option<Ttl>,
}

impl IncrBody {
    /// The counter's key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.key.valid().expect("checked before the body was given out")
    }
}

/// Reads a body that is there as a whole.
///
/// # Errors
/// See [`BodyError`].
pub fn incr_in_place(body: &[u8]) -> Result<IncrBody, BodyError> {
    let mut reader = IncrReader::new();
    reader.feed(body)?;
    reader.finish()
}

/// Reads the body piece by piece; keeps at most a key of it.
#[derive(Debug)]
pub struct IncrReader {
    scanner: Scanner,
    members: Members<Nothing>,
}

impl Default for IncrReader {
    fn default() -> Self {
        Self::new()
    }
}

impl IncrReader {
    /// At the beginning of a body.
    #[must_use]
    pub fn new() -> Self {
        Self { scanner: Scanner::new(1), members: Members::new(Nothing) }
    }

    /// Takes in the next piece.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn feed(&mut self, input: &[u8]) -> Result<(), BodyError> {
        feed_object(&mut self.scanner, &mut self.members, input)
    }

    /// What the body says, at its end.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn finish(self) -> Result<IncrBody, BodyError> {
        self.scanner.finish()?;
        self.members.check_key()?;
        let Slot::Good(delta) = self.members.delta else { return Err(BodyError::Delta) };
        Ok(IncrBody { delta, ttl: self.members.ttl()?, key: self.members.key_text })
    }
}
