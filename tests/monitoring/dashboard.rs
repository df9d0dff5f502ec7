//! What the dashboard asks.

use crate::text_of;
use serde_json::Value;
use std::collections::BTreeSet;

/// The file.
pub const FILE: &str = "monitoring/grafana/dashboard.json";

#[track_caller]
fn dashboard() -> Value {
    serde_json::from_str(&text_of(FILE)).unwrap_or_else(|error| panic!("{FILE}: {error}"))
}

/// Every expression in it, as Prometheus would be asked with all instances chosen.
#[track_caller]
pub fn queries() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(&dashboard(), &mut found);
    found.iter().map(|query| query.replace("$__rate_interval", "5m").replace("$instance", ".+")).collect()
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => {
            found.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect(member, found));
        }
        _ => {}
    }
}

#[test]
fn the_dashboard_can_be_put_anywhere() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "cache-service");
    let variables: Vec<&Value> = dashboard["templating"]["list"].as_array().expect("variables").iter().collect();
    let names: Vec<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "instance"]);
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "two panels have the ID {}", panel["id"]);
        if panel["type"] == "row" {
            continue;
        }
        // A data source that only exists where the dashboard was made is the usual way for one to show nothing.
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        for target in panel["targets"].as_array().expect("targets") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            let query = target["expr"].as_str().expect("an expression");
            assert!(query.contains("$instance"), "{} does not follow the variable: {query}", panel["title"]);
        }
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        let without_unit = ["heatmap", "table"].iter().any(|kind| panel["type"] == *kind);
        assert!(unit.is_string() || without_unit, "{} has no unit", panel["title"]);
    }
    assert!(queries().iter().all(|query| !query.contains('$')), "a variable that the dashboard does not have");
}

#[test]
fn no_panel_covers_another() {
    let dashboard = dashboard();
    let mut cells = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let at = |side: &str| panel["gridPos"][side].as_u64().expect("a number");
        assert!(at("x") + at("w") <= 24, "{} is too wide", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{} covers another panel", panel["title"]);
            }
        }
    }
}
