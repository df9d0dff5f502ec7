//! What must be remembered of a request to write its answer.

use super::request_id::RequestId;
use crate::engine::parts::Answered;
use crate::insight::slow_log::{Moments, Name};
use crate::protocol::answer::AnswerHead;
use crate::protocol::route::{Method, Route};
use crate::routing::ShardId;
use crate::session::ConnId;
use crate::time::Mono;

/// A request that was read and is to be answered.
#[derive(Debug)]
pub struct Ticket {
    /// When its head was complete.
    pub started: Mono,
    /// When its body was there as well.
    pub received: Mono,
    /// When its command was begun or sent on, if it got that far.
    pub asked: Option<Mono>,
    /// Its method.
    pub method: Method,
    /// Its route.
    pub route: Route,
    /// Whether it came as HTTP/1.1, or as 1.0.
    pub http11: bool,
    /// Whether the connection goes on after the answer.
    pub keep_alive: bool,
    /// Its name.
    pub id: RequestId,
    /// `includeMeta=true`.
    pub include_meta: bool,
    /// The value itself is wanted as the body.
    pub raw: bool,
    /// `If-Match` as the client wrote it, for the answer to a conflict.
    pub expected: Option<String>,
}

impl Ticket {
    /// The head of its answer, dated `date`.
    #[must_use]
    pub fn head<'a>(&'a self, date: &'a [u8; 29]) -> AnswerHead<'a> {
        AnswerHead {
            request_id: self.id.text(),
            date,
            http11: self.http11,
            keep_alive: self.keep_alive,
            head_only: self.method == Method::Head,
        }
    }

    /// What the metrics need to know once it is answered with `status`, of which the outcome was there at `back`.
    #[must_use]
    pub fn answered(&self, conn: ConnId, status: u16, back: Mono) -> Answered {
        let (started, asked) = (self.started, self.asked.unwrap_or(back));
        let moments = Moments { started, received: self.received, asked, back, shard_nanos: 0, paced_by_peer: false };
        Answered { times: 1, conn, method: self.method, route: self.route, status, moments, name: None }
    }

    /// The same for a command on `key`, on which `shard` has worked for `shard_nanos`. Names the request if it has taken
    /// `worth_naming_nanos` already, or if its answer will take time.
    #[must_use]
    pub fn answered_by_shard(&self, done: &Done<'_>, conn: ConnId, status: u16, back: Mono) -> Answered {
        let mut answered = self.answered(conn, status, back);
        answered.moments.shard_nanos = done.shard_nanos;
        if done.is_streamed || back.nanos_since(self.received) >= done.worth_naming_nanos {
            let (request_id, shard) = (self.id.to_string(), Some(done.shard));
            answered.name = Some(Box::new(Name { request_id, key: done.key.map(<[u8]>::to_vec), shard }));
        }
        answered
    }
}

/// What a shard has done for a request.
#[derive(Clone, Copy, Debug)]
pub struct Done<'k> {
    /// The key, if it was one.
    pub key: Option<&'k [u8]>,
    /// The shard; one of them for a batch.
    pub shard: ShardId,
    /// How long it worked, in nanoseconds; for a batch the longest of all.
    pub shard_nanos: u64,
    /// Whether the answer has a long value, which goes out piece by piece.
    pub is_streamed: bool,
    /// See [`crate::engine::parts::Parts::worth_naming_nanos`].
    pub worth_naming_nanos: u64,
}
