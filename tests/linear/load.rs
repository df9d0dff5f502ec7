//! The load of a run: how many clients do what to which keys.

use crate::client::Caller;
use crate::history::Event;
use crate::mishap::{DEPARTURES, Mishap};
use crate::values::Kind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What makes a load; its random choices come from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub seed: u64,
    pub clients: usize,
    /// Requests of each client.
    pub requests: u64,
    /// Hot keys at a time. Each is given up for a new one after `generation` requests for it.
    pub hot: u64,
    pub generation: u64,
    pub cold: u64,
    /// One key in so many has long values, and twice as many have wide ones.
    pub long_one_in: u64,
    /// Lifetimes of writes, in seconds; 0 for none.
    pub lifetimes: &'static [u64],
    /// One burst in so many has one of these mishaps; 0 for none.
    pub mishap_one_in: u64,
    pub mishaps: &'static [Mishap],
    /// One burst in so many is read slowly; 0 for none.
    pub slow_one_in: u64,
    /// Clients wait up to so long before a burst, in milliseconds.
    pub think_ms: u64,
    /// Entries are mostly read, and never written over, so that they get as old as they may.
    pub keeps: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            seed: seed(),
            clients: 8,
            requests: 6_000,
            hot: 4,
            generation: 250,
            cold: 1_500,
            long_one_in: 24,
            lifetimes: &[0],
            mishap_one_in: 0,
            mishaps: &DEPARTURES,
            slow_one_in: 0,
            think_ms: 0,
            keeps: false,
        }
    }
}

/// `LINEAR_SEED` replays the choices of a load, if not its timing.
pub fn seed() -> u64 {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs());
    std::env::var("LINEAR_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(now)
}

/// Which keys are hot at the moment.
#[derive(Debug)]
pub struct Keys {
    load: Load,
    asked: Vec<AtomicU64>,
}

impl Keys {
    fn new(load: Load) -> Self {
        Self { load, asked: (0..load.hot).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The hot key in place `place` for one more request.
    pub fn hot(&self, place: u64) -> String {
        let place = place % self.load.hot;
        let generation = self.asked[place as usize].fetch_add(1, Ordering::Relaxed) / self.load.generation;
        self.named("hot", place + generation * self.load.hot)
    }

    /// A cold key.
    pub fn cold(&self, number: u64) -> String {
        self.named("cold", number % self.load.cold)
    }

    fn named(&self, word: &str, number: u64) -> String {
        let kind = match number % self.load.long_one_in {
            1 => Kind::Long,
            2 | 3 => Kind::Wide,
            _ => Kind::Number,
        };
        format!("{}-{word}-{number}", kind.initial())
    }
}

impl Load {
    /// Runs it against a server that has just started; gives all that happened.
    pub fn run(self, addresses: &[SocketAddr]) -> Vec<Event> {
        let (keys, began) = (Keys::new(self), Instant::now());
        std::thread::scope(|scope| {
            let callers = (0..self.clients).map(|number| {
                let keys = &keys;
                scope.spawn(move || Caller::new(number, self, keys, addresses, began).run())
            });
            let callers: Vec<_> = callers.collect();
            callers.into_iter().flat_map(|caller| caller.join().expect("a client understands every answer")).collect()
        })
    }
}
