//! `completions`, `man`, and the help of each command.

use crate::program::{Run, run};
use crate::tools;
use std::io::Write as _;
use std::process::Stdio;

const COMMANDS: [&str; 8] =
    ["serve", "check-config", "print-config", "healthcheck", "load-smoke", "stress", "completions", "man"];

/// What a tool says of a text given to its standard input.
#[track_caller]
fn checked(tool: &[&str], text: &str) -> Run {
    let mut command = tools::command(tool[0]);
    command.args(&tool[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {}: {error}", tool[0]));
    let mut input = child.stdin.take().expect("it is piped");
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads all");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Run { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

#[test]
fn every_shell_takes_its_completions() {
    for (shell, check) in [
        ("bash", &["bash", "-n", "/dev/stdin"][..]),
        ("zsh", &["zsh", "-n", "/dev/stdin"]),
        ("fish", &["fish", "--no-execute", "/dev/stdin"]),
    ] {
        let script = run(&["completions", shell]).expect(0).stdout;
        for word in ["load-smoke", "stress", "zipf-exponent", "memory-budget-bytes"] {
            assert!(script.contains(word), "{shell} completes no {word}");
        }
        let told = checked(check, &script);
        assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{shell}");
    }
    run(&["completions", "tcsh"]).expect(2);
    run(&["completions"]).expect(2);
}

#[test]
fn bash_completes_commands_and_options() {
    let script = run(&["completions", "bash"]).expect(0).stdout;
    let function = script.split_once("complete -F ").and_then(|(_, rest)| rest.split(' ').next());
    let function = function.expect("the script registers a function");
    for (words, expected) in [("load", "load-smoke"), ("stress --rat", "--rate"), ("load-smoke --p95", "--p95-ms")] {
        let mut words = words.split(' ').rev();
        let (last, before) = (words.next().unwrap_or_default(), words.next().unwrap_or("cache-service"));
        let all = if before == "cache-service" { last.to_owned() } else { format!("{before} {last}") };
        let ask = format!(
            "{script}\nCOMP_WORDS=(cache-service {all}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             {function} cache-service '{last}' '{before}'; echo \"${{COMPREPLY[@]}}\"\n"
        );
        let told = checked(&["bash", "--norc"], &ask);
        assert_eq!((told.code, told.stdout.trim()), (0, expected), "{}", told.stderr);
    }
}

#[test]
fn manual_pages_are_well_formed_and_name_every_command() {
    let page = run(&["man"]).expect(0).stdout;
    assert!(page.contains("\n.TH cache-service 1 "), "{page}");
    for command in COMMANDS {
        assert!(page.contains(&format!("cache\\-service\\-{}(1)", command.replace('-', "\\-"))), "{command}");
    }
    let pages = COMMANDS.map(|command| run(&["man", command]).expect(0).stdout);
    for (command, page) in COMMANDS.iter().zip(&pages) {
        assert!(page.contains(&format!("\n.TH cache-service-{command} 1 ")), "{page}");
    }
    for page in pages.iter().chain([&page]) {
        let shown = checked(&["man", "--warnings", "-l", "-"], page);
        assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{page}");
        assert!(shown.stdout.contains("NAME") && shown.stdout.contains("Examples:"), "{}", shown.stdout);
        // That a page has no date is meant; breaks between paragraphs that are broken anyway do no harm.
        let lint = checked(&["mandoc", "-T", "lint", "-W", "warning"], page);
        let harmless = |line: &str| line.contains("missing date") || line.contains("skipping paragraph macro: br");
        let told: Vec<_> = lint.stdout.lines().filter(|line| !harmless(line)).collect();
        assert!(told.is_empty(), "{told:#?}");
    }
    run(&["man", "no-such-command"]).expect(2);
}

#[test]
fn help_lists_every_command_and_each_has_examples() {
    let help = run(&["--help"]).expect(0).stdout;
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        for arguments in [[command, "--help"], ["help", command]] {
            let help = run(&arguments).expect(0).stdout;
            assert!(help.contains("Examples:") && help.contains(&format!("cache-service {command}")), "{help}");
        }
    }
}
