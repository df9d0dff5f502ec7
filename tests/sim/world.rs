//! The simulated world: engines, lanes, clients and a clock, and how a plan is followed in it.

use crate::client::{Client, Connection, UNANSWERED_MAX, key_name};
use crate::fault::{Fault, Faults};
use crate::generate::{CLIENTS_MAX, KEYS};
use crate::lanes::Lanes;
use crate::model::{Key, LAG_MS_MAX, OpId, Verb};
use crate::plan::{Ask, Plan, Rules, Shape, Step};
use crate::seen::Seen;
use crate::wire::{Answer, TOKEN};
use cache_service::engine::Engine;
use cache_service::engine::parts::Parts;
use cache_service::engine::rules::{self, Settings};
use cache_service::limits::TICK_MS;
use cache_service::protocol::auth::Tokens;
use cache_service::routing::{Router, ShardId};
use cache_service::session::ConnId;
use cache_service::session::request_id::RequestIds;
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};
use cache_service::time::{Mono, Now};
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};

/// Why a run has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Failures of one kind are taken for the same one.
    pub kind: String,
    pub text: String,
}

impl Failure {
    pub fn new(kind: &str, text: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), text: text.into() }
    }
}

pub type Run<T = ()> = Result<T, Failure>;

/// One core.
#[derive(Debug)]
pub struct Core {
    pub engine: Engine,
    /// It gets no turn before this.
    pub pauses_until_ms: u64,
    /// What it is told at its next turn.
    words: VecDeque<Rules>,
    drains: bool,
    /// Connections whose clients are gone, and it has not heard of that.
    left: Vec<ConnId>,
    /// The rules that it follows.
    pub rules: Rules,
    /// The most that its rules have allowed so far.
    pub rules_max: Rules,
    /// Its clock is behind by so much: it was read when the turn began.
    lag_ms: u64,
    /// What its clock has shown last.
    latest_ms: Cell<u64>,
    /// It has had to come down to a lower budget, and has not yet.
    pub is_shrinking: bool,
    pub memory: Memory,
}

/// What was counted in a shard when it was looked at last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub evictions: u64,
    pub expirations: u64,
    pub in_use: u64,
    pub committed: u64,
    pub slack: u64,
}

/// Requests whose client has gone, as long as they may still be carried out.
#[derive(Debug)]
pub struct Gone {
    pub core: u16,
    /// So many parcels had been sent when it went.
    pub sent: u64,
    pub ops: Vec<(u8, OpId)>,
}

/// Everything there is.
pub struct World {
    pub cores: Vec<Core>,
    pub lanes: Lanes,
    pub clients: Vec<Client>,
    pub keys: Vec<Key>,
    pub gone: Vec<Gone>,
    pub router: Router,
    /// Who owns which key.
    owners: Vec<u16>,
    pub now_ms: u64,
    pub is_draining: bool,
    /// Nothing in the plan is a reason to refuse a request.
    pub is_gentle: bool,
    pub socket_bytes: usize,
    pub serial: u64,
    pub requests: u64,
    next_op: OpId,
    /// Answers that say that the server is too busy, to requests on keys.
    pub refusals: u64,
    /// What was heard, for comparing runs.
    pub history: Vec<String>,
    /// The first answers to reads of keys, for a fault.
    pub stale: HashMap<u8, Answer>,
    pub seen: Seen,
}

/// How far the wall clock is ahead of the other one.
pub const WALL_MS: u64 = 1_700_000_000_000;
/// Unanswered writes of one key at most.
const WRITES_MAX: usize = 5;
const BEGIN_MS: u64 = 1_000;
const IDLE_TIMEOUT_MS: u64 = 60_000;
const HEADER_TIMEOUT_MS: u64 = 10_000;

impl World {
    pub fn new(shape: &Shape, fault: Option<Fault>) -> Self {
        let router = Router::new(shape.cores, [3, 4]);
        let client = |number: u64| Client::of((number % u64::from(shape.cores)) as u16);
        Self {
            cores: (0..shape.cores).map(|core| Core::new(core, router, shape, fault)).collect(),
            lanes: Lanes::new(shape.cores, shape.mailbox_max, Faults::new(fault)),
            clients: (0..CLIENTS_MAX).map(client).collect(),
            keys: (0..KEYS).map(|_| Key::default()).collect(),
            gone: Vec::new(),
            router,
            owners: (0..KEYS).map(|key| router.owner(router.hash(key_name(key).as_bytes())).0).collect(),
            now_ms: BEGIN_MS,
            is_draining: false,
            is_gentle: false,
            socket_bytes: shape.socket_bytes,
            serial: 0,
            requests: 0,
            next_op: 1,
            refusals: 0,
            history: Vec::new(),
            stale: HashMap::new(),
            seen: Seen::default(),
        }
    }

