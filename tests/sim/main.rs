//! N engines in one thread, under a seeded scheduler and a clock of its own, held against a naive map.
//!
//! Lanes delay, reorder among each other, and refuse. A failing seed is printed and replays:
//! `SIM_SEED=… cargo test --test sim`.

mod world;

use world::{Seed, World};

/// Seeds tried by default; `SIM_SEEDS` asks for more.
const SEEDS: u64 = 300;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

#[test]
fn every_answer_is_the_one_that_a_single_map_would_give() {
    for seed in seeds() {
        println!("SIM_SEED={seed}");
        let mut world = World::new(Seed(seed));
        world.run();
        world.assert_nothing_is_left();
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        let mut world = World::new(Seed(seed));
        world.run();
        world.history()
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

#[test]
fn the_scheduler_does_refuse_delay_and_cut() {
    let mut seen = world::Seen::default();
    for seed in 1..=60 {
        let mut world = World::new(Seed(seed));
        world.run();
        seen.add(world.seen());
    }
    assert!(seen.refused > 0 && seen.delayed > 0 && seen.vanished > 0 && seen.too_late > 0, "{seen:?}");
    assert!(seen.pages > 0 && seen.no_pages > 0, "{seen:?}");
}
