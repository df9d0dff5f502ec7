//! The memory budget against what the kernel says: `perf/memory` in small, with every answer asserted.

use crate::support::Server;
use crate::support::proc_fs::resident_bytes;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const BUDGET_BYTES: u64 = 48 << 20;
const ALLOWED_BYTES: u64 = BUDGET_BYTES * 21 / 20 + (24 << 20);
const CLIENTS: u64 = 4;
const SHARDS: u64 = 2;

/// Writes that follow each other.
struct Phase {
    name: &'static str,
    writes: u64,
    /// How many keys there are; each is written more than once if there are fewer than writes.
    keys: u64,
    bytes: std::ops::Range<u64>,
}

const PHASES: [Phase; 5] = [
    Phase { name: "new keys of 1 KiB", writes: 70_000, keys: u64::MAX, bytes: 1_024..1_025 },
    Phase { name: "new keys of 4 KiB", writes: 20_000, keys: u64::MAX, bytes: 4_096..4_097 },
    Phase { name: "overwrites of 1 to 8 KiB", writes: 30_000, keys: 8_000, bytes: 1_024..8_192 },
    Phase { name: "8 B to 1 MiB", writes: 400, keys: u64::MAX, bytes: 8..1 << 20 },
    Phase { name: "300 KiB", writes: 500, keys: u64::MAX, bytes: 300 << 10..(300 << 10) + 1 },
];

/// Spreads numbers (Steele, Lea and Flood, 2014).
fn scrambled(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

fn write(server: &Server, phase: &Phase, client: u64) {
    let mut connection = server.client();
    let value = vec![7; phase.bytes.end as usize];
    for number in (client..phase.writes).step_by(CLIENTS as usize) {
        let key = scrambled(number) % phase.keys;
        let span = phase.bytes.end - phase.bytes.start;
        let len = phase.bytes.start + scrambled(number ^ 0xabcd) % span;
        let answer = connection.put_bytes(&format!("{}-{key}", phase.name.len()), "x/y", &value[..len as usize]);
        assert!(matches!(answer.status, 200 | 201), "{}: {}", phase.name, answer.status);
    }
}

/// Runs the phase and returns the most that was resident meanwhile.
fn run(server: &Server, phase: &Phase) -> u64 {
    let (highest, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                highest.fetch_max(resident_bytes(server.pid()), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
        });
        let writers: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || write(server, phase, client))).collect();
        let results: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "{}: a writer failed", phase.name);
    });
    highest.into_inner()
}

fn assert_budget_is_obeyed_and_used(policy: &str) {
    let budget = BUDGET_BYTES.to_string();
    let server = Server::start(&[
        ("MEMORY_BUDGET_BYTES", &budget),
        ("SHARDS", &SHARDS.to_string()),
        ("EVICTION_POLICY", policy),
    ]);
    for phase in &PHASES {
        let highest = run(&server, phase);
        assert!(
            highest <= ALLOWED_BYTES,
            "{policy}, {}: {highest} bytes resident, {ALLOWED_BYTES} allowed",
            phase.name
        );
        let used = server.metrics().sum("cache_memory_bytes");
        let share = used / BUDGET_BYTES as f64;
        // The last one to go from a shard may have been as long as any.
        let at_least = 0.9 - (SHARDS * phase.bytes.end) as f64 / BUDGET_BYTES as f64;
        assert!((at_least..=1.0).contains(&share), "{policy}, {}: {share:.3} of the budget in use", phase.name);
    }
}

#[test]
fn resident_memory_keeps_to_the_budget_and_uses_it_with_s3_fifo() {
    assert_budget_is_obeyed_and_used("s3fifo");
}

#[test]
fn resident_memory_keeps_to_the_budget_and_uses_it_with_lru() {
    assert_budget_is_obeyed_and_used("lru");
}
