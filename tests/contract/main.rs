//! schemathesis asks the live server whatever its description allows, and what it does not, and holds the answers
//! against it: all checks, no failure.

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Server, TOKEN};

/// So that a run can be repeated; another one may be chosen by this variable.
const SEED_VARIABLE: &str = "CONTRACT_SEED";
/// Test cases of an operation in each phase.
const EXAMPLES_MAX: &str = "25";
/// Ends a run that hangs, in seconds; a run takes a quarter of it.
const RUN_SECS_MAX: &str = "115";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"))
}

/// schemathesis, installed if it is not there yet.
#[track_caller]
fn schemathesis() -> PathBuf {
    let install = run(&mut Command::new(root().join("scripts/install-test-tools")));
    assert!(
        install.status.success(),
        "scripts/install-test-tools has failed; run it by hand, it needs the network and, for Debian packages, root:\n{}{}",
        String::from_utf8_lossy(&install.stdout),
        String::from_utf8_lossy(&install.stderr)
    );
    root().join("target/test-tools/venv/bin/schemathesis")
}

#[test]
fn schemathesis_finds_nothing_that_the_description_does_not_tell() {
    let program = schemathesis();
    let seed = std::env::var(SEED_VARIABLE).unwrap_or_else(|_| "20261122".to_owned());
    println!("seed: {seed} (choose another one with {SEED_VARIABLE})");
    let server = Server::with_shards(2);
    let folder = tempfile::tempdir().expect("a folder to work in");
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", RUN_SECS_MAX]).arg(program).current_dir(folder.path());
    command.arg("--config-file").arg(root().join("tests/contract/schemathesis.toml"));
    command.arg("run").arg(format!("http://{}/openapi.json", server.address()));
    command.args(["--header", &format!("X-API-Token: {TOKEN}"), "--checks", "all", "--no-color"]);
    command.args(["--seed", &seed, "--max-examples", EXAMPLES_MAX]);
    let output = run(&mut command);
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "seed {seed}, {}:\n{report}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    // A run that has asked nothing finds nothing either. What it reads the description from, it does not ask again.
    let operations = description_operations(&server) - 1;
    assert!(report.contains(&format!("Tested: {operations}")), "not every operation was tested:\n{report}");
}

fn description_operations(server: &Server) -> usize {
    let description = server.client().get_path("/openapi.json").expect_status(200).json();
    let paths = description["paths"].as_object().expect("there are paths");
    paths.values().map(|path| path.as_object().map_or(0, serde_json::Map::len)).sum()
}
