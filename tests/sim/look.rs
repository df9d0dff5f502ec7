//! What must be so after every step, and when a run is over.

use crate::client::{Client, Expected, Kind, target};
use crate::generate::KEYS;
use crate::plan::{Ask, Form, On};
use crate::wire::{Answer, TOKEN};
use crate::world::{Core, Failure, Memory, Run, World};
use cache_service::engine::Engine;
use cache_service::engine::parts::Parts;
use cache_service::limits::{BLOCK_BYTES_MIN, INLINE_VALUE_BYTES_MAX, OUTPUT_HIGH_WATER_BYTES, SHARD_BUDGET_BYTES_MIN};
use cache_service::metrics::BackpressureReason;
use cache_service::routing::ShardId;
use cache_service::session::Flow;
use cache_service::session::request_id::RequestIds;
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};

/// More than a step adds at once: the longest value, and what its parts and the tables take besides.
const STEP_BYTES_MAX: u64 = 700 * 1024;
/// What arrives at a core between two slices of upkeep, and is there already when it comes: a few batches of long values.
const ARRIVING_BYTES_MAX: u64 = 4 << 20;
/// What tables and buffers may grow by between two looks.
const TABLES_BYTES: u64 = 128 * 1024;
/// The longest answer that is written at once: ten values inline, base64, and their names.
const ANSWER_BYTES_MAX: usize = 10 * (INLINE_VALUE_BYTES_MAX * 4 / 3 + 512);
/// Rounds that a world needs at most to come to rest.
const ROUNDS_MAX: usize = 3_000;

impl World {
    /// Looks at everything after a step.
    pub fn look(&mut self) -> Run {
        for core in 0..self.cores.len() {
            self.look_at_memory(core)?;
            self.look_at_parcels(core)?;
        }
        self.look_at_outputs()?;
        self.settle_gone();
        Ok(())
    }

    fn look_at_memory(&mut self, at: usize) -> Run {
        let core = &mut self.cores[at];
        let before = core.memory;
        let after = core.measure();
        core.memory = after;
        let limit = core.limit();
        let evictions = after.evictions - before.evictions;
        let expirations = after.expirations - before.expirations;
        let text = || format!("core {at}: {before:?}, then {after:?}, limit {limit}");
        let needed = before.in_use.max(after.in_use).saturating_add(before.slack.max(after.slack) + STEP_BYTES_MAX);
        if evictions > 0 && needed < limit {
            return Err(Failure::new("evicted without need", text()));
        }
        if !core.is_shrinking && after.committed > limit.saturating_add(ARRIVING_BYTES_MAX) {
            return Err(Failure::new("far over the budget", text()));
        }
        self.seen.add_to("evicted", evictions);
        self.seen.add_to("expired", expirations);
        for key in self.keys_of(at as u16) {
            self.keys[usize::from(key)].may_be_evicted(self.now_ms, evictions);
        }
        Ok(())
    }

    /// What upkeep has seen to is within the budget, but for the blocks that it works with.
    pub fn look_after_upkeep(&mut self, core: u16) -> Run {
        let it = &mut self.cores[usize::from(core)];
        let parts = it.engine.parts();
        let (committed, slack, _) = parts.shard.room_facts();
        // What somebody is sent stays until he has it, whatever has become of the budget meanwhile: long values, and pages.
        it.is_shrinking &= parts.shard.has_leases() || parts.are_buffers_full();
        if it.is_shrinking {
            return Ok(());
        }
        let limit = it.limit();
        // The budgets of these worlds are low, and so their blocks are short.
        if committed > limit.saturating_add(4 * BLOCK_BYTES_MIN as u64 + TABLES_BYTES) {
            let text = format!("core {core} has {committed} bytes of {limit}, slack {slack}, {:?}", it.memory);
            return Err(Failure::new("over the budget", text));
        }
        Ok(())
    }

