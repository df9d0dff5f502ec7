//! Which key is next. It follows from a counter, so that every run asks the same.

use crate::Result;
use crate::options::Options;
use crate::scramble::scramble;
use crate::topology::Topology;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Zipf};

/// Of what Zipf's law says, the exponent that YCSB made usual.
const ZIPF_EXPONENT: f64 = 0.99;
/// After so many draws a skewed run repeats itself.
const ZIPF_DRAWS: usize = 1 << 20;
/// Takes ranks to keys, so that popular keys are no neighbours. A prime that divides no round number of keys: every rank has
/// a key of its own.
const RANK_STRIDE: u64 = 7919;

/// How keys are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// Each as likely as any other.
    Uniform,
    /// By Zipf's law.
    Zipf,
    /// One after another.
    Order,
}

impl Draw {
    /// What arguments call them.
    pub const NAMES: [(&str, Self); 3] = [("uniform", Self::Uniform), ("zipf", Self::Zipf), ("order", Self::Order)];
}

/// Keys without end.
#[derive(Debug)]
pub struct Keys {
    count: u64,
    state: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Uniform,
    Order,
    /// Keys, drawn beforehand: drawing is slow.
    Drawn(Vec<u64>),
    /// The keys of each shard.
    Shards {
        keys_of: Vec<Vec<u64>>,
        foreign_percent: u64,
    },
}

impl Keys {
    /// As the options ask.
    ///
    /// # Errors
    /// If a topology is needed and cannot be had, or does not fit the addresses.
    pub fn new(options: &Options) -> Result<Self> {
        let source = match options.draw {
            _ if options.topology => {
                let keys_of = Topology::ask(options)?.keys_of_shards(options.keys)?;
                if keys_of.len() != options.addresses.len() || keys_of.iter().any(Vec::is_empty) {
                    return Err(format!("{} shards, {} addresses", keys_of.len(), options.addresses.len()).into());
                }
                Source::Shards { keys_of, foreign_percent: options.foreign_percent }
            }
            Draw::Uniform => Source::Uniform,
            Draw::Order => Source::Order,
            Draw::Zipf => Source::Drawn(zipf(options.keys)?),
        };
        Ok(Self { count: options.keys, state: 0, source })
    }

    /// The next key for a connection to this shard, and whether it is another's.
    pub fn next(&mut self, shard: usize) -> (u64, bool) {
        let number = self.state;
        self.state += 1;
        let draw = scramble(number);
        match &self.source {
            Source::Uniform => (draw % self.count, false),
            Source::Order => (number % self.count, false),
            Source::Drawn(keys) => (keys[number as usize % keys.len()], false),
            Source::Shards { keys_of, foreign_percent } => {
                // Bits that the choice among a shard's keys does not depend on.
                let foreign = (draw >> 40) % 100 < *foreign_percent;
                let others = keys_of.len() as u64 - 1;
                let away = if foreign { 1 + (draw >> 20) % others } else { 0 };
                let keys = &keys_of[(shard + away as usize) % keys_of.len()];
                (keys[scramble(draw) as usize % keys.len()], foreign)
            }
        }
    }
}

fn zipf(keys: u64) -> Result<Vec<u64>> {
    let law = Zipf::new(keys as f64, ZIPF_EXPONENT).map_err(|error| error.to_string())?;
    let mut random = SmallRng::seed_from_u64(1);
    Ok((0..ZIPF_DRAWS).map(|_| (law.sample(&mut random) as u64 - 1) * RANK_STRIDE % keys).collect())
}
