//! What was counted.

use crate::costs::Asked;
use crate::post::Traffic;
use hdrhistogram::Histogram;

/// Of one run.
#[derive(Debug)]
pub struct Tally {
    /// Answered with what was asked for.
    pub served: u64,
    /// Answered with 503.
    pub refused: u64,
    /// Keys asked for, and those of them that another core owned.
    pub keys: u64,
    /// See `keys`.
    pub foreign: u64,
    /// Most parcels that one request sent.
    pub parcels_max: u64,
    /// What travelled between the cores.
    pub traffic: Traffic,
    /// Times that a core rang at one that slept.
    pub doorbells: u64,
    /// Times that a core slept.
    pub sleeps: u64,
    /// How long each core has worked, in nanoseconds.
    pub worked: Vec<u64>,
    /// How long all this took, in nanoseconds.
    pub passed: u64,
    latency: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let latency = Histogram::new(3).expect("three digits are allowed");
        let (traffic, worked) = (Traffic::default(), Vec::new());
        let (served, refused, keys, foreign, parcels_max) = (0, 0, 0, 0, 0);
        let (doorbells, sleeps, passed) = (0, 0, 0);
        Self { served, refused, keys, foreign, parcels_max, traffic, doorbells, sleeps, worked, passed, latency }
    }
}

impl Tally {
    /// Enters a request that was taken.
    pub fn asked(&mut self, asked: Asked) {
        self.parcels_max = self.parcels_max.max(asked.parcels);
        self.keys += asked.keys;
        self.foreign += asked.keys - asked.own;
    }

    /// Enters an answer, and how long its client waited for it.
    pub fn answered(&mut self, is_ok: bool, nanos: u64) {
        *(if is_ok { &mut self.served } else { &mut self.refused }) += 1;
        self.latency.record(nanos).expect("the histogram grows");
    }

    /// All answers.
    pub const fn answers(&self) -> u64 {
        self.served + self.refused
    }

    /// So many of something for each answer.
    pub fn per_answer(&self, count: u64) -> f64 {
        count as f64 / self.answers().max(1) as f64
    }

    /// Work for each answer, in nanoseconds.
    pub fn nanos_per_answer(&self) -> f64 {
        self.per_answer(self.worked.iter().sum())
    }

    /// From one answer to the next, in nanoseconds.
    pub fn nanos_between_answers(&self) -> f64 {
        self.per_answer(self.passed)
    }

    /// The work of the core that worked most, of what all did on average.
    pub fn busiest(&self) -> f64 {
        let most = self.worked.iter().max().copied().unwrap_or_default();
        most as f64 * self.worked.len() as f64 / self.worked.iter().sum::<u64>().max(1) as f64
    }

    /// How long so many hundredths of all clients waited at most, in microseconds.
    pub fn latency_us(&self, percent: f64) -> f64 {
        self.latency.value_at_percentile(percent) as f64 / 1_000.0
    }
}
