//! Histories made by hand: what the model has to allow, and what it must not.

use crate::model::{Content, Key, OpId, Told, Verb, When};

const GET: Verb = Verb::Get { unless: When::Always };

fn put(by: OpId) -> Verb {
    put_for(by, None)
}

fn put_for(by: OpId, ttl_ms: Option<u64>) -> Verb {
    Verb::Put { content: Content::Filled { by, len: 50 }, ttl_ms, when: When::Always }
}

const fn written(created: bool, version: u64) -> Told {
    Told::Written { created, version, dies_ms: None }
}

const fn found(by: OpId) -> Told {
    Told::Found { version: by, content: Some(Content::Filled { by, len: 50 }) }
}

/// Asks on a connection of its own, and hears at once.
fn at_once(key: &mut Key, op: OpId, now_ms: u64, verb: Verb, told: Told) -> Result<(), String> {
    key.ask(op, op, now_ms, verb);
    key.tell(op, now_ms, told)
}

/// A key that the request 1 has written at the millisecond 1000.
fn with_an_entry(ttl_ms: Option<u64>) -> Key {
    let mut key = Key::default();
    at_once(&mut key, 1, 1_000, put_for(1, ttl_ms), written(true, 1)).expect("a first write creates");
    key
}

#[test]
fn what_was_written_is_read_and_nothing_else() {
    assert!(at_once(&mut with_an_entry(None), 2, 1_000, GET, found(1)).is_ok());
    assert!(at_once(&mut with_an_entry(None), 2, 1_000, GET, found(7)).is_err());
    assert!(at_once(&mut with_an_entry(None), 2, 1_000, GET, Told::Missing).is_err());
    assert!(at_once(&mut with_an_entry(None), 2, 1_000, put(2), written(true, 2)).is_err(), "it was there");
    assert!(at_once(&mut with_an_entry(None), 2, 1_000, put(2), written(false, 1)).is_err(), "a version is given once");
}

#[test]
fn what_was_overwritten_is_not_read_any_more() {
    let mut key = with_an_entry(None);
    key.ask(2, 2, 1_000, GET);
    at_once(&mut key, 3, 1_000, put(3), written(false, 3)).expect("it was there");
    assert!(at_once(&mut key, 4, 1_000, GET, found(1)).is_err());
    let mut key = with_an_entry(None);
    key.ask(2, 2, 1_000, GET);
    at_once(&mut key, 3, 1_000, put(3), written(false, 3)).expect("it was there");
    assert!(key.tell(2, 1_000, found(1)).is_ok(), "a read that was asked for before may still tell of it");
}

#[test]
fn whoever_reads_what_is_new_reads_nothing_old_afterwards() {
    let mut key = with_an_entry(None);
    key.ask(2, 9, 1_000, put(2));
    [3, 4].into_iter().for_each(|read| key.ask(read, 8, 1_000, GET));
    key.tell(3, 1_000, found(2)).expect("it may have been written");
    assert!(key.tell(4, 1_000, found(1)).is_err());
}

#[test]
fn a_refused_write_has_changed_nothing() {
    let mut key = with_an_entry(None);
    at_once(&mut key, 2, 1_000, put(2), Told::Failed).expect("it may be refused");
    assert!(at_once(&mut key, 3, 1_000, GET, found(2)).is_err());
}

#[test]
fn a_write_that_nobody_waits_for_may_come_late_but_not_twice() {
    let mut key = with_an_entry(None);
    key.ask(2, 2, 1_000, put(2));
    key.leave(2);
    at_once(&mut key, 3, 1_000, GET, found(1)).expect("not yet");
    at_once(&mut key, 4, 1_000, GET, found(2)).expect("now");
    at_once(&mut key, 5, 1_000, put(5), written(false, 5)).expect("it was there");
    assert!(at_once(&mut key, 6, 1_000, GET, found(2)).is_err());
    let mut key = with_an_entry(None);
    key.ask(2, 2, 1_000, put(2));
    key.leave(2);
    at_once(&mut key, 3, 1_000, GET, found(1)).expect("not yet");
    key.settle(&[2], 1_000);
    at_once(&mut key, 4, 1_000, GET, found(1)).expect("it was not carried out");
    assert!(at_once(&mut key, 5, 1_000, GET, found(2)).is_err(), "it is too late for that");
}

