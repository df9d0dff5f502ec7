//! Bodies that do not come in one piece with their head, and what is done when they are whole.

use super::batch::Plan;
use super::ticket::Ticket;
use super::writing::Failure;
use super::{Context, Reading, Session};
use crate::blob::Blob;
use crate::command::{Command, Conditions, Payload, Put, Refusal, ValueKind, Verb};
use crate::engine::host::Host;
use crate::engine::parts::Parts;
use crate::engine::rules::Settings;
use crate::limits::{
    BATCH_BODY_BYTES_MIN, BODY_BYTES_PER_SEC_MIN, DISCARD_BYTES_MAX, INCR_BODY_BYTES_MAX, INLINE_VALUE_BYTES_MAX,
    JSON_ENVELOPE_BYTES_MAX, RECEIVE_STEP_BYTES,
};
use crate::metrics::BackpressureReason;
use crate::protocol::body::{self, BodyError, Captured, IncrReader, ItemsReader, KeysReader, PutReader, StreamedPut};
use crate::protocol::chunked::{ChunkError, ChunkedDecoder};
use crate::protocol::head::BodyLength;
use crate::protocol::media::Media;
use crate::protocol::route::Route;
use crate::protocol::target::KeyBuf;
use crate::routing::KeyHash;
use crate::time::{Mono, Now, Ttl};

/// Where a PUT goes.
#[derive(Debug)]
pub struct PutTarget<K> {
    /// The key.
    pub key: K,
    /// Its hash.
    pub hash: KeyHash,
    /// When the write may take place.
    pub conditions: Conditions,
    /// `?ttlSec=`, which a JSON body may overrule.
    pub ttl: Option<Ttl>,
}

/// What is made of a body.
#[derive(Debug)]
pub enum Sink {
    /// Nothing.
    Discard,
    /// A value in its JSON envelope.
    PutJson(PutTarget<KeyBuf>, Box<PutReader>),
    /// A value as it is, with its media type.
    PutRaw(PutTarget<KeyBuf>, Box<str>, Captured),
    /// The keys of a batch to read.
    BatchGet(Box<KeysReader>),
    /// The keys of a batch to delete.
    BatchDelete(Box<KeysReader>),
    /// The items of a batch to write.
    BatchSet(Box<ItemsReader>),
    /// A counter and its step.
    Incr(Box<IncrReader>),
}

impl Sink {
    /// For a PUT in JSON of a value of at most `value_bytes_max` bytes.
    pub fn put_json(target: PutTarget<KeyBuf>, value_bytes_max: u64) -> Self {
        Self::PutJson(target, Box::new(PutReader::new(value_bytes_max)))
    }

    /// For a PUT of bytes.
    pub fn put_raw(target: PutTarget<KeyBuf>, media: &str) -> Self {
        Self::PutRaw(target, media.into(), Captured::default())
    }

    /// For `batch/get`.
    pub fn batch_get() -> Self {
        Self::BatchGet(Box::default())
    }

    /// For `batch/delete`.
    pub fn batch_delete() -> Self {
        Self::BatchDelete(Box::default())
    }

    /// For `batch/set`, of values of at most `value_bytes_max` bytes each.
    pub fn batch_set(value_bytes_max: u64) -> Self {
        Self::BatchSet(Box::new(ItemsReader::new(value_bytes_max)))
    }

    /// For `incr`.
    pub fn incr() -> Self {
        Self::Incr(Box::default())
    }

    /// Whether the body is the value itself.
    pub const fn is_raw(&self) -> bool {
        matches!(self, Self::PutRaw(..))
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        match self {
            Self::Discard => {}
            Self::PutJson(_, reader) => reader.feed(bytes)?,
            Self::PutRaw(_, _, captured) => captured.extend_from_slice(bytes).map_err(|_| BodyError::NoMemory)?,
            Self::BatchGet(reader) | Self::BatchDelete(reader) => reader.feed(bytes)?,
            Self::BatchSet(reader) => reader.feed(bytes)?,
            Self::Incr(reader) => reader.feed(bytes)?,
        }
        Ok(())
    }

    /// Gives up what has been received; long values are freed in slices.
    fn dispose(self, parts: &mut Parts) {
        let mut dispose = |payload| {
            if let Captured::Blob(blob) = payload {
                parts.shard.discard(blob);
            }
        };
        match self {
            Self::PutJson(_, reader) => dispose(reader.into_captured()),
            Self::PutRaw(_, _, payload) => dispose(payload),
            Self::BatchSet(reader) => reader.into_captured().for_each(dispose),
            Self::Discard | Self::BatchGet(_) | Self::BatchDelete(_) | Self::Incr(_) => {}
        }
    }

