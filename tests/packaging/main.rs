//! What the service is packaged in: the systemd unit and what belongs to it, the container files.
//!
//! No systemd and no container engine runs here. What they would do to the server is done by other means: the filters of
//! system calls are installed by libseccomp, the log is rotated by the real logrotate, the files are judged by systemd's and
//! Compose's own tools.

#[path = "../support/mod.rs"]
mod support;
#[path = "../clients/tools.rs"]
mod tools;

mod container;
mod filters;
mod install;
mod rotation;
mod template;
mod unit;

use std::path::{Path, PathBuf};

/// A file of this repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of this repository.
#[track_caller]
fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
