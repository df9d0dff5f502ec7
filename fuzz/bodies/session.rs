//! Bytes that a client sends, in whatever pieces: every request has one answer, the same one however it was cut, and
//! the connection leaves nothing behind.

use super::requests::{self, Rest};
use super::tape::{Tape, pieces};
use cache_service::engine::Engine;
use cache_service::engine::host::{Host, Notice};
use cache_service::engine::parts::Parts;
use cache_service::engine::rules::Settings;
use cache_service::parcel::Parcel;
use cache_service::protocol::auth::Tokens;
use cache_service::protocol::head;
use cache_service::protocol::route::Method;
use cache_service::routing::{Router, ShardId};
use cache_service::session::request_id::RequestIds;
use cache_service::session::{ConnId, Flow};
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};
use cache_service::time::{Mono, Now};
use std::collections::VecDeque;

/// The token of every write in the corpus: short, so that a mutation can find it.
const TOKEN: &str = "t";
/// Bodies of less than this are read to their end after a mistake, wherever they were cut.
const STREAM_BYTES_MAX: usize = 60_000;
/// A short stream is also sent byte by byte.
const BYTEWISE_MAX: usize = 400;
/// In an input this byte and the next one stand for so many times the byte before them, times [`REPEAT_STEP`].
const REPEAT: u8 = 0xf8;
const REPEAT_STEP: usize = 64;

pub fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let world = World::from_byte(tape.byte());
    let mut stream = Vec::new();
    let cuts = tape.cuts(|tape| {
        stream = expanded(tape.rest());
        stream.len()
    });
    if stream.len() > STREAM_BYTES_MAX {
        return;
    }
    let heads = heads(&stream);
    let whole = world.hear(&heads, &[&stream]);
    check_count(&stream, &whole);
    assert_same(&heads, &whole, &world.hear(&heads, &pieces(&stream, &cuts)));
    if stream.len() <= BYTEWISE_MAX {
        assert_same(&heads, &whole, &world.hear(&heads, &stream.chunks(1).collect::<Vec<_>>()));
    }
    world.be_left(&pieces(&stream, &cuts));
}

/// The stream that an input stands for: repetitions make long bodies of short inputs.
fn expanded(input: &[u8]) -> Vec<u8> {
    let mut stream = Vec::with_capacity(input.len());
    let mut bytes = input.iter().copied();
    while let Some(byte) = bytes.next() {
        let times = if byte == REPEAT { bytes.next() } else { None };
        match (times, stream.last()) {
            (Some(times @ 1..), Some(&last)) if stream.len() <= STREAM_BYTES_MAX => {
                stream.resize(stream.len() + usize::from(times) * REPEAT_STEP, last);
            }
            _ => stream.push(byte),
        }
    }
    stream
}

/// An answer, as far as it must be the same each time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    closes: bool,
    /// `None` for pages about the server itself, which tell of buffers, and where something is malformed in more than
    /// one way: which of them is told depends on how much of it has come.
    body: Option<Vec<u8>>,
}

impl Answer {
    /// Whether it says that there is no page now, since answers that nobody takes fill the buffers.
    fn is_crowded(&self) -> bool {
        let body = self.body.as_deref().unwrap_or_default();
        self.status == 503 && memchr::memmem::find(body, b"clients that do not read").is_some()
    }
}

/// The answers must be the same however the bytes were cut. Pages may be refused while answers that were not taken
/// fill the buffers. A request that is refused and that waits to be told to send
/// its body ends the connection if the body was not there yet: nobody knows whether it will come.
fn assert_same(heads: &[(Method, bool)], whole: &[Answer], cut: &[Answer]) {
    for (number, (whole, cut)) in whole.iter().zip(cut).enumerate() {
        let may_end = whole.status >= 400 && heads.get(number).is_some_and(|(_, expects)| *expects);
        if may_end && whole.closes != cut.closes && whole.status == cut.status {
            return;
        }
        if whole.is_crowded() || cut.is_crowded() {
            continue;
        }
        assert_eq!(whole, cut, "answer {number} however the bytes are cut");
    }
    assert_eq!(whole.len(), cut.len(), "as many answers however the bytes are cut:\n{whole:?}\n{cut:?}");
}

/// The methods of all heads that are complete, and whether their peers wait to be told to go on.
fn heads(stream: &[u8]) -> Vec<(Method, bool)> {
    let (requests, _) = requests::read(stream);
    let rest = requests.last().map_or(stream, |last| &stream[last.ends_at..]);
    let unfinished = head::parse(rest).ok().flatten().map(|(head, _)| head);
    let all = requests.into_iter().map(|request| request.head).chain(unfinished);
    all.map(|head| (head.method, head.expect_continue)).collect()
}

