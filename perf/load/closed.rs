//! The closed loop: as fast as answers come.

use crate::connection::{self, Connection};
use crate::dialect::{Asked, Dialect, write_number};
use crate::epoll::Epoll;
use crate::keys::Keys;
use crate::options::{Ask, Options};
use crate::tally::Tally;
use crate::{PATIENCE, Result, signal};
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
    let mut load = Load::new(options)?;
    load.warm_up()?;
    if options.wait {
        signal::ready()?;
    }
    load.answer(options.requests, options.depth)
}

/// Connections, and what goes over them.
pub struct Load<'a> {
    options: &'a Options,
    pub epoll: Epoll,
    pub connections: Vec<Connection>,
    pub requests: Requests,
    pub dialect: Dialect,
    pub input: Vec<u8>,
}

impl<'a> Load<'a> {
    /// Opens the connections.
    ///
    /// # Errors
    /// If they or the keys cannot be had.
    pub fn new(options: &'a Options) -> Result<Self> {
        let epoll = Epoll::new()?;
        let connections = connection::open_all(options, &epoll)?;
        let (requests, dialect) = (Requests::new(options)?, Dialect::new(options));
        Ok(Self { options, epoll, connections, requests, dialect, input: connection::input() })
    }

    /// Asks once on each connection, so that the server has accepted them all.
    ///
    /// # Errors
    /// As for [`Self::answer`].
    pub fn warm_up(&mut self) -> Result<()> {
        let mut requests = Requests::new(self.options)?;
        std::mem::swap(&mut requests, &mut self.requests);
        self.answer(self.connections.len() as u64, 1)?;
        self.requests = requests;
        Ok(())
    }

    /// Sends so many requests in bursts of `depth` and takes their answers.
    ///
    /// # Errors
    /// If an answer is wrong, or none comes.
    pub fn answer(&mut self, count: u64, depth: usize) -> Result<Tally> {
        let mut tally = Tally::new(self.options)?;
        let start = Instant::now();
        for index in 0..self.connections.len() {
            self.send_burst(index, count, depth, &mut tally)?;
        }
        let mut ready = Vec::new();
        while tally.answered < count {
            self.epoll.wait(&mut ready, Some(PATIENCE))?;
            if ready.is_empty() {
                return Err(format!("no answer for {PATIENCE:?}, after {} answers", tally.answered).into());
            }
            for index in ready.iter().map(|&token| token as usize) {
                let connection = &mut self.connections[index];
                connection.serve(&self.epoll, &mut self.dialect, &mut self.input, &mut tally)?;
                if connection.awaited() == 0 {
                    self.send_burst(index, count, depth, &mut tally)?;
                }
            }
        }
        tally.elapsed = start.elapsed();
        Ok(tally)
    }

    fn send_burst(&mut self, index: usize, count: u64, depth: usize, tally: &mut Tally) -> Result<()> {
        let burst = usize::try_from(count - tally.sent).unwrap_or(usize::MAX).min(depth);
        let connection = &mut self.connections[index];
        let since = tally.is_timed().then(Instant::now);
        for _ in 0..burst {
            let asked = self.requests.next(connection.shard, tally);
            connection.push(&mut self.dialect, asked, since, tally);
        }
        connection.send(&self.epoll)
    }
}
