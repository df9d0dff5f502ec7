//! Random commands, time, upkeep, budgets, leases and reservations, against a shard and a naive model side by side.
//!
//! `MODEL_SEED` replays a run, `MODEL_STEPS` makes it longer or shorter.

mod ask;
mod naive;
mod pair;
#[expect(dead_code, reason = "choices that a fuzzer has made are for fuzz/bodies/shard.rs")]
mod random;

use pair::{Done, Pair};
use random::Random;
use std::time::{SystemTime, UNIX_EPOCH};

/// Steps with one shard before the next one begins afresh.
const STEPS_PER_ROUND: u64 = 3_000;
const STEPS_DEFAULT: u64 = 45_000;
/// In so many steps of a round everything in the shard is checked against everything else; in some rounds after each.
const STEPS_PER_CHECK: u64 = 32;

#[test]
fn a_shard_does_what_the_model_does() {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let seed = number_from("MODEL_SEED").unwrap_or_else(clock);
    let steps = number_from("MODEL_STEPS").unwrap_or(STEPS_DEFAULT);
    println!("MODEL_SEED={seed} MODEL_STEPS={steps}");
    let mut random = Random::Seed(seed);
    let mut done = Done::default();
    for round in 0..steps.div_ceil(STEPS_PER_ROUND) {
        let mut pair = Pair::new(&mut random, round);
        let checks_each_step = round % 5 == 4;
        for step in 0..STEPS_PER_ROUND.min(steps - round * STEPS_PER_ROUND) {
            pair.trace = format!("MODEL_SEED={seed}: round {round}, step {step}");
            pair.step(&mut random);
            pair.compare(checks_each_step || step % STEPS_PER_CHECK == 0);
        }
        done += pair.end();
    }
    println!("{done:?}");
    if steps >= STEPS_DEFAULT {
        done.assert_enough(steps);
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}
