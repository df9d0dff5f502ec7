//! A long value on its way out, piece by piece, from the shard that holds it.

use super::outbox::Gathered;
use super::{ConnId, Context};
use crate::command::LeaseId;
use crate::engine::host::Host;
use crate::engine::parts::Parts;
use crate::forward::Waiter;
use crate::limits::{COPIED_BYTES_MAX, GATHERED_MAX};
use crate::parcel::{Parcel, Work};
use crate::protocol::answer::Tail;
use crate::routing::ShardId;
use crate::shard::Shard;

/// A leased value that is being sent on a connection. It must be released when the connection ends before it does.
#[derive(Debug)]
pub struct Stream {
    conn: ConnId,
    owner: ShardId,
    lease: LeaseId,
    offset: u64,
    /// How the bytes are written, and what comes behind them; `None` when everything has been written.
    tail: Option<Tail>,
    /// A parcel is under way.
    pulling: bool,
    /// Whether it pays to send the value from where it is stored.
    is_worth_lending: bool,
}

impl Stream {
    /// The value that `owner` holds under `lease`, of which `tail` is left to write.
    #[must_use]
    pub const fn new(conn: ConnId, owner: ShardId, lease: LeaseId, tail: Tail) -> Self {
        let is_worth_lending = tail.is_plain() && tail.remaining() > COPIED_BYTES_MAX;
        Self { conn, owner, lease, offset: 0, tail: Some(tail), pulling: false, is_worth_lending }
    }

    /// Whether the value is to be sent from where it is stored by this core's shard, `me`, without a copy.
    #[must_use]
    pub fn is_lent(&self, me: ShardId) -> bool {
        self.is_worth_lending && self.owner == me && !self.is_done()
    }

    /// The bytes that are to be sent next, where they are stored, as far as there is room.
    pub fn gather<'s>(&self, shard: &'s Shard, pieces: &mut Gathered<'s>) {
        let mut offset = self.offset;
        while pieces.len() < GATHERED_MAX {
            let piece = shard.lease_rest(self.lease, offset);
            if piece.is_empty() {
                return;
            }
            offset += piece.len() as u64;
            pieces.push(piece);
        }
    }

    /// Takes note that `len` bytes of what [`Stream::gather`] gives were sent. When these were the last ones, what follows the value
    /// is written, and the lease released.
    pub fn take_sent(&mut self, parts: &mut Parts, len: usize, out: &mut Vec<u8>) {
        let tail = self.tail.as_mut().expect("a stream that is done lends nothing");
        tail.skip(len as u64);
        self.offset += len as u64;
        if self.end(out) {
            parts.release(self.owner, self.lease);
        }
    }

    /// Whether everything has been written and the lease released.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.tail.is_none()
    }

    /// Writes the next piece, or asks for it. False if nothing can be written until a parcel comes back.
    pub fn advance<H: Host>(&mut self, cx: &mut Context<'_, H>, out: &mut Vec<u8>) -> bool {
        if self.owner == cx.parts.me {
            let bytes = cx.parts.shard.lease_slice(self.lease, self.offset);
            let complete = self.write(bytes, out);
            if complete {
                cx.parts.release(self.owner, self.lease);
            }
            return true;
        }
        if !self.pulling {
            self.pull(cx);
        }
        false
    }

    /// Asks the owner for the next piece. If the lane is full, this is tried again at the next tick.
    fn pull<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let mut parcel = cx.parts.forward.blank();
        parcel.work = Work::Pull { lease: self.lease, offset: self.offset };
        match cx.parts.send(cx.host, cx.now, parcel, self.owner, Waiter::Stream(self.conn)) {
            Ok(()) => self.pulling = true,
            Err((parcel, reason)) => {
                cx.parts.metrics.backpressure(reason);
                cx.parts.forward.recycle(parcel);
            }
        }
    }

    /// Takes the piece that was asked for.
    pub fn take_pulled<H: Host>(&mut self, cx: &mut Context<'_, H>, parcel: &Parcel, out: &mut Vec<u8>) {
        assert!(self.pulling, "a piece comes because it was asked for");
        self.pulling = false;
        if self.write(parcel.pulled(), out) {
            cx.parts.release(self.owner, self.lease);
        }
    }

    /// Writes the piece at the offset; true if it was the last one.
    fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let tail = self.tail.as_mut().expect("a stream that is done is not asked for more");
        assert!(!bytes.is_empty(), "a lease holds the whole value that it was given for");
        self.offset += bytes.len() as u64;
        tail.encode_slice(bytes, out);
        self.end(out)
    }

    /// Writes what follows the value if all of it is written; true if so.
    fn end(&mut self, out: &mut Vec<u8>) -> bool {
        let complete = self.tail.take_if(|tail| tail.remaining() == 0);
        complete.map(|tail| tail.finish(out)).is_some()
    }

    /// Gives the value up before its end.
    pub fn release<H: Host>(&self, cx: &mut Context<'_, H>) {
        if !self.is_done() {
            cx.parts.release(self.owner, self.lease);
        }
    }
}
