//! What the connections of one core have in common: its shard, its parcels under way, its counters, its rules.

mod buffers;
mod places;
mod report;
mod sending;

pub(crate) use buffers::SpareOutputs;
pub(crate) use places::Waiting;

use super::rules::Settings;
use super::surveys::Surveys;
use crate::command::{Command, LeaseId, Outcome, Refusal};
use crate::forward::Forward;
use crate::insight::hot_keys::HotKeys;
use crate::insight::slow_log::{Moments, Name, SlowLog, SlowRequest};
use crate::metrics::{BackpressureReason, CoreMetrics};
use crate::protocol::answer::{self, PreparedHead};
use crate::protocol::familiar::FamiliarHeads;
use crate::protocol::route::{Method, Route};
use crate::routing::{KeyHash, Router, ShardId};
use crate::session::ConnId;
use crate::session::request_id::RequestIds;
use crate::shard::Shard;
use crate::time::{Mono, Now};
use report::Busy;
use std::collections::VecDeque;
use std::sync::Arc;

/// A request that has been answered in this wake-up; its duration is entered when the answer has been handed over.
#[derive(Clone, Debug)]
pub struct Answered {
    /// How many there were of it, one after another and each like the other: at least 1, and more only if nobody wants to
    /// hear of single ones.
    pub times: u64,
    /// Whose.
    pub conn: ConnId,
    /// Its method.
    pub method: Method,
    /// Its route.
    pub route: Route,
    /// Its status.
    pub status: u16,
    /// When what happened to it.
    pub moments: Moments,
    /// Which request it was, if it may be slow.
    pub name: Option<Box<Name>>,
}

/// How a read was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnsweredHow {
    pub status: u16,
    /// See [`Moments::paced_by_peer`].
    pub paced_by_peer: bool,
}

/// So many reads that were answered alike.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnsweredAlike {
    pub how: AnsweredHow,
    pub times: u64,
}

impl Answered {
    /// Whether a request of which this is to be said, and which has no name, would be entered like this one.
    fn is_like(&self, method: Method, route: Route, status: u16, moments: &Moments) -> bool {
        self.name.is_none()
            && (self.method, self.route, self.status) == (method, route, status)
            && self.moments == *moments
    }
}

/// Everything of one core but its connections.
#[derive(Debug)]
pub struct Parts {
    /// This core.
    pub me: ShardId,
    /// Whose key is it.
    pub router: Router,
    /// The ports on which one core each listens, by its number; empty if there are none.
    pub shard_ports: Arc<[u16]>,
    /// This core's shard.
    pub shard: Shard,
    /// Parcels under way.
    pub forward: Forward,
    /// What is counted; its `shard` part, lanes and CPU time are filled in for a report.
    pub metrics: CoreMetrics,
    /// The rules.
    pub settings: Settings,
    /// Reads request heads.
    pub heads: FamiliarHeads,
    /// Makes request IDs.
    pub request_ids: RequestIds,
    /// Answered in this wake-up.
    pub answered: Vec<Answered>,
    /// Whether the log hears of every request, as of the end of the last wake-up.
    pub(crate) logs_requests: bool,
    /// Requests in progress whose answers are made, and only wait to be taken.
    pub(crate) answers_untaken: u64,
    /// Requests in progress whose bodies are on their way in.
    pub(crate) bodies_coming: u64,
    /// Connections with nothing in progress whose next request waits for a place, who came first in front. Some may wait no
    /// more.
    pub(crate) waiting: VecDeque<Waiting>,
    /// No new connections, and every answer is the last one on its connection.
    pub draining: bool,
    /// Leases of other shards that are not needed any more, but have not been released yet.
    to_release: Vec<(ShardId, LeaseId)>,
    /// Whether the last attempt to release found a full lane; the next one is made at a tick.
    releases_wait: bool,
    date: [u8; 29],
    date_secs: u64,
    /// The answer to a plain read, with that date.
    pub(crate) prepared_head: PreparedHead,
    /// What the buffers of all connections take, in bytes.
    buffer_bytes: u64,
    /// What it was when the shard was last told.
    buffer_bytes_told: u64,
    /// Buffers for answers that no connection has now.
    pub(crate) spare_outputs: SpareOutputs,
    /// Questions to all cores.
    pub surveys: Surveys,
    /// The keys of this shard that are asked for most.
    pub hot_keys: HotKeys,
    /// The requests of this core that took long.
    pub slow_log: SlowLog,
    busy: Busy,
    /// What hot keys and slow requests take, in bytes, as of the last tick.
    insight_bytes: u64,
    /// Answers that this core will give again although they may be old.
    #[cfg(feature = "stale-read")]
    pub(crate) stale_reads: crate::stale::StaleReads,
}

