//! From the text of each setting to a [`Config`], or to every reason why there is none.

use super::problem::{Problem, Problems, one_line, sets_secret};
use super::raw::{self, Raw, Sourced, Sources};
use super::settings::{self, Allowed, Setting};
use super::token::{self, Token};
use super::{Config, Entry, Host, LogConfig, LogFormat, LogLevel};
use crate::limits::SHARD_BUDGET_BYTES_MIN;
use crate::shard::EvictionPolicy;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

/// The budget where the machine does not tell its memory.
const BUDGET_BYTES_OF_UNKNOWN_MACHINE: u64 = 1 << 30;
/// The limit of open files that is assumed where the system tells none.
const OPEN_FILES_OF_UNLIMITED: u64 = 1 << 20;
/// A budget below this is more likely a wrong unit than a wish.
const BUDGET_BYTES_DOUBTFUL: u64 = 1 << 20;

/// Reads and checks everything. With `running`, what only a restart can change is taken from there.
pub(super) fn resolve(sources: &Sources, host: Host, running: Option<&Config>) -> Result<Config, Problems> {
    let mut raw = Raw::read(sources);
    set_defaults(&mut raw, &host);
    let mut reader = Reader { raw, problems: Vec::new() };
    let config = reader.config(host, running);
    let mut problems = std::mem::take(&mut reader.raw.problems);
    problems.append(&mut reader.problems);
    Problems::none_or(problems)?;
    Ok(config)
}

fn set_defaults(raw: &mut Raw, host: &Host) {
    let with_token = [&settings::API_TOKEN, &settings::API_TOKEN_FILE].iter().any(|s| raw.find(s).is_some());
    for setting in settings::ALL {
        if let settings::Default::Value(text) = setting.default {
            raw.set_default(setting, text);
        }
    }
    let shards = host.usable_cpus().min(usize::from(crate::limits::SHARDS_MAX));
    let budget = host.memory_bytes.map_or(BUDGET_BYTES_OF_UNKNOWN_MACHINE, |bytes| bytes / 4 * 3);
    raw.set_default(&settings::HOST, if with_token { "0.0.0.0" } else { "127.0.0.1" });
    raw.set_default(&settings::SHARDS, &shards.to_string());
    raw.set_default(&settings::MEMORY_BUDGET_BYTES, &budget.max(4096).to_string());
    raw.set_default(&settings::MAX_CONNECTIONS, &connections_by_default(host.open_files_max).to_string());
}

/// Connections where no source says how many, under such a limit of open files.
pub(super) fn connections_by_default(open_files_max: Option<u64>) -> u64 {
    let open_files_max = open_files_max.unwrap_or(OPEN_FILES_OF_UNLIMITED).min(OPEN_FILES_OF_UNLIMITED);
    (open_files_max / 5 * 4).max(1)
}

/// What only a restart can change.
#[derive(Clone, Copy)]
struct Fixed {
    listen: SocketAddr,
    shard_ports_from: Option<u16>,
    shards: u16,
    eviction_policy: EvictionPolicy,
}

impl Fixed {
    const fn of(config: &Config) -> Self {
        let Config { listen, shard_ports_from, shards, eviction_policy, .. } = *config;
        Self { listen, shard_ports_from, shards, eviction_policy }
    }
}

/// Turns texts into values and collects problems on the way. A refused setting yields a placeholder: the configuration
/// that would hold it is thrown away because of the problem.
struct Reader {
    raw: Raw,
    problems: Vec<Problem>,
}

