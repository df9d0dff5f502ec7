//! The rules of a shard, one test each. `tests/model` tries their combinations.

use super::*;
use crate::command::{Conditions, Meta, Payload, Put, Refusal, Value, ValueKind, VersionSet};
use crate::limits::{BLOB_CHUNK_BYTES, BLOB_CHUNKS_FREED_PER_SLICE, FREED_PER_SLICE_MAX, INLINE_VALUE_BYTES_MAX};
use crate::time::{Ttl, UnixMillis};

const LONG: usize = INLINE_VALUE_BYTES_MAX + 1;
const WALL_OFFSET_MS: u64 = 1_000_000;

fn at(millis: u64) -> Now {
    Now::new(Mono::from_millis(millis), WALL_OFFSET_MS)
}

fn shard(budget_bytes: Option<u64>) -> Shard {
    Shard::new(ShardConfig { budget_bytes, first_version: 1 })
}

/// A short hash, so that keys share hashes.
fn command<'a>(key: &'a str, verb: Verb<&'a [u8]>) -> Command<&'a [u8]> {
    Command { key: key.as_bytes(), hash: KeyHash(key.bytes().map(u64::from).sum::<u64>() % 64), verb }
}

fn put(bytes: &[u8]) -> Put<&[u8]> {
    let payload = if bytes.len() < LONG {
        Payload::Inline(bytes)
    } else {
        let mut blob = Blob::new();
        blob.extend_from_slice(bytes);
        Payload::Blob(blob)
    };
    let (kind, raw_len, conditions) = (ValueKind::Json, bytes.len() as u64, Conditions::default());
    Put { kind, payload, raw_len, media: b"", ttl: Ttl::NONE, conditions }
}

fn secs(secs: u64) -> Ttl {
    Ttl::from_secs(secs).unwrap()
}

fn set<'a>(shard: &'a mut Shard, now: Now, key: &str, bytes: &[u8], ttl: Ttl) -> Outcome<&'a [u8]> {
    shard.apply(now, command(key, Verb::Put(Put { ttl, ..put(bytes) })))
}

fn number<'a>(shard: &'a mut Shard, now: Now, key: &str, text: &str, ttl: Ttl) -> Outcome<&'a [u8]> {
    shard.apply(now, command(key, Verb::Put(Put { ttl, kind: ValueKind::Number, ..put(text.as_bytes()) })))
}

fn get<'a>(shard: &'a mut Shard, now: Now, key: &str) -> Outcome<&'a [u8]> {
    shard.apply(now, command(key, Verb::Get { unless: None, with_value: true }))
}

fn incr<'a>(shard: &'a mut Shard, now: Now, key: &str, delta: i64, ttl: Option<Ttl>) -> Outcome<&'a [u8]> {
    shard.apply(now, command(key, Verb::Incr { delta, ttl }))
}

fn has(shard: &mut Shard, now: Now, key: &str) -> bool {
    matches!(get(shard, now, key), Outcome::Found { .. })
}

fn meta(shard: &mut Shard, now: Now, key: &str) -> Meta {
    match shard.apply(now, command(key, Verb::Get { unless: None, with_value: false })) {
        Outcome::Found { meta, value: Value::Omitted, .. } => meta,
        other => panic!("{key}: {other:?}"),
    }
}

fn inline(shard: &mut Shard, now: Now, key: &str) -> String {
    match get(shard, now, key) {
        Outcome::Found { value: Value::Inline(bytes), .. } => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{key}: {other:?}"),
    }
}

fn leased(shard: &mut Shard, now: Now, key: &str) -> LeaseId {
    match get(shard, now, key) {
        Outcome::Found { value: Value::Leased(lease), .. } => lease,
        other => panic!("{key}: {other:?}"),
    }
}

/// Ticks until nothing is due and returns how often that took.
fn settle(shard: &mut Shard, now: Now) -> usize {
    let ticks = 1 + (0..100_000).take_while(|_| shard.tick(now)).count();
    shard.assert_invariants();
    ticks
}

