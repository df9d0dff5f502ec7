//! Some cores in one thread, with lanes that do as they are told and a clock that stands still unless it is moved.

use cache_service::engine::Engine;
use cache_service::engine::host::{Host, Notice, PagesErrand, PagesState};
use cache_service::engine::parts::Parts;
use cache_service::engine::rules::Settings;
use cache_service::limits::{INDEX_TABLES_MIN, RECEIVE_BUFFER_BYTES, TICK_MS};
use cache_service::metrics::BackpressureReason;
use cache_service::parcel::Parcel;
use cache_service::protocol::auth::Tokens;
use cache_service::routing::{Router, ShardId};
use cache_service::session::request_id::RequestIds;
use cache_service::session::{ConnId, Flow};
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};
use cache_service::time::{Mono, Now};
use std::collections::VecDeque;
use std::fmt::Write;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const REQUEST_TIMEOUT_MS: u64 = 2_000;
pub const HEADER_TIMEOUT_MS: u64 = 10_000;
pub const IDLE_TIMEOUT_MS: u64 = 60_000;

/// What is between the cores.
#[derive(Debug, Default)]
pub struct Lanes {
    pub requests: VecDeque<Box<Parcel>>,
    pub replies: VecDeque<Box<Parcel>>,
    /// No parcel with commands is taken.
    pub commands_are_full: bool,
    /// No other parcel is taken.
    pub control_is_full: bool,
    /// Pages are written by somebody else, who takes his time.
    pub pages_wait: bool,
    pub errands: VecDeque<PagesErrand>,
}

impl Host for Lanes {
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        let full = if parcel.work.is_commands() { self.commands_are_full } else { self.control_is_full };
        if full {
            return Err(parcel);
        }
        self.requests.push_back(parcel);
        Ok(())
    }

    fn reply(&mut self, parcel: Box<Parcel>) {
        self.replies.push_back(parcel);
    }

    fn notice(&mut self, _notice: Notice) {}

    fn write_pages(&mut self, errand: PagesErrand) -> PagesState {
        if !self.pages_wait {
            return PagesState::Written(errand.bundle.write());
        }
        self.errands.push_back(errand);
        PagesState::Later
    }
}

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    pub core: usize,
    pub conn: ConnId,
    /// Sent, but not read by the core.
    pub unread: Vec<u8>,
    heard: Vec<u8>,
}

impl Peer {
    /// Gives back what the peer's own buffers take.
    pub fn forget(&mut self) {
        (self.unread, self.heard) = (Vec::new(), Vec::new());
    }

    /// The whole answers heard since the last call.
    pub fn answers(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some((answer, len)) = Answer::first(&self.heard) {
            self.heard.drain(..len);
            answers.push(answer);
        }
        answers
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn first(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).expect("a head is text").to_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let len = end + length.map_or(0, |text| text.parse::<usize>().expect("a length"));
        let body = bytes.get(end..len)?.to_vec();
        Some((Self { status: head[9..12].parse().expect("a status"), head, body }, len))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    pub fn closes(&self) -> bool {
        self.head.to_ascii_lowercase().contains("\r\nconnection: close\r\n")
    }
}

/// Cores, lanes, clock.
#[derive(Debug)]
pub struct Cores {
    pub engines: Vec<Engine>,
    pub lanes: Lanes,
    router: Router,
    now_ms: u64,
}

impl Cores {
    pub fn new(cores: u16) -> Self {
        Self::with(cores, |_| {})
    }

    pub fn with(cores: u16, change: impl Fn(&mut Settings)) -> Self {
        Self::of(cores, None, change)
    }

    /// One core with so much memory.
    pub fn small(budget_bytes: u64) -> Self {
        Self::of(1, Some(budget_bytes), |_| {})
    }

