//! The template of the environment file.

use crate::install::{SETTINGS, TOKEN_FILE, install};
use crate::{read, tools};
use cache_service::config::settings::{ALL, Default};
use std::fs;
use std::process::Command;
use tempfile::TempDir;

/// What the template sets; the rest are defaults in comments.
const ACTIVE: [(&str, &str); 2] =
    [("API_TOKEN_FILE", "/etc/cache-service/api-token"), ("LOG_FILE", "/var/log/cache-service/cache-service.log")];

/// The assignments of the template, with whether each is in a comment.
fn assignments(text: &str) -> Vec<(bool, &str, &str)> {
    text.lines()
        .filter_map(|line| {
            let commented = line.starts_with('#');
            let (name, value) = line.trim_start_matches('#').split_once('=')?;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            is_name.then_some((commented, name, value))
        })
        .collect()
}

#[test]
fn the_template_has_every_setting_once_with_its_default() {
    let text = read("systemd/cache-service.env");
    let found = assignments(&text);
    for setting in ALL {
        let of_setting: Vec<_> = found.iter().filter(|(_, name, _)| *name == setting.name).collect();
        let [(commented, _, value)] = of_setting[..] else { panic!("{}: {of_setting:?}", setting.name) };
        match ACTIVE.iter().find(|(name, _)| *name == setting.name) {
            Some((name, active)) => assert_eq!((commented, value), (&false, active), "{name}"),
            None => assert!(commented, "{} is active", setting.name),
        }
        if let Default::Value(default) = setting.default {
            assert_eq!(*value, default, "{}", setting.name);
        }
    }
    assert_eq!(found.len(), ALL.len(), "{found:?}");
}

#[test]
fn the_server_accepts_the_template_as_it_is_and_with_every_default_written_out() {
    let root = TempDir::new().unwrap();
    install(root.path());
    let template = fs::read_to_string(root.path().join(SETTINGS)).unwrap();
    let here = |text: &str| {
        text.replace("/etc/cache-service/api-token", &root.path().join(TOKEN_FILE).display().to_string())
            .replace("/var/log/cache-service/", &format!("{}/", root.path().display()))
    };
    let written_out: Vec<_> =
        assignments(&template).into_iter().map(|(_, name, value)| format!("{name}={value}\n")).collect();
    for text in [here(&template), here(&written_out.concat())] {
        let path = root.path().join("settings");
        fs::write(&path, &text).unwrap();
        let mut command = Command::new(root.path().join("usr/local/bin/cache-service"));
        command.env_clear().arg("check-config").arg("--env-file").arg(path);
        let output = tools::succeed(command);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{text}");
    }
}
