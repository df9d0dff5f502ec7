//! What a client asks for next.

use crate::client::Caller;
use crate::history::{Action, Condition};
use crate::requests::Ask;
use crate::values::Kind;
use std::collections::BTreeSet;

/// Of a hundred requests so many are for hot keys.
const HOT_PERCENT: u64 = 60;
/// Keys in a batch, at most.
const BATCH_MAX: u64 = 8;

impl Caller<'_> {
    /// The next request.
    pub fn ask(&mut self) -> Ask {
        // What keeps is read, or created if it is missing.
        let choice = if self.load.keeps { self.random.of(&[8, 8, 40, 74]) } else { self.random.below(100) };
        match choice {
            0..5 => self.batch(|_, _| Action::Get { unless: None }),
            5..7 => self.batch(|caller, _| caller.put(Condition::Always)),
            7..8 => self.batch(|_, _| Action::Delete { condition: Condition::Always }),
            _ => {
                let key = self.key();
                let action = self.action(choice, &key);
                Ask { wishes: vec![(key, action)], otherwise: self.one_in(4) }
            }
        }
    }

    /// The key seen last, so that what is known of it is of use, or any.
    fn key(&mut self) -> String {
        if let Some(latest) = self.latest.take_if(|_| !self.load.keeps && self.random.one_in(3)) {
            return latest;
        }
        let (is_hot, place) = (self.random.below(100) < HOT_PERCENT, self.random.next());
        if is_hot { self.keys.hot(place) } else { self.keys.cold(place) }
    }

    fn batch(&mut self, action: impl Fn(&mut Self, &str) -> Action) -> Ask {
        // In a batch each key stands once: a repeated one has an order of its own.
        let keys: BTreeSet<String> = (0..2 + self.random.below(BATCH_MAX - 1)).map(|_| self.key()).collect();
        let wishes = keys.into_iter().map(|key| {
            let action = action(self, &key);
            (key, action)
        });
        Ask { wishes: wishes.collect(), otherwise: false }
    }

    fn action(&mut self, choice: u64, key: &str) -> Action {
        let seen = self.seen.get(key).cloned();
        let matches = seen.clone().map_or(Condition::Exists, Condition::Matches);
        match choice {
            8..40 => Action::Get { unless: None },
            40..48 => Action::Get { unless: seen },
            48..60 => self.put(Condition::Always),
            60..74 => self.put(matches),
            74..79 => self.put(Condition::Missing),
            79..82 => self.put(seen.map_or(Condition::Missing, Condition::Differs)),
            82..86 => Action::Delete { condition: Condition::Always },
            86..89 => Action::Delete { condition: matches },
            _ if Kind::of(key) == Kind::Number => {
                let ttl_secs = if self.one_in(4) { self.lifetime() } else { None };
                Action::Incr { delta: 1 + self.random.below(1_000_000) as i64, ttl_secs }
            }
            _ => self.put(Condition::Always),
        }
    }

    /// A write of a value that no other write has, and that no sum reaches: it tells the client, and which of its
    /// writes.
    fn put(&mut self, condition: Condition) -> Action {
        self.written += 1;
        let value = (self.number() + 1) * 100_000_000_000_000 + self.written * 1_000_000_000;
        Action::Put { value, ttl_secs: self.lifetime(), condition }
    }

    fn lifetime(&mut self) -> Option<u64> {
        let secs = self.random.of(self.load.lifetimes);
        (secs > 0).then_some(secs)
    }
}
