//! What a core goes by where nobody has configured anything: for tests, measurements and fuzzing. The server resolves a
//! configuration.

use super::resolve::{connections_by_default, parse_bytes};
use super::settings::{self, Setting};
use crate::engine::rules::Settings;
use crate::metrics::ProcessFacts;
use crate::protocol::auth::Tokens;

impl Default for Settings {
    /// The defaults of the table for the only core of a process, on a machine that tells no limit of open files. No token is
    /// known: nobody may write.
    fn default() -> Self {
        Self {
            tokens: Tokens::default(),
            read_requires_auth: text(&settings::READ_REQUIRES_AUTH) == "true",
            max_item_bytes: number(&settings::MAX_ITEM_BYTES),
            request_timeout_ms: number(&settings::REQUEST_TIMEOUT_MS),
            idle_timeout_ms: number(&settings::IDLE_TIMEOUT_MS),
            header_timeout_ms: number(&settings::HEADER_TIMEOUT_MS),
            slow_request_ms: number(&settings::SLOW_REQUEST_MS),
            metrics_interval_ms: number(&settings::METRICS_INTERVAL_MS),
            inflight_max: number(&settings::MAX_INFLIGHT) as usize,
            connections_max: connections_by_default(None) as usize,
            process: ProcessFacts::default(),
        }
    }
}

fn text(setting: &Setting) -> &'static str {
    let settings::Default::Value(text) = setting.default else { panic!("{} has no fixed default", setting.name) };
    text
}

fn number(setting: &Setting) -> u64 {
    parse_bytes(text(setting)).expect("the default of a number is one")
}
