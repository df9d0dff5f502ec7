//! What promtool says of the files, and of a scrape.

use crate::support::Server;
use crate::{repository, tools};
use std::io::Write as _;
use std::process::Stdio;

/// What promtool may object to in a scrape, because the contract fixes these names. A gauge must not end in `_total`.
const LINT_EXCEPTIONS: [(&str, &str); 1] =
    [("cache_entries_total", r#"non-counter metrics should not have "_total" suffix"#)];

/// Files below `monitoring/` in a directory, of which there must be some.
#[track_caller]
fn files(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(repository("monitoring").join(directory)).expect("the directory can be read");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    let mut names: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(!names.is_empty(), "no .yml in monitoring/{directory}");
    names.sort();
    names
}

#[track_caller]
fn promtool(words: &[&str], files: &[String]) {
    let mut command = tools::command("promtool");
    command.args(words).args(files);
    tools::succeed(command);
}

#[test]
fn promtool_accepts_the_configuration() {
    promtool(&["check", "config"], &[repository("monitoring/prometheus.yml").display().to_string()]);
}

#[test]
fn promtool_accepts_the_rules() {
    promtool(&["check", "rules"], &files("rules"));
}

#[test]
fn alerts_fire_where_they_should_and_nowhere_else() {
    promtool(&["test", "rules"], &files("tests"));
}

#[test]
fn promtool_objects_to_no_metric_but_those_that_the_contract_names() {
    let server = Server::with_shards(2);
    server.client().put_value("key", "1").expect_status(201);
    let mut command = tools::command("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool can be started");
    let mut input = child.stdin.take().expect("its input is a pipe");
    input.write_all(server.metrics().text().as_bytes()).expect("it reads all of its input");
    drop(input);
    let output = child.wait_with_output().expect("promtool ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // 3 means objections; any other failure means that it could not read the scrape.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}:\n{said}", output.status);
    let excepted = |line: &str| LINT_EXCEPTIONS.iter().any(|(name, what)| line == format!("{name} {what}"));
    let objections: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty() && !excepted(line)).collect();
    assert!(objections.is_empty(), "promtool objects:\n{}", objections.join("\n"));
}
