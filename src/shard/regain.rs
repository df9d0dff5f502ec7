//! Memory that the kernel did not have once, and may have again.

use super::Shard;
use crate::limits::BLOCK_BYTES_MAX;
use crate::memory::Region;
use crate::time::Now;

/// How long a shard that was denied memory goes without it before it tries again, in milliseconds.
const REGAIN_EVERY_MS: u64 = 1_000;
/// A page, of which regions consist.
const PAGE_BYTES: u64 = 4096;

impl Shard {
    /// Raises a limit that was lowered for want of memory towards the configured one, by as much as the kernel has now, and at
    /// most to twice what it was.
    pub(super) fn regain(&mut self, now: Now) {
        let denied = self.budget.denied();
        if denied == 0 || now.mono() <= self.denied_at.plus_millis(REGAIN_EVERY_MS) {
            return;
        }
        self.denied_at = now.mono();
        let limit = self.budget.limit();
        let steps = std::iter::successors(Some(denied.min(limit)), |step| Some(step / 2));
        let mut worth_it = steps.take_while(|&step| step == denied || step >= BLOCK_BYTES_MAX as u64);
        if let Some(step) = worth_it.find(|&step| kernel_has(step)) {
            let is_unlimited = limit + denied == u64::MAX;
            self.set_limit(if is_unlimited { u64::MAX } else { limit + step });
            self.refresh_gauges();
        }
    }
}

/// Whether the kernel has so much memory now. It is given back at once, and asked for again as entries come.
fn kernel_has(bytes: u64) -> bool {
    usize::try_from(bytes.next_multiple_of(PAGE_BYTES)).is_ok_and(|len| Region::new(len).is_ok())
}