    /// The moment at a core.
    pub fn now_at(&self, core: u16) -> Now {
        let stands = core == 0 && self.lanes.faults.has(Fault::StandingClock);
        let it = &self.cores[usize::from(core)];
        let millis = if stands { self.now_ms.min(BEGIN_MS + 500) } else { self.now_ms - it.lag_ms };
        // No clock goes back.
        let millis = millis.max(it.latest_ms.get());
        it.latest_ms.set(millis);
        Now::new(Mono::from_millis(millis), WALL_MS)
    }

    /// The keys that a core owns.
    pub fn keys_of(&self, core: u16) -> Vec<u8> {
        (0..KEYS).filter(|key| self.owners[usize::from(*key)] == core).collect()
    }

    /// Follows the plan to its end, then lets everything come to rest and looks whether anything is left.
    pub fn follow(&mut self, plan: &Plan) -> Run {
        self.is_gentle = plan.is_gentle();
        for step in &plan.steps {
            self.step(step)?;
            self.look()?;
        }
        self.come_to_rest()?;
        self.ask_for_everything()?;
        self.leave_nothing()
    }

    fn step(&mut self, step: &Step) -> Run {
        match step {
            Step::Ask { client, ask } => self.make_up(usize::from(*client), ask),
            Step::Send { client, len } => return self.send(usize::from(*client), *len as usize).map(drop),
            Step::Hear { client, len } => return self.hear(usize::from(*client), *len as usize).map(drop),
            Step::HangUp { client } => self.hang_up(usize::from(*client)),
            Step::Vanish { client, next_core } => self.vanish(usize::from(*client), *next_core),
            Step::Carry { pick, most } => self.move_parcels(false, *pick, *most),
            Step::Bring { pick, most } => self.move_parcels(true, *pick, *most),
            Step::Fill { core, parcels } => {
                let core = self.core(*core);
                self.lanes.full_for[usize::from(core)] = *parcels;
            }
            Step::Page { pick } => self.write_a_page(usize::from(*pick)),
            Step::Pass { millis } => self.pass(u64::from(*millis))?,
            Step::Pause { core, millis } => self.pause(*core, u64::from(*millis)),
            Step::Reload { rules } => self.reload(*rules),
            Step::Lag { core, millis } => {
                let core = self.core(*core);
                self.cores[usize::from(core)].lag_ms = u64::from(*millis).min(LAG_MS_MAX);
                self.seen.note_if(*millis > 0, "cores whose clocks were behind");
            }
            Step::Drain => self.drain(),
        }
        Ok(())
    }

    /// A core that there is.
    fn core(&self, number: u16) -> u16 {
        number % self.cores.len() as u16
    }

    pub fn make_up(&mut self, number: usize, ask: &Ask) {
        let client = &self.clients[number];
        let is_over = client.has_hung_up || (self.is_draining && client.connection.is_none());
        if is_over || client.expected.len() >= UNANSWERED_MAX || ask.keys().iter().any(|key| self.is_busy(*key)) {
            return;
        }
        let client = &mut self.clients[number];
        self.requests += 1;
        client.ask(ask, self.requests, &mut self.next_op);
    }

    /// Whether so many writes wait for a key that too many pasts would be possible.
    fn is_busy(&self, key: u8) -> bool {
        let waits = |(of, _, verb): &&(u8, OpId, Verb)| *of == key && !matches!(verb, Verb::Get { .. });
        let expected = self.clients.iter().flat_map(|client| &client.expected).filter(|it| !it.is_delivered);
        let unsaid = expected.flat_map(|it| &it.ops).filter(waits).count();
        unsaid + self.keys[usize::from(key)].writes() >= WRITES_MAX
    }

    fn pause(&mut self, core: u16, millis: u64) {
        let core = self.core(core);
        let until_ms = self.now_ms + millis;
        self.seen.note_if(millis > 500, "cores paused for longer than a request may take");
        let core = &mut self.cores[usize::from(core)];
        core.pauses_until_ms = core.pauses_until_ms.max(until_ms);
    }

