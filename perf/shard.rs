//! What one shard does by itself, without sockets and cores: hit ratios on traces, and how long single operations take.
//!
//! `shard hit-ratio --trace FILE --entries N[,N…] [--policy lru|s3fifo]`: replays `time,object,…` lines (a file, gzip or
//! not): each request is a GET, and a PUT if that misses. The budget is chosen so that the shard holds N entries.
//!
//! `shard latency [--entries N] [--operations N] [--policy lru|s3fifo]`: fills a shard with N entries of a 16-byte key and
//! a 64-byte value, then mixes everything that a shard can be asked, with time passing, and prints a histogram of how
//! long an operation took: by the clock, and by the CPU time of this thread, which the other work of the machine does
//! not lengthen.

mod random;

use cache_service::blob::Blob;
use cache_service::command::{Command, Conditions, Outcome, Payload, Put, Value, ValueKind, Verb};
use cache_service::limits::{INLINE_VALUE_BYTES_MAX, RECEIVE_STEP_BYTES, TICK_MS};
use cache_service::routing::KeyHasher;
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};
use cache_service::time::{Mono, Now, Ttl};
use flate2::read::MultiGzDecoder;
use hdrhistogram::Histogram;
use random::Random;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1].as_str());
    let policy = option("--policy").unwrap_or_default();
    let policy = EvictionPolicy::ALL.into_iter().find(|it| it.name() == policy).unwrap_or_default();
    match arguments.first().map(String::as_str) {
        Some("hit-ratio") => {
            let requests = read_trace(option("--trace").ok_or("--trace is missing")?)?;
            for entries in option("--entries").ok_or("--entries is missing")?.split(',') {
                let entries = entries.parse()?;
                println!("{} {entries} {:.2}", policy.name(), hit_ratio(&requests, entries, policy) * 100.0);
            }
            Ok(())
        }
        Some("latency") => {
            let number = |name, default| option(name).map_or(Ok(default), str::parse);
            latency(number("--entries", 10_000_000)?, number("--operations", 20_000_000)?, policy);
            Ok(())
        }
        _ => Err("say hit-ratio or latency, see perf/README.md".into()),
    }
}

/// A shard with a clock of its own and keys that are numbers.
struct Bench {
    shard: Shard,
    hasher: KeyHasher,
    now: Now,
}

impl Bench {
    fn new(budget_bytes: u64, policy: EvictionPolicy) -> Self {
        let hasher = KeyHasher::new([3, 4]);
        let shard = Shard::new(ShardConfig { budget_bytes: Some(budget_bytes), first_version: 1, policy, hasher });
        Self { shard, hasher, now: Now::new(Mono::from_millis(1), 0) }
    }

    fn apply(&mut self, key: u64, verb: Verb<&[u8]>) -> Outcome<&[u8]> {
        let key = format!("{key:016x}");
        let hash = self.hasher.hash(key.as_bytes());
        self.shard.apply(self.now, Command { key: key.as_bytes(), hash, verb })
    }

    fn put(&mut self, key: u64, value: &[u8], ttl: Ttl) {
        let payload = if value.len() > INLINE_VALUE_BYTES_MAX {
            let mut blob = Blob::new();
            blob.extend_from_slice(value).expect("memory");
            Payload::Blob(blob)
        } else {
            Payload::Inline(value)
        };
        self.put_payload(key, payload, value.len() as u64, ttl);
    }

    fn put_payload(&mut self, key: u64, payload: Payload<&[u8]>, raw_len: u64, ttl: Ttl) {
        let (kind, media, conditions) = (ValueKind::Bytes, &b"application/octet-stream"[..], Conditions::default());
        self.apply(key, Verb::Put(Put { kind, payload, raw_len, media, ttl, conditions }));
    }

    /// Whether the key is there; counts as a use.
    fn get(&mut self, key: u64) -> bool {
        let lease = match self.apply(key, Verb::Get { unless: None, with_value: true }) {
            Outcome::Found { value: Value::Leased(lease), .. } => lease,
            outcome => return matches!(outcome, Outcome::Found { .. }),
        };
        self.shard.release(lease);
        true
    }
}

fn read_trace(path: &str) -> Result<Vec<u64>> {
    let mut file = BufReader::new(File::open(path)?);
    let is_packed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let text: Box<dyn Read> = if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let object = |line: String| line.split(',').nth(1).and_then(|field| field.trim().parse().ok());
    Ok(BufReader::new(text).lines().map_while(std::result::Result::ok).filter_map(object).collect())
}

/// Long enough for one entry to be much longer than what all share, short enough for many to fit into memory.
fn value_bytes(entries: u64) -> usize {
    if entries < 20_000 { 4_000 } else { 1_000 }
}

fn hit_ratio(requests: &[u64], entries: u64, policy: EvictionPolicy) -> f64 {
    let value = vec![7; value_bytes(entries)];
    let mut bench = Bench::new(budget_for(entries, policy), policy);
    let mut hits = 0;
    for (number, &object) in (1..).zip(requests) {
        bench.now = Now::new(Mono::from_nanos(number * 1_000_000), 0);
        if bench.get(object) {
            hits += 1;
        } else {
            bench.put(object, &value, Ttl::NONE);
        }
    }
    hits as f64 / requests.len() as f64
}

