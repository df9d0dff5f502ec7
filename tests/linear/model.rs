//! One key as the contract describes it: what each answer says that the key was, and what it is afterwards.
//!
//! An entry may be lost where losing it is allowed: an expired one, and in a run with a small budget any. Which of
//! both happened needs no guess: the answer of the next operation tells whether the entry was still there.

use crate::history::{Action, Answer, Condition, Event, Version};
use std::cell::Cell;
use std::rc::Rc;
use todc_utils::specifications::Specification;

/// The server counts the time to live in whole milliseconds. Otherwise its clock is ours, the machine's monotonic one:
/// what it looks at for a request is never earlier than the call, nor later than the answer, however long it takes in
/// between.
const TRUNCATED_NANOS: u64 = 1_000_000;

thread_local! {
    /// Steps that the checker may still take before it gives up.
    static STEPS_LEFT: Cell<u64> = const { Cell::new(0) };
}

/// What may happen to entries in a run, besides what clients do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// The budget is small.
    pub may_evict: bool,
}

/// When an entry expires: not before `from`, and not after `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Expiry {
    from: u64,
    until: u64,
}

/// An entry. Its version is unknown until somebody sees it if the write was never answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    value: i64,
    version: Option<Version>,
    expiry: Option<Expiry>,
}

/// An event as the checker takes it.
#[derive(Clone, Debug)]
pub struct Step {
    pub event: Rc<Event>,
    /// The value that belongs to the version in the answer, if the history says it anywhere.
    pub named: Option<i64>,
    pub rules: Rules,
}

/// One key.
#[derive(Debug)]
pub struct Key;

impl Specification for Key {
    type State = Option<Held>;
    type Operation = Step;

    fn init() -> Option<Held> {
        None
    }

    fn apply(step: &Step, state: &Option<Held>) -> (bool, Option<Held>) {
        let steps_left = STEPS_LEFT.get();
        STEPS_LEFT.set(steps_left.saturating_sub(1));
        let after = if steps_left == 0 { None } else { step.after(state.as_ref()) };
        after.map_or_else(|| (false, state.clone()), |after| (true, after))
    }
}

/// Runs `check` with so many steps; `None` if they did not suffice.
pub fn within(steps: u64, check: impl FnOnce() -> bool) -> Option<bool> {
    STEPS_LEFT.set(steps);
    let verdict = check();
    (STEPS_LEFT.get() > 0).then_some(verdict)
}

impl Step {
    /// The key after this event if it was `state` before; `None` if the answer cannot be.
    fn after(&self, state: Option<&Held>) -> Option<Option<Held>> {
        match (&self.event.action, &self.event.answer) {
            (action, Answer::Unknown) => Some(self.perhaps(action, state)),
            (Action::Get { .. }, answer) => self.got(answer, state),
            (Action::Put { value, ttl_secs, condition }, answer) => {
                self.put(*value, *ttl_secs, condition, answer, state)
            }
            (Action::Delete { condition }, answer) => self.deleted(condition, answer, state),
            (Action::Incr { delta, ttl_secs }, answer) => self.counted(*delta, *ttl_secs, answer, state),
        }
    }

    /// The entry if it can have been there, with what the answer says of it.
    fn there(&self, state: Option<&Held>, value: Option<i64>, version: Option<&Version>) -> Option<Held> {
        let held = state.filter(|held| held.expiry.is_none_or(|expiry| self.event.call <= expiry.until))?;
        let is_it = value.is_none_or(|value| value == held.value)
            && version.is_none_or(|version| held.version.as_ref().is_none_or(|own| own == version));
        is_it.then(|| Held { version: held.version.clone().or_else(|| version.cloned()), ..held.clone() })
    }

    /// Whether the key can have had no entry.
    fn gone(&self, state: Option<&Held>) -> bool {
        state.is_none_or(|held| self.rules.may_evict || held.expiry.is_some_and(|expiry| expiry.from <= self.event.end))
    }

    fn got(&self, answer: &Answer, state: Option<&Held>) -> Option<Option<Held>> {
        match answer {
            Answer::Hit { value, version } => self.there(state, Some(*value), Some(version)).map(Some),
            Answer::NotModified { version } => self.there(state, self.named, Some(version)).map(Some),
            Answer::Missing => self.gone(state).then_some(None),
            _ => None,
        }
    }

