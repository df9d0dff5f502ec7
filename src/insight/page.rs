//! The reports of all cores, written as one page: a scrape, the hot keys, the slow requests.
//!
//! To write a page takes from some hundred microseconds to some milliseconds, with compression the longer part, in which
//! a core would serve nobody. So none of it is done where requests are served: [`Bundle::write`] runs on a thread of its own.

use super::hot_keys::HotKey;
use super::slow_log::SlowRequest;
use super::{Report, by_core};
use crate::metrics::{Exposition, Merged, ProcessFacts, render};
use crate::protocol::answer::rfc3339;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::io::Write as _;

/// Most keys or requests on a page.
pub const ITEMS_MAX: usize = 1_000;
/// Keys or requests on a page if the client does not say.
pub const ITEMS_DEFAULT: usize = 50;

/// What a page is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The numbers of all cores, for Prometheus.
    Scrape(Exposition),
    /// The keys asked for most.
    HotKeys {
        /// Most keys to tell.
        limit: usize,
    },
    /// The latest requests that took long.
    SlowLog {
        /// Most requests to tell.
        limit: usize,
        /// From when on a request is slow, in milliseconds.
        threshold_ms: u64,
    },
}

/// What somebody wants of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// What it is to be about.
    pub subject: Subject,
    /// Whether it may be compressed.
    pub gzip: bool,
}

/// Pages that are still to be written, all from the same reports.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What all cores have answered, in their order.
    pub reports: Vec<Report>,
    /// What belongs to no core.
    pub facts: ProcessFacts,
    /// The pages that are wanted, each once.
    pub forms: Vec<Form>,
}

/// A page as it goes to the clients that want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenPage {
    /// What was wanted.
    pub form: Form,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes, compressed if that was allowed.
    pub body: Vec<u8>,
}

impl Bundle {
    /// Writes the pages.
    ///
    /// # Panics
    /// If a report answers another question than the page is about.
    #[must_use]
    pub fn write(&self) -> Vec<WrittenPage> {
        self.forms.iter().map(|form| self.write_one(*form)).collect()
    }

    fn write_one(&self, form: Form) -> WrittenPage {
        const JSON: &str = "application/json; charset=utf-8";
        let (content_type, body) = match form.subject {
            Subject::Scrape(exposition) => {
                (exposition.content_type(), scrape(&self.reports, self.facts, exposition).into_bytes())
            }
            Subject::HotKeys { limit } => (JSON, hot_keys(&self.reports, limit)),
            Subject::SlowLog { limit, threshold_ms } => (JSON, slow_log(&self.reports, limit, threshold_ms)),
        };
        let body = if form.gzip { compressed(&body) } else { body };
        WrittenPage { form, content_type, body }
    }
}

fn compressed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("a Vec takes whatever is written to it")
}

fn scrape(reports: &[Report], facts: ProcessFacts, exposition: Exposition) -> String {
    let shards = u16::try_from(reports.len()).expect("there are at most as many cores as a ShardId can name");
    let mut merged = Merged::new(shards, facts);
    for (core, report) in by_core(reports) {
        merged.add(core, report.numbers().expect("a scrape asks for numbers"));
    }
    render(merged, exposition)
}

/// The answer of `/v1/admin/hotkeys`.
#[derive(Serialize)]
struct HotKeysPage<'a> {
    seconds: f64,
    keys: Vec<HotKeyLine<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HotKeyLine<'a> {
    key: Cow<'a, str>,
    shard: u16,
    requests: u64,
    error_at_most: u64,
}

