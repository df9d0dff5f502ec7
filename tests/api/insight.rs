//! What operators ask of a running server: hot keys, slow requests, numbers of cores, compressed scrapes.

use crate::support::client::Request;
use crate::support::{Client, Launch, Server, TOKEN, eventually};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::fs;
use std::io::Read as _;
use std::thread::sleep;
use std::time::Duration;

fn admin(client: &mut Client, page: &str) -> Value {
    client.get_path(&format!("/v1/admin/{page}")).expect_status(200).json()
}

fn list<'p>(page: &'p Value, name: &str) -> &'p Vec<Value> {
    page[name].as_array().expect("a list")
}

#[test]
fn the_hottest_keys_of_all_shards_are_told_hottest_first() {
    let server = Server::with_shards(3);
    let mut client = server.client();
    for n in 1..=20 {
        client.put_value(&format!("k{n}%22"), "1").expect_status(201);
        for _ in 0..n {
            client.get(&format!("k{n}%22")).expect_status(200);
        }
    }
    let page = admin(&mut client, "hotkeys?limit=3");
    let keys = list(&page, "keys");
    let told: Vec<_> = keys.iter().map(|key| (key["key"].as_str(), key["requests"].as_u64())).collect();
    assert_eq!(told, [(Some("k20\""), Some(21)), (Some("k19\""), Some(20)), (Some("k18\""), Some(19))]);
    assert!(keys.iter().all(|key| key["errorAtMost"] == 0 && key["shard"].as_u64() < Some(3)), "{page}");
    assert!(page["seconds"].as_f64() > Some(0.0));
    assert_eq!(list(&admin(&mut client, "hotkeys"), "keys").len(), 20);
}

#[test]
fn admin_pages_need_a_token_even_where_reads_do_not() {
    let server = Server::with_shards(2);
    for page in ["hotkeys", "slowlog"] {
        let target = format!("/v1/admin/{page}");
        server.client_with(None).get_path(&target).expect_status(401);
        server.client_with(Some("wrong")).get_path(&target).expect_status(401);
        for limit in ["0", "1001", "x"] {
            server.client().get_path(&format!("{target}?limit={limit}")).expect_status(400);
        }
    }
    assert_eq!(server.metrics().sum("cache_auth_failures_total"), 4.0);
}

#[test]
fn a_slow_request_is_told_with_where_its_time_went() {
    let server = Server::start(&[("SHARDS", "2"), ("SLOW_REQUEST_MS", "0")]);
    let mut client = server.client();
    let name = [("X-Request-ID", "the-slow-one")];
    client.put_with("slow", r#"{"value":1}"#, &name).expect_status(201);
    let page = admin(&mut client, "slowlog");
    assert_eq!(page["thresholdMs"], 0);
    let put = list(&page, "requests").iter().find(|it| it["requestId"] == "the-slow-one").expect("the PUT is told");
    assert_eq!((&put["method"], &put["route"], &put["status"]), (&"PUT".into(), &"/v1/kv/:key".into(), &201.into()));
    assert_eq!(put["key"], "slow");
    let millis = |part: &str| put[part].as_f64().expect(part);
    let parts: f64 = ["bodyMs", "queueMs", "laneMs", "shardMs", "writeMs"].map(millis).iter().sum();
    assert!((millis("totalMs") - parts).abs() < 0.01, "{put}");
    assert!(millis("shardMs") > 0.0, "{put}");
    for n in 0..20 {
        let key = format!("k{n}");
        client.put_value(&key, "1").expect_status(201);
    }
    let page = admin(&mut client, "slowlog?limit=100");
    let puts = || list(&page, "requests").iter().filter(|it| it["method"] == "PUT");
    let is_local = |it: &&Value| it["shard"] == it["core"];
    assert!(puts().filter(is_local).count() > 2 && puts().filter(|it| !is_local(it)).count() > 2, "{page}");
    assert!(puts().filter(is_local).all(|it| it["laneMs"] == 0.0), "{page}");
    assert!(puts().filter(|it| !is_local(it)).all(|it| it["laneMs"].as_f64() > Some(0.0)), "{page}");
    assert!(server.metrics().sum("cache_slow_requests_total") >= 1.0);
}

/// Who takes his time to send a body is not slow on our account, and cannot push others out of the log.
#[test]
fn a_slow_client_is_no_slow_request() {
    let server = Server::start(&[("SHARDS", "1"), ("SLOW_REQUEST_MS", "100")]);
    let mut connection = server.connect();
    connection.send(format!("PUT /v1/kv/k HTTP/1.1\r\nHost: h\r\nX-API-Token: {TOKEN}\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n12"));
    sleep(Duration::from_millis(250));
    connection.send("34");
    connection.answer().expect_status(201);
    assert_eq!(list(&admin(&mut server.client(), "slowlog"), "requests").len(), 0);
    let sum = server.metrics().sum_where("http_request_duration_seconds_sum", &[("status_code", "201")]);
    assert!(sum > 0.2, "the duration counts all the same: {sum}");
}

/// Found by a reviewer: who asks for a long value, does not read it, and asks for much else behind it, filled the log.
#[test]
fn what_waits_behind_an_answer_that_is_not_read_is_no_slow_request() {
    let server = Server::start(&[("SHARDS", "2"), ("SLOW_REQUEST_MS", "100")]);
    let mut client = server.client();
    for n in 0..4 {
        client.put_bytes(&format!("long-{n}"), "x/y", &vec![7; 8 << 20]).expect_status(201);
    }
    client.put_value("short", "1").expect_status(201);
    let get = |key: &str| format!("GET /v1/kv/{key}?raw=true HTTP/1.1\r\nHost: h\r\n\r\n");
    for n in 0..4 {
        let mut connection = server.connect();
        connection.send(get(&format!("long-{n}")) + &get("short").repeat(60));
        sleep(Duration::from_millis(400));
        assert_eq!(connection.answer().expect_status(200).body.len(), 8 << 20);
        for _ in 0..60 {
            assert_eq!(connection.answer().expect_status(200).body, b"1");
        }
    }
    assert_eq!(list(&admin(&mut client, "slowlog"), "requests").len(), 0);
}

#[test]
fn the_limit_of_slow_requests_follows_a_reload() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    fs::write(&config, "slow_request_ms = 3600000\n").expect("a file");
    let server = Launch::new(&[]).args(&["--config", config.to_str().expect("text")]).start();
    server.client().get("k").expect_status(404);
    assert_eq!(list(&admin(&mut server.client(), "slowlog"), "requests").len(), 0);
    fs::write(&config, "slow_request_ms = 0\nmetrics_interval_ms = 20\n").expect("a file");
    server.signal(libc::SIGHUP);
    eventually("everything is slow now", || {
        server.client().get("k").expect_status(404);
        (!list(&admin(&mut server.client(), "slowlog"), "requests").is_empty()).then_some(())
    });
    assert!(!server.log_lines().iter().any(|line| line.contains("until a restart")), "{:?}", server.log_lines());
}

