//! The table that says which settings take effect on a reload.

use crate::document::settings_that_take_effect;
use crate::support::{Launch, Server, TOKEN, eventually};
use cache_service::config::settings::ALL;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Another value than the one in force for each setting, as TOML has it.
fn another(name: &str, folder: &Path) -> String {
    match name {
        "HOST" => "127.0.0.2".to_owned(),
        "API_TOKEN" => format!("{TOKEN},another-token-of-more-than-thirty-two-characters"),
        "API_TOKEN_FILE" => {
            let file = folder.join("tokens");
            fs::write(&file, "a-token-in-a-file-of-more-than-thirty-two-characters\n").expect("a file");
            file.display().to_string()
        }
        "READ_REQUIRES_AUTH" => "true".to_owned(),
        "EVICTION_POLICY" => "lru".to_owned(),
        "LOG_LEVEL" => "debug".to_owned(),
        "LOG_FORMAT" => "text".to_owned(),
        "LOG_FILE" => folder.join("log").display().to_string(),
        "MEMORY_BUDGET_BYTES" => "67108864".to_owned(),
        "PORT" => "1".to_owned(),
        "SHARDS" => "3".to_owned(),
        _ => "777".to_owned(),
    }
}

fn reloads(server: &Server) -> f64 {
    server.metrics().sum_where("cache_config_reloads_total", &[("result", "success")])
}

/// Whether the server, told of another value of this setting, says that it waits for a restart.
fn waits_for_restart(name: &'static str) -> bool {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    fs::write(&config, "").expect("a file");
    // What the environment sets would win over the file.
    let mut launch = Launch::new(&[]).without(name).without("API_TOKEN").without("HOST").without("PORT");
    launch = launch.without("MEMORY_BUDGET_BYTES").args(&["--config", config.to_str().expect("text")]);
    let base = format!(
        "port = 0\nshards = 2\nmemory_budget_bytes = 134217728\napi_token = \"{TOKEN}\"\nhost = \"127.0.0.1\"\n"
    );
    fs::write(&config, &base).expect("a file");
    let server = launch.start();
    let key = name.to_lowercase();
    let rest: String =
        base.lines().filter(|line| !line.starts_with(&format!("{key} "))).map(|it| format!("{it}\n")).collect();
    fs::write(&config, format!("{rest}{key} = \"{}\"\n", another(name, dir.path()))).expect("a file");
    server.signal(libc::SIGHUP);
    eventually("the configuration was read again", || (reloads(&server) > 0.0).then_some(()));
    let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    let said = server.log_lines().join("\n") + &log;
    said.lines().any(|line| line.contains("until a restart") && line.contains(name))
}

#[test]
fn settings_take_effect_when_the_table_says() {
    let document = crate::document();
    let (on_reload, on_restart) =
        (settings_that_take_effect(&document, "on reload"), settings_that_take_effect(&document, "on restart"));
    let told: BTreeSet<&str> = on_reload.iter().chain(&on_restart).map(String::as_str).collect();
    let known: BTreeSet<&str> = ALL.iter().map(|setting| setting.name).collect();
    assert_eq!(told, known);
    for setting in ALL {
        let waits = waits_for_restart(setting.name);
        assert_eq!(waits, on_restart.iter().any(|name| name == setting.name), "{}", setting.name);
    }
}