#[test]
fn an_expired_entry_is_gone_for_every_operation() {
    let verbs: [fn() -> Verb<&'static [u8]>; 4] = [
        || Verb::Get { unless: Some(VersionSet::Any), with_value: true },
        || Verb::Delete { conditions: Conditions::default() },
        || {
            Verb::Put(Put {
                conditions: Conditions { if_match: Some(VersionSet::Any), ..Conditions::default() },
                ..put(b"2")
            })
        },
        || Verb::Incr { delta: 1, ttl: None },
    ];
    for verb in verbs {
        let mut shard = shard(None);
        number(&mut shard, at(500), "k", "41", secs(1));
        assert_eq!(inline(&mut shard, at(1_499), "k"), "41");
        match shard.apply(at(1_500), command("k", verb())) {
            Outcome::Missing | Outcome::Conflict { actual: None } => {}
            Outcome::Counted { value, .. } => assert_eq!(value.as_slice(), b"1"),
            other => panic!("{other:?}"),
        }
        assert_eq!(shard.stats().expirations, 1);
        shard.assert_invariants();
    }
}

#[test]
fn upkeep_frees_what_nobody_touches() {
    let mut shard = shard(None);
    set(&mut shard, at(0), "k", b"1", secs(1));
    set(&mut shard, at(0), "long", &vec![0; LONG], secs(1));
    settle(&mut shard, at(999));
    assert_eq!(shard.stats().entries, 2);
    settle(&mut shard, at(1_000));
    assert_eq!((shard.stats().entries, shard.stats().memory_bytes, shard.stats().expirations), (0, 0, 2));
}

#[test]
fn many_entries_that_expire_together_are_freed_in_slices() {
    let entries = FREED_PER_SLICE_MAX * 10;
    let mut shard = shard(None);
    for n in 0..entries {
        let verb = Verb::Put(Put { ttl: secs(5), ..put(b"1") });
        let key = n.to_string();
        shard.apply(at(n as u64 % 1_000), Command { key: key.as_bytes(), hash: KeyHash(n as u64), verb });
    }
    let mut left = shard.stats().entries;
    while shard.tick(at(7_000)) {
        assert!(left - shard.stats().entries <= FREED_PER_SLICE_MAX as u64);
        left = shard.stats().entries;
    }
    assert_eq!((shard.stats().entries, shard.stats().expirations), (0, entries as u64));
}

#[test]
fn a_rewritten_key_does_not_die_at_its_old_deadline() {
    let mut shard = shard(None);
    set(&mut shard, at(0), "k", b"1", secs(1));
    set(&mut shard, at(500), "k", b"2", secs(2));
    set(&mut shard, at(0), "forever", b"1", secs(1));
    set(&mut shard, at(0), "forever", b"2", Ttl::NONE);
    settle(&mut shard, at(2_499));
    assert!(has(&mut shard, at(2_499), "k"));
    settle(&mut shard, at(100_000_000_000));
    assert!(!has(&mut shard, at(100_000_000_000), "k"));
    assert!(has(&mut shard, at(100_000_000_000), "forever"));
}

#[test]
fn time_that_goes_back_revives_nothing() {
    let mut shard = shard(None);
    set(&mut shard, at(0), "k", b"1", secs(1));
    settle(&mut shard, at(5_000));
    set(&mut shard, at(4_000), "k", b"2", secs(1));
    assert!(has(&mut shard, at(3_000), "k"));
    assert!(!has(&mut shard, at(6_000), "k"));
}

#[test]
fn an_overwrite_keeps_the_time_of_creation_and_says_that_it_replaced() {
    let mut shard = shard(None);
    let expires_at = Some(UnixMillis(WALL_OFFSET_MS + 10_000));
    let first = set(&mut shard, at(0), "k", b"1", secs(10));
    assert_eq!(first, Outcome::Written { created: true, version: Version(1), expires_at });
    let second = set(&mut shard, at(3_500), "k", b"[2]", Ttl::NONE);
    assert_eq!(second, Outcome::Written { created: false, version: Version(2), expires_at: None });
    set(&mut shard, at(4_000), "k", b"[3,4]", secs(10));
    let meta = meta(&mut shard, at(5_500), "k");
    assert_eq!((meta.created_at, meta.updated_at), (UnixMillis(WALL_OFFSET_MS), UnixMillis(WALL_OFFSET_MS + 4_000)));
    assert_eq!((meta.version, meta.len, meta.raw_len), (Version(3), 5, 5));
    let expires = meta.expires.unwrap();
    assert_eq!((expires.at, expires.ttl_secs), (UnixMillis(WALL_OFFSET_MS + 14_000), 8));
}

