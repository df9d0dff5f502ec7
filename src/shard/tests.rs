//! The rules of a shard, one test each. `tests/model` tries their combinations.

use super::*;
use crate::command::{Conditions, Meta, Payload, Put, Refusal, Value, ValueKind, Version, VersionSet};
use crate::limits::{
    BLOB_CHUNK_BYTES, BLOB_CHUNKS_FREED_PER_SLICE, FREED_PER_SLICE_MAX, INLINE_VALUE_BYTES_MAX, STREAM_STEP_BYTES,
};
use crate::time::{Ttl, UnixMillis};

const LONG: usize = INLINE_VALUE_BYTES_MAX + 1;
const WALL_OFFSET_MS: u64 = 1_000_000;

fn at(millis: u64) -> Now {
    Now::new(Mono::from_millis(millis), WALL_OFFSET_MS)
}

/// Keys share their places in the index: six bits of the hash decide them. Others still tell ghosts apart.
fn config(budget_bytes: Option<u64>) -> ShardConfig {
    let hasher = KeyHasher::new([1, 2]).masked(63 | 0xffff << 25);
    ShardConfig { budget_bytes, first_version: 1, policy: EvictionPolicy::Lru, hasher }
}

fn shard(budget_bytes: Option<u64>) -> Shard {
    Shard::new(config(budget_bytes))
}

fn command<'a>(key: &'a str, verb: Verb<&'a [u8]>) -> Command<&'a [u8]> {
    Command { key: key.as_bytes(), hash: config(None).hasher.hash(key.as_bytes()), verb }
}

