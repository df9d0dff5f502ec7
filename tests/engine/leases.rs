//! Holds on long values: whatever happens to the answer that they were for, none is left.

use crate::cores::{Cores, batch_get, get_raw, pattern};
use cache_service::limits::RELEASES_PER_PARCEL_MAX;

const LONG: usize = 300_000;

/// Two cores, and the key of a value of so many bytes that the second one has.
fn with_a_long_value(len: usize) -> (Cores, String) {
    let mut cores = Cores::new(2);
    let key = cores.key(1, "long");
    cores.store(1, &key, len);
    (cores, key)
}

#[test]
fn a_batch_whose_peer_leaves_before_it_is_whole_holds_no_lease() {
    let mut cores = Cores::new(2);
    let (here, there) = (cores.key(0, "here"), cores.key(1, "there"));
    cores.store(0, &here, LONG);
    cores.store(1, &there, LONG);
    let mut peer = cores.connect(0);
    cores.say(&mut peer, batch_get(&[here, there]));
    assert!(cores.has_leases(0), "the local part is there, and waits for the foreign one");
    cores.close(&peer);
    assert!(!cores.has_leases(0));
    cores.deliver();
    cores.assert_at_rest();
}

#[test]
fn a_batch_that_is_refused_in_part_holds_no_lease() {
    let mut cores = Cores::new(3);
    let keys: Vec<_> = (0..3).map(|owner| cores.key(owner, "long")).collect();
    for (core, key) in keys.iter().enumerate() {
        cores.store(core, key, LONG);
    }
    cores.lanes.commands_are_full = true;
    let mut peer = cores.connect(0);
    assert!(matches!(&cores.ask(&mut peer, batch_get(&keys))[..], [one] if one.status == 503));
    cores.assert_at_rest();
}

#[test]
fn releases_wait_for_room_in_a_full_lane() {
    let (mut cores, key) = with_a_long_value(LONG);
    let mut peer = cores.connect(0);
    cores.say(&mut peer, get_raw(&key));
    cores.carry_out();
    cores.lanes.control_is_full = true;
    cores.bring_back();
    cores.close(&peer);
    cores.pass(1_000);
    assert!(cores.lanes.requests.is_empty() && cores.has_leases(1));
    cores.lanes.control_is_full = false;
    cores.pass(100);
    cores.deliver();
    cores.assert_at_rest();
}

#[test]
fn more_releases_than_a_parcel_holds_go_in_several() {
    let (mut cores, key) = with_a_long_value(20_000);
    let mut peers: Vec<_> = (0..RELEASES_PER_PARCEL_MAX / 100 + 1).map(|_| cores.connect(0)).collect();
    for peer in &mut peers {
        cores.say(peer, batch_get(&vec![key.clone(); 100]));
    }
    cores.carry_out();
    cores.lanes.control_is_full = true;
    cores.bring_back();
    peers.iter().for_each(|peer| cores.close(peer));
    cores.lanes.control_is_full = false;
    cores.pass(100);
    assert_eq!(cores.lanes.requests.len(), 2, "one full parcel, and one with the rest");
    cores.deliver();
    cores.assert_at_rest();
}

/// The pull finds a full lane first; a tick asks again.
#[test]
fn a_stream_that_found_a_full_lane_goes_on_later() {
    let (mut cores, key) = with_a_long_value(LONG);
    let mut peer = cores.connect(0);
    cores.lanes.control_is_full = true;
    assert!(cores.ask(&mut peer, get_raw(&key)).is_empty());
    cores.pass(500);
    cores.lanes.control_is_full = false;
    cores.pass(100);
    cores.run(&mut peer);
    assert!(matches!(&peer.answers()[..], [one] if one.body == pattern(LONG)));
    cores.assert_at_rest();
}

/// Nobody is there any more to take what the owner found.
#[test]
fn a_lease_that_comes_back_to_a_closed_connection_is_released() {
    let (mut cores, key) = with_a_long_value(LONG);
    let mut peer = cores.connect(0);
    cores.say(&mut peer, get_raw(&key));
    cores.carry_out();
    cores.close(&peer);
    assert!(cores.has_leases(1));
    cores.deliver();
    cores.assert_at_rest();
    assert_eq!(cores.engines[0].parts().metrics.late_replies, 1);
}
