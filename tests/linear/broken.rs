//! A server that now and then gives a stale answer is found out: the checks of this binary can fail.

use crate::load::Load;
use crate::model::Rules;
use crate::report::judge_all;
use crate::runs::{addresses, launch};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Builds the server with the feature `stale-read`, and gives its path. It is an example and no binary, so that the
/// server that all other tests use stays where it is; the same profile, so that only this crate is compiled anew.
fn stale_server() -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--locked", "--features", "stale-read", "--example", "stale_server"]);
    command.args(["--message-format", "json-render-diagnostics"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.stderr(Stdio::inherit()).output().expect("cargo runs these tests");
    assert!(output.status.success(), "the server with a fault cannot be built");
    let messages = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let is_it = |message: &Value| message["target"]["name"] == "stale_server";
    let mut programs = messages.filter(is_it).filter_map(|message| Some(message["executable"].as_str()?.into()));
    programs.next_back().expect("an example has an executable")
}

#[test]
fn stale_reads_are_found() {
    let server = launch(&[]).program(stale_server()).start();
    server.log_line("it says what it is", |line| line.contains("STALE ANSWERS ON PURPOSE"));
    let load = Load { requests: 3_000, ..Load::default() };
    println!("LINEAR_SEED={}", load.seed);
    let judged = judge_all(load.run(&addresses(&server)), Rules::default());
    println!("{} of {} keys, {} events", judged.violations, judged.keys, judged.events());
    let marked = |(_, text): &(String, String)| text.lines().find(|line| line.starts_with(">>>")).map(str::to_owned);
    let marked: Vec<String> = judged.violated.iter().filter_map(marked).collect();
    println!("{}", marked.join("\n"));
    assert!(!marked.is_empty(), "stale answers have an explanation");
    assert!(marked.iter().any(|line| line.contains(" get: is ")), "a read is to blame: {marked:?}");
}
