//! Random numbers that a seed replays, or choices that a fuzzer has made.

use std::collections::VecDeque;

/// Where chance comes from.
pub enum Random {
    /// `SplitMix64` (Steele, Lea and Flood, 2014).
    Seed(u64),
    /// Bytes that somebody else has chosen; 0 for ever when there are none left.
    Bytes(VecDeque<u8>),
}

impl Random {
    /// Chance by these bytes: no more are used for a number than it takes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.iter().copied().collect())
    }

    /// Whether every further number will be 0.
    pub fn is_exhausted(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }

    pub fn next(&mut self) -> u64 {
        self.of_bytes(8)
    }

    /// A number of at most `len` bytes.
    fn of_bytes(&mut self, len: usize) -> u64 {
        match self {
            Self::Bytes(bytes) => (0..len).fold(0, |number, _| number << 8 | u64::from(bytes.pop_front().unwrap_or(0))),
            Self::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                mixed ^ (mixed >> 31)
            }
        }
    }

    pub fn below(&mut self, end: u64) -> u64 {
        let bits = u64::BITS - end.saturating_sub(1).leading_zeros();
        self.of_bytes(bits.div_ceil(8) as usize) % end
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
