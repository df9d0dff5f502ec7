//! Judges a history, each key on its own, with the checker of `todc-utils`.

use crate::history::{Action, Answer, Event, NEVER, Version};
use crate::model::{Key, Rules, Step, within};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::rc::Rc;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action as Half, History};

/// Steps for one key after which the checker gives up; an orderly history takes a few for each event.
const STEPS_MAX: u64 = 400_000;

/// What is known of one key's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some order explains all answers.
    Linearizable,
    /// No order does.
    Violated,
    /// The checker gave up: the load let too much happen to the key at the same time.
    Undecided,
}

/// The events of each key, in the order of their calls.
pub fn by_key(events: Vec<Event>) -> BTreeMap<String, Vec<Event>> {
    let mut keys: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in events {
        keys.entry(event.key.clone()).or_default().push(event);
    }
    for events in keys.values_mut() {
        events.sort_by_key(|event| event.call);
    }
    keys
}

/// Tells of each event of a history the value that belongs to the version in its answer, if the history says it
/// anywhere; `None` if a version belongs to two values.
pub fn named(events: &[Event]) -> Option<impl Fn(&Event) -> Option<i64> + use<>> {
    let values = values_of_versions(events)?;
    Some(move |event: &Event| version_seen(event).and_then(|version| values.get(version).copied()))
}

/// Judges the history of one key.
pub fn judge(events: &[Event], rules: Rules) -> Verdict {
    let Some(named) = named(events) else { return Verdict::Violated };
    if events.iter().any(Event::contradicts_itself) {
        return Verdict::Violated;
    }
    let mut events: Vec<Event> = events.iter().filter(|event| event.counts()).cloned().collect();
    settle(&mut events, &named);
    // What may have happened need not have: mostly all is explained without what nobody has ever seen, which is much
    // less to try.
    let seen: Vec<Event> = events.iter().filter(|event| event.end != NEVER).cloned().collect();
    match search(&seen, &named, rules) {
        Verdict::Violated | Verdict::Undecided if seen.len() < events.len() => search(&events, &named, rules),
        verdict => verdict,
    }
}

/// Has the checker look for an order.
fn search(events: &[Event], named: &impl Fn(&Event) -> Option<i64>, rules: Rules) -> Verdict {
    let steps = thin(events).into_iter().map(|event| Step { named: named(&event), event: Rc::new(event), rules });
    let halves = halves(&steps.collect::<Vec<Step>>());
    if halves.is_empty() {
        return Verdict::Linearizable;
    }
    match within(STEPS_MAX, || WGLChecker::<Key>::is_linearizable(History::from_actions(halves))) {
        Some(true) => Verdict::Linearizable,
        Some(false) => Verdict::Violated,
        None => Verdict::Undecided,
    }
}

/// Calls and ends in the order of time; of those at the same time the calls come first, which forbids less.
fn halves(steps: &[Step]) -> Vec<(usize, Half<Step>)> {
    let mut halves: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * steps.len());
    for (number, step) in steps.iter().enumerate() {
        halves.extend([(step.event.call, false, number), (step.event.end, true, number)]);
    }
    halves.sort_unstable();
    let half = |(_, is_end, number): (u64, bool, usize)| {
        let step = steps[number].clone();
        (number, if is_end { Half::Response(step) } else { Half::Call(step) })
    };
    halves.into_iter().map(half).collect()
}

/// The version that an answer says the entry was at, or that a condition has found it at.
fn version_seen(event: &Event) -> Option<&Version> {
    use crate::history::Condition::Matches;
    match (&event.answer, &event.action) {
        (Answer::NotModified { version } | Answer::Conflict { actual: Some(version) }, _) => Some(version),
        (Answer::Written { .. }, Action::Put { condition: Matches(version), .. }) => Some(version),
        (Answer::Deleted, Action::Delete { condition: Matches(version) }) => Some(version),
        _ => None,
    }
}

