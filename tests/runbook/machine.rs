//! A machine on which the service is installed: a folder, a server in it, and what stands for systemd, which does what
//! our unit says.

use crate::support::{Client, PATIENCE, eventually};
use crate::{repository, stand_ins, tools};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where the unit is installed.
const UNIT: &str = "/usr/local/lib/systemd/system/cache-service.service";
/// Where the settings are.
pub const SETTINGS: &str = "/etc/cache-service/cache-service.env";
/// Where the tokens are.
pub const TOKENS: &str = "/etc/cache-service/api-token";
/// What is found below the machine's folder. Paths and addresses are all that is replaced in the page.
const PATHS: [&str; 6] =
    ["/etc/cache-service", "/etc/logrotate.d", "/etc/systemd", "/var/log", "/usr/local/bin", "/usr/local/lib"];
/// What the page calls the server.
const ADDRESS: &str = "localhost:8080";
/// How many free ports are tried: somebody else may take one between our finding it and the server's taking it.
const STARTS_MAX: usize = 5;

/// The machine; the server on it ends when this is dropped.
pub struct Machine(Arc<Inner>);

/// What the stand-ins see of the machine.
pub struct Inner {
    folder: TempDir,
    address: SocketAddr,
    server: Mutex<Server>,
    notified: Arc<Mutex<Vec<String>>>,
}

#[derive(Default)]
struct Server {
    child: Option<Child>,
    /// How the last one ended.
    ended: Option<ExitStatus>,
    starts: usize,
    reloads: usize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::ops::Deref for Machine {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut child) = locked(&self.0.server).child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Machine {
    /// Installs the service, starts it, and lays out the stand-ins.
    ///
    /// # Panics
    /// With what was said, if any of it fails.
    #[track_caller]
    pub fn new(settings: &str) -> Self {
        for _ in 0..STARTS_MAX {
            let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
            let machine = Self(Arc::new(Inner::installed(free.expect("there is a free port"), settings)));
            stand_ins::lay_out(&machine.0);
            match machine.start() {
                Ok(()) => return machine,
                Err(why) => println!("{why}\n{}", machine.journal()),
            }
        }
        panic!("the service does not start");
    }
}

impl Inner {
    fn installed(address: SocketAddr, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder to work in");
        let notified = Arc::default();
        let machine = Self { folder, address, server: Mutex::default(), notified };
        let mut install = tools::command("sh");
        install.arg(repository("systemd/install")).env("DESTDIR", machine.root());
        tools::succeed({
            install.env("BINARY", env!("CARGO_BIN_EXE_cache-service"));
            install
        });
        // What systemd-tmpfiles does.
        fs::create_dir_all(machine.path("/var/log/cache-service")).expect("a folder");
        symlink("cache-service/cache-service.log", machine.path("/var/log/cache-service.log")).expect("a link");
        fs::create_dir_all(machine.path("/home")).expect("a folder");
        let template = fs::read_to_string(machine.path(SETTINGS)).expect("the settings are installed");
        let own = format!("{}\nHOST=127.0.0.1\nPORT={}\n{settings}", machine.here(&template), address.port());
        fs::write(machine.path(SETTINGS), own).expect("a file");
        File::create(machine.journal_path()).expect("a file");
        machine.hear();
        machine
    }

