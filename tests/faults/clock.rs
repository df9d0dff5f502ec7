//! A wall clock that is set while the server runs. Its monotonic clock goes on, as the kernel promises.

use crate::support::{Answer, Launch, Server, eventually};
use crate::tools;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Nobody waits for an answer for so long, and every step is longer.
const TOLERANCE_SECS: i64 = 60;
/// Where the clock is set, one after the other, as seconds from where it should be: an hour, a day back, a year, and where
/// a machine begins whose battery is empty; and where four digits for a year begin to be too few.
const STEPS_SECS: [i64; 6] = [3_600, -86_400, 31_536_000, -BACK_TO_1971_SECS, 7_900 * 31_536_000, 0];
/// From any moment of the years in which this runs to one in 1971 or later.
const BACK_TO_1971_SECS: i64 = 54 * 31_536_000;

/// A server whose wall clock goes by what a file says.
struct Stepped {
    server: Server,
    folder: TempDir,
}

impl Stepped {
    fn start() -> Self {
        let folder = TempDir::new().expect("a folder to work in");
        let offset = folder.path().join("offset");
        fs::write(&offset, "+0").expect("a file can be made");
        let (library, offset) = (faketime(), offset.to_str().expect("the path is text").to_owned());
        let server = Launch::new(&[
            ("SHARDS", "2"),
            ("LOG_LEVEL", "debug"),
            ("LD_PRELOAD", library.to_str().expect("the path is text")),
            ("FAKETIME_TIMESTAMP_FILE", &offset),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ])
        .start();
        Self { server, folder }
    }

    /// Sets the clock, and waits until every core says so, as each does within a tick.
    #[track_caller]
    fn set(&self, offset_secs: i64) {
        // A file that is only half written must not be read.
        let (new, offset) = (self.folder.path().join("new"), self.folder.path().join("offset"));
        fs::write(&new, format!("{offset_secs:+}")).expect("a file can be made");
        fs::rename(new, offset).expect("a file can be renamed");
        for _ in 0..16 {
            eventually("the date follows the clock", || {
                let answer = self.server.client().get_path("/healthz").expect_status(200);
                is_about(date(&answer), offset_secs).then_some(())
            });
        }
    }
}

/// Debian's library, wherever it is for this processor.
fn faketime() -> PathBuf {
    tools::command("faketime");
    let libraries = fs::read_dir("/usr/lib").expect("there are libraries").flatten();
    let library = |folder: PathBuf| folder.join("faketime/libfaketimeMT.so.1");
    libraries.map(|folder| library(folder.path())).find(|path| Path::exists(path)).expect("libfaketime is installed")
}

fn date(answer: &Answer) -> i64 {
    let date = httpdate::parse_http_date(answer.required("Date")).expect("a date");
    unix_secs(date)
}

fn unix_secs(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs()).expect("not so far")
}

/// Whether `secs` is now, by a clock that is wrong by `offset_secs`.
fn is_about(secs: i64, offset_secs: i64) -> bool {
    (secs - unix_secs(SystemTime::now()) - offset_secs).abs() < TOLERANCE_SECS
}

/// What a member of an answer says in RFC 3339, in seconds.
#[track_caller]
fn moment(answer: &Answer, member: &str) -> i64 {
    let text = answer.json()[member].as_str().unwrap_or_else(|| panic!("no {member}: {answer:?}")).to_owned();
    text.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{text}: {error}")).as_second()
}

#[test]
fn lifetimes_do_not_follow_the_wall_clock_and_dates_do() {
    let stepped = Stepped::start();
    let mut client = stepped.server.client();
    client.put("long", r#"{"value":1,"ttlSec":1800}"#).expect_status(201);
    for offset_secs in STEPS_SECS {
        let short = format!("short{offset_secs}");
        let put = client.put(&short, r#"{"value":1,"ttlSec":1}"#);
        assert!(matches!(put.status, 200 | 201), "{put:?}");
        stepped.set(offset_secs);
        // What lives for half an hour neither dies by an hour's step nor lives longer by a step back.
        let long = client.get_path("/v1/kv/long?includeMeta=true").expect_status(200);
        let left = long.json()["ttlSec"].as_i64().expect("whole seconds");
        assert!((1_800 - TOLERANCE_SECS..=1_800).contains(&left), "{left} s are left after {offset_secs:+} s");
        assert!(is_about(moment(&long, "expiresAt") - left, offset_secs), "{long:?} after {offset_secs:+} s");
        eventually("what lives for a second goes", || (client.get(&short).status == 404).then_some(()));
        // What is written now says so in the time that it is now.
        client.put("new", r#"{"value":1,"ttlSec":600}"#);
        let new = client.get_path("/v1/kv/new?includeMeta=true").expect_status(200);
        assert!(is_about(moment(&new, "updatedAt"), offset_secs), "{new:?} after {offset_secs:+} s");
        assert!(is_about(moment(&new, "expiresAt") - 600, offset_secs), "{new:?} after {offset_secs:+} s");
    }
}

#[test]
fn versions_conditions_and_the_log_go_on_over_a_step() {
    let stepped = Stepped::start();
    let mut client = stepped.server.client();
    let mut versions = vec![client.put_value("k", "0").expect_status(201).version()];
    for (n, offset_secs) in STEPS_SECS.into_iter().enumerate() {
        stepped.set(offset_secs);
        let condition = [("If-Match", versions.last().expect("there is one").as_str())];
        let next = client.put_with("k", &format!("{{\"value\":{n}}}"), &condition).expect_status(200).version();
        assert!(!versions.contains(&next), "{next} is given twice: {versions:?}");
        versions.push(next);
        stepped.server.log_line("a line with the new time", |line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            let moment = line["timestamp"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339");
            is_about(moment.as_second(), offset_secs)
        });
    }
    assert!(stepped.server.metrics().all("cache_entries_total").iter().any(|(_, entries)| *entries > 0.0));
}

#[test]
fn a_step_ends_no_connection_and_calls_nobody_late() {
    let stepped = Stepped::start();
    let (mut idle, mut half) = (stepped.server.connect(), stepped.server.connect());
    idle.assert_open();
    half.send(crate::wire::put("k", "abcd").trim_end_matches("cd"));
    for offset_secs in STEPS_SECS {
        stepped.set(offset_secs);
    }
    std::thread::sleep(Duration::from_millis(300));
    idle.assert_open();
    half.exchange("cd").expect_status(201);
}
