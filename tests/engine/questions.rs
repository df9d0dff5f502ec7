//! Questions to all cores: they are asked again where a lane was full, and nobody waits for ever.

use crate::cores::{Cores, REQUEST_TIMEOUT_MS, get};

#[test]
fn a_question_that_found_a_full_lane_is_asked_again() {
    for path in ["/readyz", "/metrics"] {
        let mut cores = Cores::new(3);
        let mut peer = cores.connect(0);
        cores.lanes.control_is_full = true;
        assert!(cores.ask(&mut peer, get(path)).is_empty());
        cores.pass(REQUEST_TIMEOUT_MS / 2);
        cores.run(&mut peer);
        assert!(peer.answers().is_empty());
        cores.lanes.control_is_full = false;
        cores.pass(100);
        cores.run(&mut peer);
        assert!(matches!(&peer.answers()[..], [one] if one.status == 200), "{path}");
        cores.assert_at_rest();
    }
}

#[test]
fn cores_that_cannot_be_asked_in_time_are_named() {
    let mut cores = Cores::new(3);
    let mut peer = cores.connect(1);
    cores.lanes.control_is_full = true;
    assert!(cores.ask(&mut peer, get("/readyz")).is_empty());
    cores.pass(REQUEST_TIMEOUT_MS);
    cores.run(&mut peer);
    assert!(peer.answers().is_empty(), "there is still time");
    cores.pass(100);
    cores.run(&mut peer);
    let answers = peer.answers();
    assert!(matches!(&answers[..], [one] if one.status == 503 && one.text().contains("[0, 2]")), "{answers:?}");
    cores.assert_at_rest();
}

/// A core that was asked and answers too late is named as well; what it then says does no harm.
#[test]
fn a_core_that_answers_too_late_is_named_and_then_ignored() {
    let mut cores = Cores::new(3);
    let mut peer = cores.connect(0);
    cores.say(&mut peer, get("/readyz"));
    let late = cores.lanes.requests.pop_back().unwrap();
    let named = format!("[{}]", late.to.0);
    cores.deliver();
    cores.pass(REQUEST_TIMEOUT_MS + 100);
    cores.run(&mut peer);
    let answers = peer.answers();
    assert!(matches!(&answers[..], [one] if one.status == 503 && one.text().contains(&named)), "{answers:?}");
    cores.say(&mut peer, get("/readyz"));
    cores.lanes.requests.push_front(late);
    cores.run(&mut peer);
    assert!(matches!(&peer.answers()[..], [one] if one.status == 200));
    assert_eq!(cores.engines[0].parts().metrics.late_replies, 1);
    cores.assert_at_rest();
}

/// Questions and values wait in the order of their requests, however long a question waits.
#[test]
fn what_was_asked_behind_a_question_is_answered_behind_it() {
    let mut cores = Cores::new(2);
    let mut peer = cores.connect(0);
    cores.lanes.control_is_full = true;
    let here = cores.key(0, "none");
    assert!(cores.ask(&mut peer, get("/readyz") + &get(&format!("/v1/kv/{here}"))).is_empty());
    cores.pass(REQUEST_TIMEOUT_MS + 100);
    cores.run(&mut peer);
    assert_eq!(peer.answers().iter().map(|answer| answer.status).collect::<Vec<_>>(), [503, 404]);
    cores.assert_at_rest();
}
