//! What is told at the end: a table for people, or JSON for programs.

use super::Criteria;
use super::run::Outcome;
use super::tally::{Failures, Latencies};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What is told at the end of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `pass` or `fail`.
    pub result: &'static str,
    /// Why it failed.
    pub reasons: Vec<String>,
    /// From the first request to the last answer, in seconds.
    pub elapsed_seconds: f64,
    /// Whether it was ended early.
    pub interrupted: bool,
    /// Requests that were sent.
    pub requests: u64,
    /// Answers as they should be, per second.
    pub answers_per_second: f64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Reads alone.
    pub reads: Part,
    /// Writes alone.
    pub writes: Part,
    /// Reads and writes.
    pub all: Part,
    /// What failed.
    pub errors: Errors,
    /// How an open loop kept its schedule; none for a closed one.
    pub schedule: Option<Kept>,
    /// Connections that the server closed while they were idle, and that were opened again.
    pub reconnects: u64,
}

/// A kind of requests.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// Answers as they should be; latencies are theirs.
    pub answers: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Answers as they should be, per second.
    pub answers_per_second: f64,
    /// Latencies in microseconds.
    pub latency_us: Percentiles,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "their names say all")]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p95: u64,
    pub p99: u64,
    #[serde(rename = "p99.9")]
    pub p999: u64,
    pub max: u64,
}

/// What failed, by kind.
#[derive(Clone, Debug, Serialize)]
pub struct Errors {
    /// All of them.
    pub total: u64,
    /// Of all requests that were sent, from 0 to 1.
    pub share: f64,
    /// Unexpected status codes.
    pub status: BTreeMap<u16, u64>,
    /// Connections that could not be opened or broke.
    pub connection: u64,
    /// Answers that did not come in time.
    pub timeout: u64,
    /// Answers with a wrong value.
    pub wrong_value: u64,
    /// The first of each kind, in words.
    pub examples: Vec<String>,
}

/// How an open loop kept its schedule.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Kept {
    /// Requests that were due.
    pub scheduled: u64,
    /// Those that were never sent, because the connection was busy until the end.
    pub unsent: u64,
    /// Those that were sent over a millisecond late.
    pub late: u64,
    /// The longest delay, in microseconds.
    pub delay_us_max: u64,
}

impl Report {
    /// Judges an outcome.
    #[must_use]
    pub fn new(outcome: &Outcome, criteria: &Criteria, open_loop: bool) -> Self {
        let tally = &outcome.tally;
        let seconds = outcome.elapsed.as_secs_f64();
        let mut all = tally.reads.clone();
        all.add(&tally.writes);
        let reasons = criteria.reasons(outcome);
        let kept = Kept {
            scheduled: tally.scheduled,
            unsent: tally.unsent(),
            late: tally.late,
            delay_us_max: u64::try_from(tally.delay_max.as_micros()).unwrap_or(u64::MAX),
        };
        let all = Part::new(&all, tally.reads_failed + tally.writes_failed, seconds);
        Self {
            result: if reasons.is_empty() { "pass" } else { "fail" },
            reasons,
            elapsed_seconds: seconds,
            interrupted: outcome.interrupted,
            requests: tally.sent(),
            answers_per_second: all.answers_per_second,
            hits: tally.hits,
            misses: tally.misses,
            reads: Part::new(&tally.reads, tally.reads_failed, seconds),
            writes: Part::new(&tally.writes, tally.writes_failed, seconds),
            all,
            errors: Errors::new(&tally.failures, tally.error_share()),
            schedule: open_loop.then_some(kept),
            reconnects: tally.reconnects,
        }
    }

    /// Whether the run passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl Part {
    fn new(latencies: &Latencies, errors: u64, seconds: f64) -> Self {
        let answers = latencies.count();
        let percentile = |percent| latencies.percentile_us(percent);
        Self {
            answers,
            errors,
            answers_per_second: if seconds > 0.0 { answers as f64 / seconds } else { 0.0 },
            latency_us: Percentiles {
                p50: percentile(50.0),
                p90: percentile(90.0),
                p95: percentile(95.0),
                p99: percentile(99.0),
                p999: percentile(99.9),
                max: latencies.max_us(),
            },
        }
    }

