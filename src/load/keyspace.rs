//! The keys of a run and their values, which follow from them, and which key is next.

use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};
use std::fmt::Write as _;
use std::ops::RangeInclusive;

/// Characters of a value: 64 that mean the same in JSON, in a URL and on a terminal.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// How many of them a random word of 64 bits chooses.
const CHARS_PER_WORD: usize = 10;

/// The keys of a run.
#[derive(Clone, Debug)]
pub struct Keyspace {
    /// What every key begins with.
    pub prefix: String,
    /// How many there are; at least one.
    pub count: u64,
    /// How long values are.
    pub value_bytes: RangeInclusive<usize>,
    /// What values follow from, besides their keys.
    pub seed: u64,
}

impl Keyspace {
    /// Writes the key with this number into `key`.
    pub fn key(&self, number: u64, key: &mut String) {
        key.clear();
        key.push_str(&self.prefix);
        write!(key, "{number}").expect("a string takes all that is written");
    }

    /// Writes the value that belongs to the key with this number into `value`.
    pub fn value(&self, number: u64, value: &mut String) {
        value.clear();
        let mut random = SmallRng::seed_from_u64(mix(self.seed, number));
        let length = random.random_range(self.value_bytes.clone());
        value.reserve(length);
        while value.len() < length {
            let mut word = random.next_u64();
            for _ in 0..CHARS_PER_WORD.min(length - value.len()) {
                value.push(char::from(ALPHABET[(word & 63) as usize]));
                word >>= 6;
            }
        }
    }
}

/// One seed out of two numbers, with neighbours far from each other (an odd multiplier keeps them apart, and the
/// generator scrambles what it is seeded with).
#[must_use]
pub const fn mix(seed: u64, number: u64) -> u64 {
    seed.rotate_left(32) ^ number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Which keys are asked for how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// All alike.
    Uniform,
    /// The k-th key in proportion to 1 / k to the power of this exponent.
    Zipf(f64),
}

/// Draws the numbers of keys.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    count: u64,
    zipf: Option<Zipf<f64>>,
}

impl Draw {
    /// Draws from `count` keys.
    ///
    /// # Errors
    /// If there is no key, or the exponent is negative.
    pub fn new(distribution: Distribution, count: u64) -> Result<Self, rand_distr::ZipfError> {
        let zipf = match distribution {
            Distribution::Uniform if count == 0 => return Err(rand_distr::ZipfError::NTooSmall),
            Distribution::Uniform => None,
            Distribution::Zipf(exponent) => Some(Zipf::new(count as f64, exponent)?),
        };
        Ok(Self { count, zipf })
    }

    /// The number of the next key, from 0.
    pub fn next(&self, random: &mut SmallRng) -> u64 {
        match self.zipf {
            None => random.random_range(0..self.count),
            Some(zipf) => (zipf.sample(random) as u64).clamp(1, self.count) - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyspace(value_bytes: RangeInclusive<usize>) -> Keyspace {
        Keyspace { prefix: "p-".to_owned(), count: 1000, value_bytes, seed: 7 }
    }

    fn value(keyspace: &Keyspace, number: u64) -> String {
        let mut value = "left over".to_owned();
        keyspace.value(number, &mut value);
        value
    }

    #[test]
    fn a_value_follows_from_its_key_and_differs_from_others() {
        let keyspace = keyspace(100..=100);
        let values: std::collections::HashSet<String> = (0..1000).map(|number| value(&keyspace, number)).collect();
        assert_eq!(values.len(), 1000);
        assert_eq!(value(&keyspace, 5), value(&keyspace.clone(), 5));
        assert_ne!(value(&keyspace, 5), value(&Keyspace { seed: 8, ..keyspace.clone() }, 5));
        let mut key = "left over".to_owned();
        keyspace.key(12, &mut key);
        assert_eq!(key, "p-12");
    }

    #[test]
    fn lengths_fill_their_range() {
        let keyspace = keyspace(3..=6);
        let lengths: std::collections::BTreeSet<usize> =
            (0..1000).map(|number| value(&keyspace, number).len()).collect();
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(value(&self::keyspace(1..=1), 0).len(), 1);
    }

    /// How often each key was drawn.
    fn counts(distribution: Distribution) -> Vec<u32> {
        let draw = Draw::new(distribution, 1000).unwrap();
        let mut random = SmallRng::seed_from_u64(42);
        let mut counts = vec![0; 1000];
        for _ in 0..100_000 {
            counts[usize::try_from(draw.next(&mut random)).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn uniform_draws_are_even() {
        let counts = counts(Distribution::Uniform);
        assert!(counts.iter().all(|count| (40..200).contains(count)), "{counts:?}");
    }

    #[test]
    fn zipf_draws_are_skewed_as_the_exponent_says() {
        let drawn = counts(Distribution::Zipf(0.99));
        // The sum of 1 / k^0.99 for k to 1000 is 7.73: the first key gets 12.9 %, the tenth a tenth of that or so.
        assert!((12_300..13_600).contains(&drawn[0]), "{}", drawn[0]);
        assert!((1_150..1_500).contains(&drawn[9]), "{}", drawn[9]);
        let hot: u32 = drawn[..100].iter().sum();
        assert!((64_000..73_000).contains(&hot), "the first tenth got {hot}");
        let steeper = counts(Distribution::Zipf(2.0));
        assert!(steeper[0] > 55_000, "{}", steeper[0]);
        assert!(Draw::new(Distribution::Zipf(-1.0), 10).is_err() && Draw::new(Distribution::Uniform, 0).is_err());
    }
}