/// Each request that our readers find has one answer, until a connection that was said to close.
fn check_count(stream: &[u8], answers: &[Answer]) {
    let (requests, rest) = requests::read(stream);
    if let Some(last) = answers.iter().position(|answer| answer.closes) {
        assert_eq!(last + 1, answers.len(), "nothing follows an answer that closes");
        assert!(last < requests.len() + usize::from(rest != Rest::Head), "an answer belongs to a request");
        return;
    }
    let further = answers.len().checked_sub(requests.len()).expect("every request has an answer");
    match rest {
        Rest::Head => assert_eq!(further, 0, "half a head has no answer"),
        Rest::Body => assert!(further <= 1, "a request has one answer"),
        Rest::BadBody => assert_eq!(further, 1, "one answer, before its body was looked at"),
        Rest::BadHead => panic!("what is no head closes the connection"),
    }
}

/// What differs from input to input besides the bytes.
#[derive(Clone, Copy)]
struct World {
    cores: u16,
    read_requires_auth: bool,
    max_item_bytes: u64,
    budget_bytes: Option<u64>,
    /// How much of its output the peer takes at a time.
    helping: usize,
    /// What passes between the pieces of a client that takes nothing, in milliseconds.
    pause_ms: u64,
}

impl World {
    fn from_byte(byte: u8) -> Self {
        let is = |bit: u8| byte >> bit & 1 == 1;
        Self {
            cores: if is(0) { 2 } else { 1 },
            read_requires_auth: is(1),
            max_item_bytes: if is(2) { 300 } else { 1 << 20 },
            budget_bytes: is(3).then_some(512 * 1024),
            helping: if is(4) { 100 } else { usize::MAX },
            pause_ms: [0, 1_500, 3_000, 70_000][usize::from(byte >> 5 & 3)],
        }
    }

    /// All answers to a client that sends `pieces`, in which there are `heads`, and then ends its side.
    fn hear(self, heads: &[(Method, bool)], pieces: &[&[u8]]) -> Vec<Answer> {
        let mut cores = Cores::new(self);
        let conn = cores.engines[0].open(NOW).expect("there is room for a connection");
        let mut heard = Vec::new();
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            while cores.engines[0].flow(conn) == Flow::Paused && cores.go_on(conn, self.helping, &mut heard) {}
            match cores.engines[0].flow(conn) {
                Flow::Reading => cores.engines[0].receive(NOW, &mut cores.lanes, conn, piece),
                Flow::Paused => panic!("a connection whose answers are taken reads on"),
                Flow::Lingering | Flow::Closed => break,
            }
            cores.go_on(conn, self.helping, &mut heard);
        }
        while cores.go_on(conn, self.helping, &mut heard) {}
        cores.engines[0].peer_closed(NOW, &mut cores.lanes, conn);
        while cores.go_on(conn, self.helping, &mut heard) {}
        assert_eq!(cores.engines[0].flow(conn), Flow::Closed, "a peer that says no more is let go");
        cores.end(conn);
        answers(heads, &heard)
    }

    /// A client sends `pieces`, whether they are read or not, takes nothing, lets time pass, and is gone.
    fn be_left(self, pieces: &[&[u8]]) {
        let mut cores = Cores::new(self);
        let conn = cores.engines[0].open(NOW).expect("there is room for a connection");
        for piece in pieces {
            let now = cores.now();
            cores.engines[0].receive(now, &mut cores.lanes, conn, piece);
            cores.pass(self.pause_ms);
        }
        cores.end(conn);
    }
}

/// The answers in `heard`, without those that only say that a request may go on.
fn answers(heads: &[(Method, bool)], mut heard: &[u8]) -> Vec<Answer> {
    let mut methods = heads.iter().map(|(method, _)| *method);
    let mut answers = Vec::new();
    while !heard.is_empty() {
        let end = memchr::memmem::find(heard, b"\r\n\r\n").expect("an answer has a whole head") + 4;
        let head = std::str::from_utf8(&heard[..end]).expect("a head is ASCII");
        let status: u16 = head["HTTP/1.1 ".len()..][..3].parse().expect("a status");
        if status == 100 {
            heard = &heard[end..];
            continue;
        }
        let has_body = methods.next() != Some(Method::Head) && !matches!(status, 204 | 304);
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let len = length.map_or(0, |text| text.parse::<usize>().expect("a length"));
        let whole = end + if has_body { len } else { 0 };
        let body = heard.get(end..whole).expect("an answer has its whole body");
        check(status, head);
        let is_page = head.contains("\r\nContent-Encoding: ") || tells_of_buffers(body);
        answers.push(Answer {
            status,
            closes: head.contains("\r\nConnection: close\r\n"),
            body: (!is_page && status != 400).then(|| body.to_vec()),
        });
        heard = &heard[whole..];
    }
    answers
}

