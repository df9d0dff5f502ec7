//! The runs: a quiet one, and one for each kind of trouble.

use crate::history::Event;
use crate::load::Load;
use crate::mishap::Mishap;
use crate::model::Rules;
use crate::report::{Judged, judge_all};
use crate::support::{Launch, Server, TOKEN};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// More than there are processors, so that every core is also interrupted in the middle of things.
pub const SHARDS: &str = "4";

/// What every server of these runs is started with.
pub fn launch(variables: &[(&str, &str)]) -> Launch {
    let mut all = vec![("SHARDS", SHARDS), ("SHARD_PORTS_FROM", "0")];
    all.extend_from_slice(variables);
    Launch::new(&all)
}

/// The common port, and that of each core.
pub fn addresses(server: &Server) -> Vec<SocketAddr> {
    let topology = server.client().get_path("/v1/topology").expect_status(200).json();
    let ports = topology["ports"].as_array().expect("each core has a port");
    let of_core = ports.iter().map(|port| port.as_u64().and_then(|port| port.try_into().ok()).expect("a port"));
    let addresses = std::iter::once(server.address().port()).chain(of_core);
    addresses.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
}

#[track_caller]
fn explained(run: &str, load: Load, rules: Rules, events: Vec<Event>) -> Judged {
    let judged = judge_all(events, rules);
    judged.assert_linearizable(run, load.seed);
    judged
}

#[track_caller]
fn assert_many(judged: &Judged, answers: &[&str], least: usize) {
    for answer in answers {
        assert!(judged.count(answer) >= least, "hardly any {answer}: {:?}", judged.tally);
    }
}

/// What happens often in every run.
const USUAL: [&str; 8] = ["hit", "not modified", "missing", "created", "updated", "conflict", "deleted", "counted"];

#[track_caller]
fn assert_none(judged: &Judged, answers: &[&str]) {
    for answer in answers {
        assert_eq!(judged.count(answer), 0, "{answer}: {:?}", judged.tally);
    }
}

/// How an operation ends badly.
const FAILURES: [&str; 7] = ["refused", "timed out", "too large", "mistaken", "cut", "unknown read", "unknown write"];

fn counted(server: &Server, name: &str) -> f64 {
    server.metrics().sum(name)
}

#[test]
fn quiet() {
    let server = launch(&[]).start();
    let load = Load::default();
    let judged = explained("quiet", load, Rules::default(), load.run(&addresses(&server)));
    assert_many(&judged, &USUAL, 200);
    assert_none(&judged, &FAILURES);
    assert!(judged.contended * 5 > judged.events(), "clients hardly meet: {judged:?}");
    assert_eq!(counted(&server, "cache_evictions_total") + counted(&server, "cache_expirations_total"), 0.0);
    let forwarded: Vec<f64> = server.metrics().all("cache_forwarded_requests_total").iter().map(|(_, n)| *n).collect();
    assert!(forwarded.iter().all(|count| *count > 1_000.0), "all cores forward much: {forwarded:?}");
}

/// Runs a load while something happens to the server again and again.
pub fn run_while(load: Load, server: &Server, mut trouble: impl FnMut(u64) + Send) -> Vec<Event> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| (0..).take_while(|_| !stop.load(Ordering::Relaxed)).for_each(&mut trouble));
        let events = load.run(&addresses(server));
        stop.store(true, Ordering::Relaxed);
        events
    })
}

/// A server that reads its settings from a file which is written anew for each reload.
struct Reloaded {
    server: Server,
    config: PathBuf,
    configuration: fn(u64) -> String,
    _dir: TempDir,
}

impl Reloaded {
    fn start(configuration: fn(u64) -> String) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("config.toml");
        fs::write(&config, configuration(0)).expect("a file can be written");
        let launch = launch(&[]).without("API_TOKEN").without("MEMORY_BUDGET_BYTES");
        let server = launch.args(&["--config", config.to_str().expect("a path of text")]).start();
        Self { server, config, configuration, _dir: dir }
    }

    fn run(&self, load: Load) -> Vec<Event> {
        let events = run_while(load, &self.server, |round| {
            fs::write(&self.config, (self.configuration)(round)).expect("a file can be written");
            self.server.signal(libc::SIGHUP);
            thread::sleep(Duration::from_millis(20));
        });
        let reloads = |result| self.server.metrics().sum_where("cache_config_reloads_total", &[("result", result)]);
        println!("{} reloads", reloads("success"));
        assert!(reloads("success") >= 20.0 && reloads("failure") == 0.0);
        events
    }
}

