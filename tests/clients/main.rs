//! Clients, a browser and proxies that people use, against the real server.
//!
//! They are packages of Debian and of Python; `scripts/install-test-tools` brings those that are missing.

#[path = "../support/mod.rs"]
mod support;

mod large_transfers;
mod mixed_load;
mod probes;
mod proxies;
mod reader;
mod scripts;
mod smuggling;
mod tools;
mod worker;
