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

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
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

/// The first of so many ports in a row, up to 16, that nobody has and that the kernel gives to nobody by itself. No two
/// calls of a process find the same, and hardly those of two processes.
///
/// # Panics
/// If there are none.
#[track_caller]
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let stretches = (12_000..32_000).step_by(16).cycle().skip(std::process::id() as usize * 7 % 1_000);
    let mut stretches = stretches.skip(NEXT.fetch_add(1, Ordering::Relaxed).into()).take(1_000);
    let is_free = |from: &u16| (*from..from + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    stretches.find(is_free).expect("some ports are free")
}
