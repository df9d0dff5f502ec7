//! Executes `docs/runbook.md`: every command in it, in its order, against a real server, and holds its table of settings
//! against the server. Queries are executed by `tests/monitoring`.

#[path = "../support/mod.rs"]
mod support;
#[path = "../clients/tools.rs"]
mod tools;

mod document;
mod scene;
mod settings;

use document::{Block, blocks};
use scene::{Scene, repository};
use std::io::Write as _;
use std::process::{Command, Stdio};

fn document() -> String {
    std::fs::read_to_string(repository("docs/runbook.md")).expect("the runbook")
}

#[test]
fn every_command_of_the_runbook_works() {
    let document = document();
    let blocks = blocks(&document);
    let scene = Scene::new();
    let mut failed = Vec::new();
    let commands: Vec<&Block> = blocks.iter().filter(|block| block.language == "bash").collect();
    assert!(commands.len() > 25, "only {} blocks of commands", commands.len());
    for block in commands {
        let output = scene.run(&block.text);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let missing: Vec<_> = block.expectations().filter(|pattern| !contains(&stdout, pattern)).collect();
        if !output.status.success() || !missing.is_empty() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            failed.push(format!(
                "{}: {}, missing {missing:?}\n{}--- it wrote:\n{stdout}{stderr}",
                block.place, output.status, block.text
            ));
        }
    }
    assert!(failed.is_empty(), "{}\n--- the journal:\n{}", failed.join("\n"), scene.journal());
}

#[test]
fn nothing_in_the_runbook_goes_unexecuted() {
    let unknown: Vec<_> =
        blocks(&document()).into_iter().filter(|block| !["bash", "promql"].contains(&&*block.language)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn a_command_that_is_wrong_would_be_noticed() {
    let scene = Scene::new();
    for wrong in [
        "systemctl relaod cache-service",
        "systemctl reload cacheservice",
        "docker-compose restart cache",
        "docker-compose destroy",
        "curl -sf http://localhost:8080/heathz",
        "cache-service load-smoke --secnds 1",
        "pgrep cache-service",
    ] {
        assert!(!scene.run(wrong).status.success(), "{wrong}");
    }
    assert!(!contains("ready", "^read$") && contains("a\nready\n", "^ready$"));
}

/// Whether a line of `text` matches an extended regular expression.
fn contains(text: &str, pattern: &str) -> bool {
    let mut grep =
        Command::new("grep").args(["-E", "-q", "-e", pattern]).stdin(Stdio::piped()).spawn().expect("grep can be run");
    // It may have found the line and gone before it has read all.
    let _ = grep.stdin.take().expect("it was piped").write_all(text.as_bytes());
    grep.wait().expect("grep ends").success()
}
