//! Clients that come in thousands.

use crate::ground::Ground;
use crate::neighbours::beside;
use crate::sockets::{Rude, crowd, statuses, until_all};
use crate::support::{eventually_equal, proc_fs};
use std::time::Duration;

const IDLE: usize = 10_000;
/// Memory for each idle connection, the allocator's own included.
const IDLE_BYTES_MAX: u64 = 4_096;
/// How many come and go in each kind of storm.
const STORM: usize = 3_000;
/// How many of them at once.
const SQUALL: usize = 300;
const REQUEST: &[u8] = b"GET /v1/kv/absent HTTP/1.1\r\nHost: t\r\n\r\n";

#[test]
fn ten_thousand_idle_connections_cost_their_memory_and_nothing_else() {
    let descriptors = proc_fs::raise_fd_limit();
    let needed = IDLE as u64 + 1_000;
    assert!(descriptors >= needed, "this test needs {needed} open files and may have {descriptors}: raise `ulimit -n`");
    let ground = Ground::new(&[("MAX_CONNECTIONS", &needed.to_string()), ("IDLE_TIMEOUT_MS", "3600000")]);
    beside(&ground, |neighbours| {
        let before = proc_fs::resident_bytes(ground.server.pid());
        let mut idle = crowd(ground.server.address(), IDLE);
        idle.iter_mut().for_each(|rude| assert!(rude.push(REQUEST)));
        until_all("each is answered", &mut idle, Duration::from_millis(20), |rude| rude.has_heard());
        neighbours.are_served();
        assert!(ground.sum("cache_connections") >= IDLE as f64);
        let each = proc_fs::resident_bytes(ground.server.pid()).saturating_sub(before) / IDLE as u64;
        println!("{each} bytes for each of {IDLE} idle connections");
        assert!(each < IDLE_BYTES_MAX, "{each} bytes for each idle connection");
    });
}

/// `STORM` connections do `act` and go; every one was accepted, and so forgotten.
fn storm(ground: &Ground, what: &str, act: impl Fn(Rude)) {
    let accepted = || ground.sum("cache_connections_accepted_total");
    let before = accepted();
    let mut scrapes = 0;
    for _ in 0..STORM / SQUALL {
        crowd(ground.of_core(0), SQUALL).into_iter().for_each(&act);
    }
    eventually_equal(what, &true, || {
        scrapes += 1;
        accepted() >= before + STORM as f64
    });
    println!("{what}: {STORM} connections, {scrapes} scrapes until all were accepted");
}

#[test]
fn storms_of_connections_pass() {
    let ground = Ground::new(&[("MAX_CONNECTIONS", "8000")]);
    let long = ground.store(1, "long", 1_000_000);
    let long = format!("GET /v1/kv/{long}?raw=true HTTP/1.1\r\nHost: t\r\n\r\n");
    let send = |bytes: &[u8], mut rude: Rude| {
        assert!(rude.push(bytes), "a fresh connection takes some bytes");
        rude
    };
    beside(&ground, |neighbours| {
        storm(&ground, "connect and close", drop);
        storm(&ground, "connect and reset", Rude::reset);
        storm(&ground, "half a head and a close", |rude| drop(send(&REQUEST[..20], rude)));
        storm(&ground, "half a head and a reset", |rude| send(&REQUEST[..20], rude).reset());
        storm(&ground, "a request and a reset", |rude| send(REQUEST, rude).reset());
        storm(&ground, "a request for a long value and a reset", |rude| send(long.as_bytes(), rude).reset());
        neighbours.are_served();
    });
}

/// As clients do that keep no connection: one for each request. Half of them are closed by the server, half are reset when the
/// answer has come.
#[test]
fn a_connection_for_each_request_is_served_and_forgotten() {
    const CLIENTS: usize = 16;
    const REQUESTS: usize = 500;
    let ground = Ground::new(&[("MAX_CONNECTIONS", "8000")]);
    let keys: Vec<String> = (0..2).map(|owner| ground.store(owner, "asked-for", 100)).collect();
    let request =
        |key: usize, field: &str| format!("GET /v1/kv/{}?raw=true HTTP/1.1\r\nHost: t\r\n{field}\r\n", keys[key]);
    let one_by_one = |client: usize| {
        for number in 0..REQUESTS {
            let mut rude = crowd(ground.of_core(client as u16 % 2), 1).remove(0);
            let (key, ends) = (number % 2, number / 2 % 2 == 0);
            assert!(rude.push(request(key, if ends { "Connection: close\r\n" } else { "" }).as_bytes()));
            if ends {
                assert_eq!(statuses(rude.ending().bytes()), [200]);
            } else {
                rude.hears(&[b'x'; 100]);
                rude.reset();
            }
        }
    };
    let accepted = ground.sum("cache_connections_accepted_total");
    beside(&ground, |neighbours| {
        std::thread::scope(|scope| {
            let one_by_one = &one_by_one;
            (0..CLIENTS).for_each(|client| drop(scope.spawn(move || one_by_one(client))));
            neighbours.are_served();
        });
    });
    let accepted = ground.sum("cache_connections_accepted_total") - accepted;
    println!("{accepted} connections accepted");
    assert!(accepted >= (CLIENTS * REQUESTS) as f64);
    assert_eq!(ground.sum("cache_backpressure_total"), 0.0);
}

#[test]
fn more_connections_than_allowed_are_told_so_one_by_one() {
    let ground = Ground::new(&[("MAX_CONNECTIONS", "100")]);
    beside(&ground, |neighbours| {
        let mut many = crowd(ground.of_core(0), 2_000);
        until_all("each is let in or turned away", &mut many[200..], Duration::from_millis(20), |rude| {
            rude.has_heard()
        });
        neighbours.are_served();
        let (turned_away, mut let_in): (Vec<_>, Vec<_>) = many.into_iter().partition(Rude::has_heard);
        println!("{} were let in, {} turned away", let_in.len(), turned_away.len());
        assert!((90..=100).contains(&let_in.len()), "{} were let in", let_in.len());
        for rude in turned_away {
            let ending = rude.ending();
            assert_eq!(statuses(ending.bytes()), [503]);
            assert!(String::from_utf8_lossy(ending.bytes()).contains("\r\nRetry-After: "), "{ending:?}");
        }
        let_in.iter_mut().for_each(|rude| assert!(rude.push(REQUEST)));
        until_all("each is served", &mut let_in, Duration::from_millis(20), |rude| {
            rude.has_been_answered_with(b"HTTP/1.1 404")
        });
    });
}
