//! Many commands in one request: one parcel for each shard, all under way at once, answered in the order of the request.

use super::outbox::{Awaited, Piece};
use super::ticket::{Done, Ticket};
use super::writing::{Failure, LeasedTail};
use super::{ConnId, Context, Session};
use crate::command::{Command, Conditions, Outcome, Payload, Put, Refusal, Verb};
use crate::engine::host::Host;
use crate::forward::Waiter;
use crate::parcel::Parcel;
use crate::protocol::answer::{self, AnswerHead, BatchGet, DeleteResult, DeleteStatus, ErrorCode, SetResult};
use crate::protocol::body::{BatchItem, BodyError, Captured, SentKey, StreamedPut};
use crate::protocol::route::Route;
use crate::routing::ShardId;

/// What a batch asks for, item by item.
#[derive(Debug)]
pub struct Plan(Vec<(SentKey, Result<Wish, BodyError>)>);

#[derive(Debug)]
enum Wish {
    Get,
    Delete,
    Put(StreamedPut),
}

impl Plan {
    /// Reads `keys`.
    ///
    /// # Errors
    /// If one of them cannot be a key: such a batch has no place to say so beside its hits and misses.
    pub fn get(keys: Vec<SentKey>) -> Result<Self, Failure> {
        if let Some(error) = keys.iter().find_map(|key| key.valid().err()) {
            return Err(error.into());
        }
        Ok(Self(keys.into_iter().map(|key| (key, Ok(Wish::Get))).collect()))
    }

    /// Deletes `keys`.
    pub fn delete(keys: Vec<SentKey>) -> Self {
        let wish = |key: &SentKey| key.valid().map(|_| Wish::Delete).map_err(BodyError::from);
        Self(keys.into_iter().map(|key| (wish(&key), key)).map(|(wish, key)| (key, wish)).collect())
    }

    /// Writes `items`.
    pub fn set(items: Vec<BatchItem>) -> Self {
        Self(items.into_iter().map(|it| (it.key, it.put.map(Wish::Put))).collect())
    }
}

/// A batch whose parcels are under way.
#[derive(Debug, Default)]
pub struct Batch {
    /// One for each shard that has a part in it; `None` as long as it is under way.
    parcels: Vec<(ShardId, Option<Box<Parcel>>)>,
    order: Vec<Item>,
}

/// The key of an item, the parcel that it travelled in, and what became of it.
type Asked<'b> = (&'b [u8], &'b Parcel, Outcome<&'b [u8]>);

/// Where the outcome of an item is found.
#[derive(Debug)]
enum Item {
    /// Which parcel, and which of its commands.
    Asked { parcel: u32, place: u32 },
    /// It could not be asked for.
    Failed(Box<Failed>),
}

/// An item that could not be asked for, and why.
#[derive(Debug)]
struct Failed {
    key: SentKey,
    code: ErrorCode,
    message: String,
}

impl Item {
    fn failed(key: SentKey, error: BodyError) -> Self {
        let (code, message) = (ErrorCode::of_status(error.status()), error.to_string());
        Self::Failed(Box::new(Failed { key, code, message }))
    }
}

impl Session {
    /// Asks all shards that have a part in `plan`, at once.
    pub(super) fn ask_batch<H: Host>(&mut self, cx: &mut Context<'_, H>, ticket: Ticket, plan: Plan) {
        let batch = pack(cx, plan);
        self.send_batch(cx, ticket, batch);
    }

    /// Asks all shards that own some of `keys`, each of which is a key, at once.
    pub(super) fn ask_batch_get<H: Host>(&mut self, cx: &mut Context<'_, H>, ticket: Ticket, keys: &[&[u8]]) {
        let mut batch = Batch { parcels: Vec::new(), order: Vec::with_capacity(keys.len()) };
        for key in keys {
            let item = batch.add(cx, key, Wish::Get);
            batch.order.push(item);
        }
        self.send_batch(cx, ticket, batch);
    }

    fn send_batch<H: Host>(&mut self, cx: &mut Context<'_, H>, mut ticket: Ticket, mut batch: Batch) {
        ticket.asked = Some(cx.now.mono());
        let slot = self.outbox.next_slot();
        for (owner, place) in &mut batch.parcels {
            let mut parcel = place.take().expect("nothing has been sent yet");
            if *owner == cx.parts.me {
                parcel.deadline = cx.now.mono();
                cx.parts.metrics.local += 1;
                cx.parts.carry_out(cx.now, cx.host, &mut parcel);
                *place = Some(parcel);
                continue;
            }
            let waiter = Waiter::Slot { conn: self.id, slot };
            if let Err((mut parcel, reason)) = cx.parts.send(cx.host, cx.now, parcel, *owner, waiter) {
                cx.parts.refuse(&mut parcel, reason);
                *place = Some(parcel);
            }
        }
        self.outbox.wait(cx.parts, ticket, Awaited::Batch(Box::new(batch)));
        self.answer_if_whole(cx, slot);
    }

