//! Who speaks another protocol, or none.

use crate::ground::{CORES, Ground};
use crate::neighbours::beside;
use crate::sockets::{crowd, statuses, until_all};
use std::time::Duration;

/// Each says the same on so many connections at once.
const STRANGERS: usize = 50;
const RANDOM_STREAMS: u64 = 200;

/// The first message of a TLS 1.3 handshake, as OpenSSL begins it, and enough of what follows.
const CLIENT_HELLO: &[u8] =
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x8f\x11\x0a\r\n\r\n\x20\xee\x00\x3e\x13\x02\x13\x03\x13\x01";

const GREETINGS: [(&str, &[u8]); 12] = [
    ("TLS", CLIENT_HELLO),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"),
    ("HTTP/0.9", b"GET /v1/kv/k\r\n\r\n"),
    ("HTTP/3 in name", b"GET /healthz HTTP/3.0\r\nHost: t\r\n\r\n"),
    ("SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    ("RESP", b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
    ("RESP, inline", b"PING\r\n"),
    ("memcached", b"get k\r\n"),
    (
        "memcached, binary",
        b"\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00k",
    ),
    ("SMTP", b"EHLO mail.example\r\nMAIL FROM:<a@b>\r\n"),
    ("PROXY protocol", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /healthz HTTP/1.1\r\nHost: t\r\n\r\n"),
    ("nothing but line ends", b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"),
];

/// Spreads numbers (Steele, Lea and Flood, 2014).
fn scrambled(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

/// Some thousand bytes that follow from `seed`; of every other seed, of letters and line ends only.
fn noise(seed: u64) -> Vec<u8> {
    let length = scrambled(seed) % 4_000;
    let byte = |number: u64| scrambled(seed << 16 | number).to_le_bytes()[0];
    let text = b"GETPUTHOSTkv/v1:  \r\n\r\n%{}\"0123456789chunked";
    let readable = seed.is_multiple_of(2);
    (0..length).map(|n| if readable { text[usize::from(byte(n)) % text.len()] } else { byte(n) }).collect()
}

/// Says `wire` on so many connections to each core. Each is refused in one answer at most, and closed.
fn greet(ground: &Ground, name: &str, wire: &[u8], count: usize) {
    for core in 0..CORES {
        let mut strangers = crowd(ground.of_core(core), count);
        strangers.iter_mut().for_each(|rude| assert!(rude.push(wire), "{name}: not taken"));
        until_all(name, &mut strangers, Duration::from_millis(20), |rude| rude.has_heard());
        for rude in strangers {
            let ending = rude.ending();
            let statuses = statuses(ending.bytes());
            let is_refused = matches!(statuses[..], [] | [400 | 405 | 408 | 431 | 505]);
            assert!(is_refused, "{name}: {statuses:?} to {}", String::from_utf8_lossy(wire));
        }
    }
}

#[test]
fn other_protocols_are_refused_and_closed() {
    let ground = Ground::new(&[("HEADER_TIMEOUT_MS", "500"), ("IDLE_TIMEOUT_MS", "1000")]);
    for (name, wire) in GREETINGS {
        // The neighbours pause for less than the server is ready to wait for them.
        beside(&ground, |_| greet(&ground, name, wire, STRANGERS));
    }
}

/// The seed of a failing stream is in the failure's name.
#[test]
fn random_bytes_are_refused_and_closed() {
    let ground = Ground::new(&[("HEADER_TIMEOUT_MS", "500"), ("IDLE_TIMEOUT_MS", "1000")]);
    beside(&ground, |_| {
        let mut strangers = crowd(ground.server.address(), RANDOM_STREAMS as usize);
        for (rude, seed) in strangers.iter_mut().zip(0..) {
            rude.push(&noise(seed));
        }
        until_all("an end", &mut strangers, Duration::from_millis(20), |rude| rude.has_heard());
        for (rude, seed) in strangers.into_iter().zip(0..RANDOM_STREAMS) {
            let ending = rude.ending();
            let statuses = statuses(ending.bytes());
            assert!(statuses.iter().all(|status| (400..500).contains(status)), "seed {seed}: {statuses:?}");
            assert!(statuses.len() <= 1, "seed {seed}: {statuses:?}");
        }
    });
}
