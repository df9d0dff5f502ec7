//! The codes of errors, and their statuses.

use crate::command::Refusal;

/// What went wrong, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request makes no sense.
    BadRequest,
    /// No token, or a wrong one.
    Unauthorized,
    /// No such key or path.
    NotFound,
    /// The path is known, but not with this method.
    MethodNotAllowed,
    /// The request did not come in time.
    RequestTimeout,
    /// A condition does not hold.
    Conflict,
    /// The value or the body is too large.
    PayloadTooLarge,
    /// A mistake of the server.
    Internal,
    /// The server cannot take this now.
    ServiceUnavailable,
}

impl ErrorCode {
    /// All codes, in the order of their statuses.
    pub const ALL: [Self; 9] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::PayloadTooLarge,
        Self::Internal,
        Self::ServiceUnavailable,
    ];

    /// The name in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "BAD_REQUEST",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::RequestTimeout => "REQUEST_TIMEOUT",
            Self::Conflict => "CONFLICT",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::Internal => "INTERNAL",
            Self::ServiceUnavailable => "SERVICE_UNAVAILABLE",
        }
    }

    /// The status that it is answered with, unless a more special one says the same.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::Conflict => 409,
            Self::PayloadTooLarge => 413,
            Self::Internal => 500,
            Self::ServiceUnavailable => 503,
        }
    }

    /// The code that belongs to a status of an error; 431 and other 4xx without a code of their own are bad requests.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthorized,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            408 => Self::RequestTimeout,
            409 => Self::Conflict,
            413 => Self::PayloadTooLarge,
            503 => Self::ServiceUnavailable,
            400..=499 => Self::BadRequest,
            _ => Self::Internal,
        }
    }

    /// The code for what a shard did not want to do.
    #[must_use]
    pub const fn of_refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotANumber | Refusal::Overflow => Self::BadRequest,
            Refusal::OverBudget => Self::PayloadTooLarge,
            Refusal::NoRoom | Refusal::TooLate | Refusal::Busy => Self::ServiceUnavailable,
        }
    }
}
