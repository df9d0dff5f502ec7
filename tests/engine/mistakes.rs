//! Mistakes in bodies: whether the connection outlives them depends on whether it is known where the body ends.

use crate::cores::{Answer, Cores, Peer, get, head, put_json};
use cache_service::engine::rules::Settings;
use cache_service::limits::DISCARD_BYTES_MAX;
use cache_service::session::Flow;

fn small_values(settings: &mut Settings) {
    settings.max_item_bytes = 100;
}

/// Says `bytes` in two pieces, apart at `at`.
fn ask_split(cores: &mut Cores, peer: &mut Peer, bytes: &str, at: usize) -> Vec<Answer> {
    cores.say(peer, &bytes[..at]);
    cores.ask(peer, &bytes[at..])
}

fn chunked(path: &str, body: &str) -> String {
    let fields = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let half = body.len() / 2;
    let chunks = [&body[..half], &body[half..]].map(|data| format!("{:x}\r\n{data}\r\n", data.len())).concat();
    head("PUT", path, fields) + &chunks + "0\r\n\r\n"
}

/// The answer and the next request's are the same wherever the body is split.
#[test]
fn a_mistake_in_a_short_body_keeps_the_connection() {
    let long = format!("{{\"value\":\"{}\",\"ttlSec\":1}}", "x".repeat(200));
    let bad = "{\"value\":1,,\"ttlSec\":10,\"padding\":[1,2,3]}";
    for (body, status) in [(bad, 400), (&long, 413)] {
        for request in [put_json("k", body), chunked("/v1/kv/k", body)] {
            for at in 1..request.len() {
                let mut cores = Cores::with(1, small_values);
                let mut peer = cores.connect(0);
                let both = request.clone() + &get("/v1/kv/k");
                let answers = ask_split(&mut cores, &mut peer, &both, at);
                let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
                assert_eq!(statuses, [status, 404], "{request:?} apart at {at}");
                assert!(!answers[0].closes());
                assert_eq!(cores.flow(&peer), Flow::Reading);
                cores.assert_at_rest();
            }
        }
    }
}

/// The same for a batch and a counter.
#[test]
fn a_mistake_in_any_short_body_keeps_the_connection() {
    for path in ["batch/get", "batch/set", "batch/delete", "incr"] {
        let body = "{\"keys\":nothing of use,\"items\":{}}";
        let request = head("POST", &format!("/v1/kv/{path}"), &format!("Content-Length: {}\r\n", body.len())) + body;
        for at in [request.len() - 1, request.len() - 10, request.len() - body.len()] {
            let mut cores = Cores::new(1);
            let mut peer = cores.connect(0);
            let both = request.clone() + &get("/v1/kv/k");
            let answers = ask_split(&mut cores, &mut peer, &both, at);
            assert!(answers.iter().map(|answer| answer.status).eq([400, 404]), "{path}: {answers:?}");
            cores.assert_at_rest();
        }
    }
}

/// The peer is told, and what it still sends is not taken for a request.
fn assert_closed(cores: &mut Cores, peer: &mut Peer, answers: &[Answer], status: u16) {
    assert!(matches!(answers, [one] if one.status == status && one.closes()), "{answers:?}");
    assert_eq!(cores.flow(peer), Flow::Lingering);
    assert_eq!(cores.active_requests(0), 0);
    cores.say(peer, get("/v1/kv/k"));
    assert_eq!(cores.output_len(peer), 0);
}

#[test]
fn a_mistake_at_the_beginning_of_a_long_body_closes_the_connection() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    let len = DISCARD_BYTES_MAX + 1_000;
    let fields = format!("Content-Type: application/json\r\nContent-Length: {len}\r\n");
    let answers = cores.ask(&mut peer, head("PUT", "/v1/kv/k", &fields) + "{,");
    assert_closed(&mut cores, &mut peer, &answers, 400);
}

#[test]
fn a_chunked_body_with_a_mistake_that_goes_on_and_on_closes_the_connection() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    let fields = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let answers = cores.ask(&mut peer, head("PUT", "/v1/kv/k", fields) + "2\r\n{,\r\n");
    assert!(matches!(&answers[..], [one] if one.status == 400 && !one.closes()), "{answers:?}");
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for _ in 0..DISCARD_BYTES_MAX / 0x1000 {
        assert_eq!(cores.flow(&peer), Flow::Reading);
        cores.say(&mut peer, &chunk);
    }
    cores.say(&mut peer, &chunk);
    assert_eq!((cores.flow(&peer), cores.output_len(&peer)), (Flow::Lingering, 0));
}

#[test]
fn a_mistake_in_the_framing_closes_the_connection() {
    let fields = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let request = head("PUT", "/v1/kv/k", fields) + "5\r\n{\"valXX\r\n0\r\n\r\n" + &get("/v1/kv/k");
    for at in 1..request.len() {
        let mut cores = Cores::new(1);
        let mut peer = cores.connect(0);
        let answers = ask_split(&mut cores, &mut peer, &request, at);
        assert_closed(&mut cores, &mut peer, &answers, 400);
    }
}

/// Whether the body comes after the refusal cannot be known.
#[test]
fn a_refusal_of_a_peer_that_waits_to_be_invited_closes_the_connection() {
    let expect = "Expect: 100-continue\r\nContent-Type: application/json\r\n";
    let refused = [
        (head("PUT", "/v1/kv/k", &format!("{expect}Content-Length: 40000000\r\n")), 413),
        (head("PUT", "/v1/kv/k?ttlSec=x", &format!("{expect}Content-Length: 11\r\n")), 400),
        (head("PUT", "/v1/nothing", &format!("{expect}Transfer-Encoding: chunked\r\n")), 404),
        (format!("PUT /v1/kv/k HTTP/1.1\r\nHost: test\r\n{expect}Content-Length: 11\r\n\r\n"), 401),
    ];
    for (request, status) in refused {
        let mut cores = Cores::new(1);
        let mut peer = cores.connect(0);
        let answers = cores.ask(&mut peer, request);
        assert_closed(&mut cores, &mut peer, &answers, status);
    }
}

#[test]
fn a_peer_that_was_invited_may_make_a_mistake_as_well() {
    let mut cores = Cores::new(1);
    let mut peer = cores.connect(0);
    let fields = "Expect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 11\r\n";
    assert!(matches!(&cores.ask(&mut peer, head("PUT", "/v1/kv/k", fields))[..], [one] if one.status == 100));
    let answers = cores.ask(&mut peer, String::from("{\"value\":,}") + &get("/v1/kv/k"));
    assert!(answers.iter().map(|answer| answer.status).eq([400, 404]), "{answers:?}");
}
