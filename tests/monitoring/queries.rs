//! Everything that is asked has an answer, and one that can be.

use crate::observed::observed;
use crate::{dashboard, promql, runbook};

#[track_caller]
fn assert_all_answered<'q>(queries: impl IntoIterator<Item = &'q str>) {
    let objections: Vec<String> = queries.into_iter().filter_map(|query| observed().objection(query)).collect();
    assert!(objections.is_empty(), "{} queries without numbers:\n{}", objections.len(), objections.join("\n"));
}

#[test]
fn the_original_runbook_gets_an_answer_to_each_query() {
    let queries = runbook::QUERIES.map(|(query, range)| (promql::with_sum(query), range));
    assert_all_answered(queries.iter().map(|(query, _)| query.as_str()));
    for (query, range) in &queries {
        let values = observed().values(query).as_ref().expect("answered");
        // Histograms of what was never asked have no percentile.
        let wrong: Vec<&f64> = values.iter().filter(|value| !value.is_nan() && !range.contains(value)).collect();
        assert!(wrong.is_empty(), "{query} is {wrong:?}, not in {range:?}");
    }
}

#[test]
fn what_the_original_asks_shows_what_was_done() {
    let one = |query: &str| match observed().values(query).as_deref() {
        Ok([value]) => *value,
        other => panic!("{query}: {other:?}"),
    };
    let [_, _, (errors, _), (hits, _), ..] = runbook::QUERIES;
    // A good seventh each is answered 304 and 404: errors for the original.
    assert!((0.2..0.5).contains(&one(errors)), "{}", one(errors));
    // Of five reads (HEAD is one) four hit.
    assert!((0.6..0.95).contains(&one(hits)), "{}", one(hits));
}

#[test]
fn the_original_alerts_can_be_evaluated() {
    for alert in &runbook::ALERTS {
        let whole = observed().values(alert.expression);
        assert!(whole.is_ok(), "{}: {whole:?}", alert.name);
    }
    assert_all_answered(runbook::ALERTS.iter().map(|alert| promql::without_threshold(alert.expression)));
}

#[test]
fn the_documented_runbook_gets_an_answer_to_each_query() {
    let queries = runbook::documented_queries();
    assert!(runbook::document().is_none() || !queries.is_empty(), "docs/runbook.md has no block of promql");
    assert_all_answered(queries.iter().map(|query| promql::without_threshold(query)));
}

#[test]
fn each_panel_of_the_dashboard_shows_something() {
    let queries = dashboard::queries();
    assert_all_answered(queries.iter().map(|query| promql::without_threshold(query)));
}
