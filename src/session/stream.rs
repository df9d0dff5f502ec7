//! A long value on its way out, piece by piece, from the shard that holds it.

use super::{ConnId, Context};
use crate::command::LeaseId;
use crate::engine::parts::Host;
use crate::forward::Waiter;
use crate::parcel::{Parcel, Work};
use crate::protocol::answer::Tail;
use crate::routing::ShardId;

/// A leased value that is being sent on a connection. It must be released when the connection ends before it does.
#[derive(Debug)]
pub struct Stream {
    conn: ConnId,
    owner: ShardId,
    lease: LeaseId,
    offset: u64,
    len: u64,
    /// How the bytes are written, and what comes behind them.
    tail: Tail,
    /// A parcel is under way.
    pulling: bool,
    done: bool,
}

impl Stream {
    /// The value of `len` bytes that `owner` holds under `lease`.
    #[must_use]
    pub const fn new(conn: ConnId, owner: ShardId, lease: LeaseId, len: u64, tail: Tail) -> Self {
        Self { conn, owner, lease, offset: 0, len, tail, pulling: false, done: false }
    }

    /// Whether everything has been written and the lease released.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Writes the next piece, or asks for it. False if nothing can be written until a parcel comes back.
    pub fn advance<H: Host>(&mut self, cx: &mut Context<'_, H>, out: &mut Vec<u8>) -> bool {
        if self.owner == cx.parts.me {
            let bytes = cx.parts.shard.lease_slice(self.lease, self.offset);
            self.offset += bytes.len() as u64;
            self.tail.encode_slice(bytes, out);
            self.end_if_complete(cx, out);
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
        let bytes = parcel.pulled();
        self.offset += bytes.len() as u64;
        self.tail.encode_slice(bytes, out);
        self.end_if_complete(cx, out);
    }

    fn end_if_complete<H: Host>(&mut self, cx: &mut Context<'_, H>, out: &mut Vec<u8>) {
        assert!(self.offset <= self.len, "a lease holds the value that it was given for");
        if self.offset == self.len {
            self.tail.finish(out);
            self.done = true;
            cx.parts.release(cx.host, cx.now, self.owner, self.lease);
        }
    }

    /// Gives the value up before its end.
    pub fn release<H: Host>(&self, cx: &mut Context<'_, H>) {
        if !self.done {
            cx.parts.release(cx.host, cx.now, self.owner, self.lease);
        }
    }
}