    /// Takes what the server tells systemd, for as long as the process lives.
    fn hear(&self) {
        let socket = UnixDatagram::bind(self.notify_path()).expect("a socket");
        let notified = Arc::clone(&self.notified);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len) = socket.recv(&mut buffer) {
                locked(&notified).push(String::from_utf8_lossy(&buffer[..len]).into_owned());
            }
        });
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Where a path of the page is here.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    fn notify_path(&self) -> PathBuf {
        self.root().join("notify")
    }

    pub fn journal_path(&self) -> PathBuf {
        self.root().join("journal")
    }

    /// What systemd has kept of what was written to standard output and standard error.
    pub fn journal(&self) -> String {
        fs::read_to_string(self.journal_path()).expect("there is a journal")
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A text with the paths and the address of this machine.
    pub fn here(&self, text: &str) -> String {
        let mut text = text.replace(ADDRESS, &self.address.to_string());
        for path in PATHS {
            text = text.replace(path, &self.path(path).display().to_string());
        }
        text
    }

    /// The tokens in their file.
    pub fn tokens(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path(TOKENS)).expect("there are tokens");
        text.lines().map(str::to_owned).collect()
    }

    /// A client with the newest token.
    pub fn client(&self) -> Client {
        Client::with_token(self.address, self.tokens().last().map(String::as_str))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("/var/log/cache-service.log")).unwrap_or_default()
    }

    /// The server's process ID, if it runs.
    pub fn pid(&self) -> Option<u32> {
        let mut server = locked(&self.server);
        let child = server.child.as_mut()?;
        let pid = child.id();
        match child.try_wait().expect("the child can be waited for") {
            None => Some(pid),
            ended => {
                (server.ended, server.child) = (ended, None);
                None
            }
        }
    }

    /// How the last server ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        locked(&self.server).ended
    }

    pub fn starts(&self) -> usize {
        locked(&self.server).starts
    }

    pub fn reloads(&self) -> usize {
        locked(&self.server).reloads
    }

    /// The values of a setting of the installed unit, in order.
    fn unit(&self, name: &str) -> Vec<String> {
        let unit = fs::read_to_string(self.path(UNIT)).expect("the unit is installed");
        let values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values.map(|value| self.here(value)).collect()
    }

    /// A command line of the unit, whose output goes to the journal.
    fn command(&self, line: &str) -> Command {
        let pid = self.pid().map_or_else(String::new, |pid| pid.to_string());
        let words: Vec<String> = line.split_whitespace().map(|word| word.replace("$MAINPID", &pid)).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("NOTIFY_SOCKET", self.notify_path());
        let journal = || File::options().append(true).open(self.journal_path()).expect("the journal can be written to");
        command.stdin(Stdio::null()).stdout(journal()).stderr(journal());
        command
    }

    /// Waits for READY=1 beyond the first `heard` messages.
    fn await_ready(&self, heard: usize) -> Result<(), String> {
        let started = Instant::now();
        while !locked(&self.notified)[heard..].iter().any(|message| message.contains("READY=1")) {
            if self.pid().is_none() {
                return Err(format!("the server ended: {:?}", self.ended()));
            }
            if started.elapsed() > 2 * PATIENCE {
                return Err(format!("the server does not say that it is ready: {:?}", locked(&self.notified)));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// `systemctl start`.
    pub fn start(&self) -> Result<(), String> {
        if self.pid().is_some() {
            return Ok(());
        }
        let [line] = &self.unit("ExecStart")[..] else { return Err("one ExecStart= is known here".to_owned()) };
        let heard = locked(&self.notified).len();
        let child = self.command(line).spawn().map_err(|error| format!("{line}: {error}"))?;
        {
            let mut server = locked(&self.server);
            (server.child, server.starts) = (Some(child), server.starts + 1);
        }
        self.await_ready(heard)
    }

    /// `systemctl stop`.
    pub fn stop(&self) -> Result<(), String> {
        self.signal(libc::SIGTERM)?;
        let seconds = self.unit("TimeoutStopSec").first().and_then(|seconds| seconds.parse().ok()).unwrap_or(90);
        let started = Instant::now();
        while self.pid().is_some() {
            if started.elapsed() > Duration::from_secs(seconds) {
                return Err("the server does not stop".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let ended = self.ended().expect("it has ended");
        if ended.success() { Ok(()) } else { Err(format!("the server ended with {ended}")) }
    }

    /// `systemctl reload`: every ExecReload=, up to one that fails. The server tells when it has read its files; to wait for
    /// that keeps a busy machine from mattering.
    pub fn reload(&self) -> Result<(), String> {
        let heard = locked(&self.notified).len();
        for line in self.unit("ExecReload") {
            let status = self.command(&line).status().map_err(|error| format!("{line}: {error}"))?;
            if !status.success() {
                return Err(format!("{line}: {status}"));
            }
        }
        locked(&self.server).reloads += 1;
        self.await_ready(heard)
    }

    /// `systemctl kill`.
    pub fn signal(&self, signal: i32) -> Result<(), String> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).ok_or("the server does not run")?;
        // SAFETY: kill takes plain numbers; the child has not been waited for, so its ID is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        if sent == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
    }

    /// What systemd's own checker has to say of the unit with its drop-ins; nothing if all is well.
    pub fn verify_unit(&self) -> String {
        let folder = tempfile::tempdir_in(self.root()).expect("a folder to work in");
        let copy = |from: &Path, to: &Path| {
            let text = fs::read_to_string(from).expect("a file");
            // The documentation is installed elsewhere, and of what is in drop-ins paths stay as they are.
            fs::write(to, self.here(&text).replace("file:/usr", "file:///usr")).expect("a file");
        };
        copy(&self.path(UNIT), &folder.path().join("cache-service.service"));
        let drop_ins = folder.path().join("cache-service.service.d");
        fs::create_dir(&drop_ins).expect("a folder");
        for entry in fs::read_dir(self.path("/etc/systemd/system/cache-service.service.d")).into_iter().flatten() {
            let entry = entry.expect("an entry can be read");
            copy(&entry.path(), &drop_ins.join(entry.file_name()));
        }
        let mut command = tools::command("systemd-analyze");
        command.args(["verify", "--man=no"]).arg(folder.path().join("cache-service.service"));
        let output = command.output().expect("systemd-analyze can be started");
        let failed = if output.status.success() { "" } else { "systemd-analyze fails" };
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat() + failed
    }

    /// Waits for a line in the log.
    #[track_caller]
    pub fn await_log(&self, text: &str) {
        eventually(text, || self.log().contains(text).then_some(()));
    }
}

/// Makes an executable file.
pub fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
}

#[test]
fn a_wrong_unit_is_noticed() {
    let machine = Machine::new("SHARDS=1\nMEMORY_BUDGET_BYTES=64MiB\n");
    assert_eq!(machine.verify_unit(), "");
    let unit = fs::read_to_string(machine.path(UNIT)).expect("the unit");
    let with = |from: &str, to: &str| {
        assert!(unit.contains(from), "{from}");
        fs::write(machine.path(UNIT), unit.replace(from, to)).expect("a file");
    };
    with("ExecReload=/bin/kill -HUP $MAINPID", "ExecReload=/bin/kill -TERM $MAINPID");
    machine.reload().expect_err("the server is gone");
    with("--env-file /etc", "--env-file /no-such");
    machine.start().expect_err("there is no such file");
    with("WatchdogSec", "WatchdogSecs");
    assert!(machine.verify_unit().contains("WatchdogSecs"));
}
