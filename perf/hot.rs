//! What the engine itself costs a request: no sockets, no clocks but for what it reads itself, one thread.
//!
//! `hot get|pipelined|put|create|mixed|batch|foreign|missing|long [--keys K] [--bursts N]` fills an engine (two for
//! `foreign`) with K keys (100,000 if nothing is said) of 64-byte values, then sends N bursts of requests for keys
//! drawn alike (by Zipf's law for `mixed`), and prints how long one took, in nanoseconds: at the median of all
//! bursts, and at the tenth of them. Wake-ups are as those of a core with 64 busy connections. For counts of
//! instructions run it under `valgrind --tool=callgrind --toggle-collect='*burst*'`.

use cache_service::engine::Engine;
use cache_service::engine::host::{Host, Notice};
use cache_service::engine::parts::Parts;
use cache_service::engine::rules::Settings;
use cache_service::parcel::Parcel;
use cache_service::protocol::auth::Tokens;
use cache_service::routing::{Router, ShardId};
use cache_service::session::ConnId;
use cache_service::session::request_id::RequestIds;
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};
use cache_service::time::{Mono, Now};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

const CONNECTIONS: usize = 64;
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const VALUE_BYTES: usize = 64;
const LONG_BYTES: usize = 1 << 20;
const PIPELINED: usize = 16;
const BATCH_KEYS: usize = 100;
const BURSTS_A_TICK: usize = 512;

/// The world of an engine in one thread: parcels wait here until they are carried over.
#[expect(clippy::vec_box, reason = "a parcel travels as its box")]
struct World {
    /// Time passes by a microsecond a request, so that every run does the same.
    now_nanos: u64,
    requests: Vec<Box<Parcel>>,
    replies: Vec<Box<Parcel>>,
}

impl Host for World {
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        self.requests.push(parcel);
        Ok(())
    }

    fn reply(&mut self, parcel: Box<Parcel>) {
        self.replies.push(parcel);
    }

    fn notice(&mut self, _notice: Notice) {}

    fn moment(&self) -> Option<Mono> {
        // It takes as long as it takes to look at the clock.
        black_box(Instant::now());
        Some(self.now().mono())
    }
}

impl World {
    fn now(&self) -> Now {
        Now::new(Mono::from_nanos(self.now_nanos), 1_700_000_000_000)
    }
}

/// Engines, the connections of the first one, and what comes on them.
struct Bench {
    engines: Vec<Engine>,
    world: World,
    conns: Vec<ConnId>,
    wires: Vec<Vec<u8>>,
    keys: u64,
    random: SmallRng,
}

impl Bench {
    fn new(cores: u16, keys: u64) -> Self {
        let mut engines: Vec<Engine> = (0..cores).map(|core| engine(core, cores)).collect();
        let world = World { now_nanos: 0, requests: Vec::new(), replies: Vec::new() };
        let now = world.now();
        let open = |_| engines[0].open(now).expect("few connections");
        let conns = (0..CONNECTIONS).map(open).collect();
        let wires = vec![Vec::new(); CONNECTIONS];
        Self { engines, world, conns, wires, keys, random: SmallRng::seed_from_u64(1) }
    }

    /// A key of the last engine: so where there are two, one that is foreign to the first.
    fn owned(&self, key: u64) -> bool {
        let router = self.engines[0].parts().router;
        router.owner(router.hash(name(key).as_bytes())).index() + 1 == self.engines.len()
    }

    fn draw(&mut self) -> u64 {
        loop {
            let key = self.random.random_range(0..self.keys);
            if self.engines.len() == 1 || self.owned(key) {
                return key;
            }
        }
    }

    fn fill(&mut self) {
        // Twice, for the first write over an entry leaves a longer record.
        for key in (0..self.keys).chain(0..self.keys) {
            self.wires[0] = put(key, VALUE_BYTES);
            self.exchange(1);
        }
        self.world.now_nanos += 100_000_000;
        self.tick();
    }

