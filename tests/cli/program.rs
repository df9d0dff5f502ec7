//! The program, run to its end.

use crate::support::{Server, TOKEN};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

/// How a run of the program ended.
#[derive(Debug)]
pub struct Run {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// This run, if it ended with the expected code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// The program with nothing in its environment but a token and what is given.
pub fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cache-service"));
    command.args(arguments).env_clear().env("API_TOKEN", TOKEN).envs(environment.iter().copied());
    command.stdin(Stdio::null());
    command
}

/// A server with so many shards and these variables, which does not give up on a request where the machine has too much
/// to do for all the tests at once.
#[track_caller]
pub fn server(shards: &str, environment: &[(&str, &str)]) -> Server {
    Server::start(&[&[("SHARDS", shards), ("REQUEST_TIMEOUT_MS", "60000")], environment].concat())
}

/// Runs it. An empty value in the environment counts as none.
#[track_caller]
pub fn run_in(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    let output = command(arguments, environment).output().expect("the program can be started");
    Run {
        code: output.status.code().unwrap_or_else(|| panic!("{arguments:?} was ended by a signal: {output:?}")),
        stdout: String::from_utf8(output.stdout).expect("standard output is text"),
        stderr: String::from_utf8(output.stderr).expect("standard error is text"),
    }
}

/// Runs it with a token.
#[track_caller]
pub fn run(arguments: &[&str]) -> Run {
    run_in(arguments, &[])
}

/// The URL of a server.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// An address where nobody listens: free a moment ago, and nobody else here asks for it.
pub fn closed_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}
