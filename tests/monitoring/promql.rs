//! As much of PromQL as it takes to find the names in an expression and to cut off its threshold.

use std::collections::BTreeSet;

/// Words that are followed by a list of labels.
const LABEL_LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that are neither a metric nor followed by a parenthesis at once.
const WORDS: [&str; 19] = [
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "atan2",
    "inf",
    "nan",
    "sum",
    "min",
    "max",
    "avg",
    "count",
    "topk",
    "bottomk",
    "quantile",
    "stddev",
    "group",
    "count_values",
];

/// The metrics that an expression asks for.
pub fn metric_names(expression: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if let Some(end) = ['{', '[', '"', '\''].contains(&first).then(|| enclosed(rest)) {
            rest = &rest[end..];
        } else if first.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
        } else if is_of_name(first) {
            let (name, after) = rest.split_at(rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()));
            rest = after.trim_start();
            let word = name.to_ascii_lowercase();
            if LABEL_LISTS.contains(&word.as_str()) {
                // group_left may stand without a list.
                rest = rest.strip_prefix('(').map_or(rest, |list| list.split_once(')').map_or("", |(_, after)| after));
            } else if !rest.starts_with('(') && !WORDS.contains(&word.as_str()) {
                names.insert(name.to_owned());
            }
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    names
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The length of what begins with a brace, a bracket or a quote, up to what closes it. Values may hold braces.
fn enclosed(text: &str) -> usize {
    let opening = text.as_bytes()[0];
    let closing = match opening {
        b'{' => b'}',
        b'[' => b']',
        quote => quote,
    };
    let mut at = 1;
    while at < text.len() {
        match text.as_bytes()[at] {
            byte if byte == closing => return at + 1,
            b'"' if opening == b'{' => at += enclosed(&text[at..]),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// An alert's expression without the threshold at its end, so that it gives data while all is well; any other
/// expression as it is.
pub fn without_threshold(expression: &str) -> &str {
    let expression = expression.trim();
    let digits = expression.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let compared = digits.trim_end().trim_end_matches(['<', '>', '=', '!']).trim_end();
    if digits.len() == expression.len() || compared.len() == digits.trim_end().len() { expression } else { compared }
}

/// The runbook writes `metric by (label)`, which PromQL has for sums only.
pub fn with_sum(expression: &str) -> String {
    let sums = expression.starts_with("sum");
    match expression.rsplit_once(" by (") {
        Some((what, labels)) if !sums => format!("sum({what}) by ({labels}"),
        _ => expression.to_owned(),
    }
}

/// The queries in a block of them: one on each line, further lines of one where a line cannot be its end or its beginning.
pub fn queries(block: &str) -> Vec<String> {
    let mut queries: Vec<String> = Vec::new();
    let mut open = false;
    for line in block.lines().map(|line| line.split(" #").next().unwrap_or_default().trim()) {
        if line.is_empty() || line.starts_with('#') {
            open = false;
            continue;
        }
        match queries.last_mut() {
            Some(query) if open && (is_incomplete(query) || continues(line)) => {
                query.push(' ');
                query.push_str(line);
            }
            _ => queries.push(line.to_owned()),
        }
        open = true;
    }
    queries
}

fn is_incomplete(query: &str) -> bool {
    let count = |c| query.matches(c).count();
    let last_word = query.rsplit([' ', ')']).next().unwrap_or_default();
    count('(') > count(')')
        || query.ends_with(['+', '-', '*', '/', '%', '^', '<', '>', '='])
        || ["and", "or", "unless"].contains(&last_word)
}

fn continues(line: &str) -> bool {
    let first_word = line.split([' ', '(']).next().unwrap_or_default();
    line.starts_with([')', '+', '-', '*', '/', '%', '^', '<', '>', '=', '!'])
        || ["and", "or", "unless", "by", "without", "on", "ignoring"].contains(&first_word)
}

#[test]
fn names_are_found() {
    let found = |expression| metric_names(expression).into_iter().collect::<Vec<_>>();
    assert_eq!(found(r#"sum by (le) (rate(a_bucket{x="}[a",y!~"b"}[5m])) / on() (c) > 0.5e3"#), ["a_bucket", "c"]);
    assert_eq!(found("sum(rate(a_total[5m])) by (method, route)"), ["a_total"]);
    assert_eq!(found("a and ignoring (shard) sum without (shard) (l:m:o) < Inf"), ["a", "l:m:o"]);
    assert_eq!(found(r#"histogram_quantile(0.95, rate(a_bucket[5m] offset 1h))"#), ["a_bucket"]);
    assert_eq!(found(r#"absent(up{job="x"})"#), ["up"]);
}

#[test]
fn a_threshold_is_cut_off() {
    assert_eq!(without_threshold("sum(rate(a[5m])) / b > 0.05"), "sum(rate(a[5m])) / b");
    assert_eq!(without_threshold(r#"up{job="x"} == 0"#), r#"up{job="x"}"#);
    assert_eq!(without_threshold("sum(a) / on() (b)"), "sum(a) / on() (b)");
    assert_eq!(without_threshold("a + 1"), "a + 1");
}

#[test]
fn a_block_is_cut_into_its_queries() {
    let block = "# one\nsum(a) /\nsum(b)\n\nc\nrate(d[5m])\n# two\nsum by (x) (\n  e\n)\n> 0\nf # last\n";
    assert_eq!(queries(block), ["sum(a) / sum(b)", "c", "rate(d[5m])", "sum by (x) ( e ) > 0", "f"]);
    assert_eq!(with_sum("rate(a[5m]) by (reason)"), "sum(rate(a[5m])) by (reason)");
    assert_eq!(with_sum("sum(a) by (b)"), "sum(a) by (b)");
}