/// The budget at which a shard that evicts holds `entries` entries.
fn budget_for(entries: u64, policy: EvictionPolicy) -> u64 {
    let value = vec![7; value_bytes(entries)];
    let held = |budget_bytes| {
        let mut bench = Bench::new(budget_bytes, policy);
        (0..entries * 2).for_each(|key| bench.put(key, &value, Ttl::NONE));
        bench.shard.stats().entries
    };
    let (mut low, mut high) = (0, entries * value.len() as u64 * 2 + (8 << 20));
    while high - low > value.len() as u64 / 4 {
        let middle = u64::midpoint(low, high);
        if held(middle) < entries { low = middle } else { high = middle }
    }
    high
}

/// What took how long, in nanoseconds.
struct Durations {
    by_clock: Histogram<u64>,
    by_cpu: Histogram<u64>,
}

impl Durations {
    fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("a minute in three digits");
        Self { by_clock: histogram(), by_cpu: histogram() }
    }

    fn measure<T>(&mut self, what: impl FnOnce() -> T) -> T {
        let (began, cpu_began) = (Instant::now(), cpu_ns());
        let result = what();
        let (cpu, clock) = (cpu_ns() - cpu_began, began.elapsed().as_nanos());
        self.by_clock.saturating_record(u64::try_from(clock).unwrap_or(u64::MAX));
        self.by_cpu.saturating_record(cpu);
        result
    }

    fn print(&self, what: &str) {
        for (clock, histogram) in [("clock", &self.by_clock), ("CPU", &self.by_cpu)] {
            let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
            println!(
                "{what:>12} {clock:>5}: {:>9} operations, us: median {:.2}, 99 % {:.2}, 99.9 % {:.2}, 99.99 % {:.2}, \
                 99.999 % {:.2}, longest {:.1}",
                histogram.len(),
                micros(0.5),
                micros(0.99),
                micros(0.999),
                micros(0.9999),
                micros(0.99999),
                histogram.max() as f64 / 1_000.0,
            );
        }
    }
}

/// What this thread has used of a CPU, in nanoseconds.
fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec that the kernel fills in.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The budget has room for a tenth more entries: soon every write evicts.
fn latency(entries: u64, operations: u64, policy: EvictionPolicy) {
    let budget_bytes = entries * 120;
    let mut bench = Bench::new(budget_bytes, policy);
    let (mut random, mut durations, mut ticks) = (Random(1), Durations::new(), Durations::new());
    let value = vec![7; 64];
    let mut filling = Durations::new();
    for key in 0..entries {
        filling.measure(|| bench.put(key, &value, Ttl::NONE));
    }
    println!("{} entries, {} evictions after the fill", bench.shard.stats().entries, bench.shard.stats().evictions);
    filling.print("fill");
    let (mut next_key, mut next_tick_ms) = (entries, 0);
    for operation in 0..operations {
        // Some 200,000 operations a second.
        bench.now = Now::new(Mono::from_nanos((operation + 1) * 5_000), 0);
        if bench.now.mono().as_millis() >= next_tick_ms {
            let more = ticks.measure(|| bench.shard.tick(bench.now));
            next_tick_ms = bench.now.mono().as_millis() + if more { 0 } else { TICK_MS };
        }
        operate(&mut bench, &mut random, &mut durations, &mut next_key);
    }
    let stats = bench.shard.stats();
    println!(
        "{} entries at the end, {} evictions, {} expirations, {} MB of {} MB in use",
        stats.entries,
        stats.evictions,
        stats.expirations,
        stats.memory_bytes / 1_000_000,
        budget_bytes / 1_000_000
    );
    durations.print("operations");
    ticks.print("ticks");
}

fn operate(bench: &mut Bench, random: &mut Random, durations: &mut Durations, next_key: &mut u64) {
    let known = *next_key - random.below(*next_key).min(*next_key - 1) - 1;
    let fill = [7; INLINE_VALUE_BYTES_MAX];
    match random.below(100) {
        0..50 => drop(durations.measure(|| bench.get(known))),
        50..65 => {
            *next_key += 1;
            let (key, ttl) = (*next_key, Ttl::from_secs(random.below(60)).unwrap_or_default());
            durations.measure(|| bench.put(key, &fill[..64], ttl));
        }
        65..80 => durations.measure(|| bench.put(known, &fill[..64], Ttl::NONE)),
        80..95 => {
            let len = 30 + random.below(70) as usize;
            durations.measure(|| bench.put(known, &fill[..len], Ttl::NONE));
        }
        95..98 => drop(durations.measure(|| {
            let conditions = Conditions::default();
            matches!(bench.apply(known, Verb::Delete { conditions }), Outcome::Deleted)
        })),
        98 if random.below(20) == 0 => {
            let len = random.below(INLINE_VALUE_BYTES_MAX as u64) as usize;
            durations.measure(|| bench.put(known, &fill[..len], Ttl::NONE));
        }
        _ if random.below(1_000) == 0 => {
            let mut blob = Blob::new();
            (0..1 + random.below(16)).for_each(|_| blob.extend_from_slice(&fill).expect("memory"));
            blob.extend_from_slice(&fill[..100]).expect("memory");
            // As a core receives it: room is made step by step.
            let (len, now) = (blob.len(), bench.now);
            let steps = blob.footprint().div_ceil(RECEIVE_STEP_BYTES as u64);
            let step = |bench: &mut Bench| bench.shard.reserve(now, RECEIVE_STEP_BYTES as u64);
            let reserved = (0..steps).filter(|_| durations.measure(|| step(bench))).count();
            bench.shard.unreserve((reserved * RECEIVE_STEP_BYTES) as u64);
            durations.measure(|| bench.put_payload(known, Payload::Blob(blob), len, Ttl::NONE));
        }
        _ => drop(durations.measure(|| bench.get(known))),
    }
}
