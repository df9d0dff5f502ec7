//! Connections that end in the middle of something.

use crate::ground::Ground;
use crate::neighbours::beside;
use crate::sockets::{Ending, Rude, crowd, statuses, until_all};
use crate::support::TOKEN;
use std::time::Duration;

const UNLUCKY: usize = 200;
const PIPELINED: usize = 20;

#[test]
fn who_ends_his_side_after_his_requests_gets_every_answer() {
    let ground = Ground::new(&[]);
    let keys = [ground.store(0, "here", 10), ground.store(1, "there", 10), ground.store(1, "long", 100_000)];
    let get = |number: usize| format!("GET /v1/kv/{}?raw=true HTTP/1.1\r\nHost: t\r\n\r\n", keys[number % keys.len()]);
    let wire: String = (0..PIPELINED).map(get).collect();
    beside(&ground, |_| {
        let mut unlucky = crowd(ground.of_core(0), UNLUCKY);
        for rude in &mut unlucky {
            assert!(rude.push(wire.as_bytes()));
            rude.finish_sending();
        }
        for rude in unlucky {
            let ending = rude.ending();
            assert!(matches!(ending, Ending::Closed(_)), "{ending:?}");
            assert_eq!(statuses(ending.bytes()), [200; PIPELINED]);
        }
    });
}

#[test]
fn who_ends_his_side_within_a_request_is_not_answered_for_it() {
    let ground = Ground::new(&[]);
    let whole = "GET /v1/kv/absent HTTP/1.1\r\nHost: t\r\n\r\n";
    let put = format!(
        "PUT /v1/kv/half HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Length: 100\r\n\r\n{{\"value\""
    );
    beside(&ground, |_| {
        for half in ["GET /v1/kv/k HTT", &put] {
            let mut unlucky = crowd(ground.of_core(0), UNLUCKY);
            for rude in &mut unlucky {
                assert!(rude.push(format!("{whole}{half}").as_bytes()));
                rude.finish_sending();
            }
            for rude in unlucky {
                let ending = rude.ending();
                assert!(matches!(ending, Ending::Closed(_)), "{ending:?}");
                assert_eq!(statuses(ending.bytes()), [404], "{half}");
            }
        }
    });
    ground.client_of(0).get("half").expect_status(404);
}

#[test]
fn a_reset_within_a_body_changes_nothing() {
    let ground = Ground::new(&[]);
    let (here, there) = (ground.key(0, "here"), ground.key(1, "there"));
    let put = |key: &str, media: &str, body: &str| {
        let length = body.len() + 1_000;
        let head = format!("PUT /v1/kv/{key} HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\n");
        format!("{head}Content-Type: {media}\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let long = "x".repeat(300_000);
    let json = format!("{{\"value\":\"{long}");
    let batch = format!(
        "POST /v1/kv/batch/set HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Length: 1000\r\n\r\n\
         {{\"items\":[{{\"key\":\"{here}\",\"value\":1}},{{\"key\":\"{there}\",\"value\":2}}"
    );
    let chunked = format!(
        "PUT /v1/kv/{there} HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n\
         b\r\n{{\"value\":12\r\n"
    );
    let wires =
        [put(&here, "a/b", "short"), put(&there, "a/b", &long), put(&there, "application/json", &json), batch, chunked];
    beside(&ground, |neighbours| {
        for wire in &wires {
            let mut unlucky = crowd(ground.of_core(0), UNLUCKY / 4);
            until_all("the half is sent", &mut unlucky, Duration::from_millis(5), |rude| {
                let rest = &wire.as_bytes()[rude.sent..];
                assert!(rude.push(rest), "nothing is refused");
                rude.sent == wire.len()
            });
            neighbours.are_served();
            unlucky.into_iter().for_each(Rude::reset);
        }
    });
    let mut client = ground.client_of(1);
    client.get(&here).expect_status(404);
    client.get(&there).expect_status(404);
}

#[test]
fn a_reset_within_an_answer_takes_nothing_with_it() {
    let ground = Ground::new(&[]);
    let keys = [ground.store(0, "here", 3_000_000), ground.store(1, "there", 3_000_000), ground.store(1, "short", 100)];
    beside(&ground, |_| {
        for key in &keys {
            let wire = format!("GET /v1/kv/{key}?raw=true HTTP/1.1\r\nHost: t\r\n\r\n").repeat(5);
            let mut unlucky = crowd(ground.of_core(0), UNLUCKY / 4);
            unlucky.iter_mut().for_each(|rude| assert!(rude.push(wire.as_bytes())));
            until_all("an answer begins", &mut unlucky, Duration::from_millis(5), |rude| rude.has_heard());
            unlucky.into_iter().for_each(Rude::reset);
        }
    });
    for key in &keys {
        ground.client_of(1).get(key).expect_status(200);
    }
}
