//! Request bytes to answer bytes, to the letter: whole, at every split position, byte by byte, pipelined; with one core
//! and with four, so that most keys are foreign.
//!
//! The table is `answers.txt`: a case is a name, a request, `---`, and its answer. A line that ends in `↵` ends in CR LF,
//! one that ends in `␊` in a bare LF, any other one goes on in the next line. What differs from run to run has a name:
//! `VERSION`, and `FRESH` for an ID that the server made. `ANSWERS=write cargo test --test engine bytes` writes the answers
//! as they are now, for somebody to read before they are committed.

use crate::cores::{Cores, Peer, TOKEN, put_json};
use cache_service::session::Flow;

const TABLE: &str = include_str!("answers.txt");

/// Splitting longer requests everywhere would show nothing new.
const SPLIT_BYTES_MAX: usize = 400;

struct Case {
    name: String,
    request: Vec<u8>,
    answer: String,
}

fn cases() -> Vec<Case> {
    let sections = TABLE.split("=== ").skip(1);
    let case = |section: &str| {
        let (name, rest) = section.split_once('\n').expect("a name");
        let (request, answer) = rest.split_once("---\n").expect("a request and an answer");
        Case { name: name.to_owned(), request: bytes(request).into_bytes(), answer: bytes(answer) }
    };
    sections.map(case).collect()
}

/// The bytes that `lines` stand for.
fn bytes(lines: &str) -> String {
    let joined: String = lines.lines().filter(|line| !line.starts_with('#')).collect();
    joined.replace('↵', "\r\n").replace('␊', "\n").replace("TOKEN", TOKEN)
}

/// `answer` with names for what differs from run to run.
fn named(answer: &[u8]) -> String {
    let text = std::str::from_utf8(answer).expect("text");
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let mut named = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.bytes().take_while(|&byte| is_hex(byte)).count();
        match run {
            32 => named.push_str("FRESH"),
            16 => named.push_str("VERSION"),
            _ => named.push_str(&rest[..run]),
        }
        rest = &rest[run..];
        let between = rest.bytes().take_while(|&byte| !is_hex(byte)).count();
        named.push_str(&rest[..between]);
        rest = &rest[between..];
    }
    named
}

/// Cores that hold what the cases expect: `s` is a string, `n` a number.
fn cores(number: u16) -> Cores {
    let mut cores = Cores::new(number);
    let mut peer = cores.connect(0);
    for (key, body) in [("s", r#"{"value":"a\u0062\"c"}"#), ("n", r#"{"value":1.50e3}"#)] {
        let answers = cores.ask(&mut peer, put_json(key, body));
        assert_eq!(answers[0].status, 201);
    }
    cores.close(&peer);
    cores
}

/// Sends `pieces` one after the other, each once the one before has been seen to; returns all that is answered.
fn answers<'a>(cores: &mut Cores, peer: &mut Peer, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut heard = Vec::new();
    for piece in pieces {
        if cores.flow(peer) == Flow::Reading {
            cores.say(peer, piece);
        }
        loop {
            cores.deliver();
            let taken = cores.take(peer, usize::MAX);
            if taken.is_empty() {
                break;
            }
            heard.extend(taken);
        }
    }
    named(&heard)
}

#[test]
fn every_request_has_its_answer_however_it_arrives() {
    if std::env::var_os("ANSWERS").is_some_and(|it| it == "write") {
        return write();
    }
    for number in [1, 4] {
        for case in cases() {
            let whole = &case.request[..];
            check(number, &case, "whole", [whole]);
            check(number, &case, "byte by byte", whole.chunks(1));
            for at in 1..whole.len().min(SPLIT_BYTES_MAX) {
                let (first, second) = whole.split_at(at);
                check(number, &case, &format!("split at {at}"), [first, second]);
            }
            let kept = !case.answer.contains("Connection: close");
            let twice = case.request.repeat(2);
            let expected = case.answer.repeat(if kept { 2 } else { 1 });
            let mut cores = cores(number);
            let mut peer = cores.connect(0);
            assert_eq!(answers(&mut cores, &mut peer, [&twice[..]]), expected, "{}, twice at once", case.name);
        }
    }
}

fn check<'a>(number: u16, case: &Case, how: &str, pieces: impl IntoIterator<Item = &'a [u8]>) {
    let mut cores = cores(number);
    let mut peer = cores.connect(0);
    let answer = answers(&mut cores, &mut peer, pieces);
    assert_eq!(answer, case.answer, "{}, {how}, {number} cores", case.name);
    let ended = cores.flow(&peer) != Flow::Reading;
    assert_eq!(ended, case.answer.contains("Connection: close"), "{}, {how}, {number} cores", case.name);
}

/// Writes the table anew.
fn write() {
    let comment = TABLE.split("=== ").next().unwrap_or_default();
    let mut table = comment.to_owned();
    for (case, section) in cases().iter().zip(TABLE.split("=== ").skip(1)) {
        let (mut cores, request) = (cores(1), section.split_once("---\n").expect("a request").0);
        let mut peer = cores.connect(0);
        let answer = answers(&mut cores, &mut peer, [&case.request[..]]);
        table += &format!("=== {request}---\n{}\n", answer.replace("\r\n", "↵\n"));
    }
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/answers.txt"), table).expect("a table");
}
