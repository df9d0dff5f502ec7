//! Requests in progress: each is counted while it is, and recorded once when it is done.

use crate::cores::{Cores, get_raw, pattern};
use cache_service::limits::{OUTPUT_HIGH_WATER_BYTES, PIPELINE_DEPTH_MAX};

/// The last piece of such a value fills the output exactly up to its mark.
#[test]
fn an_answer_that_ends_where_the_output_is_full_is_done() {
    let mut cores = Cores::new(1);
    cores.store(0, "full", OUTPUT_HIGH_WATER_BYTES);
    let before = cores.recorded(0);
    let mut peer = cores.connect(0);
    for round in 1..=5 {
        let answers = cores.ask(&mut peer, get_raw("full"));
        assert!(matches!(&answers[..], [one] if one.body == pattern(OUTPUT_HIGH_WATER_BYTES)));
        assert_eq!(cores.active_requests(0), 0);
        assert_eq!(cores.recorded(0) - before, round);
    }
    cores.assert_at_rest();
}

/// The same through another core, and with the answers taken in small helpings.
#[test]
fn a_foreign_answer_that_ends_where_the_output_is_full_is_done() {
    for helping in [1_000, 65_536, usize::MAX] {
        let mut cores = Cores::new(2);
        let key = cores.key(1, "full");
        cores.store(1, &key, OUTPUT_HIGH_WATER_BYTES);
        let mut peer = cores.connect(0);
        for round in 1..=3 {
            cores.say(&mut peer, get_raw(&key));
            cores.deliver();
            while cores.hear(&mut peer, helping) {
                cores.deliver();
            }
            assert!(matches!(&peer.answers()[..], [one] if one.body == pattern(OUTPUT_HIGH_WATER_BYTES)));
            assert_eq!((cores.active_requests(0), cores.recorded(0)), (0, round));
        }
        cores.assert_at_rest();
    }
}

#[test]
fn a_burst_of_replies_that_overfills_the_output_is_answered_in_full() {
    let mut cores = Cores::new(2);
    let key = cores.key(1, "short");
    cores.store(1, &key, 16 * 1024);
    let mut peer = cores.connect(0);
    let before = cores.recorded(0);
    cores.say(&mut peer, get_raw(&key).repeat(PIPELINE_DEPTH_MAX));
    assert_eq!(cores.active_requests(0), PIPELINE_DEPTH_MAX as u64);
    cores.carry_out();
    assert_eq!(cores.lanes.replies.len(), PIPELINE_DEPTH_MAX);
    cores.bring_back();
    cores.run(&mut peer);
    assert_eq!(peer.answers().iter().filter(|answer| answer.body == pattern(16 * 1024)).count(), PIPELINE_DEPTH_MAX);
    assert_eq!(cores.active_requests(0), 0);
    assert_eq!(cores.recorded(0) - before, PIPELINE_DEPTH_MAX as u64);
    cores.assert_at_rest();
}

#[test]
fn a_peer_that_leaves_in_the_middle_of_anything_leaves_no_request_behind() {
    let mut cores = Cores::new(2);
    let (here, there) = (cores.key(0, "here"), cores.key(1, "there"));
    cores.store(0, &here, 600_000);
    cores.store(1, &there, 600_000);
    for helpings in 0..12 {
        let mut peer = cores.connect(0);
        cores.say(&mut peer, (get_raw(&here) + &get_raw(&there)).repeat(2));
        for _ in 0..helpings {
            cores.carry_out();
            cores.bring_back();
            cores.hear(&mut peer, 100_000);
        }
        cores.close(&peer);
        cores.deliver();
        cores.assert_at_rest();
    }
}
