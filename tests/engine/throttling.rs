//! `MAX_INFLIGHT`: a connection that waits for answers waits a little longer; one that does not is refused.

use crate::cores::{Cores, get, get_raw, put_raw};
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
fn a_connection_that_waits_for_nothing_is_refused() {
    let mut cores = two_in_flight();
    let (here, there) = (cores.key(0, "value"), cores.key(1, "value"));
    let (mut first, mut second) = (cores.connect(0), cores.connect(0));
    cores.say(&mut first, get_raw(&there).repeat(2));
    let refused = [get_raw(&here).into_bytes(), put_raw(&here, b"body")].concat();
    cores.say(&mut second, refused);
    while cores.hear(&mut second, usize::MAX) {}
    let answers = second.answers();
    assert_eq!(answers.len(), 2);
    for answer in &answers {
        assert!(answer.status == 503 && answer.head.contains("\r\nRetry-After: ") && !answer.closes(), "{answer:?}");
    }
    assert_eq!(cores.backpressure(0, MaxInflight), 2);
    assert_eq!(cores.engines[0].parts().shard.stats().sets, 0);
    cores.run(&mut first);
    assert!(matches!(&cores.ask(&mut second, get_raw(&here))[..], [one] if one.status == 404));
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
