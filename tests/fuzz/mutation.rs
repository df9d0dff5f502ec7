//! Mutations of kept inputs, under a seed.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// Longest input that is made.
const BYTES_MAX: usize = 4_096;

/// Bytes that mean something to one reader or another.
const WORDS: [&[u8]; 40] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b":",
    b",",
    b"%",
    b"%2F",
    b"%00",
    b"\"",
    b"\\",
    b"\\ud83d\\ude00",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"1e1",
    b"-0",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: h\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"X-API-Token: t\r\n",
    b"If-Match: *\r\n",
    b"0\r\n\r\n",
    b"5;a=b\r\nhello\r\n",
    b"GET /v1/kv/a HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HEAD ",
    b" HTTP/1.0",
    b"\xf8\x40",
    b"\xff",
    b"s3cret",
    b"\"value\":",
    b"W/\"",
];

pub struct Mutator<'c> {
    random: SmallRng,
    inputs: &'c [Vec<u8>],
}

impl<'c> Mutator<'c> {
    pub fn new(seed: u64, inputs: &'c [Vec<u8>]) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), inputs }
    }

    /// A kept input with up to six changes.
    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.kept().to_vec();
        for _ in 0..self.random.random_range(1..=6) {
            self.change(&mut input);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn kept(&mut self) -> &'c [u8] {
        &self.inputs[self.random.random_range(0..self.inputs.len())]
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let place = self.random.random_range(0..=input.len());
        let end = (place + self.random.random_range(0..=20)).min(input.len());
        match self.random.random_range(0..8) {
            0 if place < input.len() => input[place] ^= 1 << self.random.random_range(0..8),
            1 if place < input.len() => input[place] = self.random.random(),
            2 => drop(input.drain(place..end)),
            3 => input.truncate(place),
            4 => {
                let again = input[place..end].to_vec();
                input.splice(place..place, again);
            }
            5 => {
                let other = self.kept();
                let from = self.random.random_range(0..=other.len());
                input.splice(place.., other[from..].iter().copied());
            }
            _ => {
                let word = WORDS[self.random.random_range(0..WORDS.len())];
                input.splice(place..place, word.iter().copied());
            }
        }
    }
}
