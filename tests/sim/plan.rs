//! What happens in a run, as data: every step is chosen before the first one is taken, and makes sense whichever others are
//! left out. A step that finds nothing to do does nothing.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub seed: u64,
    pub shape: Shape,
    pub steps: Vec<Step>,
}

/// How the world begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    pub cores: u16,
    pub lru: bool,
    pub rules: Rules,
    /// Parcels with commands that may wait at one core; more are refused.
    pub mailbox_max: usize,
    /// What the kernel keeps of a connection's answers, in bytes.
    pub socket_bytes: usize,
}

/// What a reload may change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    pub shard_budget: Option<u64>,
    pub inflight_max: usize,
    pub max_item_bytes: u64,
    pub request_timeout_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// A client makes up a request. Its bytes leave later.
    Ask {
        client: u8,
        ask: Ask,
    },
    /// So many bytes of what a client has to say reach its core.
    Send {
        client: u8,
        len: u32,
    },
    /// A client takes so many bytes that the kernel has for it.
    Hear {
        client: u8,
        len: u32,
    },
    /// A client says no more, but goes on to listen.
    HangUp {
        client: u8,
    },
    /// A client is gone, in the middle of whatever. The next thing it does goes to another core.
    Vanish {
        client: u8,
        next_core: u16,
    },
    /// Parcels from one of the lanes reach the core that they are for.
    Carry {
        pick: u16,
        most: u8,
    },
    /// Parcels that were carried out come back from one of the lanes.
    Bring {
        pick: u16,
        most: u8,
    },
    /// The next parcels for a core are refused.
    Fill {
        core: u16,
        parcels: u8,
    },
    /// Pages are written, not always the one that was asked for first.
    Page {
        pick: u16,
    },
    Pass {
        millis: u32,
    },
    /// A core gets no turn for so long.
    Pause {
        core: u16,
        millis: u32,
    },
    /// A core's clock is behind the others' by so much from now on: its turns begin early and end late.
    Lag {
        core: u16,
        millis: u8,
    },
    /// Every core is told of other rules, and follows them at its next turn.
    Reload {
        rules: Rules,
    },
    /// Every core is told to drain; nobody can connect any more.
    Drain,
}

/// A request. Keys are numbers; so are the values, which say in their bytes who wrote them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    Get {
        key: u8,
        form: Form,
        on: On,
    },
    Put {
        key: u8,
        value: Value,
        ttl_secs: u8,
        on: On,
        sent: Sent,
    },
    Delete {
        key: u8,
        on: On,
    },
    Incr {
        key: u8,
        delta: i8,
        ttl_secs: u8,
    },
    GetMany {
        keys: Vec<u8>,
    },
    SetMany {
        items: Vec<(u8, Value, u8)>,
    },
    DeleteMany {
        keys: Vec<u8>,
    },
    /// One of the pages of the whole server.
    Page {
        number: u8,
    },
    /// A request that must be refused, whatever the server holds.
    Wrong {
        number: u8,
        key: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    Json,
    Raw,
    Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Text(u32),
    Bytes(u32),
    Number(i32),
}

/// The condition of a request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum On {
    Always,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: *`
    There,
    /// `If-Match` with the version that the client has heard of last.
    Known,
    /// `If-None-Match` with that version.
    NotKnown,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Sent {
    Length,
    Chunked,
    /// With `Expect: 100-continue`, which this client does not wait for.
    Expecting,
}

impl Plan {
    /// One line for the shape, one for each step.
    pub fn text(&self) -> String {
        let json = |result: serde_json::Result<String>| result.expect("a plan is plain data");
        let mut text = json(serde_json::to_string(&(self.seed, &self.shape)));
        for step in &self.steps {
            write!(text, "\n{}", json(serde_json::to_string(step))).expect("memory suffices");
        }
        text + "\n"
    }

    /// Whether there is nothing in it for which a request on a key could be refused.
    pub fn is_gentle(&self) -> bool {
        let is_trouble = |step: &Step| {
            matches!(step, Step::Fill { .. } | Step::Pause { .. } | Step::Reload { .. } | Step::Drain)
                || matches!(step, Step::Pass { millis } if *millis > 100)
        };
        let Rules { shard_budget, inflight_max, request_timeout_ms, .. } = self.shape.rules;
        let is_ample = shard_budget.is_none() && inflight_max >= 1_000 && self.shape.mailbox_max >= 4_096;
        is_ample && request_timeout_ms >= 3_600_000 && !self.steps.iter().any(is_trouble)
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |line: usize, error: &serde_json::Error| format!("line {}: {error}", line + 1);
        let mut lines = text.lines().enumerate();
        let (_, first) = lines.next().ok_or("an empty plan")?;
        let (seed, shape) = serde_json::from_str(first).map_err(|error| wrong(0, &error))?;
        let step = |(n, line): (usize, &str)| serde_json::from_str(line).map_err(|error| wrong(n, &error));
        Ok(Self { seed, shape, steps: lines.map(step).collect::<Result<_, _>>()? })
    }
}

impl Ask {
    /// The keys that it is about.
    pub fn keys(&self) -> Vec<u8> {
        match self {
            Self::Get { key, .. } | Self::Put { key, .. } | Self::Delete { key, .. } | Self::Incr { key, .. } => {
                vec![*key]
            }
            Self::GetMany { keys } | Self::DeleteMany { keys } => keys.clone(),
            Self::SetMany { items } => items.iter().map(|(key, ..)| *key).collect(),
            Self::Page { .. } | Self::Wrong { .. } => Vec::new(),
        }
    }
}

impl Step {
    /// Whose step it is, if it is a client's.
    pub const fn client(&self) -> Option<u8> {
        match self {
            Self::Ask { client, .. }
            | Self::Send { client, .. }
            | Self::Hear { client, .. }
            | Self::HangUp { client }
            | Self::Vanish { client, .. } => Some(*client),
            _ => None,
        }
    }
}
