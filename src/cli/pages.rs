//! `completions` and `man`: what a shell and `man` know of the command line, made from its definition.

use super::{Arguments, command, complain};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::{self, Write as _};
use std::process::ExitCode;

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  cache-service completions bash > /usr/share/bash-completion/completions/cache-service
  cache-service completions zsh > /usr/local/share/zsh/site-functions/_cache-service
  cache-service completions fish > /usr/share/fish/vendor_completions.d/cache-service.fish";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  cache-service man > /usr/local/share/man/man1/cache-service.1
  cache-service man stress | man -l -            the page of one command";

/// Stands where a page has its date until an empty one takes its place: clap_mangen leaves an empty argument out, which
/// makes the next one the date. The pages have none, so that the same program always prints the same.
const NO_DATE: &str = "NO-DATE";

#[derive(Args, Clone, Debug)]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

#[derive(Args, Clone, Debug)]
pub(super) struct ManArguments {
    /// The command whose page is wanted [default: the page of the program]
    command: Option<String>,
}

pub(super) fn completions(arguments: &CompletionsArguments) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "cache-service", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if arguments.shell == Shell::Bash {
        // clap_complete 4.6 spells the dash of the name in two ways, and finds no command then (clap issue 6421).
        script = script.replace("cache__subcmd__service", "cache__service");
    }
    print(script.as_bytes())
}

pub(super) fn man(arguments: &ManArguments) -> ExitCode {
    let program = command();
    let page = match &arguments.command {
        None => Some(&program),
        Some(name) => program.find_subcommand(name),
    };
    let Some(page) = page.cloned() else {
        let names: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
        complain(format_args!("no such command; there are {}", names.join(", ")));
        return ExitCode::from(2);
    };
    let mut text = Vec::new();
    let source = format!("cache-service {}", env!("CARGO_PKG_VERSION"));
    match Man::new(page).date(NO_DATE).source(source).manual("User Commands").render(&mut text) {
        Ok(()) => print(String::from_utf8_lossy(&text).replacen(NO_DATE, "\"\"", 1).as_bytes()),
        Err(error) => failed(&error),
    }
}

fn print(text: &[u8]) -> ExitCode {
    let mut output = io::stdout().lock();
    match output.write_all(text).and_then(|()| output.flush()) {
        // A reader that is gone is no mistake of ours.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(&error),
        _ => ExitCode::SUCCESS,
    }
}

fn failed(error: &io::Error) -> ExitCode {
    complain(error);
    ExitCode::FAILURE
}
