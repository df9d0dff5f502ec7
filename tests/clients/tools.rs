//! Programs that are not of this package.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Where the tests' own Python and its packages are.
const PYTHON: &str = "target/test-tools/venv/bin/python";

/// A command for an installed program, with the environment of this process less what names a proxy for its requests.
///
/// # Panics
/// With what to do, if the program is not there and cannot be installed.
pub fn command(program: &str) -> Command {
    install();
    let mut command = Command::new(path_of(program));
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
///
/// # Panics
/// With all that it wrote, if it fails.
#[track_caller]
pub fn succeed(mut command: Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ends with {}:\n{out}{err}", output.status);
    output
}

fn path_of(program: &str) -> PathBuf {
    if program == "python" {
        return Path::new(env!("CARGO_MANIFEST_DIR")).join(PYTHON);
    }
    // Debian keeps daemons where only the superuser's PATH leads.
    let sbin = Path::new("/usr/sbin").join(program);
    if sbin.exists() { sbin } else { PathBuf::from(program) }
}

/// Installs what is missing, once for each run of a test binary.
fn install() {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install-test-tools");
        let output = Command::new(&script).stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        let written = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(written) }
    });
    if let Err(why) = installed {
        panic!("the tools of the tests cannot be installed; run scripts/install-test-tools as root. It said:\n{why}");
    }
}
