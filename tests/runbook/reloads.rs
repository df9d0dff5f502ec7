//! The page's table of variables: named are all that there are, and each acts when the page says so.

use crate::document;
use crate::support::metrics::Metrics;
use crate::support::{Launch, Server, eventually, eventually_equal};
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

/// What the server has logged since `seen` lines of either place, and how many lines there are now.
fn logged(server: &Server, folder: &Path, seen: [usize; 2]) -> (Vec<String>, [usize; 2]) {
    let other = fs::read_to_string(folder.join("other-log")).unwrap_or_default();
    let both = [server.log_lines(), other.lines().map(str::to_owned).collect()];
    let counts = [both[0].len(), both[1].len()];
    (both.into_iter().zip(seen).flat_map(|(lines, seen)| lines.into_iter().skip(seen)).collect(), counts)
}

fn reload(server: &Server) {
    let reloads = || {
        let metrics = Metrics::scrape(server.address());
        metrics.sum_where("cache_config_reloads_total", &[("result", "success")])
    };
    // Cores take note of a reload one after the other: what one of them told may be old news to the next one asked.
    let before = eventually("all cores agree", || {
        let counts: Vec<f64> = (0..8).map(|_| reloads()).collect();
        counts.iter().all(|count| *count == counts[0]).then_some(counts[0])
    });
    server.signal(libc::SIGHUP);
    eventually("the reload is counted", || (reloads() > before).then_some(()));
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
    let base = format!(
        "HOST=127.0.0.1\nPORT=0\nSHARDS=2\nMEMORY_BUDGET_BYTES=64MiB\nMAX_ITEM_BYTES=16MiB\nAPI_TOKEN={token}\n"
    );
    fs::write(&file, &base).expect("a file");
    // Nothing is in the environment, which would win.
    let of_tests = ["HOST", "PORT", "API_TOKEN", "MEMORY_BUDGET_BYTES"];
    let launch = of_tests.into_iter().fold(Launch::new(&[]), Launch::without);
    let server = launch.args(&["--env-file", file.to_str().expect("a path of text")]).start();
    let (mut wrong, mut seen) = (Vec::new(), [0; 2]);
    for (name, acts_on_reload) in document::acts_on_reload(&document::text()) {
        let changed = format!("{base}{name}={}\n", other_value(&name, folder.path()));
        for text in [&changed, &base] {
            fs::write(&file, text).expect("a file");
            reload(&server);
        }
        // This line comes after the warnings of its reload; once it is there twice, they are in the log.
        let is_last = |line: &&String| line.contains("the configuration was read again and is in force");
        let new = || logged(&server, folder.path(), seen);
        eventually_equal("reloads in the log", &2, || new().0.iter().filter(is_last).count());
        let (new, count) = new();
        seen = count;
        let refused: Vec<&String> = new.iter().filter(|line| line.contains(REFUSAL)).collect();
        let as_expected = match refused[..] {
            [] => acts_on_reload,
            [line] => !acts_on_reload && line.contains(&format!("{name} stays")),
            _ => false,
        };
        if !as_expected {
            wrong.push(format!("{name} acts on reload: {acts_on_reload}, but the server says:\n{}", new.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
