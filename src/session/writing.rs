//! From outcomes and refusals to answers.

use super::ConnId;
use super::stream::Stream;
use super::ticket::Ticket;
use crate::command::{LeaseId, Outcome, Refusal, Value};
use crate::metrics::BackpressureReason;
use crate::protocol::answer::{self, AnswerHead, ErrorCode, Form, Found, Tail};
use crate::protocol::auth::AuthFailure;
use crate::protocol::body::BodyError;
use crate::protocol::chunked::ChunkError;
use crate::protocol::conditions::ConditionError;
use crate::protocol::head::HeadError;
use crate::protocol::media::MediaError;
use crate::protocol::target::{KeyError, QueryError};
use crate::routing::ShardId;
use std::borrow::Cow;

/// Why a request is not done, in the words of the answer.
#[derive(Clone, Debug)]
pub struct Failure {
    code: ErrorCode,
    status: u16,
    message: Cow<'static, str>,
    allow: Option<&'static str>,
}

impl Failure {
    fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status: code.status(), message: message.into(), allow: None }
    }

    fn of_status(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: ErrorCode::of_status(status), status, message: message.into(), allow: None }
    }

    /// The status of the answer.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Not a request.
    pub fn head(error: HeadError) -> Self {
        Self::of_status(error.status(), error.to_string())
    }

    /// Not a chunked body.
    pub fn chunked(error: ChunkError) -> Self {
        Self::of_status(400, error.to_string())
    }

    /// The peer took too long.
    pub fn timeout(why: &'static str) -> Self {
        Self::new(ErrorCode::RequestTimeout, why)
    }

    /// No resource of ours.
    pub fn no_such_path() -> Self {
        Self::new(ErrorCode::NotFound, "there is nothing at this path; see /docs, /dashboard or /openapi.json")
    }

    /// Not a method of this resource, which knows those in `allow`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let message = "this path does not know the method";
        Self { allow: Some(allow), ..Self::new(ErrorCode::MethodNotAllowed, message) }
    }

    /// No token, or none of ours.
    pub fn unauthorized(reason: AuthFailure) -> Self {
        Self::new(ErrorCode::Unauthorized, reason.to_string())
    }

    /// The body is longer than `limit` bytes.
    pub fn too_large(limit: u64) -> Self {
        Self::new(ErrorCode::PayloadTooLarge, format!("the body is longer than the {limit} bytes allowed here"))
    }

    /// Not now.
    pub fn unavailable(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::ServiceUnavailable, why)
    }

    /// A queue is full.
    pub fn backpressure(reason: BackpressureReason) -> Self {
        Self::unavailable(match reason {
            BackpressureReason::LaneFull => Refusal::Busy.message(),
            _ => "as many requests, or bodies, as this core's part of MAX_INFLIGHT allows are in progress",
        })
    }

    /// Writes the answer.
    pub fn write(&self, out: &mut Vec<u8>, head: &AnswerHead<'_>) {
        let (code, status, allow) = (self.code, self.status, self.allow);
        answer::error(out, head, &answer::Failure { code, status, message: &self.message, allow });
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(ErrorCode::of_refusal(refusal), refusal.message())
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Self::of_status(error.status(), error.to_string())
    }
}

macro_rules! bad_request_from {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of_status(400, error.to_string())
            }
        })+
    };
}
bad_request_from!(KeyError, QueryError, ConditionError, MediaError);

/// A leased value that must follow what was written.
#[derive(Debug)]
pub struct LeasedTail {
    lease: LeaseId,
    tail: Tail,
}

impl LeasedTail {
    /// The value of `outcome`, of which `tail` is left to write, if it is leased.
    pub fn new(value: Value<&[u8]>, tail: Option<Tail>) -> Option<Self> {
        match (value, tail) {
            (Value::Leased(lease), Some(tail)) => Some(Self { lease, tail }),
            _ => None,
        }
    }

    /// The stream of it on `conn`, from the shard `owner`.
    pub fn stream(self, conn: ConnId, owner: ShardId) -> Stream {
        Stream::new(conn, owner, self.lease, self.tail)
    }
}

/// An answer that was written, as far as its bytes were there.
#[derive(Debug)]
pub struct Written {
    /// Its status.
    pub status: u16,
    /// What must follow.
    pub tail: Option<LeasedTail>,
}

impl Ticket {
    /// Writes the answer to a command on `key`.
    pub fn write_outcome(&self, out: &mut Vec<u8>, date: &[u8; 29], key: &[u8], outcome: &Outcome<&[u8]>) -> Written {
        let head = self.head(date);
        let status = match outcome {
            Outcome::Found { meta, media, value } => {
                let form = if self.raw { Form::Raw } else { Form::Json { include_meta: self.include_meta } };
                let tail = answer::found(out, &head, &Found { meta, media, value }, form);
                return Written { status: 200, tail: LeasedTail::new(*value, tail) };
            }
            Outcome::NotModified { version } => {
                answer::not_modified(out, &head, *version);
                304
            }
            Outcome::Written { created, version, expires_at } => {
                answer::written(out, &head, *created, *version, *expires_at);
                if *created { 201 } else { 200 }
            }
            Outcome::Deleted => {
                answer::deleted(out, &head);
                204
            }
            Outcome::Conflict { actual } => {
                answer::conflict(out, &head, key, self.expected.as_deref(), *actual);
                409
            }
            Outcome::Counted { value, version } => {
                answer::counted(out, &head, value, *version);
                200
            }
            Outcome::Missing => no_such_key(out, &head),
            Outcome::Refused(refusal) => return fail(out, &head, &Failure::from(*refusal)),
        };
        Written { status, tail: None }
    }
}

/// Writes the answer to who asks for a key that is not there; returns its status.
pub fn no_such_key(out: &mut Vec<u8>, head: &AnswerHead<'_>) -> u16 {
    fail(out, head, &Failure::new(ErrorCode::NotFound, "there is no such key")).status
}

fn fail(out: &mut Vec<u8>, head: &AnswerHead<'_>, failure: &Failure) -> Written {
    failure.write(out, head);
    Written { status: failure.status(), tail: None }
}
