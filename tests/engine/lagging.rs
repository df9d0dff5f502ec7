//! A core looks at the clock when a wake-up begins, and may be interrupted then for as long as the machine likes. What
//! other cores send it meanwhile was asked for later than that.

use crate::cores::{Answer, Cores, Peer, get, put_json};

/// What the owner's clock showed when its wake-up began.
const BEGAN_MS: u64 = 1_500;

/// Asks core 0 at `asked_ms`; core 1, which owns the key, still goes by the time at which its wake-up began.
fn ask_a_laggard(cores: &mut Cores, peer: &mut Peer, asked_ms: u64, request: impl AsRef<[u8]>) -> Answer {
    cores.set_clock_ms(asked_ms);
    cores.say(peer, request);
    cores.set_clock_ms(BEGAN_MS);
    assert!(cores.carry_out(), "the key is another core's");
    cores.set_clock_ms(asked_ms);
    cores.run(peer);
    peer.answers().pop().expect("it is answered")
}

#[test]
fn what_had_expired_when_it_was_asked_for_is_gone() {
    let mut cores = Cores::new(2);
    let mut peer = cores.connect(0);
    let key = cores.key(1, "short");
    let path = format!("/v1/kv/{key}");
    // At 1,000 ms.
    assert_eq!(cores.ask(&mut peer, put_json(&key, r#"{"value":1,"ttlSec":1}"#))[0].status, 201);
    assert_eq!(ask_a_laggard(&mut cores, &mut peer, 1_999, get(&path)).status, 200);
    assert_eq!(ask_a_laggard(&mut cores, &mut peer, 2_000, get(&path)).status, 404);
}

#[test]
fn a_time_to_live_begins_no_earlier_than_it_was_asked_for() {
    let mut cores = Cores::new(2);
    let mut peer = cores.connect(0);
    let key = cores.key(1, "short");
    let put = put_json(&key, r#"{"value":1,"ttlSec":1}"#);
    assert_eq!(ask_a_laggard(&mut cores, &mut peer, 2_100, put).status, 201);
    cores.set_clock_ms(3_099);
    assert_eq!(cores.ask(&mut peer, get(&format!("/v1/kv/{key}")))[0].status, 200);
    cores.set_clock_ms(3_100);
    assert_eq!(cores.ask(&mut peer, get(&format!("/v1/kv/{key}")))[0].status, 404);
}
