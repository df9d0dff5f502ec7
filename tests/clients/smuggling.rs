//! Requests that a proxy and a server might read differently. Whatever a proxy lets through, every client behind it,
//! and the client that sent it, must get its own answers and nobody else's.

use crate::probes::{Hidden, PROBE_ID, SMUGGLED_ID, SMUGGLED_ROUTE, probes};
use crate::proxies::{Kind, Proxy};
use crate::reader::Reader;
use crate::support::Server;
use std::time::Duration;

/// What follows a probe on its connection.
const FOLLOWER: &str = "follower";
/// Other clients, who share the proxy's one connection upstream with the probe.
const OTHERS: [&str; 3] = ["other-1", "other-2", "other-3"];
/// How long proxy and server wait for the rest of a probe that turns out to be incomplete.
const SHORT: Duration = Duration::from_millis(400);

/// Each key's value names it, and each request's ID is its key.
fn request(key: &str) -> String {
    format!("GET /v1/kv/{key}?raw=true HTTP/1.1\r\nHost: cache\r\nX-Request-ID: {key}\r\n\r\n")
}

fn value(key: &str) -> String {
    format!("the value of {key}")
}

#[track_caller]
fn nobody_gets_an_answer_of_somebody_else(kind: Kind) {
    let stalled_ms = SHORT.as_millis().to_string();
    let server = Server::start(&[("SHARDS", "1"), ("REQUEST_TIMEOUT_MS", &stalled_ms)]);
    for key in OTHERS.into_iter().chain([FOLLOWER]) {
        server.client().put_bytes(key, "text/plain", value(key).as_bytes()).expect_status(201);
    }
    let proxy = Proxy::start(kind, server.address(), 1, SHORT);
    let (mut forwarded, mut smuggled) = (0, 0);
    let all = [Hidden::Request, Hidden::Prefix].map(probes).concat();
    for (what, probe) in &all {
        let own_answers = send_and_read(&proxy, what, probe);
        forwarded += usize::from(own_answers.contains(&PROBE_ID.to_owned()));
        for other in OTHERS {
            check_other(&proxy, what, other);
        }
        // Proxies drop a connection that brings more answers than they expect. That saves their clients, and not us:
        // whatever the server has taken for a request, the proxy must have taken for one.
        smuggled += own_answers.iter().filter(|id| *id == SMUGGLED_ID).count();
        assert_eq!(hidden_requests_seen(&server), smuggled, "{what}: the server has seen what the proxy did not send");
    }
    println!("{kind:?}: {forwarded} of {} probes came back from the server", all.len());
    assert!(forwarded > 5, "this is about what the proxy lets through, and that is {forwarded} probes");
}

/// How many of the hidden requests the server has answered so far.
fn hidden_requests_seen(server: &Server) -> usize {
    let scrape = server.metrics();
    let counts = scrape.all("http_request_duration_seconds_count");
    let hidden = counts.iter().filter(|(labels, _)| labels.get("route").is_some_and(|route| route == SMUGGLED_ROUTE));
    hidden.map(|(_, count)| *count as usize).sum()
}

/// Sends a probe and a request behind it; gives the IDs of the answers, in order.
#[track_caller]
fn send_and_read(proxy: &Proxy, what: &str, probe: &[u8]) -> Vec<String> {
    let mut connection = Reader::open(proxy.address());
    let mut bytes = probe.to_vec();
    bytes.extend_from_slice(request(FOLLOWER).as_bytes());
    // The proxy may have refused and closed before it has read all.
    connection.send(&bytes);
    let mut ids = Vec::new();
    while let Some(reply) = connection.next(false) {
        let body = connection.body(&reply);
        let text = String::from_utf8_lossy(body);
        match reply.request_id.as_str() {
            // The proxy's own words, or those of a server that could not read the ID.
            "" => assert!(reply.status >= 400, "{what}: {reply:?}, {text}"),
            PROBE_ID => assert!(!ids.contains(&reply.request_id), "{what}: two answers to the probe: {text}"),
            // A proxy may take what is behind the probe for a second request, if the server does so, too.
            SMUGGLED_ID => assert!(text.contains("\"ready\""), "{what}: {text}"),
            FOLLOWER => assert_eq!((reply.status, &*text), (200, value(FOLLOWER).as_str()), "{what}"),
            // Made up by the server, as it refused the head that might have named one.
            _ => assert!((400..500).contains(&reply.status), "{what}: somebody else's answer: {reply:?}, {text}"),
        }
        ids.push(reply.request_id);
        if ids.last().is_some_and(|id| id == FOLLOWER) {
            break;
        }
    }
    let order = [PROBE_ID, SMUGGLED_ID, FOLLOWER];
    let places: Vec<_> = ids.iter().filter_map(|id| order.iter().position(|known| known == id)).collect();
    assert!(places.is_sorted(), "{what}: answers out of order: {ids:?}");
    ids
}

/// Another client asks through the same proxy, over the upstream connection that the probe has used, if it lives.
#[track_caller]
fn check_other(proxy: &Proxy, what: &str, key: &str) {
    let mut connection = Reader::open(proxy.address());
    assert!(connection.send(request(key).as_bytes()), "{what}: the proxy does not read");
    let reply = connection.next(false).unwrap_or_else(|| panic!("{what}: no answer to another client"));
    let text = String::from_utf8_lossy(connection.body(&reply));
    assert_eq!((reply.status, reply.request_id.as_str(), &*text), (200, key, value(key).as_str()), "after {what}");
}

#[test]
fn smuggling_through_nginx_desynchronises_nobody() {
    nobody_gets_an_answer_of_somebody_else(Kind::Nginx);
}

#[test]
fn smuggling_through_varnish_desynchronises_nobody() {
    nobody_gets_an_answer_of_somebody_else(Kind::Varnish);
}

#[test]
fn smuggling_through_haproxy_desynchronises_nobody() {
    nobody_gets_an_answer_of_somebody_else(Kind::HaProxy);
}
