//! More comes from the kernel than there is room for: that is counted, and nothing is lost.

use crate::one_core::{OneCore, TOKEN, own_key};
use cache_service::limits::RECEIVE_BUFFERS;
use cache_service::runtime::ring::Ring;
use cache_service::session::ConnId;
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

/// Kernels since Linux 6.13 hand over a few connections at a time, but of each of them all that has come.
const CLIENTS: usize = 30;
const BODY_BYTES: usize = 200_000;

#[test]
fn who_finds_all_receive_buffers_full_is_counted_and_served() {
    let mut one = OneCore::new();
    let mut clients = one.clients(CLIENTS);
    assert_eq!(one.numbers().shortages.buffers, 0);
    let head = format!(
        "PUT /v1/kv/{} HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: a/b\r\nContent-Length: {BODY_BYTES}\r\n\r\n",
        own_key("long")
    );
    let request = [head.as_bytes(), &[b'x'; BODY_BYTES]].concat();
    // All of them before the core hears of the first.
    let mut sent: Vec<usize> = clients.iter_mut().map(|client| client.sends(&request)).collect();
    let waiting: usize = sent.iter().sum();
    let mut unanswered: BTreeSet<usize> = (0..CLIENTS).collect();
    one.turns_until("all are answered", |_| {
        unanswered.retain(|&number| {
            sent[number] += clients[number].sends(&request[sent[number]..]);
            let heard = clients[number].heard();
            assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 20"), "{:?}", String::from_utf8_lossy(&heard));
            heard.is_empty()
        });
        unanswered.is_empty().then_some(())
    });
    let numbers = one.numbers();
    println!("{waiting} bytes waited at once; {} times all buffers were full", numbers.shortages.buffers);
    assert!(numbers.shortages.buffers > 0, "{waiting} bytes were too few for {RECEIVE_BUFFERS} buffers");
    assert_eq!((numbers.shard.sets, numbers.shortages.completions), (CLIENTS as u64, 0));
}

#[test]
fn a_ring_that_overflows_is_counted_and_loses_nothing() {
    // More than there is room for.
    const OPERATIONS: u32 = 10_000;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let mut ring = Ring::new().expect("a ring");
    // A socket that takes bytes already: each of these has happened as soon as it is begun.
    (0..OPERATIONS).for_each(|number| ring.await_room(socket.as_raw_fd(), ConnId::new(number, 1)));
    let mut heard = 0;
    while heard < OPERATIONS {
        ring.enter(Duration::from_secs(5));
        let before = heard;
        while let Some(completion) = ring.next_completion() {
            completion.result.expect("the socket takes bytes");
            heard += 1;
        }
        assert!(heard > before, "{} were lost", OPERATIONS - heard);
    }
    assert!(ring.overflows() > 0);
    let overflows = ring.overflows();
    ring.enter(Duration::ZERO);
    assert_eq!(ring.overflows(), overflows, "it has come to an end");
}
