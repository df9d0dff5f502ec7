//! Engines driven step by step: each test holds the lanes, the clock and the peers in its own hands.
//!
//! One file per topic; every test here is of something that once went wrong, or would go unseen if it did.

mod allocator;
mod batches;
mod bystanders;
mod bytes;
mod cores;
mod draining;
mod in_flight;
mod lagging;
mod leases;
mod lent;
mod memory;
mod mistakes;
mod parking;
mod plain;
mod questions;
mod surveys;
mod throttling;
mod timeouts;
