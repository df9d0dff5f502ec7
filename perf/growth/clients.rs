//! Who asks for what, at which core.

use cache_service::load::keyspace::{Distribution, Draw};
use cache_service::routing::{Router, ShardId};
use clap::ValueEnum;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use std::fmt::Write as _;

/// Keys of one batch.
pub const BATCH: u64 = 100;
/// What every write needs.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const VALUE: &str = r#"{"value":"a value of sixty-four bytes, the quotes on both sides included."}"#;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// GET, all keys alike
    Uniform,
    /// GET, the k-th key in proportion to 1 / k to the power of 0.99
    Zipf,
    /// Batch get of 100 keys, all alike
    Batch,
    /// GET, all keys alike, by clients that ask the owner
    Aware,
    /// GET, as with zipf, by clients that ask the owner
    AwareZipf,
}

impl Workload {
    const fn is_aware(self) -> bool {
        matches!(self, Self::Aware | Self::AwareZipf)
    }

    const fn distribution(self) -> Distribution {
        match self {
            Self::Zipf | Self::AwareZipf => Distribution::Zipf(0.99),
            Self::Uniform | Self::Batch | Self::Aware => Distribution::Uniform,
        }
    }

    /// How many keys a request names.
    pub const fn keys(self) -> u64 {
        if matches!(self, Self::Batch) { BATCH } else { 1 }
    }
}

/// How connections come to the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// The same number for each
    Even,
    /// As a hash of their addresses spreads them
    Random,
}

/// The clients of all cores, and all chance.
#[derive(Debug)]
pub struct Clients {
    workload: Workload,
    router: Router,
    draw: Draw,
    random: SmallRng,
    /// The core that each is connected to.
    homes: Vec<usize>,
}

impl Clients {
    /// So many of them, who draw from `keys` keys.
    pub fn new(workload: Workload, router: Router, count: usize, spread: Spread, keys: u64, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let cores = usize::from(router.shards());
        let mut home = |client: usize| match spread {
            Spread::Even => client % cores,
            Spread::Random => random.random_range(0..cores),
        };
        let homes = (0..count).map(&mut home).collect();
        let draw = Draw::new(workload.distribution(), keys).expect("there are keys, and the exponent is positive");
        Self { workload, router, draw, random, homes }
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.homes.len()
    }

    /// One of them.
    pub fn any(&mut self) -> usize {
        self.random.random_range(0..self.homes.len())
    }

    /// The time until the next of events that come at random, so many nanoseconds from each other on average.
    pub fn pause(&mut self, mean_ns: f64) -> u64 {
        let below_one: f64 = self.random.random();
        (-(1.0 - below_one).ln() * mean_ns) as u64
    }

    /// The next request of a client: the core that it reaches, and its bytes.
    pub fn request(&mut self, client: usize) -> (usize, String) {
        if self.workload == Workload::Batch {
            let keys: Vec<String> = (0..BATCH).map(|_| key(self.draw.next(&mut self.random))).collect();
            return (self.homes[client], write("POST", "/v1/kv/batch/get", &format!("{{\"keys\":{keys:?}}}")));
        }
        let key = key(self.draw.next(&mut self.random));
        let core = if self.workload.is_aware() { self.owner(&key).index() } else { self.homes[client] };
        (core, get(&key))
    }

    /// The bytes that ask for the key with this number.
    pub fn get(number: u64) -> String {
        get(&key(number))
    }

    fn owner(&self, key: &str) -> ShardId {
        self.router.owner(self.router.hash(key.as_bytes()))
    }

    /// The bytes that store the key with this number, and the core that owns it.
    pub fn store(&self, number: u64) -> (usize, String) {
        let key = key(number);
        (self.owner(&key).index(), write("PUT", &format!("/v1/kv/{key}"), VALUE))
    }
}

fn key(number: u64) -> String {
    let mut key = String::with_capacity(16);
    write!(key, "{number:016x}").expect("a string takes all that is written");
    key
}

fn get(key: &str) -> String {
    format!("GET /v1/kv/{key} HTTP/1.1\r\nHost: cache:8080\r\n\r\n")
}

fn write(method: &str, path: &str, body: &str) -> String {
    let len = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: cache\r\nX-API-Token: {TOKEN}\r\nContent-Length: {len}\r\n\r\n{body}")
}
