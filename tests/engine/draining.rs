//! A server that shuts down: every answer is the last one on its connection.

use crate::cores::{Cores, get, put_json, put_raw};
use cache_service::session::Flow;

#[test]
fn a_body_that_ends_while_draining_is_answered_and_closes_the_connection() {
    let mut cores = Cores::new(2);
    for owner in 0..2 {
        let key = cores.key(owner, "value");
        let put = put_raw(&key, b"some bytes");
        for at in [put.len() - 4, put.len() - 10] {
            let mut peer = cores.connect(0);
            cores.say(&mut peer, &put[..at]);
            assert!(!cores.engines[0].is_quiet());
            cores.engines[0].start_draining();
            let answers = cores.ask(&mut peer, &put[at..]);
            assert!(matches!(&answers[..], [one] if one.status < 300 && one.closes()), "{answers:?}");
            assert_eq!(cores.flow(&peer), Flow::Lingering);
            assert!(!cores.engines[0].is_quiet(), "a hard end could still take the answer from the peer");
            cores.close(&peer);
            assert!(cores.engines[0].is_quiet());
            cores = Cores::new(2);
        }
    }
}

#[test]
fn a_mistake_in_a_body_while_draining_closes_the_connection() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    let put = put_json("k", "{\"value\":,1}");
    cores.say(&mut peer, &put[..put.len() - 6]);
    cores.engines[0].start_draining();
    let answers = cores.ask(&mut peer, &put[put.len() - 6..]);
    assert!(matches!(&answers[..], [one] if one.status == 400 && one.closes()), "{answers:?}");
    assert_eq!(cores.flow(&peer), Flow::Lingering);
}

#[test]
fn a_draining_server_is_alive_but_not_ready() {
    let mut cores = Cores::new(2);
    let mut peer = cores.connect(0);
    assert!(matches!(&cores.ask(&mut peer, get("/readyz"))[..], [one] if one.status == 200 && !one.closes()));
    cores.engines[0].start_draining();
    assert!(matches!(&cores.ask(&mut peer, get("/readyz"))[..], [one] if one.status == 503 && one.closes()));
    let mut peer = cores.connect(0);
    assert!(matches!(&cores.ask(&mut peer, get("/healthz"))[..], [one] if one.status == 200 && one.closes()));
}
