//! No descriptor is left: at the start, and for whatever besides connections needs one while the server runs. (For
//! connections: `api/lifecycle.rs`.)

use crate::support::{Launch, Server, TOKEN, eventually, proc_fs};
use std::fs;
use tempfile::TempDir;

/// The exit code for a machine that does not give the server what it needs.
const EX_UNAVAILABLE: i32 = 69;
/// Limits under which a server of two cores cannot start, and some with which it can. A program of less than 10 cannot
/// even be loaded with its libraries and have its signals.
const LIMITS: std::ops::Range<u64> = 10..80;

#[test]
fn with_few_descriptors_the_server_starts_and_serves_or_says_why_not() {
    let (mut started, mut refused) = (0, 0);
    for limit in LIMITS.step_by(3) {
        let launch = Launch::new(&[("SHARDS", "2")]).under(&["prlimit", &format!("--nofile={limit}:{limit}")]);
        if started > 0 {
            launch.start().client().put_value("k", "1").expect_status(201);
            started += 1;
            continue;
        }
        let address = format!("127.0.0.1:{}", crate::support::free_ports(1));
        let launch = Launch::new(&[("SHARDS", "2"), ("PORT", address.split(':').nth(1).expect("a port"))])
            .under(&["prlimit", &format!("--nofile={limit}:{limit}")]);
        // The first limit that suffices ends this: what is needed is known before anything is opened.
        if limit > 64 {
            launch.start().client().put_value("k", "1").expect_status(201);
            started += 1;
            continue;
        }
        let (status, output) = launch.run_to_end();
        assert_eq!(status.code(), Some(EX_UNAVAILABLE), "{limit} descriptors: {output}");
        assert!(output.contains("LimitNOFILE") && !output.contains("panicked"), "{limit} descriptors: {output}");
        refused += 1;
    }
    assert!(started > 2 && refused > 10, "{started} limits suffice, {refused} do not");
}

#[test]
fn with_no_descriptor_left_a_reload_is_refused_and_all_goes_on_as_before() {
    let folder = TempDir::new().expect("a folder to work in");
    let [settings, token, log] = ["settings", "token", "log"].map(|name| folder.path().join(name));
    fs::write(&token, TOKEN).expect("a file can be made");
    fs::write(&settings, format!("API_TOKEN_FILE={}\n", token.display())).expect("a file can be made");
    let launch = Launch::new(&[("SHARDS", "2"), ("METRICS_INTERVAL_MS", "100")]).without("API_TOKEN");
    let server = launch.args(&["--env-file", settings.to_str().expect("the path is text")]).start();
    fs::write(&settings, format!("API_TOKEN_FILE={}\nLOG_FILE={}\n", token.display(), log.display())).expect("a file");
    let mut client = server.client();
    client.put_value("k", "1").expect_status(201);
    let mut scraper = server.client_with(None);
    let mut count = |result: &str| {
        let text = scraper.get_path("/metrics").expect_status(200);
        let scrape = crate::support::metrics::Metrics::parse(text.text());
        assert!(scrape.single("process_resident_memory_bytes") >= 0.0);
        scrape.sum_where("cache_config_reloads_total", &[("result", result)])
    };
    assert_eq!(count("failure"), 0.0);

    let before = proc_fs::set_soft_limit(server.pid(), libc::RLIMIT_NOFILE, 3);
    server.signal(libc::SIGHUP);
    eventually("the reload is refused", || (count("failure") > 0.0).then_some(()));
    server.log_line("why", |line| line.contains("refused; nothing has changed") && line.contains("open files"));
    // Long enough for the supervisor to have looked into /proc without a descriptor.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(count("failure") > 0.0);
    client.put_value("k", "2").expect_status(200);
    assert_eq!(client.get("k").expect_status(200).json()["value"], 2);

    proc_fs::set_soft_limit(server.pid(), libc::RLIMIT_NOFILE, before);
    server.signal(libc::SIGHUP);
    eventually("the reload is done", || (count("success") > 0.0).then_some(()));
    eventually("the log goes to its file", || fs::read_to_string(&log).ok()?.contains("in force").then_some(()));
    client.put_value("k", "3").expect_status(200);
    proc_is_seen_again(&server);
}

/// The gauges of the process are back.
#[track_caller]
fn proc_is_seen_again(server: &Server) {
    eventually("the process sees itself", || {
        (server.metrics().single("process_resident_memory_bytes") > 0.0).then_some(())
    });
}