#[test]
fn a_value_comes_back_with_its_media_type_and_is_counted_by_its_kind() {
    let mut shard = shard(None);
    let bytes = Put { kind: ValueKind::Bytes, media: b"text/plain".as_slice(), ..put(b"hello") };
    shard.apply(at(0), command("k", Verb::Put(bytes)));
    let Outcome::Found { media, value, .. } = get(&mut shard, at(0), "k") else { panic!() };
    assert_eq!((media, value), (b"text/plain".as_slice(), Value::Inline(b"hello".as_slice())));
    meta(&mut shard, at(0), "k");
    get(&mut shard, at(0), "absent");
    let stats = shard.stats();
    assert_eq!((stats.hits, stats.misses, stats.sets), (2, 1, 1));
    assert_eq!((stats.bytes_read, stats.bytes_written), ([0, 0, 0, 0, 5], [0, 0, 0, 0, 5]));
}

#[test]
fn a_version_that_the_client_has_is_not_sent_again() {
    let mut shard = shard(None);
    set(&mut shard, at(0), "k", b"1", Ttl::NONE);
    let unless =
        |version| Verb::Get { unless: Some(VersionSet::These([Version(version)].as_slice().into())), with_value: true };
    assert_eq!(shard.apply(at(0), command("k", unless(1))), Outcome::NotModified { version: Version(1) });
    assert!(matches!(shard.apply(at(0), command("k", unless(2))), Outcome::Found { .. }));
    assert_eq!((shard.stats().hits, shard.stats().bytes_read[ValueKind::Json as usize]), (2, 1));
}

#[test]
fn conditions_that_do_not_hold_change_nothing_and_are_counted() {
    let mut shard = shard(None);
    set(&mut shard, at(0), "k", b"1", Ttl::NONE);
    let these = |version| Some(VersionSet::These([Version(version)].as_slice().into()));
    let absent = Conditions { if_match: None, if_none_match: Some(VersionSet::Any) };
    let stale = Conditions { if_match: these(9), if_none_match: None };
    for conditions in [absent, stale.clone()] {
        let outcome = shard.apply(at(0), command("k", Verb::Put(Put { conditions, ..put(b"2") })));
        assert_eq!(outcome, Outcome::Conflict { actual: Some(Version(1)) });
    }
    let delete = |key, conditions| command(key, Verb::Delete { conditions });
    assert_eq!(shard.apply(at(0), delete("k", stale.clone())), Outcome::Conflict { actual: Some(Version(1)) });
    assert_eq!(shard.apply(at(0), delete("none", stale)), Outcome::Conflict { actual: None });
    assert_eq!(shard.apply(at(0), delete("none", Conditions::default())), Outcome::Missing);
    assert_eq!(inline(&mut shard, at(0), "k"), "1");
    let current = Conditions { if_match: these(1), if_none_match: None };
    assert_eq!(shard.apply(at(0), delete("k", current)), Outcome::Deleted);
    let stats = shard.stats();
    assert_eq!((stats.put_conflicts, stats.delete_conflicts, stats.deletes, stats.sets), (2, 2, 1, 1));
}

