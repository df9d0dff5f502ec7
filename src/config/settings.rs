//! The table of settings: the one place that says what each is called, what it means, and what it may be.
//!
//! `--help`, the refusals, `print-config` and the values themselves all come from here.

use crate::limits;
use std::fmt;

/// Most tokens that may be configured at once: each one is compared with every request's.
pub const TOKENS_MAX: usize = 64;
/// Longest token, in bytes. It travels in a request head, beside everything else that is there.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// A token shorter than this, in bytes, is accepted with a warning.
pub const TOKEN_BYTES_ADVISED: usize = 32;
/// Largest configuration, environment or token file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

const _: () = assert!(TOKEN_BYTES_MAX * 2 < limits::HEAD_BYTES_MAX, "every token fits into a request head");

const HOUR_MS: u64 = 60 * 60 * 1000;
const GIB: u64 = 1 << 30;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The name of the variable, upper case: `MAX_INFLIGHT`.
    pub name: &'static str,
    /// The name in the TOML file, lower case: `max_inflight`.
    pub key: &'static str,
    /// The name on the command line, without dashes in front: `max-inflight`.
    pub option: &'static str,
    /// What the help calls the value.
    pub value_name: &'static str,
    /// What holds when no source sets it.
    pub default: Default,
    /// What it may be.
    pub allowed: Allowed,
    /// What it means, in one sentence.
    pub help: &'static str,
}

/// What a setting is when no source sets it.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// This value.
    Value(&'static str),
    /// A value that depends on the machine or on other settings, described.
    Computed(&'static str),
    /// Nothing, and what that means.
    Unset(&'static str),
}

/// What a setting may be. Its `Display` completes the sentence "allowed: …".
#[derive(Clone, Copy, Debug)]
pub enum Allowed {
    /// An integer in this range, both ends included.
    Integer {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// A number of bytes in this range, both ends included, which may be written in KiB, MiB or GiB.
    Bytes {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
        /// Whether 0 is allowed as well, and means no limit.
        zero_is_unlimited: bool,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Text, described.
    Text(&'static str),
    /// Text that must never be shown, described.
    Secret(&'static str),
}

impl Setting {
    /// Whether the value must never be shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.allowed, Allowed::Secret(_))
    }

    /// The setting with this name in a TOML file.
    #[must_use]
    pub fn by_key(key: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|setting| setting.key == key)
    }

    /// The setting with this name as a variable.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|setting| setting.name == name)
    }
}

impl fmt::Display for Default {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Value(text) | Self::Computed(text) | Self::Unset(text)) = self;
        f.write_str(text)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::Bytes { min, max, zero_is_unlimited } => {
                write!(f, "bytes from {min} to {max}, as an integer with or without KiB, MiB or GiB")?;
                if *zero_is_unlimited { f.write_str("; or 0 for no limit") } else { Ok(()) }
            }
            Self::Flag => f.write_str("true or false"),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Text(text) | Self::Secret(text) => f.write_str(text),
        }
    }
}

/// Declares the settings as constants, derives their three spellings, and collects them in the order given.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident, $key:literal, $option:literal, $value_name:literal, $default:expr, $allowed:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $name: Setting = Setting {
                name: stringify!($name),
                key: $key,
                option: $option,
                value_name: $value_name,
                default: $default,
                allowed: $allowed,
                help: $help,
            };
        )*
        /// Every setting, in the order in which people see them.
        pub static ALL: &[&Setting] = &[$(&$name),*];
    };
}

const fn millis(min: u64, max: u64) -> Allowed {
    Allowed::Integer { min, max }
}

