//! Memory that the kernel did not have once, and may have again.

use super::Shard;
use crate::time::Now;

/// How long a shard that was denied memory goes without it before it tries again, in milliseconds.
const REGAIN_AFTER_MS: u64 = 1_000;
/// The same where memory was denied again and again.
const REGAIN_AFTER_MS_MAX: u64 = 8_000;

/// A shard that makes do with less memory than it may use.
#[derive(Debug, Default)]
pub struct Denial {
    /// How long it waits before its limit is raised, in milliseconds.
    wait_ms: u64,
    /// When that was lowered or raised last, in milliseconds of the clock that all cores share.
    changed_ms: u64,
}

impl Denial {
    /// Takes note that there was no memory: the next time to try again is further away than the last one was.
    pub fn again(&mut self, now_ms: u64) {
        self.wait_ms = (2 * self.wait_ms).clamp(REGAIN_AFTER_MS, REGAIN_AFTER_MS_MAX);
        self.changed_ms = now_ms;
    }

    /// Whether it is time to try again; the next time is nearer then, unless memory is denied.
    fn is_over(&mut self, now_ms: u64) -> bool {
        let is_over = now_ms > self.changed_ms + self.wait_ms;
        if is_over {
            self.wait_ms = (self.wait_ms / 2).max(REGAIN_AFTER_MS);
            self.changed_ms = now_ms;
        }
        is_over
    }
}

impl Shard {
    /// Raises a limit that was lowered for want of memory towards the configured one, at most to twice what it was. Nobody is asked
    /// whether there is memory: who asks has to take it. The next block that is denied lowers the limit again.
    pub(super) fn regain(&mut self, now: Now) {
        let denied = self.budget.denied();
        if denied == 0 {
            self.denial = Denial::default();
        } else if self.denial.is_over(now.mono().as_millis()) {
            let limit = self.budget.limit();
            self.set_limit(limit + denied.min(limit));
            self.refresh_gauges();
        }
    }
}
