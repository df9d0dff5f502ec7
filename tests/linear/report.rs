//! The judgement of a whole run.

use crate::history::{Action, Answer, Event};
use crate::judge::{Verdict, by_key, first_unexplained, judge, picture};
use crate::model::Rules;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Keys whose histories are told in full when a run is refused.
const TOLD_MAX: usize = 3;

/// How a run was judged.
#[derive(Debug)]
pub struct Judged {
    pub keys: usize,
    pub tally: BTreeMap<&'static str, usize>,
    /// Events that were under way at the same time as a write of somebody else to the same key.
    pub contended: usize,
    /// How many entries must have got lost at least, without a delete.
    pub losses: usize,
    /// How many keys no order explains.
    pub violations: usize,
    /// Some of them, with their histories, readable.
    pub violated: Vec<(String, String)>,
    /// The keys to which too much happened at the same time.
    pub undecided: Vec<(String, String)>,
}

/// Judges all keys of a run.
pub fn judge_all(events: Vec<Event>, rules: Rules) -> Judged {
    let tally = tally(&events);
    let keys = by_key(events);
    let contended = keys.values().map(|events| contended(events)).sum();
    let losses = keys.values().map(|events| losses(events)).sum();
    let (mut violated, mut undecided) = (Vec::new(), Vec::new());
    for (key, events) in &keys {
        match judge(events, rules) {
            Verdict::Linearizable => {}
            Verdict::Violated => violated.push((key, events)),
            Verdict::Undecided => undecided.push((key.clone(), picture(key, events, None))),
        }
    }
    let told = |(key, events): (&String, &Vec<Event>)| {
        (key.clone(), picture(key, events, Some(first_unexplained(events, rules))))
    };
    let violations = violated.len();
    let violated = violated.into_iter().take(TOLD_MAX).map(told).collect();
    Judged { keys: keys.len(), tally, contended, losses, violations, violated, undecided }
}

impl Judged {
    /// How many events ended in a certain way.
    pub fn count(&self, answer: &str) -> usize {
        self.tally.get(answer).copied().unwrap_or_default()
    }

    /// All events.
    pub fn events(&self) -> usize {
        self.tally.values().sum()
    }

    /// Finds nothing wrong, or tells it.
    ///
    /// # Panics
    /// If a history has no explanation, with where it is written and its text.
    #[track_caller]
    pub fn assert_linearizable(&self, run: &str, seed: u64) {
        let Self { keys, contended, losses, tally, .. } = self;
        println!("{run}: {} events, {contended} contended, {losses} losses, {keys} keys, {tally:?}", self.events());
        let files: Vec<PathBuf> = self.violated.iter().map(|(key, text)| write(run, seed, key, text)).collect();
        let texts: Vec<&str> = self.violated.iter().map(|(_, text)| text.as_str()).collect();
        assert!(
            files.is_empty(),
            "{run}, LINEAR_SEED={seed}: {} keys, see {files:?}\n{}",
            self.violations,
            texts.join("\n")
        );
        let files: Vec<PathBuf> = self.undecided.iter().map(|(key, text)| write(run, seed, key, text)).collect();
        assert!(files.is_empty(), "{run}, LINEAR_SEED={seed}: too much at the same time, see {files:?}");
    }
}

fn write(run: &str, seed: u64, key: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("linear-{run}-{seed}-{key}.txt"));
    std::fs::write(&path, format!("LINEAR_SEED={seed}, run {run}, {text}")).expect("a file can be written");
    path
}

fn tally(events: &[Event]) -> BTreeMap<&'static str, usize> {
    let mut tally = BTreeMap::new();
    for event in events {
        *tally.entry(name(event)).or_default() += 1;
    }
    tally
}

/// What an event is counted as.
const fn name(event: &Event) -> &'static str {
    match (&event.answer, &event.action) {
        (Answer::Hit { .. }, _) => "hit",
        (Answer::NotModified { .. }, _) => "not modified",
        (Answer::Missing, _) => "missing",
        (Answer::Written { created: true, .. }, _) => "created",
        (Answer::Written { created: false, .. }, _) => "updated",
        (Answer::Conflict { .. }, _) => "conflict",
        (Answer::Deleted, _) => "deleted",
        (Answer::Counted { .. }, _) => "counted",
        (Answer::Refused(503), _) => "refused",
        (Answer::Refused(408), _) => "timed out",
        (Answer::Refused(413), _) => "too large",
        (Answer::Refused(_), _) => "mistaken",
        (Answer::Cut, _) => "cut",
        (Answer::Unknown, Action::Get { .. }) => "unknown read",
        (Answer::Unknown, _) => "unknown write",
    }
}

/// `events` are in the order of their calls.
fn contended(events: &[Event]) -> usize {
    let overlaps = |(n, event): &(usize, &Event)| {
        let is_write = |other: &&Event| other.action.writes() && other.client != event.client && other.counts();
        let after = events[n + 1..].iter().take_while(|other| other.call < event.end);
        // Those that began earlier and are still under way are not far.
        let before = events[n.saturating_sub(64)..*n].iter().filter(|other| other.end > event.call);
        after.chain(before).any(|other| is_write(&other))
    };
    events.iter().enumerate().filter(overlaps).count()
}

/// Between two creations of an entry there is a delete or a loss.
fn losses(events: &[Event]) -> usize {
    let creates = |event: &&Event| match (&event.answer, &event.action) {
        (Answer::Written { created, .. }, _) => *created,
        (Answer::Counted { value, .. }, Action::Incr { delta, .. }) => value == delta,
        _ => false,
    };
    let deletes = |event: &&Event| matches!(event.answer, Answer::Deleted);
    events.iter().filter(creates).count().saturating_sub(1 + events.iter().filter(deletes).count())
}