fn put(bytes: &[u8]) -> Put<&[u8]> {
    let payload = if bytes.len() < LONG {
        Payload::Inline(bytes)
    } else {
        let mut blob = Blob::new();
        blob.extend_from_slice(bytes).expect("memory");
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
    let empty = shard.stats().memory_bytes;
    set(&mut shard, at(0), "k", b"1", secs(1));
    set(&mut shard, at(0), "long", &vec![0; LONG], secs(1));
    settle(&mut shard, at(999));
    assert_eq!(shard.stats().entries, 2);
    settle(&mut shard, at(1_000 + 63));
    assert_eq!((shard.stats().entries, shard.stats().expirations), (0, 2));
    assert_eq!((shard.log.live_bytes(), shard.values.chunk_bytes()), (0, 0));
    assert!(shard.stats().memory_bytes < empty + 100_000, "tables and one block's segments");
}

#[test]
fn many_entries_that_expire_together_are_freed_in_slices() {
    let entries = FREED_PER_SLICE_MAX * 10;
    let mut shard = shard(None);
    for n in 0..entries {
        set(&mut shard, at(n as u64 % 1_000), &n.to_string(), b"1", secs(5));
    }
    let mut left = shard.stats().entries;
    while shard.tick(at(7_000)) {
        assert!(left - shard.stats().entries <= FREED_PER_SLICE_MAX as u64 + 4096 / 20, "a segment beyond at most");
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
    let Outcome::Written { created: false, version: second, expires_at: None } =
        set(&mut shard, at(3_500), "k", b"[2]", Ttl::NONE)
    else {
        panic!("an overwrite")
    };
    set(&mut shard, at(4_000), "k", b"[3,4]", secs(10));
    let meta = meta(&mut shard, at(5_500), "k");
    assert_eq!((meta.created_at, meta.updated_at), (UnixMillis(WALL_OFFSET_MS), UnixMillis(WALL_OFFSET_MS + 4_000)));
    assert!(Version(1).0 < second.0 && second.0 < meta.version.0, "versions go up");
    assert_eq!((meta.len, meta.raw_len), (5, 5));
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
    let counted = |outcome: Outcome<&[u8]>| match outcome {
        Outcome::Counted { value, .. } => String::from_utf8(value.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(counted(incr(&mut shard, at(0), "k", -5, Some(secs(10)))), "-5");
    assert_eq!(counted(incr(&mut shard, at(1_000), "k", 7, None)), "2");
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
    let mut shard = Shard::new(ShardConfig { first_version: u64::MAX, ..config(Some(1_000)) });
    let written = |version, created| Outcome::Written { created, version: Version(version), expires_at: None };
    assert_eq!(set(&mut shard, at(0), "k", b"1", Ttl::NONE), written(u64::MAX, true));
    let refused = set(&mut shard, at(0), "k", &vec![0; 1_000_000], Ttl::NONE);
    assert_eq!(refused, Outcome::Refused(Refusal::OverBudget));
    assert_eq!(set(&mut shard, at(0), "k", b"2", Ttl::NONE), written(0, false));
}

mod memory {
    use super::*;

    const MIB: u64 = 1 << 20;
    /// A little over a kilobyte with everything.
    const VALUE: [u8; 1_000] = [0; 1_000];

    fn key(n: usize) -> String {
        format!("key-{n}")
    }

    /// A shard of a mebibyte that has evicted already, and how many keys it was given.
    fn full(policy: EvictionPolicy) -> (Shard, usize) {
        let mut shard = Shard::new(ShardConfig { policy, ..config(Some(MIB)) });
        let mut keys = 0;
        while shard.stats().evictions == 0 {
            set(&mut shard, at(0), &key(keys), &VALUE, Ttl::NONE);
            keys += 1;
        }
        assert!(keys > 700, "most of the budget holds entries: {keys}");
        shard.assert_invariants();
        (shard, keys)
    }

    fn is_there(shard: &Shard, key: &str) -> bool {
        shard.find(config(None).hasher.hash(key.as_bytes()), key.as_bytes()).is_some()
    }

    fn present(shard: &Shard, keys: impl IntoIterator<Item = usize>) -> Vec<usize> {
        keys.into_iter().filter(|&n| is_there(shard, &key(n))).collect()
    }

    #[test]
    fn the_least_recently_used_entry_makes_room() {
        let (mut shard, keys) = full(EvictionPolicy::Lru);
        assert_eq!(present(&shard, 0..3), [1, 2]);
        get(&mut shard, at(0), &key(1));
        set(&mut shard, at(0), &key(2), &VALUE, Ttl::NONE);
        (keys..keys + 2).for_each(|n| drop(set(&mut shard, at(0), &key(n), &VALUE, Ttl::NONE)));
        assert_eq!(present(&shard, [1, 2, 3, 4]), [1, 2]);
        shard.assert_invariants();
    }

    #[test]
    fn what_was_asked_for_once_goes_before_what_was_used() {
        let (mut shard, keys) = full(EvictionPolicy::S3Fifo);
        for n in 100..110 {
            (0..2).for_each(|_| drop(get(&mut shard, at(0), &key(n))));
        }
        (keys..keys * 4).for_each(|n| drop(set(&mut shard, at(0), &key(n), &VALUE, Ttl::NONE)));
        assert_eq!(present(&shard, 0..keys), (100..110).collect::<Vec<_>>());
        shard.assert_invariants();
    }

    #[test]
    fn what_comes_again_soon_stays() {
        let (mut shard, keys) = full(EvictionPolicy::S3Fifo);
        (keys..keys + 100).for_each(|n| drop(set(&mut shard, at(0), &key(n), &VALUE, Ttl::NONE)));
        assert_eq!(present(&shard, 0..50), [0; 0]);
        (0..50).for_each(|n| drop(set(&mut shard, at(0), &key(n), &VALUE, Ttl::NONE)));
        (keys * 2..keys * 4).for_each(|n| drop(set(&mut shard, at(0), &key(n), &VALUE, Ttl::NONE)));
        assert_eq!(present(&shard, 0..keys + 100), (0..50).collect::<Vec<_>>());
        shard.assert_invariants();
    }

    #[test]
    fn what_has_expired_goes_before_what_lives() {
        let mut shard = shard(Some(MIB));
        (0..200).for_each(|n| drop(set(&mut shard, at(0), &key(n), &VALUE, secs(1))));
        let mut keys = 200;
        while shard.stats().expirations == 0 {
            set(&mut shard, at(2_000), &key(keys), &VALUE, Ttl::NONE);
            keys += 1;
        }
        assert_eq!(shard.stats().evictions, 0);
        assert_eq!(present(&shard, 200..keys).len(), keys - 200);
        shard.assert_invariants();
    }

    #[test]
    fn an_overwrite_that_grows_makes_room_among_the_others() {
        let (mut shard, keys) = full(EvictionPolicy::Lru);
        let last = key(keys - 1);
        set(&mut shard, at(0), &last, &[1; 16_000], Ttl::NONE);
        assert!((15..18).contains(&present(&shard, 0..40)[0]));
        assert_eq!(meta(&mut shard, at(0), &last).len, 16_000);
        shard.assert_invariants();
    }

    #[test]
    fn what_can_never_fit_is_refused_and_nobody_suffers() {
        let (mut shard, keys) = full(EvictionPolicy::Lru);
        let before = shard.stats().clone();
        let (last, too_long) = (key(keys - 1), vec![0; MIB as usize]);
        assert_eq!(set(&mut shard, at(0), &last, &too_long, Ttl::NONE), Outcome::Refused(Refusal::OverBudget));
        settle(&mut shard, at(0));
        assert_eq!(*shard.stats(), before, "a refused long value is freed");
        let bytes = vec![0; MIB as usize];
        let typed = Put { kind: ValueKind::Bytes, media: b"never/seen".as_slice(), ..put(&bytes) };
        let refused = shard.apply(at(0), command(&last, Verb::Put(typed)));
        assert_eq!(refused, Outcome::Refused(Refusal::OverBudget));
        shard.assert_invariants();
        assert_eq!(present(&shard, 0..keys).len(), keys - 1);
    }

    #[test]
    fn a_reservation_takes_room_until_it_is_given_back() {
        let (mut shard, keys) = full(EvictionPolicy::Lru);
        assert!(!shard.reserve(at(0), MIB));
        assert_eq!(present(&shard, 0..keys).len(), keys - 1);
        assert!(shard.reserve(at(0), MIB / 2));
        assert!(shard.stats().memory_bytes <= MIB && shard.committed() <= MIB);
        let left = present(&shard, 0..keys);
        assert!(left.len() < keys / 2 && left.last() == Some(&(keys - 1)), "the older half went");
        assert!(!shard.reserve(at(0), MIB / 2));
        let refused = set(&mut shard, at(0), "long", &vec![0; MIB as usize / 2], Ttl::NONE);
        assert_eq!(refused, Outcome::Refused(Refusal::NoRoom));
        shard.unreserve(MIB / 2);
        let outcome = set(&mut shard, at(0), "long", &vec![0; MIB as usize / 2], Ttl::NONE);
        assert!(matches!(outcome, Outcome::Written { .. }));
        shard.assert_invariants();
    }

    #[test]
    fn buffers_of_connections_take_room_like_everything_else() {
        let (mut shard, keys) = full(EvictionPolicy::Lru);
        shard.set_buffers(MIB / 4);
        settle(&mut shard, at(0));
        assert!(shard.committed() <= MIB);
        assert!(present(&shard, 0..keys).len() < keys * 3 / 4);
    }

    #[test]
    fn a_smaller_budget_is_reached_slice_by_slice_and_no_write_pays_for_it() {
        let keys = 10_000;
        let mut shard = shard(Some(64 * MIB));
        (0..keys).for_each(|n| drop(set(&mut shard, at(0), &key(n), &VALUE, Ttl::NONE)));
        let before = shard.committed();
        shard.set_budget(Some(before / 2));
        set(&mut shard, at(0), "x", &[0; 100], Ttl::NONE);
        assert!(shard.stats().evictions < 3, "{}", shard.stats().evictions);
        assert!(
            shard.committed() <= before + shard.log.geometry().block_bytes() + 4096,
            "{before} {}",
            shard.committed()
        );
        let mut evictions = shard.stats().evictions;
        while shard.tick(at(0)) {
            assert!(shard.stats().evictions - evictions <= FREED_PER_SLICE_MAX as u64);
            evictions = shard.stats().evictions;
        }
        assert!(shard.committed() <= before / 2);
        assert!(shard.stats().memory_bytes > before / 2 * 8 / 10, "no more than needed went");
        assert!(has(&mut shard, at(0), "x"));
        shard.assert_invariants();
    }

    #[test]
    fn upkeep_under_a_smaller_budget_frees_what_has_expired_before_it_evicts() {
        let mut shard = shard(Some(16 * MIB));
        (0..500).for_each(|n| drop(set(&mut shard, at(0), &key(n), &VALUE, Ttl::NONE)));
        (500..8_000).for_each(|n| drop(set(&mut shard, at(0), &key(n), &VALUE, secs(1))));
        shard.set_budget(Some(2 * MIB));
        settle(&mut shard, at(2_000));
        assert_eq!((shard.stats().expirations, shard.stats().evictions), (7_500, 0));
        assert!(shard.committed() <= 2 * MIB);
    }

    #[test]
    fn a_larger_budget_takes_effect_at_once() {
        let (mut shard, keys) = full(EvictionPolicy::default());
        shard.set_budget(Some(4 * MIB));
        (keys..keys * 2).for_each(|n| drop(set(&mut shard, at(0), &key(n), &VALUE, Ttl::NONE)));
        assert_eq!(shard.stats().evictions, 1);
        shard.assert_invariants();
    }

    #[test]
    fn values_of_changing_lengths_never_grow_beyond_the_budget_and_fill_it() {
        for policy in EvictionPolicy::ALL {
            let mut shard = Shard::new(ShardConfig { policy, ..config(Some(4 * MIB)) });
            let mut state = 7_u64;
            for step in 0..30_000_u64 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (n, len) = ((state >> 33) % 900, (state >> 20) as usize % 8_000);
                set(&mut shard, at(step), &key(n as usize), &vec![1; len], Ttl::NONE);
                assert!(shard.committed() <= 4 * MIB, "step {step}: {}", shard.committed());
            }
            shard.assert_invariants();
            let live = shard.log.live_bytes() + shard.index.bytes();
            assert!(live > 4 * MIB * 8 / 10, "{policy:?} keeps {live} bytes");
        }
    }

    #[test]
    fn what_is_dead_is_given_back_even_without_a_limit() {
        let mut shard = shard(None);
        for round in 0..40_usize {
            for n in 0..2_000 {
                set(&mut shard, at(0), &key(n), &vec![1; 1_000 + (round * 37 + n) % 500], Ttl::NONE);
            }
        }
        settle(&mut shard, at(0));
        assert!(shard.log.mapped_bytes() < 16 * MIB, "{}", shard.log.mapped_bytes());
        (0..2_000).for_each(|n| {
            drop(shard.apply(at(0), command(&key(n), Verb::Delete { conditions: Conditions::default() })));
        });
        settle(&mut shard, at(0));
        assert!(shard.log.mapped_bytes() <= 6 * MIB, "{}", shard.log.mapped_bytes());
    }

    #[test]
    fn a_lease_outlives_its_entry_and_its_bytes_stay_accounted() {
        let mut shard = shard(None);
        let bytes: Vec<u8> = (0..BLOB_CHUNK_BYTES * 2 + 100_005).map(|n| (n % 251) as u8).collect();
        set(&mut shard, at(0), "k", &bytes, Ttl::NONE);
        let (one, other) = (leased(&mut shard, at(0), "k"), leased(&mut shard, at(0), "k"));
        assert_ne!(one, other);
        set(&mut shard, at(0), "k", b"1", Ttl::NONE);
        shard.release(one);
        settle(&mut shard, at(0));
        assert!(shard.stats().memory_bytes > bytes.len() as u64);
        assert!(shard.lease_slice(other, 7) == &bytes[7..STREAM_STEP_BYTES], "steps end where chunks may");
        let mut read = Vec::new();
        while let slice @ [_, ..] = shard.lease_slice(other, read.len() as u64) {
            assert!(slice.len() <= STREAM_STEP_BYTES);
            read.extend_from_slice(slice);
        }
        assert!(read == bytes);
        shard.release(other);
        settle(&mut shard, at(0));
        assert!(shard.stats().memory_bytes < bytes.len() as u64);
        set(&mut shard, at(0), "l", &bytes, Ttl::NONE);
        let third = leased(&mut shard, at(0), "l");
        assert!(third != one && third != other, "no name is used twice");
    }

    #[test]
    fn what_is_leased_cannot_make_room() {
        let long = MIB as usize / 2;
        let mut shard = shard(Some(MIB));
        set(&mut shard, at(0), "a", &vec![0; long], Ttl::NONE);
        let lease = leased(&mut shard, at(0), "a");
        assert_eq!(set(&mut shard, at(0), "b", &vec![0; long], Ttl::NONE), Outcome::Refused(Refusal::NoRoom));
        assert!(is_there(&shard, "a"));
        let again = leased(&mut shard, at(0), "a");
        [lease, again].into_iter().for_each(|lease| shard.release(lease));
        assert!(matches!(set(&mut shard, at(0), "b", &vec![0; long], Ttl::NONE), Outcome::Written { .. }));
        settle(&mut shard, at(0));
    }

    #[test]
    fn a_dead_long_value_is_freed_in_slices_and_stays_in_the_numbers_until_then() {
        let chunks = BLOB_CHUNKS_FREED_PER_SLICE * 3;
        let mut shard = shard(None);
        set(&mut shard, at(0), "k", &vec![0; chunks * BLOB_CHUNK_BYTES], Ttl::NONE);
        shard.apply(at(0), command("k", Verb::Delete { conditions: Conditions::default() }));
        let mut left = shard.values.chunk_bytes();
        assert_eq!(left, (chunks * BLOB_CHUNK_BYTES) as u64);
        while left > 0 {
            let more = shard.tick(at(0));
            let freed = left - shard.values.chunk_bytes();
            assert_eq!(freed, (BLOB_CHUNKS_FREED_PER_SLICE * BLOB_CHUNK_BYTES) as u64);
            left -= freed;
            assert_eq!(more, left > 0);
        }
    }

    #[test]
    fn long_values_that_replace_each_other_evict_nobody_else() {
        let mut shard = shard(Some(4 * MIB));
        set(&mut shard, at(0), "a", &[0; 100], Ttl::NONE);
        for _ in 0..20 {
            set(&mut shard, at(0), "k", &vec![0; 3 * MIB as usize], Ttl::NONE);
            assert!(shard.committed() <= 4 * MIB, "writers free what writers leave behind");
        }
        assert!(is_there(&shard, "a") && is_there(&shard, "k") && shard.stats().evictions == 0);
        shard.assert_invariants();
    }

    #[test]
    fn without_entries_a_budget_in_use_elsewhere_is_no_work() {
        let mut shard = shard(Some(MIB));
        assert!(shard.reserve(at(0), MIB / 2));
        shard.set_budget(Some(10));
        assert!(!shard.tick(at(0)), "there is nothing that could be evicted");
        assert!(!shard.reserve(at(0), MIB / 2));
    }
}
