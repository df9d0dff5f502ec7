//! What the world did to the engines; a simulation in which nothing bad happens shows nothing.

use std::collections::BTreeMap;

/// How often what was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    pub fn note(&mut self, what: &'static str) {
        self.add_to(what, 1);
    }

    pub fn note_if(&mut self, is_so: bool, what: &'static str) {
        if is_so {
            self.note(what);
        }
    }

    pub fn add_to(&mut self, what: &'static str, times: u64) {
        if times > 0 {
            *self.0.entry(what).or_default() += times;
        }
    }

    pub fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            self.add_to(what, *times);
        }
    }

    pub fn times(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    pub fn table(&self) -> String {
        self.0.iter().map(|(what, times)| format!("{times:>10}  {what}\n")).collect()
    }
}

/// What must have happened, and how often at least, when some thousands of plans were followed: a third of what was seen when
/// this was written, or less.
pub const HARD_THINGS: &[(&str, u64)] = &[
    ("batches", 5_000),
    ("bytes dropped after the last answer", 5_000),
    ("clients invited to send a body", 500),
    ("clients not read from", 10_000),
    ("clients stopped", 2_000),
    ("clients that hung up", 500),
    ("conditions that did not hold", 2_000),
    ("connections cut off for silence", 200),
    ("connections ended in a body that was refused", 50),
    ("cores paused for longer than a request may take", 800),
    ("cores whose clocks were behind", 2_000),
    ("counted", 2_000),
    ("deleted", 1_000),
    ("drained", 200),
    ("evicted", 400),
    ("expired", 800),
    ("hits", 8_000),
    ("kernels full", 20_000),
    ("long values pulled", 1_000),
    ("no page", 200),
    ("not a number", 800),
    ("not modified", 100),
    ("pages", 1_000),
    ("pages refused", 1),
    ("pressed for room", 5),
    ("questions and pulls put off", 40),
    ("refused by a lane", 2_000),
    ("refused by a lane that had filled", 800),
    ("refused for coming too late", 1_500),
    ("refused for too many in progress", 1_500),
    ("refused for want of room", 100),
    ("reloads", 3_000),
    ("timed out", 80),
    ("too large", 600),
    ("updated", 2_500),
    ("vanished in the middle of a body", 200),
    ("vanished in the middle of a head", 200),
    ("vanished in the middle of an answer", 600),
    ("vanished with requests in progress", 1_500),
    ("wrong requests", 800),
];
