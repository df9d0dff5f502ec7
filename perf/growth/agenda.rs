//! What happens when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A core goes on.
    Step(usize),
    /// A request of this client reaches its core.
    Ask(usize),
    /// A request of whichever client reaches its core, and the time of the next one is drawn.
    AskAndDraw,
}

/// Events in the order of their time, those of the same time in the order in which they were entered.
#[derive(Debug, Default)]
pub struct Agenda {
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    entered: u64,
}

impl Agenda {
    /// Enters an event.
    pub fn enter(&mut self, at: u64, event: Event) {
        self.entered += 1;
        self.events.push(Reverse((at, self.entered, event)));
    }

    /// Takes the next one.
    pub fn next(&mut self) -> Option<(u64, Event)> {
        self.events.pop().map(|Reverse((at, _, event))| (at, event))
    }
}
