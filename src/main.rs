//! The program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    cache_service::cli::run(std::env::args_os())
}
