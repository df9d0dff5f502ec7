//! The installer, into a folder.

use crate::{file, tools};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The server that these tests were built with.
const SERVER: &str = env!("CARGO_BIN_EXE_cache-service");
/// Where its tokens are.
pub const TOKEN_FILE: &str = "etc/cache-service/api-token";
/// Where its settings are.
pub const SETTINGS: &str = "etc/cache-service/cache-service.env";

/// Everything that is installed, with its mode.
const INSTALLED: [(&str, u32); 9] = [
    ("usr/local/bin/cache-service", 0o755),
    ("usr/local/lib/systemd/system/cache-service.service", 0o644),
    ("usr/local/lib/sysusers.d/cache-service.conf", 0o644),
    ("usr/local/lib/tmpfiles.d/cache-service.conf", 0o644),
    ("usr/local/lib/sysctl.d/60-cache-service.conf", 0o644),
    ("usr/local/share/doc/cache-service/README.md", 0o644),
    ("etc/logrotate.d/cache-service", 0o644),
    (SETTINGS, 0o640),
    (TOKEN_FILE, 0o600),
];

/// Installs under `root`; gives what the installer said.
#[track_caller]
pub fn install(root: &Path) -> String {
    let mut command = tools::command("sh");
    command.arg(file("systemd/install")).env("DESTDIR", root).env("BINARY", SERVER);
    String::from_utf8(tools::succeed(command).stdout).expect("it says text")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it can be read").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn everything_is_installed_with_its_mode_and_nothing_else() {
    let root = TempDir::new().unwrap();
    install(root.path());
    for (path, mode) in INSTALLED {
        let metadata = fs::metadata(root.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{path}");
    }
    let installed = files_below(root.path());
    assert_eq!(installed.len(), INSTALLED.len(), "{installed:#?}");
}

#[test]
fn a_token_is_made_once_and_what_was_changed_is_kept() {
    let root = TempDir::new().unwrap();
    let at = |path: &str| root.path().join(path);
    assert!(install(root.path()).contains("made a token"));
    let token = fs::read_to_string(at(TOKEN_FILE)).unwrap();
    let digits = token.trim_end();
    assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token:?}");

    fs::write(at(SETTINGS), "LOG_LEVEL=debug\n").unwrap();
    fs::write(at("etc/logrotate.d/cache-service"), "# off\n").unwrap();
    // What a token is rotated by, a mode of one's own, an old version: the second run is an upgrade.
    fs::set_permissions(at("etc/cache-service"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(at("usr/local/bin/cache-service"), "an older version").unwrap();
    let said = install(root.path());

    assert_eq!(fs::read_to_string(at(TOKEN_FILE)).unwrap(), token);
    assert_eq!(fs::read_to_string(at(SETTINGS)).unwrap(), "LOG_LEVEL=debug\n");
    assert_eq!(fs::read_to_string(at("etc/logrotate.d/cache-service")).unwrap(), "# off\n");
    assert_eq!(fs::metadata(at("etc/cache-service")).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(at("usr/local/bin/cache-service")).unwrap().len(), fs::metadata(SERVER).unwrap().len());
    assert!(said.contains("kept") && said.contains("cache-service.env"), "{said}");
    assert_eq!(files_below(root.path()).len(), INSTALLED.len());

    let other = TempDir::new().unwrap();
    install(other.path());
    assert_ne!(fs::read_to_string(other.path().join(TOKEN_FILE)).unwrap(), token, "two machines have the same token");
}

#[test]
fn without_a_binary_nothing_is_installed() {
    let root = TempDir::new().unwrap();
    let mut command = tools::command("sh");
    command.arg(file("systemd/install")).env("DESTDIR", root.path()).env("BINARY", root.path().join("nothing"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("cargo build --release --locked"), "{said}");
    assert_eq!(files_below(root.path()), Vec::<PathBuf>::new());
}