    fn look_at_parcels(&self, core: usize) -> Run {
        let (told, counted) = (self.cores[core].engine.parts().forward.len(), self.lanes.under_way[core]);
        let connections = self.cores[core].engine.parts().metrics.connections;
        let open = self.clients.iter().filter_map(|client| client.connection.as_ref());
        let open = open.filter(|it| usize::from(it.core) == core && !it.is_closed).count() as u64;
        let left = self.cores[core].left_count();
        let (active, most) = (self.cores[core].engine.parts().at_work(), self.cores[core].rules_max);
        // Questions to all cores are let in beside them, and count when they are answered.
        let of_core = |client: &&Client| client.connection.as_ref().is_some_and(|it| usize::from(it.core) == core);
        let of_pages = |client: &Client| client.expected.iter().filter(|it| it.kind == Kind::Page).count() as u64;
        let pages: u64 = self.clients.iter().filter(of_core).map(of_pages).sum();
        if active > most.inflight_max as u64 + connections + pages {
            let text = format!("core {core} has {active} requests at work of {}", most.inflight_max);
            return Err(Failure::new("too many in progress", text));
        }
        if told != counted {
            return Err(Failure::new("parcels lost", format!("core {core} has {told} under way, there are {counted}")));
        }
        if connections != open + left {
            let text = format!("core {core} has {connections} connections, there are {open} and {left} that have gone");
            return Err(Failure::new("connections lost", text));
        }
        Ok(())
    }

    /// What a client does not take is bounded, and what it could take is not left lying until the next tick.
    fn look_at_outputs(&self) -> Run {
        for it in self.clients.iter().filter_map(|client| client.connection.as_ref()).filter(|it| !it.is_closed) {
            let engine = &self.cores[usize::from(it.core)].engine;
            let (len, flow) = (engine.output(it.id).len(), engine.peek_flow(it.id));
            let is_unread = flow == Flow::Reading && !it.receives;
            if (len > 0 && !it.awaits_room) || (is_unread && !it.told_of_end) || flow == Flow::Closed {
                return Err(Failure::new("forgotten", format!("{len} bytes wait, {flow:?}, for {it:?}")));
            }
            if len > OUTPUT_HIGH_WATER_BYTES.max(cache_service::limits::BLOB_CHUNK_BYTES) + ANSWER_BYTES_MAX {
                return Err(Failure::new("output without bounds", format!("{len} bytes for {it:?}")));
            }
        }
        Ok(())
    }

    /// Requests that nobody waits for any more are done when the parcels of that time are.
    fn settle_gone(&mut self) {
        for gone in &mut self.gone {
            gone.sent = gone.sent.min(self.lanes.sent());
        }
        // A core that has not heard yet that the client is gone may still begin something.
        let (lanes, cores) = (&self.lanes, &self.cores);
        let is_done = |core: u16, sent| cores[usize::from(core)].left_count() == 0 && lanes.is_done(core, sent);
        let done = self.gone.extract_if(.., |gone| is_done(gone.core, gone.sent));
        for gone in done.collect::<Vec<_>>() {
            for key in 0..KEYS {
                let ops = gone.ops.iter().filter(|(of, _)| *of == key).map(|(_, op)| *op);
                self.keys[usize::from(key)].settle(&ops.collect::<Vec<_>>(), self.now_ms);
            }
        }
    }

    /// An answer says that a request was refused: there must be a reason.
    pub fn check_refusal(&mut self, expected: &Expected, answer: &Answer) -> Run {
        if matches!(expected.kind, Kind::Page | Kind::Wrong(_)) {
            return Ok(());
        }
        let is_batch = matches!(expected.kind, Kind::SetMany | Kind::DeleteMany);
        let in_batch = |code: &str| is_batch && answer.body.windows(code.len()).any(|part| part == code.as_bytes());
        if answer.status == 408 && self.is_gentle {
            return Err(Failure::new("timed out without a reason", answer.text()));
        }
        if answer.status == 503 || in_batch("SERVICE_UNAVAILABLE") {
            self.refusals += 1;
            if self.is_gentle {
                return Err(Failure::new("refused without a reason", answer.text()));
            }
        }
        let is_short = expected.value_bytes < 400;
        if (answer.status == 413 || in_batch("PAYLOAD_TOO_LARGE")) && is_short {
            return Err(Failure::new("too large, though it is short", format!("{expected:?}: {}", answer.text())));
        }
        Ok(())
    }

