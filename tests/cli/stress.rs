//! `stress`.

use crate::program::{Run, command, run, server, url};
use crate::support::{Server, eventually};
use crate::tampering::tampering_proxy;
use serde_json::Value;
use std::process::Stdio;

#[track_caller]
fn stress(server: &Server, arguments: &[&str]) -> Run {
    run(&[&["stress", "--timeout-ms", "60000", "--url", &url(server.address())], arguments].concat())
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn a_closed_loop_counts_everything_and_passes() {
    let server = server("2", &[]);
    let arguments = ["--connections", "8", "--duration", "1s", "--keys", "500", "--fill", "--json", "--seed", "7"];
    let result = stress(&server, &arguments).expect(0).json();
    assert_eq!((&result["result"], &result["seed"], &result["filled"]), (&"pass".into(), &7.into(), &500.into()));
    let (reads, writes) = (count(&result["reads"]["answers"]), count(&result["writes"]["answers"]));
    assert!(reads > 500, "{result}");
    assert_eq!(count(&result["requests"]), reads + writes, "{result}");
    assert_eq!((count(&result["hits"]), count(&result["misses"])), (reads, 0), "{result}");
    assert_eq!((count(&result["errors"]["total"]), &result["schedule"]), (0, &Value::Null), "{result}");
    let share = reads as f64 / (reads + writes) as f64;
    assert!((0.85..0.95).contains(&share), "nine tenths are reads: {share}");
    let latencies = &result["all"]["latency_us"];
    let percentiles = ["p50", "p90", "p95", "p99", "p99.9", "max"].map(|name| count(&latencies[name]));
    assert!(percentiles[0] > 0 && percentiles.is_sorted(), "{latencies}");
    assert_eq!(server.metrics().sum("cache_entries_total"), 500.0, "keys stay unless --delete is given");
    // The same seed has the same keys and values, so that they are all found.
    let again = stress(&server, &[&arguments[..6], &["--json", "--seed", "7", "--delete"]].concat()).expect(0).json();
    assert_eq!(count(&again["misses"]), 0, "{again}");
    assert_eq!(server.metrics().sum("cache_entries_total"), 0.0, "--delete leaves nothing");
}

#[test]
fn an_open_loop_has_the_requests_of_its_schedule() {
    let server = server("1", &[]);
    let arguments = ["--connections", "4", "--duration", "2s", "--rate", "200", "--keys", "50", "--fill", "--json"];
    let result = stress(&server, &arguments).expect(0).json();
    let schedule = &result["schedule"];
    assert_eq!(count(&schedule["scheduled"]), 400, "{result}");
    assert_eq!(count(&result["requests"]) + count(&schedule["unsent"]), 400, "{result}");
    assert!(count(&result["requests"]) > 40, "some of them were sent: {result}");
}

#[test]
fn waiting_for_the_server_counts_as_latency_in_an_open_loop() {
    // A peer that takes 50 ms for each answer and is asked a hundred times a second falls behind by more and more.
    let server = server("1", &[]);
    let address = tampering_proxy(&server, |_, _| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        false
    });
    let address = url(address);
    let common = ["stress", "--url", &address, "--connections", "1", "--read-share", "1", "--duration", "1s", "--json"];
    let open = run(&[&common[..], &["--rate", "100"]].concat()).expect(0).json();
    assert_eq!(count(&open["schedule"]["scheduled"]), 100, "{open}");
    assert!(count(&open["schedule"]["unsent"]) >= 50, "{open}");
    assert!(count(&open["all"]["latency_us"]["max"]) > 400_000, "{open}");
    let late = run(&[&common[..], &["--rate", "100", "--p99-ms", "60000"]].concat()).expect(1).json();
    assert!(late["reasons"][0].as_str().is_some_and(|reason| reason.contains("could not be sent")), "{late}");
}

#[test]
fn reads_of_absent_keys_are_misses_and_ttls_are_set() {
    let server = server("1", &[]);
    let common = ["--connections", "2", "--duration", "500ms", "--keys", "10", "--json"];
    let reads = stress(&server, &[&common[..], &["--read-share", "1"]].concat()).expect(0).json();
    assert_eq!((count(&reads["hits"]), count(&reads["writes"]["answers"])), (0, 0), "{reads}");
    assert!(count(&reads["misses"]) > 10, "{reads}");
    let writes = ["--read-share", "0", "--ttl", "1000", "--value-bytes", "64-4096", "--seed", "3"];
    let writes = stress(&server, &[&common[..], &writes].concat()).expect(0).json();
    assert_eq!(count(&writes["reads"]["answers"]), 0, "{writes}");
    let answer = server.client().get_path("/v1/kv/stress-3-64-4096-0?includeMeta=true").expect_status(200).json();
    let length = answer["value"].as_str().map_or(0, str::len);
    assert!((64..=4096).contains(&length) && answer["ttlSec"].as_u64().is_some_and(|left| left > 900), "{answer}");
}

