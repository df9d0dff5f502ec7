//! `load-smoke`: is a server that was just deployed all right?

use super::arguments::positive;
use super::server::{ServerArguments, reach, stop_on_signals};
use super::{complain, say};
use crate::config::Sources;
use crate::load::connection::Connection;
use crate::load::contract::{CHECKS, Prober, Wrong};
use crate::load::progress::ProgressLine;
use crate::load::{Criteria, Distribution, Keyspace, Peer, Plan, Report, bulk, run};
use clap::Args;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(super) const EXAMPLES: &str = "\
Writes keys under a random prefix, which are deleted at the end. Needs the server's token.
Passes (exit code 0) if every check of the contract holds, no request fails, no value is wrong and the 95th
percentile of the latencies stays below --p95-ms; else it fails (exit code 1) and says why.

Examples:
  API_TOKEN=... cache-service load-smoke                     the server of this machine on port 8080
  cache-service load-smoke --env-file /etc/cache-service/cache-service.env
      address and token as the server has them
  API_TOKEN=... cache-service load-smoke --url http://cache-1.internal:8080 --seconds 30";

/// Longest that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 8;
/// Requests a second, on a schedule: little enough for any machine, and a stall counts for all that it delays.
const RATE: f64 = 500.0;
const KEYS: u64 = 1000;
const VALUE_BYTES: usize = 100;
const READ_SHARE: f64 = 0.9;
/// How much longer than the load keys live, should they not be deleted, in seconds.
const TTL_AFTER: u32 = 600;

#[derive(Args, Clone, Debug)]
pub(super) struct LoadSmokeArguments {
    #[command(flatten)]
    server: ServerArguments,

    /// How long the load is to last
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,

    /// What the 95th percentile of all latencies must stay below, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 25.0, value_parser = positive)]
    p95_ms: f64,
}

pub(super) fn run(sources: &Sources, arguments: &LoadSmokeArguments) -> ExitCode {
    let (url, token) = match arguments.server.resolve(sources) {
        Ok(resolved) => resolved,
        Err(code) => return code,
    };
    say(format_args!("load-smoke of {url}"));
    let reasons = match reach(&url, token, TIMEOUT).and_then(|peer| smoke(&peer, arguments)) {
        Ok(reasons) => reasons,
        Err(reason) => vec![reason],
    };
    super::verdict(&reasons)
}

/// Why the server does not pass; empty if it does.
fn smoke(peer: &Arc<Peer>, arguments: &LoadSmokeArguments) -> Result<Vec<String>, String> {
    let stop = stop_on_signals().map_err(|error| format!("cannot catch signals: {error}"))?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| format!("the system gives no random numbers: {error}"))?;
    let seed = u64::from_ne_bytes(random);
    let prefix = format!("load-smoke-{seed:016x}-");
    let mut reasons = keep_contract(peer, format!("{prefix}check-"), &stop);
    if reasons.is_empty() {
        reasons = bear_load(&plan(arguments, seed, prefix), peer, arguments, &stop)?;
    } else {
        say("load: not tried, since the contract is not kept");
    }
    if stop.load(Ordering::Relaxed) {
        reasons.push("ended early by a signal".to_owned());
    }
    Ok(reasons)
}

fn keep_contract(peer: &Arc<Peer>, prefix: String, stop: &AtomicBool) -> Vec<String> {
    say("contract");
    let mut prober = Prober::new(Connection::new(Arc::clone(peer), TIMEOUT), prefix);
    let mut reasons = Vec::new();
    for check in CHECKS.iter().take_while(|_| !stop.load(Ordering::Relaxed)) {
        let result = check.run(&mut prober);
        let Err(wrong) = result else {
            say(format_args!("  ok    {}", check.name));
            continue;
        };
        say(format_args!("  FAIL  {}\n          {wrong}", check.name));
        reasons.push(format!("the contract is not kept: {}", check.name));
        if let Wrong::Hopeless(_) = wrong {
            break;
        }
    }
    // Where a check failed already, this fails for the same reason or is of no weight beside it.
    if let Err(error) = prober.delete_keys()
        && reasons.is_empty()
    {
        reasons.push(format!("keys of the checks may be left: {error}"));
    }
    reasons
}

fn plan(arguments: &LoadSmokeArguments, seed: u64, prefix: String) -> Plan {
    Plan {
        connections: CONNECTIONS,
        duration: Duration::from_secs(arguments.seconds.into()),
        rate: Some(RATE),
        keys: Keyspace { prefix, count: KEYS, value_bytes: VALUE_BYTES..=VALUE_BYTES, seed },
        distribution: Distribution::Uniform,
        read_share: READ_SHARE,
        ttl_sec: Some(arguments.seconds + TTL_AFTER),
        seed,
        timeout: TIMEOUT,
    }
}

fn bear_load(
    plan: &Plan,
    peer: &Arc<Peer>,
    arguments: &LoadSmokeArguments,
    stop: &AtomicBool,
) -> Result<Vec<String>, String> {
    let (seconds, percent) = (arguments.seconds, READ_SHARE * 100.0);
    say(format_args!(
        "load: {seconds} s, {RATE} requests a second on {CONNECTIONS} connections, {percent} % reads, {KEYS} keys with values of {VALUE_BYTES} bytes\n"
    ));
    let mut connections = run::connect(plan, peer)?;
    let mut progress = ProgressLine::new();
    let filled = bulk::fill(plan, &mut connections, stop);
    let outcome = filled.and_then(|_| run::run(plan, connections, stop, &mut |now| progress.tell(now)));
    progress.clear();
    let mut cleaners = [Connection::new(Arc::clone(peer), TIMEOUT)];
    let deleted = bulk::delete(&plan.keys, &mut cleaners);
    let criteria = Criteria { p95_ms: Some(arguments.p95_ms), ..Criteria::default() };
    let report = Report::new(&outcome?, &criteria, false);
    say(&report);
    let mut reasons = report.reasons;
    if let Err(error) = deleted {
        complain(format_args!("warning: keys that begin with {} are left until they expire", plan.keys.prefix));
        reasons.push(format!("the keys could not be deleted: {error}"));
    }
    Ok(reasons)
}
