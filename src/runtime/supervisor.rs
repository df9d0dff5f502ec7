//! A plain thread that pings every core.
//!
//! It is the watchdog: a core that stays silent is hung, and a half-dead server is worse than a restarted one. It also
//! undoes a fault of glommio 0.9, whose executors can park while tasks are runnable (`run_task_queues` reports the same
//! for "preempted" as for "nothing to run"): a wake-up from outside makes a parked executor look again.

use super::lanes::{CoreFace, Outside};
use crate::limits::PING_MS;
use crate::process_stats;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Pings `cores` for ever, and tells them each `facts_every` what the kernel says of this process; calls `on_hung` with the number of a core that has left `hung_after` pings in a row
/// unanswered. Pings are counted, not time, so that a process that was stopped as a whole and goes on is not hung.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(
    cores: Vec<Outside>,
    facts_every: Duration,
    hung_after: u64,
    on_hung: impl Fn(usize) + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("supervisor".into()).spawn(move || {
        let mut told_at = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(PING_MS));
            if told_at.elapsed() >= facts_every {
                told_at = Instant::now();
                let facts = process_stats::read();
                cores.iter().for_each(|core| core.tell(facts));
            }
            for (number, core) in cores.iter().enumerate() {
                if ping(&core.face) > hung_after {
                    on_hung(number);
                }
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
