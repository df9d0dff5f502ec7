//! The numbers of all cores together, with what the process knows of itself.

use super::core::CoreMetrics;
use crate::engine::host::{LaneDepths, Shortages, WakeUps};
use crate::routing::ShardId;
use crate::shard::stats::ShardStats;

/// What the kernel says about this process. A number that it did not tell is `None`, and is left out of the scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// User and system CPU time, in seconds.
    pub cpu_secs: Option<f64>,
    /// Memory in RAM, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// Most file descriptors that may be open; `u64::MAX` if there is no limit.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// When the process started, in seconds since 1970.
    pub start_time_secs: Option<f64>,
}

/// How often the configuration was read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigReloads {
    /// It was good and is in force.
    pub succeeded: u64,
    /// It was bad and everything stayed as it was.
    pub failed: u64,
}

/// What is true of the whole process and belongs to no core.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFacts {
    /// What the kernel says.
    pub stats: ProcessStats,
    /// The memory budget of the whole cache, in bytes; `None` if it is unlimited.
    pub memory_budget_bytes: Option<u64>,
    /// Most requests in progress.
    pub max_inflight: u64,
    /// Configurations read again.
    pub config_reloads: ConfigReloads,
    /// Log lines lost because the log could not keep up, or could not be written.
    pub log_lines_dropped: u64,
}

/// What a scrape shows of one core and its shard by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardLine {
    /// See [`CoreMetrics::shard`].
    pub stats: ShardStats,
    /// See [`CoreMetrics::lanes`].
    pub lanes: LaneDepths,
    /// See [`CoreMetrics::cpu_nanos`].
    pub cpu_nanos: u64,
    /// See [`CoreMetrics::wake_ups`].
    pub wake_ups: WakeUps,
    /// See [`CoreMetrics::shortages`].
    pub shortages: Shortages,
    /// See [`CoreMetrics::busy_permille`].
    pub busy_permille: u64,
    /// See [`CoreMetrics::answered`].
    pub answered: u64,
    /// See [`CoreMetrics::slow_requests`].
    pub slow_requests: u64,
    /// See [`CoreMetrics::local`].
    pub local: u64,
    /// See [`CoreMetrics::connections`].
    pub connections: u64,
    /// See [`CoreMetrics::connections_accepted`].
    pub connections_accepted: u64,
    /// See [`CoreMetrics::forwarded`].
    pub forwarded: u64,
    /// See [`CoreMetrics::late_replies`].
    pub late_replies: u64,
}

impl From<&CoreMetrics> for ShardLine {
    fn from(core: &CoreMetrics) -> Self {
        Self {
            stats: core.shard.clone(),
            lanes: core.lanes,
            cpu_nanos: core.cpu_nanos,
            wake_ups: core.wake_ups,
            shortages: core.shortages,
            busy_permille: core.busy_permille,
            answered: core.answered,
            slow_requests: core.slow_requests,
            local: core.local,
            connections: core.connections,
            connections_accepted: core.connections_accepted,
            forwarded: core.forwarded,
            late_replies: core.late_replies,
        }
    }
}

/// The numbers of all cores together. Made for one scrape: begins with every shard at 0, then takes what each core
/// reports, in any order.
#[derive(Clone, Debug)]
pub struct Merged {
    facts: ProcessFacts,
    shards: Vec<ShardLine>,
    reported: Vec<bool>,
    total: CoreMetrics,
}

impl Merged {
    /// Below this many entries per shard the imbalance is not told: so few keys spread unevenly by chance alone. At
    /// this many, the fullest of [`crate::limits::SHARDS_MAX`] shards is expected 21 % above the mean, and 30 %, where
    /// operators are warned, is met by chance once in some thousand looks.
    const IMBALANCE_ENTRIES_MIN: f64 = 256.0;

    /// Nothing counted yet by any of `shards` cores.
    #[must_use]
    pub fn new(shards: u16, facts: ProcessFacts) -> Self {
        let count = usize::from(shards);
        Self {
            facts,
            shards: vec![ShardLine::default(); count],
            reported: vec![false; count],
            total: CoreMetrics::default(),
        }
    }

    /// Adds what the core of `shard` reports.
    ///
    /// # Panics
    /// If there is no such shard, or if it has been added before.
    pub fn add(&mut self, shard: ShardId, core: &CoreMetrics) {
        let reported = std::mem::replace(&mut self.reported[shard.index()], true);
        assert!(!reported, "shard {} reported twice", shard.0);
        self.shards[shard.index()] = ShardLine::from(core);
        self.total += core;
    }

