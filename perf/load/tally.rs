//! What happened, as one line of JSON.

use crate::dialect::{Asked, Taken};
use crate::{Result, options::Options};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Latencies longer than this are counted as this.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
const LATENCY_DIGITS: u8 = 3;
/// Shares of the requests whose latency is told, in percent.
const SHARES: [f64; 13] = [1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99];

/// What one kind of request came to.
#[derive(Debug, Default, Serialize)]
struct Kind {
    answers: u64,
    request_bytes: u64,
    answer_bytes: u64,
    /// Answers by the length of their body.
    bodies: BTreeMap<usize, u64>,
}

/// What a run came to.
pub struct Tally {
    /// Requests that were sent.
    pub sent: u64,
    /// Answers that were right, refusals included; a wrong one ends the run.
    pub answered: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests that found no connection free.
    pub lost: u64,
    /// Requests for keys of other shards than the one that was asked.
    pub foreign: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    kinds: BTreeMap<&'static str, Kind>,
    latencies: Option<Histogram<u64>>,
    latencies_refused: Option<Histogram<u64>>,
    cpu_before: Duration,
}

#[derive(Serialize)]
struct Summary<'a> {
    /// Those that were refused are not among them.
    answers: u64,
    refused: u64,
    lost: u64,
    foreign: u64,
    seconds: f64,
    /// CPU time of this load generator: where it is near the seconds, it and not the server was the bottleneck.
    load_cpu_seconds: f64,
    kinds: &'a BTreeMap<&'static str, Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_refused: Option<Latency>,
}

#[derive(Serialize)]
struct Latency {
    mean_us: f64,
    max_us: f64,
    /// Pairs of a share of the requests, in percent, and the latency that no more than the rest exceeded.
    at: Vec<(f64, f64)>,
}

impl Tally {
    /// Nothing so far.
    ///
    /// # Errors
    /// If there is no memory for latencies.
    pub fn new(options: &Options) -> Result<Self> {
        let timed = options.time || options.rate.is_some();
        let histogram = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS);
        Ok(Self {
            sent: 0,
            answered: 0,
            refused: 0,
            lost: 0,
            foreign: 0,
            elapsed: Duration::ZERO,
            kinds: BTreeMap::new(),
            latencies: timed.then(histogram).transpose()?,
            latencies_refused: options.lossy.then(histogram).transpose()?,
            cpu_before: cpu_time(),
        })
    }

    /// Whether latencies are wanted.
    pub const fn is_timed(&self) -> bool {
        self.latencies.is_some()
    }

    /// Counts a request that was written.
    pub fn add_request(&mut self, asked: Asked, bytes: usize) {
        self.sent += 1;
        self.kinds.entry(name(asked)).or_default().request_bytes += bytes as u64;
    }

    /// Counts an answer.
    pub fn add_answer(&mut self, asked: Asked, taken: Taken) {
        self.answered += 1;
        let kind = self.kinds.entry(name(asked)).or_default();
        kind.answers += 1;
        kind.answer_bytes += taken.wire_bytes as u64;
        *kind.bodies.entry(taken.body_bytes).or_default() += 1;
    }

    /// Counts a refusal.
    pub fn add_refusal(&mut self) {
        self.answered += 1;
        self.refused += 1;
    }

    /// Counts a latency.
    pub fn add_latency(&mut self, latency: Duration, refused: bool) {
        if let Some(latencies) = if refused { &mut self.latencies_refused } else { &mut self.latencies } {
            let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
            latencies.saturating_record(ns);
        }
    }

    /// One line of JSON.
    pub fn summary(&self) -> String {
        let us = |ns: u64| ns as f64 / 1000.0;
        let told = |latencies: &Histogram<u64>| Latency {
            mean_us: latencies.mean() / 1000.0,
            max_us: us(latencies.max()),
            at: SHARES.iter().map(|&share| (share, us(latencies.value_at_percentile(share)))).collect(),
        };
        let summary = Summary {
            answers: self.answered - self.refused,
            refused: self.refused,
            lost: self.lost,
            foreign: self.foreign,
            seconds: self.elapsed.as_secs_f64(),
            load_cpu_seconds: cpu_time().saturating_sub(self.cpu_before).as_secs_f64(),
            kinds: &self.kinds,
            latency: self.latencies.as_ref().map(told),
            latency_refused: self.latencies_refused.as_ref().map(told),
        };
        serde_json::to_string(&summary).expect("names are strings and numbers finite")
    }
}

const fn name(asked: Asked) -> &'static str {
    match asked {
        Asked::Get(_) => "get",
        Asked::Put(..) => "put",
        Asked::Batch(_) => "batch",
    }
}

/// CPU time of this process so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Linux, and `time` lives until the call returns.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(done, 0, "a process always has a CPU clock");
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
