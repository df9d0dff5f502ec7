//! N engines in one thread, under a seeded scheduler and a clock of its own, held against a model of each key.

mod campaign;
mod chance;
mod client;
mod fault;
mod generate;
mod lanes;
mod look;
mod model;
mod plan;
mod seen;
mod shrink;
mod traffic;
mod wire;
mod world;

use campaign::{follow, tell_of, try_seeds};
use plan::Plan;
use std::time::{Duration, Instant};

/// Seeds tried where nothing else is asked for.
const SEEDS: u64 = 3_000;

fn asked<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().ok().unwrap_or_else(|| panic!("{name}={text}")))
}

#[test]
fn every_answer_is_one_that_may_be() {
    if let Some(seed) = asked("SIM_SEED") {
        return judge(&Plan::of(seed));
    }
    if let Some(path) = asked::<String>("SIM_PLAN") {
        let text = std::fs::read_to_string(&path).expect("SIM_PLAN names a file");
        return judge(&Plan::parse(&text).expect("SIM_PLAN is a plan"));
    }
    let first = asked("SIM_FROM").unwrap_or(1);
    let began = Instant::now();
    let (tried, seen) = match asked::<f64>("SIM_HOURS") {
        Some(hours) => try_seeds(first, |_| began.elapsed() < Duration::from_secs_f64(hours * 3_600.0)),
        None => {
            let seeds = asked("SIM_SEEDS").unwrap_or(SEEDS);
            try_seeds(first, |tried| tried < seeds)
        }
    };
    println!("{tried} seeds from {first} on in {:?}:\n{}", began.elapsed(), seen.table());
}

fn judge(plan: &Plan) {
    if let Err(failure) = follow(plan, None).run {
        tell_of(plan, &failure);
    }
}
