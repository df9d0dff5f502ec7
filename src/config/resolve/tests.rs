//! Behaviours of a resolved configuration, on a machine that is made up.

use super::*;
use std::collections::BTreeMap;
use std::ffi::OsString;

fn machine() -> Host {
    Host { cpus: vec![2, 3, 5], cpu_quota: None, memory_bytes: Some(1 << 30), open_files_max: Some(1000) }
}

fn sources(environment: &[(&'static str, &str)]) -> Sources {
    let environment: BTreeMap<_, _> = environment.iter().map(|&(name, value)| (name, OsString::from(value))).collect();
    Sources { environment, ..Sources::default() }
}

fn load(environment: &[(&'static str, &str)]) -> Result<Config, Problems> {
    resolve(&sources(environment), machine(), None)
}

#[track_caller]
fn problem(environment: &[(&'static str, &str)]) -> String {
    let problems = load(environment).expect_err("it is refused");
    assert_eq!(problems.iter().count(), 1, "{problems}");
    problems.to_string()
}

const TOKEN: (&str, &str) = ("API_TOKEN", "0123456789abcdef0123456789abcdef");

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = load(&[]).unwrap();
    assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!((config.shards, config.cpus.as_slice()), (3, &[2, 3, 5][..]));
    assert_eq!((config.max_item_bytes, config.memory_budget_bytes), (268_435_456, Some((1 << 30) / 4 * 3)));
    assert_eq!((config.max_inflight, config.max_shard_mailbox, config.max_connections), (1000, 1000, 800));
    assert_eq!((config.request_timeout_ms, config.idle_timeout_ms, config.header_timeout_ms), (2000, 60_000, 10_000));
    assert_eq!((config.metrics_interval_ms, config.shutdown_timeout_ms), (1000, 5000));
    assert_eq!(config.log, LogConfig { level: LogLevel::Info, format: LogFormat::Json, file: None });
    assert!(!config.read_requires_auth);
    assert_eq!(config.warnings, Vec::<String>::new());
}

/// What tests and measurements go by is what a server goes by.
#[test]
fn a_core_without_a_configuration_goes_by_the_same_defaults() {
    let host = Host { open_files_max: None, ..machine() };
    let (config, core) = (resolve(&sources(&[]), host, None).unwrap(), crate::engine::rules::Settings::default());
    assert_eq!((core.max_item_bytes, core.read_requires_auth), (config.max_item_bytes, config.read_requires_auth));
    assert_eq!((core.request_timeout_ms, core.idle_timeout_ms), (config.request_timeout_ms, config.idle_timeout_ms));
    assert_eq!((core.header_timeout_ms, core.slow_request_ms), (config.header_timeout_ms, config.slow_request_ms));
    assert_eq!(core.metrics_interval_ms, config.metrics_interval_ms);
    assert_eq!((core.inflight_max, core.connections_max), (config.max_inflight, config.max_connections));
    assert!(core.tokens.is_empty());
}

#[test]
fn the_policy_of_eviction_is_chosen_at_start_and_stays() {
    assert_eq!(load(&[]).unwrap().eviction_policy, EvictionPolicy::S3Fifo);
    let running = load(&[("EVICTION_POLICY", "LRU")]).unwrap();
    assert_eq!(running.eviction_policy, EvictionPolicy::Lru);
    assert!(problem(&[("EVICTION_POLICY", "random")]).contains("one of s3fifo, lru"));
    let reloaded = resolve(&sources(&[("EVICTION_POLICY", "s3fifo")]), machine(), Some(&running)).unwrap();
    assert_eq!(reloaded.eviction_policy, EvictionPolicy::Lru);
    assert!(reloaded.warnings.iter().any(|line| line.contains("EVICTION_POLICY stays lru")), "{:?}", reloaded.warnings);
}

#[test]
fn ports_of_shards_have_room_beside_the_common_one() {
    assert_eq!(load(&[]).unwrap().shard_ports_from, None);
    let from = |from: &'static str, port: &'static str| [("SHARD_PORTS_FROM", from), ("PORT", port), ("SHARDS", "4")];
    for (first, port) in [("8081", "8080"), ("8076", "8080"), ("65532", "8080"), ("0", "0"), ("0", "1"), ("1", "0")] {
        assert_eq!(load(&from(first, port)).unwrap().shard_ports_from, Some(first.parse().unwrap()), "{first} {port}");
    }
    for (first, port) in [("8080", "8080"), ("8077", "8080")] {
        let line = problem(&from(first, port));
        assert!(line.contains("PORT=8080 is one of the 4 ports from there on"), "{line}");
    }
    let line = problem(&from("65533", "8080"));
    assert!(line.contains("4 shards would need the ports up to 65536"), "{line}");
}

#[test]
fn ports_of_shards_stay_until_a_restart() {
    let running = load(&[("SHARD_PORTS_FROM", "9000")]).unwrap();
    let reloaded = resolve(&sources(&[]), machine(), Some(&running)).unwrap();
    assert_eq!(reloaded.shard_ports_from, Some(9000));
    let stays = "SHARD_PORTS_FROM stays 9000 until a restart makes it unset";
    assert!(reloaded.warnings.iter().any(|line| line == stays), "{:?}", reloaded.warnings);
}

#[test]
fn a_budget_that_is_too_small_for_its_shards_is_doubted() {
    let config = load(&[("MEMORY_BUDGET_BYTES", "1MiB"), ("SHARDS", "3")]).unwrap();
    assert!(config.warnings.iter().any(|line| line.contains("512 KiB")), "{:?}", config.warnings);
    assert_eq!(config.memory_budget_bytes, Some(1 << 20));
}

#[test]
fn without_a_token_one_is_made_for_this_machine_alone() {
    let (one, other) = (load(&[]).unwrap(), load(&[]).unwrap());
    assert!(one.listen.ip().is_loopback());
    assert_eq!(one.generated_token.as_ref(), one.tokens.first());
    assert_ne!(one.generated_token, other.generated_token);
    assert!(problem(&[("HOST", "0.0.0.0")]).contains("set API_TOKEN or API_TOKEN_FILE"));
    assert!(problem(&[("HOST", "::")]).contains("set API_TOKEN or API_TOKEN_FILE"));
    for loopback in ["127.9.9.9", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"] {
        assert!(load(&[("HOST", loopback)]).is_ok(), "{loopback}");
    }
}

#[test]
fn with_a_token_every_address_is_served() {
    let config = load(&[TOKEN]).unwrap();
    assert_eq!(config.listen.ip(), IpAddr::from([0, 0, 0, 0]));
    assert_eq!((config.generated_token, config.tokens.len()), (None, 1));
}

#[test]
fn each_range_ends_where_the_table_says() {
    // The last port is the first one of a single shard only.
    let one_shard = ("SHARDS", "1");
    for setting in settings::ALL {
        let (min, max) = match setting.allowed {
            Allowed::Integer { min, max } | Allowed::Bytes { min, max, .. } => (min, max),
            _ => continue,
        };
        for good in [min, max] {
            let result = load(&[TOKEN, one_shard, (setting.name, &good.to_string())]);
            assert!(result.is_ok(), "{}={good}: {result:?}", setting.name);
        }
        let below = if min > 1 { (min - 1).to_string() } else { "-1".to_owned() };
        for bad in [below, (max + 1).to_string(), "+5".to_owned(), "1e3".to_owned(), "5.0".to_owned(), "x".to_owned()] {
            let line = problem(&[TOKEN, one_shard, (setting.name, &bad)]);
            assert!(line.starts_with(&format!("{}=\"{bad}\" from environment", setting.name)), "{line}");
            assert!(line.ends_with(&format!("allowed: {}", setting.allowed)), "{line}");
        }
    }
}

#[test]
fn numbers_of_bytes_may_have_a_unit() {
    assert_eq!(load(&[("MEMORY_BUDGET_BYTES", "2 GiB")]).unwrap().memory_budget_bytes, Some(2 << 30));
    assert_eq!(load(&[("MAX_ITEM_BYTES", "16KiB")]).unwrap().max_item_bytes, 16 << 10);
    assert_eq!(load(&[("MEMORY_BUDGET_BYTES", "0")]).unwrap().memory_budget_bytes, None);
    problem(&[("MEMORY_BUDGET_BYTES", "20000000000000000000GiB")]);
    problem(&[("MEMORY_BUDGET_BYTES", "2GB")]);
    problem(&[("MAX_ITEM_BYTES", "0")]);
}

#[test]
fn words_and_flags_are_taken_in_any_case() {
    let config = load(&[("LOG_LEVEL", "WARN"), ("LOG_FORMAT", "Text"), ("READ_REQUIRES_AUTH", "TRUE")]).unwrap();
    assert_eq!((config.log.level, config.log.format), (LogLevel::Warn, LogFormat::Text));
    assert!(config.read_requires_auth);
    assert!(problem(&[("LOG_LEVEL", "verbose")]).contains("one of debug, info, warn, error"));
    assert!(problem(&[("READ_REQUIRES_AUTH", "yes")]).contains("true or false"));
}

#[test]
fn tokens_of_both_kinds_are_united() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    std::fs::write(&path, "two\nthree,one\n").unwrap();
    let config = load(&[("API_TOKEN", "one,00123"), ("API_TOKEN_FILE", path.to_str().unwrap())]).unwrap();
    let tokens: Vec<_> = config.tokens.iter().map(Token::expose).collect();
    assert_eq!(tokens, ["one", "00123", "two", "three"]);
    std::fs::write(&path, "\n").unwrap();
    assert!(problem(&[("API_TOKEN_FILE", path.to_str().unwrap())]).contains("no token in it"));
    assert!(problem(&[("API_TOKEN_FILE", "/nowhere/tokens")]).contains("No such file"));
}

#[test]
fn a_bad_token_is_one_problem_and_is_not_shown() {
    let line = problem(&[("API_TOKEN", "s3cret s3cret"), ("HOST", "0.0.0.0")]);
    assert!(line.contains("visible ASCII") && !line.contains("s3cret"), "{line}");
}

#[test]
fn a_log_file_needs_a_directory() {
    assert!(problem(&[("LOG_FILE", "/nowhere/at/all.log")]).contains("directory does not exist"));
    assert!(problem(&[("LOG_FILE", "/tmp")]).contains("is a directory"));
    assert!(load(&[("LOG_FILE", "plain-name.log")]).is_ok());
}

#[test]
fn a_host_that_does_not_resolve_is_refused() {
    assert!(problem(&[("HOST", "no.such.name.invalid")]).contains("no name that resolves"));
    assert!(problem(&[("HOST", "not a name")]).contains("HOST=\"not a name\""));
}

#[test]
fn doubtful_values_are_warned_of() {
    let warnings = |name, value| load(&[TOKEN, (name, value)]).unwrap().warnings;
    assert!(warnings("MEMORY_BUDGET_BYTES", "4096").iter().any(|w| w.contains("meant in bytes")));
    assert!(warnings("MAX_CONNECTIONS", "100000").iter().any(|w| w.contains("limit of open files")));
    assert!(load(&[("API_TOKEN", "short")]).unwrap().warnings[0].contains("32 characters"));
}

#[test]
fn a_quota_or_a_huge_machine_bounds_the_default_shards() {
    let of = |cpus, cpu_quota| {
        let host = Host { cpus: (0..cpus).collect(), cpu_quota, ..machine() };
        resolve(&sources(&[]), host, None).unwrap().shards
    };
    assert_eq!((of(8, Some(3)), of(2, Some(3)), of(1000, None)), (3, 2, 256));
}

#[test]
fn a_reload_keeps_what_only_a_restart_can_change() {
    let running = load(&[]).unwrap();
    let wanted = sources(&[("PORT", "9"), ("SHARDS", "7"), ("MAX_INFLIGHT", "5")]);
    let config = resolve(&wanted, machine(), Some(&running)).unwrap();
    assert_eq!((config.listen, config.shards, config.max_inflight), (running.listen, 3, 5));
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    assert_eq!(config.generated_token, running.generated_token);
}

#[test]
fn a_reload_that_takes_the_last_token_from_an_open_server_is_refused() {
    let running = load(&[TOKEN]).unwrap();
    let problems = resolve(&sources(&[]), machine(), Some(&running)).expect_err("it is refused");
    assert!(problems.to_string().contains("set API_TOKEN"), "{problems}");
}
