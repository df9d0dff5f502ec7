//! What a core has to tell of itself.

use super::Parts;
use crate::engine::host::Host;
use crate::insight::{Question, Report};
use crate::memory;
use crate::metrics::{BackpressureReason, CoreMetrics};
use crate::time::{Mono, Now};

/// Works out how busy a core is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Busy {
    since: Mono,
    cpu_nanos: u64,
}

impl Busy {
    fn is_due(&self, now: Mono, window_ms: u64) -> bool {
        now.nanos_since(self.since) >= window_ms * 1_000_000
    }

    /// The part of the time since the last look that was spent working, in thousandths.
    fn look(&mut self, now: Mono, cpu_nanos: u64) -> u64 {
        let passed = now.nanos_since(self.since).max(1);
        let worked = cpu_nanos.saturating_sub(self.cpu_nanos);
        *self = Self { since: now, cpu_nanos };
        // The kernel's clocks of threads and of the machine do not agree to the microsecond.
        (u128::from(worked) * 1_000 / u128::from(passed)).min(1_000) as u64
    }
}

impl Parts {
    /// Follows the time in what is kept for operators.
    pub(crate) fn look_at_ourselves(&mut self, now: Now, host: &mut impl Host) {
        self.hot_keys.tick(now.mono());
        memory::keep_for(self.shard.limit());
        self.insight_bytes = self.hot_keys.footprint() + self.slow_log.footprint();
        if self.busy.is_due(now.mono(), self.settings.metrics_interval_ms) {
            self.metrics.busy_permille = self.busy.look(now.mono(), host.cpu_nanos());
        }
    }

    /// What this core has to tell.
    #[must_use]
    pub fn report(&self, now: Now, host: &mut impl Host, question: Question) -> Report {
        match question {
            Question::Readiness => {
                let stats = self.shard.stats();
                Report::Readiness { entries: stats.entries, memory_bytes: stats.memory_bytes }
            }
            Question::Numbers => Report::Numbers(self.snapshot(host)),
            Question::HotKeys => {
                let (watched_ms, keys) = self.hot_keys.report(now.mono());
                Report::HotKeys { watched_ms, keys }
            }
            Question::SlowRequests => Report::SlowRequests(self.slow_log.report()),
        }
    }

    /// The numbers of this core as they are now.
    fn snapshot(&self, host: &mut impl Host) -> Box<CoreMetrics> {
        let mut metrics = Box::new(self.metrics.clone());
        metrics.shard = self.shard.stats().clone();
        metrics.backpressure[BackpressureReason::NoMemory as usize] += metrics.shard.blocks_denied;
        metrics.lanes = host.lane_depths();
        metrics.cpu_nanos = host.cpu_nanos();
        metrics.wake_ups = host.wake_ups();
        metrics.shortages = host.shortages();
        metrics
    }
}
