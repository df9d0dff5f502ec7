//! The unit, judged by systemd's own tools.

use crate::install::install;
use crate::{file, read, tools};
use std::fs;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

/// The largest exposure, of 10, that the unit may be rated at.
const EXPOSURE_MAX: f64 = 2.0;
/// Where it is installed.
const UNIT: &str = "usr/local/lib/systemd/system/cache-service.service";

/// The values of a setting of the unit, in order.
pub fn settings(name: &str) -> Vec<String> {
    let unit = read("systemd/cache-service.service");
    let values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

/// The one value of a setting of the unit.
#[track_caller]
fn setting(name: &str) -> String {
    let [value] = &settings(name)[..] else { panic!("{name}: {:?}", settings(name)) };
    value.clone()
}

/// A folder with the service installed, the units that systemd itself brings, and the one other program that is named.
fn installed() -> TempDir {
    let root = TempDir::new().expect("a folder to work in");
    install(root.path());
    let units = root.path().join("usr/lib/systemd");
    fs::create_dir_all(&units).expect("a folder can be made");
    let mut copy = tools::command("cp");
    tools::succeed({
        copy.args(["--recursive", "/lib/systemd/system"]).arg(units);
        copy
    });
    fs::create_dir_all(root.path().join("bin")).expect("a folder can be made");
    fs::copy("/bin/kill", root.path().join("bin/kill")).expect("this machine has /bin/kill");
    root
}

fn verify(root: &Path) -> Output {
    let mut command = tools::command("systemd-analyze");
    command.args(["verify", "--man=no"]).arg(format!("--root={}", root.display())).arg("cache-service.service");
    command.output().expect("systemd-analyze can be started")
}

#[track_caller]
fn assert_accepted(root: &Path) {
    let output = verify(root);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.is_empty(), "systemd-analyze verify: {}\n{said}", output.status);
}

#[test]
fn systemd_has_no_complaint_about_the_unit() {
    let root = installed();
    assert_accepted(root.path());
    // The tool does look: a setting that does not exist is told, and so is a program that is not there.
    let unit = root.path().join(UNIT);
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace("WatchdogSec=", "WatchdogSecs=")).unwrap();
    let said = String::from_utf8(verify(root.path()).stderr).unwrap();
    assert!(said.contains("WatchdogSecs"), "{said}");
    fs::write(&unit, &text).unwrap();
    fs::remove_file(root.path().join("usr/local/bin/cache-service")).unwrap();
    assert!(!verify(root.path()).status.success(), "a program that is not there is not told");
}

#[test]
fn systemd_has_no_complaint_about_the_unit_with_credentials() {
    let root = installed();
    let folder = root.path().join("etc/systemd/system/cache-service.service.d");
    fs::create_dir_all(&folder).unwrap();
    let drop_in = read("systemd/credentials.conf");
    let encrypted = drop_in
        .replace("\nLoadCredential=", "\n#LoadCredential=")
        .replace("#LoadCredentialEncrypted=", "LoadCredentialEncrypted=");
    for text in [drop_in, encrypted] {
        fs::write(folder.join("credentials.conf"), text).unwrap();
        assert_accepted(root.path());
    }
}

#[test]
fn the_unit_is_rated_as_little_exposed() {
    let mut command = tools::command("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager"]).arg(file("systemd/cache-service.service"));
    let output = tools::succeed(command);
    let report = String::from_utf8(output.stdout).unwrap();
    let (_, rating) = report.rsplit_once("Overall exposure level for cache-service.service: ").expect(&report);
    let exposure: f64 = rating.split_whitespace().next().and_then(|number| number.parse().ok()).expect(rating);
    assert!(exposure <= EXPOSURE_MAX, "{report}");
}

#[test]
fn the_users_and_folders_are_described_in_words_that_systemd_reads() {
    let root = installed();
    let option = format!("--root={}", root.path().display());
    let mut users = tools::command("systemd-sysusers");
    users.args([&option, "--dry-run", "cache-service.conf"]);
    let output = tools::succeed(users);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(said.contains("user 'cache-service'") && said.contains("group 'cache-service'"), "{said}");

    // Its owners cannot be given here: in the folder there is no such user, whom the file would be given to.
    let passwd = "root:x:0:0::/root:/bin/sh\ncache-service:x:0:0::/:/bin/false\n";
    fs::write(root.path().join("etc/passwd"), passwd).unwrap();
    fs::write(root.path().join("etc/group"), "root:x:0:\nadm:x:0:\ncache-service:x:0:\n").unwrap();
    let mut folders = tools::command("systemd-tmpfiles");
    folders.args([&option, "--create", "cache-service.conf"]);
    tools::succeed(folders);
    let link = fs::read_link(root.path().join("var/log/cache-service.log")).unwrap();
    assert_eq!(link, Path::new("cache-service/cache-service.log"));
    assert!(root.path().join("var/log/cache-service/cache-service.log").is_file());
}

#[test]
fn the_unit_goes_with_the_exit_codes_and_the_times_of_the_server() {
    assert_eq!(setting("RestartPreventExitStatus"), cache_service::cli::EXIT_CONFIG.to_string());
    let cache_service::config::settings::Default::Value(drain) =
        cache_service::config::settings::SHUTDOWN_TIMEOUT_MS.default
    else {
        panic!("SHUTDOWN_TIMEOUT_MS has a default")
    };
    let (drain_ms, stop_s): (u64, u64) = (drain.parse().unwrap(), setting("TimeoutStopSec").parse().unwrap());
    assert!(
        stop_s * 1000 > drain_ms,
        "systemd would kill the server after {stop_s} s, while it drains for {drain_ms} ms"
    );
    let threads_max = u64::from(cache_service::limits::SHARDS_MAX) * 2 + 16;
    assert!(setting("TasksMax").parse::<u64>().is_ok_and(|limit| limit >= threads_max));
    assert_eq!((setting("LimitCORE"), setting("MemorySwapMax")), ("0".to_owned(), "0".to_owned()));
    // A core that hangs, and one that panics, end the process with a code that is no success and not kept from a restart.
    assert_eq!(setting("Restart"), "on-failure");
    // Debian 12's systemd does not know notify-reload.
    assert_eq!(setting("Type"), "notify");
    for command in settings("ExecReload").into_iter().chain(settings("ExecStart")) {
        let program = command.split(' ').next().unwrap();
        assert!(program == "/usr/local/bin/cache-service" || Path::new(program).exists(), "{program} is not there");
    }
}
