//! Which requests took long, and what the time was spent on.
//!
//! A request is measured from its complete head to the moment when its answer was handed over, to the kernel or to what
//! the connection has to send. On the way four moments are kept, from which the parts follow:
//!
//! ```text
//! head ──body──▶ all received ──queue──▶ command sent or begun ──lane──▶ owner begins ──shard──▶ done ──lane──▶ back ──write──▶ gone
//! ```
//!
//! *Body* is the peer sending it; *queue* is what the core did first; *lane* is the way to the owner of the key and back, with
//! the wait there, for a turn or for room; *shard* is the owner at work; *write* is the rest of the core's turn, or
//! the wait for earlier answers of the connection and for the peer to take them, or a long value. Reads are so short at their owner that a
//! local one is not timed there. A head that waits unread, because its connection has too many requests in progress, is
//! not seen here.
//!
//! Only requests about keys are looked at: a scrape has to wait for all cores. What the peer has taken its time for makes no
//! request slow: the body, the way out of a long value, and of what it has asked for before. Else anybody with a slow line
//! could push out of the log what operators look for.

use crate::protocol::route::{Method, Route};
use crate::routing::ShardId;
use crate::time::{Mono, UnixMillis};
use std::collections::VecDeque;

/// Requests that one core keeps.
pub const KEPT: usize = 128;

/// The moments of one request, on the clock that all cores share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// Its head was complete.
    pub started: Mono,
    /// Its body was there as well.
    pub received: Mono,
    /// Its command was begun here or sent on.
    pub asked: Mono,
    /// Its outcome was here.
    pub back: Mono,
    /// How long the owner worked on it, in nanoseconds.
    pub shard_nanos: u64,
    /// Whether its answer goes out as fast as the peer takes it: it has a long value, or others before it.
    pub paced_by_peer: bool,
}

/// What the time of a request was spent on, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// From head to the end of the body.
    pub body: u64,
    /// From there to the command.
    pub queue: u64,
    /// On the way to the owner and back.
    pub lane: u64,
    /// At the owner.
    pub shard: u64,
    /// From outcome to answer.
    pub write: u64,
}

impl Moments {
    /// Of a request that was there, begun and done in the same moment.
    #[must_use]
    pub const fn at_once(now: Mono, paced_by_peer: bool) -> Self {
        Self { started: now, received: now, asked: now, back: now, shard_nanos: 0, paced_by_peer }
    }

    /// What the time was spent on if the answer was handed over at `ended`.
    #[must_use]
    pub fn spent(&self, ended: Mono) -> Spent {
        let away = self.back.nanos_since(self.asked);
        let shard = self.shard_nanos.min(away);
        Spent {
            body: self.received.nanos_since(self.started),
            queue: self.asked.nanos_since(self.received),
            lane: away - shard,
            shard,
            write: ended.nanos_since(self.back),
        }
    }

    /// The part of that for which the peer is not to blame, in nanoseconds.
    #[must_use]
    pub const fn ours(&self, spent: &Spent) -> u64 {
        spent.queue + spent.lane + spent.shard + if self.paced_by_peer { 0 } else { spent.write }
    }
}

/// What tells one request from others, kept only of those that may be slow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// The request's ID, as in its answer.
    pub request_id: String,
    /// The key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The shard that owns the key.
    pub shard: Option<ShardId>,
}

/// A request that took long.
#[derive(Clone, Debug)]
pub struct SlowRequest {
    /// When its answer was handed over.
    pub at: UnixMillis,
    /// Its method.
    pub method: Method,
    /// Its route.
    pub route: Route,
    /// The status of its answer.
    pub status: u16,
    /// What its time was spent on.
    pub spent: Spent,
    /// Which it was. `None` if it was not slow yet when its answer was ready: all its time was spent on writing.
    pub name: Option<Box<Name>>,
}

impl SlowRequest {
    /// How long it took, in nanoseconds.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.spent.body + self.spent.queue + self.spent.lane + self.spent.shard + self.spent.write
    }

    fn footprint(&self) -> u64 {
        let of_name =
            |name: &Name| size_of::<Name>() + name.request_id.capacity() + name.key.as_ref().map_or(0, Vec::capacity);
        (size_of::<Self>() + self.name.as_deref().map_or(0, of_name)) as u64
    }
}

/// The latest requests of a core that took as long as the limit or longer, at most [`KEPT`].
#[derive(Debug, Default)]
pub struct SlowLog {
    requests: VecDeque<SlowRequest>,
    footprint: u64,
}

impl SlowLog {
    /// Takes in a request; the oldest goes.
    pub fn add(&mut self, request: SlowRequest) {
        if self.requests.len() == KEPT
            && let Some(oldest) = self.requests.pop_front()
        {
            self.footprint -= oldest.footprint();
        }
        self.footprint += request.footprint();
        self.requests.push_back(request);
    }

    /// What it holds, oldest first.
    #[must_use]
    pub fn report(&self) -> Vec<SlowRequest> {
        self.requests.iter().cloned().collect()
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub const fn footprint(&self) -> u64 {
        self.footprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(status: u16, key: &str) -> SlowRequest {
        let name = Name { request_id: "id".into(), key: Some(key.into()), shard: Some(ShardId(1)) };
        let spent = Spent { body: 0, queue: 1, lane: 2, shard: 3, write: 4 };
        let (at, method, route) = (UnixMillis(7), Method::Get, Route::Kv);
        SlowRequest { at, method, route, status, spent, name: Some(Box::new(name)) }
    }

    #[test]
    fn the_parts_add_up_to_the_whole() {
        let at = Mono::from_nanos;
        let (started, received, asked, back) = (at(100), at(120), at(150), at(400));
        let moments = Moments { started, received, asked, back, shard_nanos: 30, paced_by_peer: false };
        let spent = moments.spent(at(1_000));
        assert_eq!(spent, Spent { body: 20, queue: 30, lane: 220, shard: 30, write: 600 });
        assert_eq!(moments.ours(&spent), 880);
        assert_eq!(Moments { paced_by_peer: true, ..moments }.ours(&spent), 280);
        // Two cores that read their clocks at the same instant may see each other's moments as one.
        let tight = Moments {
            started: at(5),
            received: at(5),
            asked: at(5),
            back: at(9),
            shard_nanos: 9,
            paced_by_peer: false,
        };
        assert_eq!(tight.spent(at(9)), Spent { body: 0, queue: 0, lane: 0, shard: 4, write: 0 });
    }

    #[test]
    fn the_oldest_goes_and_the_footprint_with_it() {
        let mut log = SlowLog::default();
        log.add(request(200, &"long".repeat(100)));
        let first = log.footprint();
        for _ in 0..KEPT {
            log.add(request(404, "k"));
        }
        let kept = log.report();
        assert_eq!(kept.len(), KEPT);
        assert!(kept.iter().all(|it| it.status == 404 && it.total() == 10));
        assert_eq!(log.footprint(), kept.iter().map(SlowRequest::footprint).sum::<u64>());
        assert!(first > 400);
    }
}
