//! What holds whatever things take.

use super::*;
use clap::Parser as _;

const SHARDS: [u16; 5] = [1, 2, 3, 8, 16];

fn setting() -> Setting {
    let options = ["growth", "--requests", "6000", "--keys", "2000", "--connections", "16"];
    Options::try_parse_from(options).expect("these are options").setting
}

fn messages(tally: &Tally) -> f64 {
    tally.per_answer(tally.traffic.messages)
}

/// A key that is not one's own is one message there and one back.
#[test]
fn a_get_of_any_key_sends_two_messages_for_each_foreign_key() {
    for shards in SHARDS {
        let row = row(shards, Workload::Uniform, &[50], &setting());
        let foreign = f64::from(shards - 1) / f64::from(shards);
        for tally in [&row.closed, &row.open[0].1] {
            let messages = messages(tally);
            assert!((messages - 2.0 * foreign).abs() < 0.05, "{shards} shards: {messages} messages");
            assert_eq!(tally.refused, 0);
        }
    }
}

#[test]
fn clients_that_ask_the_owner_cause_no_messages() {
    for workload in [Workload::Aware, Workload::AwareZipf] {
        let row = row(8, workload, &[50], &setting());
        for tally in [&row.closed, &row.open[0].1] {
            assert_eq!((tally.traffic.messages, tally.doorbells, tally.foreign), (0, 0, 0));
        }
    }
}

#[test]
fn a_batch_sends_one_parcel_to_each_other_core_at_most() {
    for shards in SHARDS {
        let row = row(shards, Workload::Batch, &[50], &setting());
        let most = u64::from(shards - 1);
        for tally in [&row.closed, &row.open[0].1] {
            assert_eq!(tally.parcels_max, most, "a hundred keys have an owner everywhere, at one time at least");
            assert_eq!(tally.refused, 0);
        }
    }
}

/// Those who are busy need no waking.
#[test]
fn there_are_the_fewer_doorbells_the_busier_the_cores_are() {
    let row = row(8, Workload::Uniform, &[10, 30, 50, 70, 90], &setting());
    let doorbells: Vec<f64> = row.open.iter().map(|(_, it)| it.per_answer(it.doorbells)).collect();
    assert!(doorbells.is_sorted_by(|less, more| less > more), "{doorbells:?}");
    assert!(row.closed.per_answer(row.closed.doorbells) < doorbells[0], "{doorbells:?}");
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let figures = |seed| {
        let row = row(4, Workload::Zipf, &[80], &Setting { seed, ..setting() });
        (row.closed.traffic.messages, row.closed.doorbells, row.closed.worked.clone(), row.open[0].1.latency_us(99.0))
    };
    assert_eq!(figures(7), figures(7));
    assert_ne!(figures(7), figures(8));
}

/// Work that nothing is charged for cannot be right: what the cores did is what the costs of the requests add up to.
#[test]
fn one_core_works_as_long_as_its_requests_take() {
    let costs = costs::Costs { turn_ns: 0, sleep_ns: 0, ..setting().costs };
    let row = row(1, Workload::Uniform, &[], &Setting { costs, ..setting() });
    let difference = row.closed.nanos_per_answer() - costs.request_ns as f64;
    assert!(difference.abs() < costs.request_ns as f64 / 100.0, "{difference} ns");
}

#[test]
fn what_is_too_much_for_a_core_is_refused() {
    let row = row(8, Workload::Uniform, &[], &Setting { inflight: 4, ..setting() });
    assert!(row.closed.refused > 0 && row.closed.served > 0);
}
