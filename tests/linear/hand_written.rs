//! Small histories, judged: the checker and the model can say no, and say it for the right reason.

use crate::history::{Action, Answer, Condition, Event, NEVER, Version};
use crate::judge::{Verdict, first_unexplained, judge};
use crate::model::Rules;

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

fn version(value: i64) -> Version {
    format!("v{value}").into()
}

fn event(times: (u64, u64), action: Action, answer: Answer) -> Event {
    Event { key: "k".into(), client: 0, call: times.0, end: times.1, action, answer }
}

fn get(times: (u64, u64), value: i64) -> Event {
    let answer = Answer::Hit { value, version: version(value) };
    event(times, Action::Get { unless: None }, answer)
}

fn miss(times: (u64, u64)) -> Event {
    event(times, Action::Get { unless: None }, Answer::Missing)
}

fn write(times: (u64, u64), value: i64, condition: Condition, created: bool) -> Event {
    let answer = Answer::Written { created, version: version(value) };
    event(times, Action::Put { value, ttl_secs: None, condition }, answer)
}

fn create(times: (u64, u64), value: i64) -> Event {
    write(times, value, Condition::Always, true)
}

fn update(times: (u64, u64), value: i64) -> Event {
    write(times, value, Condition::Always, false)
}

fn swap(times: (u64, u64), old: i64, value: i64) -> Event {
    write(times, value, Condition::Matches(version(old)), false)
}

fn for_a_second(times: (u64, u64), value: i64) -> Event {
    let action = Action::Put { value, ttl_secs: Some(1), condition: Condition::Always };
    event(times, action, Answer::Written { created: true, version: version(value) })
}

fn add(times: (u64, u64), delta: i64, value: i64) -> Event {
    event(times, Action::Incr { delta, ttl_secs: None }, Answer::Counted { value, version: version(value) })
}

fn delete(times: (u64, u64), answer: Answer) -> Event {
    event(times, Action::Delete { condition: Condition::Always }, answer)
}

fn lost(call: u64, action: Action) -> Event {
    event((call, NEVER), action, Answer::Unknown)
}

fn lost_put(call: u64, value: i64) -> Event {
    lost(call, Action::Put { value, ttl_secs: None, condition: Condition::Always })
}

fn conflict(times: (u64, u64), condition: Condition, actual: Option<i64>) -> Event {
    let action = Action::Put { value: 99, ttl_secs: None, condition };
    event(times, action, Answer::Conflict { actual: actual.map(version) })
}

#[track_caller]
fn accept(events: &[Event]) {
    assert_eq!(judge(events, Rules::default()), Verdict::Linearizable);
}

#[track_caller]
fn refuse(events: &[Event]) {
    assert_eq!(judge(events, Rules::default()), Verdict::Violated);
}

#[test]
fn an_orderly_history_is_accepted() {
    let gone = delete((15, 16), Answer::Deleted);
    accept(&[
        miss((0, 1)),
        create((2, 3), 1),
        get((4, 5), 1),
        swap((6, 7), 1, 2),
        conflict((8, 9), Condition::Matches(version(1)), Some(2)),
        add((10, 11), 5, 7),
        get((12, 13), 7),
        gone,
        delete((17, 18), Answer::Missing),
        conflict((19, 20), Condition::Exists, None),
        add((21, 22), 3, 3),
    ]);
    accept(&[]);
}

#[test]
fn what_happens_at_the_same_time_may_happen_in_either_order() {
    accept(&[create((0, 10), 1), get((1, 2), 1), miss((1, 2))]);
    accept(&[create((0, 1), 1), update((2, 10), 2), update((2, 10), 3), get((3, 4), 3), get((5, 6), 2)]);
    accept(&[create((0, 1), 1), add((2, 9), 2, 6), add((2, 9), 3, 4), get((10, 11), 6)]);
}

