//! The page at `/docs`: its files, how they may be kept, and what it must not be used for.

use crate::support::Server;
use crate::support::client::Request;

/// Where the page's scripts and styles are.
fn files(page: &str) -> Vec<String> {
    let links = |attribute: &'static str| page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
    let own = |link: &&str| link.starts_with("docs/");
    links("src=\"").chain(links("href=\"")).filter(own).map(|link| format!("/{link}")).collect()
}

#[test]
fn every_file_of_the_page_is_served_whole_typed_and_tagged() {
    let server = Server::with_shards(2);
    let mut client = server.client_with(None);
    let page = client.get_path("/docs").expect_status(200);
    let files = files(page.text());
    assert!(files.len() >= 4, "{files:?}");
    for file in &files {
        let answer = client.get_path(file).expect_status(200);
        assert_eq!(answer.required("X-Content-Type-Options"), "nosniff");
        let media = answer.required("Content-Type");
        let expected = match file.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        };
        assert_eq!(media, expected, "{file}");
        let is_versioned = file.contains("swagger-ui-5");
        assert_eq!(answer.required("Cache-Control").contains("immutable"), is_versioned, "{file}");
        let head = client.send(&Request { method: "HEAD", target: file, ..Request::default() }).expect_status(200);
        assert_eq!(head.required("Content-Length"), answer.body.len().to_string());
        let tag = answer.required("ETag");
        let unchanged = client.get_with(file, &[("If-None-Match", tag)]).expect_status(304);
        assert_eq!(unchanged.required("ETag"), tag);
        client.get_with(file, &[("If-None-Match", "\"0000000000000000\"")]).expect_status(200);
    }
    client.get_path("/docs/nothing.js").expect_status(404);
    client.get_path("/docs/").expect_status(404);
}

#[test]
fn the_page_is_locked_in_and_takes_nothing_from_its_address() {
    let server = Server::with_shards(1);
    let mut client = server.client_with(None);
    let page = client.get_path("/docs").expect_status(200);
    let policy = page.required("Content-Security-Policy");
    for directive in ["default-src 'none'", "script-src 'self';", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(directive), "{directive} is not in {policy}");
    }
    assert_eq!(page.required("Referrer-Policy"), "no-referrer");
    assert_eq!(page.required("X-Frame-Options"), "DENY");
    let asked = client.get_path("/docs?url=https://example.com/evil.json&configUrl=//example.com").expect_status(200);
    assert_eq!(asked.body, page.body);
}

#[test]
fn a_stored_page_is_given_out_in_a_sandbox() {
    let server = Server::with_shards(1);
    let mut client = server.client();
    client.put_bytes("page", "text/html", b"<script>alert(1)</script>").expect_status(201);
    let answer = client.get("page?raw=true").expect_status(200);
    assert_eq!(answer.required("Content-Security-Policy"), "default-src 'none'; sandbox");
    assert_eq!(answer.required("X-Content-Type-Options"), "nosniff");
}

#[test]
fn large_files_are_pipelined_in_order_between_other_answers() {
    let server = Server::with_shards(2);
    let page = server.client().get_path("/docs").expect_status(200);
    let files = files(page.text());
    let script = files.iter().find(|file| file.contains("swagger-ui-5") && file.ends_with(".js")).expect("a script");
    let expected = server.client().get_path(script).body;
    assert!(expected.len() > 1_000_000, "{}", expected.len());
    let mut connection = server.connect();
    let ask = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    connection.send([ask("/v1/kv/absent"), ask(script), ask("/healthz"), ask(script), ask("/docs")].concat());
    assert_eq!(connection.answer().status, 404);
    assert!(connection.answer().body == expected, "the script has changed on its way");
    assert_eq!(connection.answer().json()["status"], "ok");
    assert!(connection.answer().body == expected, "the script has changed on its way");
    assert_eq!(connection.answer().body, page.body);
    connection.assert_open();
    let labels = [("method", "GET"), ("route", "/docs"), ("status_code", "200")];
    let counted = || server.metrics().sum_where("http_request_duration_seconds_count", &labels);
    crate::support::eventually_equal("answers under /docs", &5.0, counted);
    crate::support::eventually_equal("requests in progress", &0.0, || {
        server.metrics().sum_where("http_active_requests", &[])
    });
}
