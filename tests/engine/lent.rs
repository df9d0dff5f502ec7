//! Long values of a core's own shard, sent from where they are stored.

use crate::allocator::peak_bytes_of;
use crate::cores::{Cores, IDLE_TIMEOUT_MS, Peer, get, get_raw, pattern, put_json};
use cache_service::limits::BLOB_CHUNK_BYTES;
use cache_service::session::Flow;

const LONG: usize = (1 << 20) + 77_777;

/// A core that holds `long`, and a peer that has asked for it and taken the head of the answer.
fn asked() -> (Cores, Peer) {
    let mut cores = Cores::new(1);
    cores.store(0, "long", LONG);
    let mut peer = cores.connect(0);
    cores.say(&mut peer, get_raw("long"));
    let head = cores.take(&peer, usize::MAX);
    assert!(head.ends_with(b"\r\n\r\n") && head.starts_with(b"HTTP/1.1 200 "), "the head goes out by itself");
    (cores, peer)
}

/// Takes the rest of the answer, at most `most` bytes at a time.
fn take_all(cores: &mut Cores, peer: &Peer, most: usize) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let piece = cores.take(peer, most);
        if piece.is_empty() {
            return all;
        }
        all.extend_from_slice(&piece);
    }
}

#[test]
fn a_long_value_is_sent_whole_whatever_pieces_are_taken() {
    let expected = pattern(LONG);
    for most in [usize::MAX, BLOB_CHUNK_BYTES - 1, 100_000, 4_099] {
        let (mut cores, peer) = asked();
        assert!(take_all(&mut cores, &peer, most) == expected, "by {most}");
        assert_eq!(cores.recorded(0), 2, "the request is counted when its answer has gone out");
        cores.assert_at_rest();
    }
}

#[test]
fn a_long_value_is_not_copied() {
    let (mut cores, peer) = asked();
    assert_eq!(cores.output_len(&peer), BLOB_CHUNK_BYTES, "as much as lies together");
    let conn_bytes = cores.memory_bytes(0);
    let mut len = 0;
    let peak = peak_bytes_of(|| {
        while cores.output_len(&peer) > 0 {
            len += cores.skip(&peer, 200_000);
            assert!(cores.memory_bytes(0) <= conn_bytes);
        }
    });
    assert_eq!(len, LONG);
    assert!(peak < 4_096, "{peak} bytes were in use for it");
}

/// What is short enough goes out with its head, in one piece.
#[test]
fn a_value_that_is_not_very_long_is_copied_behind_its_head() {
    let mut cores = Cores::new(1);
    cores.store(0, "short", 32 * 1024);
    let mut peer = cores.connect(0);
    cores.say(&mut peer, get_raw("short"));
    assert!(cores.output_len(&peer) > 32 * 1024);
    assert!(take_all(&mut cores, &peer, usize::MAX).ends_with(&pattern(32 * 1024)));
    cores.assert_at_rest();
}

/// Head, chunks and end lie apart; the kernel is told of several at once, and takes what it likes of them.
#[test]
fn what_lies_apart_is_sent_together() {
    for most in [usize::MAX, 777_777, BLOB_CHUNK_BYTES, 100_000, 97] {
        let mut cores = Cores::new(1);
        let len = if most < 1_000 { 40_000 } else { LONG };
        cores.store(0, "long", len);
        let mut peer = cores.connect(0);
        cores.say(&mut peer, get_raw("long") + &get("/v1/kv/absent"));
        let (mut all, mut calls) = (Vec::new(), 0);
        loop {
            let pieces = cores.engines[0].gather(peer.conn).concat();
            if pieces.is_empty() {
                break;
            }
            let len = pieces.len().min(most);
            all.extend_from_slice(&pieces[..len]);
            cores.skip_gathered(&peer, len);
            calls += 1;
        }
        let head = memchr::memmem::find(&all, b"\r\n\r\n").expect("a head") + 4;
        assert!(all[head..head + len] == pattern(len), "by {most}");
        assert!(all[head + len..].starts_with(b"HTTP/1.1 404 "), "by {most}");
        if most == usize::MAX {
            assert_eq!(calls, 3, "a head and 1 MiB, the end of the value, the second answer");
        }
        cores.assert_at_rest();
    }
}

#[test]
fn a_value_that_is_replaced_or_deleted_is_sent_as_it_was() {
    let (mut cores, peer) = asked();
    let first = cores.take(&peer, 300_000);
    cores.store(0, "long", 400_000);
    cores.pass(1_000);
    let rest = take_all(&mut cores, &peer, usize::MAX);
    assert!([first, rest].concat() == pattern(LONG));
    cores.assert_at_rest();
}

#[test]
fn a_peer_that_leaves_in_the_middle_leaves_no_lease() {
    let (mut cores, peer) = asked();
    cores.take(&peer, 300_000);
    assert!(cores.has_leases(0));
    cores.close(&peer);
    cores.assert_at_rest();
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    let (mut cores, peer) = asked();
    cores.pass(IDLE_TIMEOUT_MS - 1_000);
    assert_ne!(cores.flow(&peer), Flow::Closed);
    cores.pass(2_000);
    assert_eq!(cores.flow(&peer), Flow::Closed);
    cores.close(&peer);
    cores.assert_at_rest();
}

#[test]
fn a_peer_that_will_say_no_more_gets_all_of_it() {
    let (mut cores, peer) = asked();
    cores.hang_up(&peer);
    assert_eq!(cores.flow(&peer), Flow::Paused);
    assert!(take_all(&mut cores, &peer, 50_000) == pattern(LONG));
    assert_eq!(cores.flow(&peer), Flow::Closed);
}

#[test]
fn nothing_is_read_while_a_long_value_goes_out_and_what_follows_keeps_its_order() {
    let (mut cores, mut peer) = asked();
    assert_eq!(cores.flow(&peer), Flow::Paused);
    cores.say(&mut peer, get_raw("long") + &get("/v1/kv/absent") + &get_raw("long"));
    assert!(take_all(&mut cores, &peer, usize::MAX) == pattern(LONG));
    let answers = cores.ask(&mut peer, "");
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 404, 200]);
    assert!(answers[0].body == pattern(LONG) && answers[2].body == pattern(LONG));
    cores.assert_at_rest();
}

/// In JSON a text goes out as it is stored, with something before it and behind it; bytes do not.
#[test]
fn a_long_value_in_json_is_sent_between_what_belongs_around_it() {
    let mut cores = Cores::new(1);
    cores.store(0, "bytes", 100_000);
    let mut peer = cores.connect(0);
    let text = "t".repeat(700_000);
    assert_eq!(cores.ask(&mut peer, put_json("text", &format!("{{\"value\":\"{text}\"}}")))[0].status, 201);
    let answers = cores.ask(&mut peer, crate::cores::batch_get(&["text".into(), "bytes".into(), "text".into()]));
    let body: serde_json::Value = serde_json::from_slice(&answers[0].body).expect("JSON");
    assert_eq!(body["hits"].as_array().map(Vec::len), Some(3));
    assert!(body["hits"][0]["value"] == text && body["hits"][2]["value"] == text);
    assert_eq!(body["hits"][1]["value"].as_str().map(str::len), Some(100_000_usize.div_ceil(3) * 4));
    cores.assert_at_rest();
}
