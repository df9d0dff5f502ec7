//! From bytes to what they ask for.

use crate::counter::Counter;
use cache_service::protocol::auth::{AuthFailure, Credentials, Tokens};
use cache_service::protocol::chunked::ChunkedDecoder;
use cache_service::protocol::head;
use cache_service::routing::KeyHasher;
use std::hint::black_box;

const GET: &str = "GET /v1/kv/0123456789abcdef HTTP/1.1\r\nHost: cache:8080\r\n\r\n";

/// What a browser sends of its own accord.
const GET_OF_A_BROWSER: &str = "GET /v1/kv/0123456789abcdef HTTP/1.1\r\nHost: cache.example.com:8080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef\r\n\
    Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: none\r\nSec-Fetch-User: ?1\r\nPriority: u=0, i\r\n\r\n";

const PUT: &str = "PUT /v1/kv/0123456789abcdef?ttlSec=60 HTTP/1.1\r\nHost: cache:8080\r\n\
    X-API-Token: 0123456789abcdef0123456789abcdef\r\nContent-Type: application/octet-stream\r\nContent-Length: 64\r\n\r\n";

/// Heads, a chunked body, the hash of a key.
pub fn count(counter: &mut Counter) {
    for (name, head) in [("short GET", GET), ("GET of a browser", GET_OF_A_BROWSER), ("PUT", PUT)] {
        counter.count(&format!("parse the head of a {name}"), |_| {
            let parsed = head::parse(black_box(head.as_bytes()));
            assert!(matches!(black_box(parsed), Ok(Some((_, len))) if len == head.len()));
        });
    }
    let body = chunked_body();
    counter.count("decode a body of 8 chunks of 1 KiB", |_| decode(black_box(&body)));
    let hasher = KeyHasher::new([3, 4]);
    counter.count("hash a key of 16 bytes", |_| {
        black_box(hasher.hash(black_box(b"0123456789abcdef")));
    });
}

/// Tokens that are refused: what that takes must not tell in which character they are wrong.
pub fn count_refusals(counter: &mut Counter) {
    const SECRET: &[u8; 64] = b"5f1d2c3b4a59687786950a1b2c3d4e5f5f1d2c3b4a59687786950a1b2c3d4e5f";
    let tokens = Tokens::new([SECRET.as_slice(), b"another-one-that-is-valid-as-well"]);
    for (place, name) in [(0, "first"), (31, "middle"), (63, "last")] {
        let mut guess = *SECRET;
        guess[place] = b'x';
        counter.count(&format!("refuse a token that is wrong in its {name} character"), |_| {
            let checked = tokens.check(black_box(&Credentials::Token(&guess)));
            assert_eq!(black_box(checked), Err(AuthFailure::InvalidToken));
        });
    }
}

fn chunked_body() -> Vec<u8> {
    let chunk = [b"400\r\n".as_slice(), &[b'x'; 1_024], b"\r\n"].concat();
    [chunk.repeat(8), b"0\r\n\r\n".to_vec()].concat()
}

fn decode(mut body: &[u8]) {
    let (mut decoder, mut len) = (ChunkedDecoder::new(), 0);
    loop {
        let decoded = decoder.decode(body).expect("the chunks are in order");
        len += black_box(decoded.data).len();
        body = &body[decoded.consumed..];
        if decoded.done {
            break;
        }
    }
    assert_eq!(len, 8 * 1_024);
}
