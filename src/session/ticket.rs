//! What must be remembered of a request to write its answer.

use super::request_id::RequestId;
use crate::engine::parts::Answered;
use crate::protocol::answer::AnswerHead;
use crate::protocol::route::{Method, Route};
use crate::session::ConnId;
use crate::time::Mono;

/// A request that was read and is to be answered.
#[derive(Debug)]
pub struct Ticket {
    /// When its head was complete.
    pub started: Mono,
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

    /// What the metrics need to know once it is answered with `status`.
    #[must_use]
    pub const fn answered(&self, conn: ConnId, status: u16) -> Answered {
        Answered { conn, method: self.method, route: self.route, status, started: self.started }
    }
}
