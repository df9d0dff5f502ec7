//! The configuration as operators meet it: the real program, its exit codes and its lines.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The program, with none of our variables in its environment and a directory for its files.
struct Operator {
    dir: tempfile::TempDir,
}

impl Operator {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cache-service"));
        command.args(arguments).env_clear().envs(environment.iter().copied()).current_dir(self.dir.path());
        command
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Answer {
        Answer::of(&self.command(arguments, environment).output().unwrap())
    }

    /// The line that `print-config` has for a setting.
    #[track_caller]
    fn printed(&self, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let answer = self.run(&[&["print-config"], arguments].concat(), environment);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        let line = answer.stdout.lines().find(|line| line.starts_with(&format!("{name}=")));
        line.expect("every setting is printed").to_owned()
    }
}

struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Answer {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_valid_configuration_is_said_to_be() {
    let operator = Operator::new();
    for arguments in [["check-config"], ["--check-config"]] {
        let answer = operator.run(&arguments, &[("API_TOKEN", TOKEN)]);
        assert_eq!((answer.code, answer.stdout.as_str()), (0, "configuration is valid\n"), "{}", answer.stderr);
        assert_eq!(answer.stderr, "");
    }
}

#[test]
fn each_source_wins_over_the_ones_before_it() {
    let operator = Operator::new();
    let toml = operator.file("config.toml", "max_inflight = 11\n");
    let env_file = operator.file("cache.env", "# limits\nexport MAX_INFLIGHT=\"12\"\n");
    let printed =
        |arguments: &[&str], environment: &[(&str, &str)]| operator.printed("MAX_INFLIGHT", arguments, environment);
    let files = ["--config", text(&toml), "--env-file", text(&env_file)];
    assert_eq!(printed(&[], &[]), "MAX_INFLIGHT=1000  # default");
    assert_eq!(printed(&files[..2], &[]), format!("MAX_INFLIGHT=11  # {}", toml.display()));
    assert_eq!(printed(&files, &[]), format!("MAX_INFLIGHT=12  # {}", env_file.display()));
    let environment = [("MAX_INFLIGHT", "13")];
    assert_eq!(printed(&files, &environment), "MAX_INFLIGHT=13  # environment variable MAX_INFLIGHT");
    let with_option = [&files[..], &["--max-inflight", "14"]].concat();
    assert_eq!(printed(&with_option, &environment), "MAX_INFLIGHT=14  # command line --max-inflight");
}

#[test]
fn an_empty_value_counts_as_none() {
    let operator = Operator::new();
    let toml = operator.file("config.toml", "shards = 2\n");
    let line = operator.printed("SHARDS", &["--config", text(&toml), "--shards", ""], &[("SHARDS", "")]);
    assert_eq!(line, format!("SHARDS=2  # {}", toml.display()));
}

#[test]
fn every_setting_can_be_set_in_every_source() {
    let operator = Operator::new();
    let tokens = operator.file("tokens", TOKEN);
    let values = [
        ("HOST", "127.0.0.2"),
        ("PORT", "0"),
        ("API_TOKEN_FILE", text(&tokens)),
        ("READ_REQUIRES_AUTH", "true"),
        ("SHARDS", "3"),
        ("MAX_ITEM_BYTES", "1048576"),
        ("MEMORY_BUDGET_BYTES", "1073741824"),
        ("REQUEST_TIMEOUT_MS", "5000"),
        ("MAX_INFLIGHT", "2000"),
        ("MAX_SHARD_MAILBOX", "2001"),
        ("MAX_CONNECTIONS", "99"),
        ("IDLE_TIMEOUT_MS", "61000"),
        ("HEADER_TIMEOUT_MS", "11000"),
        ("LOG_LEVEL", "debug"),
        ("LOG_FILE", "cache.log"),
        ("LOG_FORMAT", "text"),
        ("METRICS_INTERVAL_MS", "500"),
        ("SHUTDOWN_TIMEOUT_MS", "0"),
    ];
    let lower = |name: &str, value: &str| format!("{} = {value:?}\n", name.to_lowercase());
    let toml = operator.file("all.toml", &values.iter().map(|(name, value)| lower(name, value)).collect::<String>());
    let lines: String = values.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let env_file = operator.file("all.env", &lines);
    let options: Vec<String> = values
        .iter()
        .flat_map(|(name, value)| [format!("--{}", name.to_lowercase().replace('_', "-")), (*value).to_owned()])
        .collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    for (arguments, environment) in [
        (&["--config", text(&toml)][..], &[][..]),
        (&["--env-file", text(&env_file)], &[]),
        (&[], &values),
        (&options, &[]),
    ] {
        for (name, value) in values {
            let line = operator.printed(name, arguments, environment);
            assert!(line.starts_with(&format!("{name}={value}  # ")), "{line}");
            assert!(!line.contains("# default"), "{line}");
        }
    }
}

#[test]
fn every_bad_value_is_told_at_once_in_a_line_of_its_own() {
    let operator = Operator::new();
    let toml = operator.file("config.toml", "max_inflght = 5\nport = 70000\nmax_inflight = 1.5\n");
    let env_file = operator.file("cache.env", "what is this\nLOG_LEVEL=loud\n");
    let environment = [
        ("SHARDS", "0"),
        ("API_TOKEN", "s3cret with blanks"),
        ("HOST", "no.such.host.invalid"),
        ("READ_REQUIRES_AUTH", "maybe"),
        ("LOG_FILE", "/nowhere/x.log"),
    ];
    let arguments = ["--config", text(&toml), "--env-file", text(&env_file), "--memory-budget-bytes", "-5"];
    for command in ["serve", "check-config", "print-config"] {
        let answer = operator.run(&[&[command], &arguments[..]].concat(), &environment);
        assert_eq!((answer.code, answer.stdout.as_str()), (78, ""), "{command}");
        let lines: Vec<_> = answer.stderr.lines().collect();
        let expected = [
            format!("{}: no setting is called \"max_inflght\"", toml.display()),
            format!("{}, line 1: expected NAME=VALUE", env_file.display()),
            format!("PORT=\"70000\" from {}; allowed: an integer from 0 to 65535", toml.display()),
            format!("MAX_INFLIGHT=\"1.5\" from {}; allowed: an integer from 1 to 1000000", toml.display()),
            format!("LOG_LEVEL=\"loud\" from {}; allowed: one of debug, info, warn, error", env_file.display()),
            "SHARDS=\"0\" from environment variable SHARDS; allowed: an integer from 1 to 256".to_owned(),
            "API_TOKEN=(hidden) from environment variable API_TOKEN".to_owned(),
            "HOST=\"no.such.host.invalid\" from environment variable HOST".to_owned(),
            "READ_REQUIRES_AUTH=\"maybe\" from environment variable READ_REQUIRES_AUTH; allowed: true or false"
                .to_owned(),
            "LOG_FILE=\"/nowhere/x.log\" from environment variable LOG_FILE: its directory".to_owned(),
            "MEMORY_BUDGET_BYTES=\"-5\" from command line --memory-budget-bytes; allowed: bytes".to_owned(),
        ];
        for start in &expected {
            let told = lines.iter().filter(|line| line.starts_with(&format!("cache-service: {start}"))).count();
            assert_eq!(told, 1, "{start}\n--\n{}", answer.stderr);
        }
        assert_eq!(lines.len(), expected.len(), "{}", answer.stderr);
        assert!(!answer.stderr.contains("s3cret"), "{}", answer.stderr);
    }
}

#[test]
fn files_that_are_named_must_be_there() {
    let operator = Operator::new();
    let answer = operator.run(&["check-config", "--config", "/nowhere.toml", "--env-file", "/nowhere.env"], &[]);
    assert_eq!(answer.code, 78);
    assert_eq!(answer.stderr.lines().count(), 2, "{}", answer.stderr);
    assert!(answer.stderr.contains("/nowhere.toml: No such file") && answer.stderr.contains("/nowhere.env: No such"));
}

#[test]
fn other_machines_are_not_served_without_a_token() {
    let answer = Operator::new().run(&["check-config"], &[("HOST", "0.0.0.0")]);
    assert_eq!((answer.code, answer.stderr.lines().count()), (78, 1), "{}", answer.stderr);
    assert!(answer.stderr.contains("set API_TOKEN or API_TOKEN_FILE"), "{}", answer.stderr);
}

#[test]
fn tokens_are_masked_wherever_they_come_from() {
    let operator = Operator::new();
    let toml = operator.file("config.toml", "api_token = [\"s3cret-one\", \"s3cret-two\"]\n");
    let env_file = operator.file("cache.env", "API_TOKEN='s3cret-one,s3cret-two'\n");
    for (arguments, environment) in [
        (&["--config", text(&toml)][..], &[][..]),
        (&["--env-file", text(&env_file)], &[]),
        (&[], &[("API_TOKEN", "s3cret-one,s3cret-two")]),
        (&["--api-token", "s3cret-one,s3cret-two"], &[]),
    ] {
        let answer = operator.run(&[&["--print-config"], arguments].concat(), environment);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        assert!(answer.stdout.contains("API_TOKEN=***,***  # "), "{}", answer.stdout);
        assert!(answer.stdout.contains("HOST=0.0.0.0  # default"), "{}", answer.stdout);
        assert!(answer.stderr.contains("warning: 2 of 2 tokens shorter than 32 characters"), "{}", answer.stderr);
        assert!(!answer.stdout.contains("s3cret") && !answer.stderr.contains("s3cret"));
    }
}

#[test]
fn misspelt_names_in_an_environment_file_are_warned_of() {
    let operator = Operator::new();
    let env_file = operator.file("cache.env", "; comment\nMAX_INFLGHT=5\n");
    let answer = operator.run(&["check-config", "--env-file", text(&env_file)], &[]);
    assert_eq!(answer.code, 0);
    assert!(answer.stderr.contains("warning: ") && answer.stderr.contains("no setting is called \"MAX_INFLGHT\""));
}

#[test]
fn the_affinity_mask_decides_the_default_shards() {
    let operator = Operator::new();
    let program = env!("CARGO_BIN_EXE_cache-service");
    let first = core_affinity::get_core_ids().unwrap()[0].id.to_string();
    let output = Command::new("taskset")
        .args(["-c", &first, program, "print-config"])
        .env_remove("SHARDS")
        .env_remove("HOST")
        .current_dir(operator.dir.path())
        .output();
    let Ok(output) = output else { return eprintln!("skipped: there is no taskset here") };
    assert!(Answer::of(&output).stdout.contains("SHARDS=1  # default"));
}

#[test]
fn help_names_every_setting_and_the_version_is_told() {
    let operator = Operator::new();
    let help = operator.run(&["--help"], &[]);
    assert_eq!(help.code, 0);
    for setting in cache_service::config::settings::ALL {
        assert!(help.stdout.contains(&format!("--{} ", setting.option)), "{}", setting.option);
    }
    assert!(help.stdout.contains("Examples:"));
    assert!(operator.run(&["--version"], &[]).stdout.starts_with("cache-service "));
    assert_eq!(operator.run(&["--no-such-option"], &[]).code, 2);
}

#[test]
fn a_reader_that_is_gone_is_no_crash() {
    let operator = Operator::new();
    for arguments in [["print-config"], ["--help"], ["check-config"]] {
        let mut child =
            operator.command(&arguments, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some() && !stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_log_file_that_cannot_be_written_is_refused() {
    let operator = Operator::new();
    // A directory in place of a link's target: the name looks free until it is opened.
    std::os::unix::fs::symlink("/nowhere/at/all", operator.dir.path().join("dangling.log")).unwrap();
    let answer = operator.run(&["serve", "--log-file", "dangling.log"], &[]);
    assert_eq!(answer.code, 78, "{}", answer.stderr);
    assert!(answer.stderr.contains("LOG_FILE dangling.log: "), "{}", answer.stderr);
}

#[test]
fn a_health_check_without_a_server_fails_with_one_line() {
    let operator = Operator::new();
    // A port that was free a moment ago; nobody else here asks for it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let answer = operator.run(&["healthcheck", "--port", &port], &[]);
    assert_eq!((answer.code, answer.stderr.lines().count()), (1, 1), "{}", answer.stderr);
    // Whoever asks needs no token, though a server at this address would.
    let answer = operator.run(&["healthcheck", "--host", "0.0.0.0", "--port", &port], &[]);
    assert!(answer.code == 1 && !answer.stderr.contains("token"), "{}", answer.stderr);
    assert_eq!(operator.run(&["healthcheck", "--port", "0"], &[]).code, 1);
}
