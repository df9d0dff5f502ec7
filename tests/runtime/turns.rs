//! A wake-up has room for everybody: however many parcels another core sends, who asks this core is answered in the wake-up
//! that hears of it.

use crate::one_core::{CORE, LANE_MAX, OneCore, own_key, router};
use cache_service::command::{Command, Verb};
use cache_service::limits::{BATCH_ITEMS_MAX, LANE_BURST_MAX};
use cache_service::parcel::Parcel;
use cache_service::routing::ShardId;
use cache_service::time::Mono;

const ROUNDS: usize = 50;

/// A batch that is as long as it may be.
fn batch(keys: &[String]) -> Box<Parcel> {
    let mut parcel = Box::new(Parcel::new(ShardId(0)));
    parcel.to = CORE;
    parcel.deadline = Mono::from_millis(1 << 40);
    for key in keys {
        let (key, hash) = (key.as_bytes(), router().hash(key.as_bytes()));
        parcel.push(Command { key, hash, verb: Verb::Get { unless: None, with_value: true } });
    }
    parcel
}

/// Takes what has come back from the core; how many parcels that were.
fn come_back(one: &mut OneCore) -> usize {
    std::iter::from_fn(|| one.other.next_arrival()).count()
}

#[test]
fn who_asks_a_core_is_answered_in_the_wake_up_that_hears_of_it_however_full_its_lane() {
    let mut one = OneCore::new();
    let mut clients = one.clients(4);
    let key = own_key("bystander");
    let flood: Vec<String> = (0..BATCH_ITEMS_MAX).map(|n| own_key(&format!("flood-{n}"))).collect();
    let (mut waiting, mut done) = (0, 0);
    for round in 0..ROUNDS {
        while waiting < LANE_MAX {
            one.other.send(batch(&flood)).expect("the lane has room");
            waiting += 1;
        }
        clients.iter_mut().for_each(|client| client.asks_for(&key));
        one.turn();
        for client in &mut clients {
            let heard = client.heard();
            assert!(heard.starts_with(b"HTTP/1.1 404 "), "in round {round}: {:?}", String::from_utf8_lossy(&heard));
        }
        let taken = come_back(&mut one);
        assert!((1..=LANE_BURST_MAX).contains(&taken), "{taken} parcels in one wake-up");
        waiting -= taken;
        done += taken;
    }
    println!("{done} batches in {ROUNDS} wake-ups, beside {} requests", ROUNDS * clients.len());
    one.turns_until("the rest has come back", |it| {
        waiting -= come_back(it);
        (waiting == 0).then_some(())
    });
    let numbers = one.numbers();
    assert_eq!(numbers.backpressure.iter().sum::<u64>(), 0);
    assert_eq!((numbers.answered, numbers.local), ((ROUNDS * clients.len()) as u64, (ROUNDS * clients.len()) as u64));
}
