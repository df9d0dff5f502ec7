//! Where the text of a value goes while a body is read.

use super::BodyError;
use crate::blob::Blob;
use crate::limits::INLINE_VALUE_BYTES_MAX;
use crate::memory::NoMemory;
use std::ops::Range;

/// A value that was taken out of a body.
#[derive(Debug)]
pub enum Captured {
    /// At most [`INLINE_VALUE_BYTES_MAX`] bytes.
    Inline(Vec<u8>),
    /// More than that.
    Blob(Blob),
}

impl Default for Captured {
    fn default() -> Self {
        Self::Inline(Vec::new())
    }
}

impl Captured {
    /// Adds `bytes` at the end.
    ///
    /// # Errors
    /// If there is no memory for all of them.
    pub fn extend_from_slice(&mut self, more: &[u8]) -> Result<(), NoMemory> {
        match self {
            Self::Blob(blob) => blob.extend_from_slice(more)?,
            Self::Inline(bytes) if bytes.len() + more.len() <= INLINE_VALUE_BYTES_MAX => bytes.extend_from_slice(more),
            Self::Inline(bytes) => {
                let mut blob = Blob::new();
                blob.extend_from_slice(bytes)?;
                blob.extend_from_slice(more)?;
                *self = Self::Blob(blob);
            }
        }
        Ok(())
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob(blob) => blob.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that it takes, in bytes, whole chunks counted.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.capacity() as u64,
            Self::Blob(blob) => blob.footprint(),
        }
    }
}

/// Takes the text of a value, piece by piece.
pub(super) trait Capture {
    /// Forgets everything: a value begins.
    fn begin(&mut self);
    /// Takes the next piece, which begins at byte `at` of the piece of the body that is being read.
    fn push(&mut self, text: &[u8], at: usize);
    /// Bytes taken.
    fn len(&self) -> u64;
}

/// Takes nothing.
#[derive(Debug, Default)]
pub(super) struct Nothing;

impl Capture for Nothing {
    fn begin(&mut self) {}
    fn push(&mut self, _text: &[u8], _at: usize) {}
    fn len(&self) -> u64 {
        0
    }
}

/// Remembers where the value is, in a body that is there as a whole.
#[derive(Debug, Default)]
pub(super) struct Place(pub Range<usize>);

impl Capture for Place {
    fn begin(&mut self) {
        self.0 = 0..0;
    }
    fn push(&mut self, text: &[u8], at: usize) {
        if self.0.is_empty() {
            self.0 = at..at;
        }
        self.0.end = at + text.len();
    }
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

/// Copies the value, up to a bound.
#[derive(Debug)]
pub(super) struct Copied {
    pub bytes: Captured,
    /// Why it is not taken: it is longer than the bound, or there is no memory for it. What came before that was known is
    /// kept, to be disposed of in slices.
    pub refused: Option<BodyError>,
    bytes_max: u64,
}

impl Copied {
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes: Captured::default(), refused: None, bytes_max }
    }

    /// Gives out what was taken, with nothing reserved beyond it.
    pub fn finish(&mut self) -> Captured {
        let mut captured = std::mem::take(&mut self.bytes);
        match &mut captured {
            Captured::Inline(bytes) => bytes.shrink_to_fit(),
            Captured::Blob(blob) => blob.shrink(),
        }
        captured
    }
}

impl Capture for Copied {
    fn begin(&mut self) {
        self.bytes = Captured::default();
        self.refused = None;
    }

    fn push(&mut self, text: &[u8], _at: usize) {
        if self.refused.is_some() {
            return;
        }
        if self.bytes.len() + text.len() as u64 > self.bytes_max {
            self.refused = Some(BodyError::TooLarge);
        } else if self.bytes.extend_from_slice(text).is_err() {
            self.refused = Some(BodyError::NoMemory);
        }
    }

    fn len(&self) -> u64 {
        self.bytes.len()
    }
}
