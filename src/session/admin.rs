//! Questions that every core has a part in: is everybody alive, is everybody ready, what has everybody counted and seen.

use super::outbox::{Awaited, Piece};
use super::ticket::Ticket;
use super::writing::Failure;
use super::{Context, Session};
use crate::engine::host::Host;
use crate::engine::surveys::Asker;
use crate::insight::page::{Form, ITEMS_DEFAULT, Subject, WrittenPage};
use crate::insight::{Question, Report};
use crate::metrics::{BackpressureReason, Exposition};
use crate::protocol::answer;
use crate::protocol::head::Head;
use crate::protocol::media::accepts_gzip;
use crate::protocol::route::{Method, Route};
use crate::protocol::target::QueryOptions;
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
    /// Answers what concerns all cores, most of it when they have reported. An error has asked nobody.
    pub(super) fn ask_admin<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        head: &Head<'_>,
        route: Route,
    ) -> Result<usize, Failure> {
        let wish = wish(head, route, cx.parts.settings.slow_request_ms)?;
        let mut ticket = self.ticket(cx, head, route);
        ticket.keep_alive &= self.skip_body(cx, head);
        let keep_alive = ticket.keep_alive;
        match wish {
            None => self.answer_health(cx, &ticket),
            Some((_, None)) if cx.parts.draining => {
                self.fail(cx, &ticket, &Failure::unavailable("this server is shutting down"));
            }
            Some((question, form)) => {
                ticket.asked = Some(cx.now.mono());
                let slot = self.outbox.wait(cx.parts, ticket, Awaited::Survey);
                let deadline = cx.now.mono().plus_millis(cx.parts.settings.request_timeout_ms);
                cx.parts.surveys.join(question, Asker { conn: self.id, slot, form, deadline });
            }
        }
        self.request_ends(cx, keep_alive);
        Ok(0)
    }

    /// Says whether every core answers its pings. Costs no other core anything, so that nobody can make a live server look
    /// dead by asking often.
    fn answer_health<H: Host>(&mut self, cx: &mut Context<'_, H>, ticket: &Ticket) {
        let silent = cx.host.silent_cores();
        if !silent.is_empty() {
            return self.fail(cx, ticket, &Failure::unavailable(format!("cores {silent:?} do not answer their pings")));
        }
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin(cx.parts);
        let health = Health { status: "ok", timestamp: timestamp(cx.now), service: "cache-service" };
        answer::json(&mut bytes, &ticket.head(&date), 200, &json(&health));
        self.outbox.finish(cx, bytes, None, ticket.answered(self.id, 200, cx.now.mono()));
    }

    /// Answers the request in slot `slot`, which wants to know whether all cores are ready: they have reported.
    pub(super) fn answer_ready<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, reports: &[Report]) {
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin_slot(cx.parts, slot);
        let (ticket, _) = self.outbox.waiting(slot).expect("a slot waits until its survey ends");
        let body = json(&Readiness {
            status: "ready",
            timestamp: timestamp(cx.now),
            shards: reports.len(),
            total_entries: reports.iter().map(|report| holds(report).0).sum(),
            memory_bytes: reports.iter().map(|report| holds(report).1).sum(),
        });
        answer::json(&mut bytes, &ticket.head(&date), 200, &body);
        let answered = ticket.answered(self.id, 200, cx.now.mono());
        self.outbox.finish_slot(cx, slot, bytes, [], answered);
    }

    /// Answers the request in slot `slot` with the page that it wants. Pages that nobody reads must not evict what others
    /// have stored: where buffers take too much already, there is none.
    pub(super) fn answer_page<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, page: &WrittenPage) {
        if cx.parts.are_buffers_full() {
            cx.parts.metrics.backpressure(BackpressureReason::OverBudget);
            let failure = Failure::unavailable("clients that do not read their answers take up all memory for such");
            return self.fail_slot(cx, slot, &failure);
        }
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin_slot(cx.parts, slot);
        let (ticket, _) = self.outbox.waiting(slot).expect("a slot waits until its survey ends");
        answer::page(&mut bytes, &ticket.head(&date), page.content_type, page.form.gzip, page.body.len() as u64);
        let body = (ticket.method != Method::Head).then(|| Piece::Bytes(page.body.clone()));
        let answered = ticket.answered(self.id, 200, cx.now.mono());
        self.outbox.finish_slot(cx, slot, bytes, body, answered);
    }
}

/// What is to be asked of all cores for `route`, and the page to be made of it; nothing for what needs no asking.
fn wish(head: &Head<'_>, route: Route, threshold_ms: u64) -> Result<Option<(Question, Option<Form>)>, Failure> {
    let limit = || Ok::<_, Failure>(QueryOptions::parse(head.query)?.limit.unwrap_or(ITEMS_DEFAULT));
    let (question, subject) = match route {
        Route::Healthz => return Ok(None),
        Route::Readyz => return Ok(Some((Question::Readiness, None))),
        Route::Metrics => (Question::Numbers, Subject::Scrape(Exposition::from_accept(head.accept))),
        Route::HotKeys => (Question::HotKeys, Subject::HotKeys { limit: limit()? }),
        Route::SlowLog => (Question::SlowRequests, Subject::SlowLog { limit: limit()?, threshold_ms }),
        other => unreachable!("{other:?} concerns no core but its own"),
    };
    Ok(Some((question, Some(Form { subject, gzip: accepts_gzip(head.accept_encoding) }))))
}

/// Entries and bytes of one core.
const fn holds(report: &Report) -> (u64, u64) {
    match report {
        Report::Readiness { entries, memory_bytes } => (*entries, *memory_bytes),
        _ => panic!("readiness was asked for"),
    }
}

fn timestamp(now: Now) -> String {
    String::from_utf8_lossy(&answer::rfc3339(now.unix())).into_owned()
}
