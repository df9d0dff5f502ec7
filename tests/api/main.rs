//! The HTTP contract, behaviour by behaviour, against the real server.

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod batch;
mod budget;
mod conditions;
mod dashboard_page;
mod description;
mod docs_page;
mod errors;
mod expect_and_chunked;
mod framing;
mod framing_cases;
mod hygiene;
mod incr;
mod insight;
mod lifecycle;
mod limits;
mod memory;
mod pipelining;
mod placement;
mod raw_values;
mod reload;
mod spread;
mod start_errors;
mod topology;
mod ttl;
mod values;
