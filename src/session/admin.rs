//! Questions that every core has a part in: is everybody alive, is everybody ready, what has everybody counted.

use super::outbox::{Awaited, Numbers};
use super::ticket::Ticket;
use super::writing::Failure;
use super::{Context, Session};
use crate::engine::parts::Host;
use crate::forward::Waiter;
use crate::metrics::{Exposition, Merged, render};
use crate::parcel::{Parcel, Work};
use crate::protocol::answer;
use crate::protocol::head::Head;
use crate::protocol::route::Route;
use crate::routing::ShardId;
use crate::time::Now;
use serde::Serialize;

/// The answer of `/healthz`.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    timestamp: String,
    service: &'static str,
}

/// The answer of `/readyz`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Readiness {
    status: &'static str,
    timestamp: String,
    shards: usize,
    total_entries: u64,
    memory_bytes: u64,
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("strings and numbers always have a JSON text")
}

impl Session {
    /// Asks all cores for their numbers; the answer follows when all have answered.
    pub(super) fn ask_admin<H: Host>(&mut self, cx: &mut Context<'_, H>, mut ticket: Ticket, head: &Head<'_>) {
        if ticket.route == Route::Healthz {
            return self.answer_health(cx, &ticket);
        }
        if ticket.route == Route::Readyz && cx.parts.draining {
            return self.fail(cx, &ticket, &Failure::unavailable("this server is shutting down"));
        }
        // The one thing that a scrape can choose travels where a reader of values keeps its choice.
        ticket.raw = Exposition::from_accept(head.accept) == Exposition::OpenMetrics;
        let (cores, me) = (cx.parts.router.shards(), cx.parts.me);
        let mut of_core: Vec<_> = (0..cores).map(|_| None).collect();
        of_core[me.index()] = Some(cx.parts.snapshot());
        let deadline = cx.now.mono().plus_millis(cx.parts.settings.request_timeout_ms);
        let unasked = (0..cores).map(ShardId).filter(|core| *core != me).collect();
        let numbers = Numbers { of_core, unasked, deadline };
        let slot = self.outbox.wait(cx.parts, ticket, Awaited::Numbers(Box::new(numbers)));
        self.ask_unasked(cx, slot);
        self.answer_if_complete(cx, slot);
    }

    /// Says whether every core answers its pings. Costs no other core anything, so that nobody can make a live server look
    /// dead by asking often.
    fn answer_health<H: Host>(&mut self, cx: &mut Context<'_, H>, ticket: &Ticket) {
        let silent = cx.host.silent_cores();
        if !silent.is_empty() {
            return self.fail(cx, ticket, &Failure::unavailable(format!("cores {silent:?} do not answer their pings")));
        }
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin();
        let health = Health { status: "ok", timestamp: timestamp(cx.now), service: "cache-service" };
        answer::json(&mut bytes, &ticket.head(&date), 200, &json(&health));
        self.outbox.finish(cx, bytes, None, ticket.answered(self.id, 200));
    }

    /// Asks those cores that have not been asked yet. A full lane is tried again at the next tick.
    fn ask_unasked<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64) {
        let waiter = Waiter::Slot { conn: self.id, slot };
        let Some((_, Awaited::Numbers(numbers))) = self.outbox.waiting(slot) else { return };
        numbers.unasked.retain(|core| {
            let mut parcel = cx.parts.forward.blank();
            parcel.work = Work::Snapshot(None);
            match cx.parts.send(cx.host, cx.now, parcel, *core, waiter) {
                Ok(()) => false,
                Err((parcel, reason)) => {
                    cx.parts.metrics.backpressure(reason);
                    cx.parts.forward.recycle(parcel);
                    true
                }
            }
        });
    }

    /// Takes the numbers of one core.
    pub(super) fn take_numbers<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, mut parcel: Box<Parcel>) {
        if let (Some((_, Awaited::Numbers(numbers))), Work::Snapshot(found)) =
            (self.outbox.waiting(slot), &mut parcel.work)
        {
            numbers.of_core[parcel.to.index()] = found.take();
        }
        cx.parts.forward.recycle(parcel);
        self.answer_if_complete(cx, slot);
    }

    fn answer_if_complete<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64) {
        if let Some((_, Awaited::Numbers(numbers))) = self.outbox.waiting(slot)
            && numbers.of_core.iter().all(Option::is_some)
        {
            let of_core = std::mem::take(&mut numbers.of_core);
            self.answer_numbers(cx, slot, &of_core.into_iter().flatten().collect::<Vec<_>>());
        }
    }

    /// Looks after questions to all cores: asks again where a lane was full, and answers what has waited for too long.
    pub(super) fn look_after_questions<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        for slot in self.outbox.questions() {
            self.ask_unasked(cx, slot);
            let Some((_, Awaited::Numbers(numbers))) = self.outbox.waiting(slot) else { continue };
            if numbers.deadline >= cx.now.mono() {
                continue;
            }
            let silent: Vec<_> =
                (0..).zip(&numbers.of_core).filter(|(_, it)| it.is_none()).map(|(n, _): (u16, _)| n).collect();
            let failure = Failure::unavailable(format!("no answer from cores {silent:?} within REQUEST_TIMEOUT_MS"));
            self.fail_slot(cx, slot, &failure);
        }
    }

    fn answer_numbers<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        slot: u64,
        of_core: &[Box<crate::metrics::CoreMetrics>],
    ) {
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin_slot(slot);
        let (ticket, _) = self.outbox.waiting(slot).expect("the caller has just seen this slot");
        let head = ticket.head(&date);
        let timestamp = timestamp(cx.now);
        match ticket.route {
            Route::Readyz => {
                let body = json(&Readiness {
                    status: "ready",
                    timestamp,
                    shards: of_core.len(),
                    total_entries: of_core.iter().map(|core| core.shard.entries).sum(),
                    memory_bytes: of_core.iter().map(|core| core.shard.memory_bytes).sum(),
                });
                answer::json(&mut bytes, &head, 200, &body);
            }
            _ => {
                let exposition = if ticket.raw { Exposition::OpenMetrics } else { Exposition::Prometheus };
                let text = render(cx.parts.merge(cx.host, of_core), exposition);
                answer::text(&mut bytes, &head, 200, exposition.content_type(), text.as_bytes());
            }
        }
        let answered = ticket.answered(self.id, 200);
        self.outbox.finish_slot(cx, slot, bytes, [], answered);
    }
}

fn timestamp(now: Now) -> String {
    String::from_utf8_lossy(&answer::rfc3339(now.unix())).into_owned()
}

impl crate::engine::parts::Parts {
    /// One picture of all cores.
    fn merge(&self, host: &mut impl Host, of_core: &[Box<crate::metrics::CoreMetrics>]) -> Merged {
        let mut merged = Merged::new(
            self.router.shards(),
            crate::metrics::ProcessFacts { stats: host.process_stats(), ..self.settings.process },
        );
        for (core, numbers) in (0..).map(ShardId).zip(of_core) {
            merged.add(core, numbers);
        }
        merged
    }
}
