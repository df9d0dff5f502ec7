//! The command line: which command, and what it says to whom with which exit code.

mod arguments;
mod check;
mod examples;
mod healthcheck;
mod load_smoke;
mod pages;
mod serve;
mod server;
mod settings;
mod stress;

use crate::config::{Config, Problems, Sources};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use load_smoke::LoadSmokeArguments;
use pages::{CompletionsArguments, ManArguments};
use settings::SettingArguments;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use stress::StressArguments;

/// The exit code for a configuration that is refused: `EX_CONFIG` of sysexits.
pub const EXIT_CONFIG: u8 = 78;

/// An in-memory cache that any HTTP client can use: one pinned core, one shard, one listener each.
#[derive(Parser)]
#[command(name = "cache-service", version, after_help = examples::PROGRAM)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// TOML file with settings in lower case [default: /etc/cache-service/config.toml if present]
    #[arg(long, value_name = "PATH", global = true, help_heading = settings::HEADING)]
    config: Option<PathBuf>,

    /// Environment file with settings as NAME=VALUE, in systemd's syntax
    #[arg(long, value_name = "PATH", global = true, help_heading = settings::HEADING)]
    env_file: Option<PathBuf>,

    /// The same as the command check-config
    #[arg(long, global = true, help_heading = settings::HEADING, conflicts_with = "print_config")]
    check_config: bool,

    /// The same as the command print-config
    #[arg(long, global = true, help_heading = settings::HEADING)]
    print_config: bool,

    #[command(flatten)]
    settings: SettingArguments,
}

#[derive(Clone, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT (what happens without a command)
    #[command(after_help = examples::SERVE)]
    Serve,
    /// Say what is wrong with the configuration, if anything
    #[command(after_help = examples::CHECK_CONFIG)]
    CheckConfig,
    /// Show every setting and where it comes from
    #[command(after_help = examples::PRINT_CONFIG)]
    PrintConfig,
    /// Ask the configured address whether the server there is well; exit code 0 or 1
    #[command(after_help = examples::HEALTHCHECK)]
    Healthcheck,
    /// Try out a running server after a deployment: every operation, then a short load
    #[command(after_help = load_smoke::EXAMPLES)]
    LoadSmoke(LoadSmokeArguments),
    /// Put a running server under load and measure throughput and latency
    #[command(after_help = stress::EXAMPLES)]
    Stress(Box<StressArguments>),
    /// Print the completions of a shell
    #[command(after_help = pages::COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArguments),
    /// Print the manual page
    #[command(after_help = pages::MAN_EXAMPLES)]
    Man(ManArguments),
}

/// The definition of the command line. Settings may be given to every command; its help has only those that matter to it.
fn command() -> clap::Command {
    let mut program = Arguments::command();
    // Hands the settings down to the commands, where they can be hidden.
    program.build();
    program.mut_subcommands(|command| {
        let shown: Option<&[&str]> = match command.get_name() {
            "healthcheck" => Some(&["config", "env_file", "HOST", "PORT"]),
            "load-smoke" | "stress" => Some(&["config", "env_file", "HOST", "PORT", "API_TOKEN", "API_TOKEN_FILE"]),
            "completions" | "man" | "help" => Some(&[]),
            _ => None,
        };
        command.mut_args(|argument| {
            let matters = shown.is_none_or(|shown| shown.contains(&argument.get_id().as_str()));
            let setting = argument.get_help_heading() == Some(settings::HEADING);
            if setting && !matters { argument.hide(true) } else { argument }
        })
    })
}

/// Does what the arguments say. Returns what the process is to exit with.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = command().try_get_matches_from(arguments);
    let arguments = match parsed.and_then(|mut matches| Arguments::from_arg_matches_mut(&mut matches)) {
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
        Command::LoadSmoke(arguments) => load_smoke::run(&sources, &arguments),
        Command::Stress(arguments) => stress::run(&sources, &arguments),
        Command::Completions(arguments) => pages::completions(&arguments),
        Command::Man(arguments) => pages::man(&arguments),
    }
}

impl Arguments {
    fn wanted(&self) -> Command {
        match &self.command {
            _ if self.check_config => Command::CheckConfig,
            _ if self.print_config => Command::PrintConfig,
            Some(command) => command.clone(),
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

/// Says how a test of a server ended, and why it failed if it did.
fn verdict(reasons: &[String]) -> ExitCode {
    if reasons.is_empty() {
        say("PASS");
        return ExitCode::SUCCESS;
    }
    reasons.iter().for_each(|reason| say(format_args!("FAIL: {reason}")));
    ExitCode::FAILURE
}

/// One line to standard output. A reader that is gone is no mistake of ours.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// How long somebody is waited for to take what standard error holds already, in milliseconds.
const COMPLAIN_PATIENCE_MS: libc::c_int = 1_000;

/// One line to standard error, unless nobody takes it: who complains is often about to end the process, and must not be
/// kept from it by a pipe that is full.
pub(crate) fn complain(line: impl Display) {
    let mut standard_error = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the pointer is to one live pollfd, and the kernel does not keep it.
    let ready = unsafe { libc::poll(&raw mut standard_error, 1, COMPLAIN_PATIENCE_MS) };
    if ready != 0 {
        let _ = writeln!(std::io::stderr(), "cache-service: {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Arguments {
        let mut matches = command().try_get_matches_from([&["cache-service"], arguments].concat()).unwrap();
        Arguments::from_arg_matches_mut(&mut matches).unwrap()
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn settings_are_taken_before_and_after_the_command() {
        for arguments in [["--shards", "3", "serve"], ["serve", "--shards", "3"], ["serve", "--shards=3", "--port=1"]] {
            assert_eq!(parse(&arguments).settings.values.get("SHARDS"), Some(&OsString::from("3")), "{arguments:?}");
        }
    }

    #[test]
    fn a_command_takes_settings_that_its_help_does_not_show() {
        let arguments = parse(&["stress", "--shards", "3", "--port", "9", "--keys", "5"]);
        assert_eq!(arguments.settings.values.get("SHARDS"), Some(&OsString::from("3")));
        assert!(matches!(&arguments.command, Some(Command::Stress(_))));
        let help = command().find_subcommand_mut("stress").unwrap().render_long_help().to_string();
        assert!(help.contains("--api-token-file") && help.contains("--rate"), "{help}");
        assert!(!help.contains("--shards") && !help.contains("--check-config"), "{help}");
    }

    #[test]
    fn every_command_has_examples() {
        for command in Arguments::command().get_subcommands() {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            assert!(
                text.contains("Examples:\n  ") && text.contains(&format!("cache-service {name}")),
                "{name}: {text}"
            );
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