#[test]
fn a_counter_starts_at_nought_and_keeps_its_expiry_unless_told_otherwise() {
    let mut shard = shard(None);
    let counted = |value: &str, version| Outcome::Counted { value: value.as_bytes().into(), version: Version(version) };
    assert_eq!(incr(&mut shard, at(0), "k", -5, Some(secs(10))), counted("-5", 1));
    assert_eq!(incr(&mut shard, at(1_000), "k", 7, None), counted("2", 2));
    let expires = |shard: &mut Shard| meta(shard, at(2_000), "k").expires.map(|expires| expires.ttl_secs);
    assert_eq!(expires(&mut shard), Some(8));
    incr(&mut shard, at(2_000), "k", 0, Some(secs(20)));
    assert_eq!(expires(&mut shard), Some(20));
    incr(&mut shard, at(2_000), "k", 0, Some(Ttl::NONE));
    assert_eq!(expires(&mut shard), None);
    let meta = meta(&mut shard, at(2_000), "k");
    assert_eq!((meta.kind, meta.len, meta.raw_len), (ValueKind::Number, 1, 1));
    assert_eq!((meta.created_at, shard.stats().sets), (UnixMillis(WALL_OFFSET_MS), 4));
}

#[test]
fn a_counter_that_cannot_be_changed_stays_as_it_is() {
    let mut shard = shard(None);
    set(&mut shard, at(0), "json", b"[1]", Ttl::NONE);
    number(&mut shard, at(0), "int", &i64::MAX.to_string(), Ttl::NONE);
    number(&mut shard, at(0), "long", &"1".repeat(LONG), Ttl::NONE);
    for (key, refusal) in [("json", Refusal::NotANumber), ("int", Refusal::Overflow), ("long", Refusal::Overflow)] {
        let version = meta(&mut shard, at(0), key).version;
        assert_eq!(incr(&mut shard, at(0), key, 1, Some(secs(1))), Outcome::Refused(refusal));
        assert_eq!((meta(&mut shard, at(0), key).version, shard.stats().sets), (version, 3));
        assert_eq!(meta(&mut shard, at(0), key).expires, None);
    }
}

#[test]
fn versions_count_up_and_wrap_and_only_successes_use_one() {
    let mut shard = Shard::new(ShardConfig { budget_bytes: Some(1_000), first_version: u64::MAX });
    let written = |version, created| Outcome::Written { created, version: Version(version), expires_at: None };
    assert_eq!(set(&mut shard, at(0), "k", b"1", Ttl::NONE), written(u64::MAX, true));
    assert_eq!(set(&mut shard, at(0), "k", &[0; 2_000], Ttl::NONE), Outcome::Refused(Refusal::OverBudget));
    assert_eq!(set(&mut shard, at(0), "k", b"2", Ttl::NONE), written(0, false));
}

mod memory {
    use super::*;

    /// A budget for so many entries of 100 bytes under keys of one letter.
    fn room_for(entries: u64) -> u64 {
        entries * Shard::entry_footprint(1, 0, 100)
    }

    fn full(keys: &[&str]) -> Shard {
        let mut shard = shard(Some(room_for(keys.len() as u64)));
        keys.iter().for_each(|key| {
            assert!(matches!(set(&mut shard, at(0), key, &[0; 100], Ttl::NONE), Outcome::Written { .. }));
        });
        assert_eq!(shard.stats().memory_bytes, room_for(keys.len() as u64));
        shard
    }

    fn present(shard: &mut Shard, keys: &[&str]) -> Vec<bool> {
        keys.iter()
            .map(|key| shard.find(command(key, Verb::Incr { delta: 0, ttl: None }).hash, key.as_bytes()).is_some())
            .collect()
    }

    #[test]
    fn the_least_recently_used_entry_makes_room() {
        let mut shard = full(&["a", "b", "c"]);
        get(&mut shard, at(0), "a");
        set(&mut shard, at(0), "b", &[1; 100], Ttl::NONE);
        set(&mut shard, at(0), "d", &[0; 100], Ttl::NONE);
        assert_eq!(present(&mut shard, &["a", "b", "c", "d"]), [true, true, false, true]);
        assert_eq!(shard.stats().evictions, 1);
        shard.assert_invariants();
    }

    #[test]
    fn what_has_expired_goes_before_what_lives() {
        let mut shard = shard(Some(room_for(2)));
        set(&mut shard, at(0), "a", &[0; 100], Ttl::NONE);
        set(&mut shard, at(0), "b", &[0; 100], secs(1));
        set(&mut shard, at(1_000), "c", &[0; 100], Ttl::NONE);
        assert_eq!(present(&mut shard, &["a", "b", "c"]), [true, false, true]);
        assert_eq!((shard.stats().evictions, shard.stats().expirations), (0, 1));
    }

