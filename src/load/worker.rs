//! One connection's part of a run.

use super::Plan;
use super::connection::{Answer, Connection, Failure, Request};
use super::keyspace::{Draw, mix};
use super::run::Shared;
use super::schedule::Schedule;
use super::tally::Tally;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A request that is sent later than this after its moment is counted as late.
const LATE: Duration = Duration::from_millis(1);
/// How long a closed loop waits after a connection could not be opened: it would only try in vain again and again.
const AFTER_NO_CONNECTION: Duration = Duration::from_millis(100);
/// Longest sleep in one piece, so that the end of the run is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// How much of a wrong answer is shown.
const SHOWN_BYTES_MAX: usize = 80;

pub(super) struct Worker<'a> {
    plan: &'a Plan,
    shared: &'a Shared<'a>,
    connection: Connection,
    draw: Draw,
    random: SmallRng,
    tally: Tally,
    key: String,
    value: String,
    body: String,
    /// Whether the request that is prepared is a read.
    reads: bool,
    /// When the last answer was there.
    answered_at: Instant,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    value: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    version: Cow<'a, str>,
}

impl<'a> Worker<'a> {
    pub fn new(plan: &'a Plan, shared: &'a Shared<'a>, draw: Draw, index: u64, connection: Connection) -> Self {
        let random = SmallRng::seed_from_u64(mix(plan.seed, index));
        let (tally, key, value, body) = (Tally::default(), String::new(), String::new(), String::new());
        let (reads, answered_at) = (true, Instant::now());
        Self { plan, shared, connection, draw, random, tally, key, value, body, reads, answered_at }
    }

    /// Sends a request whenever the last one is answered.
    pub fn closed_loop(mut self) -> Tally {
        self.sleep_until(self.shared.start);
        while !self.shared.stopped() && Instant::now() < self.shared.end {
            self.prepare();
            self.send(None);
        }
        self.done()
    }

    /// Sends the requests of a schedule, each at its moment, or as soon as the connection is free.
    pub fn open_loop(mut self, schedule: Schedule) -> Tally {
        let mut sent = 0;
        for number in 0..schedule.due(self.plan.duration) {
            let moment = self.shared.start + schedule.moment(number);
            self.prepare();
            self.sleep_until(moment);
            let now = Instant::now();
            if self.shared.stopped() || now >= self.shared.end {
                break;
            }
            let delay = now.saturating_duration_since(moment);
            if delay > LATE {
                self.tally.late += 1;
                self.tally.delay_max = self.tally.delay_max.max(delay);
            }
            self.send(Some(moment));
            sent += 1;
        }
        let elapsed = self.shared.start.elapsed().min(self.plan.duration);
        self.tally.scheduled = schedule.due(elapsed).max(sent);
        self.done()
    }

    fn done(mut self) -> Tally {
        self.tally.reconnects = self.connection.reconnects;
        self.tally
    }

    fn sleep_until(&self, moment: Instant) {
        while !self.shared.stopped() {
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(SLEEP_MAX));
        }
    }

    /// Draws the next request and makes its key, value and body: work of ours, which must not count as the server's.
    fn prepare(&mut self) {
        self.reads = self.random.random_bool(self.plan.read_share);
        let number = self.draw.next(&mut self.random);
        self.plan.keys.key(number, &mut self.key);
        self.key.insert_str(0, "/v1/kv/");
        self.plan.keys.value(number, &mut self.value);
        if !self.reads {
            self.body.clear();
            let written = match self.plan.ttl_sec {
                None => write!(self.body, r#"{{"value":"{}"}}"#, self.value),
                Some(ttl) => write!(self.body, r#"{{"value":"{}","ttlSec":{ttl}}}"#, self.value),
            };
            written.expect("a string takes all that is written");
        }
    }

    /// Sends what is prepared. Its latency counts from `moment`, or else from now, to when its answer is there.
    fn send(&mut self, moment: Option<Instant>) {
        let begun = moment.unwrap_or_else(Instant::now);
        let (method, result) = if self.reads { ("GET", self.read()) } else { ("PUT", self.write()) };
        let latency = self.answered_at.saturating_duration_since(begun);
        match result {
            Ok(found) if self.reads => {
                self.tally.reads.record(latency);
                *(if found { &mut self.tally.hits } else { &mut self.tally.misses }) += 1;
            }
            Ok(_) => self.tally.writes.record(latency),
            Err(failure) => self.failed(method, &failure),
        }
        self.shared.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn failed(&mut self, method: &str, failure: &Failure) {
        *(if method == "GET" { &mut self.tally.reads_failed } else { &mut self.tally.writes_failed }) += 1;
        self.tally.failures.count(|| format!("{method} {}", self.key), failure);
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
        if self.plan.rate.is_none() && matches!(failure, Failure::Connection(_)) {
            self.sleep_until(Instant::now() + AFTER_NO_CONNECTION);
        }
    }

    /// Whether the key was there.
    fn read(&mut self) -> Result<bool, Failure> {
        let request = Request { method: "GET", target: &self.key, fields: &[], body: None };
        let answer = self.connection.ask(&request)?;
        self.answered_at = Instant::now();
        match answer.status {
            200 => check_entry(&answer, &self.value).map(|()| true),
            404 => Ok(false),
            _ => Err(answer.refused()),
        }
    }

    fn write(&mut self) -> Result<bool, Failure> {
        let fields = [("Content-Type", "application/json")];
        let request = Request { method: "PUT", target: &self.key, fields: &fields, body: Some(self.body.as_bytes()) };
        let answer = self.connection.ask(&request)?;
        self.answered_at = Instant::now();
        if !matches!(answer.status, 200 | 201) {
            return Err(answer.refused());
        }
        match serde_json::from_slice::<Written<'_>>(answer.body) {
            Ok(written) if !written.version.is_empty() => Ok(true),
            _ => Err(Failure::WrongValue(format!("expected a version, got {}", shown(answer.body)))),
        }
    }
}

fn check_entry(answer: &Answer<'_>, value: &str) -> Result<(), Failure> {
    match serde_json::from_slice::<Entry<'_>>(answer.body) {
        Ok(entry) if entry.value == value && !entry.version.is_empty() => Ok(()),
        _ => {
            let (expected, got) = (shown(value.as_bytes()), shown(answer.body));
            Err(Failure::WrongValue(format!("expected the value {expected}, got {got}")))
        }
    }
}

/// The beginning of what came, in one line.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]);
    let more = if bytes.len() > SHOWN_BYTES_MAX { "…" } else { "" };
    crate::config::one_line(&format!("{text}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(body: &str) -> Result<(), Failure> {
        check_entry(&Answer { status: 200, head: b"", body: body.as_bytes() }, "right")
    }

    #[test]
    fn only_the_value_that_was_written_is_right() {
        assert_eq!(checked(r#"{"version":"1","type":"string","value":"right"}"#), Ok(()));
        for wrong in [
            r#"{"value":"wrong","version":"1"}"#,
            r#"{"value":"righ","version":"1"}"#,
            r#"{"value":"right"}"#,
            r#"{"value":"right","version":""}"#,
            r#"{"value":1,"version":"1"}"#,
            "",
            "\u{1b}[31m",
        ] {
            let failure = checked(wrong).unwrap_err();
            assert!(matches!(&failure, Failure::WrongValue(text) if !text.contains('\u{1b}')), "{failure:?}");
        }
    }
}
