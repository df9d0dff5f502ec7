//! What the connections of one core have in common: its shard, its parcels under way, its counters, its rules.

use super::surveys::{SurveyId, Surveys};
use crate::command::{Command, LeaseId, Outcome, Refusal};
use crate::forward::{Forward, Waiter};
use crate::insight::hot_keys::HotKeys;
use crate::insight::page::{Bundle, WrittenPage};
use crate::insight::slow_log::{Moments, Name, SlowLog, SlowRequest};
use crate::insight::{Question, Report};
use crate::limits::{
    BUFFER_KEEP_BYTES, BUFFERS_SHARE_DIVISOR, EVEN_SHARE_BYTES_MIN, PLACES_KEPT_DIVISOR, RELEASES_PER_PARCEL_MAX,
    SPARE_OUTPUTS_MAX,
};
use crate::memory;
use crate::metrics::{BackpressureReason, CoreMetrics, ProcessFacts, ProcessStats};
use crate::parcel::{Parcel, Work};
use crate::protocol::answer::{self, PreparedHead};
use crate::protocol::auth::{AuthFailure, Tokens};
use crate::protocol::familiar::FamiliarHeads;
use crate::protocol::route::{Method, Route};
use crate::routing::{KeyHash, Router, ShardId};
use crate::session::ConnId;
use crate::session::request_id::RequestIds;
use crate::shard::Shard;
use crate::time::{Mono, Now};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

/// The rules of one core, from the configuration; what is a limit of the whole process there is this core's share here.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may write, and read if `read_requires_auth`.
    pub tokens: Tokens,
    /// Whether reads need a token as well.
    pub read_requires_auth: bool,
    /// Longest value, in bytes.
    pub max_item_bytes: u64,
    /// Longest time in a lane, and longest silence within a body, in milliseconds.
    pub request_timeout_ms: u64,
    /// Longest silence between requests, and of a peer that does not read its answers, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Longest time for a request head to arrive, in milliseconds.
    pub header_timeout_ms: u64,
    /// A request that takes this long or longer goes to the slow log, in milliseconds.
    pub slow_request_ms: u64,
    /// How stale gauges that are averages may be, in milliseconds.
    pub metrics_interval_ms: u64,
    /// Requests in progress at this core.
    pub inflight_max: usize,
    /// Connections open in the whole process; the runtime counts them over all cores.
    pub connections_max: usize,
    /// The facts of the whole process that a scrape shows; its `stats` are read anew each time.
    pub process: ProcessFacts,
}

/// What a core goes by: its settings, and its shard's part of the memory budget.
#[derive(Clone, Debug)]
pub struct Rules {
    /// See [`Settings`].
    pub settings: Settings,
    /// In bytes; `None`: unlimited.
    pub budget_bytes: Option<u64>,
}

/// Something that the log should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A request was refused for its token.
    AuthFailed {
        /// Whose.
        conn: ConnId,
        /// Why.
        reason: AuthFailure,
        /// On what.
        route: Route,
    },
    /// A request was answered.
    Answered {
        /// Whose.
        conn: ConnId,
        /// What was asked.
        method: Method,
        /// Of what.
        route: Route,
        /// How it ended.
        status: u16,
    },
}

/// What a core needs of the world around it. The runtime gives lanes, clocks and logs; a simulation gives others.
pub trait Host {
    /// Puts a parcel on the lane to `parcel.to`, or gives it back if that lane is full. Never waits.
    ///
    /// # Errors
    /// The parcel itself, if the lane is full.
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>>;

    /// Sends a parcel that was carried out back to `parcel.from`. The reply lane has room for every parcel that its
    /// core has under way, so this cannot fail.
    fn reply(&mut self, parcel: Box<Parcel>);

    /// What the operating system says of this process.
    fn process_stats(&mut self) -> ProcessStats {
        ProcessStats::default()
    }

    /// Tells the log. Called rarely, except for [`Notice::Answered`], which is told only if [`Host::logs_requests`].
    fn notice(&mut self, notice: Notice);

    /// The numbers of the cores that have not answered the supervisor's pings for some time.
    fn silent_cores(&self) -> Vec<u16> {
        Vec::new()
    }

    /// Whether every request goes to the log.
    fn logs_requests(&self) -> bool {
        false
    }

    /// This moment, read anew; `None` where time stands still during a wake-up.
    fn moment(&self) -> Option<Mono> {
        None
    }

    /// How long this core has worked so far, in nanoseconds of CPU time.
    fn cpu_nanos(&mut self) -> u64 {
        0
    }

    /// How often this core slept, and woke others.
    fn wake_ups(&self) -> WakeUps {
        WakeUps::default()
    }

    /// How often there was no room for what the kernel had for this core.
    fn shortages(&self) -> Shortages {
        Shortages::default()
    }

    /// What waits at this core's lanes now.
    fn lane_depths(&self) -> LaneDepths {
        LaneDepths::default()
    }

    /// Log lines lost since the start.
    fn log_lines_dropped(&self) -> u64 {
        0
    }

