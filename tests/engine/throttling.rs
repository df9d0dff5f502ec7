//! `MAX_INFLIGHT`: who cannot be served at once waits for a place, if it is likely that there will be one soon; others are
//! refused. Who pipelines, takes his time or does not read takes no place from those who do not.

use crate::cores::{Cores, Peer, get, get_raw, head, pattern, put_raw, put_raw_head};
use cache_service::limits::{BODY_GRACE_CROWDED_MS, PLACE_PATIENCE_MS};
use cache_service::metrics::BackpressureReason;
use cache_service::metrics::BackpressureReason::MaxInflight;
use cache_service::session::Flow;

fn two_in_flight() -> Cores {
    Cores::with(2, |settings| settings.inflight_max = 2)
}

#[test]
fn a_connection_with_answers_under_way_waits_for_them() {
    let mut cores = two_in_flight();
    let key = cores.key(1, "value");
    cores.store(1, &key, 10);
    let mut peer = cores.connect(0);
    cores.say(&mut peer, get_raw(&key).repeat(7));
    assert_eq!((cores.lanes.requests.len(), cores.active_requests(0)), (2, 2));
    assert_eq!(cores.flow(&peer), Flow::Paused);
    cores.run(&mut peer);
    let answers = peer.answers();
    assert!(answers.len() == 7 && answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(cores.backpressure(0, MaxInflight), 0);
    cores.assert_at_rest();
}

#[test]
fn a_connection_that_waits_for_a_place_in_vain_is_refused() {
    let mut cores = two_in_flight();
    let there = cores.key(1, "value");
    let (mut first, mut second) = (cores.connect(0), cores.connect(0));
    cores.say(&mut first, get_raw(&there).repeat(2));
    let refused = [get_raw(&there).into_bytes(), put_raw(&there, b"body")].concat();
    cores.say(&mut second, refused);
    assert_eq!(cores.output_len(&second), 0, "there may be a place soon");
    for _ in 0..2 {
        cores.pass(PLACE_PATIENCE_MS + 100);
        while cores.hear(&mut second, usize::MAX) {}
        let answers = second.answers();
        let [answer] = &answers[..] else { panic!("each waits for itself: {answers:?}") };
        assert!(answer.status == 503 && answer.head.contains("\r\nRetry-After: ") && !answer.closes(), "{answer:?}");
    }
    assert_eq!(cores.backpressure(0, MaxInflight), 2);
    assert_eq!(cores.engines[1].parts().shard.stats().sets, 0);
    cores.run(&mut first);
    assert!(matches!(&cores.ask(&mut second, get_raw(&there))[..], [one] if one.status == 404));
    cores.assert_at_rest();
}

#[test]
fn a_server_under_load_is_seen_to_live() {
    let mut cores = two_in_flight();
    let key = cores.key(1, "value");
    let (mut first, mut second) = (cores.connect(0), cores.connect(0));
    cores.say(&mut first, get_raw(&key).repeat(2));
    let held = std::mem::take(&mut cores.lanes.requests);
    assert!(matches!(&cores.ask(&mut second, get("/healthz"))[..], [one] if one.status == 200));
    cores.lanes.requests = held;
    cores.run(&mut first);
    cores.assert_at_rest();
}

/// The requests that wait have been read from the socket already; nothing else wakes the connection.
#[test]
fn a_connection_that_waits_hears_of_its_peer_leaving() {
    let mut cores = two_in_flight();
    let key = cores.key(1, "value");
    let mut peer = cores.connect(0);
    cores.say(&mut peer, get_raw(&key).repeat(5));
    let now = cores.now();
    cores.engines[0].peer_closed(now, &mut cores.lanes, peer.conn);
    cores.run(&mut peer);
    assert_eq!(peer.answers().len(), 5);
    assert_eq!(cores.flow(&peer), Flow::Closed);
    assert_eq!(cores.active_requests(0), 0);
}

fn of_limit(inflight_max: usize) -> Cores {
    Cores::with(2, |settings| settings.inflight_max = inflight_max)
}

fn statuses(peer: &mut Peer) -> Vec<u16> {
    peer.answers().iter().map(|answer| answer.status).collect()
}

#[test]
fn a_connection_that_waits_for_a_place_gets_the_next_one() {
    let mut cores = two_in_flight();
    let there = cores.key(1, "value");
    let (mut first, mut second) = (cores.connect(0), cores.connect(0));
    cores.say(&mut first, get_raw(&there).repeat(2));
    cores.say(&mut second, get_raw(&there));
    cores.run(&mut first);
    while cores.hear(&mut second, usize::MAX) {}
    assert_eq!((statuses(&mut first), statuses(&mut second)), (vec![404; 2], vec![404]));
    assert_eq!(cores.backpressure(0, MaxInflight), 0);
    cores.assert_at_rest();
}

#[test]
fn no_more_connections_wait_than_there_are_places() {
    let mut cores = two_in_flight();
    let there = cores.key(1, "value");
    let mut first = cores.connect(0);
    cores.say(&mut first, get_raw(&there).repeat(2));
    let mut others: Vec<Peer> = (0..5).map(|_| cores.connect(0)).collect();
    others.iter_mut().for_each(|peer| cores.say(peer, get_raw(&there)));
    assert_eq!(cores.backpressure(0, MaxInflight), 3, "who comes late is told so at once");
    cores.run(&mut first);
    let found = others.iter_mut().map(|peer| {
        while cores.hear(peer, usize::MAX) {}
        statuses(peer)
    });
    assert_eq!(found.collect::<Vec<_>>().concat(), [404, 404, 503, 503, 503]);
    cores.assert_at_rest();
}

/// Two of eight places.
#[test]
fn a_pipeline_leaves_places_to_who_asks_for_one_thing_at_a_time() {
    let mut cores = of_limit(8);
    let there = cores.key(1, "value");
    let (mut greedy, mut modest) = (cores.connect(0), cores.connect(0));
    cores.say(&mut greedy, get_raw(&there).repeat(50));
    assert_eq!(cores.active_requests(0), 6);
    cores.say(&mut modest, get_raw(&there));
    assert_eq!(cores.active_requests(0), 7, "this one did not have to wait");
    cores.run(&mut greedy);
    cores.run(&mut modest);
    assert_eq!((statuses(&mut greedy), statuses(&mut modest)), (vec![404; 50], vec![404]));
    assert_eq!(cores.backpressure(0, MaxInflight), 0);
    cores.assert_at_rest();
}

#[test]
fn pipelines_take_turns() {
    let mut cores = of_limit(8);
    let there = cores.key(1, "value");
    let mut peers: Vec<Peer> = (0..5).map(|_| cores.connect(0)).collect();
    peers.iter_mut().for_each(|peer| cores.say(peer, get_raw(&there).repeat(50)));
    cores.carry_out();
    cores.bring_back();
    // The first has been answered, and now everybody else has something on its way.
    cores.carry_out();
    cores.bring_back();
    peers.iter_mut().for_each(|peer| assert!(cores.hear(peer, usize::MAX)));
    while peers.iter_mut().fold(cores.carry_out() | cores.bring_back(), |any, peer| any | cores.hear(peer, usize::MAX))
    {
    }
    peers.iter_mut().for_each(|peer| assert_eq!(statuses(peer), [404; 50]));
    assert_eq!(cores.backpressure(0, MaxInflight), 0);
    cores.assert_at_rest();
}

#[test]
fn answers_that_are_not_read_take_no_places() {
    let mut cores = two_in_flight();
    let (here, there) = (cores.key(0, "long"), cores.key(1, "long"));
    cores.store(0, &here, 600_000);
    cores.store(1, &there, 600_000);
    let mut deaf: Vec<Peer> = (0..6).map(|_| cores.connect(0)).collect();
    for (peer, key) in deaf.iter_mut().zip([&here, &there].into_iter().cycle()) {
        cores.say(peer, get_raw(key).repeat(2));
        cores.deliver();
    }
    assert!(cores.active_requests(0) > 2, "they are in progress all the same");
    let mut peer = cores.connect(0);
    assert!(matches!(&cores.ask(&mut peer, get_raw("none"))[..], [one] if one.status == 404));
    deaf.iter().for_each(|peer| cores.close(peer));
    cores.deliver();
    cores.assert_at_rest();
}

/// Four of eight places.
#[test]
fn bodies_leave_places_and_are_given_up_sooner_where_there_are_many() {
    let mut cores = of_limit(8);
    let mut slow: Vec<Peer> = (0..4).map(|_| cores.connect(0)).collect();
    slow.iter_mut().for_each(|peer| cores.say(peer, put_raw_head("slow", 100_000)));
    let mut late = cores.connect(0);
    let answers = cores.ask(&mut late, put_raw_head("late", 1_000));
    assert!(matches!(&answers[..], [one] if one.status == 503), "{answers:?}");
    let mut whole = cores.connect(0);
    assert!(matches!(&cores.ask(&mut whole, put_raw("whole", b"body"))[..], [one] if one.status == 201));
    for _ in 0..BODY_GRACE_CROWDED_MS / 500 {
        slow.iter_mut().for_each(|peer| cores.say(peer, "a"));
        cores.pass(500);
    }
    slow.iter_mut().for_each(|peer| cores.say(peer, "a"));
    cores.pass(200);
    let given_up = slow.iter_mut().map(|peer| {
        while cores.hear(peer, usize::MAX) {}
        statuses(peer)
    });
    // Where one place is free again, the others have their usual time.
    assert_eq!(given_up.collect::<Vec<_>>().concat(), [408]);
    slow.iter().chain([&late]).for_each(|peer| cores.close(peer));
    cores.assert_at_rest();
}

/// A shard of 2 MiB, of which an eighth is for buffers.
fn small(connections: usize) -> (Cores, Vec<Peer>) {
    let mut cores = Cores::small(2 << 20);
    cores.store(0, "value", 10_000);
    let peers = (0..connections).map(|_| cores.connect(0)).collect();
    (cores, peers)
}

#[test]
fn who_hoards_requests_and_does_not_read_is_cut_off_where_memory_is_scarce() {
    let (mut cores, mut deaf) = small(8);
    let mut reader = cores.connect(0);
    let mut cut_off = 0;
    for peer in &mut deaf {
        cut_off += u64::from(cores.flood(peer, &get_raw("value").repeat(2_000)) == Flow::Closed);
        assert_eq!(cores.ask(&mut reader, get_raw("value").repeat(20)).len(), 20, "who reads is served");
    }
    assert!(cut_off > 0, "some hold more than they should");
    assert_eq!(cores.backpressure(0, BackpressureReason::OverBudget), cut_off);
    assert_eq!(cores.engines[0].parts().shard.stats().evictions, 0);
    assert_eq!(cores.ask(&mut reader, get_raw("value"))[0].body, pattern(10_000));
}

/// Bodies of reads, which need no token, and never end.
fn endless_bodies(cores: &mut Cores, count: usize) -> Vec<Peer> {
    let mut slow: Vec<Peer> = (0..count).map(|_| cores.connect(0)).collect();
    let text = "POST /v1/kv/batch/get HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n{\"keys\":[\"a\"    ";
    slow.iter_mut().for_each(|peer| cores.say(peer, text));
    slow
}

/// Each of them gets a turn, and then others have theirs, however much they have sent.
#[test]
fn a_place_that_becomes_free_does_not_make_a_wake_up_endless() {
    let mut cores = of_limit(8);
    let (here, there) = (cores.key(0, "value"), cores.key(1, "value"));
    let mut busy: Vec<Peer> = (0..6).map(|_| cores.connect(0)).collect();
    busy.iter_mut().for_each(|peer| cores.say(peer, get_raw(&there)));
    let mut greedy: Vec<Peer> = (0..8).map(|_| cores.connect(0)).collect();
    let body = format!("{{\"key\":\"{here}\",\"delta\":1}}");
    let flood = (head("POST", "/v1/kv/incr", &format!("Content-Length: {}\r\n", body.len())) + &body).repeat(2_000);
    greedy.iter_mut().for_each(|peer| _ = cores.flood(peer, &flood));
    let before = cores.recorded(0);
    cores.close(&busy[0]);
    cores.close(&busy[1]);
    cores.bring_back();
    cores.carry_out();
    cores.bring_back();
    assert!(cores.recorded(0) - before < 1_000, "{} answers", cores.recorded(0) - before);
}

/// What is asked for needs no place for long: it lies in this core's shard.
#[test]
fn bodies_alone_do_not_keep_pipelines_out() {
    let mut cores = of_limit(8);
    let here = cores.key(0, "value");
    let slow = endless_bodies(&mut cores, 6);
    let mut peer = cores.connect(0);
    cores.say(&mut peer, get_raw(&here).repeat(5));
    cores.run(&mut peer);
    assert_eq!(statuses(&mut peer), [404; 5]);
    assert_eq!(cores.backpressure(0, MaxInflight), 2, "two bodies found half of the places taken by others");
    slow.iter().chain([&peer]).for_each(|peer| cores.close(peer));
    cores.assert_at_rest();
}

#[test]
fn who_waits_for_a_kept_place_is_not_left_behind() {
    let mut cores = of_limit(8);
    let there = cores.key(1, "value");
    let mut pipelines: Vec<Peer> = (0..2).map(|_| cores.connect(0)).collect();
    pipelines.iter_mut().for_each(|peer| cores.say(peer, get_raw(&there).repeat(3)));
    let held = std::mem::take(&mut cores.lanes.requests);
    assert_eq!(cores.active_requests(0), 6, "as many as pipelines may have");
    let mut modest: Vec<Peer> = (0..3).map(|_| cores.connect(0)).collect();
    modest.iter_mut().for_each(|peer| cores.say(peer, get_raw(&there)));
    assert_eq!(cores.active_requests(0), 8, "the third one waits");
    cores.deliver();
    modest.iter_mut().for_each(|peer| while cores.hear(peer, usize::MAX) {});
    assert_eq!(modest.iter_mut().map(statuses).collect::<Vec<_>>(), [[404], [404], [404]]);
    cores.lanes.requests = held;
    cores.deliver();
    pipelines.iter().chain(&modest).for_each(|peer| cores.close(peer));
    cores.assert_at_rest();
}
