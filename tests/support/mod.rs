//! What every integration test shares: the real server as a child process, a strict HTTP/1.1 client over plain
//! sockets, the scrape as a map, and a look into `/proc`.
//!
//! Nothing in here waits for a fixed time: [`eventually`] polls a condition until a generous bound, which is there to
//! end a test that hangs and never to measure anything.

// Each test binary uses its own part of these helpers.
#![allow(dead_code, unused_imports)]

pub mod client;
pub mod http;
pub mod metrics;
pub mod proc_fs;
pub mod server;

pub use client::{Client, TOKEN};
pub use http::{Answer, RawConnection};
pub use server::{Launch, Server};

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The first `Some` that `probe` gives, asked again and again.
///
/// # Panics
/// With `what` if there is none within [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "did not happen within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Polls until `probe` gives `expected`; the failure names the last value seen.
///
/// # Panics
/// If that does not happen within [`PATIENCE`].
#[track_caller]
pub fn eventually_equal<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, mut probe: impl FnMut() -> T) {
    let started = Instant::now();
    loop {
        let seen = probe();
        if seen == *expected {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: still {seen:?} after {PATIENCE:?}, expected {expected:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
