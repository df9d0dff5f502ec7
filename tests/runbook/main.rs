//! `docs/runbook.md`, done step by step on a machine that is laid out as the page assumes.
//!
//! | module | what it is about |
//! | --- | --- |
//! | `document` | the page: its blocks under their headings, its table of variables |
//! | `machine` | a folder with the service installed, the server in it, and what stands for systemd |
//! | `stand_ins` | the commands that cannot be themselves in a test, each of which refuses what it does not know |
//! | `shell` | the operator's shell, and what a block says that it should print |
//! | `files` | blocks that are files: TOML, drop-ins, Compose |
//! | `steps` | every block in order, and what must be true after the sections |
//! | `reloads` | the table of variables against a server |
//!
//! Blocks of PromQL are asked by `tests/monitoring`, which has a Prometheus.

#[path = "../support/mod.rs"]
mod support;
#[path = "../clients/tools.rs"]
mod tools;

mod document;
mod files;
mod machine;
mod reloads;
mod shell;
mod stand_ins;
mod steps;

use std::path::{Path, PathBuf};

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