    /// Whether every core has reported. A scrape without one of them would show counters that go down, which
    /// Prometheus takes for a restart.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.reported.iter().all(|&reported| reported)
    }

    /// What belongs to no core.
    #[must_use]
    pub const fn facts(&self) -> &ProcessFacts {
        &self.facts
    }

    /// The sums over all cores.
    #[must_use]
    pub const fn total(&self) -> &CoreMetrics {
        &self.total
    }

    /// Every shard's number and its own numbers, in order.
    pub fn shards(&self) -> impl Iterator<Item = (u16, &ShardLine)> {
        (0_u16..).zip(&self.shards)
    }

    /// By which part the fullest shard has more entries than the mean of all: 0 when they are even, 0.3 when the
    /// fullest has 30 % more than its share. The fullest shard is the one that evicts first and answers most, and its
    /// excess shows as clearly among many shards as among few, where a standard deviation would drown it.
    ///
    /// 0 as long as there are fewer than 256 entries per shard, and with one shard.
    #[must_use]
    pub fn shard_imbalance(&self) -> f64 {
        let Some(fullest) = self.shards.iter().map(|line| line.stats.entries).max() else { return 0.0 };
        let mean = self.total.shard.entries as f64 / self.shards.len() as f64;
        if mean < Self::IMBALANCE_ENTRIES_MIN { 0.0 } else { fullest as f64 / mean - 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::BackpressureReason;
    use crate::protocol::auth::AuthFailure;
    use crate::protocol::route::{Method, Route};

    fn with_entries(entries: &[u64]) -> Merged {
        let mut merged = Merged::new(entries.len() as u16, ProcessFacts::default());
        for (shard, &entries) in (0..).map(ShardId).zip(entries) {
            let shard_stats = ShardStats { entries, ..ShardStats::default() };
            merged.add(shard, &CoreMetrics { shard: shard_stats, ..CoreMetrics::default() });
        }
        merged
    }

    /// A core whose every number is `unit` or a multiple of it.
    fn core_of(unit: u64) -> CoreMetrics {
        let mut core = CoreMetrics {
            active_requests: unit,
            shard: ShardStats {
                hits: unit,
                misses: 2 * unit,
                sets: 3 * unit,
                deletes: 4 * unit,
                evictions: 5 * unit,
                blocks_denied: 25 * unit,
                expirations: 6 * unit,
                entries: 7 * unit,
                memory_bytes: 8 * unit,
                denied_bytes: 26 * unit,
                expiry_lag_ms: 7,
                put_conflicts: 9 * unit,
                delete_conflicts: 10 * unit,
                bytes_read: [unit; 5],
                bytes_written: [2 * unit; 5],
            },
            lanes: LaneDepths { requests: 11 * unit, control: 16 * unit, replies: 17 * unit },
            cpu_nanos: 18 * unit,
            wake_ups: WakeUps { slept: 23 * unit, rang: 24 * unit },
            shortages: Shortages { buffers: 27 * unit, completions: 28 * unit },
            busy_permille: 19 * unit,
            answered: 20 * unit,
            slow_requests: 21 * unit,
            local: 22 * unit,
            connections: 12 * unit,
            connections_accepted: 13 * unit,
            forwarded: 14 * unit,
            late_replies: 15 * unit,
            ..CoreMetrics::default()
        };
        for _ in 0..unit {
            core.backpressure(BackpressureReason::LaneFull);
            core.auth_failure(AuthFailure::MissingToken);
            core.record_requests(Method::Get, Route::Kv, 200, 1_000_000_000, 1);
        }
        core
    }

    #[test]
    fn the_sum_of_the_cores_is_the_core_of_the_sum() {
        let mut merged = Merged::new(3, ProcessFacts::default());
        // In any order: answers come back as they come.
        for (shard, unit) in [(2, 4), (0, 1), (1, 2)] {
            assert!(!merged.is_complete());
            merged.add(ShardId(shard), &core_of(unit));
        }
        assert!(merged.is_complete());
        let (sum, wanted) = (merged.total(), core_of(7));
        assert_eq!(sum.shard, wanted.shard);
        assert_eq!((sum.backpressure, sum.auth_failures), (wanted.backpressure, wanted.auth_failures));
        assert_eq!(ShardLine::from(sum), ShardLine::from(&wanted));
        assert_eq!(sum.active_requests, 7);
        let counted: Vec<_> = sum.requests.iter().map(|series| &series.durations).filter(|d| d.count() > 0).collect();
        assert_eq!(counted.len(), 1);
        assert_eq!((counted[0].count(), counted[0].sum_secs()), (7, 7.0));
        let hits: Vec<_> = merged.shards().map(|(shard, line)| (shard, line.stats.hits)).collect();
        assert_eq!(hits, [(0, 1), (1, 2), (2, 4)]);
    }

    #[test]
    #[should_panic(expected = "shard 0 reported twice")]
    fn a_core_counts_once() {
        let mut merged = with_entries(&[1]);
        merged.add(ShardId(0), &CoreMetrics::default());
    }

    #[test]
    fn imbalance_is_the_excess_of_the_fullest_shard() {
        assert_eq!(with_entries(&[1_000, 1_000]).shard_imbalance(), 0.0);
        assert_eq!(with_entries(&[1_000, 2_000, 3_000]).shard_imbalance(), 0.5);
        assert_eq!(with_entries(&[9_000]).shard_imbalance(), 0.0);
    }

    #[test]
    fn a_nearly_empty_cache_is_not_called_uneven() {
        assert_eq!(with_entries(&[]).shard_imbalance(), 0.0);
        assert_eq!(with_entries(&[0, 0, 0]).shard_imbalance(), 0.0);
        assert_eq!(with_entries(&[0, 511]).shard_imbalance(), 0.0);
        assert_eq!(with_entries(&[0, 512]).shard_imbalance(), 1.0);
    }
}
