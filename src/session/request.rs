//! From a request head to the work that it asks for.

use super::intake::{Intake, PutTarget, Sink, body_bytes_max};
use super::ticket::Ticket;
use super::writing::Failure;
use super::{Context, Reading, Session, Waited};
use crate::command::{Command, Refusal, Verb};
use crate::engine::host::{Host, Notice};
use crate::engine::parts::{Parts, Waiting};
use crate::limits::{DISCARD_BYTES_MAX, JSON_ENVELOPE_BYTES_MAX};
use crate::metrics::BackpressureReason;
use crate::protocol::body;
use crate::protocol::conditions;
use crate::protocol::head::{BodyLength, Head};
use crate::protocol::media::{Media, accepts_raw, media_type};
use crate::protocol::route::{Method, Route};
use crate::protocol::target::{KeyBuf, KeyText, QueryOptions, Target, allow_header, decode_key, resolve};
use crate::session::request_id::RequestId;

impl Session {
    /// Reads one request from the beginning of `bytes`, with its body if that is there as well. Returns how many bytes
    /// were used, 0 if the head is not complete yet or must wait.
    pub(super) fn read_request<H: Host>(&mut self, cx: &mut Context<'_, H>, bytes: &[u8]) -> usize {
        match cx.parts.heads.parse(bytes) {
            Ok(None) => 0,
            Ok(Some((head, len))) => {
                let Some(of_body) = self.take_on(cx, &head, &bytes[len..]) else { return 0 };
                // The next head, of which a part may be here already, has a time of its own.
                self.head_began_at = None;
                len + of_body
            }
            Err(error) => {
                let ticket = self.ticket_of_nothing(cx);
                self.fail(cx, &ticket, &Failure::head(error));
                self.end_reading(cx);
                bytes.len()
            }
        }
    }

    /// Ends the connection with a 408.
    pub(super) fn time_out<H: Host>(&mut self, cx: &mut Context<'_, H>, why: &'static str) {
        match std::mem::replace(&mut self.reading, Reading::Nothing) {
            Reading::Body(intake) => {
                if let Some(mut ticket) = intake.abandon(cx.parts) {
                    ticket.keep_alive = false;
                    ticket.received = cx.now.mono();
                    self.fail(cx, &ticket, &Failure::timeout(why));
                }
            }
            Reading::Head | Reading::Nothing => {
                let ticket = self.ticket_of_nothing(cx);
                self.fail(cx, &ticket, &Failure::timeout(why));
            }
        }
        self.end_reading(cx);
    }

    /// For an answer to something that is not a request.
    fn ticket_of_nothing<H: Host>(&self, cx: &mut Context<'_, H>) -> Ticket {
        Ticket {
            started: self.head_began_at.unwrap_or(cx.now.mono()),
            method: Method::Other,
            route: Route::Unknown,
            http11: true,
            keep_alive: false,
            received: cx.now.mono(),
            asked: None,
            id: cx.parts.request_ids.fresh(),
            include_meta: false,
            raw: false,
            expected: None,
        }
    }

    /// Takes on a request whose head is complete; `following` is what came behind the head. Returns how much of that
    /// was used, `None` if the request must wait for others of this connection first.
    fn take_on<H: Host>(&mut self, cx: &mut Context<'_, H>, head: &Head<'_>, following: &[u8]) -> Option<usize> {
        let target = resolve(head.method, head.path);
        let route = target.route();
        if route.is_about_keys() && cx.parts.are_buffers_full() && !self.outbox.is_empty() {
            self.throttled = true;
            return None;
        }
        if route.is_about_keys()
            && self.lacks_place(cx.parts, head, following)
            && !self.needs_no_place(cx.parts, head, target, following)
        {
            if self.may_wait_for_place(cx, head, following) {
                self.throttled = true;
                return None;
            }
            self.forget_waiting();
            cx.parts.metrics.backpressure(BackpressureReason::MaxInflight);
            return Some(self.refuse(cx, head, route, &Failure::backpressure(BackpressureReason::MaxInflight)));
        }
        self.forget_waiting();
        Some(match self.admit(cx, head, route) {
            Err(failure) => self.refuse(cx, head, route, &failure),
            Ok(()) => {
                self.begin(cx, head, target, following).unwrap_or_else(|failure| self.refuse(cx, head, route, &failure))
            }
        })
    }

