//! What is simulated.

use crate::clients::{Spread, Workload};
use crate::costs::Costs;
use clap::{Args, Parser};
use serde::Serialize;

/// Counts what travels between 1 to 64 shards, and how busy they are, with real engines on cores that are simulated: see
/// docs/growth.md
#[derive(Parser, Debug)]
pub struct Options {
    /// How many shards, one run for each
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
    pub shards: Vec<u16>,
    /// What is asked for
    #[arg(long, value_delimiter = ',', default_value = "uniform,zipf,batch,aware")]
    pub workloads: Vec<Workload>,
    /// Open loops at so many hundredths of what the closed loop reached
    #[arg(long, value_delimiter = ',', default_value = "50,80")]
    pub loads: Vec<u32>,
    /// Print JSON instead of Markdown
    #[arg(long)]
    pub json: bool,
    /// Measure what a hop takes on this machine instead
    #[arg(long)]
    pub measure: bool,
    /// The rest.
    #[command(flatten)]
    pub setting: Setting,
}

/// What is the same in all runs.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Setting {
    /// Requests of a run; a twentieth of that with batches
    #[arg(long, default_value_t = 200_000)]
    pub requests: u64,
    /// Connections for each core
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// How connections come to the cores
    #[arg(long, value_enum, default_value_t = Spread::Even)]
    pub spread: Spread,
    /// How many keys there are
    #[arg(long, default_value_t = 100_000)]
    pub keys: u64,
    /// Requests that may be in progress at a core
    #[arg(long, default_value_t = 1_000)]
    pub inflight: usize,
    /// Requests that may wait at a core's lane
    #[arg(long, default_value_t = 1_000)]
    pub mailbox: usize,
    /// Where all chance comes from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What things take.
    #[command(flatten)]
    #[serde(flatten)]
    pub costs: Costs,
}
