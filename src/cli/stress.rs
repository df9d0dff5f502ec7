//! `stress`: how much does a server bear?

use super::arguments::{duration, positive, rate, share, value_bytes};
use super::server::{ServerArguments, reach, stop_on_signals};
use super::{complain, say, verdict};
use crate::config::Sources;
use crate::load::connection::Connection;
use crate::load::plan::CONNECTIONS_MAX;
use crate::load::progress::ProgressLine;
use crate::load::run::Outcome;
use crate::load::{Criteria, Distribution, Keyspace, Peer, Plan, Report, Url, bulk, run};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub(super) const EXAMPLES: &str = "\
Keys are called stress-SEED-MIN-MAX-NUMBER and stay on the server unless --delete or --ttl is given. Every value
follows from its key, so that a wrong one is noticed. A read that finds nothing is a miss and no error.
Without --rate each connection sends its next request when the last one is answered: that finds the throughput. With
--rate requests are due at moments that do not depend on the server, and latencies count from those: that finds the
latency under a load. Latencies are those of good answers. Ctrl-C ends it early, with the result so far.
Exit codes: 0 passed, 1 failed (more errors than allowed, a wrong value, too slow, or no good answer at all).

Examples:
  API_TOKEN=... cache-service stress --fill
  API_TOKEN=... cache-service stress --rate 20000 --duration 2m --distribution zipf --fill --p99-ms 5
  API_TOKEN=... cache-service stress --url http://cache-1.internal:8080 --value-bytes 64-4096 --json --seed 7 --delete";

#[derive(Args, Clone, Debug)]
pub(super) struct StressArguments {
    #[command(flatten)]
    server: ServerArguments,

    /// Connections, each with one request at a time
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX as u64))]
    connections: u64,

    /// How long requests are sent: 30s, 2m, 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,

    /// Requests per second in all, sent on schedule (open loop) [default: as fast as answers come (closed loop)]
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,

    /// How many keys there are
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    keys: u64,

    /// Which keys are asked for how often: all alike, or few very often and many hardly ever
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Shape::Uniform)]
    distribution: Shape,

    /// How skewed zipf is: the k-th key in proportion to 1 / k^EXPONENT
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.99, value_parser = positive)]
    zipf_exponent: f64,

    /// Length of values: a number or a range such as 64-4096
    #[arg(long, value_name = "BYTES", default_value = "100", value_parser = value_bytes)]
    value_bytes: RangeInclusive<usize>,

    /// How many of the requests are reads, from 0 to 1; the others write
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = share)]
    read_share: f64,

    /// Write values that expire after so many seconds [default: they do not]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=2_147_483_647))]
    ttl: Option<u32>,

    /// What keys, values and the order of requests follow from, to repeat a run [default: random, and printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Write every key before the measured time begins
    #[arg(long)]
    fill: bool,

    /// Delete every key at the end
    #[arg(long)]
    delete: bool,

    /// Longest that an answer may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,

    /// Fail if more of the requests fail than this share, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    max_error_share: f64,

    /// Fail unless the 99th percentile of all latencies stays below this, in milliseconds; needs --rate, because a closed
    /// loop waits with the server and so leaves out most of a stall
    #[arg(long, value_name = "MS", value_parser = positive, requires = "rate")]
    p99_ms: Option<f64>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Uniform,
    Zipf,
}

/// The result as JSON, with what it takes to repeat it.
#[derive(Serialize)]
struct Printed<'a> {
    url: String,
    seed: u64,
    connections: usize,
    duration_seconds: f64,
    rate: Option<f64>,
    keys: u64,
    value_bytes_min: usize,
    value_bytes_max: usize,
    read_share: f64,
    filled: u64,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn run(sources: &Sources, arguments: &StressArguments) -> ExitCode {
    let (url, token) = match arguments.server.resolve(sources) {
        Ok(resolved) => resolved,
        Err(code) => return code,
    };
    let timeout = Duration::from_millis(arguments.timeout_ms);
    let result = reach(&url, token, timeout).and_then(|peer| stress(&url, &peer, arguments));
    match result {
        Ok(code) => code,
        Err(reason) => {
            complain(reason);
            ExitCode::FAILURE
        }
    }
}

