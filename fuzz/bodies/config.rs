//! A TOML file, an environment file, a token file and a command line, each any bytes: a configuration, or problems of
//! which each says in one line what is wrong and where; no token is ever shown.

use super::tape::Tape;
use cache_service::config::{Config, Sources, settings};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// What stands between the parts of an input; never a byte of UTF-8.
const SEPARATOR: u8 = 0xff;
/// What no output may show where it was given as a token.
const SECRET: &str = "s3cret";
/// Names are never asked for: it is the same for every input.
const HOSTS: [&str; 3] = ["127.0.0.1", "[::1]", "0.0.0.0"];

pub fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let host = HOSTS[usize::from(tape.byte()) % HOSTS.len()];
    let mut parts = tape.rest().split(|&byte| byte == SEPARATOR);
    let [toml, env_file, tokens, command_line] = [(); 4].map(|()| parts.next());
    if names_a_file(data) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory for files");
    let write = |name: &str, bytes: Option<&[u8]>| {
        bytes.map(|bytes| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).expect("room for a file");
            path
        })
    };
    let token_file = write("tokens", tokens.filter(|tokens| !tokens.is_empty()));
    let arguments = arguments(host, token_file.as_deref(), command_line.unwrap_or_default());
    let sources = Sources {
        // Without one, the machine's own would be read.
        config_file: Some(write("config.toml", toml.or(Some(b""))).expect("just written")),
        env_file: write("env", env_file),
        environment: BTreeMap::new(),
        arguments,
    };
    check(&sources, is_secret_hidden(data));
}

/// Whether the input names a file by itself: it could be any file of this machine.
fn names_a_file(data: &[u8]) -> bool {
    let text = data.to_ascii_lowercase();
    [b"token_file".as_slice(), b"\\u"].iter().any(|name| memchr::memmem::find(&text, name).is_some())
}

/// One `NAME=VALUE` in each line.
fn arguments(host: &str, token_file: Option<&Path>, lines: &[u8]) -> BTreeMap<&'static str, OsString> {
    let mut arguments = BTreeMap::new();
    for line in lines.split(|&byte| byte == b'\n') {
        let Some(equals) = line.iter().position(|&byte| byte == b'=') else { continue };
        let setting = std::str::from_utf8(&line[..equals]).ok().and_then(settings::Setting::by_name);
        if let Some(setting) = setting {
            arguments.insert(setting.name, OsString::from_vec(line[equals + 1..].to_vec()));
        }
    }
    arguments.insert("HOST", host.into());
    if let Some(path) = token_file {
        arguments.insert("API_TOKEN_FILE", path.into());
    }
    arguments
}

/// Whether the word that stands for a secret is only given as one: once in a line, behind the name of the token.
fn is_secret_hidden(data: &[u8]) -> bool {
    let lines = data.split(|byte| matches!(*byte, b'\n' | b'\r' | SEPARATOR)).map(String::from_utf8_lossy);
    lines.filter(|line| line.contains(SECRET)).all(|line| sets_token(&line) && line.matches(SECRET).count() == 1)
}

fn sets_token(line: &str) -> bool {
    let line = line.trim_start().to_ascii_lowercase();
    line.strip_prefix("api_token").is_some_and(|rest| rest.trim_start().starts_with('='))
}

fn check(sources: &Sources, hides: bool) {
    match Config::load(sources) {
        Err(problems) => {
            assert!(problems.iter().next().is_some(), "a refusal says why");
            for line in problems.iter().map(ToString::to_string) {
                check_line(&line, hides);
                assert!(says_where(&line, sources), "{line:?} says what is wrong, and where");
            }
        }
        Ok(config) => check_config(&config, sources, hides),
    }
}

fn check_line(line: &str, hides: bool) {
    assert!(!line.is_empty() && !line.contains(char::is_control), "{line:?} is one line");
    assert!(!hides || !line.contains(SECRET), "{line:?} shows a secret");
}

/// Whether a problem names a setting and its source, or a file.
fn says_where(line: &str, sources: &Sources) -> bool {
    let files: Vec<&PathBuf> = sources.config_file.iter().chain(&sources.env_file).collect();
    let has_source = line.contains("command line --") || line.contains("default") || line.contains("together");
    let names_setting = settings::ALL.iter().any(|setting| line.contains(setting.name));
    files.iter().any(|file| line.contains(&file.display().to_string())) || (names_setting && has_source)
}

fn check_config(config: &Config, sources: &Sources, hides: bool) {
    assert!(!config.tokens.is_empty() && config.tokens.len() <= settings::TOKENS_MAX);
    assert!((1..=cache_service::limits::SHARDS_MAX).contains(&config.shards) && !config.cpus.is_empty());
    assert!(config.max_inflight >= 1 && config.max_connections >= 1 && config.max_item_bytes >= 1);
    // Only this machine is served under a token that was made.
    assert!(config.generated_token.is_none() || config.listen.ip().is_loopback());
    config.warnings.iter().for_each(|line| check_line(line, hides));
    for entry in &config.entries {
        check_line(&format!("{} {} {}", entry.name, entry.value, entry.source), hides);
        if sources.arguments.get(entry.name).is_some_and(|value| !value.to_string_lossy().trim().is_empty()) {
            assert!(entry.source.starts_with("command line --"), "{}: the command line wins", entry.name);
        }
    }
    let again = config.reload(sources).expect("what was good once is good again");
    assert_eq!(again.entries, config.entries, "the same sources say the same");
    assert_eq!((again.warnings, again.tokens), (config.warnings.clone(), config.tokens.clone()));
}
