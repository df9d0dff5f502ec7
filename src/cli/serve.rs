//! `serve`: configuration, log, cores.

use super::{EXIT_CONFIG, complain, load};
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
    #[cfg(feature = "stale-read")]
    {
        complain(
            "THIS SERVER GIVES STALE ANSWERS ON PURPOSE: it was built with the feature stale-read, for tests only",
        );
        tracing::error!("this server was built with the feature stale-read: it gives stale answers on purpose");
    }
    let code = runtime::serve(config, sources, &log);
    drop(log);
    code
}
