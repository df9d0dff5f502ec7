//! Many commands in one request: one parcel for each shard, all under way at once, answered in the order of the request.

use super::outbox::{Awaited, Piece};
use super::stream::Stream;
use super::ticket::Ticket;
use super::writing::{Failure, ItemFailure};
use super::{Context, Session};
use crate::command::{Command, Conditions, Outcome, Payload, Put, Refusal, Value, Verb};
use crate::engine::parts::Host;
use crate::forward::Waiter;
use crate::parcel::Parcel;
use crate::protocol::answer::{self, BatchBody};
use crate::protocol::body::{BatchItem, Captured, SentKey, StreamedPut};
use crate::routing::ShardId;
use crate::time::Ttl;

/// What a batch asks for, item by item.
#[derive(Debug)]
pub struct Plan(Vec<(SentKey, Result<Wish, ItemFailure>)>);

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
        let wish = |key: &SentKey| key.valid().map(|_| Wish::Delete).map_err(ItemFailure::from);
        Self(keys.into_iter().map(|key| (wish(&key), key)).map(|(wish, key)| (key, wish)).collect())
    }

    /// Writes `items`.
    pub fn set(items: Vec<BatchItem>) -> Self {
        Self(items.into_iter().map(|it| (it.key, it.put.map(Wish::Put).map_err(ItemFailure::from))).collect())
    }
}

/// A batch whose parcels are under way.
#[derive(Debug)]
pub struct Batch {
    /// One for each shard that has a part in it; `None` as long as it is under way.
    parcels: Vec<(ShardId, Option<Box<Parcel>>)>,
    order: Vec<Item>,
}

/// Where the outcome of an item is found.
#[derive(Debug)]
enum Item {
    /// Which parcel, and which of its commands.
    Asked { parcel: usize, place: usize },
    /// It could not be asked for.
    Failed(SentKey, ItemFailure),
}

impl Session {
    /// Asks all shards that have a part in `plan`, at once.
    pub(super) fn ask_batch<H: Host>(&mut self, cx: &mut Context<'_, H>, ticket: Ticket, plan: Plan) {
        let mut batch = pack(cx, plan);
        let slot = self.outbox.next_slot();
        for (owner, place) in &mut batch.parcels {
            let mut parcel = place.take().expect("nothing has been sent yet");
            if *owner == cx.parts.me {
                parcel.deadline = cx.now.mono();
                cx.parts.carry_out(cx.now, &mut parcel);
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
        let batch = std::mem::replace(batch, Box::new(Batch { parcels: Vec::new(), order: Vec::new() }));
        let route = ticket.route;
        match body_of(&batch, route, self.id) {
            Ok((len, pieces)) => self.answer_batch(cx, slot, len, pieces),
            Err(failure) => {
                self.fail_slot(cx, slot, &failure);
                batch.release(cx);
            }
        }
        for (_, parcel) in batch.parcels {
            cx.parts.forward.recycle(parcel.expect("the batch is whole"));
        }
    }

    fn answer_batch<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, len: u64, pieces: Vec<Piece>) {
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin_slot(slot);
        let (ticket, _) = self.outbox.waiting(slot).expect("the caller has just seen this slot");
        answer::json_head(&mut bytes, &ticket.head(&date), 200, len);
        let answered = ticket.answered(self.id, 200);
        self.outbox.finish_slot(cx, slot, bytes, pieces, answered);
    }
}

/// Sorts the items of `plan` into one parcel for each shard.
fn pack<H: Host>(cx: &mut Context<'_, H>, plan: Plan) -> Batch {
    let mut batch = Batch { parcels: Vec::new(), order: Vec::with_capacity(plan.0.len()) };
    for (sent, wish) in plan.0 {
        let item = match (wish, sent.valid()) {
            (Ok(wish), Ok(key)) => batch.add(cx, key, wish),
            (Err(failure), _) => Item::Failed(sent, failure),
            (Ok(_), Err(error)) => Item::Failed(sent, error.into()),
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
        Item::Asked { parcel: at, place: parcel.len() - 1 }
    }

    fn outcome(&self, item: &Item) -> Option<(&[u8], &Parcel, Outcome<&[u8]>)> {
        let Item::Asked { parcel, place } = item else { return None };
        let parcel = self.parcels[*parcel].1.as_ref().expect("the batch is whole");
        Some((parcel.key(*place), parcel, parcel.outcome(*place)))
    }

    /// Releases what was leased for an answer that is not given.
    fn release<H: Host>(&self, cx: &mut Context<'_, H>) {
        for (owner, parcel) in &self.parcels {
            for lease in parcel.iter().flat_map(|parcel| parcel.leases()) {
                cx.parts.release(cx.host, cx.now, *owner, lease);
            }
        }
    }
}
