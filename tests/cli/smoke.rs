//! `load-smoke`.

use crate::program::{closed_address, run, run_in, server, url};
use crate::support::{Launch, Server};
use crate::tampering::tampering_proxy;

#[track_caller]
fn smoke_of(server: &Server) -> crate::program::Run {
    run(&["load-smoke", "--seconds", "1", "--p95-ms", "60000", "--url", &url(server.address())])
}

#[test]
fn a_healthy_server_passes_and_keeps_no_key() {
    let server = server("2", &[]);
    let passed = smoke_of(&server).expect(0);
    assert!(passed.stdout.trim_end().ends_with("PASS"), "{}", passed.stdout);
    let checks = passed.stdout.lines().filter(|line| line.starts_with("  ok ")).count();
    assert_eq!(checks, cache_service::load::contract::CHECKS.len(), "{}", passed.stdout);
    for heading in ["p50 ms", "p90", "p95", "p99", "p99.9", "max"] {
        assert!(passed.stdout.contains(heading), "{heading}: {}", passed.stdout);
    }
    let all = passed.stdout.lines().find(|line| line.starts_with("all ")).expect("a row for all requests");
    let cells: Vec<f64> = all.split_whitespace().skip(1).map(|cell| cell.parse().expect("a number")).collect();
    assert_eq!(cells.len(), 9, "{all}");
    assert!(cells[0] > 100.0 && cells[1] == 0.0 && cells[3..].is_sorted() && cells[3] > 0.0, "{all}");
    assert_eq!(passed.stderr, "", "no progress where nobody looks");
    let metrics = server.metrics();
    assert_eq!(metrics.sum("cache_entries_total"), 0.0, "keys are left");
    assert!(metrics.sum("cache_hits_total") > 100.0);
}

#[test]
fn the_address_comes_from_the_settings_and_reads_may_need_the_token() {
    let server = server("1", &[("READ_REQUIRES_AUTH", "true")]);
    let port = server.address().port().to_string();
    run_in(&["load-smoke", "--seconds", "1", "--p95-ms", "60000"], &[("PORT", &port)]).expect(0);
}

#[test]
fn a_wrong_token_is_told() {
    let server = server("1", &[]);
    let failed = run_in(&["load-smoke", "--url", &url(server.address())], &[("API_TOKEN", "another-token")]).expect(1);
    assert!(failed.stdout.contains("401 UNAUTHORIZED") && failed.stdout.contains("API_TOKEN"), "{}", failed.stdout);
    assert!(!failed.stdout.contains("another-token"), "{}", failed.stdout);
    assert!(failed.stdout.contains("\nFAIL: "), "{}", failed.stdout);
}

#[test]
fn no_token_and_no_port_are_told_in_one_line() {
    for (arguments, environment, told) in [
        (&["load-smoke"][..], ("API_TOKEN", ""), "--api-token"),
        (&["stress"], ("API_TOKEN", ""), "--api-token"),
        (&["load-smoke"], ("PORT", "0"), "--port"),
    ] {
        let failed = run_in(arguments, &[environment]).expect(1);
        assert_eq!((failed.stdout.as_str(), failed.stderr.lines().count()), ("", 1), "{failed:?}");
        assert!(failed.stderr.contains(told), "{}", failed.stderr);
    }
}

#[test]
fn a_closed_port_is_told() {
    let address = url(closed_address());
    let failed = run(&["load-smoke", "--url", &address]).expect(1);
    assert!(failed.stdout.contains(&format!("FAIL: cannot connect to {address}: Connection refused")), "{failed:?}");
    let failed = run(&["stress", "--url", &address]).expect(1);
    assert!(failed.stderr.contains("Connection refused") && failed.stderr.lines().count() == 1, "{failed:?}");
}

#[test]
fn a_server_that_takes_no_value_fails_the_contract() {
    let server = server("1", &[("MAX_ITEM_BYTES", "2")]);
    let failed = smoke_of(&server).expect(1);
    assert!(failed.stdout.contains("413 PAYLOAD_TOO_LARGE"), "{}", failed.stdout);
    assert!(failed.stdout.contains("FAIL: the contract is not kept"), "{}", failed.stdout);
}

#[test]
fn a_server_that_refuses_what_is_too_much_for_it_fails() {
    let server = server("2", &[("MAX_CONNECTIONS", "4")]);
    let failed = smoke_of(&server).expect(1);
    assert!(failed.stdout.contains("503 SERVICE_UNAVAILABLE"), "{}", failed.stdout);
}

#[test]
fn a_server_that_is_too_slow_fails() {
    let server = server("1", &[]);
    let arguments = ["load-smoke", "--seconds", "1", "--p95-ms", "0.001", "--url", &url(server.address())];
    let failed = run(&arguments).expect(1);
    assert!(failed.stdout.contains("FAIL: p95 is ") && failed.stdout.contains("must be below 0.001 ms"), "{failed:?}");
}

#[test]
fn a_wrong_value_under_load_fails() {
    let server = server("1", &[]);
    let address = tampering_proxy(&server, |line, reads| !line.contains("-check-") && reads % 100 == 99);
    let failed = run(&["load-smoke", "--seconds", "1", "--p95-ms", "60000", "--url", &url(address)]).expect(1);
    assert!(failed.stdout.contains("answers had a wrong value"), "{}", failed.stdout);
    assert!(failed.stdout.contains("for example GET /v1/kv/load-smoke-"), "{}", failed.stdout);
    assert_eq!(server.metrics().sum("cache_entries_total"), 0.0, "keys are deleted after a failure too");
}

#[test]
fn a_wrong_value_in_a_check_fails() {
    let server = server("1", &[]);
    let address = tampering_proxy(&server, |_, _| true);
    let failed = run(&["load-smoke", "--url", &url(address)]).expect(1);
    assert!(failed.stdout.contains("  FAIL  GET: value, type, version, ETag"), "{}", failed.stdout);
    assert!(failed.stdout.contains("load: not tried"), "{}", failed.stdout);
}

#[test]
fn what_is_no_cache_fails() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one");
    std::thread::spawn(move || {
        for mut peer in listener.incoming().map_while(Result::ok) {
            std::io::Write::write_all(&mut peer, b"SSH-2.0-OpenSSH_9.9\r\n").ok();
        }
    });
    let failed = run(&["load-smoke", "--url", &url(address)]).expect(1);
    assert!(failed.stdout.contains("not HTTP"), "{}", failed.stdout);
}

#[test]
fn a_bad_configuration_is_refused_as_everywhere() {
    let refused = run_in(&["load-smoke"], &[("SHARDS", "0")]).expect(78);
    assert!(refused.stderr.contains("SHARDS=\"0\""), "{}", refused.stderr);
    let started = Launch::new(&[]).args(&["load-smoke", "--no-such-option"]).run_to_end();
    assert_eq!(started.0.code(), Some(2), "{}", started.1);
}