#[test]
fn a_stale_read_is_refused() {
    let history = [create((0, 1), 1), update((2, 3), 2), get((4, 5), 1)];
    refuse(&history);
    assert_eq!(first_unexplained(&history, Rules::default()), 2);
    refuse(&[create((0, 1), 1), update((2, 10), 2), get((3, 4), 2), get((5, 6), 1)]);
    refuse(&[create((0, 1), 1), miss((2, 3))]);
    refuse(&[create((0, 1), 1), delete((2, 3), Answer::Deleted), get((4, 5), 1)]);
}

#[test]
fn a_stale_version_is_refused() {
    let still = |times, value| {
        let answer = Answer::NotModified { version: version(value) };
        event(times, Action::Get { unless: Some(version(value)) }, answer)
    };
    accept(&[create((0, 1), 1), still((2, 3), 1)]);
    refuse(&[create((0, 1), 1), update((2, 3), 2), still((4, 5), 1)]);
    let asked_for = Action::Get { unless: Some(version(1)) };
    let sent_all_the_same = event((2, 3), asked_for, Answer::Hit { value: 1, version: version(1) });
    refuse(&[create((0, 1), 1), sent_all_the_same]);
}

#[test]
fn a_lost_update_is_refused() {
    refuse(&[create((0, 1), 1), update((2, 3), 2), get((4, 5), 1), get((6, 7), 1)]);
    refuse(&[create((0, 1), 5), add((2, 3), 1, 6), add((4, 5), 1, 6)]);
    refuse(&[create((0, 1), 1), create((2, 3), 2)]);
}

#[test]
fn a_swap_that_succeeds_twice_is_refused() {
    accept(&[create((0, 1), 1), swap((2, 9), 1, 2), conflict((2, 9), Condition::Matches(version(1)), Some(2))]);
    refuse(&[create((0, 1), 1), swap((2, 9), 1, 2), swap((2, 9), 1, 3)]);
    let first = |times, value| write(times, value, Condition::Missing, true);
    refuse(&[first((0, 9), 1), first((0, 9), 2)]);
    accept(&[first((0, 9), 1), conflict((0, 9), Condition::Missing, Some(1))]);
}

#[test]
fn a_conflict_without_a_reason_is_refused() {
    refuse(&[create((0, 1), 1), conflict((2, 3), Condition::Matches(version(1)), Some(1))]);
    refuse(&[create((0, 1), 1), conflict((2, 3), Condition::Missing, None)]);
    refuse(&[create((0, 1), 1), update((2, 3), 2), conflict((4, 5), Condition::Missing, Some(1))]);
    refuse(&[conflict((0, 1), Condition::Missing, None)]);
}

#[test]
fn an_addition_that_repeats_is_refused() {
    accept(&[add((0, 1), 2, 2), add((2, 3), 3, 5)]);
    refuse(&[add((0, 1), 2, 2), add((2, 3), 3, 5), get((4, 5), 8)]);
    refuse(&[add((0, 1), 2, 4)]);
    refuse(&[add((0, 9), 2, 2), add((0, 9), 3, 3)]);
}

#[test]
fn a_value_from_nowhere_is_refused() {
    refuse(&[get((0, 1), 1)]);
    refuse(&[create((0, 1), 1), get((2, 3), 7)]);
    let refused = Action::Put { value: 7, ttl_secs: None, condition: Condition::Always };
    for answer in [Answer::Refused(503), Answer::Cut] {
        refuse(&[create((0, 1), 1), event((2, 3), refused.clone(), answer), get((4, 5), 7)]);
    }
}

#[test]
fn a_version_of_two_values_is_refused() {
    let again = event((4, 5), Action::Get { unless: None }, Answer::Hit { value: 2, version: version(1) });
    refuse(&[create((0, 1), 1), lost_put(2, 2), again]);
}

#[test]
fn what_nobody_knows_may_have_happened_at_any_later_time_or_never() {
    let base = [create((0, 1), 1), lost_put(2, 2)];
    let with = |more: &[Event]| [&base, more].concat();
    accept(&with(&[get((3, 4), 1), get((5, 6), 2)]));
    accept(&with(&[get((3, 4), 1), get((5, 6), 1)]));
    accept(&with(&[update((3, 4), 3), get((5, 6), 3), get((7, 8), 2)]));
    refuse(&with(&[get((3, 4), 2), get((5, 6), 1)]));
    refuse(&with(&[update((3, 4), 3), get((5, 6), 2), get((7, 8), 3)]));
    refuse(&[create((0, 1), 1), get((2, 3), 2), lost_put(4, 2)]);
}