    /// Bytes of values that it holds.
    fn held_bytes(&self) -> u64 {
        match self {
            Self::PutJson(_, reader) => reader.captured_bytes(),
            Self::PutRaw(_, _, captured) => captured.footprint(),
            Self::BatchSet(reader) => reader.captured_bytes(),
            _ => 0,
        }
    }
}

/// The longest body, in bytes; `json` says whether a PUT comes in a JSON envelope.
pub fn body_bytes_max(route: Route, json: bool, settings: &Settings) -> u64 {
    match route {
        Route::Kv if json => settings.max_item_bytes + JSON_ENVELOPE_BYTES_MAX,
        Route::Kv => settings.max_item_bytes,
        Route::Incr => INCR_BODY_BYTES_MAX,
        _ => settings.max_item_bytes.max(BATCH_BODY_BYTES_MIN),
    }
}

#[derive(Debug)]
enum Framing {
    Length(u64),
    Chunked(ChunkedDecoder),
}

/// A body on its way in.
#[derive(Debug)]
pub struct Intake {
    /// `None` if the request has been answered already and the rest is dropped.
    ticket: Option<Ticket>,
    framing: Framing,
    sink: Sink,
    /// How much more the body may bring.
    left_to_limit: u64,
    limit: u64,
    /// What this core's shard keeps free for it.
    reserved: u64,
    /// Since when it could have arrived: when it began, and what we did not read is not counted.
    since: Mono,
}

impl Intake {
    /// For a body framed by `length`, of at most `limit` bytes.
    pub fn new(
        parts: &mut Parts,
        now: Now,
        ticket: Option<Ticket>,
        length: BodyLength,
        sink: Sink,
        limit: u64,
    ) -> Self {
        parts.metrics.active_requests += u64::from(ticket.is_some());
        parts.bodies_coming += u64::from(ticket.is_some());
        let framing = match length {
            BodyLength::None => Framing::Length(0),
            BodyLength::Length(len) => Framing::Length(len),
            BodyLength::Chunked => Framing::Chunked(ChunkedDecoder::new()),
        };
        Self { ticket, framing, sink, left_to_limit: limit, limit, reserved: 0, since: now.mono() }
    }

    /// Whether so little has come in all this time that the peer holds its place for nothing: less than
    /// [`BODY_BYTES_PER_SEC_MIN`], after `grace_ms`.
    pub const fn is_trickling(&self, now: Mono, grace_ms: u64) -> bool {
        let received = self.limit - self.left_to_limit;
        let patience_ms = grace_ms + received.saturating_mul(1_000) / BODY_BYTES_PER_SEC_MIN;
        now.nanos_since(self.since) > patience_ms * 1_000_000
    }

    /// Does not count `millis`, in which nothing was read.
    pub const fn excuse(&mut self, millis: u64) {
        self.since = self.since.plus_millis(millis);
    }

    /// The memory that it takes, in bytes, apart from what is reserved.
    pub fn footprint(&self) -> u64 {
        if self.reserved > 0 { 0 } else { self.sink.held_bytes() }
    }

    /// Whether the body is only being dropped.
    pub const fn is_discarding(&self) -> bool {
        self.ticket.is_none()
    }

    /// Gives up; returns the request, if it has not been answered.
    pub fn abandon(mut self: Box<Self>, parts: &mut Parts) -> Option<Ticket> {
        self.give_back(parts);
        self.ticket.take()
    }

    /// Gives back what is held for the body.
    fn give_back(&mut self, parts: &mut Parts) {
        self.let_go(parts);
        std::mem::replace(&mut self.sink, Sink::Discard).dispose(parts);
    }

    fn let_go(&mut self, parts: &mut Parts) {
        parts.metrics.active_requests -= u64::from(self.ticket.is_some());
        parts.bodies_coming -= u64::from(self.ticket.is_some());
        parts.shard.unreserve(std::mem::take(&mut self.reserved));
    }

