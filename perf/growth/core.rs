//! One core: a real engine, and where it is in its turn.

use crate::clients::TOKEN;
use cache_service::engine::Engine;
use cache_service::engine::parts::Parts;
use cache_service::engine::rules::Settings;
use cache_service::protocol::auth::Tokens;
use cache_service::routing::{Router, ShardId};
use cache_service::session::ConnId;
use cache_service::session::request_id::RequestIds;
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};
use cache_service::time::{Mono, Now};
use std::collections::VecDeque;

/// What a core does next; the parts of a turn are in the order of `runtime::core`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing, until somebody wakes it.
    Asleep,
    /// It is on its way out of its sleep.
    Waking,
    /// It reads its sockets.
    Sockets,
    /// It takes parcels off its lanes.
    Arrivals,
    /// It lets in who waited for a place.
    Places,
    /// It sends answers that parcels brought.
    Answers,
    /// It looks once more whether there is nothing to do.
    Waiting,
}

/// A request that has come in.
#[derive(Debug)]
pub struct Request {
    /// The connection.
    pub conn: ConnId,
    /// Its bytes.
    pub wire: String,
}

/// A request that was not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Who waits.
    pub client: usize,
    /// Since when.
    pub at: u64,
}

/// A core of the simulation.
#[derive(Debug)]
pub struct Core {
    /// The brain.
    pub engine: Engine,
    /// Where it is in its turn.
    pub phase: Phase,
    /// Whether it has said that it sleeps: its bell.
    pub is_armed: bool,
    /// What waits at its sockets.
    pub requests: VecDeque<Request>,
    /// When this part of the turn began.
    pub began: u64,
    /// Parcels taken in this turn.
    pub taken: usize,
    /// Whether the turn ended before the work did.
    pub has_more: bool,
    /// Whether parcels came or went in this turn.
    pub has_traded: bool,
    /// Who was sent something in this turn, each once.
    pub to_ring: Vec<usize>,
    /// When the engine looks at the clock again.
    pub next_tick: u64,
    /// Time spent working since it was last taken, in nanoseconds.
    pub worked: u64,
    idle: Vec<ConnId>,
    asked: Vec<Option<Asked>>,
}

impl Core {
    /// The core `me` of `router`, asleep; so many requests may be in progress at it.
    pub fn new(me: ShardId, router: Router, inflight_max: usize) -> Self {
        let (policy, hasher) = (EvictionPolicy::default(), router.hasher());
        let shard = Shard::new(ShardConfig { budget_bytes: None, first_version: 1, policy, hasher });
        let ids = RequestIds::new(1, u64::from(me.0));
        let commands_max = inflight_max.saturating_mul(usize::from(router.shards()));
        let parts = Parts::new(me, router, shard, settings(inflight_max), ids, commands_max);
        Self {
            engine: Engine::new(parts),
            phase: Phase::Asleep,
            is_armed: true,
            requests: VecDeque::new(),
            began: 0,
            taken: 0,
            has_more: false,
            has_traded: false,
            to_ring: Vec::new(),
            next_tick: 0,
            worked: 0,
            idle: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// A connection on which nothing is asked, from now on taken by `asked`.
    pub fn take_connection(&mut self, asked: Asked) -> ConnId {
        let conn = self.idle.pop();
        let conn = conn.unwrap_or_else(|| self.engine.open(moment(asked.at)).expect("as many as there are clients"));
        let place = conn.index();
        self.asked.resize(self.asked.len().max(place + 1), None);
        assert!(self.asked[place].replace(asked).is_none(), "a connection has one request at a time");
        conn
    }

    /// What was asked on a connection, which is free from now on.
    pub fn give_back(&mut self, conn: ConnId) -> Asked {
        self.idle.push(conn);
        self.asked[conn.index()].take().expect("an answer belongs to a request")
    }

    /// How many requests have no answer yet.
    pub fn asked(&self) -> usize {
        self.asked.len() - self.idle.len()
    }

    /// Takes note of a core that is to be rung at when this turn ends.
    pub fn note_sent(&mut self, to: usize) {
        if !self.to_ring.contains(&to) {
            self.to_ring.push(to);
        }
    }
}

/// A time of the simulation as an engine sees it.
pub const fn moment(nanos: u64) -> Now {
    Now::new(Mono::from_nanos(1_000_000_000 + nanos), 1_700_000_000_000)
}

fn settings(inflight_max: usize) -> Settings {
    Settings {
        tokens: Tokens::new([TOKEN]),
        idle_timeout_ms: 3_600_000,
        header_timeout_ms: 3_600_000,
        inflight_max,
        connections_max: usize::MAX,
        ..Settings::default()
    }
}