    /// Has pages written, at once or by somebody else; then they come back by
    /// [`crate::engine::Engine::pages_written`].
    fn write_pages(&mut self, errand: PagesErrand) -> PagesState {
        PagesState::Written(errand.bundle.write())
    }
}

/// Pages that are to be written for a survey.
#[derive(Debug)]
pub struct PagesErrand {
    /// The core whose survey it is.
    pub from: ShardId,
    /// The survey.
    pub id: SurveyId,
    /// What is to be written.
    pub bundle: Bundle,
}

/// What has become of pages.
#[derive(Debug)]
pub enum PagesState {
    /// They are here.
    Written(Vec<WrittenPage>),
    /// They will come.
    Later,
    /// Too many wait.
    Busy,
}

/// How many parcels wait at one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneDepths {
    /// Commands on keys.
    pub requests: u64,
    /// Questions, pulls of long values, releases.
    pub control: u64,
    /// This core's own parcels, carried out.
    pub replies: u64,
}

/// How often a core had nothing to do, and how often it woke another one that had not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WakeUps {
    /// Times that it slept.
    pub slept: u64,
    /// Times that it rang at a core that slept.
    pub rang: u64,
}

/// How often the kernel had something for a core, and no room for it. Nothing is lost then, but it comes later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shortages {
    /// Times that a connection had sent something and all buffers to receive into were full.
    pub buffers: u64,
    /// Times that more had happened than fits into the core's ring.
    pub completions: u64,
}

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

/// A connection whose next request waits for a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Which.
    pub conn: ConnId,
    /// Whether that request may have one of the places that are kept: see [`Parts::are_places_kept`].
    pub is_modest: bool,
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
    /// Whether the log hears of every request, as of the last wake-up or tick.
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

/// Empty buffers for answers; the one that was used last is given first.
#[derive(Debug, Default)]
pub(crate) struct SpareOutputs(Vec<Vec<u8>>);

impl SpareOutputs {
    /// An empty buffer.
    pub(crate) fn pop(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    /// Keeps a buffer for the next one who needs it, unless it has grown large or there are enough.
    pub(crate) fn keep(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= BUFFER_KEEP_BYTES && self.0.len() < SPARE_OUTPUTS_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }

    /// The memory that they take, in bytes.
    fn bytes(&self) -> u64 {
        self.0.iter().map(|buffer| buffer.capacity() as u64).sum()
    }
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

/// Works out how busy a core is.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
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

    /// Takes note that the buffers of a connection took `before` bytes and take `after` now.
    pub(crate) fn buffers_changed(&mut self, before: u64, after: u64) {
        self.buffer_bytes = self.buffer_bytes - before + after;
    }

    /// What the buffers of all connections take, in bytes. For tests.
    #[doc(hidden)]
    #[must_use]
    pub const fn buffer_bytes(&self) -> u64 {
        self.buffer_bytes
    }

    /// Tells the shard of what has changed in this wake-up.
    pub(crate) fn count_buffers_if_changed(&mut self) {
        if self.buffer_bytes != self.buffer_bytes_told {
            self.count_buffers();
        }
    }

    /// Tells the shard what must fit into the budget beside its entries.
    pub(crate) fn count_buffers(&mut self) {
        self.buffer_bytes_told = self.buffer_bytes;
        let spare = self.forward.spare_bytes() + self.spare_outputs.bytes();
        let kept = spare + memory::kept_bytes() + self.insight_bytes;
        self.shard.set_buffers(self.buffer_bytes + kept);
    }

    /// Whether the buffers of the connections take so much that who has not taken its answers must wait with further
    /// requests: clients that do not read must not evict what all others have stored.
    #[must_use]
    pub fn are_buffers_full(&self) -> bool {
        self.buffer_bytes > self.shard.limit() / BUFFERS_SHARE_DIVISOR
    }

    /// Whether as many requests are in progress as may be. An answer that only waits for its reader keeps nobody else from
    /// being served: it takes memory, which is counted as such.
    #[must_use]
    pub const fn is_at_work_enough(&self) -> bool {
        self.at_work() >= self.settings.inflight_max as u64
    }

    /// Whether the places that are left are kept: for a request that is there as a whole, on a connection that waits for
    /// nothing else. Who pipelines, or takes his time with a body, has the other places, and cannot take these.
    #[must_use]
    pub const fn are_places_kept(&self) -> bool {
        self.at_work() >= self.places_not_kept()
    }

    /// Whether a request may have to wait for a place.
    #[must_use]
    pub(crate) fn are_places_contested(&self) -> bool {
        self.are_places_kept() || !self.waiting.is_empty()
    }

    /// Whether as many bodies are on their way in as may be: half of the places, so that neither pipelines nor whole requests
    /// are kept out by those who take their time.
    #[must_use]
    pub const fn are_bodies_enough(&self) -> bool {
        self.bodies_coming >= self.settings.inflight_max.div_ceil(2) as u64
    }

    /// Whether there is a place for who waits.
    pub(crate) const fn has_place_for(&self, waiting: Waiting) -> bool {
        if waiting.is_modest { !self.is_at_work_enough() } else { !self.are_places_kept() }
    }

    /// Whether one more connection may wait for a place: no more than there are places, so that a turn comes soon.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.waiting.len() < self.settings.inflight_max
    }

