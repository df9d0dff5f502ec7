//! What the connections of one core have in common: its shard, its parcels under way, its counters, its rules.

use crate::command::{LeaseId, Refusal};
use crate::forward::{Forward, Waiter};
use crate::limits::{BUFFERS_SHARE_DIVISOR, RELEASES_PER_PARCEL_MAX};
use crate::memory;
use crate::metrics::{BackpressureReason, CoreMetrics, ProcessFacts, ProcessStats};
use crate::parcel::{Parcel, Work};
use crate::protocol::answer;
use crate::protocol::auth::{AuthFailure, Tokens};
use crate::protocol::route::{Method, Route};
use crate::routing::{Router, ShardId};
use crate::session::ConnId;
use crate::session::request_id::RequestIds;
use crate::shard::Shard;
use crate::time::{Mono, Now};
use smallvec::SmallVec;

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
    fn process_stats(&mut self) -> ProcessStats;

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
}

/// A request that has been answered in this wake-up; its duration is entered when the answer has been handed over.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Whose.
    pub conn: ConnId,
    /// Its method.
    pub method: Method,
    /// Its route.
    pub route: Route,
    /// Its status.
    pub status: u16,
    /// When its head was complete.
    pub started: Mono,
}

/// Everything of one core but its connections.
#[derive(Debug)]
pub struct Parts {
    /// This core.
    pub me: ShardId,
    /// Whose key is it.
    pub router: Router,
    /// This core's shard.
    pub shard: Shard,
    /// Parcels under way.
    pub forward: Forward,
    /// What is counted; its `shard` part is filled in by [`Parts::snapshot`].
    pub metrics: CoreMetrics,
    /// The rules.
    pub settings: Settings,
    /// Makes request IDs.
    pub request_ids: RequestIds,
    /// Answered in this wake-up.
    pub answered: Vec<Answered>,
    /// No new connections, and every answer is the last one on its connection.
    pub draining: bool,
    /// Leases of other shards that are not needed any more, but have not been released yet.
    to_release: Vec<(ShardId, LeaseId)>,
    /// Whether the last attempt to release found a full lane; the next one is made at a tick.
    releases_wait: bool,
    date: [u8; 29],
    date_secs: u64,
    /// What the buffers of all connections take, in bytes.
    buffer_bytes: u64,
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
        Self {
            me,
            router,
            shard,
            forward: Forward::new(me, commands_max),
            metrics: CoreMetrics::default(),
            settings,
            request_ids: ids,
            answered: Vec::with_capacity(256),
            draining: false,
            to_release: Vec::new(),
            releases_wait: false,
            date: *b"Thu, 01 Jan 1970 00:00:00 GMT",
            date_secs: 0,
            buffer_bytes: 0,
        }
    }

    /// Takes note that the buffers of a connection took `before` bytes and take `after` now.
    pub(crate) fn buffers_changed(&mut self, before: u64, after: u64) {
        if before != after {
            self.buffer_bytes = self.buffer_bytes - before + after;
            self.count_buffers();
        }
    }

    /// Tells the shard what must fit into the budget beside its entries.
    pub(crate) fn count_buffers(&mut self) {
        self.shard.set_buffers(self.buffer_bytes + self.forward.spare_bytes() + memory::kept_bytes());
    }

    /// Whether the buffers of the connections take so much that who has not taken its answers must wait with further
    /// requests: clients that do not read must not evict what all others have stored.
    #[must_use]
    pub fn are_buffers_full(&self) -> bool {
        self.buffer_bytes > self.shard.limit() / BUFFERS_SHARE_DIVISOR
    }

    /// The `Date` of this second. Written once a second.
    pub fn date(&mut self, now: Now) -> [u8; 29] {
        let secs = now.unix().0 / 1_000;
        if secs != self.date_secs {
            self.date_secs = secs;
            self.date = answer::imf_fixdate(now.unix());
        }
        self.date
    }

    /// The numbers of this core as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Box<CoreMetrics> {
        let mut metrics = Box::new(self.metrics.clone());
        metrics.shard = self.shard.stats().clone();
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
