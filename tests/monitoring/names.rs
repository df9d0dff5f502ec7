//! Every metric that is asked for exists.

use crate::observed::observed;
use crate::{dashboard, promql, runbook};
use std::collections::BTreeSet;

/// What a query may name: the series of a scrape, what is recorded, and what Prometheus knows by itself.
fn known() -> BTreeSet<&'static str> {
    let series = observed().scrape.text().lines().filter(|line| !line.starts_with('#'));
    let names = series.filter_map(|line| line.split(['{', ' ']).next());
    let recorded = observed().rules.iter().filter(|rule| !rule.is_alert).map(|rule| rule.name.as_str());
    names.chain(recorded).chain(["up", "ALERTS"]).collect()
}

#[track_caller]
fn assert_known<'q>(what: &str, queries: impl IntoIterator<Item = &'q str>) {
    let asked: BTreeSet<String> = queries.into_iter().flat_map(promql::metric_names).collect();
    assert!(!asked.is_empty(), "{what} asks for nothing");
    let known = known();
    let unknown: Vec<&String> = asked.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "{what} asks for metrics that the server does not have: {unknown:?}");
}

#[test]
fn the_rules_name_metrics_that_exist() {
    assert_known("rules", observed().rules.iter().map(|rule| rule.query.as_str()));
}

#[test]
fn the_dashboard_names_metrics_that_exist() {
    assert_known(dashboard::FILE, dashboard::queries().iter().map(String::as_str));
}

#[test]
fn the_runbook_names_metrics_that_exist() {
    let alerts = runbook::ALERTS.iter().map(|alert| alert.expression);
    assert_known("the original runbook", runbook::QUERIES.iter().map(|(query, _)| *query).chain(alerts));
    let documented = runbook::documented_queries();
    if !documented.is_empty() {
        assert_known("docs/runbook.md", documented.iter().map(String::as_str));
    }
}

#[test]
fn the_dashboard_leaves_out_no_metric_of_the_server() {
    let asked: BTreeSet<String> = dashboard::queries().iter().flat_map(|query| promql::metric_names(query)).collect();
    let scrape = observed().scrape.text().lines();
    let families = scrape.filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let shown = |family: &&str| asked.contains(*family) || asked.contains(&format!("{family}_bucket"));
    let hidden: Vec<&str> = families.filter(|family| !shown(family)).collect();
    assert!(hidden.is_empty(), "no panel shows {hidden:?}");
}
