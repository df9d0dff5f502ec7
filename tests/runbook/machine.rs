//! A machine on which the service is installed: a folder, a server in it, and what stands for systemd, which does what
//! our unit says.

mod service;

use crate::support::{Client, eventually, free_ports};
use crate::{repository, stand_ins, tools};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
/// Where the page has the ports of the cores begin.
const SHARD_PORT: &str = "9000";
/// More cores than the page's server has here.
const SHARDS_MAX: u16 = 8;
/// How many free ports are tried: somebody else may take one between our finding it and the server's taking it.
const STARTS_MAX: usize = 5;

/// The machine; the server on it ends when this is dropped.
pub struct Machine(Arc<Inner>);

/// What the stand-ins see of the machine.
pub struct Inner {
    folder: TempDir,
    address: SocketAddr,
    shard_port: u16,
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
        let machine = Self { folder, address, shard_port: free_ports(SHARDS_MAX), server: Mutex::default(), notified };
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
        let text = text.replace(SHARD_PORT, &self.shard_port.to_string());
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
