//! What more shards cost, on paper: real engines on cores that are simulated, each with its own clock.
//!
//! `growth --help` lists the options. For each number of shards it runs a closed loop, which keeps all cores as busy as it
//! can, and open loops at shares of the rate that the closed loop reached. Messages, doorbells, sleeps and bytes are
//! counted; times follow from the costs that it was given and from nothing else. The same seed gives the same
//! figures. `growth --measure` measures what of the costs belongs to a hop, on two CPUs with nothing else on them.

mod agenda;
mod clients;
mod core;
mod costs;
#[path = "../epoll.rs"]
#[expect(dead_code, reason = "the floor needs more of it")]
mod epoll;
mod measured;
#[path = "../on_lanes.rs"]
mod on_lanes;
mod options;
mod post;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod world;

use clap::Parser as _;
use clients::Workload;
use options::{Options, Setting};
use tally::Tally;
use world::{Loop, World};

/// What became of one number of shards.
#[derive(Debug)]
struct Row {
    shards: u16,
    closed: Tally,
    /// By the hundredths of the rate of the closed loop.
    open: Vec<(u32, Tally)>,
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    if options.measure {
        return measured::print();
    }
    let parts: Vec<(Workload, Vec<Row>)> = options.workloads.iter().map(|it| (*it, rows(*it, &options))).collect();
    if options.json {
        println!("{:#}", table::json(&options, &parts));
    } else {
        print!("{}", table::markdown(&options, &parts));
    }
    Ok(())
}

fn rows(workload: Workload, options: &Options) -> Vec<Row> {
    options.shards.iter().map(|shards| row(*shards, workload, &options.loads, &options.setting)).collect()
}

fn row(shards: u16, workload: Workload, loads: &[u32], setting: &Setting) -> Row {
    let requests = if workload == Workload::Batch { setting.requests / 20 } else { setting.requests };
    let mut world = World::new(shards, workload, setting);
    let closed = world.run(Loop::Closed, requests);
    let pace = |percent: u32| Loop::Open(closed.nanos_between_answers() * 100.0 / f64::from(percent));
    let open = loads.iter().map(|percent| (*percent, world.run(pace(*percent), requests))).collect();
    Row { shards, closed, open }
}
