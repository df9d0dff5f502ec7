//! What clients asked for and what they were told, one event for each operation on one key.

use std::fmt;
use std::sync::Arc;

/// The end of an operation of which nobody knows whether it took place: it may do so at any later time.
pub const NEVER: u64 = u64::MAX;

/// A version, as the server words it.
pub type Version = Arc<str>;

/// What a write asks of the entry that it finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// `If-Match: *`
    Exists,
    /// `If-None-Match: *`
    Missing,
    /// `If-Match: VERSION`
    Matches(Version),
    /// `If-None-Match: VERSION`
    Differs(Version),
}

impl Condition {
    /// Whether it holds for an entry with this version, or for no entry.
    pub fn holds_for(&self, entry: Option<&Version>) -> bool {
        match self {
            Self::Always => true,
            Self::Exists => entry.is_some(),
            Self::Missing => entry.is_none(),
            Self::Matches(version) => entry == Some(version),
            Self::Differs(version) => entry != Some(version),
        }
    }
}

/// What was asked for. Lifetimes are in seconds.
#[derive(Clone, Debug)]
pub enum Action {
    Get { unless: Option<Version> },
    Put { value: i64, ttl_secs: Option<u64>, condition: Condition },
    Delete { condition: Condition },
    Incr { delta: i64, ttl_secs: Option<u64> },
}

impl Action {
    /// Whether it may change anything.
    pub const fn writes(&self) -> bool {
        !matches!(self, Self::Get { .. })
    }
}

/// What was answered.
#[derive(Clone, Debug)]
pub enum Answer {
    Hit {
        value: i64,
        version: Version,
    },
    NotModified {
        version: Version,
    },
    Missing,
    Written {
        created: bool,
        version: Version,
    },
    Conflict {
        actual: Option<Version>,
    },
    Deleted,
    Counted {
        value: i64,
        version: Version,
    },
    /// An error with this status: it must have changed nothing.
    Refused(u16),
    /// The client went away in the middle of its request, or the server said that it would not read as far as that: it
    /// must have changed nothing.
    Cut,
    /// The client went away, or was left, before the answer.
    Unknown,
}

/// One operation on one key. Times are nanoseconds of one monotonic clock since the run began.
#[derive(Clone, Debug)]
pub struct Event {
    pub key: String,
    pub client: usize,
    pub call: u64,
    pub end: u64,
    pub action: Action,
    pub answer: Answer,
}

impl Event {
    /// The version that the entry was found at, if that is all that happened.
    pub const fn only_sees(&self) -> Option<&Version> {
        match &self.answer {
            Answer::Hit { version, .. }
            | Answer::NotModified { version }
            | Answer::Conflict { actual: Some(version) } => Some(version),
            _ => None,
        }
    }

    /// Whether the answer is wrong whatever has happened to the key: it does not follow from what it says itself.
    pub fn contradicts_itself(&self) -> bool {
        match (&self.action, &self.answer) {
            (Action::Get { unless }, Answer::Hit { version, .. }) => unless.as_ref() == Some(version),
            (Action::Get { unless }, Answer::NotModified { version }) => unless.as_ref() != Some(version),
            (Action::Put { condition, .. } | Action::Delete { condition }, Answer::Conflict { actual }) => {
                condition.holds_for(actual.as_ref())
            }
            _ => false,
        }
    }

    /// Whether it can say anything of the key, or change it.
    pub const fn counts(&self) -> bool {
        match self.answer {
            Answer::Refused(_) | Answer::Cut => false,
            Answer::Unknown => self.action.writes(),
            _ => true,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => Ok(()),
            Self::Exists => write!(f, " if it exists"),
            Self::Missing => write!(f, " if it is missing"),
            Self::Matches(version) => write!(f, " if at {version}"),
            Self::Differs(version) => write!(f, " if not at {version}"),
        }
    }
}

fn lifetime(ttl_secs: Option<u64>) -> String {
    ttl_secs.map(|secs| format!(" for {secs} s")).unwrap_or_default()
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get { unless: None } => write!(f, "get"),
            Self::Get { unless: Some(version) } => write!(f, "get unless at {version}"),
            Self::Put { value, ttl_secs, condition } => write!(f, "put {value}{}{condition}", lifetime(*ttl_secs)),
            Self::Delete { condition } => write!(f, "delete{condition}"),
            Self::Incr { delta, ttl_secs } => write!(f, "add {delta}{}", lifetime(*ttl_secs)),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit { value, version } => write!(f, "is {value} at {version}"),
            Self::NotModified { version } => write!(f, "still at {version}"),
            Self::Missing => write!(f, "missing"),
            Self::Written { created: true, version } => write!(f, "created at {version}"),
            Self::Written { created: false, version } => write!(f, "updated at {version}"),
            Self::Conflict { actual: Some(version) } => write!(f, "conflict, it is at {version}"),
            Self::Conflict { actual: None } => write!(f, "conflict, it is missing"),
            Self::Deleted => write!(f, "deleted"),
            Self::Counted { value, version } => write!(f, "makes {value} at {version}"),
            Self::Refused(status) => write!(f, "refused, {status}"),
            Self::Cut => write!(f, "never read to its end"),
            Self::Unknown => write!(f, "nobody knows"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |nanos: u64| nanos as f64 / 1e6;
        let end = if self.end == NEVER { "…".to_owned() } else { format!("{:.3}", millis(self.end)) };
        let Self { client, action, answer, .. } = self;
        write!(f, "{:>12.3} {end:>12}  client {client:<3} {action}: {answer}", millis(self.call))
    }
}
