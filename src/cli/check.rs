//! `check-config` and `print-config`.

use super::{complain, load, say};
use crate::config::{Config, Sources};
use std::process::ExitCode;

pub(super) fn check(sources: &Sources) -> ExitCode {
    with_config(sources, |_| say("configuration is valid"))
}

pub(super) fn print(sources: &Sources) -> ExitCode {
    with_config(sources, |config| {
        for entry in &config.entries {
            say(format_args!("{}={}  # {}", entry.name, entry.value, entry.source));
        }
    })
}

fn with_config(sources: &Sources, show: impl FnOnce(&Config)) -> ExitCode {
    match load(sources) {
        Ok(config) => {
            show(&config);
            config.warnings.iter().for_each(|warning| complain(format_args!("warning: {warning}")));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}
