//! A client for trying out a running server: `load-smoke` asks whether it keeps its contract, `stress` how much it
//! bears.
//!
//! ```text
//! Plan --run--> one thread and one connection for each Worker --Tally--> Outcome --Criteria--> Report
//! ```
//!
//! Every value follows from its key ([`keyspace`]), so that an answer is known to be right without being remembered. A
//! closed loop sends when the last answer is there; an open loop sends when its [`schedule`] says so and measures from
//! that moment, so that requests which had to wait for the server count with their waiting.

pub mod bulk;
pub mod connection;
pub mod contract;
pub mod criteria;
pub mod keyspace;
pub mod peer;
pub mod plan;
pub mod progress;
pub mod report;
pub mod run;
pub mod schedule;
pub mod tally;
mod worker;

pub use criteria::Criteria;
pub use keyspace::{Distribution, Keyspace};
pub use peer::{Peer, Url};
pub use plan::Plan;
pub use report::Report;
