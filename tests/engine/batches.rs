//! Pipelined batches: one of a hundred keys weighs more than one of a single key.

use crate::cores::{Cores, batch_get};
use cache_service::session::Flow;

#[test]
fn a_connection_has_only_a_few_long_batches_under_way() {
    let mut cores = Cores::new(2);
    let batches: Vec<Vec<String>> =
        (0..30).map(|batch| (0..100).map(|n| cores.key(1, &format!("k{batch}-{n}"))).collect()).collect();
    let mut peer = cores.connect(0);
    for batch in &batches {
        cores.say(&mut peer, batch_get(batch));
    }
    let under_way = cores.lanes.requests.len();
    assert!((1..=8).contains(&under_way), "{under_way} batches of a hundred keys are under way");
    assert_eq!(cores.flow(&peer), Flow::Paused);
    assert!(!peer.unread.is_empty(), "the rest waits in the socket");
    cores.run(&mut peer);
    let answers = peer.answers();
    assert_eq!(answers.len(), batches.len());
    for (answer, batch) in answers.iter().zip(&batches) {
        let misses = format!("\"misses\":[\"{}\"]", batch.join("\",\""));
        assert!(answer.text().contains(&misses), "{} is not for {}", answer.text(), batch[0]);
    }
    cores.assert_at_rest();
}

#[test]
fn short_batches_are_pipelined_like_single_requests() {
    let mut cores = Cores::new(2);
    let key = cores.key(1, "none");
    let mut peer = cores.connect(0);
    cores.say(&mut peer, batch_get(&[key]).repeat(60));
    assert_eq!(cores.lanes.requests.len(), 60);
    cores.run(&mut peer);
    assert_eq!(peer.answers().len(), 60);
    cores.assert_at_rest();
}
