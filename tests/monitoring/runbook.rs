//! What the runbook that came with the contract asks for, word for word, and what `docs/runbook.md` asks for today.

use crate::{promql, repository};
use std::ops::RangeInclusive;

/// Any number that is one.
const ANY: RangeInclusive<f64> = 0.0..=f64::MAX;
/// A part of a whole.
const SHARE: RangeInclusive<f64> = 0.0..=1.0;

/// The queries of the original and what their values may be with a server that is well.
pub const QUERIES: [(&str, RangeInclusive<f64>); 17] = [
    ("histogram_quantile(0.95, rate(http_request_duration_seconds_bucket[5m]))", 0.0..=1.0),
    ("sum(rate(http_request_duration_seconds_count[5m])) by (method, route)", 0.0..=1e6),
    (
        "sum(rate(http_request_duration_seconds_count{status_code!~\"2..\"}[5m])) / \n\
         sum(rate(http_request_duration_seconds_count[5m]))",
        SHARE,
    ),
    (
        "sum(rate(cache_hits_total[5m])) / \n\
         (sum(rate(cache_hits_total[5m])) + sum(rate(cache_misses_total[5m])))",
        SHARE,
    ),
    ("sum(cache_memory_bytes) / on() (memory_budget_bytes)", SHARE),
    ("cache_shard_imbalance", SHARE),
    ("http_active_requests / on() (max_inflight_requests)", SHARE),
    ("rate(cache_backpressure_total[5m])", 0.0..=0.0),
    ("rate(cache_auth_failures_total[5m])", 0.0..=0.1),
    ("cache_entries_total by (shard)", 1.0..=10_000.0),
    ("cache_memory_bytes by (shard)", 1.0..=268_435_456.0),
    ("sum(cache_memory_bytes)", 1.0..=268_435_456.0),
    ("rate(cache_evictions_total[5m])", 0.0..=0.0),
    ("cache_payload_bytes_total by (type)", ANY),
    ("http_active_requests", 0.0..=1000.0),
    ("cache_queue_depth by (shard)", 0.0..=1000.0),
    ("rate(cache_auth_failures_total[5m]) by (reason)", 0.0..=0.1),
];

/// An alert of the original.
pub struct Alert {
    pub name: &'static str,
    pub expression: &'static str,
    pub for_secs: f64,
    pub severity: &'static str,
}

/// The alerts of the original.
pub const ALERTS: [Alert; 6] = [
    Alert {
        name: "CacheServiceHighErrorRate",
        expression: "sum(rate(http_request_duration_seconds_count{status_code!~\"2..\"}[5m])) / sum(rate(http_request_duration_seconds_count[5m])) > 0.05",
        for_secs: 120.0,
        severity: "critical",
    },
    Alert {
        name: "CacheServiceDown",
        expression: "up{job=\"cache-service\"} == 0",
        for_secs: 60.0,
        severity: "critical",
    },
    Alert {
        name: "CacheServiceHighLatency",
        expression: "histogram_quantile(0.95, rate(http_request_duration_seconds_bucket[5m])) > 0.01",
        for_secs: 300.0,
        severity: "critical",
    },
    Alert {
        name: "CacheServiceHighMemoryUsage",
        expression: "sum(cache_memory_bytes) / on() (memory_budget_bytes) > 0.8",
        for_secs: 300.0,
        severity: "warning",
    },
    Alert {
        name: "CacheServiceShardImbalance",
        expression: "cache_shard_imbalance > 0.3",
        for_secs: 600.0,
        severity: "warning",
    },
    Alert {
        name: "CacheServiceBackpressure",
        expression: "rate(cache_backpressure_total[5m]) > 0",
        for_secs: 120.0,
        severity: "warning",
    },
];

/// The project's own runbook, if it is there.
pub fn document() -> Option<String> {
    std::fs::read_to_string(repository("docs/runbook.md")).ok()
}

/// The queries in its blocks of PromQL.
pub fn documented_queries() -> Vec<String> {
    let document = document().unwrap_or_default();
    blocks(&document, "promql").iter().flat_map(|block| promql::queries(block)).collect()
}

/// The fenced blocks of a language, which may be indented.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut within: Option<String> = None;
    for line in document.lines() {
        match (line.trim().strip_prefix("```"), &mut within) {
            (Some(_), Some(block)) => {
                blocks.push(std::mem::take(block));
                within = None;
            }
            (Some(info), None) if info.trim() == language => within = Some(String::new()),
            (None, Some(block)) => {
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    blocks
}

/// The anchors of a document's headings, as they are made where the project is read. What looks like a heading within a
/// fenced block is a comment of a shell.
pub fn anchors(document: &str) -> Vec<String> {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let mut fenced = false;
    let mut anchors = Vec::new();
    for line in document.lines() {
        fenced ^= line.trim().starts_with("```");
        if !fenced && line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            anchors.push(heading.chars().filter(kept).collect::<String>().replace(' ', "-"));
        }
    }
    anchors
}

#[test]
fn blocks_and_anchors_are_found() {
    let document =
        "## High Latency\n   ```promql\n   a\n   ```\n```bash\n# no heading of ours\n```\n```promql\nb\nc\n```\n";
    assert_eq!(blocks(document, "promql"), ["   a\n", "b\nc\n"]);
    assert_eq!(anchors(document), ["high-latency"]);
}
