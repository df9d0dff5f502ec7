//! Renders a scrape.

use super::core::BackpressureReason;
use super::exposition::Exposition;
use super::merged::{Merged, ShardLine};
use super::{classic, durations_text};
use crate::command::ValueKind;
use crate::engine::host::LaneDepths;
use crate::protocol::auth::AuthFailure;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// The text of a scrape. Takes time in proportion to the number of series: some hundred microseconds on a fresh server
/// with a few shards. Not to be called by a core.
#[must_use]
pub fn render(merged: Merged, exposition: Exposition) -> String {
    let durations = merged.total().requests.clone();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(merged)));
    let mut described = String::new();
    text::encode(&mut described, &registry).expect("a String takes whatever is written to it");
    let head = format!("# TYPE {} histogram\n", durations_text::NAME);
    let at = described.find(&head).expect("the durations are described") + head.len();
    let (before, behind) = described.split_at(at);
    let in_format = |part: &str| match exposition {
        Exposition::OpenMetrics => part.to_owned(),
        Exposition::Prometheus => classic::from_open_metrics(part),
    };
    let mut page = in_format(before);
    durations_text::push(&mut page, durations.iter(), exposition);
    page.push_str(&in_format(behind));
    page
}

#[derive(Debug)]
struct Scrape(Merged);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        encode_requests(&mut page, &self.0)?;
        encode_shards(&mut page, &self.0)?;
        encode_cores(&mut page, &self.0)?;
        encode_connections(&mut page, &self.0)?;
        encode_refusals(&mut page, &self.0)?;
        encode_process(&mut page, &self.0)
    }
}

fn encode_requests(page: &mut Page, merged: &Merged) -> fmt::Result {
    let (total, facts) = (merged.total(), merged.facts());
    // Only described here; `render` puts the samples behind it.
    page.family(durations_text::NAME, "Time from the complete head of a request to its answer", MetricType::Histogram)?;
    page.gauge("http_active_requests", "Requests in progress", total.active_requests)?;
    page.gauge("max_inflight_requests", "Most requests that may be in progress", facts.max_inflight)?;
    // Without a budget, the used part of it is nothing: what operators divide by is infinite, not 0.
    let budget = facts.memory_budget_bytes.map_or(f64::INFINITY, |bytes| bytes as f64);
    page.gauge("memory_budget_bytes", "Memory that the whole cache may take", budget)
}

fn encode_shards(page: &mut Page, merged: &Merged) -> fmt::Result {
    let counters: [(&str, &str, NumberOf); 6] = [
        ("cache_hits", "Reads that found an entry", |line| line.stats.hits),
        ("cache_misses", "Reads that found none", |line| line.stats.misses),
        ("cache_sets", "Successful writes", |line| line.stats.sets),
        ("cache_deletes", "Entries deleted by request", |line| line.stats.deletes),
        ("cache_evictions", "Entries removed to stay within the budget", |line| line.stats.evictions),
        ("cache_expirations", "Entries removed because their time had come", |line| line.stats.expirations),
    ];
    let gauges: [(&str, &str, NumberOf); 4] = [
        ("cache_memory_bytes", "Memory in use of the budget: entries, index, buffers, bodies", |line| {
            line.stats.memory_bytes
        }),
        (
            "cache_memory_denied_bytes",
            "Part of the budget gone without since the kernel last had no memory; tried again step by step",
            |line| line.stats.denied_bytes,
        ),
        ("cache_entries_total", "Entries in the cache now", |line| line.stats.entries),
        ("cache_queue_depth", "Operations that wait at a shard", |line| line.lanes.requests),
    ];
    counters.into_iter().try_for_each(|(name, help, number)| page.shard_counter(name, help, merged, number))?;
    gauges.into_iter().try_for_each(|(name, help, number)| page.shard_gauge(name, help, merged, number))?;
    let lag = "How long an entry has been expired that is not freed yet";
    let lags = merged.shards().map(|(shard, line)| ([("shard", shard)], line.stats.expiry_lag_ms as f64 / 1_000.0));
    page.gauges("cache_expiry_lag_seconds", lag, lags)?;
    let imbalance = "Excess of the fullest shard's entries over the mean, 0 while there are few";
    page.gauge("cache_shard_imbalance", imbalance, merged.shard_imbalance())?;

    let stats = &merged.total().shard;
    let payload =
        [("get", &stats.bytes_read), ("set", &stats.bytes_written)].into_iter().flat_map(|(operation, sums)| {
            ValueKind::ALL
                .into_iter()
                .zip(sums)
                .map(move |(kind, &sum)| ([("operation", operation), ("type", kind.name())], sum))
        });
    page.counters("cache_payload_bytes", "Bytes of values read and written", payload)?;
    let conflicts = [("set", stats.put_conflicts), ("delete", stats.delete_conflicts)];
    page.counters("cache_cas_conflicts", "Writes whose condition did not hold", by("operation", conflicts))
}

