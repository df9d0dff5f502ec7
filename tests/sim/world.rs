//! The simulated world: lanes with bad habits, clients that pipeline and vanish, a clock that leaps.

use cache_service::engine::Engine;
use cache_service::engine::parts::{Host, Notice, PagesErrand, PagesState, Parts, Settings};
use cache_service::metrics::ProcessFacts;
use cache_service::parcel::Parcel;
use cache_service::protocol::auth::Tokens;
use cache_service::routing::{Router, ShardId};
use cache_service::session::request_id::RequestIds;
use cache_service::session::{ConnId, Flow};
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};
use cache_service::time::{Mono, Now};
use std::collections::{HashMap, VecDeque};

/// Where all chance comes from.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub u64);

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What the world did to the engines; a simulation in which nothing bad happens shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub refused: u64,
    pub delayed: u64,
    pub vanished: u64,
    pub too_late: u64,
    pub pages: u64,
    pub no_pages: u64,
}

impl Seen {
    pub fn add(&mut self, other: Self) {
        self.refused += other.refused;
        self.delayed += other.delayed;
        self.vanished += other.vanished;
        self.too_late += other.too_late;
        self.pages += other.pages;
        self.no_pages += other.no_pages;
    }
}

/// Lanes of one core to each other core, and their bad habits.
#[derive(Debug)]
struct Lanes {
    requests: HashMap<(u16, u16), VecDeque<Box<Parcel>>>,
    replies: HashMap<(u16, u16), VecDeque<Box<Parcel>>>,
    /// Pages that somebody else is to write, in his own time.
    errands: Vec<PagesErrand>,
    chance: Chance,
    seen: Seen,
    calm: bool,
}

impl Host for Lanes {
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        if !self.calm && self.chance.one_in(12) {
            self.seen.refused += 1;
            return Err(parcel);
        }
        self.requests.entry((parcel.from.0, parcel.to.0)).or_default().push_back(parcel);
        Ok(())
    }

    fn reply(&mut self, parcel: Box<Parcel>) {
        self.replies.entry((parcel.to.0, parcel.from.0)).or_default().push_back(parcel);
    }

    fn notice(&mut self, _notice: Notice) {}

    fn write_pages(&mut self, errand: PagesErrand) -> PagesState {
        if !self.calm && self.chance.one_in(12) {
            return PagesState::Busy;
        }
        if self.chance.one_in(4) {
            return PagesState::Written(errand.bundle.write());
        }
        self.errands.push(errand);
        PagesState::Later
    }
}

/// What a client has asked and may hear.
#[derive(Clone, Debug)]
enum Expect {
    /// The value that a GET must bring, or 404.
    Get(String),
    /// The value that was put.
    Put(String, String),
    Delete(String),
    /// A page of numbers.
    Page,
}

/// A client on one connection, which owns the keys that begin with its number: nobody else writes them, so what it
/// should read is known although requests of different clients overlap.
#[derive(Debug)]
struct Client {
    core: usize,
    conn: Option<ConnId>,
    to_send: Vec<u8>,
    expected: VecDeque<Expect>,
    heard: Vec<u8>,
    /// What the map holds for this client's keys once everything expected has been answered.
    map: HashMap<String, String>,
}

/// Engines, lanes, clients, clock.
pub struct World {
    engines: Vec<Engine>,
    lanes: Lanes,
    clients: Vec<Client>,
    chance: Chance,
    now_ms: u64,
    seen: Seen,
    history: Vec<String>,
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const STEPS: usize = 3_000;
const REQUEST_TIMEOUT_MS: u64 = 500;

impl World {
    pub fn new(seed: Seed) -> Self {
        let mut chance = Chance(seed.0);
        let cores = 1 + chance.below(5) as u16;
        let engines = (0..cores).map(|core| engine(core, cores)).collect();
        let clients = (0..1 + chance.below(6))
            .map(|_| Client {
                core: chance.below(u64::from(cores)) as usize,
                conn: None,
                to_send: Vec::new(),
                expected: VecDeque::new(),
                heard: Vec::new(),
                map: HashMap::new(),
            })
            .collect();
        let lanes = Lanes {
            requests: HashMap::new(),
            replies: HashMap::new(),
            errands: Vec::new(),
            chance: Chance(seed.0 ^ 0xdead_beef),
            seen: Seen::default(),
            calm: false,
        };
        Self { engines, lanes, clients, chance, now_ms: 1_000, seen: Seen::default(), history: Vec::new() }
    }