    fn row(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{name:<8}{:>10}{:>9}{:>11.0}", self.answers, self.errors, self.answers_per_second)?;
        let Percentiles { p50, p90, p95, p99, p999, max } = self.latency_us;
        for micros in [p50, p90, p95, p99, p999, max] {
            if self.answers == 0 {
                write!(f, "{:>9}", "-")?;
            } else {
                write!(f, "{:>9.3}", micros as f64 / 1000.0)?;
            }
        }
        writeln!(f)
    }
}

impl Errors {
    fn new(failures: &Failures, share: f64) -> Self {
        Self {
            total: failures.total(),
            share,
            status: failures.status.clone(),
            connection: failures.connection,
            timeout: failures.timeout,
            wrong_value: failures.wrong_value,
            examples: failures.examples.values().cloned().collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8}{:>10}{:>9}{:>11}", "", "answers", "errors", "answers/s")?;
        writeln!(f, "{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}", "p50 ms", "p90", "p95", "p99", "p99.9", "max")?;
        self.reads.row("reads", f)?;
        self.writes.row("writes", f)?;
        self.all.row("all", f)?;
        writeln!(f, "hits {}, misses {}, in {:.2} s", self.hits, self.misses, self.elapsed_seconds)?;
        if let Some(Kept { scheduled, unsent, late, delay_us_max }) = self.schedule {
            let delay_ms_max = delay_us_max as f64 / 1000.0;
            writeln!(
                f,
                "scheduled {scheduled}, sent over 1 ms late {late} (by at most {delay_ms_max:.3} ms), never sent {unsent}"
            )?;
        }
        if self.reconnects > 0 {
            writeln!(f, "connections that the server had closed while idle: {}", self.reconnects)?;
        }
        if self.errors.total > 0 {
            writeln!(f, "errors: {}", self.errors)?;
            self.errors.examples.iter().try_for_each(|example| writeln!(f, "  for example {example}"))?;
        }
        if self.interrupted {
            writeln!(f, "ended early by a signal")?;
        }
        Ok(())
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.iter().map(|(status, count)| format!("status {status}: {count}"));
        let others = [("connection", self.connection), ("time-out", self.timeout), ("wrong value", self.wrong_value)];
        let others = others.into_iter().filter(|(_, count)| *count > 0);
        let all: Vec<String> = status.chain(others.map(|(kind, count)| format!("{kind}: {count}"))).collect();
        f.write_str(&all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::Failure;
    use super::super::tally::Tally;
    use super::*;
    use std::time::Duration;

    fn outcome() -> Outcome {
        let mut tally = Tally { hits: 9, misses: 1, ..Tally::default() };
        (1..=10).for_each(|ms| tally.reads.record(Duration::from_millis(ms)));
        tally.writes_failed = 1;
        tally.failures.count(|| "PUT /x".to_owned(), &Failure::Status(503, "busy".to_owned()));
        Outcome { tally, elapsed: Duration::from_secs(2), interrupted: true }
    }

    #[test]
    fn people_get_a_table_and_what_was_special() {
        let text = Report::new(&outcome(), &Criteria::default(), false).to_string();
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().count();
        assert_eq!((row("reads"), row("writes"), row("all")), (10, 10, 10), "{text}");
        for part in ["hits 9, misses 1, in 2.00 s", "errors: status 503: 1", "for example PUT /x: 503 busy", "early"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(!text.contains("scheduled"), "{text}");
    }

    #[test]
    fn programs_get_the_same_as_json() {
        let report = Report::new(&outcome(), &Criteria::default(), true);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((json["result"].as_str(), json["requests"].as_u64()), (Some("fail"), Some(11)));
        assert_eq!((&json["errors"]["status"]["503"], &json["reads"]["answers_per_second"]), (&1.into(), &5.0.into()));
        assert_eq!(json["schedule"]["unsent"], 0);
        assert!(json["reads"]["latency_us"]["p99.9"].as_u64().unwrap() >= 9990);
    }
}