    fn reload(&mut self, rules: Rules) {
        self.seen.note("reloads");
        self.cores.iter_mut().for_each(|core| core.words.push_back(rules));
    }

    fn drain(&mut self) {
        self.seen.note("drained");
        self.is_draining = true;
        self.cores.iter_mut().for_each(|core| core.drains = true);
        for client in &mut self.clients {
            if client.connection.is_none() {
                client.begin_anew();
            }
        }
    }

    pub fn is_awake(&self, core: u16) -> bool {
        self.cores[usize::from(core)].pauses_until_ms <= self.now_ms
    }

    /// A core has a turn, if it gets one: first it hears what has happened meanwhile.
    pub fn wake(&mut self, core: u16) -> bool {
        if !self.is_awake(core) {
            return false;
        }
        let now = self.now_at(core);
        let it = &mut self.cores[usize::from(core)];
        if std::mem::take(&mut it.drains) {
            it.engine.start_draining();
        }
        while let Some(rules) = it.words.pop_front() {
            let limit = it.limit();
            it.rules = rules;
            it.is_shrinking |= it.limit() < limit;
            it.rules_max.inflight_max = it.rules_max.inflight_max.max(rules.inflight_max);
            let is_ignored = self.lanes.faults.has(Fault::IgnoredBudget);
            it.engine.obey(rules_of(&if is_ignored { Rules { shard_budget: None, ..rules } } else { rules }));
        }
        for conn in std::mem::take(&mut it.left) {
            if !self.lanes.faults.strikes(Fault::LeakedConnection) {
                it.engine.close(now, &mut self.lanes, conn);
            }
        }
        for client in 0..self.clients.len() {
            self.tell_of_room(client, core);
        }
        true
    }

    fn tell_of_room(&mut self, client: usize, core: u16) {
        let socket_bytes = self.socket_bytes;
        let Some(connection) = &mut self.clients[client].connection else { return };
        let has_room = connection.awaits_room && connection.kernel.len() < socket_bytes;
        if connection.core == core && has_room && !connection.is_closed {
            connection.awaits_room = false;
            self.tend(client);
        }
    }

    /// What every turn ends with.
    pub fn end_turn(&mut self, core: u16) {
        let at = usize::from(core);
        let now = self.now_at(core);
        self.cores[at].engine.admit_waiting(now, &mut self.lanes);
        while let Some(conn) = self.cores[at].engine.next_dirty() {
            if self.lanes.faults.strikes(Fault::MissedWakeUp) {
                continue;
            }
            let is_of = |it: &Connection| it.core == core && it.id == conn && !it.is_closed;
            let client = self.clients.iter().position(|client| client.connection.as_ref().is_some_and(is_of));
            client.into_iter().for_each(|client| self.tend(client));
        }
        let now = self.now_at(core);
        self.cores[at].engine.settle(now, &mut self.lanes);
    }

    /// Takes what the engine has to send, as far as the kernel has room, and does what it wants done next.
    pub fn tend(&mut self, client: usize) {
        let Some(connection) = &self.clients[client].connection else { return };
        let (core, id) = (connection.core, connection.id);
        let now = self.now_at(core);
        let Some(connection) = &mut self.clients[client].connection else { return };
        let engine = &mut self.cores[usize::from(core)].engine;
        loop {
            let output = engine.gather(id).concat();
            let len = output.len().min(self.socket_bytes.saturating_sub(connection.kernel.len()));
            if output.is_empty() {
                break;
            }
            if len == 0 {
                connection.awaits_room = true;
                self.seen.note("kernels full");
                break;
            }
            connection.kernel.extend_from_slice(&output[..len]);
            connection.moved_ms = self.now_ms;
            engine.sent(now, &mut self.lanes, id, len);
        }
        let hoarders = |engine: &cache_service::engine::Engine| {
            engine.parts().metrics.backpressure[cache_service::metrics::BackpressureReason::OverBudget as usize]
        };
        let before = hoarders(engine);
        let flow = engine.flow(id);
        connection.hoarded |= hoarders(engine) > before;
        match flow {
            cache_service::session::Flow::Reading => connection.receives = true,
            cache_service::session::Flow::Paused => {}
            cache_service::session::Flow::Lingering => (connection.lingers, connection.receives) = (true, true),
            cache_service::session::Flow::Closed => self.close(client),
        }
    }

