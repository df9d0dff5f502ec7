//! How long requests took, by method, route and status: one histogram each, found without hashing.

use crate::protocol::route::{Method, Route};
use std::ops::AddAssign;

/// The statuses that have series of their own: all that the server answers with.
pub const STATUSES: [u16; 14] = [200, 201, 204, 304, 400, 401, 404, 405, 408, 409, 413, 431, 500, 503];
/// The series of a status that is not in [`STATUSES`]. None is ever sent; if one were, it should be seen and not lost.
const OTHER_STATUS: usize = STATUSES.len();

/// The upper bounds of the buckets, in nanoseconds, inclusive; the last bucket has none. The low end tells a request
/// that stayed on its core from one that hopped; the rest are the bounds that dashboards expect.
const BOUNDS_NANOS: [u64; 17] = [
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
const BUCKETS: usize = BOUNDS_NANOS.len() + 1;

/// The answers that the API documents. Their series exist at 0 from the start, because a rate cannot see the first
/// event of a series that appears together with it.
const DOCUMENTED: [(Method, Route, &[u16]); 13] = [
    (Method::Get, Route::Kv, &[200, 304, 400, 401, 404, 503]),
    (Method::Head, Route::Kv, &[200, 404]),
    (Method::Put, Route::Kv, &[200, 201, 400, 401, 409, 413, 503]),
    (Method::Delete, Route::Kv, &[204, 401, 404, 409, 503]),
    (Method::Post, Route::BatchGet, &[200, 400, 503]),
    (Method::Post, Route::BatchSet, &[200, 400, 401, 413, 503]),
    (Method::Post, Route::BatchDelete, &[200, 400, 401, 503]),
    (Method::Post, Route::Incr, &[200, 400, 401, 503]),
    (Method::Get, Route::Healthz, &[200]),
    (Method::Get, Route::Readyz, &[200, 503]),
    (Method::Get, Route::Metrics, &[200]),
    (Method::Get, Route::Unknown, &[404]),
    (Method::Other, Route::Unknown, &[400]),
];

/// Durations counted in buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurationHistogram {
    counts: [u64; BUCKETS],
    /// Wide enough for a thousand requests at a time for as long as the machine lives.
    sum_nanos: u128,
}

impl DurationHistogram {
    fn record(&mut self, nanos: u64, times: u64) {
        self.counts[BOUNDS_NANOS.partition_point(|&bound| bound < nanos)] += times;
        self.sum_nanos += u128::from(nanos) * u128::from(times);
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All durations together, in seconds.
    #[must_use]
    pub fn sum_secs(&self) -> f64 {
        self.sum_nanos as f64 / 1e9
    }

    /// Each bucket's upper bound in seconds and how many durations it holds, not those of the buckets below; the last
    /// bound is infinite.
    #[must_use]
    pub fn buckets(&self) -> [(f64, u64); BUCKETS] {
        std::array::from_fn(|bucket| {
            (BOUNDS_NANOS.get(bucket).map_or(f64::INFINITY, |&nanos| nanos as f64 / 1e9), self.counts[bucket])
        })
    }
}

impl AddAssign<&Self> for DurationHistogram {
    fn add_assign(&mut self, other: &Self) {
        let Self { counts, sum_nanos } = other;
        self.counts.iter_mut().zip(counts).for_each(|(mine, theirs)| *mine += theirs);
        self.sum_nanos += sum_nanos;
    }
}

/// What one series counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SeriesKey {
    method: Method,
    route: Route,
    /// Place in [`STATUSES`], or [`OTHER_STATUS`].
    status_index: usize,
}

impl SeriesKey {
    const ALL: usize = Method::ALL.len() * Route::ALL.len() * (STATUSES.len() + 1);

    fn new(method: Method, route: Route, status: u16) -> Self {
        let known = STATUSES.iter().position(|&listed| listed == status);
        debug_assert!(known.is_some(), "status {status} is not listed in STATUSES");
        Self { method, route, status_index: known.unwrap_or(OTHER_STATUS) }
    }

    /// A number of its own below [`SeriesKey::ALL`].
    const fn index(self) -> usize {
        (self.method as usize * Route::ALL.len() + self.route as usize) * (STATUSES.len() + 1) + self.status_index
    }
}

/// One histogram and what it counts.
#[derive(Clone, Debug)]
pub struct RequestSeries {
    key: SeriesKey,
    /// How long these requests took.
    pub durations: DurationHistogram,
}

impl RequestSeries {
    /// The method of the requests.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.key.method
    }

    /// The resource that they named.
    #[must_use]
    pub const fn route(&self) -> Route {
        self.key.route
    }

    /// What they were answered with; `None` for a status that is not in [`STATUSES`].
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        STATUSES.get(self.key.status_index).copied()
    }
}

