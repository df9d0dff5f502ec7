//! A log that cannot be written: its disk is full, its file may not grow, nobody takes what is written.

use crate::support::{Launch, Server, TOKEN, eventually};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What a small disk holds, in bytes: a few hundred lines.
const DISK_BYTES: u64 = 128 * 1024;
/// Requests that leave far more than that in a log.
const REQUESTS: usize = 3_000;
/// Has the server live in a mount namespace of its own, where the folder is a small disk. It goes with the server.
const ON_A_SMALL_DISK: &str = r#"mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@""#;

/// Lines that were lost, as the scrape has it.
fn lost(server: &Server) -> f64 {
    server.metrics().single("cache_log_lines_dropped_total")
}

/// How many lines the log says were lost from it.
fn told_lost(text: &str) -> u64 {
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("lines are JSON"));
    lines.filter_map(|line| line["lost"].as_u64()).sum()
}

/// Requests, each of which leaves a line and is answered rightly.
#[track_caller]
fn serve(server: &Server, requests: usize) {
    let mut client = server.client();
    client.put_value("k", "1");
    (0..requests).for_each(|_| assert_eq!(client.get("k").expect_status(200).json()["value"], 1));
}

/// Every line but the last is whole, and the last one too if `all` says so.
#[track_caller]
fn assert_lines_are_whole(text: &str) {
    for line in text.lines().filter(|line| !line.is_empty()) {
        let torn = serde_json::from_str::<serde_json::Value>(line).is_err();
        assert!(!torn || line.starts_with("{\"timestamp\":"), "neither a line nor the beginning of one: {line}");
    }
    let torn = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_err()).count();
    assert!(torn <= 1, "{torn} torn lines");
}

/// A server with a file of settings, in which the log's place can be changed.
struct Logging {
    server: Server,
    folder: TempDir,
}

impl Logging {
    fn start(prefix: &[&str], log: &Path) -> Self {
        let folder = TempDir::new().expect("a folder to work in");
        let settings = folder.path().join("settings");
        fs::write(&settings, "").expect("a file can be made");
        let launch = Launch::new(&[("SHARDS", "2"), ("LOG_LEVEL", "debug"), ("METRICS_INTERVAL_MS", "100")]);
        let settings = settings.to_str().expect("the path is text");
        let logging = Self { server: launch.under(prefix).args(&["--env-file", settings]).start(), folder };
        // Only now, so that the server could say on its standard error where it listens.
        logging.log_to(log);
        logging
    }

    /// Has the log go elsewhere; waits until the server has said there, or in its scrape, that it does.
    #[track_caller]
    fn log_to(&self, log: &Path) {
        let count = || self.server.metrics().sum_where("cache_config_reloads_total", &[("result", "success")]);
        let before = count();
        fs::write(self.folder.path().join("settings"), format!("LOG_FILE={}\n", log.display())).expect("a file");
        self.server.signal(libc::SIGHUP);
        eventually("the settings are in force", || (count() > before).then_some(()));
    }
}

/// A disk of [`DISK_BYTES`] that only one server sees.
struct SmallDisk {
    logging: Logging,
    /// Where the disk is for this process.
    seen_at: PathBuf,
    _folder: TempDir,
}

impl SmallDisk {
    fn start() -> Self {
        let folder = TempDir::new().expect("a folder to work in");
        let path = folder.path().to_str().expect("the path is text");
        let size = DISK_BYTES.to_string();
        let mut prefix = vec!["unshare", "--mount"];
        // SAFETY: geteuid has no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            prefix.extend(["--user", "--map-root-user"]);
        }
        prefix.extend(["sh", "-c", ON_A_SMALL_DISK, "sh", &size, path]);
        let logging = Logging::start(&prefix, &folder.path().join("log"));
        let seen_at = PathBuf::from(format!("/proc/{}/root{path}", logging.server.pid()));
        Self { logging, seen_at, _folder: folder }
    }

    fn read(&self) -> String {
        fs::read_to_string(self.seen_at.join("log")).expect("there is a log")
    }
}

#[test]
fn a_full_disk_costs_lines_of_the_log_and_nothing_else() {
    let disk = SmallDisk::start();
    let server = &disk.logging.server;
    serve(server, REQUESTS);
    eventually("the loss is counted", || (lost(server) > 0.0).then_some(()));
    let full = disk.read();
    assert!(full.len() as u64 <= DISK_BYTES && full.len() as u64 > DISK_BYTES / 2, "{} bytes", full.len());
    server.log_line("a word of it where it can be read", |line| line.contains("LOG_FILE") && line.contains("space"));
    let words = server.log_lines().iter().filter(|line| line.contains("No space left")).count();
    assert_eq!(words, 1, "once is enough: {:?}", server.log_lines());

    // Nor does a reload mind.
    server.signal(libc::SIGHUP);
    serve(server, 100);

    // Somebody makes room: the log goes on by itself, and says what is missing from it.
    OpenOptions::new().write(true).truncate(true).open(disk.seen_at.join("log")).expect("the log is there");
    serve(server, 1);
    let text = eventually("the log goes on", || Some(disk.read()).filter(|text| text.contains("lines were lost")));
    assert_lines_are_whole(&text);
    let lost_until_now = told_lost(&text);
    serve(server, 100);
    let text = eventually("requests are in the log", || {
        Some(disk.read()).filter(|text| text.matches("\"request\"").count() > 100)
    });
    assert_eq!(told_lost(&text), lost_until_now, "no further line is lost");
    // What the server counts is brought together now and then.
    eventually("all that was lost is counted", || (lost(server) >= lost_until_now as f64).then_some(()));
}

