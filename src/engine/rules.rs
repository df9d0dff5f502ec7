//! What a core goes by.

use crate::metrics::ProcessFacts;
use crate::protocol::auth::Tokens;

/// The rules of one core, from the configuration; what is a limit of the whole process there is this core's share here.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may write, and read if `read_requires_auth`.
    pub tokens: Tokens,
    /// Whether reads need a token as well.
    pub read_requires_auth: bool,
    /// Longest value, in bytes.
    pub max_item_bytes: u64,
    /// Longest time in a lane, and longest silence within a body, in milliseconds.
    pub request_timeout_ms: u64,
    /// Longest silence between requests, and of a peer that does not read its answers, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Longest time for a request head to arrive, in milliseconds.
    pub header_timeout_ms: u64,
    /// A request that takes this long or longer goes to the slow log, in milliseconds.
    pub slow_request_ms: u64,
    /// How stale gauges that are averages may be, in milliseconds.
    pub metrics_interval_ms: u64,
    /// Requests in progress at this core.
    pub inflight_max: usize,
    /// Connections open in the whole process; the runtime counts them over all cores.
    pub connections_max: usize,
    /// The facts of the whole process that a scrape shows; its `stats` are read anew each time.
    pub process: ProcessFacts,
}

/// What a core goes by: its settings, and its shard's part of the memory budget.
#[derive(Clone, Debug)]
pub struct Rules {
    /// See [`Settings`].
    pub settings: Settings,
    /// In bytes; `None`: unlimited.
    pub budget_bytes: Option<u64>,
}