    fn put(
        &self,
        value: i64,
        ttl_secs: Option<u64>,
        condition: &Condition,
        answer: &Answer,
        state: Option<&Held>,
    ) -> Option<Option<Held>> {
        match answer {
            Answer::Written { created, version } => {
                self.let_through(condition, !created, state)?;
                Some(Some(Held { value, version: Some(version.clone()), expiry: self.expiry(ttl_secs) }))
            }
            Answer::Conflict { actual } => self.stopped(actual.as_ref(), state),
            _ => None,
        }
    }

    fn deleted(&self, condition: &Condition, answer: &Answer, state: Option<&Held>) -> Option<Option<Held>> {
        match answer {
            Answer::Deleted => self.let_through(condition, true, state).map(|()| None),
            Answer::Missing => self.let_through(condition, false, state).map(|()| None),
            Answer::Conflict { actual } => self.stopped(actual.as_ref(), state),
            _ => None,
        }
    }

    /// A write went ahead over an entry, or over none.
    fn let_through(&self, condition: &Condition, over_entry: bool, state: Option<&Held>) -> Option<()> {
        if !over_entry {
            return (condition.holds_for(None) && self.gone(state)).then_some(());
        }
        let wanted = if let Condition::Matches(version) = condition { Some(version) } else { None };
        let held = self.there(state, wanted.and(self.named), wanted)?;
        (held.version.is_none() || condition.holds_for(held.version.as_ref())).then_some(())
    }

    /// A write was stopped by its condition, because the entry is at `actual`.
    fn stopped(&self, actual: Option<&Version>, state: Option<&Held>) -> Option<Option<Held>> {
        match actual {
            Some(actual) => self.there(state, self.named, Some(actual)).map(Some),
            None => self.gone(state).then_some(None),
        }
    }

    fn counted(
        &self,
        delta: i64,
        ttl_secs: Option<u64>,
        answer: &Answer,
        state: Option<&Held>,
    ) -> Option<Option<Held>> {
        let Answer::Counted { value, version } = answer else { return None };
        let before = self.there(state, value.checked_sub(delta), None);
        if before.is_none() && !(*value == delta && self.gone(state)) {
            return None;
        }
        let kept = before.and_then(|held| held.expiry);
        let expiry = if ttl_secs.is_some() { self.expiry(ttl_secs) } else { kept };
        Some(Some(Held { value: *value, version: Some(version.clone()), expiry }))
    }

    /// What becomes of the key if a write takes place of which nobody knows whether it did. Runs in which entries can
    /// get lost have no such writes, so that this needs no guess.
    fn perhaps(&self, action: &Action, state: Option<&Held>) -> Option<Held> {
        let version = state.and_then(|held| held.version.as_ref());
        let allowed = |condition: &Condition| match condition {
            // Whoever named a version has seen it, and then it is known of this entry as well.
            Condition::Matches(wanted) => version == Some(wanted),
            Condition::Differs(other) => version != Some(other),
            Condition::Always => true,
            Condition::Exists => state.is_some(),
            Condition::Missing => state.is_none(),
        };
        match action {
            Action::Put { value, ttl_secs, condition } if allowed(condition) => {
                Some(Held { value: *value, version: None, expiry: self.expiry(*ttl_secs) })
            }
            Action::Delete { condition } if allowed(condition) => None,
            Action::Incr { delta, ttl_secs } => {
                let expiry = self.expiry(*ttl_secs).or_else(|| state.and_then(|held| held.expiry));
                Some(Held { value: state.map_or(0, |held| held.value) + delta, version: None, expiry })
            }
            _ => state.cloned(),
        }
    }

    fn expiry(&self, ttl_secs: Option<u64>) -> Option<Expiry> {
        let nanos = ttl_secs? * 1_000_000_000;
        let Event { call, end, .. } = *self.event;
        Some(Expiry {
            from: (call + nanos).saturating_sub(TRUNCATED_NANOS),
            until: end.saturating_add(nanos + TRUNCATED_NANOS),
        })
    }
}