    /// Finds the body's next bytes in `bytes`: how many of these it takes up, which of them are content, and whether the
    /// body ends there. An error leaves nothing of the connection to rely on.
    fn unframe<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, &'b [u8], bool), ChunkError> {
        Ok(match &mut self.framing {
            Framing::Length(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= len as u64;
                (len, &bytes[..len], *left == 0)
            }
            Framing::Chunked(decoder) => {
                let decoded = decoder.decode(bytes)?;
                (decoded.consumed, decoded.data, decoded.done)
            }
        })
    }

    /// Takes content. After an error the rest of the body is still framed.
    fn accept<H: Host>(&mut self, cx: &mut Context<'_, H>, content: &[u8]) -> Result<(), Failure> {
        self.left_to_limit =
            self.left_to_limit.checked_sub(content.len() as u64).ok_or_else(|| Failure::too_large(self.limit))?;
        if let Err(error) = self.sink.feed(content) {
            if error == BodyError::NoMemory {
                cx.parts.metrics.backpressure(BackpressureReason::NoMemory);
            }
            return Err(error.into());
        }
        self.reserve(cx)
    }

    /// What is left of the body, to be dropped; `None` if that is too much.
    fn into_discarding(self: Box<Self>) -> Option<Box<Self>> {
        let short = !matches!(self.framing, Framing::Length(left) if left > DISCARD_BYTES_MAX);
        let (limit, left_to_limit, reserved) = (DISCARD_BYTES_MAX, DISCARD_BYTES_MAX, 0);
        let (sink, since) = (Sink::Discard, self.since);
        let rest = Self { ticket: None, framing: self.framing, sink, left_to_limit, limit, reserved, since };
        short.then(|| Box::new(rest))
    }

    /// Makes room for what is being received, a chunk at a time; short bodies are not worth it.
    fn reserve<H: Host>(&mut self, cx: &mut Context<'_, H>) -> Result<(), Failure> {
        let held = self.sink.held_bytes();
        if held > INLINE_VALUE_BYTES_MAX as u64 && held > self.reserved {
            let more = (held - self.reserved).next_multiple_of(RECEIVE_STEP_BYTES as u64);
            if !cx.parts.shard.reserve(cx.now, more) {
                if !cx.parts.shard.could_hold(held) {
                    return Err(Refusal::OverBudget.into());
                }
                cx.parts.metrics.backpressure(BackpressureReason::OverBudget);
                return Err(Refusal::NoRoom.into());
            }
            self.reserved += more;
        }
        Ok(())
    }
}

/// What is left of a body that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It was complete.
    Nothing,
    /// Bytes of which it is known where they end.
    Framed,
    /// Nobody knows.
    Lost,
}

impl Session {
    /// Takes bytes of a body; returns how many.
    pub(super) fn read_body<H: Host>(&mut self, cx: &mut Context<'_, H>, bytes: &[u8]) -> usize {
        let Reading::Body(intake) = &mut self.reading else { unreachable!("the caller has just seen a body") };
        let (used, content, done) = match intake.unframe(bytes) {
            Ok(found) => found,
            Err(error) => {
                self.give_up_body(cx, &Failure::chunked(error), Rest::Lost);
                return bytes.len();
            }
        };
        match intake.accept(cx, content) {
            Ok(()) if done => self.finish_body(cx),
            Ok(()) => {}
            Err(failure) => self.give_up_body(cx, &failure, if done { Rest::Nothing } else { Rest::Framed }),
        }
        used
    }

    /// Answers with `failure` in the middle of a body. The connection goes on if the rest of the body is known to be
    /// short, so that a client need not care where in its body the mistake was.
    fn give_up_body<H: Host>(&mut self, cx: &mut Context<'_, H>, failure: &Failure, rest: Rest) {
        let Reading::Body(mut intake) = std::mem::replace(&mut self.reading, Reading::Head) else {
            unreachable!("the caller has just seen a body")
        };
        intake.give_back(cx.parts);
        let ticket = intake.ticket.take();
        let mut keep_alive = ticket.as_ref().is_some_and(|ticket| ticket.keep_alive) && !cx.parts.draining;
        match rest {
            Rest::Nothing => {}
            Rest::Lost => keep_alive = false,
            Rest::Framed => match intake.into_discarding().filter(|_| keep_alive) {
                Some(rest) => self.reading = Reading::Body(rest),
                None => keep_alive = false,
            },
        }
        if let Some(mut ticket) = ticket {
            ticket.keep_alive = keep_alive;
            ticket.received = cx.now.mono();
            self.fail(cx, &ticket, failure);
        }
        self.request_ends(cx, keep_alive);
    }

