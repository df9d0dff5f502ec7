//! Random questions.

use super::naive::Ask;
use super::random::Random;
use cache_service::command::{Conditions, ValueKind, Version, VersionSet};
use cache_service::limits::{BLOB_CHUNK_BYTES, INLINE_VALUE_BYTES_MAX};
use cache_service::time::Ttl;

/// A question about a key that is at the version `actual`.
pub fn random_ask(random: &mut Random, actual: Option<Version>) -> Ask {
    match random.below(12) {
        0..4 => {
            let unless = random.one_in(4).then(|| random_versions(random, actual));
            Ask::Get { unless, with_value: !random.one_in(4) }
        }
        4..10 => random_put(random, actual),
        10 => Ask::Delete { conditions: random_conditions(random, actual) },
        _ => {
            let ttl = random.one_in(2).then(|| random_ttl(random));
            Ask::Incr { delta: random.of(&[1, -1, 0, 1_000, i64::MAX, i64::MIN]), ttl }
        }
    }
}

fn random_put(random: &mut Random, actual: Option<Version>) -> Ask {
    const NUMBERS: [&str; 8] =
        ["0", "-7", "9223372036854775807", "99999999999999999999", "1.5", "1e3", "1.7976931348623157e308", "1e999"];
    let kind = random.of(&ValueKind::ALL);
    let bytes = if kind == ValueKind::Number && !random.one_in(8) {
        random.of(&NUMBERS).as_bytes().to_vec()
    } else {
        let len = random_len(random);
        let (first, digit) = (random.next(), kind == ValueKind::Number);
        (0..len).map(|n| if digit { b'1' } else { (first ^ n) as u8 }).collect()
    };
    let media = if kind == ValueKind::Bytes { random.of(&["text/plain", "", "a/b"]).as_bytes() } else { b"" };
    let raw_len = random.of(&[bytes.len(), bytes.len().saturating_sub(2), bytes.len() / 2]) as u64;
    let (ttl, conditions) = (random_ttl(random), random_conditions(random, actual));
    Ask::Put { kind, raw_len, bytes, media: media.to_vec(), ttl, conditions }
}

fn random_len(random: &mut Random) -> u64 {
    match random.below(40) {
        0..12 => random.of(&[0, 1, 30, 200]),
        12..34 => random.below(3_000),
        34..38 => random.below(INLINE_VALUE_BYTES_MAX as u64 + 1),
        38 => INLINE_VALUE_BYTES_MAX as u64 + random.below(100_000),
        _ => random.of(&[1, 2, 3]) * BLOB_CHUNK_BYTES as u64 + random.of(&[0, 1, 70_000]),
    }
}

fn random_ttl(random: &mut Random) -> Ttl {
    Ttl::from_secs(random.of(&[0, 0, 0, 0, 1, 9, 30, 3_600, 2_147_483_647])).expect("within limits")
}

fn random_conditions(random: &mut Random, actual: Option<Version>) -> Conditions {
    let if_match = random.one_in(8).then(|| random_versions(random, actual));
    let if_none_match = random.one_in(8).then(|| random_versions(random, actual));
    Conditions { if_match, if_none_match }
}

fn random_versions(random: &mut Random, actual: Option<Version>) -> VersionSet {
    let stale = Version(random.below(1_000_000));
    match random.below(4) {
        0 => VersionSet::Any,
        1 => VersionSet::These([stale].into_iter().collect()),
        _ => VersionSet::These([Some(stale), actual].into_iter().flatten().collect()),
    }
}