settings! {
    HOST, "host", "host", "ADDRESS",
        Default::Computed("127.0.0.1 without a token, 0.0.0.0 with one"),
        Allowed::Text("an IP address or a host name that resolves to one"),
        "Address that every core listens on.";
    PORT, "port", "port", "PORT",
        Default::Value("8080"), Allowed::Integer { min: 0, max: 65_535 },
        "Port that every core listens on; 0 takes any free one.";
    SHARD_PORTS_FROM, "shard_ports_from", "shard-ports-from", "PORT",
        Default::Unset("there are none"), Allowed::Integer { min: 0, max: 65_535 },
        "First of as many ports as there are shards, on which one core each listens besides; 0 takes any free ones.";
    API_TOKEN, "api_token", "api-token", "TOKENS",
        Default::Unset("a random token is made and printed once"),
        Allowed::Secret("1 to 64 tokens separated by commas, each of 1 to 4096 visible ASCII characters"),
        "Tokens that allow writes. On the command line other users of the machine can see them.";
    API_TOKEN_FILE, "api_token_file", "api-token-file", "PATH",
        Default::Unset("none"),
        Allowed::Text("a readable file of at most 1 MiB with one token in each line, or separated by commas"),
        "File with further tokens.";
    READ_REQUIRES_AUTH, "read_requires_auth", "read-requires-auth", "BOOL",
        Default::Value("false"), Allowed::Flag,
        "Whether reads need a token as well.";
    SHARDS, "shards", "shards", "N",
        Default::Computed("CPUs that this process may use, by affinity mask and cgroup quota"),
        Allowed::Integer { min: 1, max: limits::SHARDS_MAX as u64 },
        "Shards, each on a core of its own while there are enough.";
    MAX_ITEM_BYTES, "max_item_bytes", "max-item-bytes", "BYTES",
        Default::Value("268435456"), Allowed::Bytes { min: 1, max: 2 * GIB, zero_is_unlimited: false },
        "Largest value.";
    MEMORY_BUDGET_BYTES, "memory_budget_bytes", "memory-budget-bytes", "BYTES",
        Default::Computed("75 % of the memory that this process may use, by cgroup and machine"),
        Allowed::Bytes { min: 4096, max: 1 << 50, zero_is_unlimited: true },
        "Memory of the whole cache, overhead included; kept by eviction.";
    EVICTION_POLICY, "eviction_policy", "eviction-policy", "POLICY",
        Default::Value("s3fifo"), Allowed::Word(&["s3fifo", "lru"]),
        "Which entries go when there is no room: those asked for only once first, or the least recently used.";
    REQUEST_TIMEOUT_MS, "request_timeout_ms", "request-timeout-ms", "MS",
        Default::Value("2000"), millis(1, HOUR_MS),
        "Longest that a request may take inside, or a body may stand still.";
    MAX_INFLIGHT, "max_inflight", "max-inflight", "N",
        Default::Value("1000"), Allowed::Integer { min: 1, max: 1_000_000 },
        "Requests in progress in the whole process; further ones get 503.";
    MAX_SHARD_MAILBOX, "max_shard_mailbox", "max-shard-mailbox", "N",
        Default::Value("1000"), Allowed::Integer { min: 1, max: 1_000_000 },
        "Operations queued at one shard; further ones get 503.";
    MAX_CONNECTIONS, "max_connections", "max-connections", "N",
        Default::Computed("80 % of the limit of open files"),
        Allowed::Integer { min: 1, max: 10_000_000 },
        "Open connections of the whole process.";
    IDLE_TIMEOUT_MS, "idle_timeout_ms", "idle-timeout-ms", "MS",
        Default::Value("60000"), millis(1, 24 * HOUR_MS),
        "Longest that a connection may be kept without a request.";
    HEADER_TIMEOUT_MS, "header_timeout_ms", "header-timeout-ms", "MS",
        Default::Value("10000"), millis(1, HOUR_MS),
        "Longest that a request head may take to arrive.";
    SLOW_REQUEST_MS, "slow_request_ms", "slow-request-ms", "MS",
        Default::Value("10"), millis(0, HOUR_MS),
        "Requests that take this long or longer are kept for /v1/admin/slowlog.";
    LOG_LEVEL, "log_level", "log-level", "LEVEL",
        Default::Value("info"), Allowed::Word(&["debug", "info", "warn", "error"]),
        "Least important level that is logged.";
    LOG_FILE, "log_file", "log-file", "PATH",
        Default::Unset("standard error"),
        Allowed::Text("the path of a file in a directory that exists"),
        "File that logs are appended to; opened again on SIGHUP.";
    LOG_FORMAT, "log_format", "log-format", "FORMAT",
        Default::Value("json"), Allowed::Word(&["json", "text"]),
        "Form of the log lines.";
    METRICS_INTERVAL_MS, "metrics_interval_ms", "metrics-interval-ms", "MS",
        Default::Value("1000"), millis(1, HOUR_MS),
        "How stale the gauges may be.";
    SHUTDOWN_TIMEOUT_MS, "shutdown_timeout_ms", "shutdown-timeout-ms", "MS",
        Default::Value("5000"), millis(0, HOUR_MS),
        "Longest that requests in progress are waited for on SIGTERM and SIGINT.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_spellings_of_a_name_agree() {
        for setting in ALL {
            assert_eq!(setting.key, setting.name.to_lowercase());
            assert_eq!(setting.option, setting.key.replace('_', "-"));
        }
    }

    #[test]
    fn the_bounds_of_tokens_are_the_ones_that_people_are_told() {
        let told = API_TOKEN.allowed.to_string();
        assert!(told.contains(&format!("1 to {TOKENS_MAX} tokens")), "{told}");
        assert!(told.contains(&format!("1 to {TOKEN_BYTES_MAX} visible")), "{told}");
        assert!(API_TOKEN_FILE.allowed.to_string().contains("1 MiB") && FILE_BYTES_MAX == 1 << 20);
    }
}