    /// Does what a request asks for whose body is complete.
    pub(super) fn finish_body<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let Reading::Body(mut intake) = std::mem::replace(&mut self.reading, Reading::Head) else {
            unreachable!("the caller has just seen a body")
        };
        intake.let_go(cx.parts);
        let Intake { ticket: Some(mut ticket), sink, .. } = *intake else { return };
        ticket.keep_alive &= !cx.parts.draining;
        ticket.received = cx.now.mono();
        let keep_alive = ticket.keep_alive;
        self.carry_out(cx, ticket, sink);
        self.request_ends(cx, keep_alive);
    }

    fn carry_out<H: Host>(&mut self, cx: &mut Context<'_, H>, ticket: Ticket, sink: Sink) {
        match sink {
            Sink::Discard => {}
            Sink::PutJson(target, mut reader) => match reader.finish() {
                Ok(put) => self.put(cx, ticket, target, put, ""),
                Err(error) => {
                    Sink::PutJson(target, reader).dispose(cx.parts);
                    self.fail(cx, &ticket, &error.into());
                }
            },
            Sink::PutRaw(target, media, payload) => {
                let raw_len = payload.len();
                let put = StreamedPut { kind: ValueKind::Bytes, payload, raw_len, ttl: Ttl::NONE };
                self.put(cx, ticket, target, put, &media);
            }
            Sink::BatchGet(reader) => match reader.finish() {
                Ok(keys) => match Plan::get(keys) {
                    Ok(plan) => self.ask_batch(cx, ticket, plan),
                    Err(failure) => self.fail(cx, &ticket, &failure),
                },
                Err(error) => self.fail(cx, &ticket, &error.into()),
            },
            Sink::BatchDelete(reader) => match reader.finish() {
                Ok(keys) => self.ask_batch(cx, ticket, Plan::delete(keys)),
                Err(error) => self.fail(cx, &ticket, &error.into()),
            },
            Sink::BatchSet(reader) => match reader.finish() {
                Ok(items) => self.ask_batch(cx, ticket, Plan::set(items)),
                Err(error) => self.fail(cx, &ticket, &error.into()),
            },
            Sink::Incr(reader) => match reader.finish() {
                Ok(incr) => {
                    let hash = cx.parts.router.hash(incr.key());
                    let verb = Verb::Incr { delta: incr.delta, ttl: incr.ttl };
                    self.ask(cx, ticket, Command { key: incr.key(), hash, verb });
                }
                Err(error) => self.fail(cx, &ticket, &error.into()),
            },
        }
    }

    /// A PUT whose body has come piece by piece.
    fn put<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        ticket: Ticket,
        target: PutTarget<KeyBuf>,
        put: StreamedPut,
        media: &str,
    ) {
        let inline;
        let payload = match put.payload {
            Captured::Blob(blob) => Payload::Blob(blob),
            Captured::Inline(bytes) => {
                inline = bytes;
                Payload::Inline(&inline[..])
            }
        };
        let put = Put {
            kind: put.kind,
            payload,
            raw_len: put.raw_len,
            media: media.as_bytes(),
            ttl: or_from_query(put.ttl, target.ttl),
            conditions: target.conditions,
        };
        self.ask(cx, ticket, Command { key: &target.key, hash: target.hash, verb: Verb::Put(put) });
    }

    /// A PUT whose body came with its head: nothing is copied but into the shard.
    pub(super) fn put_in_place<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        ticket: Ticket,
        target: PutTarget<&[u8]>,
        media: Media<'_>,
        body: &[u8],
    ) -> Result<(), Failure> {
        let (kind, value, raw_len, media, ttl) = match media {
            Media::Json => {
                let put = body::put_in_place(body)?;
                (put.kind, put.text, put.raw_len, "", put.ttl)
            }
            Media::Bytes(media) => (ValueKind::Bytes, body, body.len() as u64, media, Ttl::NONE),
        };
        if value.len() as u64 > cx.parts.settings.max_item_bytes {
            return Err(BodyError::TooLarge.into());
        }
        let payload = if value.len() > INLINE_VALUE_BYTES_MAX {
            let mut blob = Blob::new();
            blob.extend_from_slice(value).map_err(|_| {
                cx.parts.metrics.backpressure(BackpressureReason::NoMemory);
                BodyError::NoMemory
            })?;
            Payload::Blob(blob)
        } else {
            Payload::Inline(value)
        };
        let put = Put {
            kind,
            payload,
            raw_len,
            media: media.as_bytes(),
            ttl: or_from_query(ttl, target.ttl),
            conditions: target.conditions,
        };
        self.ask(cx, ticket, Command { key: target.key, hash: target.hash, verb: Verb::Put(put) });
        Ok(())
    }
}

/// The body's time to live, or if it names none, that of the query.
fn or_from_query(of_body: Ttl, of_query: Option<Ttl>) -> Ttl {
    if of_body == Ttl::NONE { of_query.unwrap_or(Ttl::NONE) } else { of_body }
}
