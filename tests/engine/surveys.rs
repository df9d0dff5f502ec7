//! Questions to all cores are asked once for everybody who asks at the same time, and pages may be written by others.

use crate::cores::{Cores, Peer, REQUEST_TIMEOUT_MS, get};
use cache_service::engine::rules::Rules;
use cache_service::metrics::BackpressureReason;
use cache_service::protocol::route::Route;

fn gzip(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n")
}

fn scraped(cores: &Cores, core: usize) -> u64 {
    let series = cores.engines[core].parts().metrics.requests.iter();
    series.filter(|it| it.route() == Route::Metrics).map(|it| it.durations.count()).sum()
}

#[test]
fn who_asks_while_a_survey_is_under_way_gets_the_next_one() {
    let mut cores = Cores::new(3);
    let mut peers: Vec<Peer> = (0..20).map(|_| cores.connect(0)).collect();
    for peer in &mut peers {
        cores.say(peer, get("/metrics"));
    }
    // The first began at once, with nobody else; all others wait for one more.
    assert_eq!(cores.lanes.requests.len(), 2);
    cores.carry_out();
    cores.bring_back();
    assert_eq!((cores.lanes.requests.len(), scraped(&cores, 0)), (2, 1));
    cores.carry_out();
    cores.bring_back();
    // A copy for each takes time: some in this turn, the rest in slices.
    assert!(scraped(&cores, 0) < 10 && cores.engines[0].is_pressed(), "{}", scraped(&cores, 0));
    let slices = (1..).take_while(|_| cores.tick_slice(0)).count();
    assert!(slices >= 3, "{slices}");
    cores.pass(1);
    assert_eq!((cores.lanes.requests.len(), scraped(&cores, 0)), (0, 20));
    for peer in &mut peers {
        cores.run(peer);
        assert!(matches!(&peer.answers()[..], [one] if one.status == 200));
    }
    cores.assert_at_rest();
}

#[test]
fn a_page_is_written_once_for_each_form_of_it() {
    let mut cores = Cores::new(2);
    cores.lanes.pages_wait = true;
    let mut first = cores.connect(0);
    assert!(cores.ask(&mut first, get("/metrics")).is_empty());
    let mut peers: Vec<Peer> = (0..6).map(|_| cores.connect(0)).collect();
    for (n, peer) in peers.iter_mut().enumerate() {
        let request = if n % 2 == 0 { get("/metrics") } else { gzip("/metrics") };
        assert!(cores.ask(peer, request).is_empty());
    }
    assert_eq!((cores.lanes.errands.len(), cores.write_page()), (1, 1), "one at a time");
    cores.run(&mut first);
    assert!(matches!(&first.answers()[..], [one] if one.status == 200));
    assert_eq!(cores.write_page(), 2, "compressed, and not");
    cores.pass(1);
    for (n, peer) in peers.iter_mut().enumerate() {
        cores.run(peer);
        let answers = peer.answers();
        assert!(matches!(&answers[..], [one] if one.status == 200));
        assert_eq!(answers[0].head.contains("Content-Encoding: gzip"), n % 2 == 1);
    }
    cores.assert_at_rest();
}

#[test]
fn a_page_that_comes_too_late_is_dropped_and_the_next_survey_begins() {
    let mut cores = Cores::new(2);
    cores.lanes.pages_wait = true;
    let mut peer = cores.connect(0);
    assert!(cores.ask(&mut peer, get("/metrics")).is_empty());
    assert!(!cores.engines[0].is_quiet(), "a draining server waits for the page");
    cores.pass(REQUEST_TIMEOUT_MS + 100);
    cores.run(&mut peer);
    let answers = peer.answers();
    assert!(
        matches!(&answers[..], [one] if one.status == 503 && one.text().contains("was not written")),
        "{answers:?}"
    );
    assert!(cores.ask(&mut peer, get("/metrics")).is_empty());
    assert_eq!(cores.lanes.errands.len(), 2);
    cores.write_page();
    cores.run(&mut peer);
    assert!(peer.answers().is_empty(), "that was the page that came too late");
    cores.write_page();
    cores.run(&mut peer);
    assert!(matches!(&peer.answers()[..], [one] if one.status == 200));
    cores.assert_at_rest();
}

#[test]
fn a_page_for_a_connection_that_is_gone_is_nobodys() {
    let mut cores = Cores::new(2);
    cores.lanes.pages_wait = true;
    let mut peer = cores.connect(0);
    assert!(cores.ask(&mut peer, get("/metrics")).is_empty());
    cores.close(&peer);
    // Another connection takes its place.
    let mut other = cores.connect(0);
    cores.write_page();
    cores.run(&mut other);
    assert!(other.answers().is_empty());
    cores.assert_at_rest();
}

/// Found by a reviewer: pages that nobody reads evicted what others had stored, and needed no token for it.
#[test]
fn pages_that_nobody_reads_evict_no_more_than_buffers_may_take() {
    let mut cores = Cores::new(1);
    let settings = cores.engines[0].parts().settings.clone();
    cores.engines[0].obey(Rules { settings, budget_bytes: Some(32 << 20) });
    for n in 0..2_000 {
        cores.store(0, &format!("kept-{n}"), 10_000);
    }
    let before = cores.engines[0].parts().shard.stats().clone();
    let mut idle: Vec<Peer> = (0..200).map(|_| cores.connect(0)).collect();
    let mut refused = 0;
    for peer in &mut idle {
        cores.say(peer, get("/metrics").repeat(20));
        // It reads nothing, but somebody looks at what it would have got.
        let output = String::from_utf8_lossy(cores.engines[0].output(peer.conn)).into_owned();
        refused += usize::from(output.starts_with("HTTP/1.1 503"));
    }
    assert!(refused > 50, "{refused}");
    assert!(cores.backpressure(0, BackpressureReason::OverBudget) >= refused as u64, "each refusal is counted");
    let after = cores.engines[0].parts().shard.stats();
    assert!(after.memory_bytes <= 32 << 20, "{}", after.memory_bytes);
    assert!(after.entries * 4 >= before.entries * 3, "{} of {} entries are left", after.entries, before.entries);
    idle.iter().for_each(|peer| cores.close(peer));
    cores.assert_at_rest();
}
