//! The lines of the request durations, written by hand: they are nine tenths of a scrape. When the library put the same
//! labels together anew for each of a thousand buckets, a whole page took twice the time.

use super::durations::{DurationHistogram, RequestSeries};
use super::exposition::Exposition;
use std::fmt::Write as _;

/// The name of the family.
pub(super) const NAME: &str = "http_request_duration_seconds";

/// Appends all samples of `series`.
pub(super) fn push<'s>(text: &mut String, series: impl Iterator<Item = &'s RequestSeries>, exposition: Exposition) {
    let bounds = DurationHistogram::default().buckets().map(|(bound, _)| bound_text(bound, exposition));
    for series in series {
        let status = series.status().map_or("other".to_owned(), |status| status.to_string());
        let (method, route) = (series.method().name(), series.route().template());
        let labels = format!("method=\"{method}\",route=\"{route}\",status_code=\"{status}\"");
        let durations = &series.durations;
        // A String takes whatever is written to it.
        let _ = writeln!(text, "{NAME}_sum{{{labels}}} {:?}", durations.sum_secs());
        let _ = writeln!(text, "{NAME}_count{{{labels}}} {}", durations.count());
        let mut up_to_here = 0;
        for (bound, (_, count)) in bounds.iter().zip(durations.buckets()) {
            up_to_here += count;
            for part in [NAME, "_bucket{le=\"", bound, "\",", &labels, "} "] {
                text.push_str(part);
            }
            text.push_str(itoa::Buffer::new().format(up_to_here));
            text.push('\n');
        }
    }
}

/// A bucket's bound in seconds: clients of the older format write whole numbers without a fraction, OpenMetrics with one.
fn bound_text(bound: f64, exposition: Exposition) -> String {
    match exposition {
        _ if bound.is_infinite() => "+Inf".to_owned(),
        Exposition::OpenMetrics if bound.fract() == 0.0 => format!("{bound:.1}"),
        Exposition::Prometheus | Exposition::OpenMetrics => bound.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::RequestDurations;
    use crate::protocol::route::{Method, Route};

    #[test]
    fn buckets_hold_those_below_them_and_bounds_are_written_as_each_format_wants() {
        let mut durations = RequestDurations::default();
        durations.record(Method::Get, Route::Kv, 200, 60_000, 1);
        durations.record(Method::Get, Route::Kv, 200, 1_000_000_000, 1);
        let text = |exposition| {
            let mut text = String::new();
            push(&mut text, durations.iter(), exposition);
            text
        };
        let labels = "method=\"GET\",route=\"/v1/kv/:key\",status_code=\"200\"";
        let (classic, open) = (text(Exposition::Prometheus), text(Exposition::OpenMetrics));
        for (text, one) in [(&classic, "1"), (&open, "1.0")] {
            for (le, count) in [("0.00005", 0), ("0.0001", 1), ("0.5", 1), (one, 2), ("+Inf", 2)] {
                let line = format!("{NAME}_bucket{{le=\"{le}\",{labels}}} {count}\n");
                assert!(text.contains(&line), "no {line}");
            }
            assert!(text.contains(&format!("{NAME}_count{{{labels}}} 2\n{NAME}_bucket")));
            assert!(text.starts_with(&format!("{NAME}_sum{{{labels}}} 1.00006\n")));
        }
    }
}