    /// Every refusal was counted, by its reason.
    fn look_at_refusals(&self) -> Run {
        let of_core = |core: &Core| core.engine.parts().metrics.backpressure.iter().sum::<u64>();
        let counted: u64 = self.cores.iter().map(of_core).sum();
        if self.refusals > counted {
            let text = format!("{} answers say so, {counted} were counted", self.refusals);
            return Err(Failure::new("refusals that were not counted", text));
        }
        Ok(())
    }

    pub fn note_answer(&mut self, expected: &Expected, answer: &Answer) {
        let what = match (expected.kind, answer.status) {
            (Kind::Page, 200) => "pages",
            (Kind::Page, _) => "no page",
            (_, 408) => "timed out",
            (Kind::Wrong(_), _) => "wrong requests",
            (_, 503) => "refused",
            (_, 413) => "too large",
            (Kind::Put | Kind::Delete, 409) => "conditions that did not hold",
            (Kind::Put, 200) => "updated",
            (Kind::Put, 201) => "created",
            (Kind::Delete, 204) => "deleted",
            (Kind::Incr, 200) => "counted",
            (Kind::Incr, _) => "not a number",
            (Kind::Get(_), 200) => "hits",
            (Kind::Get(_), 304) => "not modified",
            (Kind::GetMany | Kind::SetMany | Kind::DeleteMany, _) => "batches",
            _ => "misses",
        };
        self.seen.note(what);
    }

    /// No more trouble: everything that was asked is answered.
    pub fn come_to_rest(&mut self) -> Run {
        self.lanes.is_calm = true;
        self.socket_bytes = 1 << 20;
        self.cores.iter_mut().for_each(|core| core.pauses_until_ms = 0);
        for round in 0..ROUNDS_MAX {
            let has_moved = self.quiet_round()?;
            let is_at_rest = self.clients.iter().all(|it| it.expected.is_empty() && it.to_say.is_empty());
            // What is parked at a core waits for its ticks.
            let is_quiet = self.cores.iter().all(|core| core.engine.is_quiet());
            if is_at_rest && is_quiet && !has_moved && self.lanes.are_empty() {
                return self.look_at_rest();
            }
            if !has_moved || round % 16 == 15 {
                self.pass(10)?;
            }
        }
        let unanswered =
            |client: &Client| client.expected.front().map(|it| format!("{it:?} on {:?}", client.connection));
        let unanswered: Vec<_> = self.clients.iter().filter_map(unanswered).collect();
        let quiet: Vec<bool> = self.cores.iter().map(|core| core.engine.is_quiet()).collect();
        let text = format!("{unanswered:?}, lanes empty: {}, cores quiet: {quiet:?}", self.lanes.are_empty());
        Err(Failure::new("never at rest", text))
    }

    fn quiet_round(&mut self) -> Run<bool> {
        let mut has_moved = self.cores.iter().any(|core| core.left_count() > 0);
        for core in 0..self.cores.len() as u16 {
            self.wake(core);
            self.end_turn(core);
        }
        for client in 0..self.clients.len() {
            has_moved |= self.send(client, usize::MAX)?;
            self.look()?;
            has_moved |= self.hear(client, usize::MAX)?;
            self.look()?;
        }
        for leads_back in [false, true] {
            while self.lanes.pick(leads_back, 0, |_| true).is_some() {
                self.move_parcels(leads_back, 0, u8::MAX);
                self.look()?;
                has_moved = true;
            }
        }
        while !self.lanes.errands.is_empty() {
            self.write_a_page(0);
            has_moved = true;
        }
        self.look()?;
        Ok(has_moved)
    }

    fn look_at_rest(&mut self) -> Run {
        self.look_at_refusals()?;
        for (number, core) in self.cores.iter().enumerate() {
            let active = core.engine.parts().metrics.active_requests;
            if !core.engine.is_quiet() || active != 0 {
                let text = format!("core {number} has {active} requests in progress");
                return Err(Failure::new("not at rest", text));
            }
            core.engine.parts().shard.assert_invariants();
        }
        Ok(())
    }

    /// Every key is asked for, and every core asks.
    pub fn ask_for_everything(&mut self) -> Run {
        if self.is_draining {
            return Ok(());
        }
        let janitor = self.clients.len();
        self.clients.push(Client::default());
        let cores = self.cores.len() as u16;
        for core in 0..cores {
            self.vanish(janitor, core);
            for key in (0..KEYS).filter(|key| u16::from(*key) % cores == core) {
                self.make_up(janitor, &Ask::Get { key, form: Form::Raw, on: On::Always });
            }
            self.come_to_rest()?;
        }
        Ok(())
    }

