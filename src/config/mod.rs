//! What an operator may change: read from all sources, checked as a whole, and valid by construction.
//!
//! Sources, of which later ones win: defaults, TOML file, environment file, environment, command line.
//!
//! ```text
//! Sources --raw--> text and origin of each value --resolve--> Config, or every Problem at once
//! Host (CPUs, memory, open files) ------defaults----^
//! ```

mod env_file;
pub mod host;
mod problem;
mod raw;
mod resolve;
mod rules;
pub mod settings;
mod token;

pub use host::Host;
pub(crate) use problem::one_line;
pub use problem::{Problem, Problems};
pub use raw::{CONFIG_FILE, Sources};
pub use token::Token;

use crate::shard::EvictionPolicy;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The configuration of a server. Whatever holds one may rely on the ranges of [`settings`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where every core listens; port 0 means any free port, the same one for all cores.
    pub listen: SocketAddr,
    /// Where core 0 listens alone; core i does so i ports further. Port 0 means any free one for each core.
    pub shard_ports_from: Option<u16>,
    /// The tokens that allow writes; at least one.
    pub tokens: Vec<Token>,
    /// The token that was made because none was configured, for its owner to see once. It is in `tokens` as well.
    pub generated_token: Option<Token>,
    /// Whether reads need a token as well.
    pub read_requires_auth: bool,
    /// Shards, 1 to [`crate::limits::SHARDS_MAX`].
    pub shards: u16,
    /// The CPUs that this process may use, ascending; at least one. Shard i belongs on `cpus[i % cpus.len()]`.
    pub cpus: Vec<usize>,
    /// Largest value, in bytes.
    pub max_item_bytes: u64,
    /// Memory of the whole cache, in bytes; `None` is unlimited.
    pub memory_budget_bytes: Option<u64>,
    /// Who goes when there is no room.
    pub eviction_policy: EvictionPolicy,
    /// Longest that a request may take inside, or a body may stand still, in milliseconds.
    pub request_timeout_ms: u64,
    /// Requests in progress, in the whole process.
    pub max_inflight: usize,
    /// Operations queued at one shard.
    pub max_shard_mailbox: usize,
    /// Open connections, in the whole process.
    pub max_connections: usize,
    /// Longest that a connection is kept without a request, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Longest that a request head may take to arrive, in milliseconds.
    pub header_timeout_ms: u64,
    /// From when on a request is slow, in milliseconds.
    pub slow_request_ms: u64,
    /// Where log lines go, which, and how they look.
    pub log: LogConfig,
    /// How stale the gauges may be, in milliseconds.
    pub metrics_interval_ms: u64,
    /// Longest drain, in milliseconds; 0 is none.
    pub shutdown_timeout_ms: u64,
    /// What is allowed but probably not meant; one line each.
    pub warnings: Vec<String>,
    /// Every setting as text, secrets masked, with its source; in the order of [`settings::ALL`].
    pub entries: Vec<Entry>,
}

/// Where log lines go, which, and how they look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Least important level that is logged.
    pub level: LogLevel,
    /// Form of a line.
    pub format: LogFormat,
    /// The file that lines are appended to; `None` is standard error.
    pub file: Option<PathBuf>,
}

/// Least important level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What an operator may want to know later.
    Info,
    /// What may need attention.
    Warn,
    /// What needs attention.
    Error,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object for each line.
    Json,
    /// For people.
    Text,
}

/// One setting as it is shown to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The setting's name.
    pub name: &'static str,
    /// Its value, empty if it has none; a secret is masked.
    pub value: String,
    /// The source that set it.
    pub source: String,
}

impl Config {
    /// Reads the sources and checks everything.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(sources: &Sources) -> Result<Self, Problems> {
        resolve::resolve(sources, Host::observe(), None)
    }

    /// Reads the sources again, for a server that runs under `self`. What only a restart can change stays as it is
    /// (address, ports, shards, eviction policy), with a warning where the sources want something else; and so does a token
    /// that was made.
    ///
    /// # Errors
    /// Every problem at once; the server then goes on under `self`.
    pub fn reload(&self, sources: &Sources) -> Result<Self, Problems> {
        let host = Host { cpus: self.cpus.clone(), ..Host::observe() };
        resolve::resolve(sources, host, Some(self))
    }
}
