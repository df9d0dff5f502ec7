//! `cache-service`: an in-memory cache spoken to over plain HTTP/1.1; one pinned core, one shard, one listener each.

pub mod blob;
pub mod cli;
pub mod command;
pub mod config;
pub mod engine;
pub mod forward;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod parcel;
pub mod process_stats;
pub mod protocol;
pub mod routing;
pub mod runtime;
pub mod session;
pub mod shard;
pub mod site;
pub mod time;
