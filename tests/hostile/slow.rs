//! Clients that take their time: with heads, with bodies, with answers.

use crate::ground::Ground;
use crate::neighbours::beside;
use crate::sockets::{Ending, Rude, crowd, statuses, until_all};
use std::collections::BTreeMap;
use std::time::Duration;

const SLOW: usize = 200;
/// Between two bytes.
const PAUSE: Duration = Duration::from_millis(20);
/// Eight requests in progress for each core.
const FEW_IN_FLIGHT: (&str, &str) = ("MAX_INFLIGHT", "16");

/// Sends the next `step` bytes of `wire` on each connection again and again, until all have heard something.
fn drip(crowd: &mut [Rude], wire: &[u8], step: usize) {
    until_all("the server says what it thinks of it", crowd, PAUSE, |rude| {
        let rest = &wire[rude.sent.min(wire.len())..];
        rude.has_heard() || (!rude.push(&rest[..step.min(rest.len())]) && rude.has_heard())
    });
}

/// How many of `crowd` were answered how; each was answered once, and its connection has ended.
#[track_caller]
fn outcomes(crowd: Vec<Rude>) -> BTreeMap<u16, usize> {
    let mut found = BTreeMap::new();
    for rude in crowd {
        let ending = rude.ending();
        let statuses = statuses(ending.bytes());
        assert!(matches!(statuses[..], [_]), "{ending:?}");
        *found.entry(statuses[0]).or_default() += 1;
    }
    found
}

#[test]
fn heads_that_come_a_byte_at_a_time_time_out() {
    let ground = Ground::new(&[("HEADER_TIMEOUT_MS", "1000")]);
    let wire = format!("GET /v1/kv/k HTTP/1.1\r\nHost: t\r\nX-Slow: {}", "a".repeat(10_000));
    beside(&ground, |neighbours| {
        let mut slow = crowd(ground.of_core(0), SLOW);
        drip(&mut slow, wire.as_bytes(), 1);
        neighbours.are_served();
        assert_eq!(outcomes(slow), BTreeMap::from([(408, SLOW)]));
    });
}

#[test]
fn header_lines_without_end_are_too_large() {
    let ground = Ground::new(&[]);
    let wire = format!("GET /v1/kv/k HTTP/1.1\r\nHost: t\r\n{}", "X-Endless: line\r\n".repeat(100_000));
    beside(&ground, |neighbours| {
        let mut endless = crowd(ground.of_core(0), SLOW);
        drip(&mut endless, wire.as_bytes(), 1_000);
        neighbours.are_served();
        assert_eq!(outcomes(endless), BTreeMap::from([(431, SLOW)]));
    });
}

#[test]
fn one_line_without_end_is_too_large() {
    let ground = Ground::new(&[]);
    for start in ["GET /", "GET / HTTP/1.1\r\nX: ", "G"] {
        let wire = start.to_owned() + &"e".repeat(40_000);
        beside(&ground, |_| {
            let mut huge = crowd(ground.of_core(0), SLOW);
            drip(&mut huge, wire.as_bytes(), wire.len());
            let outcomes = outcomes(huge);
            assert!(
                outcomes == BTreeMap::from([(431, SLOW)]) || outcomes == BTreeMap::from([(400, SLOW)]),
                "{outcomes:?}"
            );
        });
    }
}

/// Nobody needs a token to begin a batch of reads, and a byte now and then keeps each from standing still.
#[test]
fn bodies_that_trickle_leave_places_to_those_who_are_done() {
    let ground = Ground::new(&[FEW_IN_FLIGHT, ("REQUEST_TIMEOUT_MS", "1000")]);
    let wire = format!(
        "POST /v1/kv/batch/get HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n{{\"keys\":[\"{}",
        "k".repeat(5_000)
    );
    let head = wire.find('{').expect("a body");
    beside(&ground, |neighbours| {
        let (mut generations, mut found) = (0, BTreeMap::new());
        // As often as it takes for some to have been let in after others were given up.
        while found.get(&408).is_none_or(|given_up| *given_up < 12) {
            let mut slow = crowd(ground.of_core(0), SLOW / 4);
            slow.iter_mut().for_each(|rude| assert!(rude.push(&wire.as_bytes()[..head])));
            neighbours.are_served();
            drip(&mut slow, wire.as_bytes(), 1);
            for (status, count) in outcomes(slow) {
                *found.entry(status).or_insert(0) += count;
            }
            generations += 1;
        }
        println!("{found:?} in {generations} generations");
        assert_eq!(found.values().sum::<usize>(), generations * (SLOW / 4));
        assert!(found.keys().all(|status| [408, 503].contains(status)), "{found:?}");
    });
}

#[test]
fn bodies_that_stand_still_time_out() {
    let ground = Ground::new(&[("REQUEST_TIMEOUT_MS", "500")]);
    let wire = "POST /v1/kv/batch/get HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"keys\"";
    beside(&ground, |neighbours| {
        let mut still = crowd(ground.of_core(0), SLOW);
        drip(&mut still, wire.as_bytes(), wire.len());
        neighbours.are_served();
        assert_eq!(outcomes(still), BTreeMap::from([(408, SLOW)]));
    });
}

/// Their answers are made: what they hold is memory, and no place among the requests in progress.
fn readers_of_long_values(owner: u16) {
    let ground = Ground::new(&[FEW_IN_FLIGHT]);
    let bytes = 4_000_000;
    let key = ground.store(owner, "long", bytes);
    let request = format!("GET /v1/kv/{key}?raw=true HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    beside(&ground, |neighbours| {
        let mut readers = crowd(ground.of_core(0), 6);
        let mut deaf = crowd(ground.of_core(0), SLOW);
        readers.iter_mut().for_each(|rude| assert!(rude.push(request.as_bytes())));
        until_all("an answer begins", &mut readers, PAUSE, |rude| rude.has_heard());
        for rude in &mut deaf {
            assert!(rude.push(request.as_bytes()));
            until_all("an answer begins", std::slice::from_mut(rude), Duration::from_millis(1), |rude| {
                rude.has_heard()
            });
        }
        neighbours.are_served();
        for rude in readers {
            let ending = rude.ending();
            assert!(matches!(&ending, Ending::Closed(wire) if wire.len() > bytes), "{:?}", ending.status());
        }
        let begun = deaf.iter().filter(|rude| rude.has_been_answered_with(b"HTTP/1.1 200")).count();
        assert_eq!(begun, SLOW, "as many answers may wait to be read as there are readers");
    });
}

#[test]
fn slow_readers_of_long_values_leave_places_to_others() {
    readers_of_long_values(0);
}

#[test]
fn slow_readers_of_another_cores_long_values_leave_places_to_others() {
    readers_of_long_values(1);
}
