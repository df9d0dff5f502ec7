//! A core that hangs or dies takes the process with it; one that is merely late, or a process that slept, goes on.

use crate::support::Server;
use crate::tracer::Held;
use cache_service::limits::{HUNG_AFTER_PINGS, PING_MS};
use std::thread::sleep;
use std::time::Duration;

/// How long a core may be silent.
const PATIENCE_WITH_CORES: Duration = Duration::from_millis(HUNG_AFTER_PINGS * PING_MS);

/// `EX_SOFTWARE`.
const HUNG: i32 = 70;
const PANICKED: i32 = 101;

#[test]
fn a_core_that_hangs_ends_the_process_with_a_line_that_names_it() {
    let mut server = Server::with_shards(2);
    Held::stop(server.pid(), "core-1").wait_for_end(PATIENCE_WITH_CORES * 3);
    assert_eq!(server.wait().code(), Some(HUNG));
    let line = server.log_line("the watchdog's last words", |line| line.contains("does not answer"));
    assert!(line.contains("core 1") && line.contains("\"error\""), "{line}");
}

#[test]
fn a_core_that_was_silent_for_less_than_the_bound_goes_on() {
    let mut server = Server::with_shards(2);
    let held = Held::stop(server.pid(), "core-1");
    sleep(PATIENCE_WITH_CORES / 10);
    assert!(server.is_running());
    held.release();
    every_core_serves(&server);
}

#[test]
fn a_process_that_was_stopped_as_a_whole_for_longer_than_the_bound_goes_on() {
    let mut server = Server::with_shards(2);
    server.signal(libc::SIGSTOP);
    sleep(PATIENCE_WITH_CORES * 12 / 10);
    server.signal(libc::SIGCONT);
    every_core_serves(&server);
    // A watchdog that went by the clock would have ended it within a few pings.
    sleep(Duration::from_millis(20 * PING_MS));
    assert!(server.is_running());
    every_core_serves(&server);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_panic_on_a_core_ends_the_process_with_its_message() {
    let mut server = Server::with_shards(2);
    // Where the kernel refuses its ring, the pump panics on the core's own thread.
    Held::stop(server.pid(), "core-1").refuse_io_uring_until_it_ends();
    assert_eq!(server.wait().code(), Some(PANICKED));
    let line = server.log_line("the core's last words", |line| line.contains("core-1 died"));
    assert!(line.contains("panicked at"), "{line}");
}

/// Writes enough keys that every core has some, and scrapes, which asks every core.
#[track_caller]
fn every_core_serves(server: &Server) {
    let mut client = server.client();
    for n in 0..40 {
        let answer = client.put_value(&format!("key-{n}"), "1");
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }
    assert!(server.metrics().all("cache_entries_total").iter().all(|(_, entries)| *entries > 0.0));
}
