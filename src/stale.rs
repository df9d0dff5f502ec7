//! A fault, for tests only: now and then a core gives an answer of another core's again instead of asking for a new
//! one.
//!
//! Only the feature `stale-read` compiles this, and the release profile refuses it. `tests/linear` builds a server
//! with it, to see that its checker notices. Everything else of that server is as it should be.

use crate::command::{Command, Outcome, Value, Verb};
use crate::parcel::Parcel;
use crate::routing::KeyHash;

/// One read of a foreign key in so many is answered with what is kept, if anything is.
const ONE_IN: u64 = 25;
/// Answers that are kept, each in the place that its key's hash names.
const PLACES: usize = 32;

/// Answers to reads of foreign keys.
#[derive(Debug, Default)]
pub struct StaleReads {
    kept: [Option<Box<Parcel>>; PLACES],
    reads: u64,
}

impl StaleReads {
    /// An earlier answer to this command, if now is the time to be wrong.
    pub fn instead_of(&mut self, command: &Command<&[u8]>) -> Option<Box<Parcel>> {
        if !matches!(command.verb, Verb::Get { unless: None, with_value: true }) {
            return None;
        }
        self.reads += 1;
        if !self.reads.is_multiple_of(ONE_IN) {
            return None;
        }
        self.kept[place_of(command.hash)].take_if(|parcel| parcel.key(0) == command.key)
    }

    /// Keeps the answer of a parcel if there is none in its place; gives the parcel back if not.
    pub fn keep(&mut self, parcel: Box<Parcel>) -> Option<Box<Parcel>> {
        let is_whole = matches!(parcel.outcome(0), Outcome::Found { value: Value::Inline(_), .. });
        let hash = parcel.hashes().next().expect("an answer to a command");
        let place = &mut self.kept[place_of(hash)];
        if !is_whole || place.is_some() {
            return Some(parcel);
        }
        *place = Some(parcel);
        None
    }
}

const fn place_of(hash: KeyHash) -> usize {
    hash.0 as usize % PLACES
}