    /// One wake-up: what waits on the first `busy` connections is answered, and the answers are taken.
    fn exchange(&mut self, busy: usize) -> usize {
        self.world.now_nanos += 1_000 * busy as u64;
        let now = self.world.now();
        let mut taken = 0;
        for place in 0..busy {
            self.engines[0].receive(now, &mut self.world, self.conns[place], &self.wires[place]);
            taken += self.take(now, place);
        }
        while !self.world.requests.is_empty() || !self.world.replies.is_empty() {
            self.carry_over();
        }
        while let Some(conn) = self.engines[0].next_dirty() {
            taken += self.take(now, conn.index());
        }
        let ended = self.world.now();
        self.engines.iter_mut().for_each(|engine| engine.settle(ended, &mut self.world));
        taken
    }

    fn carry_over(&mut self) {
        let now = self.world.now();
        let mut parcels = std::mem::take(&mut self.world.requests);
        for parcel in parcels.drain(..) {
            self.engines[parcel.to.index()].carry_out(now, &mut self.world, parcel);
        }
        self.world.requests = parcels;
        let mut parcels = std::mem::take(&mut self.world.replies);
        for parcel in parcels.drain(..) {
            self.engines[parcel.from.index()].come_back(now, &mut self.world, parcel);
        }
        self.world.replies = parcels;
    }

    fn take(&mut self, now: Now, place: usize) -> usize {
        let mut taken = 0;
        loop {
            let output = black_box(self.engines[0].output(self.conns[place]));
            let len = output.len();
            if len == 0 {
                return taken;
            }
            taken += len;
            self.engines[0].sent(now, &mut self.world, self.conns[place], len);
            black_box(self.engines[0].flow(self.conns[place]));
        }
    }

    fn tick(&mut self) {
        let now = self.world.now();
        for engine in &mut self.engines {
            while engine.tick(now, &mut self.world) {}
            engine.settle(now, &mut self.world);
        }
        while !self.world.requests.is_empty() || !self.world.replies.is_empty() {
            self.carry_over();
        }
    }

    /// Sends bursts that `write` makes, for `busy` connections at a time, and tells how long a burst took.
    fn measure(&mut self, bursts: usize, busy: usize, mut write: impl FnMut(&mut Self, &mut Vec<u8>)) -> Vec<u64> {
        let mut nanos = Vec::with_capacity(bursts);
        let mut taken = 0;
        for number in 0..bursts {
            for place in 0..busy {
                let mut wire = std::mem::take(&mut self.wires[place]);
                wire.clear();
                write(self, &mut wire);
                self.wires[place] = wire;
            }
            let began = Instant::now();
            taken = burst(self, busy);
            nanos.push(began.elapsed().as_nanos() as u64);
            if number % BURSTS_A_TICK == 0 {
                self.tick();
            }
        }
        println!("bytes taken in the last burst: {taken}");
        nanos.sort_unstable();
        nanos
    }
}

/// A wake-up by a name of its own.
#[inline(never)]
fn burst(bench: &mut Bench, busy: usize) -> usize {
    bench.exchange(busy)
}

fn engine(core: u16, cores: u16) -> Engine {
    let settings = Settings { tokens: Tokens::new([TOKEN]), ..Settings::default() };
    let router = Router::new(cores, [3, 4]);
    let (policy, hasher) = (EvictionPolicy::default(), router.hasher());
    let shard = Shard::new(ShardConfig { budget_bytes: Some(1 << 30), first_version: 1, policy, hasher });
    Engine::new(Parts::new(ShardId(core), router, shard, settings, RequestIds::new(1, 2), 4_096))
}

fn name(key: u64) -> String {
    format!("key-{key:012}")
}

fn get(key: u64, wire: &mut Vec<u8>) {
    wire.extend_from_slice(b"GET /v1/kv/");
    wire.extend_from_slice(name(key).as_bytes());
    wire.extend_from_slice(b" HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n");
}

