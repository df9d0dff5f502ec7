//! No parcel lies at a core that sleeps: a core at its doorbell against a sender that rings at every moment.

use crate::one_core::core_of;
use cache_service::parcel::{Parcel, Work};
use cache_service::routing::ShardId;
use cache_service::runtime::core::Common;
use cache_service::runtime::lanes::{Arrival, Lanes};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Parcels sent one at a time.
const PARCELS: u64 = 100_000;
/// A reply that has not come by then never comes: nothing else is running that could ring.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// How long the core would sleep; longer than anybody waits here.
const SLEEP: Duration = Duration::from_secs(60);

/// A core of two that owns nothing and hears of nobody, on this thread.
fn sleepy_core(lanes: Lanes, stop: &Arc<AtomicBool>) {
    let mut core = core_of(lanes, Vec::new(), Common::default());
    while !stop.load(Ordering::Relaxed) {
        core.wake_up();
        let patience = if core.has_nothing_to_do() { SLEEP } else { Duration::ZERO };
        core.sleep(patience);
    }
}

#[test]
fn no_parcel_is_overlooked_by_a_core_that_falls_asleep() {
    let (mut ends, outsides) = Lanes::connect(2, 8, 8);
    let (theirs, mut ours) = (ends.remove(1), ends.remove(0));
    let stop = Arc::new(AtomicBool::new(false));
    let core = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || sleepy_core(theirs, &stop)
    });
    let mut parcel = Box::new(Parcel::new(ShardId(0)));
    for number in 0..PARCELS {
        // The pauses differ, so that parcels arrive at every moment of the core's going to sleep.
        for _ in 0..number % 200 {
            std::hint::spin_loop();
        }
        parcel.to = ShardId(1);
        parcel.work = Work::Commands;
        ours.send(parcel).expect("the lane is empty");
        ours.ring();
        parcel = reply(&mut ours, number);
    }
    stop.store(true, Ordering::Relaxed);
    outsides[1].face.bell.ring_anyway();
    core.join().expect("the core does not panic");
}

#[track_caller]
fn reply(lanes: &mut Lanes, number: u64) -> Box<Parcel> {
    let began = Instant::now();
    loop {
        match lanes.next_arrival() {
            Some(Arrival::Reply(parcel)) => return parcel,
            Some(other) => panic!("{other:?}"),
            None => assert!(began.elapsed() < LOST_AFTER, "parcel {number} lies at a core that sleeps"),
        }
    }
}
