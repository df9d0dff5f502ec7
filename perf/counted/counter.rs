//! Does an operation again and again where callgrind counts.

use std::ops::Range;

/// Rounds before those that are counted: buffers and tables grow to what they need.
pub const WARM_UP: usize = 300;
/// Rounds that are counted, unless an operation is so long that fewer suffice.
pub const ROUNDS: usize = 1_000;
/// Of those.
pub const LONG_ROUNDS: usize = 20;

/// The only place where callgrind counts (`--toggle-collect`): it begins and ends with this function, and what was counted
/// is written down at its end (`--dump-after`).
// SAFETY: no other symbol of this program or of its libraries has this name.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn instructions_counted(rounds: Range<usize>, operation: &mut dyn FnMut(usize)) {
    for round in rounds {
        operation(round);
    }
}

/// Goes through the operations.
pub struct Counter {
    wanted: Option<String>,
}

impl Counter {
    /// Only operations whose name contains `wanted`. The first of all is to do nothing, [`ROUNDS`] times: what that takes
    /// is the loop's.
    pub fn new(wanted: Option<String>) -> Self {
        let counter = Self { wanted };
        counter.run("nothing", ROUNDS, |_| {});
        counter
    }

    /// Whether an operation is wanted. For those that are long to prepare.
    pub fn wants(&self, name: &str) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| name.contains(wanted.as_str()))
    }

    /// Counts an operation, which is told the number of its round: from 0, [`WARM_UP`] and [`ROUNDS`] of them.
    pub fn count(&mut self, name: &str, operation: impl FnMut(usize)) {
        if self.wants(name) {
            self.run(name, ROUNDS, operation);
        }
    }

    /// The same for an operation that takes so long that fewer rounds suffice: twice [`LONG_ROUNDS`], half of them counted.
    pub fn count_long(&mut self, name: &str, operation: impl FnMut(usize)) {
        if self.wants(name) {
            self.run(name, LONG_ROUNDS, operation);
        }
    }

    fn run(&self, name: &str, rounds: usize, mut operation: impl FnMut(usize)) {
        let warm_up = WARM_UP.min(rounds);
        (0..warm_up).for_each(&mut operation);
        instructions_counted(warm_up..warm_up + rounds, &mut operation);
        println!("{rounds} {name}");
    }
}
