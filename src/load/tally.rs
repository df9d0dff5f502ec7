//! What is counted: by each worker for itself, and added up at the end.

use super::connection::Failure;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// What one worker, or all, have seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// Reads that were answered as they should be, misses included.
    pub reads: Latencies,
    /// Writes that were.
    pub writes: Latencies,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Reads that failed.
    pub reads_failed: u64,
    /// Writes that failed.
    pub writes_failed: u64,
    /// What failed, by kind.
    pub failures: Failures,
    /// Connections that turned out to be closed by the server while they were idle.
    pub reconnects: u64,
    /// Requests that the schedule of an open loop had; 0 for a closed one.
    pub scheduled: u64,
    /// Those of them that were sent noticeably later than planned.
    pub late: u64,
    /// The longest such delay.
    pub delay_max: Duration,
}

impl Tally {
    /// Requests that were answered as they should be.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.reads.count() + self.writes.count()
    }

    /// All requests that were sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.answered() + self.reads_failed + self.writes_failed
    }

    /// How many of the requests failed, from 0 to 1.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        if self.sent() == 0 { 0.0 } else { self.failures.total() as f64 / self.sent() as f64 }
    }

    /// Requests of the schedule that were never sent.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.scheduled.saturating_sub(self.sent())
    }

    /// Adds what another worker has seen.
    pub fn add(&mut self, other: Self) {
        self.reads.add(&other.reads);
        self.writes.add(&other.writes);
        self.hits += other.hits;
        self.misses += other.misses;
        self.reads_failed += other.reads_failed;
        self.writes_failed += other.writes_failed;
        self.failures.add(other.failures);
        self.reconnects += other.reconnects;
        self.scheduled += other.scheduled;
        self.late += other.late;
        self.delay_max = self.delay_max.max(other.delay_max);
    }
}

/// Latencies in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        // Grows with the longest latency: a thousand workers with the whole range each would take much memory.
        Self(Histogram::new(DIGITS).expect("three digits are allowed"))
    }
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, 1 << 40);
        self.0.record(micros).expect("the histogram grows to days");
    }

    /// Adds those of another.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the histogram grows to days");
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency, in microseconds, that so many percent of all do not exceed; 0 if there is none.
    #[must_use]
    pub fn percentile_us(&self, percent: f64) -> u64 {
        self.0.value_at_percentile(percent)
    }

    /// The longest, in microseconds.
    #[must_use]
    pub fn max_us(&self) -> u64 {
        self.0.max()
    }
}

/// What failed, by kind, with the first example of each.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// Answers with another status than they should have, by status.
    pub status: BTreeMap<u16, u64>,
    /// Connections that could not be opened or broke.
    pub connection: u64,
    /// Answers that did not come in time.
    pub timeout: u64,
    /// Answers with another value than was written, or none that can be read.
    pub wrong_value: u64,
    /// The first failure of each kind, in words.
    pub examples: BTreeMap<&'static str, String>,
}

impl Failures {
    /// Counts one, of a request described in words.
    pub fn count(&mut self, request: impl FnOnce() -> String, failure: &Failure) {
        let kind = match failure {
            Failure::Status(status, _) => {
                *self.status.entry(*status).or_default() += 1;
                "status"
            }
            Failure::Connection(_) => {
                self.connection += 1;
                "connection"
            }
            Failure::Timeout(_) => {
                self.timeout += 1;
                "timeout"
            }
            Failure::WrongValue(_) => {
                self.wrong_value += 1;
                "wrong value"
            }
        };
        self.examples.entry(kind).or_insert_with(|| format!("{}: {failure}", request()));
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.status.values().sum::<u64>() + self.connection + self.timeout + self.wrong_value
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.status {
            *self.status.entry(status).or_default() += count;
        }
        self.connection += other.connection;
        self.timeout += other.timeout;
        self.wrong_value += other.wrong_value;
        for (kind, example) in other.examples {
            self.examples.entry(kind).or_insert(example);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_all_workers_together() {
        let mut all = Latencies::default();
        for worker in 0..10_u64 {
            let mut own = Latencies::default();
            (1..=100).for_each(|step| own.record(Duration::from_micros(worker * 100 + step)));
            all.add(&own);
        }
        assert_eq!((all.count(), all.percentile_us(50.0), all.percentile_us(99.0)), (1000, 500, 990));
        assert_eq!(all.max_us(), 1000);
        all.record(Duration::from_secs(100));
        assert!((99_900_000..100_100_000).contains(&all.max_us()), "{}", all.max_us());
        assert_eq!(Latencies::default().percentile_us(99.0), 0);
    }

    #[test]
    fn failures_are_counted_by_kind_with_the_first_of_each() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.failures.count(|| "a".to_owned(), &Failure::Status(503, "busy".to_owned()));
        one.failures.count(|| "b".to_owned(), &Failure::Status(500, "bad".to_owned()));
        other.failures.count(|| "c".to_owned(), &Failure::Status(503, "busy".to_owned()));
        other.failures.count(|| "d".to_owned(), &Failure::WrongValue("x".to_owned()));
        other.reads.record(Duration::from_micros(1));
        (one.writes_failed, other.writes_failed, other.reads_failed) = (2, 1, 1);
        one.add(other);
        assert_eq!(one.failures.status, BTreeMap::from([(500, 1), (503, 2)]));
        assert_eq!((one.failures.total(), one.sent(), one.error_share()), (4, 5, 0.8));
        let examples: Vec<_> = one.failures.examples.values().map(String::as_str).collect();
        assert_eq!(examples, ["a: 503 busy", "d: x"]);
    }
}