#[test]
fn a_scrape_is_compressed_for_who_allows_it() {
    let server = Server::with_shards(4);
    let mut client = server.client_with(None);
    let packed = client.get_with("/metrics", &[("Accept-Encoding", "deflate, gzip;q=0.9")]).expect_status(200);
    assert_eq!(packed.required("Content-Encoding"), "gzip");
    let mut text = String::new();
    GzDecoder::new(&packed.body[..]).read_to_string(&mut text).expect("gzip");
    assert!(text.contains("\nmemory_budget_bytes 268435456") && text.len() > 5 * packed.body.len(), "{text}");
    for refused in ["identity", "gzip;q=0", "br"] {
        let plain = client.get_with("/metrics", &[("Accept-Encoding", refused)]).expect_status(200);
        assert_eq!(plain.header("Content-Encoding"), None);
        assert!(plain.text().contains("# HELP"));
    }
    let headers = &[("Accept-Encoding", "gzip"), ("Accept", "application/openmetrics-text;version=1.0.0")];
    let open = client.get_with("/metrics", headers).expect_status(200);
    assert!(open.required("Content-Type").starts_with("application/openmetrics-text"));
    let request = Request { method: "HEAD", target: "/metrics", headers, ..Request::default() };
    assert!(client.send(&request).expect_status(200).body.is_empty());
}

#[test]
fn every_core_tells_what_it_did() {
    let server = Server::start(&[("SHARDS", "2"), ("METRICS_INTERVAL_MS", "50")]);
    let mut client = server.client();
    for n in 0..200 {
        client.put_value(&format!("k{n}"), "1").expect_status(201);
    }
    let metrics = server.metrics();
    let (local, forwarded) =
        (metrics.sum("cache_local_operations_total"), metrics.sum("cache_forwarded_requests_total"));
    assert_eq!(local + forwarded, 200.0);
    assert!(local > 50.0 && forwarded > 50.0, "{local} {forwarded}");
    assert_eq!(metrics.sum("cache_core_requests_total"), 200.0, "the scrape itself is not answered yet");
    assert!(metrics.sum("cache_core_cpu_seconds_total") > 0.0);
    let busiest = || {
        let metrics = server.metrics();
        let busy = metrics.all("cache_core_busy_ratio");
        assert!(busy.len() == 2 && busy.iter().all(|(_, ratio)| (0.0..=1.0).contains(ratio)), "{busy:?}");
        busy.iter().map(|(_, ratio)| *ratio).fold(0.0, f64::max)
    };
    eventually("a core is seen at work", || {
        (0..200).for_each(|n| drop(client.get(&format!("k{n}"))));
        (busiest() > 0.02).then_some(())
    });
    assert_eq!(metrics.all("cache_lane_depth").len(), 6);
}

#[test]
fn lost_log_lines_are_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    fs::write(&config, "metrics_interval_ms = 20\n").expect("a file");
    let server = Launch::new(&[("SHARDS", "1")]).args(&["--config", config.to_str().expect("text")]).start();
    assert_eq!(server.metrics().single("cache_log_lines_dropped_total"), 0.0);
    fs::write(&config, "metrics_interval_ms = 20\nlog_file = \"/dev/full\"\n").expect("a file");
    server.signal(libc::SIGHUP);
    eventually("the file is in use", || {
        let reloads = server.metrics().sum_where("cache_config_reloads_total", &[("result", "success")]);
        (reloads > 0.0).then_some(())
    });
    server.client_with(None).put_value("k", "1").expect_status(401);
    eventually("the line that the disk did not take is counted", || {
        (server.metrics().single("cache_log_lines_dropped_total") >= 1.0).then_some(())
    });
}