    /// All clients leave, all entries go: nothing is left.
    pub fn leave_nothing(&mut self) -> Run {
        for client in 0..self.clients.len() {
            self.vanish(client, 0);
        }
        self.pass(1_500)?;
        self.come_to_rest()?;
        (0..self.cores.len() as u16).for_each(|core| self.delete_everything(core));
        self.pass(200)?;
        for (number, core) in self.cores.iter().enumerate() {
            let left = core.what_is_left();
            if left != Left::default() {
                return Err(Failure::new("something is left", format!("core {number}: {left:?}")));
            }
            core.engine.parts().shard.assert_invariants();
        }
        let lost = self.keys.iter().filter(|key| key.is_lost()).count() as u64;
        self.seen.add_to("keys lost sight of", lost);
        self.seen.add_to("keys followed to the end", self.keys.len() as u64 - lost);
        for core in &self.cores {
            let reasons = [
                (BackpressureReason::Deadline, "refused for coming too late"),
                (BackpressureReason::MaxInflight, "refused for too many in progress"),
                (BackpressureReason::OverBudget, "refused for want of room"),
                (BackpressureReason::LaneFull, "refused for a full lane"),
                (BackpressureReason::ControlLaneFull, "questions and pulls put off"),
            ];
            for (reason, what) in reasons {
                self.seen.add_to(what, core.engine.parts().metrics.backpressure[reason as usize]);
            }
        }
        let of_lanes = self.lanes.seen.clone();
        self.seen.add(&of_lanes);
        Ok(())
    }

    /// Deletes what a core owns, behind everybody's back.
    pub fn delete_everything(&mut self, core: u16) {
        let now = self.now_at(core);
        for key in self.keys_of(core) {
            let engine = &mut self.cores[usize::from(core)].engine;
            let conn = engine.open(now).expect("there are few connections");
            let target = target(key);
            let request = format!("DELETE {target} HTTP/1.1\r\nHost: sim\r\nX-API-Token: {TOKEN}\r\n\r\n");
            engine.receive(now, &mut self.lanes, conn, request.as_bytes());
            engine.close(now, &mut self.lanes, conn);
        }
        self.end_turn(core);
    }

    /// Another core that takes itself for this one.
    pub fn twin(&self, core: u16) -> Engine {
        let (policy, hasher) = (EvictionPolicy::default(), self.router.hasher());
        let shard = Shard::new(ShardConfig { budget_bytes: None, first_version: 1 << 60, policy, hasher });
        let (settings, ids) = (self.cores[usize::from(core)].engine.parts().settings.clone(), RequestIds::new(0, 0));
        Engine::new(Parts::new(ShardId(core), self.router, shard, settings, ids, 64))
    }
}

/// What should not be there when everybody has gone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    entries: u64,
    requests: u64,
    connections: u64,
    parcels: usize,
    leases: bool,
    set_aside_bytes: u64,
    buffer_bytes: u64,
    is_busy: bool,
}

impl Core {
    fn measure(&self) -> Memory {
        let shard = &self.engine.parts().shard;
        let stats = shard.stats();
        let (committed, slack, _) = shard.room_facts();
        let (evictions, expirations) = (stats.evictions, stats.expirations);
        Memory { evictions, expirations, in_use: stats.memory_bytes, committed, slack }
    }

    pub fn limit(&self) -> u64 {
        self.rules.shard_budget.map_or(u64::MAX, |bytes| bytes.max(SHARD_BUDGET_BYTES_MIN))
    }

    fn what_is_left(&self) -> Left {
        let parts = self.engine.parts();
        Left {
            entries: parts.shard.stats().entries,
            requests: parts.metrics.active_requests,
            connections: parts.metrics.connections,
            parcels: parts.forward.len(),
            leases: parts.shard.has_leases(),
            set_aside_bytes: parts.shard.reserved_bytes(),
            buffer_bytes: parts.buffer_bytes(),
            is_busy: !self.engine.is_quiet(),
        }
    }
}
