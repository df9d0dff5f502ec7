//! Operations whose instructions `perf/instructions` has callgrind count: see there, and perf/README.md.
//!
//! `counted [TEXT]` carries out all of them, or those whose name contains the text, and prints a line for each: how often
//! it was done while callgrind counted, and its name. By itself it measures nothing.
//!
//! Everything that could differ from run to run is fixed: seeds, keys, the clock, the order.

mod core;
mod counter;
mod encoding;
mod engine;
mod foreign;
#[path = "../on_lanes.rs"]
mod on_lanes;
mod parsing;
#[path = "../scramble.rs"]
mod scramble;
mod scrape;
mod shard;

use counter::Counter;

fn main() {
    let mut counter = Counter::new(std::env::args().nth(1));
    parsing::count(&mut counter);
    parsing::count_refusals(&mut counter);
    shard::count(&mut counter);
    encoding::count(&mut counter);
    engine::count(&mut counter);
    foreign::count(&mut counter);
    scrape::count(&mut counter);
}
