use super::*;
use crate::metrics::{ConfigReloads, CoreMetrics, ProcessFacts, ProcessStats};
use crate::protocol::route::{Method, Route};
use crate::routing::ShardId;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Labels in the order they were written.
type Labels = Vec<(String, String)>;

/// A scrape read back, every rule of its format checked on the way.
struct Parsed {
    types: HashMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Parsed {
    fn read(text: &str, exposition: Exposition) -> Self {
        let mut parsed = Self { types: HashMap::new(), samples: BTreeMap::new() };
        assert!(text.ends_with('\n'), "the last line is not ended");
        let mut lines: Vec<&str> = text.lines().collect();
        if exposition == Exposition::OpenMetrics {
            assert_eq!(lines.pop(), Some("# EOF"));
        }
        let (mut described, mut current) = (String::new(), (String::new(), String::new()));
        for line in lines {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(!help.is_empty() && !help.contains('\\'), "{line}");
                name.clone_into(&mut described);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!(name, described, "the description before this type is another's");
                assert!(parsed.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
                current = (name.to_owned(), kind.to_owned());
            } else {
                assert!(!line.starts_with('#') && !line.is_empty(), "{line}");
                parsed.sample(line, &current, exposition);
            }
        }
        parsed.check_histograms();
        parsed
    }

    fn sample(&mut self, line: &str, (family, kind): &(String, String), exposition: Exposition) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, read_labels(labels.strip_suffix('}').expect(line))),
            None => (series, Labels::new()),
        };
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
        let suffix = name.strip_prefix(family.as_str()).expect(line);
        let allowed: &[&str] = match (kind.as_str(), exposition) {
            ("counter", Exposition::OpenMetrics) => &["_total"],
            ("counter" | "gauge", _) => &[""],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            _ => panic!("type {kind}"),
        };
        assert!(allowed.contains(&suffix), "{line} under {family}");
        let distinct: BTreeSet<_> = labels.iter().map(|(label, _)| label).collect();
        assert_eq!(distinct.len(), labels.len(), "{line}");
        let before = self.samples.insert((name.to_owned(), labels), value.parse().expect(line));
        assert!(before.is_none(), "{series} twice");
    }

    /// The buckets of every series are cumulative, and the last one is infinite and equals the count.
    fn check_histograms(&self) {
        for family in self.types.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for ((_, labels), &count) in self.named(&format!("{family}_bucket")) {
                let (le, rest): (Labels, Labels) = labels.iter().cloned().partition(|(name, _)| name == "le");
                buckets.entry(rest).or_default().push((le[0].1.parse().unwrap(), count));
            }
            assert_eq!(buckets.len(), self.named(&format!("{family}_count")).count());
            for (labels, mut series) in buckets {
                series.sort_by(|one, other| one.0.total_cmp(&other.0));
                assert!(series.is_sorted_by_key(|&(_, count)| count), "{labels:?} {series:?}");
                let last = *series.last().unwrap();
                assert_eq!(last, (f64::INFINITY, self.samples[&(format!("{family}_count"), labels.clone())]));
                assert!(self.samples.contains_key(&(format!("{family}_sum"), labels)));
            }
        }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = (&(String, Labels), &f64)> {
        self.samples.iter().filter(move |((sample, _), _)| sample == name)
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|&(label, value)| (label.to_owned(), value.to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// The values that `label` has in the series of `name`.
    fn label_values(&self, name: &str, label: &str) -> BTreeSet<&str> {
        let labels = self.named(name).flat_map(|((_, labels), _)| labels);
        labels.filter(|(name, _)| name == label).map(|(_, value)| value.as_str()).collect()
    }
}

fn read_labels(text: &str) -> Labels {
    let mut labels = Labels::new();
    for label in text.split("\",") {
        let (name, value) = label.strip_suffix('"').unwrap_or(label).split_once("=\"").expect(text);
        assert!(!value.contains(['"', '\\', '\n']), "{text}");
        labels.push((name.to_owned(), value.to_owned()));
    }
    labels
}

fn facts() -> ProcessFacts {
    let stats = ProcessStats {
        cpu_secs: Some(1.25),
        resident_bytes: Some(1 << 20),
        virtual_bytes: Some(1 << 30),
        open_fds: Some(17),
        max_fds: Some(u64::MAX),
        threads: Some(9),
        start_time_secs: Some(1_700_000_000.5),
    };
    let config_reloads = ConfigReloads { succeeded: 2, failed: 1 };
    ProcessFacts { stats, memory_budget_bytes: Some(4 << 30), max_inflight: 1000, config_reloads, log_lines_dropped: 5 }
}

fn fresh(shards: u16) -> Merged {
    let mut merged = Merged::new(shards, facts());
    (0..shards).for_each(|shard| merged.add(ShardId(shard), &CoreMetrics::default()));
    merged
}

fn both(merged: &Merged) -> [Parsed; 2] {
    [Exposition::Prometheus, Exposition::OpenMetrics]
        .map(|format| Parsed::read(&render(merged.clone(), format), format))
}

#[test]
fn a_fresh_server_has_data_for_every_query_of_the_runbook() {
    const PER_SHARD: [&str; 23] = [
        "cache_hits_total",
        "cache_misses_total",
        "cache_sets_total",
        "cache_deletes_total",
        "cache_evictions_total",
        "cache_expirations_total",
        "cache_memory_bytes",
        "cache_memory_denied_bytes",
        "cache_entries_total",
        "cache_queue_depth",
        "cache_connections",
        "cache_connections_accepted_total",
        "cache_forwarded_requests_total",
        "cache_late_replies_total",
        "cache_core_requests_total",
        "cache_local_operations_total",
        "cache_wakeups_total",
        "cache_doorbells_total",
        "cache_receive_buffers_short_total",
        "cache_ring_overflows_total",
        "cache_slow_requests_total",
        "cache_core_cpu_seconds_total",
        "cache_core_busy_ratio",
    ];
    const ALONE: [&str; 12] = [
        "http_active_requests",
        "max_inflight_requests",
        "memory_budget_bytes",
        "cache_shard_imbalance",
        "cache_log_lines_dropped_total",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "process_threads",
    ];
    for parsed in both(&fresh(3)) {
        for name in PER_SHARD {
            let values: Vec<_> = ["0", "1", "2"].map(|shard| parsed.value(name, &[("shard", shard)])).to_vec();
            assert_eq!(values, [Some(0.0); 3], "{name}");
            assert_eq!(parsed.named(name).count(), 3, "{name}");
        }
        for name in ALONE {
            assert!(parsed.value(name, &[]).is_some(), "{name}");
            assert_eq!(parsed.named(name).count(), 1, "{name}");
        }
        for lane in ["requests", "control", "replies"] {
            let labels = [("shard", "2"), ("lane", lane)];
            assert_eq!(parsed.value("cache_lane_depth", &labels), Some(0.0), "{lane}");
        }
        assert_eq!(parsed.value("cache_log_lines_dropped_total", &[]), Some(5.0));
        assert_eq!(parsed.value("max_inflight_requests", &[]), Some(1000.0));
        assert_eq!(parsed.value("memory_budget_bytes", &[]), Some(4_294_967_296.0));
        assert_eq!(parsed.value("process_start_time_seconds", &[]), Some(1_700_000_000.5));
        assert_eq!(parsed.value("cache_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), Some(1.0));
        assert_eq!(parsed.value("cache_config_reloads_total", &[("result", "failure")]), Some(1.0));
    }
}

#[test]
fn every_label_value_exists_from_the_start() {
    for parsed in both(&fresh(1)) {
        let reasons = BackpressureReason::ALL.map(BackpressureReason::name);
        assert_eq!(parsed.label_values("cache_backpressure_total", "reason"), reasons.into());
        assert_eq!(
            parsed.label_values("cache_auth_failures_total", "reason"),
            ["missing_token", "invalid_token"].into()
        );
        assert_eq!(parsed.label_values("cache_cas_conflicts_total", "operation"), ["set", "delete"].into());
        for operation in ["get", "set"] {
            for kind in ValueKind::ALL {
                let labels = [("operation", operation), ("type", kind.name())];
                assert_eq!(parsed.value("cache_payload_bytes_total", &labels), Some(0.0));
            }
        }
        let count = "http_request_duration_seconds_count";
        for (method, route, status) in [
            ("GET", "/v1/kv/:key", "200"),
            ("GET", "/v1/kv/:key", "404"),
            ("PUT", "/v1/kv/:key", "503"),
            ("POST", "/v1/kv/batch/get", "200"),
            ("GET", "/metrics", "200"),
        ] {
            let labels = [("method", method), ("route", route), ("status_code", status)];
            assert_eq!(parsed.value(count, &labels), Some(0.0), "{labels:?}");
        }
    }
}

#[test]
fn both_formats_say_the_same() {
    let mut merged = Merged::new(2, facts());
    let mut core = CoreMetrics { active_requests: 4, ..CoreMetrics::default() };
    core.record_requests(Method::Get, Route::Kv, 200, 150_000, 1);
    core.record_requests(Method::Get, Route::Kv, 200, 20_000_000_000, 1);
    core.shard.put_conflicts = 3;
    core.shard.bytes_written[ValueKind::Json as usize] = 77;
    core.backpressure(BackpressureReason::OverBudget);
    merged.add(ShardId(1), &core);
    merged.add(ShardId(0), &CoreMetrics::default());
    for parsed in both(&merged) {
        let labels = [("method", "GET"), ("route", "/v1/kv/:key"), ("status_code", "200")];
        assert_eq!(parsed.value("http_request_duration_seconds_sum", &labels), Some(20.00015));
        assert_eq!(parsed.value("http_request_duration_seconds_count", &labels), Some(2.0));
        let below = |le| {
            let labels = [("le", le), labels[0], labels[1], labels[2]];
            parsed.value("http_request_duration_seconds_bucket", &labels)
        };
        assert_eq!([below("0.0001"), below("0.0002"), below("+Inf")], [Some(0.0), Some(1.0), Some(2.0)]);
        assert_eq!(parsed.value("http_active_requests", &[]), Some(4.0));
        assert_eq!(parsed.value("cache_cas_conflicts_total", &[("operation", "set")]), Some(3.0));
        assert_eq!(parsed.value("cache_backpressure_total", &[("reason", "over_budget")]), Some(1.0));
        let payload = [("operation", "set"), ("type", "json")];
        assert_eq!(parsed.value("cache_payload_bytes_total", &payload), Some(77.0));
    }
}

#[test]
fn no_budget_reads_as_an_infinite_one() {
    let merged = Merged::new(1, ProcessFacts { memory_budget_bytes: None, ..facts() });
    for parsed in both(&merged) {
        assert_eq!(parsed.value("memory_budget_bytes", &[]), Some(f64::INFINITY));
    }
}

#[test]
fn what_the_kernel_did_not_tell_is_left_out() {
    let merged = Merged::new(1, ProcessFacts::default());
    for parsed in both(&merged) {
        assert!(!parsed.types.keys().any(|name| name.starts_with("process_")));
    }
}

#[test]
fn a_scrape_of_eight_shards_stays_small() {
    for format in [Exposition::Prometheus, Exposition::OpenMetrics] {
        let text = render(fresh(8).clone(), format);
        assert!(text.len() < 256 * 1024, "{}", text.len());
    }
}