/// Applies a command to the shard, with what is kept of it for operators.
pub(super) fn apply_to<'s>(
    shard: &'s mut Shard,
    hot_keys: &mut HotKeys,
    metrics: &mut CoreMetrics,
    now: Now,
    command: Command<&[u8]>,
) -> Outcome<&'s [u8]> {
    hot_keys.note(command.key, command.hash);
    let outcome = shard.apply(now, command);
    if matches!(outcome, Outcome::Refused(Refusal::NoRoom)) {
        metrics.backpressure(BackpressureReason::OverBudget);
    }
    outcome
}

impl Parts {
    /// The parts of the core `me`.
    #[must_use]
    pub fn new(
        me: ShardId,
        router: Router,
        shard: Shard,
        settings: Settings,
        ids: RequestIds,
        commands_max: usize,
    ) -> Self {
        let date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        let prepared_head = PreparedHead::new(&date, ids.core());
        Self {
            me,
            router,
            shard_ports: Arc::default(),
            shard,
            forward: Forward::new(me, commands_max),
            metrics: CoreMetrics::default(),
            settings,
            heads: FamiliarHeads::default(),
            request_ids: ids,
            answered: Vec::with_capacity(256),
            logs_requests: false,
            answers_untaken: 0,
            bodies_coming: 0,
            waiting: VecDeque::new(),
            draining: false,
            to_release: Vec::new(),
            releases_wait: false,
            date,
            date_secs: 0,
            prepared_head,
            buffer_bytes: 0,
            buffer_bytes_told: 0,
            spare_outputs: SpareOutputs::default(),
            surveys: Surveys::default(),
            hot_keys: HotKeys::default(),
            slow_log: SlowLog::default(),
            busy: Busy::default(),
            insight_bytes: 0,
            #[cfg(feature = "stale-read")]
            stale_reads: crate::stale::StaleReads::default(),
        }
    }

    /// See [`Shard::foresee`]; nothing if the key belongs to another core.
    pub(crate) fn foresee(&self, hash: KeyHash) {
        if self.router.owner(hash) == self.me {
            self.shard.foresee(hash);
        }
    }

    /// See [`Shard::foresee_entry`]; nothing if the key belongs to another core.
    pub(crate) fn foresee_entry(&self, hash: KeyHash) {
        if self.router.owner(hash) == self.me {
            self.shard.foresee_entry(hash);
        }
    }

    /// Applies a command to this core's shard.
    pub fn apply(&mut self, now: Now, command: Command<&[u8]>) -> Outcome<&[u8]> {
        let Self { shard, hot_keys, metrics, .. } = self;
        apply_to(shard, hot_keys, metrics, now, command)
    }

    /// From when on a request may be named in the slow log, in nanoseconds: earlier than it is slow, because its answer
    /// still has to be handed over.
    #[must_use]
    pub const fn worth_naming_nanos(&self) -> u64 {
        self.settings.slow_request_ms * 1_000_000 / 4
    }

    /// The `Date` of this second. Written once a second.
    pub fn date(&mut self, now: Now) -> [u8; 29] {
        let secs = now.unix().0 / 1_000;
        if secs != self.date_secs {
            self.date_secs = secs;
            self.date = answer::imf_fixdate(now.unix());
            self.prepared_head.set_date(&self.date);
        }
        self.date
    }

    /// Takes note of reads of `conn` that were begun, done and answered at `now`, one like the other.
    pub(crate) fn answered_at_once(&mut self, now: Mono, conn: ConnId, run: AnsweredAlike) {
        let AnsweredAlike { how: AnsweredHow { status, paced_by_peer }, times } = run;
        let moments = Moments::at_once(now, paced_by_peer);
        let (method, route) = (Method::Get, Route::Kv);
        let of = |times| Answered { times, conn, method, route, status, moments, name: None };
        match self.answered.last_mut() {
            _ if self.logs_requests => self.answered.extend((0..times).map(|_| of(1))),
            Some(last) if last.is_like(method, route, status, &moments) => last.times += times,
            _ if times > 0 => self.answered.push(of(times)),
            _ => {}
        }
    }

    /// Enters a request that was answered at `now`.
    pub(crate) fn enter(&mut self, now: Now, it: Answered) {
        let nanos = now.mono().nanos_since(it.moments.started);
        self.metrics.record_requests(it.method, it.route, it.status, nanos, it.times);
        let slow_nanos = self.settings.slow_request_ms * 1_000_000;
        if nanos < slow_nanos || !it.route.is_about_keys() {
            return;
        }
        let spent = it.moments.spent(now.mono());
        if it.moments.ours(&spent) >= slow_nanos {
            self.metrics.slow_requests += it.times;
            let at = now.unix();
            let (method, route, status, name) = (it.method, it.route, it.status, it.name);
            for _ in 0..it.times {
                self.slow_log.add(SlowRequest { at, method, route, status, spent, name: name.clone() });
            }
        }
    }
}