    /// Requests in progress, without those whose answers only wait to be taken.
    #[must_use]
    pub const fn at_work(&self) -> u64 {
        self.metrics.active_requests - self.answers_untaken
    }

    const fn places_not_kept(&self) -> u64 {
        let places = self.settings.inflight_max;
        (places - places / PLACES_KEPT_DIVISOR) as u64
    }

    /// How much of the room for buffers each of the connections has, in bytes, if all have the same; never less than a few
    /// requests take.
    #[must_use]
    pub fn even_share_of_buffers(&self) -> u64 {
        (self.shard.limit() / BUFFERS_SHARE_DIVISOR / self.metrics.connections.max(1)).max(EVEN_SHARE_BYTES_MIN)
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

    /// Takes note of a read of `conn` that was begun, done and answered with `status` at `now`.
    pub(crate) fn answered_at_once(&mut self, now: Mono, conn: ConnId, status: u16, paced_by_peer: bool) {
        let moments = Moments::at_once(now, paced_by_peer);
        let (method, route) = (Method::Get, Route::Kv);
        match self.answered.last_mut() {
            Some(last) if !self.logs_requests && last.is_like(method, route, status, &moments) => last.times += 1,
            _ => self.answered.push(Answered { times: 1, conn, method, route, status, moments, name: None }),
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

    /// Follows the time in what is kept for operators.
    pub(crate) fn look_at_ourselves(&mut self, now: Now, host: &mut impl Host) {
        self.hot_keys.tick(now.mono());
        self.logs_requests = host.logs_requests();
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

    /// Puts `parcel` on its way to `to` for `waiter`.
    ///
    /// # Errors
    /// What was full; the parcel comes back, so that what it carries is not lost.
    pub fn send(
        &mut self,
        host: &mut impl Host,
        now: Now,
        mut parcel: Box<Parcel>,
        to: ShardId,
        waiter: Waiter,
    ) -> Result<(), (Box<Parcel>, BackpressureReason)> {
        assert!(to != self.me, "a core does not write letters to itself");
        let is_commands = parcel.work.is_commands();
        if !self.forward.has_room_for(&parcel.work) {
            let full = if is_commands { BackpressureReason::MaxInflight } else { BackpressureReason::ControlLaneFull };
            return Err((parcel, full));
        }
        parcel.sent = now.mono();
        parcel.deadline = now.mono().plus_millis(self.settings.request_timeout_ms);
        self.forward.enter(&mut parcel, to, waiter);
        match host.send(parcel) {
            Ok(()) => {
                self.metrics.forwarded += u64::from(is_commands);
                Ok(())
            }
            Err(parcel) => {
                self.forward.leave(&parcel);
                let reason =
                    if is_commands { BackpressureReason::LaneFull } else { BackpressureReason::ControlLaneFull };
                Err((parcel, reason))
            }
        }
    }

    /// Releases a lease: at once if it is of this shard, else with the next parcel that goes there.
    pub fn release(&mut self, owner: ShardId, lease: LeaseId) {
        if owner == self.me { self.shard.release(lease) } else { self.to_release.push((owner, lease)) }
    }

    /// Sends off what is to be released, one parcel for each owner. What finds a full lane waits for the next tick.
    pub fn send_releases(&mut self, host: &mut impl Host, now: Now) {
        if self.releases_wait {
            return;
        }
        let mut busy: SmallVec<[ShardId; 4]> = SmallVec::new();
        while let Some(&(owner, _)) = self.to_release.iter().find(|(owner, _)| !busy.contains(owner)) {
            let mut parcel = self.forward.blank();
            let of_owner = self.to_release.extract_if(.., |(of, _)| *of == owner).map(|(_, lease)| lease);
            parcel.work = Work::Release(of_owner.take(RELEASES_PER_PARCEL_MAX).collect());
            if let Err((mut parcel, reason)) = self.send(host, now, parcel, owner, Waiter::Nobody) {
                self.metrics.backpressure(reason);
                self.releases_wait = true;
                if let Work::Release(leases) = &mut parcel.work {
                    self.to_release.extend(leases.drain(..).map(|lease| (owner, lease)));
                }
                self.forward.recycle(parcel);
                busy.push(owner);
            }
        }
    }

    /// Allows releases to be tried again.
    pub const fn retry_releases(&mut self) {
        self.releases_wait = false;
    }

    /// Fills in the outcomes of a parcel that could not be sent, and counts why. Long values in it are freed in slices.
    pub fn refuse(&mut self, parcel: &mut Parcel, reason: BackpressureReason) {
        self.metrics.backpressure(reason);
        let shard = &mut self.shard;
        parcel.apply(|command, sink| {
            command.into_blob().into_iter().for_each(|blob| shard.discard(blob));
            sink.refuse(Refusal::Busy);
        });
    }

    /// Takes back a parcel that nobody waits for any more.
    pub fn discard(&mut self, parcel: Box<Parcel>) {
        for lease in parcel.leases() {
            self.release(parcel.to, lease);
        }
        self.forward.recycle(parcel);
    }
}