    /// Whether there is no place for a request among those in progress.
    fn lacks_place(&self, parts: &Parts, head: &Head<'_>, following: &[u8]) -> bool {
        if parts.is_at_work_enough() || (parts.are_bodies_enough() && whole_body(head.body, following).is_none()) {
            return true;
        }
        parts.are_places_contested() && self.has_waited != Some(Waited::Admitted) && !self.is_modest(head, following)
    }

    /// Whether a request is done as soon as it is read: its only key is this core's, it is there as a whole, and its connection
    /// waits for nothing else. Those who wait for a core that is slow may take up all places of this one, but not keep such
    /// requests out.
    fn needs_no_place(&self, parts: &Parts, head: &Head<'_>, target: Target<'_>, following: &[u8]) -> bool {
        let Target::Kv(key) = target else { return false };
        if self.outbox.has_slots() || whole_body(head.body, following).is_none() {
            return false;
        }
        let mut scratch = KeyBuf::new();
        decode_key(key, &mut scratch).is_ok_and(|key| parts.router.owner(parts.router.hash(key)) == parts.me)
    }

    /// Whether a request that lacks a place is to wait for one: until an answer to its own connection frees one, or, if
    /// there is nothing to answer, among other connections. One that would hold its place for as long as its peer likes is
    /// told at once.
    fn may_wait_for_place<H: Host>(&mut self, cx: &mut Context<'_, H>, head: &Head<'_>, following: &[u8]) -> bool {
        if self.outbox.has_slots() || self.waits_since.is_some() {
            return true;
        }
        let is_whole = whole_body(head.body, following).is_some();
        let waits = is_whole && self.has_waited != Some(Waited::InVain) && cx.parts.may_wait();
        if waits {
            self.waits_since = Some(cx.now.mono());
            let is_modest = self.is_modest(head, following);
            cx.parts.waiting.push_back(Waiting { conn: self.id, is_modest });
        }
        waits
    }

    /// Whether a request is there as a whole, and is all that its connection wants for now.
    fn is_modest(&self, head: &Head<'_>, following: &[u8]) -> bool {
        !self.outbox.has_slots() && whole_body(head.body, following).is_some_and(|body| body.len() == following.len())
    }

    /// Whether this may be asked, by whom it is asked.
    fn admit<H: Host>(&self, cx: &mut Context<'_, H>, head: &Head<'_>, route: Route) -> Result<(), Failure> {
        if route == Route::Unknown {
            return Err(Failure::no_such_path());
        }
        if !route.allows(head.method) {
            return Err(Failure::method_not_allowed(allow_header(head.path, route)));
        }
        if !needs_token(route, head.method, cx.parts.settings.read_requires_auth) {
            return Ok(());
        }
        cx.parts.settings.tokens.check(&head.credentials).map_err(|reason| {
            cx.parts.metrics.auth_failure(reason);
            cx.host.notice(Notice::AuthFailed { conn: self.id, reason, route });
            Failure::unauthorized(reason)
        })
    }