fn stress(url: &Url, peer: &Arc<Peer>, arguments: &StressArguments) -> Result<ExitCode, String> {
    let plan = arguments.plan()?;
    Connection::new(Arc::clone(peer), plan.timeout)
        .check_token(&plan.keys.prefix)
        .map_err(|failure| format!("{url} cannot be tested: {failure}"))?;
    if !arguments.json {
        say(heading(url, &plan));
    }
    let stop = stop_on_signals().map_err(|error| format!("cannot catch signals: {error}"))?;
    let (filled, outcome) = carry_out(&plan, peer, arguments, &stop)?;
    let criteria =
        Criteria { max_error_share: arguments.max_error_share, p99_ms: arguments.p99_ms, ..Criteria::default() };
    let report = Report::new(&outcome, &criteria, plan.rate.is_some());
    if arguments.json {
        let printed = Printed {
            url: url.to_string(),
            seed: plan.seed,
            connections: plan.connections,
            duration_seconds: plan.duration.as_secs_f64(),
            rate: plan.rate,
            keys: plan.keys.count,
            value_bytes_min: *plan.keys.value_bytes.start(),
            value_bytes_max: *plan.keys.value_bytes.end(),
            read_share: plan.read_share,
            filled,
            report: &report,
        };
        say(serde_json::to_string_pretty(&printed).map_err(|error| error.to_string())?);
        return Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    say(&report);
    Ok(verdict(&report.reasons))
}

/// Fills, runs, deletes. Gives how many keys were filled, and what came of the run.
fn carry_out(
    plan: &Plan,
    peer: &Arc<Peer>,
    arguments: &StressArguments,
    stop: &AtomicBool,
) -> Result<(u64, Outcome), String> {
    let mut progress = ProgressLine::new();
    let mut connections = run::connect(plan, peer)?;
    let mut filled = Ok(0);
    if arguments.fill {
        progress.say("writing every key");
        filled = bulk::fill(plan, &mut connections, stop);
    }
    let result =
        filled.and_then(|filled| Ok((filled, run::run(plan, connections, stop, &mut |now| progress.tell(now))?)));
    if arguments.delete {
        progress.say("deleting every key");
        let cleaners = (0..plan.connections).map(|_| Connection::new(Arc::clone(peer), plan.timeout));
        if let Err(error) = bulk::delete(&plan.keys, &mut cleaners.collect::<Vec<_>>()) {
            complain(format_args!("warning: not every key was deleted: {error}"));
        }
    }
    progress.clear();
    result
}

fn heading(url: &Url, plan: &Plan) -> String {
    let Keyspace { count, value_bytes, .. } = &plan.keys;
    let pace = plan.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate} requests/s"));
    let distribution = match plan.distribution {
        Distribution::Uniform => "uniform".to_owned(),
        Distribution::Zipf(exponent) => format!("zipf {exponent}"),
    };
    let (min, max) = (value_bytes.start(), value_bytes.end());
    let bytes = if min == max { min.to_string() } else { format!("{min}-{max}") };
    format!(
        "stress of {url}, seed {}\n{pace}, {} connections, {:?}, {} % reads, {count} keys ({distribution}), values of {bytes} bytes\n",
        plan.seed,
        plan.connections,
        plan.duration,
        plan.read_share * 100.0
    )
}

impl StressArguments {
    fn plan(&self) -> Result<Plan, String> {
        let seed = match self.seed {
            Some(seed) => seed,
            // Few enough digits to be copied, and for readers of JSON that have only floating-point numbers.
            None => getrandom::u32().map_err(|error| format!("the system gives no random numbers: {error}"))?.into(),
        };
        let (min, max) = (self.value_bytes.start(), self.value_bytes.end());
        // A key names all that its value follows from, so that a later run with other values does not find it wrong.
        let prefix = format!("stress-{seed}-{min}-{max}-");
        let connections = usize::try_from(self.connections).map_err(|error| error.to_string())?;
        Ok(Plan {
            connections,
            duration: self.duration,
            rate: self.rate,
            keys: Keyspace { prefix, count: self.keys, value_bytes: self.value_bytes.clone(), seed },
            distribution: match self.distribution {
                Shape::Uniform => Distribution::Uniform,
                Shape::Zipf => Distribution::Zipf(self.zipf_exponent),
            },
            read_share: self.read_share,
            ttl_sec: self.ttl,
            seed,
            timeout: Duration::from_millis(self.timeout_ms),
        })
    }
}