    /// Takes one parcel of a batch.
    pub(super) fn take_batch_part<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, parcel: Box<Parcel>) {
        let Some((_, Awaited::Batch(batch))) = self.outbox.waiting(slot) else {
            unreachable!("the caller has just seen this batch")
        };
        let place = batch.parcels.iter_mut().find(|(owner, _)| *owner == parcel.to);
        let (_, place) = place.expect("a parcel comes from a shard that was asked");
        assert!(place.replace(parcel).is_none(), "a shard is asked once for a batch");
        self.answer_if_whole(cx, slot);
    }

    fn answer_if_whole<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64) {
        let Some((ticket, Awaited::Batch(batch))) = self.outbox.waiting(slot) else { return };
        if batch.parcels.iter().any(|(_, parcel)| parcel.is_none()) {
            return;
        }
        let route = ticket.route;
        let batch = std::mem::take(batch);
        if let Some(refusal) = batch.refusal().filter(|_| route == Route::BatchGet) {
            // Hits and misses are all that this answer can name.
            batch.release(cx);
            self.fail_slot(cx, slot, &Failure::from(refusal));
        } else {
            self.answer_batch(cx, slot, &batch);
        }
        for (_, parcel) in batch.parcels {
            cx.parts.forward.recycle(parcel.expect("the batch is whole"));
        }
    }

    fn answer_batch<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, batch: &Batch) {
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin_slot(cx.parts, slot);
        let (ticket, _) = self.outbox.waiting(slot).expect("the caller has just seen this slot");
        let head = ticket.head(&date);
        let mut rest = Vec::new();
        match ticket.route {
            Route::BatchGet => rest = batch.write_hits(&mut bytes, &head, self.id),
            Route::BatchSet => answer::json(&mut bytes, &head, 200, &answer::set_results(batch.set_results())),
            _ => answer::json(&mut bytes, &head, 200, &answer::delete_results(batch.delete_results())),
        }
        let slowest = batch.slowest();
        let done = Done {
            key: None,
            shard: slowest.map_or(cx.parts.me, |parcel| parcel.to),
            shard_nanos: slowest.map_or(0, |parcel| parcel.shard_nanos),
            is_streamed: !rest.is_empty(),
            worth_naming_nanos: cx.parts.worth_naming_nanos(),
        };
        let back = cx.now.mono();
        let answered = ticket.answered_by_shard(&done, self.id, 200, back);
        self.outbox.finish_slot(cx, slot, bytes, rest, answered);
    }
}

/// Sorts the items of `plan` into one parcel for each shard.
fn pack<H: Host>(cx: &mut Context<'_, H>, plan: Plan) -> Batch {
    let mut batch = Batch { parcels: Vec::new(), order: Vec::with_capacity(plan.0.len()) };
    for (sent, wish) in plan.0 {
        let item = match (wish, sent.valid()) {
            (Ok(wish), Ok(key)) => batch.add(cx, key, wish),
            (Err(error), _) => Item::failed(sent, error),
            (Ok(_), Err(error)) => Item::failed(sent, error.into()),
        };
        batch.order.push(item);
    }
    batch
}

impl Batch {
    fn add<H: Host>(&mut self, cx: &mut Context<'_, H>, key: &[u8], wish: Wish) -> Item {
        let hash = cx.parts.router.hash(key);
        let owner = cx.parts.router.owner(hash);
        let at = self.parcels.iter().position(|(shard, _)| *shard == owner).unwrap_or_else(|| {
            let mut parcel = cx.parts.forward.blank();
            parcel.to = owner;
            self.parcels.push((owner, Some(parcel)));
            self.parcels.len() - 1
        });
        let parcel = self.parcels[at].1.as_mut().expect("nothing has been sent yet");
        let inline;
        let verb = match wish {
            Wish::Get => Verb::Get { unless: None, with_value: true },
            Wish::Delete => Verb::Delete { conditions: Conditions::default() },
            Wish::Put(put) => {
                let payload = match put.payload {
                    Captured::Inline(bytes) => {
                        inline = bytes;
                        Payload::Inline(&inline[..])
                    }
                    Captured::Blob(blob) => Payload::Blob(blob),
                };
                let (kind, raw_len, ttl, conditions) = (put.kind, put.raw_len, put.ttl, Conditions::default());
                Verb::Put(Put { kind, payload, raw_len, media: b"", ttl, conditions })
            }
        };
        parcel.push(Command { key, hash, verb });
        // Both are less than the items of a batch.
        Item::Asked { parcel: at as u32, place: parcel.len() as u32 - 1 }
    }