impl Reader {
    fn config(&mut self, host: Host, running: Option<&Config>) -> Config {
        let wanted = self.fixed();
        let Fixed { listen, shard_ports_from, shards, eviction_policy } = running.map_or(wanted, Fixed::of);
        let (tokens, generated_token) = self.tokens(listen.ip(), running);
        let mut config = Config {
            listen,
            shard_ports_from,
            tokens,
            generated_token,
            read_requires_auth: self.flag(&settings::READ_REQUIRES_AUTH),
            shards,
            cpus: host.cpus,
            max_item_bytes: self.number(&settings::MAX_ITEM_BYTES),
            memory_budget_bytes: Some(self.number(&settings::MEMORY_BUDGET_BYTES)).filter(|&bytes| bytes > 0),
            eviction_policy,
            request_timeout_ms: self.number(&settings::REQUEST_TIMEOUT_MS),
            max_inflight: self.number(&settings::MAX_INFLIGHT) as usize,
            max_shard_mailbox: self.number(&settings::MAX_SHARD_MAILBOX) as usize,
            max_connections: self.number(&settings::MAX_CONNECTIONS) as usize,
            idle_timeout_ms: self.number(&settings::IDLE_TIMEOUT_MS),
            header_timeout_ms: self.number(&settings::HEADER_TIMEOUT_MS),
            slow_request_ms: self.number(&settings::SLOW_REQUEST_MS),
            log: self.log(),
            metrics_interval_ms: self.number(&settings::METRICS_INTERVAL_MS),
            shutdown_timeout_ms: self.number(&settings::SHUTDOWN_TIMEOUT_MS),
            warnings: std::mem::take(&mut self.raw.warnings),
            entries: self.entries(),
        };
        // A configuration with problems is thrown away, so that its warnings would mislead nobody.
        config.warnings.extend(doubts(&config, host.open_files_max, self.is_set(&settings::MAX_ITEM_BYTES)));
        if let Some(running) = running {
            config.warnings.extend(restart_needed(Fixed::of(running), wanted));
        }
        config
    }

    fn fixed(&mut self) -> Fixed {
        let (listen, shards) = (self.listen(), self.number(&settings::SHARDS) as u16);
        let shard_ports_from = self.shard_ports_from(listen.port(), shards);
        Fixed { listen, shard_ports_from, shards, eviction_policy: self.eviction_policy() }
    }

    fn shard_ports_from(&mut self, common: u16, shards: u16) -> Option<u16> {
        let value = self.raw.find(&settings::SHARD_PORTS_FROM)?;
        let from = self.number(&settings::SHARD_PORTS_FROM) as u16;
        let last = u32::from(from) + u32::from(shards.max(1)) - 1;
        if from > 0 && last > u32::from(u16::MAX) {
            let reason = format!("{shards} shards would need the ports up to {last}");
            self.refuse(&settings::SHARD_PORTS_FROM, &value, &reason);
        } else if from > 0 && (u32::from(from)..=last).contains(&u32::from(common)) {
            let reason = format!("PORT={common} is one of the {shards} ports from there on");
            self.refuse(&settings::SHARD_PORTS_FROM, &value, &reason);
        }
        Some(from)
    }

    /// Whether a source sets it, so that the default does not hold.
    fn is_set(&self, setting: &Setting) -> bool {
        self.raw.find(setting).is_some_and(|value| value.source != raw::default_source(setting))
    }

    fn refuse(&mut self, setting: &Setting, value: &Sourced, reason: &str) {
        self.problems.push(Problem::refused_since(setting, &value.text, &value.source, reason));
    }

    /// An integer or a number of bytes, within the range that the table gives.
    fn number(&mut self, setting: &'static Setting) -> u64 {
        let Some(value) = self.raw.find(setting) else { return 0 };
        let number = match setting.allowed {
            Allowed::Integer { min, max } => parse_integer(&value.text).filter(|n| (min..=max).contains(n)),
            Allowed::Bytes { min, max, zero_is_unlimited } => {
                parse_bytes(&value.text).filter(|n| (min..=max).contains(n) || (zero_is_unlimited && *n == 0))
            }
            _ => None,
        };
        number.unwrap_or_else(|| {
            self.refuse(setting, &value, "");
            0
        })
    }

