//! The closed loop: as fast as answers come.

use crate::connection::{self, Connection};
use crate::dialect::{Asked, Dialect, write_number};
use crate::epoll::Epoll;
use crate::keys::Keys;
use crate::options::{Ask, Options};
use crate::tally::Tally;
use crate::{PATIENCE, Result};
use std::time::Instant;

/// What is asked next.
pub struct Requests {
    keys: Keys,
    ask: Ask,
}

impl Requests {
    /// As the options ask.
    ///
    /// # Errors
    /// If the keys cannot be had.
    pub fn new(options: &Options) -> Result<Self> {
        Ok(Self { keys: Keys::new(options)?, ask: options.ask })
    }

    /// The next request for a connection to this shard.
    pub fn next(&mut self, shard: usize, tally: &mut Tally) -> Asked {
        let (key, foreign) = self.keys.next(shard);
        tally.foreign += u64::from(foreign);
        match self.ask {
            Ask::Put => Asked::Put(key, write_number(tally.sent)),
            Ask::Mixed if write_number(tally.sent).is_multiple_of(10) => Asked::Put(key, write_number(tally.sent)),
            Ask::Get | Ask::Mixed => Asked::Get(key),
            Ask::Batch => Asked::Batch(key),
        }
    }
}

/// Sends all requests and takes all answers.
///
/// # Errors
/// If an answer is wrong, or none comes.
pub fn run(options: &Options) -> Result<Tally> {
    let epoll = Epoll::new()?;
    let mut connections = connection::open_all(options, &epoll)?;
    let (mut requests, mut dialect) = (Requests::new(options)?, Dialect::new(options));
    let (mut ready, mut input) = (Vec::new(), connection::input());
    let mut tally = Tally::new(options)?;
    let start = Instant::now();
    for connection in &mut connections {
        send_burst(connection, &epoll, options, &mut requests, &mut dialect, &mut tally)?;
    }
    while tally.answered < options.requests {
        epoll.wait(&mut ready, Some(PATIENCE))?;
        if ready.is_empty() {
            return Err(format!("no answer for {PATIENCE:?}, after {} answers", tally.answered).into());
        }
        for &token in &ready {
            let connection = &mut connections[token as usize];
            connection.serve(&epoll, &mut dialect, &mut input, &mut tally)?;
            if connection.awaited() == 0 {
                send_burst(connection, &epoll, options, &mut requests, &mut dialect, &mut tally)?;
            }
        }
    }
    tally.elapsed = start.elapsed();
    Ok(tally)
}

fn send_burst(
    connection: &mut Connection,
    epoll: &Epoll,
    options: &Options,
    requests: &mut Requests,
    dialect: &mut Dialect,
    tally: &mut Tally,
) -> Result<()> {
    let left = usize::try_from(options.requests - tally.sent).unwrap_or(usize::MAX);
    let since = tally.is_timed().then(Instant::now);
    for _ in 0..options.depth.min(left) {
        let asked = requests.next(connection.shard, tally);
        connection.push(dialect, asked, since, tally);
    }
    connection.send(epoll)
}
