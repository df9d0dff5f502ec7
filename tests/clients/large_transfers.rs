//! A huge value on its way in or out leaves the core to everybody else.

use crate::support::{Client, Server, TOKEN};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The value's size in bytes.
const HUGE_BYTES: usize = 200 << 20;

/// What a slow-ish client moves before it rests, in bytes.
const SLICE_BYTES: usize = 1 << 20;

/// A stall of the core for the length of a transfer would leave room for one or two.
const ANSWERS_MIN: usize = 100;

/// A server with one core that holds a small value under `small`.
fn one_core() -> Server {
    let server = Server::start(&[("SHARDS", "1"), ("MEMORY_BUDGET_BYTES", "2147483648")]);
    server.client().put_value("small", "1").expect_status(201);
    server
}

/// How many GETs another connection gets answered while `transfer` runs.
#[track_caller]
fn answers_during<T>(server: &Server, transfer: impl FnOnce() -> T + Send) -> (usize, T)
where
    T: Send,
{
    let over = AtomicBool::new(false);
    let mut client = server.client();
    std::thread::scope(|scope| {
        let transfer = scope.spawn(|| {
            // Set when the transfer panics as well, or the other loop would never end.
            let _end = SetOnDrop(&over);
            transfer()
        });
        let mut answers = 0;
        while !over.load(Ordering::Acquire) {
            assert_eq!(client.get("small").status, 200);
            answers += 1;
        }
        (answers, transfer.join().expect("the transfer succeeds"))
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A connection with no patience limit of its own: the value is large and the machine may be busy.
fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    stream
}

/// Bytes whose every place differs from its neighbourhood, so that lost or doubled pieces show.
fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 16);
    let mut count = 0_u64;
    while bytes.len() < len {
        bytes.extend_from_slice(format!("{count:015}\n").as_bytes());
        count += 1;
    }
    bytes.truncate(len);
    bytes
}

/// Sends the pieces of a request and reads the head of its answer, which is all of it that is of interest.
fn upload(stream: &mut TcpStream, pieces: &[&[u8]], rest: Duration) -> String {
    for slice in pieces.iter().flat_map(|piece| piece.chunks(SLICE_BYTES)) {
        stream.write_all(slice).expect("the server reads on");
        std::thread::sleep(rest);
    }
    read_head(stream)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer comes");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("a head is text")
}

/// Reads the body slice by slice and compares it with `expected` as it comes.
fn download(stream: &mut TcpStream, request: &str, expected: &[u8], rest: Duration) {
    stream.write_all(request.as_bytes()).expect("the request is read");
    let head = read_head(stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", expected.len())), "{head}");
    let mut slice = vec![0; SLICE_BYTES];
    for wanted in expected.chunks(SLICE_BYTES) {
        let seen = &mut slice[..wanted.len()];
        stream.read_exact(seen).expect("the whole body comes");
        assert!(seen == wanted, "other bytes than were stored");
        std::thread::sleep(rest);
    }
}

fn put_head(media: &str, len: usize) -> String {
    format!(
        "PUT /v1/kv/huge HTTP/1.1\r\nHost: t\r\nX-API-Token: {TOKEN}\r\nContent-Type: {media}\r\nContent-Length: {len}\r\n\r\n"
    )
}

const GET: &str = "GET /v1/kv/huge?raw=true HTTP/1.1\r\nHost: t\r\n\r\n";

#[track_caller]
fn transfer_both_ways(media: &str, body: &[&[u8]], value: &[u8], rest: Duration) {
    let server = one_core();
    let mut stream = connect(&server);
    let head = put_head(media, body.iter().map(|piece| piece.len()).sum());
    let pieces: Vec<&[u8]> = std::iter::once(head.as_bytes()).chain(body.iter().copied()).collect();
    let (during_upload, answer) = answers_during(&server, || upload(&mut stream, &pieces, rest));
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    // The body of that answer stands in the way of the next one.
    let mut stream = connect(&server);
    let (during_download, ()) = answers_during(&server, || download(&mut stream, GET, value, rest));
    println!("{media}: {during_upload} answers during the upload, {during_download} during the download");
    assert!(during_upload >= ANSWERS_MIN, "{during_upload} answers while {HUGE_BYTES} bytes came in");
    assert!(during_download >= ANSWERS_MIN, "{during_download} answers while {HUGE_BYTES} bytes went out");
    Client::new(server.address()).delete("huge").expect_status(204);
}

#[test]
fn others_are_answered_during_a_huge_raw_transfer_at_a_slow_pace() {
    let value = pattern(HUGE_BYTES);
    transfer_both_ways("application/octet-stream", &[&value], &value, Duration::from_millis(5));
}

#[test]
fn others_are_answered_during_a_huge_raw_transfer_at_full_speed() {
    let value = pattern(HUGE_BYTES);
    transfer_both_ways("application/octet-stream", &[&value], &value, Duration::ZERO);
}

#[test]
fn others_are_answered_during_a_huge_json_transfer() {
    // Lines have no place in a JSON string.
    let value: Vec<u8> = pattern(HUGE_BYTES).into_iter().map(|byte| if byte == b'\n' { b'|' } else { byte }).collect();
    transfer_both_ways("application/json", &[b"{\"value\":\"", &value, b"\"}"], &value, Duration::ZERO);
}
