//! One client of a load: it sends bursts of requests over one connection after the other, and notes what it was told.

use crate::history::{Answer, Event, NEVER, Version};
use crate::load::{Keys, Load};
use crate::mishap::{Mishap, reset};
use crate::random::Random;
use crate::requests::Ask;
use crate::support::http::Next;
use crate::support::{Client, RawConnection};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Requests sent before the first of their answers is read.
const BURST_MAX: u64 = 3;
/// One burst in so many is the last one on its connection.
const LEAVES_ONE_IN: u64 = 40;

/// A client.
pub struct Caller<'l> {
    number: usize,
    pub(crate) load: Load,
    pub(crate) keys: &'l Keys,
    addresses: &'l [SocketAddr],
    began: Instant,
    pub(crate) random: Random,
    /// Words the requests.
    words: Client,
    connection: Option<RawConnection>,
    events: Vec<Event>,
    /// The versions that this client has seen last.
    pub(crate) seen: HashMap<String, Version>,
    /// The key of the latest of them.
    pub(crate) latest: Option<String>,
    /// Values that it has written so far.
    pub(crate) written: i64,
}

impl<'l> Caller<'l> {
    pub fn new(number: usize, load: Load, keys: &'l Keys, addresses: &'l [SocketAddr], began: Instant) -> Self {
        // Far from each other in the one sequence of all numbers, or clients would follow in each other's steps.
        let random = Random::Seed(Random::Seed(load.seed).next() ^ Random::Seed(1 << 32 | number as u64).next());
        let words = Client::new(addresses[0]);
        let (connection, events, seen, latest) = (None, Vec::new(), HashMap::new(), None);
        Self { number, load, keys, addresses, began, random, words, connection, events, seen, latest, written: 0 }
    }

    /// Sends all its requests.
    pub fn run(mut self) -> Vec<Event> {
        let mut sent = 0;
        while sent < self.load.requests {
            let burst: Vec<Ask> = (0..=self.random.below(BURST_MAX)).map(|_| self.ask()).collect();
            sent += burst.len() as u64;
            let has_mishap = self.one_in(self.load.mishap_one_in);
            let mishap = has_mishap.then(|| self.random.of(self.load.mishaps));
            self.burst(&burst, mishap);
        }
        self.events
    }

    /// A number of this client alone.
    pub fn number(&self) -> i64 {
        self.number as i64
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        chances > 0 && self.random.one_in(chances)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("a run is short")
    }

    /// Any of the server's ports.
    fn connect(&mut self) -> RawConnection {
        let address = self.random.of(self.addresses);
        self.connection.take().unwrap_or_else(|| RawConnection::open(address))
    }

    fn burst(&mut self, burst: &[Ask], mishap: Option<Mishap>) {
        let mut connection = self.connect();
        let wires: Vec<Vec<u8>> = burst.iter().map(|ask| ask.wire(&self.words)).collect();
        let whole = mishap.map_or(burst.len(), |mishap| mishap.whole_of(burst.len()));
        let cut = mishap.zip(wires.get(whole)).map(|(mishap, wire)| (wire, mishap.cut(wire.len(), &mut self.random)));
        let (part, rest) = cut.map_or((&[][..], &[][..]), |(wire, len)| wire.split_at(len));
        if self.load.think_ms > 0 {
            std::thread::sleep(Duration::from_micros(self.random.below(self.load.think_ms * 1_000)));
        }
        let call = self.now();
        connection.try_send([&wires[..whole].concat(), part].concat());
        match mishap {
            Some(Mishap::HalfClose) => connection.finish_sending(),
            Some(Mishap::Stall) => {
                std::thread::sleep(Duration::from_millis(self.random.below(20)));
                connection.try_send(rest);
            }
            Some(mishap) => return self.leave(connection, burst.split_at(whole), call, mishap),
            None => {}
        }
        if self.one_in(self.load.slow_one_in) {
            std::thread::sleep(Duration::from_millis(self.random.below(20)));
        }
        let goes_on = self.read_answers(&mut connection, burst, call) && mishap != Some(Mishap::HalfClose);
        self.connection = (goes_on && !self.one_in(LEAVES_ONE_IN)).then_some(connection);
    }

    /// Reads the answers to a burst; whether the connection goes on.
    fn read_answers(&mut self, connection: &mut RawConnection, burst: &[Ask], call: u64) -> bool {
        // What becomes of requests that get no answer: behind an answer that says that it is the last, nothing.
        let (mut open, mut unanswered) = (true, Answer::Unknown);
        for ask in burst {
            let reply = if open { connection.next() } else { Next::Closed };
            let Next::Answer(reply) = reply else {
                open = false;
                self.note(ask, call, NEVER, &vec![unanswered.clone(); ask.wishes.len()]);
                continue;
            };
            let end = self.now();
            if reply.closes() {
                (open, unanswered) = (false, Answer::Cut);
            }
            if reply.status == 503 {
                // Who is refused asks again at once only if he wants to be refused again.
                std::thread::sleep(Duration::from_micros(self.random.below(2_000)));
            }
            self.note(ask, call, end, &ask.understand(&reply));
        }
        open
    }

    /// Goes away, having sent the requests `asked` as a whole and those in `cut` in part or not at all.
    fn leave(&mut self, mut connection: RawConnection, (asked, cut): (&[Ask], &[Ask]), call: u64, mishap: Mishap) {
        // Whoever leaves in the middle of the answers has had the ones before.
        let answered = usize::from(mishap == Mishap::ResetMidAnswer && asked.len() > 1);
        self.read_answers(&mut connection, &asked[..answered], call);
        for ask in &asked[answered..] {
            self.note(ask, call, NEVER, &vec![Answer::Unknown; ask.wishes.len()]);
        }
        for ask in cut {
            self.note(ask, call, NEVER, &vec![Answer::Cut; ask.wishes.len()]);
        }
        if mishap.resets() {
            reset(connection);
        }
    }

    fn note(&mut self, ask: &Ask, call: u64, end: u64, answers: &[Answer]) {
        for ((key, action), answer) in ask.wishes.iter().zip(answers) {
            match answer {
                Answer::Hit { version, .. } | Answer::Written { version, .. } | Answer::Counted { version, .. } => {
                    self.seen.insert(key.clone(), version.clone());
                    self.latest = Some(key.clone());
                }
                _ => {}
            }
            let (key, action, answer) = (key.clone(), action.clone(), answer.clone());
            let end = if matches!(answer, Answer::Unknown) { NEVER } else { end };
            self.events.push(Event { key, client: self.number, call, end, action, answer });
        }
    }
}