fn hot_keys<'a>(reports: &'a [Report], limit: usize) -> Vec<u8> {
    let mut all: Vec<(u16, &'a HotKey)> = Vec::new();
    let mut longest_ms = 0;
    for (core, report) in by_core(reports) {
        let Report::HotKeys { watched_ms, keys } = report else { panic!("hot keys were asked for") };
        longest_ms = longest_ms.max(*watched_ms);
        all.extend(keys.iter().map(|key| (core.0, key)));
    }
    all.sort_by(|(_, one), (_, other)| (Reverse(one.requests), &one.key).cmp(&(Reverse(other.requests), &other.key)));
    let line = |&(shard, key): &(u16, &'a HotKey)| HotKeyLine {
        key: String::from_utf8_lossy(&key.key),
        shard,
        requests: key.requests,
        error_at_most: key.error_at_most,
    };
    let keys = all.iter().take(limit).map(line).collect();
    json(&HotKeysPage { seconds: longest_ms as f64 / 1_000.0, keys })
}

/// The answer of `/v1/admin/slowlog`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SlowLogPage {
    threshold_ms: u64,
    requests: Vec<SlowLine>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SlowLine {
    timestamp: String,
    request_id: Option<String>,
    method: &'static str,
    route: &'static str,
    status: u16,
    key: Option<String>,
    shard: Option<u16>,
    core: u16,
    total_ms: f64,
    body_ms: f64,
    queue_ms: f64,
    lane_ms: f64,
    shard_ms: f64,
    write_ms: f64,
}

impl SlowLine {
    fn new(core: u16, request: &SlowRequest) -> Self {
        let (name, spent) = (request.name.as_deref(), &request.spent);
        let millis = |nanos: u64| (nanos / 1_000) as f64 / 1_000.0;
        Self {
            timestamp: String::from_utf8_lossy(&rfc3339(request.at)).into_owned(),
            request_id: name.map(|name| name.request_id.clone()),
            method: request.method.name(),
            route: request.route.template(),
            status: request.status,
            key: name.and_then(|name| Some(String::from_utf8_lossy(name.key.as_deref()?).into_owned())),
            shard: name.and_then(|name| name.shard).map(|shard| shard.0),
            core,
            total_ms: millis(request.total()),
            body_ms: millis(spent.body),
            queue_ms: millis(spent.queue),
            lane_ms: millis(spent.lane),
            shard_ms: millis(spent.shard),
            write_ms: millis(spent.write),
        }
    }
}

fn slow_log(reports: &[Report], limit: usize, threshold_ms: u64) -> Vec<u8> {
    let mut all: Vec<(u16, &SlowRequest)> = Vec::new();
    for (core, report) in by_core(reports) {
        let Report::SlowRequests(requests) = report else { panic!("slow requests were asked for") };
        all.extend(requests.iter().map(|request| (core.0, request)));
    }
    all.sort_by_key(|(_, request)| Reverse((request.at, request.total())));
    let requests = all.iter().take(limit).map(|(core, request)| SlowLine::new(*core, request)).collect();
    json(&SlowLogPage { threshold_ms, requests })
}

fn json(page: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(page).expect("strings and numbers always have a JSON text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::slow_log::{Name, Spent};
    use crate::metrics::CoreMetrics;
    use crate::protocol::route::{Method, Route};
    use crate::routing::ShardId;
    use crate::time::UnixMillis;
    use flate2::read::GzDecoder;
    use std::io::Read as _;

    fn written(reports: Vec<Report>, subject: Subject, gzip: bool) -> WrittenPage {
        let bundle = Bundle { reports, facts: ProcessFacts::default(), forms: vec![Form { subject, gzip }] };
        bundle.write().remove(0)
    }

    #[test]
    fn a_compressed_scrape_is_the_same_scrape() {
        let page = |gzip| {
            let reports = vec![Report::Numbers(Box::<CoreMetrics>::default()); 2];
            written(reports, Subject::Scrape(Exposition::OpenMetrics), gzip)
        };
        let (plain, packed) = (page(false), page(true));
        assert!(packed.form.gzip && packed.content_type == plain.content_type);
        assert!(packed.body.len() * 5 < plain.body.len(), "{} of {}", packed.body.len(), plain.body.len());
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain.body);
    }

    #[test]
    fn the_hottest_keys_of_all_shards_come_first() {
        let key = |key: &str, requests| HotKey { key: key.into(), requests, error_at_most: 1 };
        let reports = vec![
            Report::HotKeys { watched_ms: 1_500, keys: vec![key("b", 5), key("c\"", 9)] },
            Report::HotKeys { watched_ms: 1_000, keys: vec![key("a", 5), key("d", 1)] },
        ];
        let page = written(reports, Subject::HotKeys { limit: 3 }, false);
        assert_eq!(
            String::from_utf8(page.body).unwrap(),
            r#"{"seconds":1.5,"keys":[{"key":"c\"","shard":0,"requests":9,"errorAtMost":1},"#.to_owned()
                + r#"{"key":"a","shard":1,"requests":5,"errorAtMost":1},{"key":"b","shard":0,"requests":5,"errorAtMost":1}]}"#
        );
    }

    #[test]
    fn the_latest_slow_requests_come_first_with_where_their_time_went() {
        let request = |at, name| SlowRequest {
            at: UnixMillis(at),
            method: Method::Put,
            route: Route::Kv,
            status: 201,
            spent: Spent { body: 0, queue: 1_500_000, lane: 20_000, shard: 3_000, write: 999 },
            name,
        };
        let name = Name { request_id: "r".into(), key: Some(b"k".to_vec()), shard: Some(ShardId(3)) };
        let reports = vec![
            Report::SlowRequests(vec![request(1_000, Some(Box::new(name)))]),
            Report::SlowRequests(vec![request(2_000, None), request(500, None)]),
        ];
        let page = written(reports, Subject::SlowLog { limit: 2, threshold_ms: 10 }, false);
        let page: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
        assert_eq!((&page["thresholdMs"], page["requests"].as_array().unwrap().len()), (&10.into(), 2));
        let (first, second) = (&page["requests"][0], &page["requests"][1]);
        assert_eq!((&first["timestamp"], &first["key"]), (&"1970-01-01T00:00:02.000Z".into(), &().into()));
        assert_eq!((&second["key"], &second["requestId"], &second["core"]), (&"k".into(), &"r".into(), &0.into()));
        assert_eq!((&second["queueMs"], &second["laneMs"]), (&1.5.into(), &0.02.into()));
        assert_eq!((&second["shardMs"], &second["writeMs"]), (&0.003.into(), &0.0.into()));
        assert_eq!((&second["totalMs"], &second["shard"]), (&1.523.into(), &3.into()));
        assert_eq!((&second["bodyMs"], &second["status"]), (&0.0.into(), &201.into()));
    }
}
