//! `kill -9` in the middle of load.

use crate::support::{Launch, Server, eventually};
use crate::wire::{Wire, get, put};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// How often the server is killed.
const KILLS: usize = 8;
/// Clients, each with keys of its own.
const CLIENTS: usize = 4;
/// Requests that each client sends at once.
const BURST: usize = 8;
/// Keys of each client: few, so that they are written over and over.
const KEYS: usize = 20;
/// Answers that all clients together have had from a server before it is killed.
const ANSWERS_BEFORE_A_KILL: usize = 400;

/// What one client knows of the server that it talks to. It alone writes its keys.
#[derive(Debug, Default)]
struct Knowledge {
    values: BTreeMap<usize, String>,
    versions: BTreeSet<String>,
    connections_lost: usize,
}

/// Writes and reads until it is told to stop, through however many servers.
fn client(me: usize, address: SocketAddr, stop: &AtomicBool, answers: &AtomicUsize) -> Knowledge {
    let mut known = Knowledge::default();
    let mut step = 0;
    while !stop.load(Ordering::Relaxed) {
        // What a server knew that was killed nobody knows any more.
        known.values.clear();
        let Some(mut wire) = Wire::open(address) else { continue };
        while !stop.load(Ordering::Relaxed) && burst(me, &mut step, &mut wire, &mut known, answers).is_some() {}
        known.connections_lost += 1;
    }
    known
}

/// One burst of requests and their answers, each checked; `None` when the connection has ended.
fn burst(me: usize, step: &mut usize, wire: &mut Wire, known: &mut Knowledge, answers: &AtomicUsize) -> Option<()> {
    let steps: Vec<usize> = (0..BURST).map(|n| *step + n).collect();
    *step += BURST;
    let key = |step: usize| step / 2 % KEYS;
    let name = |step: usize| format!("client-{me}-key-{}", key(step));
    let value = |step: usize| format!("value {step} of client {me}");
    let request = |&step: &usize| if step % 2 == 0 { get(&name(step)) } else { put(&name(step), &value(step)) };
    let sent = wire.send(steps.iter().map(request).collect::<String>().as_bytes());
    for step in steps {
        let reply = wire.reply()?;
        let held = known.values.get(&key(step));
        if step % 2 == 0 {
            let expected = held.map_or(404, |_| 200);
            assert_eq!(reply.status, expected, "of {}: {reply:?}, known {held:?}", name(step));
            held.into_iter().for_each(|held| assert_eq!(*held, reply.body, "of {}", name(step)));
        } else {
            assert_eq!(reply.status, if held.is_some() { 200 } else { 201 }, "{}: {reply:?}", name(step));
            let body: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
            let version = body["version"].as_str().expect("a version").to_owned();
            assert!(known.versions.insert(version), "a version is given twice: {reply:?}");
            known.values.insert(key(step), value(step));
        }
        answers.fetch_add(1, Ordering::Relaxed);
    }
    sent.then_some(())
}

#[test]
fn a_server_that_is_killed_under_load_is_there_again_at_once_empty_and_right() {
    let mut server = Server::with_shards(2);
    let address = server.address();
    let port = address.port().to_string();
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let known: Vec<Knowledge> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|me| {
                scope.spawn({
                    let (stop, answers) = (&stop, &answers);
                    move || client(me, address, stop, answers)
                })
            })
            .collect();
        for _ in 0..KILLS {
            let enough = answers.load(Ordering::Relaxed) + ANSWERS_BEFORE_A_KILL;
            eventually("the load goes on", || {
                let ended = clients.iter().any(thread::ScopedJoinHandle::is_finished);
                (ended || answers.load(Ordering::Relaxed) >= enough).then_some(())
            });
            server.signal(libc::SIGKILL);
            // The old one is not waited for: whoever restarts a server does so at once.
            let next = Launch::new(&[("SHARDS", "2"), ("PORT", &port)]).start();
            drop(std::mem::replace(&mut server, next));
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("no client saw a wrong answer")).collect()
    });
    let versions: BTreeSet<&String> = known.iter().flat_map(|known| &known.versions).collect();
    assert_eq!(versions.len(), known.iter().map(|known| known.versions.len()).sum::<usize>(), "versions are unique");
    for known in &known {
        assert!(known.connections_lost >= KILLS, "{} connections lost", known.connections_lost);
    }
    println!("{} answers, all of them right, from {} servers", answers.load(Ordering::Relaxed), KILLS + 1);
}
