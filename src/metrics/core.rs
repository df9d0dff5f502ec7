//! What one core counts.

use super::durations::RequestDurations;
use crate::engine::host::{LaneDepths, Shortages, WakeUps};
use crate::protocol::auth::AuthFailure;
use crate::protocol::route::{Method, Route};
use crate::shard::stats::ShardStats;
use std::ops::AddAssign;

/// Which limit a request or a connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackpressureReason {
    /// The lane to the owner of the key was full (`MAX_SHARD_MAILBOX`).
    LaneFull,
    /// As many requests as allowed were in progress (`MAX_INFLIGHT`).
    MaxInflight,
    /// As many connections as allowed were open (`MAX_CONNECTIONS`).
    MaxConnections,
    /// The owner of the key saw the operation too late (`REQUEST_TIMEOUT_MS`).
    Deadline,
    /// The lane for long values and administration was full, or the thread that writes pages had too many to write.
    ControlLaneFull,
    /// There was no room for a value in its shard's part of the budget (`MEMORY_BUDGET_BYTES`), or for a page beside
    /// answers that clients do not read.
    OverBudget,
    /// The kernel had no memory for a value, or for what the budget allows.
    NoMemory,
}

impl BackpressureReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::LaneFull,
        Self::MaxInflight,
        Self::MaxConnections,
        Self::Deadline,
        Self::ControlLaneFull,
        Self::OverBudget,
        Self::NoMemory,
    ];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LaneFull => "lane_full",
            Self::MaxInflight => "max_inflight",
            Self::MaxConnections => "max_connections",
            Self::Deadline => "deadline",
            Self::ControlLaneFull => "control_lane_full",
            Self::OverBudget => "over_budget",
            Self::NoMemory => "no_memory",
        }
    }
}

/// Everything that one core counts, since the start of the process unless said otherwise. Plain integers that belong to
/// one core; what travels to the core that was scraped is a clone.
#[derive(Clone, Debug, Default)]
pub struct CoreMetrics {
    /// How long answered requests took.
    pub requests: RequestDurations,
    /// Requests in progress now.
    pub active_requests: u64,
    /// Requests and connections refused, by [`BackpressureReason::ALL`].
    pub backpressure: [u64; BackpressureReason::ALL.len()],
    /// Requests not authorised, by [`AuthFailure::ALL`].
    pub auth_failures: [u64; AuthFailure::ALL.len()],
    /// What the core's shard counts.
    pub shard: ShardStats,
    /// What waits at the core's lanes now.
    pub lanes: LaneDepths,
    /// CPU time of the core's thread, in nanoseconds.
    pub cpu_nanos: u64,
    /// How often the core slept, and woke others.
    pub wake_ups: WakeUps,
    /// How often there was no room for what the kernel had for the core.
    pub shortages: Shortages,
    /// How much of its time the core has worked lately, in thousandths.
    pub busy_permille: u64,
    /// Requests answered, whoever owned the key.
    pub answered: u64,
    /// Requests that took as long as SLOW_REQUEST_MS or longer.
    pub slow_requests: u64,
    /// Operations of this core's own clients on keys of its own shard; a batch counts once for each shard.
    pub local: u64,
    /// Connections open now.
    pub connections: u64,
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Operations sent on to the core that owns the key; a batch counts once for each shard.
    pub forwarded: u64,
    /// Answers from other cores that came after their request was given up.
    pub late_replies: u64,
}

impl CoreMetrics {
    /// Counts `times` requests that were answered with `status`, one of [`super::STATUSES`], each `nanos` nanoseconds after
    /// its head was complete.
    pub fn record_requests(&mut self, method: Method, route: Route, status: u16, nanos: u64, times: u64) {
        self.requests.record(method, route, status, nanos, times);
    }

    /// Counts a refusal for want of room or time.
    pub fn backpressure(&mut self, reason: BackpressureReason) {
        self.backpressure[reason as usize] += 1;
    }

    /// Counts a refusal for want of a valid token.
    pub fn auth_failure(&mut self, reason: AuthFailure) {
        self.auth_failures[reason as usize] += 1;
    }
}

// Both sums name every field, so that a new one cannot be forgotten here. A lag is as long as the longest.

impl AddAssign<&Self> for CoreMetrics {
    fn add_assign(&mut self, other: &Self) {
        let Self {
            requests,
            active_requests,
            backpressure,
            auth_failures,
            shard,
            lanes: LaneDepths { requests: waiting, control, replies },
            cpu_nanos,
            wake_ups: WakeUps { slept, rang },
            shortages: Shortages { buffers, completions },
            busy_permille,
            answered,
            slow_requests,
            local,
            connections,
            connections_accepted,
            forwarded,
            late_replies,
        } = other;
        self.requests += requests;
        self.active_requests += active_requests;
        add_each(&mut self.backpressure, backpressure);
        add_each(&mut self.auth_failures, auth_failures);
        self.shard += shard;
        self.lanes.requests += waiting;
        self.lanes.control += control;
        self.lanes.replies += replies;
        self.cpu_nanos += cpu_nanos;
        self.wake_ups.slept += slept;
        self.wake_ups.rang += rang;
        self.shortages.buffers += buffers;
        self.shortages.completions += completions;
        self.busy_permille += busy_permille;
        self.answered += answered;
        self.slow_requests += slow_requests;
        self.local += local;
        self.connections += connections;
        self.connections_accepted += connections_accepted;
        self.forwarded += forwarded;
        self.late_replies += late_replies;
    }
}

impl AddAssign<&Self> for ShardStats {
    fn add_assign(&mut self, other: &Self) {
        let Self {
            hits,
            misses,
            sets,
            deletes,
            evictions,
            blocks_denied,
            expirations,
            entries,
            memory_bytes,
            denied_bytes,
            expiry_lag_ms,
            put_conflicts,
            delete_conflicts,
            bytes_read,
            bytes_written,
        } = other;
        self.hits += hits;
        self.misses += misses;
        self.sets += sets;
        self.deletes += deletes;
        self.evictions += evictions;
        self.blocks_denied += blocks_denied;
        self.expirations += expirations;
        self.entries += entries;
        self.memory_bytes += memory_bytes;
        // Of an unlimited budget, no end is missing.
        self.denied_bytes = self.denied_bytes.saturating_add(*denied_bytes);
        self.expiry_lag_ms = self.expiry_lag_ms.max(*expiry_lag_ms);
        self.put_conflicts += put_conflicts;
        self.delete_conflicts += delete_conflicts;
        add_each(&mut self.bytes_read, bytes_read);
        add_each(&mut self.bytes_written, bytes_written);
    }
}

fn add_each<const N: usize>(sums: &mut [u64; N], terms: &[u64; N]) {
    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_in_their_order() {
        assert!(BackpressureReason::ALL.iter().enumerate().all(|(n, &reason)| reason as usize == n));
        assert!(AuthFailure::ALL.iter().enumerate().all(|(n, &reason)| reason as usize == n));
    }

    #[test]
    fn every_refusal_is_counted_under_its_own_reason() {
        let mut core = CoreMetrics::default();
        core.backpressure(BackpressureReason::Deadline);
        core.backpressure(BackpressureReason::OverBudget);
        core.backpressure(BackpressureReason::OverBudget);
        core.auth_failure(AuthFailure::InvalidToken);
        assert_eq!(core.backpressure, [0, 0, 0, 1, 0, 2, 0]);
        assert_eq!(core.auth_failures, [0, 1]);
    }
}