#[test]
fn a_skewed_run_prints_a_table() {
    let server = server("1", &[]);
    let arguments = ["--connections", "4", "--duration", "500ms", "--distribution", "zipf", "--keys", "1000"];
    let passed = stress(&server, &arguments).expect(0);
    for part in ["seed ", "zipf 0.99", "closed loop", "reads ", "writes ", "all ", "hits ", "PASS"] {
        assert!(passed.stdout.contains(part), "{part}: {}", passed.stdout);
    }
}

#[test]
fn errors_fail_a_run_beyond_the_share_that_is_allowed() {
    let server = server("1", &[("MAX_ITEM_BYTES", "50")]);
    let common = ["--connections", "2", "--duration", "1s", "--read-share", "0.5", "--seed", "5", "--json"];
    let failed = stress(&server, &common).expect(1).json();
    assert_eq!((&failed["result"], &failed["errors"]["total"]), (&"fail".into(), &failed["errors"]["status"]["413"]));
    let share = failed["errors"]["share"].as_f64().unwrap_or_default();
    assert!((0.3..0.7).contains(&share), "every write fails: {failed}");
    stress(&server, &[&common[..], &["--max-error-share", "0.9"]].concat()).expect(0);
    let slow =
        stress(&server, &[&common[..], &["--max-error-share", "0.9", "--rate", "200", "--p99-ms", "0.001"]].concat())
            .expect(1);
    assert!(slow.stdout.contains("p99 must be below 0.001 ms"), "{}", slow.stdout);
    run(&["stress", "--p99-ms", "5"]).expect(2);
}

#[test]
fn a_wrong_value_fails_whatever_share_is_allowed() {
    let server = server("1", &[]);
    let address = url(tampering_proxy(&server, |_, reads| reads % 50 == 49));
    let arguments = ["--connections", "2", "--duration", "500ms", "--keys", "20", "--fill", "--max-error-share", "1"];
    let failed = run(&[&["stress", "--url", &address, "--json"], &arguments[..]].concat()).expect(1).json();
    assert!(count(&failed["errors"]["wrong_value"]) > 0, "{failed}");
    assert!(
        failed["errors"]["examples"][0].as_str().is_some_and(|text| text.contains("expected the value")),
        "{failed}"
    );
}

#[test]
fn a_server_that_dies_is_an_error_of_connections() {
    let mut server = server("1", &[]);
    let address = url(server.address());
    let arguments = ["stress", "--url", &address, "--connections", "2", "--duration", "5s", "--keys", "10", "--json"];
    let child = command(&arguments, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    eventually("requests", || (server.metrics().sum("cache_misses_total") > 20.0).then_some(()));
    server.term();
    let output = child.wait_with_output().expect("it ends");
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1), "{result}");
    assert!(count(&result["errors"]["connection"]) > 0, "{result}");
}

#[test]
fn a_signal_ends_a_run_early_with_its_result() {
    let server = server("1", &[]);
    let address = url(server.address());
    let arguments = ["stress", "--url", &address, "--connections", "2", "--duration", "1h", "--rate", "100", "--json"];
    let child = command(&arguments, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    eventually("requests", || (server.metrics().sum("cache_misses_total") > 5.0).then_some(()));
    let pid = i32::try_from(child.id()).expect("process IDs fit");
    // SAFETY: kill takes plain numbers; the child has not been waited for, so its ID is still its own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0, "{}", std::io::Error::last_os_error());
    let output = child.wait_with_output().expect("it ends");
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &result["interrupted"]), (Some(0), &true.into()), "{result}");
    assert!(count(&result["schedule"]["scheduled"]) < 360_000, "only what was due by then: {result}");
}

#[test]
fn bad_arguments_are_not_understood() {
    for arguments in [
        &["--connections", "0"][..],
        &["--connections", "1025"],
        &["--duration", "soon"],
        &["--duration", "10"],
        &["--rate", "0"],
        &["--keys", "0"],
        &["--distribution", "normal"],
        &["--zipf-exponent", "-1"],
        &["--value-bytes", "9-3"],
        &["--read-share", "1.5"],
        &["--ttl", "0"],
        &["--seed", "x"],
        &["--max-error-share", "2"],
        &["--p99-ms", "0"],
        &["--url", "localhost:8080"],
        &["--url", "http://localhost:8080/v1"],
        &["--no-such-option"],
    ] {
        let refused = run(&[&["stress"], arguments].concat()).expect(2);
        assert!(refused.stderr.starts_with("error: ") && refused.stdout.is_empty(), "{refused:?}");
    }
    run(&["load-smoke", "--seconds", "0"]).expect(2);
    run(&["load-smoke", "--p95-ms", "fast"]).expect(2);
}
