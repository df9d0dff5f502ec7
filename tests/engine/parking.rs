//! Long values that arrive at an owner without room for them: it makes room in slices and keeps the order.

use crate::cores::{Cores, REQUEST_TIMEOUT_MS, get_raw, pattern, put_raw};
use cache_service::engine::rules::Rules;
use cache_service::limits::FREED_PER_SLICE_MAX;
use cache_service::metrics::BackpressureReason;

const MIB: usize = 1 << 20;
const LONG: usize = 4 * MIB;

/// Two cores, the second of which has evicted already.
fn with_a_full_owner() -> Cores {
    let mut cores = Cores::new(2);
    let settings = cores.engines[1].parts().settings.clone();
    cores.engines[1].obey(Rules { settings, budget_bytes: Some(16 << 20) });
    let mut number = 0;
    while evictions(&cores) == 0 {
        let key = cores.key(1, &format!("short-{number}"));
        cores.store(1, &key, 2_000);
        number += 1;
    }
    cores.pass(200);
    cores
}

fn evictions(cores: &Cores) -> u64 {
    cores.engines[1].parts().shard.stats().evictions
}

#[test]
fn room_for_a_long_foreign_value_is_made_in_slices() {
    let mut cores = with_a_full_owner();
    let key = cores.key(1, "long");
    let mut peer = cores.connect(0);
    let mut before = evictions(&cores);
    cores.say(&mut peer, put_raw(&key, &pattern(LONG)));
    cores.carry_out();
    assert!(cores.lanes.replies.is_empty() && evictions(&cores) == before, "nothing is evicted in one go");
    assert!(cores.engines[1].is_pressed(), "the owner has work to do at once");
    let mut slices = 0;
    while cores.lanes.replies.is_empty() {
        cores.tick_slice(1);
        assert!(
            evictions(&cores) - before <= 2 * FREED_PER_SLICE_MAX as u64,
            "one slice for the parcel, one of upkeep"
        );
        (before, slices) = (evictions(&cores), slices + 1);
    }
    assert!(slices > 5, "{slices}");
    cores.run(&mut peer);
    assert!(matches!(&peer.answers()[..], [one] if one.status == 201));
    cores.pass(200);
    assert!(!cores.engines[1].is_pressed());
    cores.assert_at_rest();
}

#[test]
fn what_follows_a_parked_value_on_its_connection_sees_it() {
    let mut cores = with_a_full_owner();
    let key = cores.key(1, "long");
    let mut peer = cores.connect(0);
    cores.say(&mut peer, [put_raw(&key, &pattern(LONG)), get_raw(&key).into()].concat());
    cores.run(&mut peer);
    assert!(peer.answers().is_empty(), "both wait at the owner");
    cores.pass(200);
    cores.run(&mut peer);
    let answers = peer.answers();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 200]);
    assert!(answers[1].body == pattern(LONG));
    cores.assert_at_rest();
}

#[test]
fn a_parked_value_that_waits_too_long_is_refused_and_freed() {
    let mut cores = with_a_full_owner();
    let key = cores.key(1, "long");
    let mut peer = cores.connect(0);
    let held = cores.memory_bytes(1);
    cores.say(&mut peer, put_raw(&key, &pattern(LONG)));
    cores.carry_out();
    assert!(cores.memory_bytes(1) >= held + LONG as u64, "what waits is accounted for");
    cores.pass(REQUEST_TIMEOUT_MS + 200);
    cores.run(&mut peer);
    assert!(matches!(&peer.answers()[..], [one] if matches!(one.status, 201 | 503)));
    cores.pass(200);
    cores.assert_at_rest();
}

#[test]
fn a_value_that_can_never_fit_is_refused_at_once_and_evicts_nobody() {
    let mut cores = with_a_full_owner();
    let (key, before) = (cores.key(1, "long"), evictions(&cores));
    let mut peer = cores.connect(0);
    assert!(matches!(&cores.ask(&mut peer, put_raw(&key, &pattern(15 * MIB)))[..], [one] if one.status == 413));
    assert_eq!(evictions(&cores), before);
    cores.pass(200);
    cores.assert_at_rest();
}

/// Found by a second reader: cleaning that ordinary overwrites keep going was waited for, so that the value, and all that
/// came from its core after it, waited for ever.
#[test]
fn a_parked_value_gets_its_turn_while_others_overwrite() {
    const WRITES_A_SLICE: usize = 200;
    let mut cores = Cores::new(2);
    let settings = cores.engines[1].parts().settings.clone();
    cores.engines[1].obey(Rules { settings, budget_bytes: Some(32 << 20) });
    let mut local = cores.connect(1);
    let keys: Vec<String> = (0..200_000).map(|n| cores.key(1, &n.to_string())).collect();
    let mut seed = 1_u64;
    let mut write = |cores: &mut Cores| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (key, len) = (&keys[(seed >> 33) as usize % keys.len()], 50 + (seed >> 20) as usize % 250);
        cores.say(&mut local, put_raw(key, &vec![b'x'; len]));
        cores.hear(&mut local, usize::MAX);
        local.answers();
    };
    for n in 0..400_000 {
        write(&mut cores);
        if n % 200 == 0 {
            cores.tick_slice(1);
        }
    }
    let mut peer = cores.connect(0);
    let (long, short) = (cores.key(1, "long"), cores.key(1, "short"));
    cores.say(&mut peer, put_raw(&long, &pattern(MIB)));
    cores.carry_out();
    let mut other = cores.connect(0);
    cores.say(&mut other, put_raw(&short, b"1"));
    cores.carry_out();
    let mut slices = 0;
    while cores.lanes.replies.len() < 2 {
        cores.tick_slice(1);
        (0..WRITES_A_SLICE).for_each(|_| write(&mut cores));
        slices += 1;
        assert!(slices < 1_500, "never answered");
    }
    for peer in [&mut peer, &mut other] {
        cores.run(peer);
        assert!(matches!(&peer.answers()[..], [one] if one.status == 201));
    }
}

/// Found by a stranger: a shard refused every write for want of room, and the counter of such refusals stayed 0.
#[test]
fn a_write_without_room_at_its_owner_is_counted() {
    let mut cores = Cores::new(2);
    let settings = cores.engines[1].parts().settings.clone();
    cores.engines[1].obey(Rules { settings, budget_bytes: Some(32 << 20) });
    let (upload, other) = (cores.key(1, "upload"), cores.key(1, "other"));
    // A body that has nearly come holds what the shard has room for.
    let mut uploader = cores.connect(1);
    let body = put_raw(&upload, &pattern(25_952_000));
    cores.say(&mut uploader, &body[..body.len() - 50_000]);
    let mut peer = cores.connect(0);
    let answers = cores.ask(&mut peer, put_raw(&other, &pattern(300_000)));
    assert!(matches!(&answers[..], [one] if one.status == 503), "{answers:?}");
    assert_eq!(cores.backpressure(1, BackpressureReason::OverBudget), 1);
}