    pub fn history(&self) -> Vec<String> {
        self.history.clone()
    }

    pub fn seen(&self) -> Seen {
        let mut seen = self.seen;
        seen.add(self.lanes.seen);
        seen
    }

    fn now(&self) -> Now {
        Now::new(Mono::from_millis(self.now_ms), 1_700_000_000_000)
    }

    pub fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.lanes.calm = true;
        for _ in 0..50_000 {
            let asked = self.clients.iter().all(|client| client.expected.is_empty() && client.to_send.is_empty());
            if asked && self.lanes_are_empty() {
                return;
            }
            self.quiet_step();
        }
        let state = |client: &Client| {
            let flow = client.conn.map(|conn| self.engines[client.core].peek_flow(conn));
            (flow, client.to_send.len(), client.heard.len(), client.expected.len())
        };
        let clients: Vec<_> = self.clients.iter().map(state).collect();
        panic!("the world does not come to rest: {clients:?}, lanes empty: {}", self.lanes_are_empty());
    }

    fn lanes_are_empty(&self) -> bool {
        let lanes = || self.lanes.requests.values().chain(self.lanes.replies.values());
        self.lanes.errands.is_empty() && lanes().all(VecDeque::is_empty)
    }

    fn step(&mut self) {
        let client = self.chance.below(self.clients.len() as u64) as usize;
        match self.chance.below(20) {
            0..=5 => self.ask(client),
            6..=10 => self.send_some(client),
            11..=13 => self.move_a_parcel(),
            14 => self.write_a_page(),
            15..=16 => self.hear(client),
            17 => self.now_ms += self.chance.below(20),
            18 if self.chance.one_in(10) => self.now_ms += REQUEST_TIMEOUT_MS / 2 + self.chance.below(400),
            18 => self.tick(),
            _ if self.chance.one_in(15) => self.vanish(client),
            _ => {}
        }
    }

