//! Places, pins, starts and stops the cores.

use crate::config::{Config, Sources};
use crate::logging;
use std::process::ExitCode;

/// Serves until a signal ends it. `sources` are read again on SIGHUP, and `log` follows them.
#[must_use]
pub fn serve(config: &Config, sources: &Sources, log: &logging::Handle) -> ExitCode {
    // The cores plug in here.
    let _ = (config, sources, log);
    tracing::error!("this build has no cores");
    ExitCode::FAILURE
}