    fn flag(&mut self, setting: &'static Setting) -> bool {
        let Some(value) = self.raw.find(setting) else { return false };
        match value.text.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            _ => {
                self.refuse(setting, &value, "");
                false
            }
        }
    }

    fn word(&mut self, setting: &'static Setting) -> String {
        let Some(value) = self.raw.find(setting) else { return String::new() };
        let word = value.text.to_ascii_lowercase();
        if !matches!(setting.allowed, Allowed::Word(words) if words.contains(&word.as_str())) {
            self.refuse(setting, &value, "");
        }
        word
    }

    fn eviction_policy(&mut self) -> EvictionPolicy {
        let word = self.word(&settings::EVICTION_POLICY);
        EvictionPolicy::ALL.into_iter().find(|policy| policy.name() == word).unwrap_or_default()
    }

    fn log(&mut self) -> LogConfig {
        let level = match self.word(&settings::LOG_LEVEL).as_str() {
            "debug" => LogLevel::Debug,
            "warn" => LogLevel::Warn,
            "error" => LogLevel::Error,
            _ => LogLevel::Info,
        };
        let format = if self.word(&settings::LOG_FORMAT) == "text" { LogFormat::Text } else { LogFormat::Json };
        LogConfig { level, format, file: self.log_file() }
    }

    fn log_file(&mut self) -> Option<PathBuf> {
        let value = self.raw.find(&settings::LOG_FILE)?;
        let path = PathBuf::from(&value.text);
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if path.is_dir() {
            self.refuse(&settings::LOG_FILE, &value, "it is a directory");
        } else if !directory.is_dir() {
            self.refuse(&settings::LOG_FILE, &value, "its directory does not exist");
        }
        Some(path)
    }

    fn listen(&mut self) -> SocketAddr {
        let port = self.number(&settings::PORT) as u16;
        let placeholder = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let Some(value) = self.raw.find(&settings::HOST) else { return (placeholder, port).into() };
        let ip = resolve_host(&value.text).unwrap_or_else(|reason| {
            self.refuse(&settings::HOST, &value, &reason);
            placeholder
        });
        (ip, port).into()
    }

    /// All tokens, and the one that was made because there was none.
    fn tokens(&mut self, ip: IpAddr, running: Option<&Config>) -> (Vec<Token>, Option<Token>) {
        let (inline, file) = (self.raw.find(&settings::API_TOKEN), self.raw.find(&settings::API_TOKEN_FILE));
        if inline.is_none() && file.is_none() {
            return self.token_of_our_own(ip, running);
        }
        let inline = inline.map(|value| {
            token::parse_list(&value.text).unwrap_or_else(|error| {
                self.refuse(&settings::API_TOKEN, &value, &error.to_string());
                Vec::new()
            })
        });
        let file = file.map(|value| {
            self.tokens_of_file(&value).unwrap_or_else(|reason| {
                self.refuse(&settings::API_TOKEN_FILE, &value, &reason);
                Vec::new()
            })
        });
        let tokens = token::union([inline.unwrap_or_default(), file.unwrap_or_default()]);
        if tokens.len() > settings::TOKENS_MAX {
            let line = format!("API_TOKEN and API_TOKEN_FILE together have more than {} tokens", settings::TOKENS_MAX);
            self.problems.push(Problem::other(&line));
        }
        (tokens, None)
    }

    fn tokens_of_file(&self, value: &Sourced) -> Result<Vec<Token>, String> {
        let text = raw::read_bounded(Path::new(&value.text)).map_err(|error| error.to_string())?;
        token::parse_list(&text).map_err(|error| error.to_string())
    }

    /// Without a configured token only this machine is served, under a token that nobody else can know.
    fn token_of_our_own(&mut self, ip: IpAddr, running: Option<&Config>) -> (Vec<Token>, Option<Token>) {
        if !ip.to_canonical().is_loopback() {
            let source = self.raw.find(&settings::HOST).map(|host| host.source).unwrap_or_default();
            let line = format!(
                "HOST={ip} from {source}: it can be reached from other machines and no token is set; \
                 set API_TOKEN or API_TOKEN_FILE, or HOST to a loopback address"
            );
            self.problems.push(Problem::other(&line));
            return (Vec::new(), None);
        }
        if let Some(kept) = running.and_then(|running| running.generated_token.clone()) {
            return (vec![kept.clone()], Some(kept));
        }
        match Token::random() {
            Ok(token) => (vec![token.clone()], Some(token)),
            Err(error) => {
                let line = format!("no token is set, and none can be made: {error}; set API_TOKEN or API_TOKEN_FILE");
                self.problems.push(Problem::other(&line));
                (Vec::new(), None)
            }
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let entry = |setting: &&'static Setting| match self.raw.find(setting) {
            Some(value) => {
                let text = match setting.is_secret() {
                    true => masked(&value.text),
                    false if sets_secret(&value.text) => "(hidden)".to_owned(),
                    false => one_line(&value.text),
                };
                Entry { name: setting.name, value: text, source: one_line(&value.source) }
            }
            None => Entry { name: setting.name, value: String::new(), source: raw::default_source(setting) },
        };
        settings::ALL.iter().map(entry).collect()
    }
}

