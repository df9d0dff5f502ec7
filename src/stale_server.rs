//! The server, built with the feature `stale-read`: see `stale.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cache_service::cli::run(std::env::args_os())
}
