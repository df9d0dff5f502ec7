//! Our rules in a Prometheus that has evaluated them.

use crate::observed::{Rule, observed};
use crate::{promql, runbook};
use std::time::Duration;

fn alerts() -> impl Iterator<Item = &'static Rule> {
    observed().rules.iter().filter(|rule| rule.is_alert)
}

#[test]
fn every_rule_is_evaluated_without_an_error() {
    assert!(observed().rules.len() > runbook::ALERTS.len(), "{:?}", observed().rules);
    let ill: Vec<String> = observed()
        .rules
        .iter()
        .filter(|rule| rule.health != "ok")
        .map(|rule| format!("{}: {}", rule.name, rule.health))
        .collect();
    assert!(ill.is_empty(), "{}", ill.join("\n"));
}

#[test]
fn every_recording_rule_gives_numbers() {
    let recorded = observed().rules.iter().filter(|rule| !rule.is_alert);
    let objections: Vec<String> = recorded.filter_map(|rule| observed().objection(&rule.name)).collect();
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

#[test]
fn recording_rules_say_level_metric_and_operations() {
    for rule in observed().rules.iter().filter(|rule| !rule.is_alert) {
        let parts: Vec<&str> = rule.name.split(':').collect();
        assert!(parts.len() == 3 && parts.iter().all(|part| !part.is_empty()), "{}", rule.name);
        assert!(parts[0].starts_with("instance"), "{} is not for each instance", rule.name);
    }
}

#[test]
fn no_alert_stands_while_all_is_well() {
    for rule in alerts().filter(|rule| rule.state != "inactive") {
        // On a machine that has no time for the server, requests are slow, and the alerts are right. They look at what is
        // exceeded by 5 % of requests; those of a few scrapes at the beginning and end are missing from their view.
        let bound = match rule.name.as_str() {
            "CacheServiceHighLatency" => Duration::from_millis(25),
            "CacheServiceElevatedLatency" => Duration::from_millis(10),
            _ => panic!("{} is {}: {}", rule.name, rule.state, rule.query),
        };
        let share = observed().durations.share_above(bound);
        assert!(share > 0.04, "{} is {}, but of our requests only {share} took that long", rule.name, rule.state);
        println!("{} is {} with reason: {share} of requests took longer than {bound:?}", rule.name, rule.state);
    }
}

#[test]
fn the_alerts_of_the_original_are_there_as_it_names_them() {
    for original in &runbook::ALERTS {
        let Some(ours) = alerts().find(|rule| rule.name == original.name) else {
            panic!("{} is missing", original.name);
        };
        assert_eq!(ours.for_secs, original.for_secs, "{}", original.name);
        assert_eq!(ours.labels.len(), 1, "{}: {:?}", original.name, ours.labels);
        assert_eq!(ours.labels["severity"], original.severity, "{}", original.name);
    }
}

#[test]
fn every_alert_says_what_it_is_about_and_where_to_read_on() {
    let document = runbook::document();
    let anchors = document.as_deref().map(runbook::anchors);
    for rule in alerts() {
        let annotation = |name: &str| rule.annotations.get(name).map_or("", String::as_str);
        assert!(!annotation("summary").is_empty(), "{} has no summary", rule.name);
        assert!(!annotation("description").is_empty(), "{} has no description", rule.name);
        let Some(anchor) = annotation("runbook").strip_prefix("docs/runbook.md#") else {
            panic!("{} points to {:?}", rule.name, annotation("runbook"));
        };
        assert_eq!(anchor, section_of(&rule.name), "{} has a section of its own name", rule.name);
        if let Some(anchors) = &anchors {
            assert!(
                anchors.iter().any(|known| known == anchor),
                "docs/runbook.md has no section #{anchor}: {anchors:?}"
            );
        }
    }
}

/// `high-latency` for `CacheServiceHighLatency`.
fn section_of(alert: &str) -> String {
    let words = alert.strip_prefix("CacheService").unwrap_or(alert).chars();
    let dashed: String =
        words.flat_map(|c| c.is_uppercase().then_some('-').into_iter().chain(c.to_lowercase())).collect();
    dashed.trim_start_matches('-').to_owned()
}

#[test]
fn alerts_look_at_our_job_only() {
    for rule in &observed().rules {
        let from_recorded = promql::metric_names(&rule.query).iter().all(|name| name.contains(':'));
        let selectors = rule.query.matches("job=\"cache-service\"").count();
        assert!(from_recorded || selectors >= 1, "{} selects from every job: {}", rule.name, rule.query);
    }
}
