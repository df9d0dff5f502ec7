//! The page's table of variables: named are all that there are, and each acts when the page says so.

use crate::document;
use crate::support::metrics::Metrics;
use crate::support::{Launch, Server, eventually_equal};
use cache_service::config::settings::ALL;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What a server tells of a variable that it will only take at its next start.
const REFUSAL: &str = "until a restart";

/// Another value than the one that the server was started with.
fn other_value(name: &str, folder: &Path) -> String {
    let value = match name {
        "HOST" => "127.0.0.2",
        "PORT" => "1",
        "API_TOKEN" => "another-token-of-more-than-thirty-two-characters",
        "API_TOKEN_FILE" => return folder.join("tokens").display().to_string(),
        "READ_REQUIRES_AUTH" => "true",
        "SHARDS" => "3",
        "MAX_ITEM_BYTES" => "1MiB",
        "MEMORY_BUDGET_BYTES" => "128MiB",
        "EVICTION_POLICY" => "lru",
        "LOG_LEVEL" => "debug",
        "LOG_FILE" => return folder.join("other-log").display().to_string(),
        "LOG_FORMAT" => "text",
        _ => "77",
    };
    value.to_owned()
}

/// What the server has logged, wherever.
fn logged(server: &Server, folder: &Path) -> String {
    server.log_lines().join("\n") + &fs::read_to_string(folder.join("other-log")).unwrap_or_default()
}

fn reload(server: &Server) {
    let reloads = || {
        let metrics = Metrics::scrape(server.address());
        metrics.sum_where("cache_config_reloads_total", &[("result", "success")])
    };
    let before = reloads();
    server.signal(libc::SIGHUP);
    eventually_equal("reloads", &(before + 1.0), reloads);
}

#[test]
fn the_table_has_every_variable() {
    let table = document::acts_on_reload(&document::text());
    let named: BTreeSet<&str> = table.keys().map(String::as_str).collect();
    let all: BTreeSet<&str> = ALL.iter().map(|setting| setting.name).collect();
    assert_eq!(named, all);
}

#[test]
fn every_variable_acts_when_the_table_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, token) = (folder.path().join("settings"), "a-token-of-more-than-thirty-two-characters");
    fs::write(folder.path().join("tokens"), format!("{token}-in-a-file\n")).expect("a file");
    let base = format!("HOST=127.0.0.1\nPORT=0\nSHARDS=2\nMEMORY_BUDGET_BYTES=64MiB\nAPI_TOKEN={token}\n");
    fs::write(&file, &base).expect("a file");
    // Nothing is in the environment, which would win.
    let of_tests = ["HOST", "PORT", "API_TOKEN", "MEMORY_BUDGET_BYTES"];
    let launch = of_tests.into_iter().fold(Launch::new(&[]), Launch::without);
    let server = launch.args(&["--env-file", file.to_str().expect("a path of text")]).start();
    let mut wrong = Vec::new();
    for (name, acts_on_reload) in document::acts_on_reload(&document::text()) {
        let before = logged(&server, folder.path());
        let changed = format!("{base}{name}={}\n", other_value(&name, folder.path()));
        fs::write(&file, changed).expect("a file");
        reload(&server);
        fs::write(&file, &base).expect("a file");
        reload(&server);
        // This line comes after every warning of the first reload; by then they are in the log.
        let lines = |text: &str| text.matches("the configuration was read again and is in force").count();
        eventually_equal("lines in the log", &(lines(&before) + 2), || lines(&logged(&server, folder.path())));
        let new = logged(&server, folder.path()).replacen(&before, "", 1);
        let warned = new.lines().any(|line| line.contains(&format!("{name} stays")) && line.contains(REFUSAL));
        let others = new.lines().filter(|line| line.contains(REFUSAL)).count() - usize::from(warned);
        if warned == acts_on_reload || others > 0 {
            wrong.push(format!("{name} acts on reload: {acts_on_reload}, but the server says:\n{new}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