fn put(key: u64, bytes: usize) -> Vec<u8> {
    let body = format!("{{\"value\":\"{}\"}}", "v".repeat(bytes));
    let (key, len) = (name(key), body.len());
    format!(
        "PUT /v1/kv/{key} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-API-Token: {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn put_bytes(key: u64, bytes: usize) -> Vec<u8> {
    let mut wire = format!(
        "PUT /v1/kv/{} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-API-Token: {TOKEN}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n",
        name(key)
    )
    .into_bytes();
    wire.resize(wire.len() + bytes, b'v');
    wire
}

fn batch(keys: impl Iterator<Item = u64>, wire: &mut Vec<u8>) {
    let keys: Vec<String> = keys.map(|key| format!("\"{}\"", name(key))).collect();
    let body = format!("{{\"keys\":[{}]}}", keys.join(","));
    let head =
        format!("POST /v1/kv/batch/get HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: {}\r\n\r\n", body.len());
    wire.extend_from_slice(head.as_bytes());
    wire.extend_from_slice(body.as_bytes());
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1].parse::<u64>());
    let keys = option("--keys").unwrap_or(Ok(100_000))?;
    let bursts = option("--bursts").unwrap_or(Ok(5_000))? as usize;
    let workload = arguments.first().map(String::as_str).unwrap_or_default();
    let mut bench = Bench::new(if workload == "foreign" { 2 } else { 1 }, keys);
    bench.fill();
    let (nanos, requests) = match workload {
        "get" => (bench.measure(bursts, CONNECTIONS, |bench, wire| get(bench.draw(), wire)), CONNECTIONS),
        "foreign" => (bench.measure(bursts, CONNECTIONS, |bench, wire| get(bench.draw(), wire)), CONNECTIONS),
        "missing" => {
            (bench.measure(bursts, CONNECTIONS, |bench, wire| get(bench.draw() + bench.keys, wire)), CONNECTIONS)
        }
        "pipelined" => {
            let write = |bench: &mut Bench, wire: &mut Vec<u8>| (0..PIPELINED).for_each(|_| get(bench.draw(), wire));
            (bench.measure(bursts, 4, write), 4 * PIPELINED)
        }
        "put" => {
            let write = |bench: &mut Bench, wire: &mut Vec<u8>| *wire = put(bench.draw(), VALUE_BYTES);
            (bench.measure(bursts, CONNECTIONS, write), CONNECTIONS)
        }
        "create" => {
            let mut key = keys;
            let write = |_: &mut Bench, wire: &mut Vec<u8>| {
                key += 1;
                *wire = put(key, VALUE_BYTES);
            };
            (bench.measure(bursts, CONNECTIONS, write), CONNECTIONS)
        }
        "mixed" => {
            let zipf = Zipf::new(keys as f64, 0.99).map_err(|error| format!("{error:?}"))?;
            let write = |bench: &mut Bench, wire: &mut Vec<u8>| {
                let key = zipf.sample(&mut bench.random) as u64 - 1;
                if bench.random.random_range(0..10) == 0 { *wire = put(key, VALUE_BYTES) } else { get(key, wire) }
            };
            (bench.measure(bursts, CONNECTIONS, write), CONNECTIONS)
        }
        "batch" => {
            let write = |bench: &mut Bench, wire: &mut Vec<u8>| {
                let keys: Vec<u64> = (0..BATCH_KEYS).map(|_| bench.draw()).collect();
                batch(keys.into_iter(), wire);
            };
            (bench.measure(bursts, 1, write), 1)
        }
        "long" => {
            bench.wires[0] = put_bytes(0, LONG_BYTES);
            bench.exchange(1);
            let write = |_: &mut Bench, wire: &mut Vec<u8>| {
                wire.extend_from_slice(b"GET /v1/kv/key-000000000000?raw=true HTTP/1.1\r\nHost: h\r\n\r\n");
            };
            (bench.measure(bursts, 1, write), 1)
        }
        _ => return Err("say what to ask for, see the head of this file".into()),
    };
    let of = |nanos: u64| nanos as f64 / requests as f64;
    println!(
        "{workload} {keys} keys: median {:.1} ns, tenth {:.1} ns",
        of(nanos[nanos.len() / 2]),
        of(nanos[nanos.len() / 10])
    );
    Ok(())
}
