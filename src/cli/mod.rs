//! The command line: which command, and what it says to whom with which exit code.

mod check;
mod healthcheck;
mod serve;
mod settings;

use crate::config::{Config, Problems, Sources};
use clap::{Parser, Subcommand};
use settings::SettingArguments;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The exit code for a configuration that is refused: `EX_CONFIG` of sysexits.
pub const EXIT_CONFIG: u8 = 78;

const EXAMPLES: &str = "\
Every setting can also be given as an environment variable or in a file; what is later in this list wins:
  defaults, TOML file, environment file, environment, command line
Exit codes: 0 done, 1 failed, 2 arguments not understood, 69 this machine does not give what the server needs,
  70 a core hung, 78 configuration refused (one line for each problem), 101 a core panicked.

Examples:
  cache-service                                      serve this machine on port 8080 under a token that is printed once
  API_TOKEN=$(openssl rand -hex 32) cache-service    serve every address under this token
  cache-service --memory-budget-bytes 2GiB --shards 4
  cache-service check-config --config /etc/cache-service/config.toml
  cache-service print-config                         every setting and where it comes from, tokens masked
  cache-service healthcheck                          ask a running server whether it is well";

/// An in-memory cache that any HTTP client can use: one pinned core, one shard, one listener each.
#[derive(Parser)]
#[command(name = "cache-service", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// TOML file with settings in lower case [default: /etc/cache-service/config.toml if present]
    #[arg(long, value_name = "PATH", global = true)]
    config: Option<PathBuf>,

    /// Environment file with settings as NAME=VALUE, in systemd's syntax
    #[arg(long, value_name = "PATH", global = true)]
    env_file: Option<PathBuf>,

    /// The same as the command check-config
    #[arg(long, global = true, conflicts_with = "print_config")]
    check_config: bool,

    /// The same as the command print-config
    #[arg(long, global = true)]
    print_config: bool,

    #[command(flatten)]
    settings: SettingArguments,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT (what happens without a command)
    Serve,
    /// Say what is wrong with the configuration, if anything
    CheckConfig,
    /// Show every setting and where it comes from
    PrintConfig,
    /// Ask the configured address whether the server there is well; exit code 0 or 1
    Healthcheck,
}

/// Does what the arguments say. Returns what the process is to exit with.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help, the version, or a complaint; where nobody reads it, there is nothing left to do about that.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let command = arguments.wanted();
    let sources = arguments.into_sources();
    match command {
        Command::Serve => serve::run(&sources),
        Command::CheckConfig => check::check(&sources),
        Command::PrintConfig => check::print(&sources),
        Command::Healthcheck => healthcheck::run(&sources),
    }
}

impl Arguments {
    fn wanted(&self) -> Command {
        match self.command {
            _ if self.check_config => Command::CheckConfig,
            _ if self.print_config => Command::PrintConfig,
            Some(command) => command,
            None => Command::Serve,
        }
    }

    fn into_sources(self) -> Sources {
        let Self { config: config_file, env_file, settings, .. } = self;
        Sources { config_file, env_file, arguments: settings.values, ..Sources::default() }.with_environment()
    }
}

/// The configuration, or the exit code after every problem was told.
fn load(sources: &Sources) -> Result<Config, ExitCode> {
    Config::load(sources).map_err(|problems| refuse(&problems))
}

fn refuse(problems: &Problems) -> ExitCode {
    problems.iter().for_each(complain);
    ExitCode::from(EXIT_CONFIG)
}

/// One line to standard output. A reader that is gone is no mistake of ours.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// One line to standard error.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "cache-service: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["cache-service"], arguments].concat()).unwrap()
    }

    #[test]
    fn the_definition_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn settings_are_taken_before_and_after_the_command() {
        for arguments in [["--shards", "3", "serve"], ["serve", "--shards", "3"], ["serve", "--shards=3", "--port=1"]] {
            assert_eq!(parse(&arguments).settings.values.get("SHARDS"), Some(&OsString::from("3")), "{arguments:?}");
        }
    }

    #[test]
    fn a_flag_may_be_given_without_a_value() {
        for (arguments, value) in [(&["--read-requires-auth"][..], "true"), (&["--read-requires-auth=false"], "false")]
        {
            assert_eq!(parse(arguments).settings.values.get("READ_REQUIRES_AUTH"), Some(&OsString::from(value)));
        }
    }

    #[test]
    fn serving_is_what_happens_without_a_command() {
        assert!(matches!(parse(&[]).wanted(), Command::Serve));
        assert!(matches!(parse(&["--check-config"]).wanted(), Command::CheckConfig));
        assert!(matches!(parse(&["serve", "--check-config"]).wanted(), Command::CheckConfig));
        assert!(matches!(parse(&["print-config"]).wanted(), Command::PrintConfig));
    }
}