/// The durations of all requests that one core answered.
#[derive(Clone, Debug)]
pub struct RequestDurations {
    /// Where in `series` each key is, [`RequestDurations::VACANT`] if nothing was counted under it yet.
    places: Box<[u16; SeriesKey::ALL]>,
    series: Vec<RequestSeries>,
}

impl RequestDurations {
    const VACANT: u16 = u16::MAX;

    /// Counts `times` answered requests that took `nanos` nanoseconds each. Allocates only for the first answer of its kind.
    pub fn record(&mut self, method: Method, route: Route, status: u16, nanos: u64, times: u64) {
        self.histogram_mut(SeriesKey::new(method, route, status)).record(nanos, times);
    }

    /// All series, those with nothing counted yet among them.
    pub fn iter(&self) -> impl Iterator<Item = &RequestSeries> {
        self.series.iter()
    }

    fn histogram_mut(&mut self, key: SeriesKey) -> &mut DurationHistogram {
        let place = &mut self.places[key.index()];
        if *place == Self::VACANT {
            *place = self.series.len() as u16;
            self.series.push(RequestSeries { key, durations: DurationHistogram::default() });
        }
        &mut self.series[usize::from(*place)].durations
    }
}

const _: () = assert!(SeriesKey::ALL < RequestDurations::VACANT as usize, "every series has a place below VACANT");

impl Default for RequestDurations {
    fn default() -> Self {
        let mut durations = Self { places: Box::new([Self::VACANT; SeriesKey::ALL]), series: Vec::with_capacity(64) };
        for (method, route, statuses) in DOCUMENTED {
            for &status in statuses {
                durations.histogram_mut(SeriesKey::new(method, route, status));
            }
        }
        durations
    }
}

impl AddAssign<&Self> for RequestDurations {
    fn add_assign(&mut self, other: &Self) {
        for series in &other.series {
            *self.histogram_mut(series.key) += &series.durations;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket_of(nanos: u64) -> f64 {
        let mut histogram = DurationHistogram::default();
        histogram.record(nanos, 1);
        histogram.buckets().into_iter().find(|&(_, count)| count == 1).unwrap().0
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_is_not_below_it() {
        assert_eq!(bucket_of(0), 0.000_05);
        assert_eq!(bucket_of(100_000), 0.000_1);
        assert_eq!(bucket_of(100_001), 0.000_2);
        assert_eq!(bucket_of(200_001), 0.000_5);
        assert_eq!(bucket_of(10_000_000_000), 10.0);
        assert_eq!(bucket_of(u64::MAX), f64::INFINITY);
    }

    #[test]
    fn the_documented_bounds_are_exact() {
        let bounds = DurationHistogram::default().buckets().map(|(bound, _)| bound);
        for wanted in [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0] {
            assert!(bounds.contains(&wanted), "{wanted}");
        }
        assert!(bounds.is_sorted());
    }

    #[test]
    fn every_method_route_and_status_has_a_place_of_its_own() {
        let mut durations = RequestDurations::default();
        for method in Method::ALL {
            for route in Route::ALL {
                for status in STATUSES {
                    durations.record(method, route, status, 1, 1);
                }
            }
        }
        assert_eq!(durations.iter().count(), Method::ALL.len() * Route::ALL.len() * STATUSES.len());
        assert!(durations.iter().all(|series| series.durations.count() == 1));
    }

    #[test]
    fn methods_and_routes_are_numbered_in_their_order() {
        assert!(Method::ALL.iter().enumerate().all(|(n, &method)| method as usize == n));
        assert!(Route::ALL.iter().enumerate().all(|(n, &route)| route as usize == n));
    }

    #[test]
    fn sums_keep_what_only_one_side_has_seen() {
        let (mut one, mut other) = (RequestDurations::default(), RequestDurations::default());
        one.record(Method::Get, Route::Docs, 200, 3_000_000_000, 1);
        other.record(Method::Put, Route::Healthz, 405, 1_000_000_000, 1);
        other.record(Method::Get, Route::Docs, 200, 500_000_000, 1);
        one += &other;
        let of = |route: Route| one.iter().find(|series| series.route() == route && series.durations.count() > 0);
        let docs = of(Route::Docs).unwrap();
        assert_eq!((docs.durations.count(), docs.durations.sum_secs()), (2, 3.5));
        let refused = of(Route::Healthz).unwrap();
        assert_eq!((refused.method(), refused.status()), (Method::Put, Some(405)));
        assert_eq!(refused.durations.count(), 1);
    }
}
