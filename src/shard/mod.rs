//! One shard: a single-threaded, deterministic cache that is asked with [`crate::command`]s and told the time.

pub mod stats;
