//! The open loop: requests are due by a clock, whatever became of those before.

use crate::closed::Load;
use crate::options::Options;
use crate::scramble::scramble;
use crate::tally::Tally;
use crate::{PATIENCE, Result};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When requests are due.
struct Arrivals {
    next: Instant,
    end: Instant,
    interval_seconds: f64,
    poisson: bool,
    number: u64,
}

impl Arrivals {
    fn new(start: Instant, rate: f64, options: &Options) -> Self {
        let end = start + Duration::from_secs_f64(options.seconds);
        Self { next: start, end, interval_seconds: 1.0 / rate, poisson: options.poisson, number: 0 }
    }

    /// When the next request was due, if it was by `now`.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next;
        if due > now || due >= self.end {
            return None;
        }
        // Between 0, which has no logarithm, and 1.
        let unit = ((scramble(self.number) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        let factor = if self.poisson { -unit.ln() } else { 1.0 };
        self.number += 1;
        self.next += Duration::from_secs_f64(self.interval_seconds * factor);
        Some(due)
    }

    fn are_over(&self) -> bool {
        self.next >= self.end
    }
}

/// Sends requests when they are due and waits for all answers.
///
/// # Errors
/// If an answer is wrong, or none comes.
pub fn run(options: &Options) -> Result<Tally> {
    let mut load = Load::new(options)?;
    load.warm_up()?;
    let Load { epoll, connections, requests, dialect, input, .. } = &mut load;
    // A connection is in here once for each request that it may take.
    let mut free: VecDeque<usize> = (0..options.depth).flat_map(|_| 0..connections.len()).collect();
    let mut ready = Vec::new();
    let mut tally = Tally::new(options)?;
    let start = Instant::now();
    let mut arrivals = Arrivals::new(start, options.rate.ok_or("an open loop has a rate")?, options);
    // Requests that were due when no connection was free.
    let mut waiting = VecDeque::new();
    let mut heard = start;
    while !arrivals.are_over() || !waiting.is_empty() || tally.answered < tally.sent {
        let now = Instant::now();
        while let Some(due) = arrivals.due(now) {
            waiting.push_back(due);
        }
        while let (Some(&due), Some(&index)) = (waiting.front(), free.front()) {
            waiting.pop_front();
            free.pop_front();
            let connection = &mut connections[index];
            let asked = requests.next(connection.shard, &mut tally);
            connection.push(dialect, asked, Some(due), &mut tally);
            connection.send(epoll)?;
        }
        if options.lossy {
            tally.lost += waiting.drain(..).count() as u64;
        }
        epoll.wait(&mut ready, Some(Duration::ZERO))?;
        for &token in &ready {
            let connection = &mut connections[token as usize];
            let was_awaited = connection.awaited();
            connection.serve(epoll, dialect, input, &mut tally)?;
            if options.fresh && was_awaited > 0 && connection.awaited() == 0 {
                connection.renew(options, epoll)?;
            }
            free.extend(std::iter::repeat_n(token as usize, was_awaited - connection.awaited()));
            heard = now;
        }
        if tally.answered < tally.sent && now.duration_since(heard) > PATIENCE {
            return Err(format!("no answer for {PATIENCE:?}, after {} answers", tally.answered).into());
        }
    }
    tally.elapsed = start.elapsed();
    Ok(tally)
}
