//! What operations cost in instructions is held: none may take more than 5 % more than the table in `perf/instructions.json`
//! says. See perf/README.md.

#[path = "../clients/tools.rs"]
#[expect(dead_code, reason = "shared with tests that want nothing but success")]
mod tools;

use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A file of this repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The committed table.
fn table() -> Value {
    let text = fs::read_to_string(file("perf/instructions.json")).expect("the table is there");
    serde_json::from_str(&text).expect("the table is JSON")
}

/// Runs `perf/instructions`; whether it was content, and what it wrote.
fn instructions(arguments: &[&Path]) -> (bool, String) {
    let mut command = tools::command("python3");
    command.arg(file("perf/instructions")).args(arguments);
    let output = command.output().expect("the tools of the tests are there");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Compares the committed table with counts like its own but for what `change` does to them.
fn compared_with(change: impl FnOnce(&mut Value)) -> (bool, String) {
    let mut counts = table();
    change(&mut counts);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("counts.json");
    fs::write(&path, counts.to_string()).expect("a file can be written");
    instructions(&[Path::new("--counts"), &path])
}

/// An operation of the table, and its instructions there.
const OPERATION: &str = "engine: GET hit";

/// What the line of an operation ends with that takes more than 5 % less than the table says.
const BETTER: &str = "better; hold it with perf/instructions --update";

fn scaled(counts: &mut Value, percent: u64) {
    let count = &mut counts["instructions"][OPERATION];
    *count = json!(count.as_u64().expect("a number") * percent / 100);
}

#[test]
fn no_operation_takes_more_instructions_than_the_table_allows() {
    let (content, text) = instructions(&[]);
    assert!(content, "{text}");
    // Past the harness, which would keep it to itself: whoever made something better should hold it.
    for line in text.lines().filter(|line| line.contains(BETTER)) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

#[test]
fn a_wrong_token_is_refused_in_a_time_that_does_not_tell_where_it_is_wrong() {
    // The table and the program agree to the instruction here, or the test above would not be the only one to tell.
    let (_, text) = instructions(&[Path::new("--only"), Path::new("refuse a token")]);
    let counts: Vec<&str> =
        text.lines().filter_map(|line| line.split(" before, ").nth(1)?.split(" now").next()).collect();
    assert_eq!(counts.len(), 3, "{text}");
    assert!(counts.iter().all(|count| *count == counts[0]), "{text}");
}

#[test]
fn five_percent_more_than_the_table_is_refused() {
    let (content, text) = compared_with(|counts| scaled(counts, 104));
    assert!(content, "{text}");
    let (content, text) = compared_with(|counts| scaled(counts, 106));
    let line = text.lines().find(|line| line.starts_with(OPERATION)).expect("there is a line for each operation");
    assert!(!content && line.contains("(+6.0%)") && line.ends_with("MORE than 5% above the table"), "{text}");
    assert!(!text.contains("Table and counts do not come from the same tools"), "{text}");
}

#[test]
fn what_has_become_better_is_told_and_not_refused() {
    let (content, text) = compared_with(|counts| scaled(counts, 94));
    assert!(content && text.contains(BETTER), "{text}");
}

#[test]
fn another_compiler_is_named_where_it_could_be_the_reason() {
    let (content, text) = compared_with(|counts| counts["counted with"]["rustc"] = json!("1.0.0"));
    assert!(content, "another compiler alone is no reason: {text}");
    let (content, text) = compared_with(|counts| {
        scaled(counts, 110);
        counts["counted with"]["rustc"] = json!("1.0.0");
    });
    assert!(!content && text.contains("this is 1.0.0") && text.contains("--update"), "{text}");
}

#[test]
fn operations_that_only_one_side_knows_are_refused() {
    let (content, text) = compared_with(|counts| counts["instructions"]["another"] = json!(1));
    assert!(!content && text.contains("another: not in the table"), "{text}");
    let (content, text) = compared_with(|counts| {
        counts["instructions"].as_object_mut().expect("a map").remove(OPERATION);
    });
    assert!(!content && text.contains("engine: GET hit: not counted any more"), "{text}");
}