    /// Cores with so much memory each.
    pub fn of(cores: u16, budget_bytes: Option<u64>, change: impl Fn(&mut Settings)) -> Self {
        let router = Router::new(cores, [3, 4]);
        let engines = (0..cores).map(|core| engine(core, router, budget_bytes, &change)).collect();
        Self { engines, lanes: Lanes::default(), router, now_ms: 1_000 }
    }

    pub fn now(&self) -> Now {
        Now::new(Mono::from_millis(self.now_ms), 1_700_000_000_000)
    }

    /// A key that the core `owner` owns; another one for every `name`.
    pub fn key(&self, owner: u16, name: &str) -> String {
        let mut keys = (0..).map(|n| format!("{name}.{n}"));
        keys.find(|key| self.router.owner(self.router.hash(key.as_bytes())) == ShardId(owner))
            .expect("every core owns some key")
    }

    /// Keys that the core `owner` owns, all in the same table of the smallest index.
    pub fn keys_of_one_table(&self, owner: u16, count: usize) -> Vec<String> {
        let keys = (0..).map(|n| (format!("table.{n}"), self.router.hash(format!("table.{n}").as_bytes())));
        let in_table =
            keys.filter(|(_, hash)| self.router.owner(*hash).0 == owner && hash.0 % INDEX_TABLES_MIN as u64 == 0);
        in_table.map(|(key, _)| key).take(count).collect()
    }

    pub fn connect(&mut self, core: usize) -> Peer {
        let now = self.now();
        let conn = self.engines[core].open(now).expect("there is room for a connection");
        Peer { core, conn, unread: Vec::new(), heard: Vec::new() }
    }

    pub fn flow(&self, peer: &Peer) -> Flow {
        self.engines[peer.core].peek_flow(peer.conn)
    }

    pub fn output_len(&self, peer: &Peer) -> usize {
        self.engines[peer.core].output(peer.conn).len()
    }

    /// The peer sends `bytes`, and the core reads what it wants to.
    pub fn say(&mut self, peer: &mut Peer, bytes: impl AsRef<[u8]>) {
        peer.unread.extend_from_slice(bytes.as_ref());
        self.read(peer);
    }

    /// The peer sends `bytes`, all of which the kernel has handed over before the core could stop it, and reads nothing. Gives
    /// what the socket is told in the end; a connection that is to be closed is.
    pub fn flood(&mut self, peer: &Peer, bytes: &str) -> Flow {
        for piece in bytes.as_bytes().chunks(RECEIVE_BUFFER_BYTES) {
            let now = self.now();
            self.engines[peer.core].receive(now, &mut self.lanes, peer.conn, piece);
            if self.engines[peer.core].flow(peer.conn) == Flow::Closed {
                self.close(peer);
                return Flow::Closed;
            }
        }
        self.engines[peer.core].flow(peer.conn)
    }

    /// The core reads what it wants to; true if that was anything.
    fn read(&mut self, peer: &mut Peer) -> bool {
        let before = peer.unread.len();
        while !peer.unread.is_empty() && self.flow(peer) == Flow::Reading {
            let rest = peer.unread.split_off(peer.unread.len().min(RECEIVE_BUFFER_BYTES));
            let piece = std::mem::replace(&mut peer.unread, rest);
            let now = self.now();
            self.engines[peer.core].receive(now, &mut self.lanes, peer.conn, &piece);
        }
        self.settle();
        peer.unread.len() < before
    }

    /// The peer takes at most `most` bytes of its output, and gets them here.
    pub fn take(&mut self, peer: &Peer, most: usize) -> Vec<u8> {
        let now = self.now();
        let engine = &mut self.engines[peer.core];
        let output = engine.output(peer.conn);
        let taken = output[..output.len().min(most)].to_vec();
        if !taken.is_empty() {
            engine.sent(now, &mut self.lanes, peer.conn, taken.len());
            self.settle();
        }
        taken
    }

    /// The peer takes one helping of at most `most` bytes and keeps it for [`Peer::answers`].
    pub fn hear(&mut self, peer: &mut Peer, most: usize) -> bool {
        let taken = self.take(peer, most);
        peer.heard.extend_from_slice(&taken);
        !taken.is_empty()
    }