    /// Begins the work. An error has changed nothing.
    fn begin<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        head: &Head<'_>,
        target: Target<'_>,
        following: &[u8],
    ) -> Result<usize, Failure> {
        match target {
            Target::Kv(key) if head.method == Method::Put => self.begin_put(cx, head, key, following),
            Target::Kv(key) => self.ask_of_key(cx, head, key),
            Target::Fixed(Route::BatchGet) => self.begin_batch_get(cx, head, following),
            Target::Fixed(Route::BatchDelete) => {
                self.begin_body(cx, head, Route::BatchDelete, Sink::batch_delete(), following)
            }
            Target::Fixed(Route::BatchSet) => {
                let sink = Sink::batch_set(cx.parts.settings.max_item_bytes);
                self.begin_body(cx, head, Route::BatchSet, sink, following)
            }
            Target::Fixed(route @ (Route::OpenApi | Route::Docs | Route::Dashboard)) => self.give_file(cx, head, route),
            Target::Fixed(Route::Topology) => Ok(self.tell_topology(cx, head)),
            Target::Fixed(Route::Incr) => self.begin_body(cx, head, Route::Incr, Sink::incr(), following),
            Target::Fixed(route) => self.ask_admin(cx, head, route),
        }
    }

    /// GET, HEAD and DELETE of one key.
    fn ask_of_key<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        head: &Head<'_>,
        key: KeyText<'_>,
    ) -> Result<usize, Failure> {
        let mut scratch = KeyBuf::new();
        let key = decode_key(key, &mut scratch)?;
        let hash = cx.parts.router.hash(key);
        cx.parts.foresee(hash);
        let conditions = conditions::conditions(head)?;
        let options = QueryOptions::parse(head.query)?;
        let mut ticket = self.ticket(cx, head, Route::Kv);
        let verb = if head.method == Method::Delete {
            ticket.expected = conditions::expected_text(&head.if_match);
            Verb::Delete { conditions }
        } else {
            ticket.include_meta = options.include_meta;
            ticket.raw = options.raw.unwrap_or_else(|| accepts_raw(head.accept));
            Verb::Get { unless: conditions.if_none_match, with_value: head.method == Method::Get }
        };
        ticket.keep_alive &= self.skip_body(cx, head);
        let keep_alive = ticket.keep_alive;
        cx.parts.foresee_entry(hash);
        self.ask(cx, ticket, Command { key, hash, verb });
        self.request_ends(cx, keep_alive);
        Ok(0)
    }

    /// PUT of one key: at once if the whole body is there and short, else when it has come.
    fn begin_put<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        head: &Head<'_>,
        key: KeyText<'_>,
        following: &[u8],
    ) -> Result<usize, Failure> {
        let mut scratch = KeyBuf::new();
        let key = decode_key(key, &mut scratch)?;
        let hash = cx.parts.router.hash(key);
        cx.parts.foresee(hash);
        let conditions = conditions::conditions(head)?;
        let ttl = QueryOptions::parse(head.query)?.ttl;
        let media = media_type(head.content_type)?;
        check_length(head.body, body_bytes_max(Route::Kv, matches!(media, Media::Json), &cx.parts.settings))?;
        if let BodyLength::Length(len) = head.body
            && !cx.parts.shard.could_hold(len.saturating_sub(JSON_ENVELOPE_BYTES_MAX))
        {
            // No shard could, and to find out by receiving it would evict what others have.
            return Err(Refusal::OverBudget.into());
        }
        if let Some(body) = whole_body(head.body, following) {
            let mut ticket = self.ticket(cx, head, Route::Kv);
            ticket.expected = conditions::expected_text(&head.if_match);
            let target = PutTarget { key, hash, conditions, ttl };
            let keep_alive = ticket.keep_alive;
            cx.parts.foresee_entry(hash);
            self.put_in_place(cx, ticket, target, media, body)?;
            self.request_ends(cx, keep_alive);
            return Ok(body.len());
        }
        let target = PutTarget { key: KeyBuf::from_slice(key), hash, conditions, ttl };
        let sink = match media {
            Media::Json => Sink::put_json(target, cx.parts.settings.max_item_bytes),
            Media::Bytes(media) => Sink::put_raw(target, media),
        };
        self.begin_body(cx, head, Route::Kv, sink, following)
    }

    /// Reads of many keys: at once if the whole body is there and spelt as usual, else when it has come.
    fn begin_batch_get<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        head: &Head<'_>,
        following: &[u8],
    ) -> Result<usize, Failure> {
        check_length(head.body, body_bytes_max(Route::BatchGet, true, &cx.parts.settings))?;
        let body = whole_body(head.body, following);
        let Some((body, keys)) = body.and_then(|body| Some((body, body::plain_keys(body)?))) else {
            return self.begin_body(cx, head, Route::BatchGet, Sink::batch_get(), following);
        };
        let ticket = self.ticket(cx, head, Route::BatchGet);
        let keep_alive = ticket.keep_alive;
        self.ask_batch_get(cx, ticket, &keys);
        self.request_ends(cx, keep_alive);
        Ok(body.len())
    }

    /// Begins to receive a body.
    fn begin_body<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        head: &Head<'_>,
        route: Route,
        sink: Sink,
        following: &[u8],
    ) -> Result<usize, Failure> {
        let limit = body_bytes_max(route, !sink.is_raw(), &cx.parts.settings);
        check_length(head.body, limit)?;
        let mut ticket = self.ticket(cx, head, route);
        ticket.expected = conditions::expected_text(&head.if_match);
        if head.expect_continue && following.is_empty() && head.body != BodyLength::None {
            self.invite(cx);
        }
        self.reading = Reading::Body(Box::new(Intake::new(cx.parts, cx.now, Some(ticket), head.body, sink, limit)));
        if head.body == BodyLength::None {
            self.finish_body(cx);
        }
        Ok(0)
    }

    /// Answers a request with `failure`. What it has asked for has not been done, and its body has not been used.
    fn refuse<H: Host>(&mut self, cx: &mut Context<'_, H>, head: &Head<'_>, route: Route, failure: &Failure) -> usize {
        let mut ticket = self.ticket(cx, head, route);
        ticket.keep_alive &= self.skip_body(cx, head);
        self.fail(cx, &ticket, failure);
        self.request_ends(cx, ticket.keep_alive);
        0
    }

    /// Arranges for a body that nobody wants to be dropped; false if it is too long for that, or if the peer waits to be
    /// told whether to send it: then the connection must end.
    pub(super) fn skip_body<H: Host>(&mut self, cx: &mut Context<'_, H>, head: &Head<'_>) -> bool {
        match head.body {
            BodyLength::None => true,
            _ if head.expect_continue => false,
            BodyLength::Length(len) if len > DISCARD_BYTES_MAX => false,
            _ => {
                let intake = Intake::new(cx.parts, cx.now, None, head.body, Sink::Discard, DISCARD_BYTES_MAX);
                self.reading = Reading::Body(Box::new(intake));
                true
            }
        }
    }

    /// The request that was read last needs no further bytes; `keep_alive` says whether another one may follow.
    pub(super) fn request_ends<H: Host>(&mut self, cx: &mut Context<'_, H>, keep_alive: bool) {
        if !keep_alive {
            self.end_reading(cx);
        }
    }

    pub(super) fn ticket<H: Host>(&self, cx: &mut Context<'_, H>, head: &Head<'_>, route: Route) -> Ticket {
        Ticket {
            started: cx.now.mono(),
            method: head.method,
            route,
            http11: head.http11,
            keep_alive: head.keep_alive && !cx.parts.draining,
            received: cx.now.mono(),
            asked: None,
            id: head.request_id.map_or_else(|| cx.parts.request_ids.fresh(), RequestId::given),
            include_meta: false,
            raw: false,
            expected: None,
        }
    }
}

const fn needs_token(route: Route, method: Method, reads_too: bool) -> bool {
    match route {
        Route::Kv => reads_too || !matches!(method, Method::Get | Method::Head),
        Route::BatchGet => reads_too,
        Route::BatchSet | Route::BatchDelete | Route::Incr | Route::HotKeys | Route::SlowLog | Route::Topology => true,
        Route::Healthz
        | Route::Readyz
        | Route::Metrics
        | Route::OpenApi
        | Route::Docs
        | Route::Dashboard
        | Route::Unknown => false,
    }
}

/// The body, if it has arrived whole behind its head.
fn whole_body(length: BodyLength, following: &[u8]) -> Option<&[u8]> {
    match length {
        BodyLength::None => Some(&[]),
        BodyLength::Length(len) => following.get(..usize::try_from(len).ok()?),
        BodyLength::Chunked => None,
    }
}

fn check_length(length: BodyLength, limit: u64) -> Result<(), Failure> {
    match length {
        BodyLength::Length(len) if len > limit => Err(Failure::too_large(limit)),
        _ => Ok(()),
    }
}
