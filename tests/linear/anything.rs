//! Servers and loads drawn by lot: what nobody thought of putting together. Three in each run of the tests;
//! `LINEAR_ROUNDS=1000 cargo test --test linear anything -- --nocapture` goes on through a night.

use crate::history::{Answer, Event};
use crate::load::{Load, seed};
use crate::mishap::{DEPARTURES, Mishap};
use crate::model::Rules;
use crate::random::Random;
use crate::report::judge_all;
use crate::runs::{launch, run_while, stop_for};
use std::collections::HashSet;

const ROUNDS: u64 = 3;

/// What may happen to entries in a round. Lost connections go with neither kind of loss, so that the model needs no
/// guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Evicted,
    Expired,
    /// Nothing: clients get lost instead.
    Kept,
}

type Variables = [(&'static str, &'static str); 6];

fn server(random: &mut Random, fate: Fate) -> Variables {
    let budgets: &[&str] = if fate == Fate::Evicted { &["2097152", "4194304", "8388608"] } else { &["0"] };
    [
        ("SHARDS", random.of(&["1", "2", "3", "5", "8", "16"])),
        ("MEMORY_BUDGET_BYTES", random.of(budgets)),
        ("EVICTION_POLICY", random.of(&["lru", "s3fifo"])),
        ("MAX_INFLIGHT", random.of(&["8", "100", "1000"])),
        ("MAX_SHARD_MAILBOX", random.of(&["1", "4", "1000"])),
        ("REQUEST_TIMEOUT_MS", random.of(&["2", "20", "2000"])),
    ]
}

fn load(random: &mut Random, fate: Fate) -> Load {
    let leaves = fate == Fate::Kept;
    Load {
        seed: random.next(),
        clients: 6 + random.below(6) as usize,
        requests: 1_500,
        hot: 4 + random.below(6),
        generation: if leaves { 50 } else { 200 },
        cold: if leaves { 4_000 } else { 800 },
        long_one_in: random.of(&[4, 6, 24]),
        lifetimes: if fate == Fate::Expired { &[0, 1] } else { &[0] },
        mishap_one_in: 15,
        mishaps: if leaves { &DEPARTURES } else { &[Mishap::HalfClose] },
        slow_one_in: 20,
        ..Load::default()
    }
}

fn round(seed: u64) {
    let mut random = Random::Seed(seed);
    let fate = random.of(&[Fate::Evicted, Fate::Expired, Fate::Kept]);
    let (variables, load) = (server(&mut random, fate), load(&mut random, fate));
    let (stopped_ms, going_ms) = (random.below(20), 5 + random.below(40));
    println!("LINEAR_SEED={seed}: {fate:?} {variables:?} {load:?}, stopped for {stopped_ms} of {going_ms} ms");
    let server = launch(&variables).start();
    let mut events = run_while(load, &server, |_| stop_for(&server, stopped_ms, going_ms));
    if fate != Fate::Kept {
        leave_out_unsure(&mut events);
    }
    judge_all(events, Rules { may_evict: fate == Fate::Evicted }).assert_linearizable("anything", seed);
}

/// A server that is impatient and stopped in the middle of a body may give up its connection, and then nobody knows of
/// the requests behind. Keys of which that is so cannot be judged if entries get lost as well.
fn leave_out_unsure(events: &mut Vec<Event>) {
    let is_unsure = |event: &&Event| matches!(event.answer, Answer::Unknown) && event.action.writes();
    let unsure: HashSet<String> = events.iter().filter(is_unsure).map(|event| event.key.clone()).collect();
    let before = events.len();
    events.retain(|event| !unsure.contains(&event.key));
    assert!(events.len() * 2 > before, "{} keys are unsure", unsure.len());
}

#[test]
fn anything() {
    let rounds = std::env::var("LINEAR_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    (0..rounds).for_each(|number| round(seed() + number));
}