    #[test]
    fn an_overwrite_that_grows_makes_room_among_the_others() {
        let mut shard = full(&["a", "b", "c"]);
        set(&mut shard, at(0), "a", &[1; 200], Ttl::NONE);
        assert_eq!(present(&mut shard, &["a", "b", "c"]), [true, false, true]);
        assert!(shard.stats().memory_bytes <= room_for(3));
        shard.assert_invariants();
    }

    #[test]
    fn what_can_never_fit_is_refused_and_nobody_suffers() {
        let mut shard = full(&["a", "b", "c"]);
        let before = shard.stats().clone();
        assert_eq!(set(&mut shard, at(0), "a", &[0; 10_000], Ttl::NONE), Outcome::Refused(Refusal::OverBudget));
        assert_eq!(*shard.stats(), before);
        set(&mut shard, at(0), "d", &[0; 100], Ttl::NONE);
        assert_eq!(present(&mut shard, &["a", "b", "c", "d"]), [false, true, true, true], "a refusal is no use");
        set(&mut shard, at(0), "e", &vec![0; LONG], Ttl::NONE);
        settle(&mut shard, at(0));
        assert_eq!(shard.stats().memory_bytes, before.memory_bytes, "a refused long value is freed");
    }

    #[test]
    fn a_reservation_takes_room_until_it_is_given_back() {
        let mut shard = full(&["a", "b", "c"]);
        assert!(!shard.reserve(at(0), room_for(3) + 1));
        assert_eq!(shard.stats().evictions, 0);
        assert!(shard.reserve(at(0), room_for(2)));
        assert_eq!(present(&mut shard, &["a", "b", "c"]), [false, false, true]);
        assert!(!shard.reserve(at(0), room_for(1) + 1));
        assert_eq!(set(&mut shard, at(0), "c", &[0; 200], Ttl::NONE), Outcome::Refused(Refusal::NoRoom));
        assert_eq!(shard.stats().memory_bytes, room_for(3));
        shard.unreserve(room_for(2));
        set(&mut shard, at(0), "c", &[0; 200], Ttl::NONE);
        assert_eq!(meta(&mut shard, at(0), "c").len, 200);
    }

    #[test]
    fn a_smaller_budget_is_reached_slice_by_slice_and_no_write_pays_for_it() {
        let keys: Vec<String> = (0..FREED_PER_SLICE_MAX * 3).map(|n| n.to_string()).collect();
        let mut shard = shard(None);
        keys.iter().for_each(|key| drop(set(&mut shard, at(0), key, &[0; 100], Ttl::NONE)));
        let before = shard.stats().memory_bytes;
        shard.set_budget(Some(before / 10));
        set(&mut shard, at(0), "x", &[0; 100], Ttl::NONE);
        assert!((1..3).contains(&shard.stats().evictions));
        assert!(shard.stats().memory_bytes <= before);
        let slices = settle(&mut shard, at(0));
        assert_eq!(slices, 3);
        assert!(shard.stats().memory_bytes <= before / 10 && shard.stats().memory_bytes > before / 11);
        assert!(has(&mut shard, at(0), "x"));
    }

    #[test]
    fn a_lease_outlives_its_entry_and_its_bytes_stay_accounted() {
        let mut shard = shard(None);
        let bytes: Vec<u8> = (0..BLOB_CHUNK_BYTES * 2 + 5).map(|n| n as u8).collect();
        set(&mut shard, at(0), "k", &bytes, Ttl::NONE);
        let (one, other) = (leased(&mut shard, at(0), "k"), leased(&mut shard, at(0), "k"));
        assert_ne!(one, other);
        set(&mut shard, at(0), "k", b"1", Ttl::NONE);
        shard.release(one);
        settle(&mut shard, at(0));
        assert!(shard.stats().memory_bytes > bytes.len() as u64);
        let (first, rest) = bytes.split_at(BLOB_CHUNK_BYTES);
        assert!(shard.lease_slice(other, 0) == first);
        assert!(shard.lease_slice(other, BLOB_CHUNK_BYTES as u64 + 7) == &rest[7..BLOB_CHUNK_BYTES]);
        assert!(shard.lease_slice(other, bytes.len() as u64).is_empty());
        shard.release(other);
        settle(&mut shard, at(0));
        assert_eq!(shard.stats().memory_bytes, Shard::entry_footprint(1, 0, 1));
        set(&mut shard, at(0), "l", &bytes, Ttl::NONE);
        let third = leased(&mut shard, at(0), "l");
        assert!(third != one && third != other, "no name is used twice");
    }

