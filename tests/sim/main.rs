//! N engines in one thread, under a seeded scheduler and a clock of its own, held against a model of each key.
//!
//! A seed makes a plan: a list of steps that says what clients ask, when their bytes and the parcels between cores arrive,
//! which lanes are full, which cores stand still, when rules change and how time passes. A world follows it, with the
//! engines of the server, kernels with small buffers, and lanes with bad habits, and looks after every step whether all is
//! as it must be. Then it lets everything come to rest, and looks whether anything is left.
//!
//! | module | what it is about |
//! | --- | --- |
//! | `plan`, `generate`, `chance` | plans, and how they come from seeds |
//! | `world`, `traffic`, `lanes` | how a plan is followed; what goes on between clients and cores, and between cores |
//! | `client`, `wire` | requests, and what answers tell |
//! | `model` | which answers may be: per key, linearizability with eviction and expiry |
//! | `histories` | histories made by hand, to see that the model tells right from wrong |
//! | `look` | what must be so after every step, and when all is over |
//! | `campaign`, `shrink` | many seeds; what is told of one that fails |
//! | `fault` | mistakes made on purpose, which must be found |
//! | `seen` | what has happened, which must be everything that can |
//!
//! | to | there is |
//! | --- | --- |
//! | try other seeds | `SIM_SEEDS=100000 SIM_FROM=5000 cargo test --test sim` |
//! | go on for hours, with seeds that nobody has tried | `SIM_HOURS=2 cargo test --release --test sim` |
//! | see a seed fail again | `SIM_SEED=17 cargo test --test sim` |
//! | follow a plan, such as one that was shrunk | `SIM_PLAN=target/tmp/sim-17.plan cargo test --test sim` |
//!
//! A seed that fails is shrunk at once: steps are left out as long as the rest fails in the same way. What is left is
//! printed, and saved for `SIM_PLAN`.

mod campaign;
mod chance;
mod client;
mod fault;
mod generate;
mod histories;
mod lanes;
mod look;
mod model;
mod plan;
mod seen;
mod shrink;
mod traffic;
mod wire;
mod world;

use campaign::{find, follow, tell_of, try_seeds};
use fault::Fault;
use plan::{Plan, Step};
use seen::Seen;
use shrink::shrink;
use std::time::{Duration, Instant, SystemTime};

/// Seeds tried where nothing else is asked for, the same ones every time.
const SEEDS: u64 = 2_400;
/// A fault is found by one of so many seeds.
const SEEDS_PER_FAULT: u64 = 120;

fn asked<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} makes no sense")))
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
    if let Some(hours) = asked::<f64>("SIM_HOURS") {
        let (began, length) = (Instant::now(), Duration::from_secs_f64(hours * 3_600.0));
        try_and_tell(asked("SIM_FROM").unwrap_or_else(untried), |_| began.elapsed() < length);
        return;
    }
    let (first, seeds) = (asked("SIM_FROM").unwrap_or(1), asked("SIM_SEEDS").unwrap_or(SEEDS));
    let seen = try_and_tell(first, |tried| tried < seeds);
    if seeds >= SEEDS {
        assert_everything_has_happened(&seen);
    }
}

fn try_and_tell(first: u64, goes_on: impl Fn(u64) -> bool + Sync) -> Seen {
    println!("SIM_FROM={first}");
    let began = Instant::now();
    let (tried, seen) = try_seeds(first, goes_on);
    println!("{tried} seeds in {:?}:\n{}", began.elapsed(), seen.table());
    seen
}

/// A first seed that differs from second to second, far from those that are tried every time.
fn untried() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("it is later than 1970");
    since.as_secs() << 20
}

fn judge(plan: &Plan) {
    if let Err(failure) = follow(plan, None).run {
        tell_of(plan, &failure);
    }
}

fn assert_everything_has_happened(seen: &Seen) {
    let rare: Vec<_> = seen::HARD_THINGS.iter().filter(|(what, least)| seen.times(what) < *least).collect();
    assert!(rare.is_empty(), "these were seen less often than that: {rare:?}\n{}", seen.table());
    let (lost, followed) = (seen.times("keys lost sight of"), seen.times("keys followed to the end"));
    assert!(lost * 20 < followed, "{lost} keys had too many possible pasts, {followed} were followed");
}

#[test]
fn the_same_plan_gives_the_same_history() {
    for seed in 1..=20 {
        let plan = Plan::of(seed);
        assert_eq!(plan, Plan::of(seed));
        let histories = [follow(&plan, None).history, follow(&plan, None).history];
        assert!(histories[0] == histories[1], "SIM_SEED={seed}");
        assert!(!histories[0].is_empty());
    }
    assert_ne!(follow(&Plan::of(7), None).history, follow(&Plan::of(8), None).history);
}

#[test]
fn a_plan_is_the_same_when_it_is_read_again() {
    for seed in 1..=50 {
        let plan = Plan::of(seed);
        assert_eq!(Plan::parse(&plan.text()).as_ref(), Ok(&plan));
    }
    assert!(Plan::parse("").is_err() && Plan::parse(&(Plan::of(1).text() + "\n\"Rest\"")).is_err());
}

/// A world that could not find mistakes would be satisfied with everything.
#[test]
fn every_mistake_made_on_purpose_is_found() {
    for fault in Fault::ALL {
        let found = find(fault, SEEDS_PER_FAULT);
        let (plan, failure) = found.unwrap_or_else(|| panic!("{fault:?} goes unseen for {SEEDS_PER_FAULT} seeds"));
        println!("{fault:?}: SIM_SEED={}: {}", plan.seed, failure.kind);
    }
}

#[test]
fn a_plan_that_fails_is_shrunk_to_what_it_takes() {
    for fault in [Fault::LostWrite, Fault::OvertakingParcel, Fault::LeakedLease, Fault::StaleRead] {
        let (plan, failure) = find(fault, SEEDS_PER_FAULT).expect("this fault is found");
        let fails = |plan: &Plan| follow(plan, Some(fault)).run.err();
        let shrunk = shrink(&plan, &failure, fails);
        let (before, after) = (plan.steps.len(), shrunk.plan.steps.len());
        println!("{fault:?}: {before} steps, then {after}:\n{}", shrunk.plan.text());
        assert!(after <= 40, "{after} steps are left for {fault:?}");
        assert!(follow(&shrunk.plan, None).run.is_ok(), "it is the fault that makes it fail");
        let read_again = Plan::parse(&shrunk.plan.text()).expect("a plan is a plan");
        assert!(fails(&read_again).is_some_and(|again| again.kind == failure.kind), "it fails from its file as well");
        for at in 0..after {
            let steps = [&shrunk.plan.steps[..at], &shrunk.plan.steps[at + 1..]].concat();
            let same = fails(&Plan { steps, ..shrunk.plan.clone() }).filter(|other| other.kind == failure.kind);
            assert!(same.is_none(), "{fault:?} does not take {:?}", shrunk.plan.steps[at]);
        }
    }
}

#[test]
fn steps_that_find_nothing_to_do_do_no_harm() {
    for seed in 1..=10 {
        let mut plan = Plan::of(seed);
        plan.steps.retain(|step| !matches!(step, Step::Ask { .. }));
        assert!(follow(&plan, None).run.is_ok(), "SIM_SEED={seed} without a question");
        plan.steps.clear();
        assert!(follow(&plan, None).run.is_ok(), "SIM_SEED={seed} without a step");
    }
}
