//! How the figures are told.

use crate::Row;
use crate::clients::Workload;
use crate::options::Options;
use crate::tally::Tally;
use clap::ValueEnum as _;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What was run, and all of its figures.
pub fn json(options: &Options, parts: &[(Workload, Vec<Row>)]) -> Value {
    let of_row = |row: &Row| {
        let open: Vec<Value> = row
            .open
            .iter()
            .map(|(percent, tally)| json!({"load_percent": percent, "figures": figures(tally)}))
            .collect();
        json!({"shards": row.shards, "closed": figures(&row.closed), "open": open})
    };
    let of_part = |(workload, rows): &(Workload, Vec<Row>)| json!({"workload": workload, "rows": rows.iter().map(of_row).collect::<Vec<_>>()});
    json!({"setting": options.setting, "parts": parts.iter().map(of_part).collect::<Vec<_>>()})
}

fn figures(tally: &Tally) -> Value {
    json!({
        "answers": tally.answers(),
        "refused": tally.refused,
        "foreign_share": foreign_share(tally),
        "messages": tally.per_answer(tally.traffic.messages),
        "bytes": tally.per_answer(tally.traffic.bytes),
        "cache_lines": tally.per_answer(tally.traffic.lines),
        "doorbells": tally.per_answer(tally.doorbells),
        "sleeps": tally.per_answer(tally.sleeps),
        "cpu_ns": tally.nanos_per_answer(),
        "busiest_core": tally.busiest(),
        "requests_per_second": 1e9 / tally.nanos_between_answers(),
        "p50_us": tally.latency_us(50.0),
        "p99_us": tally.latency_us(99.0),
    })
}

fn foreign_share(tally: &Tally) -> f64 {
    tally.foreign as f64 / tally.keys.max(1) as f64
}

/// The same for people; ratios are to the first row of a table.
pub fn markdown(options: &Options, parts: &[(Workload, Vec<Row>)]) -> String {
    let mut text = String::new();
    let setting = serde_json::to_value(&options.setting).expect("the setting is plain numbers");
    let setting = setting.as_object().into_iter().flatten().map(|(name, value)| format!("{name} {value}"));
    add(&mut text, &format!("{}.", setting.collect::<Vec<_>>().join(", ")));
    for (workload, rows) in parts {
        add(&mut text, &format!("\n## {}\n", name(*workload)));
        busy(&mut text, rows);
        for place in 0..options.loads.len() {
            loaded(&mut text, rows, place);
        }
    }
    text
}

fn name(workload: Workload) -> String {
    let value = workload.to_possible_value().expect("no workload is hidden");
    let help = value.get_help().map(ToString::to_string).unwrap_or_default();
    format!("{}: {help}", value.get_name())
}

fn busy(text: &mut String, rows: &[Row]) {
    add(text, "Closed loop. For each request:\n");
    add(
        text,
        "| shards | foreign keys | messages | bytes | cache lines | doorbells | sleeps | CPU | rate | busiest core | refused |",
    );
    add(text, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for Row { shards, closed: it, .. } in rows {
        let first = &rows[0].closed;
        let cpu = it.nanos_per_answer() / first.nanos_per_answer();
        let rate = first.nanos_between_answers() / it.nanos_between_answers();
        let (foreign, busiest) = (foreign_share(it) * 100.0, it.busiest());
        let [messages, bytes, lines] =
            [it.traffic.messages, it.traffic.bytes, it.traffic.lines].map(|n| it.per_answer(n));
        let [doorbells, sleeps, refused] = [it.doorbells, it.sleeps, it.refused].map(|n| it.per_answer(n));
        let counted =
            format!("{foreign:.1} % | {messages:.2} | {bytes:.0} | {lines:.1} | {doorbells:.3} | {sleeps:.3}");
        add(
            text,
            &format!("| {shards} | {counted} | {cpu:.2} | {rate:.1} | {busiest:.2} | {:.1} % |", refused * 100.0),
        );
    }
}

fn loaded(text: &mut String, rows: &[Row], place: usize) {
    add(text, &format!("\nOpen loop at {} % of that rate. For each request:\n", rows[0].open[place].0));
    add(text, "| shards | doorbells | sleeps | CPU | busiest core | p50, µs | p99, µs |");
    add(text, "| --- | --- | --- | --- | --- | --- | --- |");
    for Row { shards, open, .. } in rows {
        let it = &open[place].1;
        let cpu = it.nanos_per_answer() / rows[0].closed.nanos_per_answer();
        let [doorbells, sleeps] = [it.doorbells, it.sleeps].map(|n| it.per_answer(n));
        let [half, most] = [50.0, 99.0].map(|percent| it.latency_us(percent));
        let busiest = it.busiest();
        add(
            text,
            &format!("| {shards} | {doorbells:.3} | {sleeps:.3} | {cpu:.2} | {busiest:.2} | {half:.1} | {most:.1} |"),
        );
    }
}

fn add(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes all that is written");
}
