//! A plain thread that pings every core.
//!
//! It is the watchdog: a core that stays silent is hung, and a half-dead server is worse than a restarted one.

use super::lanes::{CoreFace, Facts, Outside};
use super::notify::Watchdog;
use crate::limits::{PING_MS, SILENT_AFTER_PINGS};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the supervisor does besides pinging.
pub struct Duties<F, H> {
    /// How often the cores are told what belongs to none of them, in milliseconds; may change while the server runs.
    pub facts_every_ms: Arc<AtomicU64>,
    /// Reads that.
    pub read_facts: F,
    /// Fed as long as every core answers.
    pub watchdog: Watchdog,
    /// So many pings in a row unanswered are too many.
    pub hung_after: u64,
    /// Called with the number of a core that is hung.
    pub on_hung: H,
}

/// Pings `cores` for ever, and does its `duties`. Pings are counted, not time, so that a process that was stopped as a
/// whole and goes on is not hung.
///
/// # Errors
/// If the thread cannot be started.
pub fn start<F, H>(cores: Vec<Outside>, duties: Duties<F, H>) -> std::io::Result<std::thread::JoinHandle<()>>
where
    F: Fn() -> Facts + Send + 'static,
    H: Fn(usize) + Send + 'static,
{
    let Duties { facts_every_ms, read_facts, mut watchdog, hung_after, on_hung } = duties;
    std::thread::Builder::new().name("supervisor".into()).spawn(move || {
        let mut told_at = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(PING_MS));
            if told_at.elapsed() >= Duration::from_millis(facts_every_ms.load(Ordering::Relaxed)) {
                told_at = Instant::now();
                let facts = read_facts();
                cores.iter().for_each(|core| core.tell(facts));
            }
            let mut most_unanswered = 0;
            for (number, core) in cores.iter().enumerate() {
                let unanswered = ping(&core.face);
                if unanswered > hung_after {
                    on_hung(number);
                }
                most_unanswered = most_unanswered.max(unanswered);
            }
            if most_unanswered <= SILENT_AFTER_PINGS {
                watchdog.feed();
            }
        }
    })
}

/// Sends the next ping and says how many are unanswered.
fn ping(core: &CoreFace) -> u64 {
    let pinged = core.pinged.fetch_add(1, Ordering::Relaxed) + 1;
    core.bell.ring_anyway();
    pinged - core.answered.load(Ordering::Relaxed)
}