/// Which value each version belongs to; `None` if one belongs to two.
fn values_of_versions(events: &[Event]) -> Option<HashMap<Version, i64>> {
    let mut values = HashMap::new();
    for event in events {
        let (version, value) = match (&event.answer, &event.action) {
            (Answer::Hit { value, version } | Answer::Counted { value, version }, _) => (version, *value),
            (Answer::Written { version, .. }, Action::Put { value, .. }) => (version, *value),
            _ => continue,
        };
        if *values.entry(version.clone()).or_insert(value) != value {
            return None;
        }
    }
    Some(values)
}

/// A value that was seen was written before the first who saw it was answered, even if its writer never heard of it.
/// That takes nothing away from what is possible, and much from what the checker has to try.
fn settle(events: &mut [Event], named: &impl Fn(&Event) -> Option<i64>) {
    let mut seen: HashMap<i64, u64> = HashMap::new();
    for event in &*events {
        let value = match &event.answer {
            Answer::Hit { value, .. } => Some(*value),
            _ => named(event),
        };
        if let Some(value) = value {
            let end = seen.entry(value).or_insert(NEVER);
            *end = event.end.min(*end);
        }
    }
    for event in events.iter_mut().filter(|event| matches!(event.answer, Answer::Unknown)) {
        if let Action::Put { value, .. } = &event.action {
            event.end = seen.get(value).map_or(event.end, |end| event.call.max(*end));
        }
    }
}

/// Of those who only saw an entry at some version, leaves the one that was answered first and the one that asked last.
///
/// A version is there for one stretch of time. All who saw it have an explanation if that stretch begins before the
/// first of their ends and ends after the last of their calls; so these two stand for all, and the checker needs not
/// try in which order of many readers nothing happens.
fn thin(events: &[Event]) -> Vec<Event> {
    let mut kept: HashMap<Version, (usize, usize)> = HashMap::new();
    for (number, event) in events.iter().enumerate() {
        let Some(version) = event.only_sees() else { continue };
        let (first, last) = kept.entry(version.clone()).or_insert((number, number));
        if event.end < events[*first].end {
            *first = number;
        }
        if event.call > events[*last].call {
            *last = number;
        }
    }
    let stays = |number: usize, event: &Event| {
        event.only_sees().is_none_or(|version| kept[version].0 == number || kept[version].1 == number)
    };
    let numbered = events.iter().enumerate();
    numbered.filter(|(number, event)| stays(*number, event)).map(|(_, event)| event.clone()).collect()
}

/// What had happened up to the moment `end`: what was under way by then may have taken place.
fn until(events: &[Event], end: u64) -> Vec<Event> {
    let begun = events.iter().filter(|event| event.call <= end).cloned();
    let seen = |mut event: Event| {
        if event.end > end && event.counts() {
            (event.end, event.answer) = (NEVER, Answer::Unknown);
        }
        event
    };
    begun.map(seen).collect()
}

/// The first event whose answer no order explains, as its place in `events`, which have been found to violate.
pub fn first_unexplained(events: &[Event], rules: Rules) -> usize {
    let mut ends: Vec<u64> = events.iter().filter(|event| event.end != NEVER).map(|event| event.end).collect();
    ends.sort_unstable();
    let first = ends.partition_point(|end| judge(&until(events, *end), rules) != Verdict::Violated);
    let end = ends.get(first.min(ends.len().saturating_sub(1))).copied().unwrap_or(NEVER);
    events.iter().position(|event| event.end == end).unwrap_or(0)
}

/// A key's history, readable, with the first answer marked that no order explains, if there is one.
pub fn picture(key: &str, events: &[Event], culprit: Option<usize>) -> String {
    let mut text = format!("key {key}: {} events; milliseconds of call and answer\n", events.len());
    for (number, event) in events.iter().enumerate() {
        let mark = if Some(number) == culprit { ">>>" } else { "   " };
        writeln!(text, "{mark} {event}").expect("a text takes all");
    }
    text + ">>> is the first answer that no order of what had happened until then explains\n"
}
