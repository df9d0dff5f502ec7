//! Signals, and the orderly end.

use super::Server;
use super::start::StartError;
use crate::config::Sources;
use crate::limits::PING_MS;
use crate::logging;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the cores are asked whether they are done.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(5);
/// The server is quiet when nothing has happened for so long: cores say so once a ping, and a request that was on the
/// wire when the signal came is still to be answered.
const QUIET_FOR: Duration = Duration::from_millis(PING_MS * 4);

/// The signals that this process hears of.
pub struct Signals(signal_hook::iterator::Signals);

impl Signals {
    /// Begins to catch them. To be called before any thread is started.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn listen() -> Result<Self, StartError> {
        signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])
            .map(Self)
            .map_err(|error| StartError::new(format!("cannot catch signals: {error}")))
    }
}

/// Waits for the signal that ends the server, and ends it: what is in progress is finished, within
/// `SHUTDOWN_TIMEOUT_MS`. SIGHUP has the configuration read again from `sources`.
pub fn wait(mut signals: Signals, server: &mut Server, sources: &Sources, log: &logging::Handle) -> ExitCode {
    loop {
        let signal = signals.0.forever().next().expect("signals come for ever");
        match signal {
            SIGHUP => server.reload(sources, log),
            _ => {
                let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                tracing::info!("{name}: accepting no more connections, finishing what is in progress");
                let timeout = Duration::from_millis(server.config.shutdown_timeout_ms);
                return drain(&mut signals, server, timeout);
            }
        }
    }
}

fn drain(signals: &mut Signals, server: &Server, timeout: Duration) -> ExitCode {
    let began = Instant::now();
    server.common.stop.store(true, Ordering::Relaxed);
    server.cores.iter().for_each(|core| core.face.bell.ring_anyway());
    server.notifier.stopping();
    let (mut quiet_since, mut last_activity) = (Instant::now(), 0);
    loop {
        std::thread::sleep(DRAIN_LOOK_EVERY);
        let busy = server.cores.iter().filter(|core| !core.face.quiet.load(Ordering::Acquire)).count();
        let activity: u64 = server.cores.iter().map(|core| core.face.activity.load(Ordering::Acquire)).sum();
        if busy > 0 || activity != last_activity {
            (quiet_since, last_activity) = (Instant::now(), activity);
        }
        if quiet_since.elapsed() >= QUIET_FOR {
            tracing::info!("stopped: everything in progress was finished");
            return ExitCode::SUCCESS;
        }
        if began.elapsed() >= timeout {
            tracing::warn!(cores = busy, "stopped after SHUTDOWN_TIMEOUT_MS with requests still in progress");
            return ExitCode::SUCCESS;
        }
        if signals.0.pending().any(|signal| signal != SIGHUP) {
            tracing::warn!("stopped at once by a second signal, with requests still in progress");
            return ExitCode::SUCCESS;
        }
    }
}
