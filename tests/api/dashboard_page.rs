//! The page at `/dashboard`: its files, how they may be kept, and that what it draws with is what was published.

use crate::support::Server;
use crate::support::client::{Client, Request};
use crate::support::http::Answer;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Where uPlot is.
const UPLOT: &str = "third_party/uplot";

/// What stands between `before` and the next quotation mark, wherever that is in `text`.
fn quoted<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
}

fn file(client: &mut Client, path: &str) -> Answer {
    client.get_path(path).expect_status(200)
}

/// The page's files: those that it links to, and the modules that its scripts import.
fn files(client: &mut Client) -> BTreeSet<String> {
    let page = file(client, "/dashboard");
    let links = ["src=\"", "href=\""].into_iter().flat_map(|before| quoted(page.text(), before));
    let own = links.filter(|link| link.starts_with("dashboard/")).map(|link| format!("/{link}"));
    let mut open: Vec<String> = own.collect();
    let mut files = BTreeSet::new();
    while let Some(path) = open.pop() {
        let is_own_script = path.ends_with(".js") && !path.contains("uplot");
        if files.insert(path.clone()) && is_own_script {
            let script = file(client, &path);
            open.extend(quoted(script.text(), "from \"./").map(|module| format!("/dashboard/{module}")));
        }
    }
    files
}

#[test]
fn every_file_of_the_dashboard_is_served_whole_typed_and_tagged() {
    let server = Server::with_shards(2);
    let mut client = server.client_with(None);
    let files = files(&mut client);
    assert!(files.len() >= 11, "{files:?}");
    for path in &files {
        let answer = file(&mut client, path);
        let expected = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        };
        assert_eq!(answer.required("Content-Type"), expected, "{path}");
        assert_eq!(answer.required("X-Content-Type-Options"), "nosniff", "{path}");
        let is_versioned = path.contains("uplot-1");
        assert_eq!(answer.required("Cache-Control").contains("immutable"), is_versioned, "{path}");
        let head = client.send(&Request { method: "HEAD", target: path, ..Request::default() }).expect_status(200);
        assert_eq!(head.required("Content-Length"), answer.body.len().to_string(), "{path}");
        let tag = answer.required("ETag");
        client.get_with(path, &[("If-None-Match", tag)]).expect_status(304);
    }
    client.get_path("/dashboard/nothing.js").expect_status(404);
    client.get_path("/dashboard/").expect_status(404);
}

#[test]
fn the_dashboard_is_locked_in_as_the_other_page_is() {
    let server = Server::start(&[("SHARDS", "1"), ("READ_REQUIRES_AUTH", "true")]);
    let mut client = server.client_with(None);
    let [dashboard, docs] = ["/dashboard", "/docs"].map(|path| file(&mut client, path));
    for name in ["Content-Security-Policy", "Referrer-Policy", "X-Frame-Options", "Cross-Origin-Opener-Policy"] {
        assert_eq!(dashboard.required(name), docs.required(name), "{name}");
    }
    let asked = file(&mut client, "/dashboard?theme=dark&url=//example.com");
    assert_eq!(asked.body, dashboard.body);
}

#[test]
fn requests_for_the_dashboard_are_counted_under_its_route() {
    let server = Server::with_shards(1);
    let mut client = server.client_with(None);
    for path in ["/dashboard", "/dashboard/page.js", "/dashboard/theme.js"] {
        file(&mut client, path);
    }
    let labels = [("method", "GET"), ("route", "/dashboard"), ("status_code", "200")];
    let counted = || server.metrics().sum_where("http_request_duration_seconds_count", &labels);
    crate::support::eventually_equal("answers under /dashboard", &3.0, counted);
}

#[test]
fn what_it_draws_with_is_what_was_published() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(UPLOT);
    let readme = std::fs::read_to_string(folder.join("README.md")).expect("uPlot has a README");
    let names = ["LICENSE", "uPlot.iife.min.js", "uPlot.min.css"];
    let output = Command::new("sha256sum").args(names).current_dir(&folder).output().expect("there is sha256sum");
    let sums = String::from_utf8(output.stdout).expect("sums are text");
    assert_eq!(sums.lines().count(), names.len(), "{}", String::from_utf8_lossy(&output.stderr));
    for sum in sums.lines() {
        assert!(readme.contains(sum), "{UPLOT}/README.md does not tell {sum}");
    }
    let script = std::fs::read_to_string(folder.join(names[1])).expect("uPlot is text");
    let banner = script.lines().next().unwrap_or_default();
    let version = banner.split_once("(v").and_then(|(_, rest)| rest.split_once(')')).expect("a version").0;
    assert!(readme.contains(&format!("| Version | {version} |")), "the README is of another version than {version}");
}
