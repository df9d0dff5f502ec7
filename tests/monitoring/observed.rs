//! One run for all tests: a server at work, scraped by Prometheus, which is asked everything before both end.

use crate::load::{self, Durations};
use crate::prometheus::Prometheus;
use crate::support::Server;
use crate::support::metrics::Metrics;
use crate::{dashboard, promql, runbook};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Scrapes before the work, without which nothing would be seen to increase, and after it.
const SCRAPES: (usize, usize) = (2, 4);

/// A rule as Prometheus has read it.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    pub query: String,
    pub is_alert: bool,
    /// `inactive`, `pending` or `firing`; empty for what is recorded.
    pub state: String,
    /// `ok` if the last evaluation went well, and else why not.
    pub health: String,
    pub for_secs: f64,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// What was seen.
pub struct Observed {
    pub scrape: Metrics,
    pub rules: Vec<Rule>,
    pub durations: Durations,
    answers: BTreeMap<String, Result<Vec<f64>, String>>,
}

impl Observed {
    /// The values of a query, those that are no number as well; or why it has none.
    #[track_caller]
    pub fn values(&self, query: &str) -> &Result<Vec<f64>, String> {
        self.answers.get(query).unwrap_or_else(|| panic!("was not asked: {query}"))
    }

    /// What is wrong with the answer to a query that should have numbers, if anything is.
    #[track_caller]
    pub fn objection(&self, query: &str) -> Option<String> {
        match self.values(query) {
            Err(why) => Some(format!("{query}\n    {why}")),
            Ok(values) if values.is_empty() => Some(format!("{query}\n    no data")),
            Ok(values) if !values.iter().any(|value| value.is_finite()) => {
                Some(format!("{query}\n    only {values:?}"))
            }
            Ok(_) => None,
        }
    }
}

/// The run, made by whoever asks first.
pub fn observed() -> &'static Observed {
    static OBSERVED: OnceLock<Observed> = OnceLock::new();
    OBSERVED.get_or_init(observe)
}

fn observe() -> Observed {
    let server = Server::start(&[("SHARDS", "2"), ("METRICS_INTERVAL_MS", "200")]);
    let prometheus = Prometheus::start(server.address());
    prometheus.wait_for_scrapes(SCRAPES.0);
    let durations = load::mixed(&server);
    prometheus.wait_for_scrapes(SCRAPES.1);

    let rules = rules(&prometheus);
    let recorded = rules.iter().filter(|rule| !rule.is_alert).map(|rule| rule.name.clone());
    let alerts = rules.iter().filter(|rule| rule.is_alert).map(|rule| rule.query.clone());
    let original = runbook::QUERIES.iter().map(|(query, _)| promql::with_sum(query));
    let original_alerts = runbook::ALERTS.iter().map(|alert| alert.expression.to_owned());
    let documented = runbook::documented_queries();
    let mut queries: Vec<String> = recorded.chain(alerts).chain(original).chain(original_alerts).collect();
    queries.extend(documented.into_iter().chain(dashboard::queries()));
    let without: Vec<String> = queries.iter().map(|query| promql::without_threshold(query).to_owned()).collect();
    queries.extend(without);
    let answers = queries.into_iter().map(|query| {
        let values = prometheus.values(&query);
        (query, values)
    });
    Observed { answers: answers.collect(), scrape: server.metrics(), rules, durations }
}

fn rules(prometheus: &Prometheus) -> Vec<Rule> {
    let data = prometheus.api("/api/v1/rules", &[]).expect("there are rules");
    let groups = data["groups"].as_array().expect("there are groups").iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().expect("a group has rules"));
    rules.map(rule).collect()
}

fn rule(rule: &Value) -> Rule {
    let text = |name: &str| rule[name].as_str().unwrap_or_default().to_owned();
    let map = |name: &str| serde_json::from_value(rule[name].clone()).unwrap_or_default();
    let health = text("health");
    Rule {
        name: text("name"),
        query: text("query"),
        is_alert: rule["type"] == "alerting",
        state: text("state"),
        health: if health == "ok" { health } else { format!("{health}: {}", text("lastError")) },
        for_secs: rule["duration"].as_f64().unwrap_or_default(),
        labels: map("labels"),
        annotations: map("annotations"),
    }
}
