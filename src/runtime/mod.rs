//! The half that knows the world: executors, sockets, clocks, signals.
//!
//! The thread that calls [`serve`] becomes the one that waits for signals. Every core has a thread of its own, one more
//! pings the cores, and one writes pages of numbers.

pub mod clock;
pub mod core;
pub mod lanes;
mod listen;
pub mod notify;
mod pump;
pub mod ring;
pub mod scribe;
pub mod sockets;
pub mod start;
mod stop;
pub mod supervisor;

use crate::cli::{complain, say};
use crate::config::{Config, Sources, Token};
use crate::engine::Engine;
use crate::engine::parts::Parts;
use crate::engine::rules::{Rules, Settings};
use crate::limits::{CONTROL_PARCELS_MAX, HUNG_AFTER_PINGS};
use crate::logging;
use crate::metrics::{ConfigReloads, ProcessFacts};
use crate::process_stats;
use crate::protocol::auth::Tokens;
use crate::routing::{Router, ShardId};
use crate::session::request_id::RequestIds;
use crate::shard::{Shard, ShardConfig};
use core::{Common, Core};
use glommio::{LocalExecutorBuilder, Placement};
use lanes::{Facts, Lanes, Outside};
use listen::Listeners;
use notify::Notifier;
use ring::Ring;
use scribe::Scribe;
use socket2::Socket;
use sockets::Sockets;
use start::StartError;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use supervisor::Duties;

/// `EX_UNAVAILABLE`: this machine does not give what the server needs.
const EXIT_UNAVAILABLE: u8 = 69;
/// `EX_SOFTWARE`: a core hung.
const EXIT_SOFTWARE: i32 = 70;
/// What a Rust program ends with when it panics.
const EXIT_PANIC: i32 = 101;
/// How long a core may take to start.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// Memory that glommio registers for storage I/O, which we do not do, in bytes. Its default is 10 MiB a core.
const IO_MEMORY_BYTES: usize = 64 * 1024;

/// Serves until a signal ends it. Returns the exit code of the process.
#[must_use]
pub fn serve(config: Config, sources: &Sources, log: &logging::Handle) -> ExitCode {
    die_on_panic();
    let logs_to_a_file = config.log.file.is_some();
    let notifier = Notifier::from_environment().unwrap_or_else(|error| {
        tracing::warn!(%error, "there is no socket where NOTIFY_SOCKET says; nobody is told that the server is ready");
        Notifier::default()
    });
    let started = stop::Signals::listen().and_then(|signals| Ok((signals, Server::start(config, notifier, log)?)));
    match started {
        Ok((signals, mut server)) => stop::wait(signals, &mut server, sources, log),
        Err(error) => {
            tracing::error!("cannot start: {error}");
            if logs_to_a_file {
                // Who started the server looks there first.
                complain(format_args!("cannot start: {error}"));
            }
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

/// A panic on any thread ends the process at once with its message: a server that has lost a core, or a part of one,
/// must not go on.
fn die_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        complain(format_args!("{} died: {panic}", thread.name().unwrap_or("a thread")));
        // SAFETY: `_exit` has no preconditions. No destructor may run: other cores are in the middle of something.
        unsafe { libc::_exit(EXIT_PANIC) }
    }));
}

/// The running cores, as the rest of the process sees them.
#[derive(Debug)]
pub struct Server {
    config: Config,
    cores: Vec<Outside>,
    common: Common,
    /// What the limit on open files has room for.
    connections_possible: usize,
    reloads: ConfigReloads,
    metrics_interval_ms: Arc<AtomicU64>,
    notifier: Notifier,
}

/// What one core is made of, on its way to its thread.
struct Seed {
    number: u16,
    cpu: usize,
    engine: Engine,
    lanes: Lanes,
    scribe: Scribe,
    listeners: Vec<Socket>,
    common: Common,
    ready: mpsc::Sender<Result<u16, StartError>>,
}

