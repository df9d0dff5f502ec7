//! What the engines hold in memory for slow readers and for values that come to nothing.

use crate::allocator::{live_bytes, peak_bytes_of};
use crate::cores::{Cores, Peer, REQUEST_TIMEOUT_MS, get_raw, head, pattern, put_raw, put_raw_head};
use cache_service::limits::{BLOB_CHUNK_BYTES, BLOB_CHUNKS_FREED_PER_SLICE};
use cache_service::memory::kept_bytes;

const MIB: usize = 1024 * 1024;

/// Reads a value of 20 MiB that the core `owner` holds through core 0, 10 KB at a time, and keeps nothing of it.
fn read_slowly(owner: u16) -> usize {
    let mut cores = Cores::new(2);
    let key = cores.key(owner, "long");
    cores.store(usize::from(owner), &key, 20 * MIB);
    let value = pattern(20 * MIB);
    let mut peer = cores.connect(0);
    peak_bytes_of(|| {
        cores.say(&mut peer, get_raw(&key));
        cores.deliver();
        let first = cores.take(&peer, 10_000);
        let head = first.windows(4).position(|four| four == b"\r\n\r\n").expect("the whole head") + 4;
        let mut at = 0;
        let mut piece = first[head..].to_vec();
        if piece.is_empty() {
            // The head has come by itself.
            piece = cores.take(&peer, 10_000);
        }
        while !piece.is_empty() {
            assert!(value[at..].starts_with(&piece), "the bytes from {at} on");
            at += piece.len();
            cores.deliver();
            piece = cores.take(&peer, 10_000);
        }
        assert_eq!(at, 20 * MIB);
    })
}

#[test]
fn a_slow_reader_does_not_make_the_output_grow() {
    for owner in 0..2 {
        let peak = read_slowly(owner);
        assert!(peak < 2 * MIB, "{peak} bytes for a value of core {owner}");
    }
}

/// Most connections have been served once and wait for what may never come.
#[test]
fn a_silent_connection_keeps_next_to_nothing() {
    let mut cores = Cores::with(1, |settings| settings.connections_max = 1_000);
    cores.store(0, "key", 12_000);
    let before = live_bytes();
    let mut peers: Vec<Peer> = (0..1_000).map(|_| cores.connect(0)).collect();
    // What comes in two pieces has to be kept until it is whole.
    let request = head("GET", "/v1/kv/key?raw=true", &format!("Unknown: {}\r\n", "x".repeat(4_000)));
    let (first, second) = request.split_at(request.len() - 1);
    for peer in &mut peers {
        assert_eq!(cores.ask(peer, get_raw("key").repeat(2)).len(), 2);
        cores.say(peer, first);
        assert_eq!(cores.ask(peer, second).len(), 1);
    }
    peers.iter_mut().for_each(Peer::forget);
    cores.pass(2_000);
    let each = (live_bytes() - before) / peers.len();
    assert!(each < 1_024, "{each} bytes for each connection");
    assert_eq!(cores.ask(&mut peers[0], get_raw("key")).len(), 1);
}

/// A value that was not taken is freed in slices at the core `core`, until nothing of it is left anywhere.
fn assert_freed_in_slices(cores: &mut Cores, core: usize, len: usize, before: usize) {
    assert!(cores.memory_bytes(core) >= len as u64, "to free {len} bytes at once would stall the core");
    let slice = BLOB_CHUNK_BYTES * BLOB_CHUNKS_FREED_PER_SLICE;
    loop {
        let held = cores.memory_bytes(core);
        let more = cores.tick_slice(core);
        let freed = held.saturating_sub(cores.memory_bytes(core)) as usize;
        assert!(freed <= slice + slice / 8, "one slice frees a few chunks");
        if !more {
            break;
        }
    }
    cores.pass(1_000);
    for core in 0..2 {
        let left = cores.memory_bytes(core) - kept_bytes();
        assert!(
            left < BLOB_CHUNK_BYTES as u64 / 4,
            "core {core} holds {left} bytes: more than tables and a connection"
        );
    }
    let left = live_bytes().saturating_sub(before);
    assert!(left < MIB, "{left} bytes are left");
    cores.assert_at_rest();
}

fn two_cores() -> (Cores, Peer, String, usize) {
    let mut cores = Cores::new(2);
    let key = cores.key(1, "long");
    let peer = cores.connect(0);
    let before = live_bytes();
    (cores, peer, key, before)
}

#[test]
fn a_long_value_whose_lane_is_full_is_freed_in_slices() {
    let (mut cores, mut peer, key, before) = two_cores();
    cores.lanes.commands_are_full = true;
    assert!(matches!(&cores.ask(&mut peer, put_raw(&key, &pattern(8 * MIB)))[..], [one] if one.status == 503));
    assert_freed_in_slices(&mut cores, 0, 8 * MIB, before);
}

#[test]
fn a_long_value_that_comes_too_late_to_its_owner_is_freed_in_slices() {
    let (mut cores, mut peer, key, before) = two_cores();
    cores.say(&mut peer, put_raw(&key, &pattern(8 * MIB)));
    cores.pass(REQUEST_TIMEOUT_MS + 100);
    cores.run(&mut peer);
    assert!(matches!(&peer.answers()[..], [one] if one.status == 503));
    assert_freed_in_slices(&mut cores, 1, 8 * MIB, before);
}

#[test]
fn a_long_value_whose_peer_leaves_is_freed_in_slices() {
    let (mut cores, mut peer, key, before) = two_cores();
    cores.say(&mut peer, put_raw_head(&key, 9 * MIB));
    cores.say(&mut peer, pattern(8 * MIB));
    cores.close(&peer);
    assert_freed_in_slices(&mut cores, 0, 8 * MIB, before);
}

/// A JSON body of `body` is answered with `status`, and the 8 MiB of its value that were received are freed in slices.
fn assert_refused_and_freed(body: &[u8], status: u16) {
    let mut cores = Cores::with(2, |settings| settings.max_item_bytes = 8 << 20);
    let mut peer = cores.connect(0);
    let before = live_bytes();
    let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    cores.say(&mut peer, head("PUT", "/v1/kv/long", &fields));
    assert!(matches!(&cores.ask(&mut peer, body)[..], [one] if one.status == status && !one.closes()));
    assert_freed_in_slices(&mut cores, 0, 8 * MIB - BLOB_CHUNK_BYTES, before);
}

#[test]
fn a_long_value_in_a_bad_body_is_freed_in_slices() {
    let value = "x".repeat(8 * MIB - 2);
    assert_refused_and_freed(format!("{{\"value\":\"{value}\",,").as_bytes(), 400);
    assert_refused_and_freed(format!("{{\"value\":\"{value}\",\"ttlSec\":\"soon\"}}").as_bytes(), 400);
    assert_refused_and_freed(format!("{{\"value\":\"{value}\"").as_bytes(), 400);
    assert_refused_and_freed(format!("{{\"value\":\"{value}x\"}}").as_bytes(), 413);
}
