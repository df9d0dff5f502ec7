//! One command: applied here if this core owns the key, else sent to the core that does.

use super::outbox::Awaited;
use super::ticket::{Done, Ticket};
use super::writing::Failure;
use super::{Context, Session};
use crate::command::{Command, Verb};
use crate::engine::host::Host;
use crate::forward::Waiter;
use crate::parcel::Parcel;
use crate::protocol::answer;

impl Session {
    /// Sees to `command`, on behalf of the request that `ticket` is for.
    pub(super) fn ask<H: Host>(&mut self, cx: &mut Context<'_, H>, mut ticket: Ticket, command: Command<&[u8]>) {
        let owner = cx.parts.router.owner(command.hash);
        if owner == cx.parts.me {
            self.ask_here(cx, ticket, command);
            return;
        }
        ticket.asked = Some(cx.now.mono());
        #[cfg(feature = "stale-read")]
        if let Some(stale) = cx.parts.stale_reads.instead_of(&command) {
            return self.answer_again(cx, &ticket, stale);
        }
        let mut parcel = cx.parts.forward.blank();
        parcel.push(command);
        let waiter = Waiter::Slot { conn: self.id, slot: self.outbox.next_slot() };
        match cx.parts.send(cx.host, cx.now, parcel, owner, waiter) {
            Ok(()) => {
                self.outbox.wait(cx.parts, ticket, Awaited::Outcome);
            }
            Err((mut parcel, reason)) => {
                cx.parts.refuse(&mut parcel, reason);
                cx.parts.forward.recycle(parcel);
                self.fail(cx, &ticket, &Failure::backpressure(reason));
            }
        }
    }

    fn ask_here<H: Host>(&mut self, cx: &mut Context<'_, H>, mut ticket: Ticket, command: Command<&[u8]>) {
        let date = cx.parts.date(cx.now);
        let (key, is_read) = (command.key, matches!(command.verb, Verb::Get { .. }));
        // A read takes less than it takes to look at the clock.
        let moment = |host: &H| if is_read { None } else { host.moment() };
        let asked = moment(cx.host).unwrap_or(cx.now.mono());
        ticket.asked = Some(asked);
        let mut bytes = self.outbox.begin(cx.parts);
        cx.parts.metrics.local += 1;
        let outcome = cx.parts.apply(cx.now, command);
        let written = ticket.write_outcome(&mut bytes, &date, key, &outcome);
        let back = moment(cx.host).unwrap_or(asked);
        let stream = written.tail.map(|leased| leased.stream(self.id, cx.parts.me));
        let done = Done {
            key: Some(key),
            shard: cx.parts.me,
            shard_nanos: back.nanos_since(asked),
            is_streamed: stream.is_some(),
            worth_naming_nanos: cx.parts.worth_naming_nanos(),
        };
        self.outbox.finish(cx, bytes, stream, ticket.answered_by_shard(&done, self.id, written.status, back));
    }

    /// Takes a parcel that slot `slot` has waited for.
    pub(super) fn take_answer<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, parcel: Box<Parcel>) {
        match self.outbox.waiting(slot) {
            Some((_, Awaited::Outcome)) => self.answer_outcome(cx, slot, parcel),
            Some((_, Awaited::Batch(_))) => self.take_batch_part(cx, slot, parcel),
            Some((_, Awaited::Survey)) | None => {
                debug_assert!(false, "a slot waits for what it has asked");
                cx.parts.metrics.late_replies += 1;
                cx.parts.discard(parcel);
            }
        }
    }

    fn answer_outcome<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, parcel: Box<Parcel>) {
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin_slot(cx.parts, slot);
        let (ticket, _) = self.outbox.waiting(slot).expect("the caller has just seen this slot");
        let written = ticket.write_outcome(&mut bytes, &date, parcel.key(0), &parcel.outcome(0));
        let done = Done {
            key: Some(parcel.key(0)),
            shard: parcel.to,
            shard_nanos: parcel.shard_nanos,
            is_streamed: written.tail.is_some(),
            worth_naming_nanos: cx.parts.worth_naming_nanos(),
        };
        let answered = ticket.answered_by_shard(&done, self.id, written.status, cx.now.mono());
        let stream = written.tail.map(|leased| leased.stream(self.id, parcel.to));
        let rest = stream.map(|stream| super::outbox::Piece::Stream(Box::new(stream)));
        self.outbox.finish_slot(cx, slot, bytes, rest, answered);
        #[cfg(feature = "stale-read")]
        let Some(parcel) = cx.parts.stale_reads.keep(parcel) else { return };
        cx.parts.forward.recycle(parcel);
    }

    /// Gives an earlier answer again: the fault of a server that is built with the feature `stale-read`.
    #[cfg(feature = "stale-read")]
    fn answer_again<H: Host>(&mut self, cx: &mut Context<'_, H>, ticket: &Ticket, stale: Box<Parcel>) {
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin(cx.parts);
        let written = ticket.write_outcome(&mut bytes, &date, stale.key(0), &stale.outcome(0));
        self.outbox.finish(cx, bytes, None, ticket.answered(self.id, written.status, cx.now.mono()));
        cx.parts.forward.recycle(stale);
    }

    /// Answers with `failure` at once.
    pub(super) fn fail<H: Host>(&mut self, cx: &mut Context<'_, H>, ticket: &Ticket, failure: &Failure) {
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin(cx.parts);
        failure.write(&mut bytes, &ticket.head(&date));
        self.outbox.finish(cx, bytes, None, ticket.answered(self.id, failure.status(), cx.now.mono()));
    }

    /// Answers the request that waits in slot `slot` with `failure`.
    pub(super) fn fail_slot<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u64, failure: &Failure) {
        let date = cx.parts.date(cx.now);
        let mut bytes = self.outbox.begin_slot(cx.parts, slot);
        let (ticket, _) = self.outbox.waiting(slot).expect("the caller has just seen this slot");
        failure.write(&mut bytes, &ticket.head(&date));
        let answered = ticket.answered(self.id, failure.status(), cx.now.mono());
        self.outbox.finish_slot(cx, slot, bytes, [], answered);
    }

    /// Tells a peer that waits for it to send its body.
    pub(super) fn invite<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let pieces = smallvec::SmallVec::from_iter([super::outbox::Piece::Bytes(answer::CONTINUE.to_vec())]);
        self.outbox.push(cx, super::outbox::Answer { pieces, answered: None });
    }
}
