//! What keeps the server from starting is told in one line, with what to do about it.

use crate::support::{Launch, Server};

/// The exit code for a machine that does not give the server what it needs: `EX_UNAVAILABLE` of sysexits.
const EX_UNAVAILABLE: i32 = 69;

/// Starts what cannot start; gives the one line that says why.
#[track_caller]
fn refusal(launch: &Launch) -> String {
    let (status, output) = launch.run_to_end();
    assert_eq!(status.code(), Some(EX_UNAVAILABLE), "{output}");
    let lower = output.to_lowercase();
    assert!(!lower.contains("panicked") && !lower.contains("backtrace"), "{output}");
    let told: Vec<&str> = output.lines().filter(|line| !is_chatter(line)).collect();
    assert_eq!(told.len(), 1, "{output}");
    told[0].to_owned()
}

/// Whether a line is a log record that does not tell why the server ends.
fn is_chatter(line: &str) -> bool {
    let record: Option<serde_json::Value> = serde_json::from_str(line).ok();
    record.is_some_and(|record| record["level"].as_str().is_some_and(|level| ["info", "warn"].contains(&level)))
}

#[track_caller]
fn assert_names(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "no `{word}` in: {line}");
    }
}

#[test]
fn too_little_locked_memory_is_told_with_how_to_raise_it() {
    let line = refusal(&Launch::new(&[("SHARDS", "2")]).under(&["prlimit", "--memlock=65536:65536"]));
    assert_names(&line, &["locked memory is 65536 ", "LimitMEMLOCK", "ulimit -l"]);
}

#[test]
fn too_few_files_are_told_with_how_to_raise_them() {
    let line = refusal(&Launch::new(&[("SHARDS", "2")]).under(&["prlimit", "--nofile=40:40"]));
    assert_names(&line, &["open files is 40 ", "LimitNOFILE", "ulimit -n"]);
}

#[test]
fn a_second_server_on_the_same_port_is_refused() {
    // Both would ask for SO_REUSEPORT, with which the kernel lets them share the port and each its half of the clients.
    let server = Server::start(&[("SHARDS", "2")]);
    let port = server.address().port().to_string();
    let line = refusal(&Launch::new(&[("PORT", &port), ("SHARDS", "2")]));
    assert_names(&line, &[&port, "in use", "set PORT"]);
    server.client().get_path("/healthz").expect_status(200);
}

#[test]
fn a_port_of_a_core_that_somebody_has_is_told_and_nobody_is_joined() {
    let server = Server::start(&[("SHARDS", "2"), ("SHARD_PORTS_FROM", "0")]);
    let topology: serde_json::Value = server.client().get_path("/v1/topology").expect_status(200).json();
    let taken = [server.address().port().to_string(), topology["ports"][1].to_string()];
    for port in taken {
        let line = refusal(&Launch::new(&[("SHARDS", "1"), ("SHARD_PORTS_FROM", &port)]));
        assert_names(&line, &[&port, "in use", "set SHARD_PORTS_FROM"]);
    }
    server.client().get_path("/healthz").expect_status(200);
}
