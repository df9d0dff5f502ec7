//! A load generator: keep-alive connections on one thread, and a check of every answer: its status, that it is complete, and
//! that each value in it is the one that belongs to its key. It speaks HTTP as the server's contract has it, HTTP with bare
//! values, Redis's and memcached's protocol. One line of JSON says what happened.
//!
//! Without `--rate` it is a closed loop: each connection sends a burst of `--depth` requests when all answers to its last
//! one are there, until `--requests` are answered. With `--rate` it is an open loop for `--seconds`: requests are due by
//! a clock (evenly or as a Poisson process), whatever became of those before, and a latency counts from when its request
//! was due, not from when a connection was free to send it. It keeps its processor busy meanwhile, so that it is never late
//! because it slept.
//!
//! `load --address A[,A…] [--dialect json|raw|redis|memcached] [--path /v1/kv/{key}?raw=true] [--token T]`\
//! `[--ask get|put|mixed|batch] [--keys K] [--draw uniform|zipf|order] [--value-bytes V] [--fixed GET_BODY[,PUT_BODY]]`\
//! `[--connections N] [--depth D] [--requests COUNT] [--time 1] [--wait 1]`\
//! `[--rate PER_SECOND --seconds S [--arrivals even|poisson] [--lossy 1] [--fresh 1]]`\
//! `[--topology 1 [--foreign PERCENT]]`
//!
//! Connections go round the addresses. `--fixed` expects bodies of so many `y` instead of values (the floor, nginx), the
//! second length for writes. `mixed` is nine reads and a write. A batch is 100 keys. `--time 1` measures latencies in a closed
//! loop as well, from sending a burst to each of its answers. Each connection asks once before anything counts; `--wait 1` then
//! prints `ready`, waits for a line of input, and for another one before the connections close.
//!
//! In an open loop a connection takes up to `--depth` requests at a time. `--lossy 1` is for servers that are asked for more than
//! they can do: a request that finds no connection free when it is due is lost, and one that is refused with 503 and a `Retry-After`
//! is counted with its own latencies. Both are told beside the answers. `--fresh 1` resets each connection that has been answered
//! and opens another one in its place: a connection for each request, without the ends of connections that a port waits for.
//!
//! `--topology 1` asks the first address for `/v1/topology` and takes the addresses for those of the shards, in their order: a
//! connection then asks for keys of the shard that it reaches, but for `--foreign` of a hundred, which are of other shards.

mod closed;
mod connection;
mod dialect;
mod http;
mod keys;
mod lines;
mod open;
mod options;
mod signal;
mod tally;
mod topology;

#[path = "../answers.rs"]
mod answers;
#[path = "../epoll.rs"]
mod epoll;
#[path = "../scramble.rs"]
mod scramble;
#[path = "../values.rs"]
mod values;

use std::error::Error;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long the server may say nothing at all.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let options = options::Options::from_arguments()?;
    let tally = if options.rate.is_some() { open::run(&options)? } else { closed::run(&options)? };
    println!("{}", tally.summary());
    if options.wait { signal::wait() } else { Ok(()) }
}