/// Whether this is the answer of `/readyz` or `/metrics`.
fn tells_of_buffers(body: &[u8]) -> bool {
    body.starts_with(b"{\"status\":\"ready\"") || body.starts_with(b"# ")
}

fn check(status: u16, head: &str) {
    const STATUSES: [u16; 12] = [200, 201, 204, 304, 400, 401, 404, 405, 409, 413, 431, 503];
    assert!(STATUSES.contains(&status), "a status that the contract knows: {status}");
    let once = |name: &str| head.matches(name).count() == 1;
    assert!(once("\r\nDate: ") && once("\r\nX-Request-ID: "), "{head}");
    assert!(once("\r\nContent-Length: ") != matches!(status, 204 | 304), "{head}");
}

/// When everything begins.
const NOW: Now = Now::new(Mono::from_millis(1_000), 1_700_000_000_000);

#[derive(Default)]
struct Lanes {
    requests: VecDeque<Box<Parcel>>,
    replies: VecDeque<Box<Parcel>>,
}

impl Host for Lanes {
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        self.requests.push_back(parcel);
        Ok(())
    }

    fn reply(&mut self, parcel: Box<Parcel>) {
        self.replies.push_back(parcel);
    }

    fn notice(&mut self, _notice: Notice) {}
}

struct Cores {
    engines: Vec<Engine>,
    lanes: Lanes,
    passed_ms: u64,
}

impl Cores {
    fn new(world: World) -> Self {
        let router = Router::new(world.cores, [3, 4]);
        let engines = (0..world.cores).map(|core| engine(core, router, world)).collect();
        Self { engines, lanes: Lanes::default(), passed_ms: 0 }
    }

    fn now(&self) -> Now {
        Now::new(NOW.mono().plus_millis(self.passed_ms), 1_700_000_000_000)
    }

    /// Time passes at all cores, and what is due is done.
    fn pass(&mut self, millis: u64) {
        self.passed_ms += millis;
        let now = self.now();
        for engine in &mut self.engines {
            engine.settle(now, &mut self.lanes);
            while engine.tick(now, &mut self.lanes) {}
        }
    }

    /// Parcels travel, and the peer takes one helping. False if nothing moved.
    fn go_on(&mut self, conn: ConnId, helping: usize, heard: &mut Vec<u8>) -> bool {
        let now = self.now();
        let requests = std::mem::take(&mut self.lanes.requests);
        let mut moved = !requests.is_empty();
        for parcel in requests {
            self.engines[parcel.to.index()].carry_out(now, &mut self.lanes, parcel);
        }
        let replies = std::mem::take(&mut self.lanes.replies);
        moved |= !replies.is_empty();
        for parcel in replies {
            self.engines[parcel.from.index()].come_back(now, &mut self.lanes, parcel);
        }
        let output = self.engines[0].output(conn);
        let len = output.len().min(helping);
        heard.extend_from_slice(&output[..len]);
        if len > 0 {
            self.engines[0].sent(now, &mut self.lanes, conn, len);
            moved = true;
        }
        self.engines.iter_mut().for_each(|engine| engine.settle(now, &mut self.lanes));
        // What waits for room is carried out in slices of upkeep.
        let pressed = self.engines.iter_mut().filter(|engine| engine.is_pressed());
        moved |= pressed.map(|engine| engine.tick(now, &mut self.lanes)).count() > 0;
        moved
    }

    /// Forgets the connection: nothing of it may be left.
    fn end(mut self, conn: ConnId) {
        let mut nothing = Vec::new();
        let now = self.now();
        self.engines[0].close(now, &mut self.lanes, conn);
        while self.go_on(conn, 1, &mut nothing) {}
        for engine in &self.engines {
            assert!(engine.is_quiet(), "nothing is in progress");
            let parts = engine.parts();
            assert_eq!((parts.metrics.active_requests, parts.metrics.connections), (0, 0));
            assert_eq!((parts.buffer_bytes(), parts.shard.reserved_bytes()), (0, 0), "memory is accounted back");
            assert!(!parts.shard.has_leases(), "leases are released");
            parts.shard.assert_invariants();
        }
    }
}

fn engine(core: u16, router: Router, world: World) -> Engine {
    let settings = Settings {
        tokens: Tokens::new([TOKEN]),
        read_requires_auth: world.read_requires_auth,
        max_item_bytes: world.max_item_bytes,
        connections_max: 10,
        ..Settings::default()
    };
    let (policy, hasher) = (EvictionPolicy::default(), router.hasher());
    let (budget_bytes, first_version) = (world.budget_bytes, u64::from(core) << 32);
    let shard = Shard::new(ShardConfig { budget_bytes, first_version, policy, hasher });
    Engine::new(Parts::new(ShardId(core), router, shard, settings, RequestIds::new(u64::from(core), 0), 4_096))
}