    /// Where an item that was asked for is: its parcel, and its place there.
    fn place(&self, item: &Item) -> Option<(&Parcel, usize)> {
        let Item::Asked { parcel, place } = item else { return None };
        let parcel = self.parcels[*parcel as usize].1.as_ref().expect("the batch is whole");
        Some((parcel, *place as usize))
    }

    fn outcome(&self, item: &Item) -> Option<Asked<'_>> {
        let (parcel, place) = self.place(item)?;
        Some((parcel.key(place), parcel, parcel.outcome(place)))
    }

    /// Why a command was not carried out, if one was not.
    fn refusal(&self) -> Option<Refusal> {
        self.parcels.iter().find_map(|(_, parcel)| parcel.as_deref().and_then(Parcel::refusal))
    }

    /// Writes the answer to a read; returns what comes behind `bytes`, for the values that are not there yet.
    fn write_hits(&self, bytes: &mut Vec<u8>, head: &AnswerHead<'_>, conn: ConnId) -> Vec<Piece> {
        let asked = || self.order.iter().filter_map(|item| self.place(item));
        let hits = || {
            let found = |(parcel, place): (_, _)| Parcel::found(parcel, place).map(|found| (parcel, place, found));
            asked().filter_map(found).map(|(parcel, place, (meta, value))| (parcel.key(place), parcel.to, meta, value))
        };
        let misses =
            || asked().filter(|(parcel, place)| parcel.is_missing(*place)).map(|(parcel, place)| parcel.key(place));
        let mut writer = BatchGet::begin(bytes, head, hits().map(|(key, _, meta, _)| (key, meta)), misses());
        let mut pieces = Vec::new();
        let mut behind = Vec::new();
        for (key, owner, meta, value) in hits() {
            let out = if pieces.is_empty() { &mut *bytes } else { &mut behind };
            let tail = writer.hit(out, key, meta, &value);
            if let Some(leased) = LeasedTail::new(value, tail) {
                if !behind.is_empty() {
                    pieces.push(Piece::Bytes(std::mem::take(&mut behind)));
                }
                pieces.push(Piece::Stream(Box::new(leased.stream(conn, owner))));
            }
        }
        writer.finish(if pieces.is_empty() { &mut *bytes } else { &mut behind }, misses());
        if !behind.is_empty() {
            pieces.push(Piece::Bytes(behind));
        }
        pieces
    }

    fn set_results(&self) -> impl Iterator<Item = SetResult<'_>> {
        self.order.iter().map(|item| match (item, self.outcome(item)) {
            (_, Some((key, _, Outcome::Written { created, version, .. }))) => {
                SetResult { key: shown(key), outcome: Ok((created, version)) }
            }
            (item, outcome) => {
                let (key, code, message) = failed(item, outcome);
                SetResult { key, outcome: Err((code, message)) }
            }
        })
    }

    fn delete_results(&self) -> impl Iterator<Item = DeleteResult<'_>> {
        self.order.iter().map(|item| match (item, self.outcome(item)) {
            (_, Some((key, _, Outcome::Deleted))) => DeleteResult { key: shown(key), status: DeleteStatus::Deleted },
            (_, Some((key, _, Outcome::Missing))) => DeleteResult { key: shown(key), status: DeleteStatus::Missing },
            (item, outcome) => {
                let (key, code, message) = failed(item, outcome);
                DeleteResult { key, status: DeleteStatus::Error(code, message) }
            }
        })
    }

    /// The parcel on which its shard has worked longest.
    fn slowest(&self) -> Option<&Parcel> {
        self.parcels.iter().filter_map(|(_, parcel)| parcel.as_deref()).max_by_key(|parcel| parcel.shard_nanos)
    }

    /// How many items it has.
    pub(super) const fn len(&self) -> usize {
        self.order.len()
    }

    /// Releases what was leased for an answer that is not given.
    pub(super) fn release<H: Host>(&self, cx: &mut Context<'_, H>) {
        for (owner, parcel) in &self.parcels {
            for lease in parcel.iter().flat_map(|parcel| parcel.leases()) {
                cx.parts.release(*owner, lease);
            }
        }
    }
}

fn shown(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key).ok()
}

/// What to say of an item that was not done.
fn failed<'b>(item: &'b Item, outcome: Option<Asked<'b>>) -> (Option<&'b str>, ErrorCode, &'b str) {
    match (item, outcome) {
        (Item::Failed(failed), _) => (failed.key.shown(), failed.code, &failed.message),
        (_, Some((key, _, Outcome::Refused(refusal)))) => {
            (shown(key), ErrorCode::of_refusal(refusal), refusal.message())
        }
        (_, outcome) => unreachable!("a shard does not answer a write with {outcome:?}"),
    }
}