impl Server {
    /// Starts all cores, or none.
    ///
    /// # Errors
    /// What kept a core from starting.
    fn start(config: Config, notifier: Notifier, log: &logging::Handle) -> Result<Self, StartError> {
        let connections_possible = start::check(config.shards)?;
        let sockets = Listeners::bind(&config)?;
        let common = Common::default();
        let (ready, readiness) = mpsc::channel();
        let replies_max = commands_max(&config) + CONTROL_PARCELS_MAX;
        let (lanes, cores) = Lanes::connect(config.shards, config.max_shard_mailbox, replies_max);
        let (scribe, desk) = Scribe::new(config.shards);
        let metrics_interval_ms = Arc::new(AtomicU64::new(config.metrics_interval_ms));
        let reloads = ConfigReloads::default();
        let server = Self { config, cores, common, connections_possible, reloads, metrics_interval_ms, notifier };
        desk.start(server.cores.clone())?;
        let secrets = Secrets::draw()?;
        for ((number, listeners), lanes) in (0..).zip(sockets.of_cores()?).zip(lanes) {
            let config = &server.config;
            let cpu = config.cpus[usize::from(number) % config.cpus.len()];
            let mut parts = parts(config, ShardId(number), server.rules(number), &secrets)?;
            parts.shard_ports = Arc::clone(&sockets.shard_ports);
            let engine = Engine::new(parts);
            let (common, ready, scribe) = (server.common.clone(), ready.clone(), scribe.clone());
            spawn(Seed { number, cpu, engine, lanes, scribe, listeners, common, ready })?;
        }
        drop(ready);
        server.await_cores(&readiness, log)?;
        sockets.open()?;
        server.common.open.store(true, Ordering::Release);
        server.cores.iter().for_each(|core| core.face.bell.ring_anyway());
        announce(&server.config, &sockets);
        server.notifier.ready(&format!("serving {} with {} shards", sockets.address, server.config.shards));
        Ok(server)
    }

    /// Waits until every core lives, and has it supervised from then on.
    fn await_cores(
        &self,
        readiness: &mpsc::Receiver<Result<u16, StartError>>,
        log: &logging::Handle,
    ) -> Result<(), StartError> {
        for _ in 0..self.config.shards {
            // The supervisor does not watch them yet.
            let silent =
                || StartError::new("a core did not start within 10 seconds; see `top` and `dmesg`, and try again");
            readiness.recv_timeout(START_PATIENCE).map_err(|_| silent())??;
        }
        let lost_lines = log.lost_lines();
        let duties = Duties {
            facts_every_ms: Arc::clone(&self.metrics_interval_ms),
            read_facts: move || Facts { stats: process_stats::read(), log_lines_dropped: lost_lines.count() },
            watchdog: self.notifier.watchdog(),
            hung_after: HUNG_AFTER_PINGS,
            on_hung: die_of_hung_core,
        };
        let supervisor = supervisor::start(self.cores.clone(), duties);
        supervisor.map(drop).map_err(|error| StartError::new(format!("cannot start the supervisor: {error}")))
    }

    /// Reads the configuration again and has every core go by it, or says why everything stays as it was.
    fn reload(&mut self, sources: &Sources, log: &logging::Handle) {
        self.notifier.reloading();
        let reloaded = self.config.reload(sources).map_err(|problems| problems.to_string());
        // Whatever becomes of the configuration, a rotated log file must be let go.
        let log_config = reloaded.as_ref().map_or(&self.config.log, |config| &config.log);
        let opened = log.apply(log_config).map_err(|error| error.to_string());
        let applied = reloaded.and_then(|config| opened.map(|()| config));
        let status = match applied {
            Ok(config) => {
                config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                if config.max_shard_mailbox != self.config.max_shard_mailbox {
                    tracing::warn!("MAX_SHARD_MAILBOX stays {} until a restart", self.config.max_shard_mailbox);
                }
                self.metrics_interval_ms.store(config.metrics_interval_ms, Ordering::Relaxed);
                self.config = Config { max_shard_mailbox: self.config.max_shard_mailbox, ..config };
                self.reloads.succeeded += 1;
                tracing::info!("the configuration was read again and is in force");
                "serving; the configuration was read again and is in force"
            }
            Err(problems) => {
                self.reloads.failed += 1;
                tracing::error!("the configuration was read again and refused; nothing has changed: {problems}");
                "serving; the configuration was read again and refused: see the log"
            }
        };
        for (number, core) in (0..).zip(&self.cores) {
            core.rule(self.rules(number));
        }
        self.notifier.ready(status);
    }

    /// What the core `number` goes by.
    fn rules(&self, number: u16) -> Rules {
        let config = &self.config;
        let settings = Settings {
            tokens: Tokens::new(config.tokens.iter().map(Token::expose)),
            read_requires_auth: config.read_requires_auth,
            max_item_bytes: config.max_item_bytes,
            request_timeout_ms: config.request_timeout_ms,
            idle_timeout_ms: config.idle_timeout_ms,
            header_timeout_ms: config.header_timeout_ms,
            slow_request_ms: config.slow_request_ms,
            metrics_interval_ms: config.metrics_interval_ms,
            inflight_max: share(config.max_inflight, config.shards, number),
            connections_max: config.max_connections.min(self.connections_possible),
            process: ProcessFacts {
                memory_budget_bytes: config.memory_budget_bytes,
                max_inflight: config.max_inflight as u64,
                config_reloads: self.reloads,
                ..ProcessFacts::default()
            },
        };
        let budget_bytes = config.memory_budget_bytes.map(|bytes| bytes / u64::from(config.shards));
        Rules { settings, budget_bytes }
    }
}

