//! What a run is to do.

use super::keyspace::{Distribution, Keyspace};
use std::time::Duration;

/// Most connections of a run: each has a thread.
pub const CONNECTIONS_MAX: usize = 1024;
/// Longest value that is written, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a run is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Connections, each with a request at a time.
    pub connections: usize,
    /// How long requests are sent.
    pub duration: Duration,
    /// Requests per second in all of an open loop; `None` is a closed loop.
    pub rate: Option<f64>,
    /// The keys that are asked for.
    pub keys: Keyspace,
    /// Which of them how often.
    pub distribution: Distribution,
    /// How many of the requests are reads, from 0 to 1.
    pub read_share: f64,
    /// How long values live; `None` is for ever.
    pub ttl_sec: Option<u32>,
    /// What the draws of all connections follow from.
    pub seed: u64,
    /// Longest that an answer may take.
    pub timeout: Duration,
}
