//! A scrape as a map from series to value.

use super::client::Client;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The labels of a series.
pub type Labels = BTreeMap<String, String>;

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics {
    series: BTreeMap<(String, Labels), f64>,
    text: String,
}

impl Metrics {
    /// Scrapes a server, with no token.
    #[track_caller]
    pub fn scrape(address: SocketAddr) -> Self {
        let answer = Client::with_token(address, None).get_path("/metrics").expect_status(200);
        Self::parse(answer.text())
    }

    /// Reads Prometheus text; a series that appears twice is an error.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, labels, value) = parse_line(line);
            let previous = series.insert((name, labels), value);
            assert!(previous.is_none(), "series repeated in the scrape: {line}");
        }
        Self { series, text: text.to_owned() }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All series of a name with their labels.
    pub fn all(&self, name: &str) -> Vec<(&Labels, f64)> {
        self.series.iter().filter(|((n, _), _)| n == name).map(|((_, labels), value)| (labels, *value)).collect()
    }

    /// The one series of an unlabelled name.
    #[track_caller]
    pub fn single(&self, name: &str) -> f64 {
        match self.all(name)[..] {
            [(labels, value)] if labels.is_empty() => value,
            ref other => panic!("{name} is not one series without labels: {other:?}"),
        }
    }

    /// The sum over all series of a name; there must be one at least.
    #[track_caller]
    pub fn sum(&self, name: &str) -> f64 {
        let all = self.all(name);
        assert!(!all.is_empty(), "no series {name} in\n{}", self.text);
        all.iter().map(|(_, value)| value).sum()
    }

    /// The sum over the series of a name that have all these labels, 0 if there is none.
    pub fn sum_where(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        let fits = |labels: &Labels| wanted.iter().all(|(k, v)| labels.get(*k).is_some_and(|value| value == v));
        self.all(name).into_iter().filter(|(labels, _)| fits(labels)).map(|(_, value)| value).sum()
    }
}

#[track_caller]
fn parse_line(line: &str) -> (String, Labels, f64) {
    let name_end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = rest.strip_prefix('{').map_or_else(|| (Labels::new(), rest), |rest| parse_labels(rest, line));
    let value = rest.split_whitespace().next().unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("bad value: {line}"));
    (name.to_owned(), labels, value)
}

/// Labels up to the closing brace, and what follows it. Values with escaped quotes do not occur in this service.
#[track_caller]
fn parse_labels<'a>(text: &'a str, line: &str) -> (Labels, &'a str) {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(after) = rest.strip_prefix('}') {
            return (labels, after);
        }
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("bad labels: {line}"));
        let (value, after) = after.split_once('"').unwrap_or_else(|| panic!("bad labels: {line}"));
        labels.insert(name.to_owned(), value.to_owned());
        rest = after;
    }
}