/// Changes everything that a reload may change and that clients need not notice.
fn anything(round: u64) -> String {
    let other = if round.is_multiple_of(2) { ",another-token-of-more-than-thirty-two-characters" } else { "" };
    format!(
        "api_token = \"{TOKEN}{other}\"\nread_requires_auth = {}\nmemory_budget_bytes = {}\nmax_inflight = {}\n\
         request_timeout_ms = {}\nidle_timeout_ms = {}\nslow_request_ms = {}\nmetrics_interval_ms = {}\n",
        round.is_multiple_of(3),
        (256 + round % 5 * 16) << 20,
        1_000 + round % 7 * 100,
        20_000 + round % 4 * 100,
        60_000 + round,
        1 + round % 3 * 20,
        100 + round % 10 * 100,
    )
}

/// A small budget, now smaller and now larger.
fn small_budget(round: u64) -> String {
    format!("api_token = \"{TOKEN}\"\nmemory_budget_bytes = {}\n", (3 + round / 10 % 4) << 20)
}

#[test]
fn under_reloads() {
    let reloaded = Reloaded::start(anything);
    let load = Load::default();
    let judged = explained("reloads", load, Rules::default(), reloaded.run(load));
    assert_many(&judged, &USUAL, 200);
    assert_none(&judged, &FAILURES);
    assert_eq!(counted(&reloaded.server, "cache_evictions_total"), 0.0);
}

#[test]
fn under_overload() {
    let server = launch(&[("MAX_INFLIGHT", "8"), ("MAX_SHARD_MAILBOX", "2")]).start();
    let load = Load { clients: 12, mishap_one_in: 12, mishaps: &[Mishap::HalfClose], ..Load::default() };
    let judged = explained("overload", load, Rules::default(), load.run(&addresses(&server)));
    assert_many(&judged, &USUAL, 200);
    assert_none(&judged, &["too large", "mistaken", "unknown read", "unknown write"]);
    assert!(judged.count("refused") * 10 > judged.events(), "hardly overloaded: {:?}", judged.tally);
}

/// Stops the whole server for some time, and lets it go on for some.
pub fn stop_for(server: &Server, stopped_ms: u64, going_ms: u64) {
    server.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_millis(stopped_ms));
    server.signal(libc::SIGCONT);
    thread::sleep(Duration::from_millis(going_ms));
}

/// Requests that come too late are refused by the core that owns the key, and bodies that stand still by the one that
/// reads them. The whole server is stopped now and then, so that many are late.
#[test]
fn under_deadlines() {
    let server = launch(&[("REQUEST_TIMEOUT_MS", "2")]).start();
    let load = Load { mishap_one_in: 12, mishaps: &[Mishap::Stall], long_one_in: 8, ..Load::default() };
    let events = run_while(load, &server, |_| stop_for(&server, 4, 10));
    let judged = explained("deadlines", load, Rules::default(), events);
    assert_many(&judged, &USUAL, 200);
    assert_many(&judged, &["refused", "timed out"], 20);
    assert_none(&judged, &["too large", "mistaken"]);
    let late = server.metrics().sum_where("cache_backpressure_total", &[("reason", "deadline")]);
    println!("{late} came too late");
    assert!(late > 50.0);
}

#[test]
fn under_connection_loss() {
    let server = launch(&[]).start();
    let load = Load { mishap_one_in: 12, slow_one_in: 50, generation: 60, cold: 4_000, ..Load::default() };
    let judged = explained("loss", load, Rules::default(), load.run(&addresses(&server)));
    assert_many(&judged, &USUAL, 200);
    assert_many(&judged, &["cut", "unknown read", "unknown write"], 200);
    assert_none(&judged, &["refused", "too large", "mistaken", "timed out"]);
}

/// The server is stopped now and then in the middle of what it does, so that much expires while requests are under way.
#[test]
fn with_expiry() {
    let server = launch(&[]).start();
    let load = Load { clients: 48, requests: 800, hot: 100, generation: 500, cold: 200, ..Load::default() };
    let load = Load { lifetimes: &[1], think_ms: 30, keeps: true, ..load };
    let events = run_while(load, &server, |_| stop_for(&server, 40, 20));
    let judged = explained("expiry", load, Rules::default(), events);
    assert_many(&judged, &["hit", "not modified", "missing", "created", "conflict"], 100);
    assert_none(&judged, &FAILURES);
    assert_eq!(counted(&server, "cache_evictions_total"), 0.0);
    let expired = counted(&server, "cache_expirations_total");
    println!("{expired} expirations");
    assert!(judged.losses > 500 && judged.losses as f64 <= expired);
}

#[test]
fn with_eviction() {
    let reloaded = Reloaded::start(small_budget);
    let load = Load { long_one_in: 6, ..Load::default() };
    let judged = explained("eviction", load, Rules { may_evict: true }, reloaded.run(load));
    assert_many(&judged, &USUAL, 200);
    assert_none(&judged, &["mistaken", "unknown read", "unknown write"]);
    let evicted = counted(&reloaded.server, "cache_evictions_total");
    println!("{evicted} evictions");
    assert!(judged.losses > 100 && judged.losses as f64 <= evicted);
}