fn announce(config: &Config, listeners: &Listeners) {
    let budget = config.memory_budget_bytes.unwrap_or(0);
    let (address, ports, cpus) = (listeners.address.to_string(), &listeners.shard_ports, &config.cpus);
    let shards = config.shards;
    tracing::info!(address, shard_ports = ?ports, shards, ?cpus, memory_budget_bytes = budget, "listening");
    if let Some(token) = &config.generated_token {
        let token = token.expose();
        // To the one who started the server: it is no line of the log.
        say("no token is configured: only this machine is served, and writes need this token until the server stops:");
        say(format_args!(
            "  curl -X PUT http://{address}/v1/kv/greeting -H 'X-API-Token: {token}' \
             -H 'Content-Type: application/json' -d '{{\"value\":\"hello\"}}'"
        ));
        say(format_args!("  curl http://{address}/v1/kv/greeting"));
    }
}

fn die_of_hung_core(number: usize) {
    tracing::error!(core = number, "core {number} does not answer its pings any more: ending the process");
    // The log is written by a thread of its own: give it a moment.
    std::thread::sleep(Duration::from_millis(100));
    // SAFETY: `_exit` has no preconditions. No destructor may run: a core is in the middle of something.
    unsafe { libc::_exit(EXIT_SOFTWARE) }
}

/// Random numbers that all cores share.
struct Secrets {
    hash_seed: [u64; 2],
    id_seed: u64,
}

impl Secrets {
    fn draw() -> Result<Self, StartError> {
        Ok(Self { hash_seed: [random()?, random()?], id_seed: random()? })
    }
}

fn random() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| StartError::new(format!("the kernel gives no random numbers: {error}")))
}

/// Parcels with commands that each core may have under way: one for each shard and request in progress.
fn commands_max(config: &Config) -> usize {
    share(config.max_inflight, config.shards, 0) * usize::from(config.shards)
}

/// The share of the core `number` in what the whole process may have; everybody may have one.
fn share(of_process: usize, shards: u16, number: u16) -> usize {
    let (shards, number) = (usize::from(shards), usize::from(number));
    (of_process / shards + usize::from(number < of_process % shards)).max(1)
}

fn parts(config: &Config, me: ShardId, rules: Rules, secrets: &Secrets) -> Result<Parts, StartError> {
    let router = Router::new(config.shards, secrets.hash_seed);
    let shard = Shard::new(ShardConfig {
        budget_bytes: rules.budget_bytes,
        first_version: random()?,
        policy: config.eviction_policy,
        hasher: router.hasher(),
    });
    let ids = RequestIds::new(secrets.id_seed.wrapping_add(u64::from(me.0)), random()?);
    Ok(Parts::new(me, router, shard, rules.settings, ids, commands_max(config)))
}

fn spawn(seed: Seed) -> Result<(), StartError> {
    let thread = std::thread::Builder::new().name(format!("core-{}", seed.number));
    let spawned = thread.spawn(move || run_core(seed));
    spawned.map(drop).map_err(|error| StartError::new(format!("cannot start a thread: {error}; see `ulimit -u`")))
}

/// The life of a core's thread: until the process ends.
fn run_core(seed: Seed) {
    let (number, cpu, ready) = (seed.number, seed.cpu, seed.ready.clone());
    // glommio starts a thread for blocking calls, which takes over the name that this one has at that moment.
    name_this_thread("blocking");
    let executor = LocalExecutorBuilder::new(Placement::Fixed(cpu)).io_memory(IO_MEMORY_BYTES).make();
    name_this_thread(&format!("core-{number}"));
    match executor {
        Ok(executor) => executor.run(live(seed)),
        Err(error) => {
            let reason =
                format!("core {number} cannot start on CPU {cpu}: {error}; see LimitMEMLOCK, SHARDS and taskset");
            // Whoever waits for this has gone only if another core has failed before.
            let _ = ready.send(Err(StartError::new(reason)));
        }
    }
}

/// Gives this thread the name that `top` and `ps` show.
fn name_this_thread(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        // SAFETY: PR_SET_NAME reads a NUL-terminated string, which `name` is and stays until the call is over.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}

/// What a core does for as long as the process lives. It never awaits anything: it waits in its own ring, where everything
/// arrives that there is to do.
async fn live(seed: Seed) {
    let Seed { number, engine, lanes, scribe, listeners, common, ready, .. } = seed;
    let core = Ring::new().and_then(|ring| {
        let sockets = Sockets::new(ring, listeners);
        Core::new(engine, lanes, scribe, sockets, common)
    });
    let mut core = match core {
        Ok(core) => core,
        Err(error) => {
            // Whoever waits for this has gone only if another core has failed before.
            let _ = ready.send(Err(StartError::ring(number, &error)));
            return;
        }
    };
    let _ = ready.send(Ok(number));
    drop(ready);
    loop {
        core.wake_up();
        core.wait();
    }
}