#[test]
fn requests_of_one_connection_keep_their_order() {
    let mut key = Key::default();
    [(1, put(1)), (2, put(2)), (3, GET)].into_iter().for_each(|(op, verb)| key.ask(op, 1, 1_000, verb));
    key.tell(1, 1_000, written(true, 1)).expect("it is the first");
    key.tell(2, 1_000, written(false, 2)).expect("it is the second");
    assert!(key.tell(3, 1_000, found(1)).is_err());
}

#[test]
fn an_entry_is_evicted_only_when_something_was() {
    let mut key = with_an_entry(None);
    key.may_be_evicted(1_000, 1);
    at_once(&mut key, 2, 1_000, GET, found(1)).expect("it need not have been this one");
    assert!(at_once(&mut key, 3, 1_000, GET, Told::Missing).is_err(), "it was not this one");
    let mut key = with_an_entry(None);
    key.may_be_evicted(1_000, 1);
    at_once(&mut key, 2, 1_000, GET, Told::Missing).expect("it was this one");
    assert!(at_once(&mut key, 3, 1_000, GET, found(1)).is_err(), "what has gone does not come back");
}

#[test]
fn an_entry_that_is_written_again_and_again_may_be_evicted_as_often() {
    // Before it was written, and each time after that: three times, if so many were evicted.
    let evicted = |evictions| {
        let mut key = with_an_entry(None);
        [2, 3].into_iter().for_each(|op| key.ask(op, 1, 1_000, put(op)));
        key.may_be_evicted(1_000, evictions);
        key.tell(2, 1_000, written(true, 2)).and_then(|()| key.tell(3, 1_000, written(true, 3)))?;
        at_once(&mut key, 4, 1_000, GET, Told::Missing)
    };
    assert!(evicted(2).is_err());
    evicted(3).expect("there is no entry but one that was evicted");
    evicted(9).expect("not each of them was of this key");
}

#[test]
fn an_entry_expires_when_its_time_has_come_and_not_before() {
    let ttl_ms = Some(1_000);
    assert!(at_once(&mut with_an_entry(ttl_ms), 2, 1_900, GET, Told::Missing).is_err());
    assert!(at_once(&mut with_an_entry(ttl_ms), 2, 1_900, GET, found(1)).is_ok());
    assert!(at_once(&mut with_an_entry(ttl_ms), 2, 2_100, GET, found(1)).is_err());
    assert!(at_once(&mut with_an_entry(ttl_ms), 2, 2_100, GET, Told::Missing).is_ok());
}

#[test]
fn a_counter_counts_every_step_once() {
    let incr = Verb::Incr { delta: 2, ttl_ms: None };
    let mut key = Key::default();
    [1, 2].into_iter().for_each(|op| key.ask(op, op, 1_000, incr));
    key.tell(2, 1_000, Told::Counted { value: 4, version: 2 }).expect("the other one came first");
    assert!(key.tell(1, 1_000, Told::Counted { value: 4, version: 1 }).is_err());
}

#[test]
fn a_condition_holds_for_the_version_that_there_is() {
    let delete = |version| Verb::Delete { when: When::Version(version) };
    assert!(at_once(&mut with_an_entry(None), 2, 1_000, delete(1), Told::Deleted).is_ok());
    assert!(at_once(&mut with_an_entry(None), 2, 1_000, delete(7), Told::Deleted).is_err());
    let actual = Some(Some(1));
    assert!(at_once(&mut with_an_entry(None), 2, 1_000, delete(7), Told::Conflict { actual }).is_ok());
    assert!(at_once(&mut with_an_entry(None), 2, 1_000, delete(1), Told::Conflict { actual }).is_err());
}
