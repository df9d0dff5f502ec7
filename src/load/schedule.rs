//! When an open loop sends: evenly spread over all connections, whatever the server does.

use std::time::Duration;

/// The moments at which one of several connections is to send, so that they send at `rate` together.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rate: f64,
    connections: u64,
    index: u64,
}

impl Schedule {
    /// That of the connection `index`, from 0, of `connections` that send `rate` requests per second in all.
    #[must_use]
    pub const fn new(rate: f64, connections: u64, index: u64) -> Self {
        Self { rate, connections, index }
    }

    /// When its request `number`, from 0, is to be sent, from the start.
    #[must_use]
    pub fn moment(&self, number: u64) -> Duration {
        Duration::from_secs_f64((self.index + number * self.connections) as f64 / self.rate)
    }

    /// How many of its requests are to be sent before `elapsed`.
    #[must_use]
    pub fn due(&self, elapsed: Duration) -> u64 {
        let of_all = (elapsed.as_secs_f64() * self.rate).ceil() as u64;
        of_all.saturating_sub(self.index).div_ceil(self.connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_in_all(rate: f64, connections: u64, elapsed: Duration) -> u64 {
        (0..connections).map(|index| Schedule::new(rate, connections, index).due(elapsed)).sum()
    }

    #[test]
    fn all_connections_together_keep_the_rate() {
        for (rate, connections, seconds, expected) in
            [(1000.0, 64, 10, 10_000), (1.0, 8, 3, 3), (0.5, 1, 3, 2), (100.0, 7, 1, 100), (5.0, 3, 0, 0)]
        {
            let due = due_in_all(rate, connections, Duration::from_secs(seconds));
            assert_eq!(due, expected, "{rate} over {connections} for {seconds} s");
        }
    }

    #[test]
    fn moments_are_evenly_spread() {
        let second = Schedule::new(100.0, 4, 1);
        let moments: Vec<u128> = (0..3).map(|number| second.moment(number).as_millis()).collect();
        assert_eq!(moments, [10, 50, 90]);
    }

    #[test]
    fn what_is_due_is_what_has_its_moment_before() {
        for index in 0..8 {
            let schedule = Schedule::new(128.0, 8, index);
            for millis in 0..400 {
                let elapsed = Duration::from_millis(millis);
                let counted = (0..100).filter(|&number| schedule.moment(number) < elapsed).count() as u64;
                assert_eq!(schedule.due(elapsed), counted, "{index} after {millis} ms");
            }
        }
    }
}
