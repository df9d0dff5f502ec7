//! SIGHUP: the configuration is read again and applied without a restart, or refused as a whole.

use crate::support::proc_fs::resident_bytes;
use crate::support::{Client, Launch, Server, TOKEN, eventually};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const OTHER_TOKEN: &str = "another-token-of-more-than-thirty-two-characters";

/// Writes the file of the configuration.
fn configure(config: &Path, tokens: &str, rest: &str) {
    fs::write(config, format!("api_token = \"{tokens}\"\n{rest}")).expect("a file");
}

fn start(config: &Path, variables: &[(&str, &str)]) -> Server {
    Launch::new(variables)
        .without("API_TOKEN")
        .without("MEMORY_BUDGET_BYTES")
        .args(&["--config", config.to_str().expect("a path of text")])
        .start()
}

/// A server that was told by a reload to log to a file.
fn start_and_log_to(config: &Path, log: &Path) -> Server {
    configure(config, TOKEN, "");
    let server = start(config, &[]);
    configure(config, TOKEN, &format!("log_file = {log:?}\n"));
    reload(&server, "success");
    server
}

fn reloads(server: &Server, result: &str) -> f64 {
    server.metrics().sum_where("cache_config_reloads_total", &[("result", result)])
}

fn reload(server: &Server, result: &str) {
    // Cores take note of a reload one after the other: what one of them told may be old news to the next one asked.
    let before = eventually("all cores agree", || {
        let counts: Vec<f64> = (0..8).map(|_| reloads(server, result)).collect();
        counts.iter().all(|count| *count == counts[0]).then_some(counts[0])
    });
    server.signal(libc::SIGHUP);
    eventually("the reload is counted", || (reloads(server, result) > before).then_some(()));
}

fn client_with(server: &Server, token: &str) -> Client {
    server.client_with(Some(token))
}

#[test]
fn a_token_rotates_with_both_valid_in_between_and_no_connection_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    configure(&config, TOKEN, "");
    let server = start(&config, &[("SHARDS", "2")]);
    let (mut old, mut new) = (client_with(&server, TOKEN), client_with(&server, OTHER_TOKEN));
    old.put_value("k", "1").expect_status(201);
    new.put_value("k", "2").expect_status(401);
    configure(&config, &format!("{TOKEN},{OTHER_TOKEN}"), "");
    reload(&server, "success");
    old.put_value("k", "3").expect_status(200);
    new.put_value("k", "4").expect_status(200);
    configure(&config, OTHER_TOKEN, "");
    reload(&server, "success");
    eventually("the old token is refused", || (old.put_value("k", "5").status == 401).then_some(()));
    new.put_value("k", "6").expect_status(200);
}

#[test]
fn a_smaller_budget_evicts_and_no_request_fails() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    let write = |budget: u64| {
        configure(&config, TOKEN, &format!("memory_budget_bytes = {budget}\n"));
    };
    write(64 << 20);
    let server = start(&config, &[("SHARDS", "2")]);
    let mut client = server.client();
    let value = format!("\"{}\"", "v".repeat(10_000));
    for n in 0..2_000 {
        client.put_value(&format!("k{n}"), &value).expect_status(201);
    }
    let memory = |server: &Server| server.metrics().sum("cache_memory_bytes");
    assert!(memory(&server) > 16e6);
    write(4 << 20);
    reload(&server, "success");
    eventually("memory is below the new budget", || (memory(&server) <= f64::from(4 << 20)).then_some(()));
    assert_eq!(server.metrics().single("memory_budget_bytes"), f64::from(4 << 20));
    assert!(server.metrics().sum("cache_entries_total") > 0.0, "the newest entries stay");
    client.put_value("after", &value).expect_status(201);
}

/// Somebody is being sent a value meanwhile, and does not read: until he did, every write was refused.
#[test]
fn a_far_smaller_budget_takes_writes_whoever_reads_slowly() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    configure(&config, TOKEN, "memory_budget_bytes = 0\n");
    let server = start(&config, &[("SHARDS", "1")]);
    let (mut client, mut reader) = (server.client(), server.connect());
    let value: Vec<u8> = (0..3_100_000).map(|n| (n % 251) as u8).collect();
    client.put_bytes("long", "x/y", &value).expect_status(201);
    reader.send("GET /v1/kv/long?raw=true HTTP/1.1\r\nHost: t\r\n\r\n");
    configure(&config, TOKEN, "memory_budget_bytes = \"7 MiB\"\n");
    reload(&server, "success");
    eventually("writes are taken", || (client.put_value("k", "1").status == 201).then_some(()));
    (0..1_000).for_each(|n| drop(client.put_bytes(&format!("k{n}"), "x/y", &[7; 1_000]).expect_status(201)));
    assert!(reader.answer().body == value, "what is being sent stays as it was");
    client.get("long").expect_status(404);
}

