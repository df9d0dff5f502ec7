//! `monitoring/` against what it is for: promtool reads it, and a real Prometheus with a copy of its configuration scrapes
//! a real server that is at work and is asked whatever the rules, the dashboard and the runbook ask.
//!
//! Prometheus is Debian's package; `scripts/install-test-tools` brings it.

#[path = "../support/mod.rs"]
mod support;

#[path = "../clients/tools.rs"]
mod tools;

mod checks;
mod dashboard;
mod load;
mod names;
mod observed;
mod prometheus;
mod promql;
mod queries;
mod rules;
mod runbook;

use std::path::{Path, PathBuf};

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the repository.
#[track_caller]
fn text_of(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
