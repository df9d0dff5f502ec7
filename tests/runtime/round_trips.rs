//! Nothing stalls: round trips to keys of another core, one at a time and many at a time, all come to an end.
//!
//! `ROUND_TRIP_RUNS=20 ROUND_TRIPS=100000` asks for more than the default, and `SERVER_BINARY` for another build of the
//! server, such as `target/release/cache-service`.

use crate::support::{Server, eventually};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Requests under way at once where it is many.
const MANY: usize = 64;
/// Runs of each kind, unless `ROUND_TRIP_RUNS` says otherwise.
const RUNS: usize = 1;
/// Round trips of each run, unless `ROUND_TRIPS` says otherwise.
const ROUND_TRIPS: usize = 20_000;
/// Keys tried until one is foreign.
const KEYS_TRIED: usize = 100;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// A connection and a request on it whose key belongs to another core than the connection.
struct Foreign {
    stream: TcpStream,
    request: Vec<u8>,
    answer_len: usize,
}

impl Foreign {
    /// Finds out which of a few keys is foreign to a new connection: the core of the connection counts what it forwards.
    #[track_caller]
    fn find(server: &Server) -> Self {
        let mut connection = server.connect();
        for n in 0..KEYS_TRIED {
            let request = format!("GET /v1/kv/key-{n}?raw=true HTTP/1.1\r\nHost: t\r\nX-Request-ID: r\r\n\r\n");
            let before = forwarded(server);
            let answer = connection.exchange(&request).expect_status(200);
            if forwarded(server) > before {
                let request = request.into_bytes();
                return Self { stream: connection.writer(), request, answer_len: answer.wire_bytes };
            }
        }
        panic!("none of {KEYS_TRIED} keys is foreign");
    }

    /// Sends the request `count` times at once.
    #[track_caller]
    fn ask(&mut self, count: usize) {
        self.stream.write_all(&self.request.repeat(count)).expect("the server reads");
    }

    /// Reads the answers to so many requests. The socket's time-out is what tells a stall.
    #[track_caller]
    fn hear(&mut self, count: usize) {
        let mut answers = vec![0; self.answer_len * count];
        self.stream.read_exact(&mut answers).unwrap_or_else(|error| panic!("stalled: {error}"));
        for answer in answers.chunks(self.answer_len) {
            assert!(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"\r\n\r\nvalue"), "{answer:?}");
        }
    }
}

#[track_caller]
fn forwarded(server: &Server) -> f64 {
    server.metrics().sum("cache_forwarded_requests_total")
}

#[track_caller]
fn server_with_keys() -> Server {
    let server = Server::with_shards(2);
    let mut client = server.client();
    for n in 0..KEYS_TRIED {
        client.put_value(&format!("key-{n}"), "\"value\"").expect_status(201);
    }
    server
}

/// Plays the runs of one kind and says how long each took, and how long the slowest `turn` of all.
#[track_caller]
fn runs(what: &str, in_a_turn: usize, mut turn: impl FnMut()) {
    let (runs, trips) = (number("ROUND_TRIP_RUNS", RUNS), number("ROUND_TRIPS", ROUND_TRIPS));
    for run in 1..=runs {
        let began = Instant::now();
        let mut slowest = Duration::ZERO;
        for _ in 0..trips.div_ceil(in_a_turn) {
            let turn_began = Instant::now();
            turn();
            slowest = slowest.max(turn_began.elapsed());
        }
        println!("{what}, run {run}: {trips} round trips in {:?}, slowest turn {slowest:?}", began.elapsed());
    }
}

/// All of the round trips were forwarded: the keys were foreign to the end.
#[track_caller]
fn check_forwarded(server: &Server, before: f64) {
    let trips = number("ROUND_TRIP_RUNS", RUNS) * number("ROUND_TRIPS", ROUND_TRIPS);
    eventually("as many requests forwarded as made", || (forwarded(server) >= before + trips as f64).then_some(()));
}

#[test]
fn one_at_a_time() {
    let server = server_with_keys();
    let mut foreign = Foreign::find(&server);
    let before = forwarded(&server);
    runs("one at a time", 1, || {
        foreign.ask(1);
        foreign.hear(1);
    });
    check_forwarded(&server, before);
}

#[test]
fn many_at_a_time_on_one_connection() {
    let server = server_with_keys();
    let mut foreign = Foreign::find(&server);
    let before = forwarded(&server);
    runs("64 pipelined", MANY, || {
        foreign.ask(MANY);
        foreign.hear(MANY);
    });
    check_forwarded(&server, before);
}

#[test]
fn many_at_a_time_on_as_many_connections() {
    let server = server_with_keys();
    let mut all: Vec<_> = (0..MANY).map(|_| Foreign::find(&server)).collect();
    let before = forwarded(&server);
    runs("64 connections", MANY, || {
        all.iter_mut().for_each(|foreign| foreign.ask(1));
        all.iter_mut().for_each(|foreign| foreign.hear(1));
    });
    check_forwarded(&server, before);
}