#[test]
fn deletes_additions_and_swaps_of_which_nobody_knows() {
    let lost_delete = lost(2, Action::Delete { condition: Condition::Always });
    accept(&[create((0, 1), 1), lost_delete.clone(), get((3, 4), 1), miss((5, 6))]);
    refuse(&[create((0, 1), 1), lost_delete.clone(), miss((3, 4)), get((5, 6), 1)]);
    refuse(&[create((0, 1), 1), lost_delete, miss((3, 4)), create((5, 6), 2), miss((7, 8))]);
    let lost_add = lost(2, Action::Incr { delta: 10, ttl_secs: None });
    accept(&[create((0, 1), 1), lost_add.clone(), add((3, 4), 1, 2), add((5, 6), 1, 13)]);
    refuse(&[create((0, 1), 1), lost_add, add((3, 4), 1, 12), add((5, 6), 1, 23)]);
    let lost_swap =
        |old| lost(2, Action::Put { value: 9, ttl_secs: None, condition: Condition::Matches(version(old)) });
    accept(&[create((0, 1), 1), lost_swap(1), get((3, 4), 9)]);
    refuse(&[create((0, 1), 1), update((3, 4), 2), get((5, 6), 2), lost_swap(1), get((7, 8), 9)]);
    refuse(&[create((0, 1), 1), lost_swap(7), get((3, 4), 9)]);
}

#[test]
fn a_loss_is_allowed_when_the_time_has_come_and_not_before() {
    let write = for_a_second((0, 1), 1);
    accept(&[write.clone(), miss((SECOND, SECOND + 1))]);
    accept(&[
        write.clone(),
        get((SECOND - 9, SECOND - 8), 1),
        miss((SECOND, 2 * SECOND)),
        miss((3 * SECOND, 4 * SECOND)),
    ]);
    refuse(&[write.clone(), miss((2, SECOND - 2 * MILLISECOND))]);
    refuse(&[write.clone(), get((SECOND + 2 * MILLISECOND, 2 * SECOND), 1)]);
    refuse(&[write.clone(), miss((SECOND, SECOND + 1)), get((SECOND + 2, SECOND + 3), 1)]);
    refuse(&[write.clone(), get((2 * SECOND, 2 * SECOND + 1), 1)]);
    // An addition keeps the time to live, a write without one ends it.
    accept(&[write.clone(), add((2, 3), 1, 2), miss((SECOND, SECOND + 1))]);
    refuse(&[write.clone(), update((2, 3), 2), miss((SECOND, SECOND + 1))]);
    refuse(&[write, add((2, 3), 1, 2), add((2 * SECOND, 2 * SECOND + 1), 1, 3)]);
}

#[test]
fn an_eviction_is_allowed_only_where_the_budget_is_small() {
    let history = [create((0, 1), 1), miss((2, 3)), create((4, 5), 2)];
    refuse(&history);
    let small = Rules { may_evict: true };
    assert_eq!(judge(&history, small), Verdict::Linearizable);
    let comes_back = [create((0, 1), 1), miss((2, 3)), get((4, 5), 1)];
    assert_eq!(judge(&comes_back, small), Verdict::Violated);
    let stale = [create((0, 1), 1), update((2, 3), 2), get((4, 5), 1)];
    assert_eq!(judge(&stale, small), Verdict::Violated);
}

#[test]
fn too_much_at_the_same_time_is_no_verdict() {
    let mut events: Vec<Event> = (1..40).map(|value| lost_put(1, value)).collect();
    events.extend((1..40).map(|n| lost(1, Action::Incr { delta: 1 << (n % 20), ttl_secs: None })));
    events.push(get((2, 3), 1 << 40));
    assert_eq!(judge(&events, Rules::default()), Verdict::Undecided);
}
