//! A line on the terminal that says how far it is.

use super::run::Progress;
use std::io::{IsTerminal as _, Write as _};

/// Columns that are cleared before a line is written over another.
const LINE_COLUMNS: usize = 72;

/// The line; nothing where standard error is no terminal.
#[derive(Debug)]
pub struct ProgressLine {
    shown: bool,
    requests_before: u64,
    seconds_before: f64,
}

impl ProgressLine {
    /// The line of a run that begins.
    #[must_use]
    pub fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal(), requests_before: 0, seconds_before: 0.0 }
    }

    /// Says what is being done.
    pub fn say(&self, text: &str) {
        if self.shown {
            // A terminal that is gone is no reason to stop.
            let _ = write!(std::io::stderr(), "\r{text:<LINE_COLUMNS$}");
        }
    }

    /// Says how far a run is.
    pub fn tell(&mut self, progress: Progress) {
        let text = self.text(progress);
        self.say(&text);
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r{:LINE_COLUMNS$}\r", "");
        }
    }

    fn text(&mut self, progress: Progress) -> String {
        let seconds = progress.elapsed.as_secs_f64();
        let since = (seconds - self.seconds_before).max(f64::EPSILON);
        let rate = progress.requests.saturating_sub(self.requests_before) as f64 / since;
        (self.requests_before, self.seconds_before) = (progress.requests, seconds);
        let (of, requests, failed) = (progress.duration.as_secs_f64(), progress.requests, progress.failed);
        format!("{seconds:.0} of {of:.0} s: {requests} requests, {rate:.0}/s, {failed} failed")
    }
}

impl Default for ProgressLine {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_rate_is_that_since_the_last_line() {
        let mut line = ProgressLine { shown: false, requests_before: 0, seconds_before: 0.0 };
        let at = |seconds, requests, failed| Progress {
            elapsed: Duration::from_secs(seconds),
            duration: Duration::from_secs(10),
            requests,
            failed,
        };
        assert_eq!(line.text(at(1, 100, 0)), "1 of 10 s: 100 requests, 100/s, 0 failed");
        assert_eq!(line.text(at(3, 500, 2)), "3 of 10 s: 500 requests, 200/s, 2 failed");
    }
}
