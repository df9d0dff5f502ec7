//! A client of core 1 that asks for keys of core 1, one request after another, and what that core has counted meanwhile:
//! exactly what this client has asked for.

use crate::ground::Ground;
use crate::support::PATIENCE;
use crate::support::metrics::Metrics;
use cache_service::limits::{PING_MS, TICK_MS};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const KEYS: usize = 50;
const REQUESTS_OF_A_ROUND: u64 = 5;
const LONG_BYTES: usize = 10_000;

/// How far the bystander is.
#[derive(Debug, Default)]
pub struct Progress {
    rounds: AtomicU64,
    is_lost: AtomicBool,
    stop: AtomicBool,
}

impl Progress {
    /// Waits until it has been served for so many rounds more.
    ///
    /// # Panics
    /// If it was not.
    #[track_caller]
    pub fn is_served_for(&self, more: u64) {
        let (wanted, began) = (self.rounds.load(Ordering::Relaxed) + more, Instant::now());
        while self.rounds.load(Ordering::Relaxed) < wanted {
            assert!(!self.is_lost.load(Ordering::Relaxed), "the bystander has been failed: see above");
            assert!(began.elapsed() < PATIENCE * 6, "the bystander stands still: {self:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Rounds so far.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }
}

/// Ends the bystander, or tells of its end, whatever has happened.
struct Flag<'f>(&'f AtomicBool, bool);

impl Drop for Flag<'_> {
    fn drop(&mut self) {
        self.0.fetch_or(self.1 || thread::panicking(), Ordering::Relaxed);
    }
}

/// Runs `attack`, which is one of core 0 alone, beside the bystander, and holds what core 1 has counted against what it has asked.
#[track_caller]
pub fn beside_a_bystander(ground: &Ground, attack: impl FnOnce(&Progress)) {
    let keys: Vec<String> = (0..KEYS).map(|number| ground.key(1, &format!("bystander-{number}"))).collect();
    let long = ground.store(1, "bystander-long", LONG_BYTES);
    let rest = ground.rest();
    // Scrapes come through core 0.
    let scrape = || Metrics::scrape(ground.of_core(0));
    let (before, began) = (scrape(), Instant::now());
    let progress = Progress::default();
    thread::scope(|scope| {
        let stop = Flag(&progress.stop, true);
        scope.spawn(|| live(ground, &progress, &keys, &long));
        progress.is_served_for(20);
        attack(&progress);
        progress.is_served_for(20);
        drop(stop);
    });
    let (after, passed_ms) = (scrape(), began.elapsed().as_millis() as f64);
    let grown = |name: &str, shard: &str| {
        let of = |metrics: &Metrics| metrics.sum_where(name, &[("shard", shard)]);
        of(&after) - of(&before)
    };
    let asked = (progress.rounds() * REQUESTS_OF_A_ROUND) as f64;
    let wake_ups = grown("cache_wakeups_total", "1");
    println!("{asked} requests of the bystander, {wake_ups} wake-ups of its core, in {passed_ms} ms");
    assert_eq!((grown("cache_core_requests_total", "1"), grown("cache_local_operations_total", "1")), (asked, asked));
    assert_eq!(grown("cache_connections_accepted_total", "1"), 1.0);
    for none in [
        "cache_evictions_total",
        "cache_forwarded_requests_total",
        "cache_late_replies_total",
        "cache_receive_buffers_short_total",
        "cache_ring_overflows_total",
    ] {
        assert_eq!(grown(none, "1"), 0.0, "{none}");
    }
    let refused = |metrics: &Metrics| metrics.sum("cache_backpressure_total");
    assert_eq!(refused(&after) - refused(&before), 0.0);
    // Nothing that core 0 was flooded with has rung at core 1, but for the two scrapes.
    assert!(grown("cache_doorbells_total", "0") <= 2.0, "{}", grown("cache_doorbells_total", "0"));
    // It sleeps before each request at most once, and else for no longer than from one ping or tick to the next.
    let by_time = passed_ms / PING_MS as f64 + passed_ms / TICK_MS as f64;
    assert!(wake_ups <= asked + by_time + 20.0, "{wake_ups} wake-ups for {asked} requests in {passed_ms} ms");
    ground.assert_back_to(&rest);
}

fn live(ground: &Ground, progress: &Progress, keys: &[String], long: &str) {
    let _alarm = Flag(&progress.is_lost, false);
    let mut client = ground.client_of(1);
    for (number, key) in keys.iter().cycle().enumerate() {
        if progress.stop.load(Ordering::Relaxed) {
            return;
        }
        let value = number.to_string();
        client.put_value(key, &value).expect_status(201);
        assert_eq!(client.get(key).expect_status(200).member_text("value"), value);
        let answer = client.get_path(&format!("/v1/kv/{long}?raw=true")).expect_status(200);
        assert_eq!(answer.body, [b'x'; LONG_BYTES]);
        client.delete(key).expect_status(204);
        client.get(key).expect_status(404);
        progress.rounds.store(number as u64 + 1, Ordering::Relaxed);
    }
}
