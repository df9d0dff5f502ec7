//! The runs: a quiet one, and one for each kind of trouble.

use crate::history::Event;
use crate::load::Load;
use crate::model::Rules;
use crate::report::{Judged, judge_all};
use crate::support::{Launch, Server, TOKEN};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

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

/// Nothing is refused, and nothing gets lost.
#[track_caller]
fn assert_nothing_failed(judged: &Judged, server: &Server) {
    for answer in ["refused", "cut", "unknown read", "unknown write"] {
        assert_eq!(judged.count(answer), 0, "{:?}", judged.tally);
    }
    assert_eq!(server.metrics().sum("cache_evictions_total"), 0.0);
    assert_eq!(server.metrics().sum("cache_expirations_total"), 0.0);
}

#[test]
fn quiet() {
    let server = launch(&[]).start();
    let load = Load::default();
    let judged = explained("quiet", load, Rules::default(), load.run(&addresses(&server)));
    assert_many(&judged, &USUAL, 200);
    assert_nothing_failed(&judged, &server);
}

/// Configurations that change everything that a reload may change and that clients need not notice.
fn reload_now_and_then(server: &Server, config: &Path, stop: &AtomicBool) {
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        fs::write(config, configuration(round)).expect("a file can be written");
        server.signal(libc::SIGHUP);
        thread::sleep(Duration::from_millis(20));
    }
}

fn configuration(round: u64) -> String {
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

#[test]
fn under_reloads() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    fs::write(&config, configuration(0)).expect("a file can be written");
    let variables = launch(&[]).without("API_TOKEN").without("MEMORY_BUDGET_BYTES");
    let server = variables.args(&["--config", config.to_str().expect("a path of text")]).start();
    let (load, stop) = (Load::default(), AtomicBool::new(false));
    let events = thread::scope(|scope| {
        scope.spawn(|| reload_now_and_then(&server, &config, &stop));
        let events = load.run(&addresses(&server));
        stop.store(true, Ordering::Relaxed);
        events
    });
    let judged = explained("reloads", load, Rules::default(), events);
    assert_many(&judged, &USUAL, 200);
    assert_nothing_failed(&judged, &server);
    let reloads = |result| server.metrics().sum_where("cache_config_reloads_total", &[("result", result)]);
    println!("reloads: {}", reloads("success"));
    assert!(reloads("success") >= 20.0 && reloads("failure") == 0.0);
}

#[test]
fn under_overload() {
    let server = launch(&[("MAX_INFLIGHT", "4"), ("MAX_SHARD_MAILBOX", "2")]).start();
    let load = Load { clients: 12, ..Load::default() };
    let judged = explained("overload", load, Rules::default(), load.run(&addresses(&server)));
    assert_many(&judged, &USUAL, 100);
    assert!(judged.count("refused") * 50 > judged.events(), "hardly overloaded: {:?}", judged.tally);
}

#[test]
fn under_connection_loss() {
    let server = launch(&[]).start();
    let load = Load { mishap_one_in: 12, slow_one_in: 50, generation: 60, cold: 4_000, ..Load::default() };
    let judged = explained("loss", load, Rules::default(), load.run(&addresses(&server)));
    assert_many(&judged, &USUAL, 200);
    assert_many(&judged, &["cut", "unknown write"], 200);
}

#[test]
fn with_expiry() {
    let server = launch(&[]).start();
    let load = Load { lifetimes: &[0, 1, 1, 2], generation: 500, ..Load::default() };
    let judged = explained("expiry", load, Rules::default(), load.run(&addresses(&server)));
    assert_many(&judged, &USUAL, 200);
    assert_eq!(server.metrics().sum("cache_evictions_total"), 0.0);
    assert!(server.metrics().sum("cache_expirations_total") > 100.0, "hardly anything expired");
}

#[test]
fn with_eviction() {
    let server = launch(&[("MEMORY_BUDGET_BYTES", "4194304")]).start();
    let load = Load { long_one_in: 6, ..Load::default() };
    let judged = explained("eviction", load, Rules { may_evict: true }, load.run(&addresses(&server)));
    assert_many(&judged, &USUAL, 200);
    assert!(server.metrics().sum("cache_evictions_total") > 500.0, "hardly anything was evicted");
}