/// Three stars for each token: how many there are is worth knowing, how long they are is not to be told.
fn masked(tokens: &str) -> String {
    let count = tokens.split([',', '\n']).filter(|part| !part.trim().is_empty()).count();
    vec!["***"; count].join(",")
}

/// Digits only: `u64::from_str` alone would take a sign as well.
fn parse_integer(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let of_unit = units.iter().find_map(|&(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    let (digits, unit_bytes) = of_unit.unwrap_or((text, 1));
    parse_integer(digits.trim_end())?.checked_mul(unit_bytes)
}

/// The address itself, or the first one that the system knows for the name.
fn resolve_host(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse() {
        return Ok(ip);
    }
    let found = (text, 0).to_socket_addrs().map_err(|_| "it is no address and no name that resolves".to_owned())?;
    found.map(|address| address.ip()).next().ok_or_else(|| "the name has no address".to_owned())
}

/// What is allowed but probably not meant.
fn doubts(config: &Config, open_files_max: Option<u64>, is_item_limit_set: bool) -> Vec<String> {
    let mut doubts = token::warnings(&config.tokens);
    if let Some(budget) = config.memory_budget_bytes {
        if budget < BUDGET_BYTES_DOUBTFUL {
            doubts.push(format!("MEMORY_BUDGET_BYTES={budget} is less than 1 MiB: is it meant in bytes?"));
        }
        let (largest, shards) = (config.max_item_bytes, config.shards);
        let least = SHARD_BUDGET_BYTES_MIN * u64::from(shards);
        if budget < least {
            doubts.push(format!(
                "MEMORY_BUDGET_BYTES={budget} over {shards} shards is taken for {least}: a shard needs 512 KiB to be of use"
            ));
        }
        // The default is a bound and no wish.
        if is_item_limit_set && budget / u64::from(shards.max(1)) < largest {
            doubts.push(format!(
                "MEMORY_BUDGET_BYTES={budget} over {shards} shards cannot hold one value of MAX_ITEM_BYTES={largest}: \
                 values that do not fit into a shard's part are refused with 413"
            ));
        }
    }
    if let Some(files) = open_files_max.filter(|&files| files <= config.max_connections as u64) {
        let connections = config.max_connections;
        doubts.push(format!("MAX_CONNECTIONS={connections} is more than the limit of open files, {files}, allows"));
    }
    doubts
}

fn restart_needed(running: Fixed, wanted: Fixed) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut compare = |name: &str, now: String, wanted: String| {
        if now != wanted {
            warnings.push(format!("{name} stays {now} until a restart makes it {wanted}"));
        }
    };
    compare("HOST", running.listen.ip().to_string(), wanted.listen.ip().to_string());
    compare("PORT", running.listen.port().to_string(), wanted.listen.port().to_string());
    let port = |from: Option<u16>| from.map_or_else(|| "unset".to_owned(), |port| port.to_string());
    compare("SHARD_PORTS_FROM", port(running.shard_ports_from), port(wanted.shard_ports_from));
    compare("SHARDS", running.shards.to_string(), wanted.shards.to_string());
    compare("EVICTION_POLICY", running.eviction_policy.name().to_owned(), wanted.eviction_policy.name().to_owned());
    warnings
}

#[cfg(test)]
mod tests;
