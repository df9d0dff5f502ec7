//! The half that knows the world: executors, sockets, clocks, signals.
//!
//! The thread that calls [`serve`] becomes the one that waits for signals. Every core has a thread of its own, and one
//! more pings the cores.

pub mod clock;
pub mod core;
pub mod lanes;
mod listen;
mod pump;
pub mod start;
mod stop;
pub mod supervisor;

use crate::cli::{complain, say};
use crate::config::{Config, Token};
use crate::engine::Engine;
use crate::engine::parts::{Parts, Settings};
use crate::limits::{CONTROL_PARCELS_MAX, HUNG_AFTER_PINGS};
use crate::metrics::ProcessFacts;
use crate::protocol::auth::Tokens;
use crate::routing::{Router, ShardId};
use crate::session::request_id::RequestIds;
use crate::shard::{Shard, ShardConfig};
use core::{Core, Pause};
use glommio::net::TcpListener;
use glommio::{LocalExecutorBuilder, Placement};
use lanes::{Lanes, Outside};
use start::StartError;
use std::cell::RefCell;
use std::future::poll_fn;
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Duration;

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
pub fn serve(config: &Config) -> ExitCode {
    die_on_panic();
    let started = stop::Signals::listen().and_then(|signals| Ok((signals, Server::start(config)?)));
    match started {
        Ok((signals, server)) => stop::wait(signals, &server, config.shutdown_timeout_ms),
        Err(error) => {
            tracing::error!("cannot start: {error}");
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
    cores: Vec<Outside>,
    stop: Arc<AtomicBool>,
}

/// What one core is made of, on its way to its thread.
struct Seed {
    number: u16,
    cpu: usize,
    engine: Engine,
    lanes: Lanes,
    listener: socket2::Socket,
    stop: Arc<AtomicBool>,
    ready: mpsc::Sender<Result<u16, StartError>>,
}

impl Server {
    /// Starts all cores, or none.
    ///
    /// # Errors
    /// What kept a core from starting.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        start::check(config.shards)?;
        let (listeners, address) = listen::listeners(config.listen, config.shards)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, readiness) = mpsc::channel();
        let (lanes, cores) =
            Lanes::connect(config.shards, config.max_shard_mailbox, commands_max(config) + CONTROL_PARCELS_MAX);
        let secrets = Secrets::draw()?;
        for ((number, listener), lanes) in (0..).zip(listeners).zip(lanes) {
            let cpu = config.cpus[usize::from(number) % config.cpus.len()];
            let engine = Engine::new(parts(config, ShardId(number), &secrets)?);
            spawn(Seed { number, cpu, engine, lanes, listener, stop: Arc::clone(&stop), ready: ready.clone() })?;
        }
        drop(ready);
        for _ in 0..config.shards {
            // A core can get lost before its first wake-up, where no ping reaches it: see `supervisor`.
            let silent =
                || StartError::new("a core did not start within 10 seconds; see `top` and `dmesg`, and try again");
            readiness.recv_timeout(START_PATIENCE).map_err(|_| silent())??;
        }
        let facts_every = Duration::from_millis(config.metrics_interval_ms);
        supervisor::start(cores.clone(), facts_every, HUNG_AFTER_PINGS, die_of_hung_core)
            .map_err(|error| StartError::new(format!("cannot start the supervisor: {error}")))?;
        announce(config, address);
        Ok(Self { cores, stop })
    }
}

fn announce(config: &Config, address: std::net::SocketAddr) {
    let budget = config.memory_budget_bytes.unwrap_or(0);
    let address = address.to_string();
    tracing::info!(address, shards = config.shards, cpus = ?config.cpus, memory_budget_bytes = budget, "listening");
    if let Some(token) = &config.generated_token {
        let token = token.expose();
        // To the one who started the server, and not into the log, which is kept.
        say("no token is configured: only this machine is served, and writes need this token until the server stops:");
        say(format_args!(
            "  curl -X PUT http://{address}/v1/kv/greeting -H 'X-API-Token: {token}' -d '{{\"value\":\"hello\"}}'"
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
    share(config.max_inflight, config) * usize::from(config.shards)
}

/// One core's share of what the whole process may have.
fn share(of_process: usize, config: &Config) -> usize {
    of_process.div_ceil(usize::from(config.shards))
}

fn parts(config: &Config, me: ShardId, secrets: &Secrets) -> Result<Parts, StartError> {
    let settings = Settings {
        tokens: Tokens::new(config.tokens.iter().map(Token::expose)),
        read_requires_auth: config.read_requires_auth,
        max_item_bytes: config.max_item_bytes,
        request_timeout_ms: config.request_timeout_ms,
        idle_timeout_ms: config.idle_timeout_ms,
        header_timeout_ms: config.header_timeout_ms,
        inflight_max: share(config.max_inflight, config),
        connections_max: share(config.max_connections, config),
        process: ProcessFacts {
            memory_budget_bytes: config.memory_budget_bytes,
            max_inflight: config.max_inflight as u64,
            ..ProcessFacts::default()
        },
    };
    let shard = Shard::new(ShardConfig {
        budget_bytes: config.memory_budget_bytes.map(|bytes| bytes / u64::from(config.shards)),
        first_version: random()?,
    });
    let ids = RequestIds::new(secrets.id_seed.wrapping_add(u64::from(me.0)), random()?);
    Ok(Parts::new(me, Router::new(config.shards, secrets.hash_seed), shard, settings, ids, commands_max(config)))
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
    // The preempt timer stays at its 100 ms: a shorter one makes executors park while tasks are runnable.
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

async fn live(seed: Seed) {
    let Seed { number, engine, lanes, listener, stop, ready, .. } = seed;
    let fd = listener.as_raw_fd();
    // SAFETY: the descriptor was just given up by its only owner, and the new owner is a listener as it was.
    let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
    let core = Rc::new(RefCell::new(Core::new(engine, lanes, stop)));
    glommio::spawn_local(pump::accept(Rc::clone(&core), listener)).detach();
    let _ = ready.send(Ok(number));
    drop(ready);
    loop {
        match poll_fn(|cx| core.borrow_mut().poll_doorbell(cx)).await {
            Pause::Breathe => pump::breathe().await,
            Pause::AcceptTheRest => pump::accept_the_rest(&core, fd),
        }
    }
}
