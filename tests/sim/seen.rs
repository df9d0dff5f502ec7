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

/// What must have happened, and how often at least, when some thousands of plans were followed.
pub const HARD_THINGS: &[(&str, u64)] = &[("evicted", 100), ("expired", 500)];