fn encode_cores(page: &mut Page, merged: &Merged) -> fmt::Result {
    let counters: [(&str, &str, NumberOf); 8] = [
        ("cache_core_requests", "Requests that a core answered, whoever owned the key", |line| line.answered),
        ("cache_local_operations", "Operations of a core's own clients on keys of its own shard", |line| line.local),
        ("cache_forwarded_requests", "Operations that a core sent on to the owner of the key", |line| line.forwarded),
        ("cache_wakeups", "Times that a core had nothing to do, slept and woke", |line| line.wake_ups.slept),
        ("cache_doorbells", "Times that a core woke another one that slept", |line| line.wake_ups.rang),
        ("cache_receive_buffers_short", "Times that a connection found all receive buffers full", |line| {
            line.shortages.buffers
        }),
        ("cache_ring_overflows", "Times that more had happened than fits into a core's ring", |line| {
            line.shortages.completions
        }),
        ("cache_slow_requests", "Requests that took SLOW_REQUEST_MS or longer", |line| line.slow_requests),
    ];
    counters.into_iter().try_for_each(|(name, help, number)| page.shard_counter(name, help, merged, number))?;
    let secs = merged.shards().map(|(shard, line)| ([("shard", shard)], line.cpu_nanos as f64 / 1e9));
    page.counters("cache_core_cpu_seconds", "CPU time of a core's thread", secs)?;
    let busy = merged.shards().map(|(shard, line)| ([("shard", shard)], line.busy_permille as f64 / 1e3));
    page.gauges("cache_core_busy_ratio", "Part of its time that a core has worked lately, 0 to 1", busy)?;
    let depths = merged.shards().flat_map(|(shard, line)| {
        let LaneDepths { requests, control, replies } = line.lanes;
        [("requests", requests), ("control", control), ("replies", replies)]
            .map(|(lane, depth)| (LaneLabels { shard, lane }, depth))
    });
    page.gauges("cache_lane_depth", "Parcels of other cores that wait at a core", depths)
}

/// The labels of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    shard: u16,
    lane: &'static str,
}

fn encode_connections(page: &mut Page, merged: &Merged) -> fmt::Result {
    page.shard_gauge("cache_connections", "Connections open now", merged, |line| line.connections)?;
    let counters: [(&str, &str, NumberOf); 2] = [
        ("cache_connections_accepted", "Connections accepted", |line| line.connections_accepted),
        ("cache_late_replies", "Answers of other cores that came after their request was given up", |line| {
            line.late_replies
        }),
    ];
    counters.into_iter().try_for_each(|(name, help, number)| page.shard_counter(name, help, merged, number))
}

fn encode_refusals(page: &mut Page, merged: &Merged) -> fmt::Result {
    let total = merged.total();
    let backpressure = BackpressureReason::ALL.map(BackpressureReason::name).into_iter().zip(total.backpressure);
    page.counters("cache_backpressure", "Requests and connections refused at a limit", by("reason", backpressure))?;
    let failures = AuthFailure::ALL.map(AuthFailure::reason).into_iter().zip(total.auth_failures);
    page.counters("cache_auth_failures", "Requests without a valid token", by("reason", failures))
}

fn encode_process(page: &mut Page, merged: &Merged) -> fmt::Result {
    let facts = merged.facts();
    let reloads = [("success", facts.config_reloads.succeeded), ("failure", facts.config_reloads.failed)];
    page.counters("cache_config_reloads", "Configurations read again", by("result", reloads))?;
    let dropped = "Log lines lost because the log could not keep up, or could not be written";
    page.counter("cache_log_lines_dropped", dropped, facts.log_lines_dropped)?;
    let build = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauges("cache_build_info", "The version that is running", [(build, 1_u64)])?;

    let stats = &facts.stats;
    if let Some(secs) = stats.cpu_secs {
        page.counter("process_cpu_seconds", "User and system CPU time", secs)?;
    }
    if let Some(secs) = stats.start_time_secs {
        page.gauge("process_start_time_seconds", "Start of the process since 1970", secs)?;
    }
    let gauges = [
        ("process_resident_memory_bytes", "Resident memory", stats.resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory", stats.virtual_bytes),
        ("process_open_fds", "Open file descriptors", stats.open_fds),
        ("process_max_fds", "Most file descriptors that may be open", stats.max_fds),
        ("process_threads", "Threads", stats.threads),
    ];
    let known = gauges.into_iter().filter_map(|(name, help, number)| Some((name, help, number?)));
    known.into_iter().try_for_each(|(name, help, number)| page.gauge(name, help, number))
}

/// Picks one number of a shard.
type NumberOf = fn(&ShardLine) -> u64;

/// One label with each of its values.
fn by<'a>(
    label: &'static str,
    numbers: impl IntoIterator<Item = (&'a str, u64)>,
) -> impl Iterator<Item = ([(&'static str, &'a str); 1], u64)> {
    numbers.into_iter().map(move |(value, number)| ([(label, value)], number))
}

/// A scrape being written, one metric family after the other. Counters are named without their `_total`.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn family(
        &mut self,
        name: &'static str,
        help: &str,
        metric_type: MetricType,
    ) -> Result<MetricEncoder<'_>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, metric_type)
    }

    fn counter(&mut self, name: &'static str, help: &str, value: impl EncodeCounterValue + Copy) -> fmt::Result {
        self.family(name, help, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauge(&mut self, name: &'static str, help: &str, value: impl EncodeGaugeValue + Copy) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counters<L: EncodeLabelSet, N: EncodeCounterValue>(
        &mut self,
        name: &'static str,
        help: &str,
        series: impl IntoIterator<Item = (L, N)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        series.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    fn gauges<L: EncodeLabelSet, N: EncodeGaugeValue>(
        &mut self,
        name: &'static str,
        help: &str,
        series: impl IntoIterator<Item = (L, N)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        series.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    fn shard_counter(&mut self, name: &'static str, help: &str, merged: &Merged, number: NumberOf) -> fmt::Result {
        self.counters(name, help, merged.shards().map(|(shard, line)| ([("shard", shard)], number(line))))
    }

    fn shard_gauge(&mut self, name: &'static str, help: &str, merged: &Merged, number: NumberOf) -> fmt::Result {
        self.gauges(name, help, merged.shards().map(|(shard, line)| ([("shard", shard)], number(line))))
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
