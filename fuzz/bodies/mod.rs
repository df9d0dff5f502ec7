//! What is fuzzed: functions that take bytes and panic where a promise is broken.
//!
//! cargo-fuzz calls them from `fuzz_targets`, where it sees which bytes lead to new code. `cargo test --test fuzz`
//! calls the same functions with the kept corpus and with mutations of it, on the stable toolchain.

mod config;
mod fields;
mod framing;
mod json;
mod requests;
mod session;
mod shard;
mod tape;
mod target;

/// A function that is fuzzed.
#[derive(Clone, Copy)]
pub struct Body {
    /// Its name, and that of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Takes one input; panics if it breaks a promise.
    pub run: fn(&[u8]),
}

/// Request bytes, cut anywhere, through the engine of one core and of two.
pub const SESSION: Body = Body { name: "session", run: session::run };
/// Heads and chunked bodies, beside the parser of a proxy.
pub const FRAMING: Body = Body { name: "framing", run: framing::run };
/// Bodies of JSON, beside `serde_json`.
pub const JSON: Body = Body { name: "json", run: json::run };
/// Paths, keys and queries.
pub const TARGET: Body = Body { name: "target", run: target::run };
/// The values of single fields, and the chunked coding.
pub const FIELDS: Body = Body { name: "fields", run: fields::run };
/// Configuration, environment and token files.
pub const CONFIG: Body = Body { name: "config", run: config::run };
/// Commands on a shard, beside the model of `tests/model`.
pub const SHARD: Body = Body { name: "shard", run: shard::run };
