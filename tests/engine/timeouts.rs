//! Who is cut off for being slow, and who is not.

use crate::cores::{
    Cores, HEADER_TIMEOUT_MS, IDLE_TIMEOUT_MS, Peer, REQUEST_TIMEOUT_MS, get, get_raw, pattern, put_raw, put_raw_head,
};
use cache_service::limits::{BODY_GRACE_MS, LINGER_MS, OUTPUT_HIGH_WATER_BYTES};
use cache_service::session::Flow;

#[test]
fn a_busy_peer_whose_reads_end_within_heads_is_not_slow() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    let request = get("/v1/kv/none");
    let (first, second) = request.split_at(20);
    cores.say(&mut peer, first);
    for _ in 0..=HEADER_TIMEOUT_MS * 3 / 1_000 {
        cores.pass(1_000);
        // The end of one head and the beginning of the next come in one read.
        let answers = cores.ask(&mut peer, format!("{second}{first}"));
        assert!(matches!(&answers[..], [one] if one.status == 404), "{answers:?}");
    }
    assert_eq!(cores.flow(&peer), Flow::Reading);
}

#[test]
fn a_slow_head_is_refused() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    cores.ask(&mut peer, get("/v1/kv/none"));
    cores.say(&mut peer, "GET /v1/kv/none HTTP/1.1\r\n");
    for _ in 0..HEADER_TIMEOUT_MS / 1_000 {
        cores.pass(1_000);
        cores.say(&mut peer, "x: y\r\n");
    }
    cores.run(&mut peer);
    assert!(peer.answers().is_empty(), "there is still time");
    cores.pass(100);
    assert_timed_out(&mut cores, &mut peer);
}

/// One 408, after which the connection ends.
fn assert_timed_out(cores: &mut Cores, peer: &mut Peer) {
    cores.run(peer);
    let answers = peer.answers();
    assert!(matches!(&answers[..], [one] if one.status == 408 && one.closes()), "{answers:?}");
    assert_eq!(cores.flow(peer), Flow::Lingering);
    assert_eq!(cores.active_requests(0), 0);
}

#[test]
fn a_body_that_stands_still_is_given_up() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    cores.say(&mut peer, put_raw_head("slow", 100));
    for _ in 0..3 {
        cores.say(&mut peer, "piece");
        cores.pass(REQUEST_TIMEOUT_MS);
    }
    cores.run(&mut peer);
    assert!(peer.answers().is_empty(), "it moves");
    cores.pass(100);
    assert_timed_out(&mut cores, &mut peer);
}

/// A thousand peers that send a byte now and then must not hold all places among the requests in progress.
#[test]
fn a_body_that_trickles_is_given_up() {
    let mut cores = Cores::new(1);
    let (mut trickling, mut slow) = (cores.connect(0), cores.connect(0));
    cores.say(&mut trickling, put_raw_head("trickling", 100_000));
    cores.say(&mut slow, put_raw_head("slow", 100_000));
    for _ in 0..BODY_GRACE_MS / 1_000 {
        cores.say(&mut trickling, "a");
        cores.say(&mut slow, "b".repeat(2_000));
        cores.pass(1_000);
    }
    cores.say(&mut trickling, "a");
    cores.pass(1_000);
    assert_eq!(cores.flow(&slow), Flow::Reading, "slow is not trickling");
    cores.close(&slow);
    assert_timed_out(&mut cores, &mut trickling);
}

/// Nobody waits for an answer to it.
#[test]
fn a_body_that_nobody_wants_and_that_stands_still_ends_silently() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    let refused = "PUT /v1/kv/a HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nsome";
    assert!(matches!(&cores.ask(&mut peer, refused)[..], [one] if one.status == 401 && !one.closes()));
    cores.pass(REQUEST_TIMEOUT_MS + 100);
    cores.run(&mut peer);
    assert!(peer.answers().is_empty());
    assert_eq!(cores.flow(&peer), Flow::Closed);
}

#[test]
fn a_body_that_waits_for_our_own_answers_does_not_stand_still() {
    let mut cores = Cores::new(2);
    let key = cores.key(1, "long");
    cores.store(1, &key, 1_000_000);
    let here = cores.key(0, "here");
    let mut peer = cores.connect(0);
    let put = put_raw(&here, &pattern(30_000));
    let (first, second) = put.split_at(put.len() - 10_000);
    cores.say(&mut peer, [get_raw(&key).as_bytes(), first].concat());
    cores.deliver();
    cores.say(&mut peer, second);
    assert_eq!(cores.flow(&peer), Flow::Paused, "the output is full, and the body unread");
    assert_eq!(peer.unread.len(), 10_000);
    cores.pass(REQUEST_TIMEOUT_MS * 3);
    // A little is taken, so that there is room: from now on the silence is the peer's own, but not before.
    while cores.flow(&peer) == Flow::Paused {
        assert!(cores.hear(&mut peer, OUTPUT_HIGH_WATER_BYTES / 4));
    }
    cores.pass(100);
    cores.run(&mut peer);
    let answers = peer.answers();
    assert!(answers.iter().map(|answer| answer.status).eq([200, 201]), "{:?}", answers.last());
    cores.assert_at_rest();
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    cores.ask(&mut peer, get("/v1/kv/none"));
    cores.pass(IDLE_TIMEOUT_MS);
    assert_eq!(cores.flow(&peer), Flow::Reading);
    cores.pass(100);
    assert_eq!((cores.flow(&peer), cores.output_len(&peer)), (Flow::Closed, 0));
}

#[test]
fn a_peer_that_does_not_take_its_answer_is_cut_off() {
    for len in [100, 1_000_000] {
        let mut cores = Cores::new(1);
        cores.store(0, "value", len);
        let mut peer = cores.connect(0);
        cores.say(&mut peer, get_raw("value"));
        // As long as something is taken, however little, the peer is there.
        for _ in 0..3 {
            cores.pass(IDLE_TIMEOUT_MS - 1_000);
            assert!(cores.hear(&mut peer, 10));
        }
        cores.pass(IDLE_TIMEOUT_MS);
        assert_ne!(cores.flow(&peer), Flow::Closed);
        cores.pass(100);
        assert_eq!(cores.flow(&peer), Flow::Closed);
        cores.close(&peer);
        cores.assert_at_rest();
    }
}

#[test]
fn lingering_ends() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    assert!(matches!(&cores.ask(&mut peer, "nonsense\r\n\r\n")[..], [one] if one.status == 400 && one.closes()));
    assert_eq!(cores.flow(&peer), Flow::Lingering);
    cores.pass(LINGER_MS);
    assert_eq!(cores.flow(&peer), Flow::Lingering);
    cores.pass(200);
    assert_eq!(cores.flow(&peer), Flow::Closed);
}

#[test]
fn a_peer_that_waits_behind_another_core_to_be_invited_is_not_slow() {
    let mut cores = Cores::new(2);
    let mut peer = cores.connect(0);
    let foreign = get(&format!("/v1/kv/{}", cores.key(1, "slow")));
    let invited = put_raw_head("k", 4).replacen("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1);
    cores.say(&mut peer, format!("{foreign}{invited}"));
    // The other core takes its time, and nothing can be said to the peer before its answer.
    cores.pass(REQUEST_TIMEOUT_MS * 3);
    cores.deliver();
    cores.say(&mut peer, "body");
    cores.run(&mut peer);
    let statuses: Vec<_> = peer.answers().iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.last(), Some(&201), "{statuses:?}");
    assert!(!statuses.contains(&408), "{statuses:?}");
}