#[test]
fn a_smaller_budget_under_load_frees_resident_memory_and_fails_no_request() {
    const SMALL: u64 = 16 << 20;
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    let write = |budget: u64| {
        configure(&config, TOKEN, &format!("memory_budget_bytes = {budget}\n"));
    };
    write(96 << 20);
    let server = start(&config, &[("SHARDS", "2")]);
    let value = format!("\"{}\"", "v".repeat(8_000));
    let mut client = server.client();
    (0..9_000).for_each(|n| drop(client.put_value(&format!("k{n}"), &value).expect_status(201)));
    assert!(resident_bytes(server.pid()) > 64 << 20, "it was full");
    let stop = AtomicBool::new(false);
    let requests: u64 = thread::scope(|scope| {
        let work = |worker: u64| {
            let (mut client, mut sent) = (server.client(), 0);
            while !stop.load(Ordering::Relaxed) {
                let key = format!("k{}", (sent * 7 + worker) % 9_000);
                let answer = if sent % 4 == 0 { client.put_value(&key, &value) } else { client.get(&key) };
                assert!(matches!(answer.status, 200 | 201 | 404), "{answer:?}");
                sent += 1;
            }
            sent
        };
        let workers: Vec<_> = (0..3).map(|worker| scope.spawn(move || work(worker))).collect();
        write(SMALL);
        reload(&server, "success");
        // The program itself takes some 10 MB, more in a build for tests.
        eventually("resident memory follows", || (resident_bytes(server.pid()) < SMALL + (20 << 20)).then_some(()));
        assert!(server.metrics().sum("cache_memory_bytes") <= SMALL as f64);
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().map(|worker| worker.join().expect("no request failed")).sum()
    });
    assert!(requests > 10, "{requests}");
}

#[test]
fn a_bad_file_changes_nothing_and_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    configure(&config, TOKEN, "max_item_bytes = 1000\n");
    let server = start(&config, &[]);
    configure(&config, OTHER_TOKEN, "max_item_bytes = \"many\"\n");
    reload(&server, "failure");
    let line = server.log_line("the refusal", |line| line.contains("refused; nothing has changed"));
    assert!(line.contains("MAX_ITEM_BYTES") && line.contains("many"), "{line}");
    client_with(&server, TOKEN).put_value("k", "1").expect_status(201);
}

/// Found by operators: logrotate's SIGHUP met a file with a mistake in it, and the server went on writing to the old log.
#[test]
fn a_rotated_log_file_is_let_go_even_if_the_configuration_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (config, log) = (dir.path().join("config.toml"), dir.path().join("log"));
    let server = start_and_log_to(&config, &log);
    fs::rename(&log, dir.path().join("log.1")).expect("a rotation");
    configure(&config, TOKEN, "max_inflight = \"many\"\n");
    reload(&server, "failure");
    eventually("the refusal is in a new file", || {
        fs::read_to_string(&log).ok().filter(|text| text.contains("refused; nothing has changed"))
    });
}

#[test]
fn a_rotated_log_file_is_let_go_and_the_level_follows() {
    let dir = tempfile::tempdir().expect("a directory");
    let (config, log) = (dir.path().join("config.toml"), dir.path().join("log"));
    let server = start_and_log_to(&config, &log);
    eventually("the new file has lines", || fs::read_to_string(&log).ok().filter(|text| !text.is_empty()));
    fs::rename(&log, dir.path().join("log.1")).expect("a rotation");
    configure(&config, TOKEN, &format!("log_file = {log:?}\nlog_level = \"debug\"\n"));
    reload(&server, "success");
    server.client().get("k").expect_status(404);
    eventually("requests are logged to the new file", || {
        fs::read_to_string(&log).ok().filter(|text| text.contains("\"request\"")).map(|_| ())
    });
}