    /// What is in the request lanes now is carried out, and waits in the reply lanes.
    pub fn carry_out(&mut self) -> bool {
        let (now, parcels) = (self.now(), std::mem::take(&mut self.lanes.requests));
        let any = !parcels.is_empty();
        for parcel in parcels {
            self.engines[parcel.to.index()].carry_out(now, &mut self.lanes, parcel);
        }
        self.settle();
        any
    }

    /// What is in the reply lanes now comes back, in one burst.
    pub fn bring_back(&mut self) -> bool {
        let (now, parcels) = (self.now(), std::mem::take(&mut self.lanes.replies));
        let any = !parcels.is_empty();
        for parcel in parcels {
            self.engines[parcel.from.index()].come_back(now, &mut self.lanes, parcel);
        }
        self.settle();
        any
    }

    /// The page that was asked for first is written. Gives how many forms of it there are.
    pub fn write_page(&mut self) -> usize {
        let now = self.now();
        let PagesErrand { from, id, bundle } = self.lanes.errands.pop_front().expect("a page to write");
        let pages = bundle.write();
        let forms = pages.len();
        self.engines[from.index()].pages_written(now, &mut self.lanes, id, pages);
        self.settle();
        forms
    }

    /// Parcels travel until none is left.
    pub fn deliver(&mut self) {
        while self.carry_out() | self.bring_back() {}
    }

    /// Everything goes on until nothing moves any more, except the clock.
    pub fn run(&mut self, peer: &mut Peer) {
        while self.read(peer) | self.carry_out() | self.bring_back() | self.hear(peer, usize::MAX) {}
    }

    /// Says `bytes` and returns all answers.
    pub fn ask(&mut self, peer: &mut Peer, bytes: impl AsRef<[u8]>) -> Vec<Answer> {
        self.say(peer, bytes);
        self.run(peer);
        peer.answers()
    }

    /// The peer will say no more, but goes on to listen.
    pub fn hang_up(&mut self, peer: &Peer) {
        let now = self.now();
        self.engines[peer.core].peer_closed(now, &mut self.lanes, peer.conn);
        self.settle();
    }

    /// The peer takes at most `most` bytes of its output and keeps nothing of them. Tells how many.
    pub fn skip(&mut self, peer: &Peer, most: usize) -> usize {
        let now = self.now();
        let engine = &mut self.engines[peer.core];
        let len = engine.output(peer.conn).len().min(most);
        engine.sent(now, &mut self.lanes, peer.conn, len);
        self.settle();
        len
    }

    /// The peer takes `len` bytes of all that it could be sent at once, and keeps nothing of them.
    pub fn skip_gathered(&mut self, peer: &Peer, len: usize) {
        let now = self.now();
        self.engines[peer.core].sent(now, &mut self.lanes, peer.conn, len);
        self.settle();
    }

    /// The peer is gone.
    pub fn close(&mut self, peer: &Peer) {
        let now = self.now();
        self.engines[peer.core].close(now, &mut self.lanes, peer.conn);
        self.settle();
    }

    fn settle(&mut self) {
        let now = self.now();
        for engine in &mut self.engines {
            engine.admit_waiting(now, &mut self.lanes);
            engine.settle(now, &mut self.lanes);
        }
    }

    /// Time passes, tick by tick; parcels stay where they are.
    pub fn pass(&mut self, millis: u64) {
        for _ in 0..millis.div_ceil(TICK_MS) {
            self.now_ms += TICK_MS;
            self.tick();
        }
    }