    /// The core closes its side.
    pub fn close(&mut self, client: usize) {
        let now_ms = self.now_ms;
        let Some(connection) = &mut self.clients[client].connection else { return };
        connection.is_closed = true;
        connection.silent_ms = now_ms - connection.moved_ms;
        let (core, id) = (connection.core, connection.id);
        let now = self.now_at(core);
        self.cores[usize::from(core)].engine.close(now, &mut self.lanes, id);
    }

    /// The client's side of a connection is gone; the core hears of it at its next turn.
    pub fn abandon(&mut self, connection: &Connection) {
        if !connection.is_closed {
            self.cores[usize::from(connection.core)].left.push(connection.id);
        }
    }

    pub fn move_parcels(&mut self, leads_back: bool, pick: u16, most: u8) {
        let picked = self.lanes.pick(leads_back, pick, |core| self.is_awake(core));
        let Some(ends) = picked else { return };
        let core = ends.2;
        self.wake(core);
        for _ in 0..most {
            let Some(parcel) = self.lanes.take(ends) else { break };
            self.arrive(core, leads_back, parcel);
        }
        self.end_turn(core);
    }

    pub fn write_a_page(&mut self, pick: usize) {
        let waiting = self.lanes.errands.len();
        let Some(chosen) = pick.checked_rem(waiting) else { return };
        let core = self.lanes.errands[chosen].from;
        if !self.wake(core.0) {
            return;
        }
        let errand = self.lanes.errands.swap_remove(chosen);
        let (now, engine) = (self.now_at(core.0), &mut self.cores[core.index()].engine);
        engine.pages_written(now, &mut self.lanes, errand.id, errand.bundle.write());
        self.seen.note("pages written");
        self.end_turn(core.0);
    }

    /// Time passes, tick by tick.
    pub fn pass(&mut self, millis: u64) -> Run {
        let mut left = millis;
        while left > 0 {
            let step = left.min(TICK_MS);
            left -= step;
            self.now_ms += step;
            for core in 0..self.cores.len() as u16 {
                self.tick(core)?;
            }
            if left > 0 {
                self.look()?;
            }
        }
        Ok(())
    }

    fn tick(&mut self, core: u16) -> Run {
        /// No upkeep takes so many slices.
        const SLICES_MAX: usize = 10_000;
        if !self.wake(core) {
            return Ok(());
        }
        let now = self.now_at(core);
        for slice in 0.. {
            assert!(slice < SLICES_MAX, "upkeep comes to an end");
            let engine = &mut self.cores[usize::from(core)].engine;
            self.lanes.seen.note_if(engine.is_pressed(), "pressed for room");
            let has_more = engine.tick(now, &mut self.lanes);
            self.end_turn(core);
            if !has_more {
                break;
            }
        }
        self.look_after_upkeep(core)
    }
}

impl Core {
    /// Connections whose clients are gone, and it has not heard of that.
    pub fn left_count(&self) -> u64 {
        self.left.len() as u64
    }

    fn new(core: u16, router: Router, shape: &Shape, fault: Option<Fault>) -> Self {
        let (policy, hasher) =
            (if shape.lru { EvictionPolicy::Lru } else { EvictionPolicy::default() }, router.hasher());
        let first_version = u64::from(core + 1) << 48;
        let budget_bytes = shape.rules.shard_budget.filter(|_| fault != Some(Fault::IgnoredBudget));
        let shard = Shard::new(ShardConfig { budget_bytes, first_version, policy, hasher });
        let ids = RequestIds::new(u64::from(core), 0);
        let parts = Parts::new(ShardId(core), router, shard, settings_of(&shape.rules), ids, 4_096);
        Self {
            engine: Engine::new(parts),
            pauses_until_ms: 0,
            words: VecDeque::new(),
            drains: false,
            left: Vec::new(),
            rules: shape.rules,
            rules_max: shape.rules,
            lag_ms: 0,
            latest_ms: Cell::new(0),
            is_shrinking: false,
            memory: Memory::default(),
        }
    }
}

fn rules_of(rules: &Rules) -> rules::Rules {
    rules::Rules { settings: settings_of(rules), budget_bytes: rules.shard_budget }
}

fn settings_of(rules: &Rules) -> Settings {
    Settings {
        tokens: Tokens::new([TOKEN]),
        max_item_bytes: rules.max_item_bytes,
        request_timeout_ms: rules.request_timeout_ms,
        idle_timeout_ms: IDLE_TIMEOUT_MS,
        header_timeout_ms: HEADER_TIMEOUT_MS,
        inflight_max: rules.inflight_max,
        connections_max: 64,
        ..Settings::default()
    }
}
