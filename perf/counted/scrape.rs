//! The numbers of all cores: added up, and written as a page.

use crate::counter::Counter;
use cache_service::metrics::{CoreMetrics, Exposition, Merged, ProcessFacts, render};
use cache_service::protocol::route::{Method, Route};
use cache_service::routing::ShardId;
use std::hint::black_box;

const CORES: u16 = 8;

/// Both, for eight cores.
pub fn count(counter: &mut Counter) {
    let cores: Vec<CoreMetrics> = (1..=u64::from(CORES)).map(core).collect();
    counter.count_long("scrape: merge 8 cores", |_| {
        assert!(black_box(merge(black_box(&cores))).is_complete());
    });
    let merged = merge(&cores);
    counter.count_long("scrape: write the page of 8 cores", |_| {
        let page = render(black_box(&merged).clone(), Exposition::Prometheus);
        assert!(black_box(page).ends_with('\n'));
    });
}

fn merge(cores: &[CoreMetrics]) -> Merged {
    let mut merged = Merged::new(CORES, ProcessFacts::default());
    (0..).map(ShardId).zip(cores).for_each(|(shard, core)| merged.add(shard, core));
    merged
}

/// A core that has answered what is usually asked.
fn core(number: u64) -> CoreMetrics {
    let mut core = CoreMetrics { answered: 40_000 * number, connections: 64, ..CoreMetrics::default() };
    let answered = [
        (Method::Get, Route::Kv, [200, 304, 404]),
        (Method::Put, Route::Kv, [200, 201, 409]),
        (Method::Delete, Route::Kv, [204, 404, 401]),
        (Method::Post, Route::BatchGet, [200, 400, 503]),
        (Method::Post, Route::Incr, [200, 400, 401]),
        (Method::Get, Route::Metrics, [200, 503, 405]),
    ];
    for (method, route, statuses) in answered {
        for status in statuses {
            (0..100).for_each(|n| core.record_requests(method, route, status, number * n * 100_000, 1));
        }
    }
    core
}
