//! The real server as a child process: the one built with the tests, or the one that `SERVER_BINARY` names.

use super::client::{Client, TOKEN};
use super::http::RawConnection;
use super::metrics::Metrics;
use super::{PATIENCE, eventually};
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The variables of this test run that a server may see as well. It gets no other, so that nothing that is set where
/// the tests run changes what they test.
const INHERITED: [&str; 4] = ["PATH", "RUST_BACKTRACE", "LLVM_PROFILE_FILE", "TMPDIR"];

/// How a server is to be started. By default it listens on a free port of the loopback with [`TOKEN`].
#[derive(Clone, Debug)]
pub struct Launch {
    env: Vec<(String, String)>,
    args: Vec<String>,
    prefix: Vec<String>,
    program: Option<PathBuf>,
}

impl Launch {
    /// The defaults, with these variables set as well or instead.
    pub fn new(env: &[(&str, &str)]) -> Self {
        let defaults =
            [("HOST", "127.0.0.1"), ("PORT", "0"), ("API_TOKEN", TOKEN), ("MEMORY_BUDGET_BYTES", "268435456")];
        let env = defaults.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { env, args: Vec::new(), prefix: Vec::new(), program: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a variable unset.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self
    }

    /// Starts this program instead of the server built with the tests.
    #[must_use]
    pub fn program(mut self, path: PathBuf) -> Self {
        self.program = Some(path);
        self
    }

    /// Starts it under `taskset -c CPUS`.
    #[must_use]
    pub fn on_cpus(self, cpus: &str) -> Self {
        self.under(&["taskset", "-c", cpus])
    }

    /// Starts it under a program that executes the server in its own place, such as `prlimit` or `taskset`: the
    /// process that is spawned is the server.
    #[must_use]
    pub fn under(mut self, prefix: &[&str]) -> Self {
        self.prefix.extend(prefix.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// With all that it wrote, if it ends or says nothing of listening within [`PATIENCE`].
    #[track_caller]
    pub fn start(&self) -> Server {
        let (child, output) = self.spawn();
        let mut server = Server { child, output, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let started = Instant::now();
        loop {
            if let Some(address) = server.output.lines().iter().find_map(|line| listening_address(line)) {
                server.address = address;
                return server;
            }
            let ended = server.child.try_wait().expect("the child can be waited for");
            assert!(ended.is_none(), "the server ended ({ended:?}) before it listened:\n{}", server.output.text());
            assert!(started.elapsed() < PATIENCE, "the server does not listen:\n{}", server.output.text());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts it and waits until it ends by itself; gives how, and what it wrote.
    ///
    /// # Panics
    /// If it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn run_to_end(&self) -> (ExitStatus, String) {
        let (mut child, mut output) = self.spawn();
        let Some(status) = wait_for(&mut child) else {
            drop(child.kill());
            drop(child.wait());
            panic!("the server should have ended by itself:\n{}", output.text());
        };
        output.finish();
        (status, output.text())
    }

    fn spawn(&self) -> (Child, Output) {
        let named = std::env::var("SERVER_BINARY");
        let usual = named.as_deref().unwrap_or(env!("CARGO_BIN_EXE_cache-service"));
        let program = self.program.as_ref().map_or(usual, |path| path.to_str().expect("a path of text"));
        let mut words = self.prefix.iter().map(String::as_str).chain([program]);
        let mut command = Command::new(words.next().expect("there is a program at least"));
        command.args(words);
        command.env_clear().envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(self.env.iter().map(|(name, value)| (name, value))).args(&self.args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server can be started");
        let output = Output::collect(&mut child);
        (child, output)
    }
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    output: Output,
    address: SocketAddr,
}

impl Server {
    /// Starts a server with these variables besides the defaults of [`Launch`].
    #[track_caller]
    pub fn start(env: &[(&str, &str)]) -> Self {
        Launch::new(env).start()
    }

    /// Starts a server with so many shards.
    #[track_caller]
    pub fn with_shards(shards: usize) -> Self {
        Self::start(&[("SHARDS", &shards.to_string())])
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client with the right token.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A client with another token, or none.
    pub fn client_with(&self, token: Option<&str>) -> Client {
        Client::with_token(self.address, token)
    }

    /// A connection for bytes of one's own.
    #[track_caller]
    pub fn connect(&self) -> RawConnection {
        RawConnection::open(self.address)
    }

    /// A scrape.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::scrape(self.address)
    }

    /// The lines that it has written so far, standard output and standard error.
    pub fn log_lines(&self) -> Vec<String> {
        self.output.lines()
    }

    /// The first line that satisfies `wanted`, waited for.
    #[track_caller]
    pub fn log_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(what, || self.log_lines().into_iter().find(|line| wanted(line)))
    }

    /// Sends a signal, such as `libc::SIGHUP`.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).expect("process IDs fit");
        // SAFETY: kill takes plain numbers; the child has not been waited for, so its ID is still its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "{}", std::io::Error::last_os_error());
    }

    /// Asks it to end, waits for that, and gives its exit status.
    #[track_caller]
    pub fn term(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// With all that it wrote, if it has not ended within [`PATIENCE`].
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait_for(&mut self.child).unwrap_or_else(|| panic!("the server does not end:\n{}", self.output.text()))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be waited for").is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only if the server has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
        self.output.finish();
        if std::thread::panicking() {
            eprintln!("--- the server wrote:\n{}---", self.output.text());
        }
    }
}

/// The exit status, if the child ends within [`PATIENCE`].
fn wait_for(child: &mut Child) -> Option<ExitStatus> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// The address in a log line that says `listening`.
fn listening_address(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let member = |name: &str| line.get(name).or_else(|| line.get("fields")?.get(name))?.as_str().map(str::to_owned);
    (member("message")? == "listening").then(|| member("address"))??.parse().ok()
}

/// Everything that a child writes, collected by one thread for each of its two outputs.
#[derive(Debug)]
struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Output {
    fn collect(child: &mut Child) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
            child.stderr.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
        ];
        let readers = outputs.into_iter().flatten().map(|output| read_lines(output, Arc::clone(&lines))).collect();
        Self { lines, readers }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn text(&self) -> String {
        self.lines().iter().map(|line| format!("{line}\n")).collect()
    }

    /// Waits for the end of both outputs, which comes with the end of the child.
    fn finish(&mut self) {
        for reader in self.readers.drain(..) {
            drop(reader.join());
        }
    }
}

fn read_lines(output: Box<dyn Read + Send>, lines: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}
