//! A history that a real server has made is accepted; the same history with one answer changed is not.

use crate::history::{Action, Answer, Condition, Event};
use crate::judge::{Verdict, by_key, first_unexplained, judge};
use crate::load::Load;
use crate::model::Rules;
use crate::runs::{addresses, launch};
use std::collections::BTreeMap;

/// Changes a key's history into one that no order explains, if it has what that takes.
type Tamper = fn(&[Event]) -> Option<Vec<Event>>;

const TAMPERINGS: [(&str, Tamper); 5] = [
    ("a read of what was overwritten", stale_read),
    ("a write that did not take place", lost_write),
    ("a swap that succeeds again", repeated_swap),
    ("a sum that comes twice", repeated_sum),
    ("an entry that gets lost", lost_entry),
];

/// Tries `change` at each event until one suits.
fn at_first(events: &[Event], change: impl Fn(usize, &Event) -> Option<Event>) -> Option<Vec<Event>> {
    let (place, changed) = events.iter().enumerate().find_map(|(n, event)| Some((n, change(n, event)?)))?;
    let mut events = events.to_vec();
    events[place] = changed;
    Some(events)
}

fn written(event: &Event) -> Option<Answer> {
    match (&event.action, &event.answer) {
        (Action::Put { value, .. }, Answer::Written { version, .. }) => {
            Some(Answer::Hit { value: *value, version: version.clone() })
        }
        _ => None,
    }
}

fn stale_read(events: &[Event]) -> Option<Vec<Event>> {
    at_first(events, |_, event| {
        let Answer::Hit { .. } = &event.answer else { return None };
        let writes = || events.iter().filter(|event| written(event).is_some());
        let newer = writes().filter(|write| write.end < event.call).max_by_key(|write| write.call)?;
        let older = writes().find(|write| write.end < newer.call)?;
        let action = Action::Get { unless: None };
        Some(Event { action, answer: written(older)?, ..event.clone() })
    })
}

fn lost_write(events: &[Event]) -> Option<Vec<Event>> {
    let is_seen = |value: i64| {
        events.iter().any(|event| matches!(event.answer, Answer::Hit { value: seen, .. } if seen == value))
    };
    let was_seen = |event: &Event| match event.action {
        Action::Put { value, .. } => written(event).is_some() && is_seen(value),
        _ => false,
    };
    at_first(events, |_, event| was_seen(event).then(|| Event { answer: Answer::Refused(503), ..event.clone() }))
}

fn repeated_swap(events: &[Event]) -> Option<Vec<Event>> {
    let swaps = |event: &&Event| {
        let condition = matches!(&event.action, Action::Put { condition: Condition::Matches(_), .. });
        condition && written(event).is_some()
    };
    let mut swap = events.iter().find(swaps)?.clone();
    let Action::Put { value, .. } = &mut swap.action else { return None };
    *value += 1;
    swap.answer = Answer::Written { created: false, version: "another".into() };
    Some([events, &[swap]].concat())
}

fn repeated_sum(events: &[Event]) -> Option<Vec<Event>> {
    let mut sum = events.iter().find(|event| matches!(event.answer, Answer::Counted { .. }))?.clone();
    (sum.call, sum.end) = (sum.end + 1, sum.end + 2);
    Some([events, &[sum]].concat())
}

fn lost_entry(events: &[Event]) -> Option<Vec<Event>> {
    let made = events.iter().find(|event| written(event).is_some())?.end;
    at_first(events, |_, event| {
        let is_hit = matches!(event.answer, Answer::Hit { .. });
        let deleted = events.iter().any(|other| matches!(other.answer, Answer::Deleted) && other.call < event.end);
        (is_hit && made < event.call && !deleted).then(|| Event { answer: Answer::Missing, ..event.clone() })
    })
}

#[test]
fn a_real_history_with_one_answer_changed_is_refused() {
    let server = launch(&[]).start();
    let load = Load { requests: 1_500, ..Load::default() };
    println!("LINEAR_SEED={}", load.seed);
    let keys = by_key(load.run(&addresses(&server)));
    let mut refused: BTreeMap<&str, u32> = BTreeMap::new();
    for (key, events) in &keys {
        assert_eq!(judge(events, Rules::default()), Verdict::Linearizable, "{key}");
        for (what, tamper) in TAMPERINGS {
            let Some(mut tampered) = tamper(events) else { continue };
            tampered.sort_by_key(|event| event.call);
            assert_eq!(judge(&tampered, Rules::default()), Verdict::Violated, "{what} on {key}");
            assert!(first_unexplained(&tampered, Rules::default()) < tampered.len());
            *refused.entry(what).or_default() += 1;
        }
    }
    println!("{refused:?}");
    assert!(refused.len() == TAMPERINGS.len() && refused.values().all(|count| *count >= 10), "{refused:?}");
}