    /// The clock shows another time, and nobody takes note of it yet.
    pub const fn set_clock_ms(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// One slice of upkeep at the core `core`; true if there is more to do.
    pub fn tick_slice(&mut self, core: usize) -> bool {
        let now = self.now();
        self.engines[core].tick(now, &mut self.lanes)
    }

    fn tick(&mut self) {
        for core in 0..self.engines.len() {
            while self.tick_slice(core) {}
        }
        self.settle();
    }

    /// Stores `len` bytes of [`pattern`] under `key`, through the core `core`.
    pub fn store(&mut self, core: usize, key: &str, len: usize) {
        let mut peer = self.connect(core);
        let answers = self.ask(&mut peer, put_raw(key, &pattern(len)));
        assert!(matches!(answers[..], [Answer { status: 200 | 201, .. }]), "{answers:?}");
        self.close(&peer);
    }

    pub fn active_requests(&self, core: usize) -> u64 {
        self.engines[core].parts().metrics.active_requests
    }

    /// Requests in the histograms of the core `core`.
    pub fn recorded(&self, core: usize) -> u64 {
        self.engines[core].parts().metrics.requests.iter().map(|series| series.durations.count()).sum()
    }

    pub fn backpressure(&self, core: usize, reason: BackpressureReason) -> u64 {
        self.engines[core].parts().metrics.backpressure[reason as usize]
    }

    pub fn memory_bytes(&self, core: usize) -> u64 {
        self.engines[core].parts().shard.stats().memory_bytes
    }

    pub fn has_leases(&self, core: usize) -> bool {
        self.engines[core].parts().shard.has_leases()
    }

    /// Nothing is in progress anywhere.
    pub fn assert_at_rest(&self) {
        for engine in &self.engines {
            assert!(engine.is_quiet());
            assert_eq!(engine.parts().metrics.active_requests, 0);
            assert!(!engine.parts().shard.has_leases());
            engine.parts().shard.assert_invariants();
        }
    }
}

fn engine(core: u16, router: Router, budget_bytes: Option<u64>, change: &impl Fn(&mut Settings)) -> Engine {
    let mut settings = Settings {
        tokens: Tokens::new([TOKEN]),
        max_item_bytes: 32 << 20,
        request_timeout_ms: REQUEST_TIMEOUT_MS,
        idle_timeout_ms: IDLE_TIMEOUT_MS,
        header_timeout_ms: HEADER_TIMEOUT_MS,
        connections_max: 1_000,
        ..Settings::default()
    };
    change(&mut settings);
    let (policy, hasher) = (EvictionPolicy::default(), router.hasher());
    let first_version = u64::from(core) << 32;
    let shard = Shard::new(ShardConfig { budget_bytes, first_version, policy, hasher });
    let ids = RequestIds::new(u64::from(core), 0);
    Engine::new(Parts::new(ShardId(core), router, shard, settings, ids, 4_096))
}

/// Bytes of which each tells where it is.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(len / 251 + 1);
    bytes.truncate(len);
    bytes
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

pub fn get_raw(key: &str) -> String {
    get(&format!("/v1/kv/{key}?raw=true"))
}

/// The head of a write; `fields` are whole lines.
pub fn head(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: test\r\nX-API-Token: {TOKEN}\r\n{fields}\r\n")
}

pub fn put_raw_head(key: &str, len: usize) -> String {
    let fields = format!("Content-Type: application/octet-stream\r\nContent-Length: {len}\r\n");
    head("PUT", &format!("/v1/kv/{key}"), &fields)
}

pub fn put_raw(key: &str, body: &[u8]) -> Vec<u8> {
    [put_raw_head(key, body.len()).as_bytes(), body].concat()
}

pub fn put_json(key: &str, body: &str) -> String {
    let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    head("PUT", &format!("/v1/kv/{key}"), &fields) + body
}

pub fn batch_get(keys: &[String]) -> String {
    let mut body = String::from("{\"keys\":[");
    for (n, key) in keys.iter().enumerate() {
        write!(body, "{}\"{key}\"", if n > 0 { "," } else { "" }).expect("memory suffices");
    }
    body += "]}";
    head("POST", "/v1/kv/batch/get", &format!("Content-Length: {}\r\n", body.len())) + &body
}