    #[test]
    fn what_is_leased_cannot_make_room() {
        let long = Shard::entry_footprint(1, 0, LONG as u64);
        let mut shard = shard(Some(long * 2));
        set(&mut shard, at(0), "a", &vec![0; LONG], Ttl::NONE);
        let lease = leased(&mut shard, at(0), "a");
        let refused = set(&mut shard, at(0), "b", &vec![0; LONG * 2 - 1_000], Ttl::NONE);
        assert_eq!(refused, Outcome::Refused(Refusal::NoRoom));
        assert!(has(&mut shard, at(0), "a"));
        let again = leased(&mut shard, at(0), "a");
        [lease, again].into_iter().for_each(|lease| shard.release(lease));
        shard.assert_invariants();
    }

    #[test]
    fn an_overwrite_of_a_leased_value_finds_its_room_elsewhere() {
        let long = Shard::entry_footprint(1, 0, LONG as u64);
        let mut shard = shard(Some(long * 3));
        for key in ["a", "b", "c"] {
            set(&mut shard, at(0), key, &vec![0; LONG], Ttl::NONE);
        }
        let lease = leased(&mut shard, at(0), "c");
        set(&mut shard, at(0), "c", &vec![1; LONG], Ttl::NONE);
        assert_eq!(present(&mut shard, &["a", "b", "c"]), [false, true, true]);
        shard.assert_invariants();
        shard.release(lease);
    }

    #[test]
    fn a_dead_long_value_is_freed_in_slices_and_stays_in_the_numbers_until_then() {
        let chunks = BLOB_CHUNKS_FREED_PER_SLICE * 3;
        let mut shard = shard(None);
        set(&mut shard, at(0), "k", &vec![0; chunks * BLOB_CHUNK_BYTES], Ttl::NONE);
        shard.apply(at(0), command("k", Verb::Delete { conditions: Conditions::default() }));
        let mut left = shard.stats().memory_bytes;
        assert!(left > (chunks * BLOB_CHUNK_BYTES) as u64);
        while left > 0 {
            let more = shard.tick(at(0));
            let freed = left - shard.stats().memory_bytes;
            assert!(freed > 0 && freed < (BLOB_CHUNKS_FREED_PER_SLICE as u64 + 1) * BLOB_CHUNK_BYTES as u64);
            left -= freed;
            assert_eq!(more, left > 0);
        }
    }

    #[test]
    fn long_values_that_replace_each_other_evict_nobody_else() {
        let long = 4 * BLOB_CHUNK_BYTES;
        let budget = Shard::entry_footprint(1, 0, long as u64) + room_for(1);
        let mut shard = shard(Some(budget));
        set(&mut shard, at(0), "a", &[0; 100], Ttl::NONE);
        for _ in 0..20 {
            set(&mut shard, at(0), "k", &vec![0; long], Ttl::NONE);
            assert!(shard.stats().memory_bytes < 3 * budget, "writers free what writers leave behind");
        }
        assert_eq!((present(&mut shard, &["a", "k"]), shard.stats().evictions), (vec![true, true], 0));
        shard.assert_invariants();
    }

    #[test]
    fn without_entries_a_budget_in_use_elsewhere_is_no_work() {
        let mut shard = shard(Some(1_000));
        assert!(shard.reserve(at(0), 1_000));
        shard.set_budget(Some(10));
        assert!(!shard.tick(at(0)), "there is nothing that could be evicted");
        assert!(!shard.reserve(at(0), 1));
    }
}