#[test]
fn a_file_that_may_not_grow_does_not_end_the_server() {
    let folder = TempDir::new().expect("a folder to work in");
    let (log, next) = (folder.path().join("log"), folder.path().join("next"));
    let mut logging = Logging::start(&["prlimit", "--fsize=65536:unlimited"], &log);
    // Beyond such a limit the kernel does not only refuse: it sends a signal that ends a process.
    serve(&logging.server, REQUESTS);
    assert!(logging.server.is_running());
    eventually("the loss is counted", || (lost(&logging.server) > 0.0).then_some(()));
    assert_eq!(fs::metadata(&log).expect("there is a log").len(), 65_536);
    logging.log_to(&next);
    serve(&logging.server, 1);
    let text =
        eventually("the next file is written", || Some(fs::read_to_string(&next).ok()?).filter(|t| !t.is_empty()));
    assert_lines_are_whole(&text);
}

/// A file that takes no more than a pipe does, until somebody reads it.
struct Stuck {
    path: PathBuf,
    reader: File,
}

impl Stuck {
    fn new(folder: &TempDir) -> Self {
        let path = folder.path().join("stuck");
        let name = CString::new(path.as_os_str().as_bytes()).expect("a path has no NUL");
        // SAFETY: the name is a live string that ends with NUL.
        let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        let reader = OpenOptions::new().read(true).write(true).open(&path).expect("a pipe can be opened");
        Self { path, reader }
    }

    /// Waits until nothing more goes in.
    #[track_caller]
    fn wait_until_full(&self) {
        let waiting = || {
            let mut bytes = 0_i32;
            // SAFETY: the pointer is to a live integer that the kernel fills in.
            let asked = unsafe { libc::ioctl(self.reader.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
            assert_eq!(asked, 0, "{}", std::io::Error::last_os_error());
            bytes
        };
        eventually("the pipe is full", || (waiting() > 60_000).then_some(()));
    }

    /// Writes until nothing more goes in.
    fn fill(&mut self) {
        let fd = self.reader.as_raw_fd();
        let set = |flags: libc::c_int| {
            // SAFETY: takes plain numbers; the descriptor is that of a live file.
            let done = unsafe { libc::fcntl(fd, libc::F_SETFL, flags) };
            assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        };
        set(libc::O_NONBLOCK);
        while self.reader.write(&[b'x'; 4096]).is_ok() {}
        while self.reader.write(b"x").is_ok() {}
        set(0);
    }

    /// Reads all that comes until `wanted` is among it.
    fn read_until(&mut self, wanted: &str) {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&text).contains(wanted) {
            let len = self.reader.read(&mut buffer).expect("a pipe can be read");
            text.extend_from_slice(&buffer[..len]);
        }
    }
}

#[test]
fn a_log_that_hangs_holds_up_neither_requests_nor_reloads_nor_the_end() {
    let folder = TempDir::new().expect("a folder to work in");
    let stuck = Stuck::new(&folder);
    let mut logging = Logging::start(&[], &stuck.path);
    serve(&logging.server, REQUESTS);
    stuck.wait_until_full();
    // The writing thread waits in the kernel now. Nobody else does.
    serve(&logging.server, 100);
    let token = format!("{TOKEN}-and-more");
    logging.server.client_with(Some(&token)).put_value("k", "2").expect_status(401);
    logging.log_to(&folder.path().join("next"));
    serve(&logging.server, 100);
    assert_eq!(logging.server.term().code(), Some(0));
}

#[test]
fn a_standard_error_that_nobody_reads_keeps_nobody_from_ending() {
    let folder = TempDir::new().expect("a folder to work in");
    let mut stuck = Stuck::new(&folder);
    stuck.fill();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let path = stuck.path.to_str().expect("the path is text");
    let [to_stuck, log] = [format!("exec \"$@\" 2>'{path}'"), folder.path().join("log").display().to_string()];
    let launch = Launch::new(&[("PORT", &port), ("LOG_FILE", &log)]).under(&["sh", "-c", &to_stuck, "sh"]);
    let (status, _) = launch.run_to_end();
    assert_eq!(status.code(), Some(69));
    assert!(fs::read_to_string(log).expect("there is a log").contains("cannot start"));
}

#[test]
fn a_log_that_hung_goes_on_in_the_file_that_was_named_meanwhile() {
    let folder = TempDir::new().expect("a folder to work in");
    let (mut stuck, next) = (Stuck::new(&folder), folder.path().join("next"));
    let logging = Logging::start(&[], &stuck.path);
    serve(&logging.server, REQUESTS);
    stuck.wait_until_full();
    logging.log_to(&next);
    stuck.read_until("\"request\"");
    serve(&logging.server, 10);
    eventually("the next file is written", || fs::read_to_string(&next).ok()?.contains("\"request\"").then_some(()));
}
