//! Well-behaved clients of a server that others attack: one for each core, each with keys of both cores. Every answer is
//! checked; a single wrong one fails the test.

use crate::ground::{CORES, Ground};
use crate::support::{Client, PATIENCE};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Rounds of every neighbour before an attack begins, and after all hostile clients are in place.
const ROUNDS: u64 = 20;
/// Between two rounds: neighbours are there to be answered, not to use up the machine.
const PAUSE: Duration = Duration::from_millis(5);

/// How far the neighbours are.
pub struct Neighbours {
    /// Of each, with the core that it asks.
    rounds: Vec<(u16, AtomicU64)>,
    lost: AtomicBool,
    stop: AtomicBool,
}

/// Lets the neighbours end, however the attack ends.
struct Dismissal<'a>(&'a Neighbours);

impl Drop for Dismissal<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Tells the attacker that a neighbour has been failed.
struct Alarm<'a>(&'a Neighbours);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.lost.fetch_or(thread::panicking(), Ordering::Relaxed);
    }
}

impl Neighbours {
    /// Waits until every neighbour has been served for some more rounds.
    ///
    /// # Panics
    /// If one has been failed.
    #[track_caller]
    pub fn are_served(&self) {
        self.are_served_for(ROUNDS);
    }

    /// The same for so many rounds.
    #[track_caller]
    pub fn are_served_for(&self, more: u64) {
        let now = |(_, rounds): &(u16, AtomicU64)| rounds.load(Ordering::Relaxed);
        let wanted: Vec<u64> = self.rounds.iter().map(|rounds| now(rounds) + more).collect();
        let began = Instant::now();
        while self.rounds.iter().zip(&wanted).any(|(rounds, wanted)| now(rounds) < *wanted) {
            assert!(!self.lost.load(Ordering::Relaxed), "a neighbour has been failed: see above");
            assert!(began.elapsed() < PATIENCE * 6, "the neighbours stand still: {:?} of {wanted:?}", self.rounds);
            thread::sleep(PAUSE);
        }
    }
}

/// Runs `attack` beside one neighbour for each core, who must be right before, during and after it. Afterwards the server
/// holds what it held before.
#[track_caller]
pub fn beside<T>(ground: &Ground, attack: impl FnOnce(&Neighbours) -> T) -> T {
    beside_those_of(ground, 0..CORES, attack)
}

/// The same beside the neighbours of these cores only.
#[track_caller]
pub fn beside_those_of<T>(ground: &Ground, cores: Range<u16>, attack: impl FnOnce(&Neighbours) -> T) -> T {
    cores.clone().for_each(|core| Neighbour::new(ground, core).round(0));
    let before = ground.rest();
    let rounds = cores.map(|core| (core, AtomicU64::new(0))).collect();
    let neighbours = Neighbours { rounds, lost: AtomicBool::new(false), stop: AtomicBool::new(false) };
    let result = thread::scope(|scope| {
        let dismissal = Dismissal(&neighbours);
        for (core, rounds) in &neighbours.rounds {
            let neighbours = &neighbours;
            scope.spawn(move || live(ground, neighbours, *core, rounds));
        }
        neighbours.are_served();
        let result = attack(&neighbours);
        neighbours.are_served();
        drop(dismissal);
        result
    });
    let growth = ground.assert_back_to(&before);
    let rounds: u64 = neighbours.rounds.into_iter().map(|(_, rounds)| rounds.into_inner()).sum();
    println!(
        "{} requests of neighbours were answered rightly; {growth} bytes more are resident",
        rounds * REQUESTS_OF_A_ROUND
    );
    result
}

fn live(ground: &Ground, neighbours: &Neighbours, core: u16, rounds: &AtomicU64) {
    let _alarm = Alarm(neighbours);
    let mut neighbour = Neighbour::new(ground, core);
    for number in 1.. {
        if neighbours.stop.load(Ordering::Relaxed) {
            return;
        }
        neighbour.round(number);
        rounds.store(number, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
}

/// Requests of one round.
const REQUESTS_OF_A_ROUND: u64 = 11;

/// One well-behaved client.
struct Neighbour {
    client: Client,
    keys: Vec<String>,
    counter: String,
    absent: String,
    counted: i64,
}

impl Neighbour {
    fn new(ground: &Ground, core: u16) -> Self {
        let name = format!("neighbour-{core}");
        let keys = (0..CORES).map(|owner| ground.key(owner, &name)).collect();
        let mut client = ground.client_of(core);
        let counter = format!("{name}-counter");
        client.delete(&counter);
        Self { client, keys, counter, absent: format!("{name}-absent"), counted: 0 }
    }

    /// One of everything, checked.
    fn round(&mut self, number: u64) {
        let client = &mut self.client;
        for key in &self.keys {
            let answer = client.put_value(key, &number.to_string());
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            let version = answer.version();
            let answer = client.get(key).expect_status(200);
            assert_eq!((answer.member_text("value"), answer.version()), (number.to_string(), version));
            client.head(key).expect_status(200);
        }
        self.counted += 1;
        let counter = &self.counter;
        let answer = client.post("/v1/kv/incr", &format!("{{\"key\":\"{counter}\",\"delta\":1}}")).expect_status(200);
        assert_eq!(answer.member_text("value"), self.counted.to_string());
        let (here, there, absent) = (&self.keys[0], &self.keys[1], &self.absent);
        let body = format!("{{\"keys\":[\"{here}\",\"{absent}\",\"{there}\"]}}");
        let answer = client.post("/v1/kv/batch/get", &body).expect_status(200).json();
        let values: Vec<_> = answer["hits"].as_array().expect("hits").iter().map(|hit| hit["value"].as_u64()).collect();
        assert_eq!(values, [Some(number); 2], "{answer}");
        client.get(absent).expect_status(404);
        let gone = format!("{absent}-gone");
        client.put_value(&gone, "1").expect_status(201);
        client.delete(&gone).expect_status(204);
    }
}