    fn quiet_step(&mut self) {
        let client = self.chance.below(self.clients.len() as u64) as usize;
        self.send_some(client);
        self.move_a_parcel();
        self.write_a_page();
        self.hear(client);
        if self.chance.one_in(10) {
            self.now_ms += 1;
            self.tick();
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        for engine in &mut self.engines {
            engine.tick(now, &mut self.lanes);
            engine.settle(now, &mut self.lanes);
        }
    }

    /// A client makes up a request. Its bytes leave later, in pieces.
    fn ask(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if client.expected.len() > 40 {
            return;
        }
        let key = format!("{number}-{}", self.chance.below(6));
        let (text, expect) = match self.chance.below(5) {
            0 | 1 => (format!("GET /v1/kv/{key}?raw=true HTTP/1.1\r\nHost: sim\r\n\r\n"), Expect::Get(key)),
            2 => {
                let most = if self.chance.one_in(8) { 150_000 } else { 90 };
                let len = self.chance.below(most) as usize;
                let value = format!("\"{}\"", "v".repeat(len));
                let body = format!("{{\"value\":{value}}}");
                let head = format!(
                    "PUT /v1/kv/{key} HTTP/1.1\r\nHost: sim\r\nX-API-Token: {TOKEN}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                (head + &body, Expect::Put(key, value))
            }
            3 if self.chance.one_in(10) => {
                let path = ["metrics", "readyz", "v1/admin/slowlog", "v1/admin/hotkeys"][self.chance.below(4) as usize];
                (format!("GET /{path} HTTP/1.1\r\nHost: sim\r\nX-API-Token: {TOKEN}\r\n\r\n"), Expect::Page)
            }
            _ => (
                format!("DELETE /v1/kv/{key} HTTP/1.1\r\nHost: sim\r\nX-API-Token: {TOKEN}\r\n\r\n"),
                Expect::Delete(key),
            ),
        };
        client.to_send.extend_from_slice(text.as_bytes());
        client.expected.push_back(expect);
    }

    /// A piece of what a client has to say reaches its core.
    fn send_some(&mut self, number: usize) {
        let now = self.now();
        let client = &mut self.clients[number];
        let engine = &mut self.engines[client.core];
        let conn = *client.conn.get_or_insert_with(|| engine.open(now).expect("few connections"));
        match engine.flow(conn) {
            // The clock leapt while a body that nobody wanted stood still.
            Flow::Closed | Flow::Lingering if engine.output(conn).is_empty() => return self.vanish(number),
            Flow::Reading if !client.to_send.is_empty() => {}
            _ => return,
        }
        let most = if self.chance.one_in(3) { 7 } else { 60_000 };
        let len = (1 + self.chance.below(most) as usize).min(client.to_send.len());
        let piece: Vec<u8> = client.to_send.drain(..len).collect();
        engine.receive(now, &mut self.lanes, conn, &piece);
        engine.settle(now, &mut self.lanes);
    }

    /// One parcel arrives, from a lane picked by chance: lanes overtake each other, parcels of one lane do not.
    fn move_a_parcel(&mut self) {
        let now = self.now();
        let replies = self.chance.one_in(2);
        let lanes = if replies { &mut self.lanes.replies } else { &mut self.lanes.requests };
        let mut waiting: Vec<_> = lanes.iter().filter(|(_, lane)| !lane.is_empty()).map(|(ends, _)| *ends).collect();
        waiting.sort_unstable();
        if waiting.is_empty() {
            return;
        }
        self.seen.delayed += u64::from(waiting.len() > 1);
        let ends = waiting[self.chance.below(waiting.len() as u64) as usize];
        let Some(parcel) = lanes.get_mut(&ends).and_then(VecDeque::pop_front) else { return };
        let engine = &mut self.engines[usize::from(ends.1)];
        if replies {
            engine.come_back(now, &mut self.lanes, parcel);
        } else {
            engine.carry_out(now, &mut self.lanes, parcel);
        }
        engine.settle(now, &mut self.lanes);
    }

    /// One page is written, not always the one that was asked for first.
    fn write_a_page(&mut self) {
        let waiting = self.lanes.errands.len() as u64;
        if waiting == 0 {
            return;
        }
        let (now, chosen) = (self.now(), self.chance.below(waiting) as usize);
        let PagesErrand { from, id, bundle } = self.lanes.errands.swap_remove(chosen);
        let engine = &mut self.engines[from.index()];
        engine.pages_written(now, &mut self.lanes, id, bundle.write());
        engine.settle(now, &mut self.lanes);
    }

    /// A client takes some of the output, and checks every answer that is complete.
    fn hear(&mut self, number: usize) {
        let now = self.now();
        let client = &mut self.clients[number];
        let Some(conn) = client.conn else { return };
        let engine = &mut self.engines[client.core];
        let output = engine.output(conn);
        let len = output.len().min(1 + self.chance.below(50_000) as usize);
        client.heard.extend_from_slice(&output[..len]);
        if len > 0 {
            engine.sent(now, &mut self.lanes, conn, len);
            engine.settle(now, &mut self.lanes);
        }
        while let Some((status, body, len)) = first_answer(&self.clients[number].heard) {
            let client = &mut self.clients[number];
            client.heard.drain(..len);
            let expected = client.expected.pop_front().expect("an answer belongs to a request");
            let (failed, is_page) = (status == 503, matches!(expected, Expect::Page));
            self.seen.too_late += u64::from(failed);
            self.seen.no_pages += u64::from(failed && is_page);
            self.seen.pages += u64::from(status == 200 && is_page);
            // What pages tell depends on what this thread has done before.
            let len = if is_page { 0 } else { body.len() };
            self.history.push(format!("{number} {status} {len}"));
            if status == 408 {
                // The clock leapt while a body stood still: that is the end of this connection.
                return self.vanish(number);
            }
            client.check(status, &body, &expected);
        }
    }

    /// A client drops its connection in the middle of whatever. Unanswered writes may or may not have taken place, so
    /// the client forgets those keys by moving on to a number of its own that nobody has used.
    fn vanish(&mut self, number: usize) {
        let now = self.now();
        let client = &mut self.clients[number];
        let Some(conn) = client.conn.take() else { return };
        let engine = &mut self.engines[client.core];
        engine.close(now, &mut self.lanes, conn);
        engine.settle(now, &mut self.lanes);
        self.seen.vanished += 1;
        client.to_send.clear();
        client.heard.clear();
        for expect in std::mem::take(&mut client.expected) {
            if let Expect::Put(key, _) | Expect::Delete(key) = expect {
                client.map.insert(key, UNKNOWN.to_owned());
            }
        }
    }

    pub fn assert_nothing_is_left(&mut self) {
        for number in 0..self.clients.len() {
            self.vanish(number);
        }
        for _ in 0..1_000 {
            self.now_ms += 10;
            self.tick();
            for _ in 0..50 {
                self.move_a_parcel();
                self.write_a_page();
            }
        }
        assert!(self.lanes_are_empty(), "every parcel has come back");
        for engine in &self.engines {
            assert!(engine.is_quiet());
            assert_eq!(engine.parts().metrics.active_requests, 0);
            assert_eq!(engine.parts().metrics.connections, 0);
            assert!(!engine.parts().shard.has_leases());
            engine.parts().shard.assert_invariants();
        }
    }
}

/// What the map holds where nobody can know.
const UNKNOWN: &str = "?";

impl Client {
    fn check(&mut self, status: u16, body: &str, expected: &Expect) {
        match expected {
            _ if status == 503 => {} // Refused: nothing has changed.
            Expect::Page => assert_eq!(status, 200, "{body}"),
            Expect::Get(key) => match (self.map.get(key).map(String::as_str), status) {
                (Some(UNKNOWN), 200 | 404) => {}
                (None, status) => assert_eq!(status, 404, "{key} was never written"),
                (Some(value), status) => {
                    assert_eq!(status, 200, "{key} was written");
                    assert!(value.trim_matches('"') == body, "{key} has the value that was written last");
                }
            },
            Expect::Put(key, value) => {
                let existed = self.map.insert(key.clone(), value.clone());
                match existed.as_deref() {
                    Some(UNKNOWN) => assert!(matches!(status, 200 | 201)),
                    existed => assert_eq!(status, if existed.is_some() { 200 } else { 201 }, "PUT {key}"),
                }
            }
            Expect::Delete(key) => match self.map.remove(key).as_deref() {
                Some(UNKNOWN) => assert!(matches!(status, 204 | 404)),
                existed => assert_eq!(status, if existed.is_some() { 204 } else { 404 }, "DELETE {key}"),
            },
        }
    }
}

/// The first whole answer in `bytes`: status, body, length.
fn first_answer(bytes: &[u8]) -> Option<(u16, String, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
    let status = head[9..12].parse().expect("a status");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let len = length.map_or(0, |text| text.parse::<usize>().expect("a length"));
    let body = bytes.get(end..end + len)?;
    Some((status, String::from_utf8(body.to_vec()).expect("text"), end + len))
}

fn engine(core: u16, cores: u16) -> Engine {
    let settings = Settings {
        tokens: Tokens::new([TOKEN]),
        read_requires_auth: false,
        max_item_bytes: 1 << 20,
        request_timeout_ms: REQUEST_TIMEOUT_MS,
        idle_timeout_ms: 3_600_000,
        header_timeout_ms: 3_600_000,
        slow_request_ms: 10,
        metrics_interval_ms: 1_000,
        inflight_max: 64,
        connections_max: 64,
        process: ProcessFacts::default(),
    };
    let router = Router::new(cores, [3, 4]);
    let (policy, hasher) = (EvictionPolicy::default(), router.hasher());
    let first_version = u64::from(core) << 32;
    let shard = Shard::new(ShardConfig { budget_bytes: None, first_version, policy, hasher });
    let ids = RequestIds::new(u64::from(core), 0);
    Engine::new(Parts::new(ShardId(core), router, shard, settings, ids, 4_096))
}
