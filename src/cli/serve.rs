//! `serve`: configuration, log, cores.

use super::{EXIT_CONFIG, complain, load, say};
use crate::config::Sources;
use crate::{logging, runtime};
use std::process::ExitCode;

pub(super) fn run(sources: &Sources) -> ExitCode {
    let config = match load(sources) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let log = match logging::start(&config.log) {
        Ok(log) => log,
        Err(error) => {
            complain(error);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(token) = &config.generated_token {
        // To the one who started the server, and not into the log, which is kept.
        say(format_args!("no token is configured; until this server stops, writes need the token {}", token.expose()));
    }
    runtime::serve(&config, sources, &log)
}
