//! The only reader of clocks.

use crate::time::{Mono, Now, UnixMillis};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A wall clock further from where it should be than this was stepped, not merely slewed, in milliseconds.
const STEP_MS: u64 = 500;

/// Reads the machine's clocks for one core. All clocks of the process share one epoch.
#[derive(Debug)]
pub struct Clock {
    epoch: Instant,
    wall_offset_ms: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that is right about the wall time now.
    #[must_use]
    pub fn new() -> Self {
        static EPOCH: OnceLock<Instant> = OnceLock::new();
        let mut clock = Self { epoch: *EPOCH.get_or_init(Instant::now), wall_offset_ms: 0 };
        clock.wall_offset_ms = wall().0.saturating_sub(clock.mono().as_millis());
        clock
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Now {
        Now::new(self.mono(), self.wall_offset_ms)
    }

    /// Looks whether the wall clock was stepped, and follows it if so. To be called now and then.
    pub fn follow_wall(&mut self) {
        let (expected, actual) = (self.now().unix().0, wall().0);
        if expected.abs_diff(actual) > STEP_MS {
            self.wall_offset_ms = actual.saturating_sub(self.mono().as_millis());
        }
    }

    fn mono(&self) -> Mono {
        Mono::from_nanos(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

fn wall() -> UnixMillis {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}
