//! The checker, and what is made of a history before it sees it, held against the definition: on thousands of small
//! histories the verdict is the one that trying every order gives.

use crate::history::{Action, Answer, Condition, Event, NEVER, Version};
use crate::judge::{Verdict, judge, named};
use crate::load::seed;
use crate::model::{Held, Key, Rules, Step, within};
use crate::random::Random;
use std::mem::discriminant;
use std::rc::Rc;
use todc_utils::specifications::Specification as _;

const HISTORIES: u64 = 20_000;
const EVENTS_MAX: u64 = 7;
/// The end of a history; calls and answers lie before it.
const LAST: u64 = 16;

/// Whether any order explains the history, by trying them all.
fn has_an_order(left: &[Step], state: &Option<Held>) -> bool {
    let first_end = left.iter().map(|step| step.event.end).min();
    left.is_empty()
        || (0..left.len()).filter(|n| Some(left[*n].event.call) <= first_end).any(|n| {
            let (legal, after) = Key::apply(&left[n], state);
            legal && has_an_order(&[&left[..n], &left[n + 1..]].concat(), &after)
        })
}

fn by_definition(events: &[Event], rules: Rules) -> bool {
    let Some(named) = named(events) else { return false };
    let counts = events.iter().filter(|event| event.counts());
    let steps: Vec<Step> =
        counts.map(|event| Step { named: named(event), event: Rc::new(event.clone()), rules }).collect();
    let is_sound = !events.iter().any(Event::contradicts_itself);
    is_sound && within(u64::MAX, || has_an_order(&steps, &None)).expect("there are steps enough")
}

/// What the key holds while a history is made up: the number of the write, which is its value and names its version.
struct Made {
    random: Random,
    held: Option<i64>,
    written: i64,
}

impl Made {
    fn version(value: i64) -> Version {
        format!("v{value}").into()
    }

    fn condition(&mut self) -> Condition {
        let some = Self::version(self.random.below(4) as i64 * 100);
        match self.random.below(5) {
            0 => Condition::Exists,
            1 => Condition::Missing,
            2 => Condition::Matches(self.held.map_or(some, Self::version)),
            3 => Condition::Differs(some),
            _ => Condition::Always,
        }
    }

    /// Something happens to the key, and is answered truly or not at all.
    fn step(&mut self, may_be_unknown: bool) -> (Action, Answer) {
        let is_unknown = may_be_unknown && self.random.one_in(5);
        let takes_place = !is_unknown || self.random.one_in(2);
        let before = self.held;
        let (action, answer) = match self.random.below(8) {
            0..3 => self.get(),
            3..6 => self.put(),
            6 => self.delete(),
            _ => self.add(),
        };
        if !takes_place {
            self.held = before;
        }
        (action, if is_unknown { Answer::Unknown } else { answer })
    }

    fn get(&self) -> (Action, Answer) {
        let answer = match self.held {
            Some(value) => Answer::Hit { value, version: Self::version(value) },
            None => Answer::Missing,
        };
        (Action::Get { unless: None }, answer)
    }

    fn put(&mut self) -> (Action, Answer) {
        let condition = self.condition();
        self.written += 100;
        let (value, actual) = (self.written, self.held.map(Self::version));
        let answer = if condition.holds_for(actual.as_ref()) {
            self.held = Some(value);
            Answer::Written { created: actual.is_none(), version: Self::version(value) }
        } else {
            Answer::Conflict { actual }
        };
        (Action::Put { value, ttl_secs: None, condition }, answer)
    }

    fn delete(&mut self) -> (Action, Answer) {
        let answer = if self.held.take().is_some() { Answer::Deleted } else { Answer::Missing };
        (Action::Delete { condition: Condition::Always }, answer)
    }

    fn add(&mut self) -> (Action, Answer) {
        let value = self.held.unwrap_or(0) + 1;
        self.held = Some(value);
        (Action::Incr { delta: 1, ttl_secs: None }, Answer::Counted { value, version: Self::version(value) })
    }

    /// A history that has an order, unless `spoilt`: then some answers are others'.
    fn history(mut self, spoilt: bool) -> Vec<Event> {
        let count = 3 + self.random.below(EVENTS_MAX - 2);
        let mut moments: Vec<u64> = (0..count).map(|_| self.random.below(LAST)).collect();
        moments.sort_unstable();
        let mut events: Vec<Event> = moments.into_iter().map(|moment| self.event(moment)).collect();
        let answered: Vec<usize> =
            (0..events.len()).filter(|n| !matches!(events[*n].answer, Answer::Unknown)).collect();
        for _ in 0..if spoilt && !answered.is_empty() { 6 } else { 0 } {
            let (from, to) = (self.random.of(&answered), self.random.of(&answered));
            if discriminant(&events[from].action) == discriminant(&events[to].action) {
                events[to].answer = events[from].answer.clone();
            }
        }
        events
    }

    /// An event that takes place at `moment`.
    fn event(&mut self, moment: u64) -> Event {
        let (action, answer) = self.step(true);
        let call = moment.saturating_sub(self.random.below(4));
        let known_end = moment + self.random.below(4);
        let end = if matches!(answer, Answer::Unknown) { NEVER } else { known_end };
        Event { key: "k".into(), client: 0, call, end, action, answer }
    }
}

#[test]
fn verdicts_are_those_of_trying_every_order() {
    println!("LINEAR_SEED={}", seed());
    let mut seeds = Random::Seed(seed());
    let mut count = [0, 0];
    for number in 0..HISTORIES {
        let rules = Rules { may_evict: number % 4 == 3 };
        let made = Made { random: Random::Seed(seeds.next()), held: None, written: 0 };
        let events = made.history(number % 2 == 1);
        let expected = by_definition(&events, rules);
        let verdict = if expected { Verdict::Linearizable } else { Verdict::Violated };
        let told: Vec<String> = events.iter().map(Event::to_string).collect();
        assert_eq!(judge(&events, rules), verdict, "{rules:?}\n{}", told.join("\n"));
        count[usize::from(expected)] += 1;
    }
    println!("{} refused, {} accepted", count[0], count[1]);
    assert!(count.iter().all(|count| *count > 2_000), "{count:?}");
}
