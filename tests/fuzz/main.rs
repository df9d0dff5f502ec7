//! The bodies of `fuzz/`, called without a fuzzer: with the kept corpus, and with mutations of it under a seed.
//!
//! `FUZZ_SEED` replays a run, `FUZZ_CASES` makes it longer or shorter. The input that broke a promise is printed, and
//! written to `target/fuzz-findings`, from where it can be moved into the corpus.

#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;
mod corpus;
#[path = "../api/framing_cases.rs"]
#[expect(dead_code, reason = "what becomes of them is for tests/api")]
mod framing_cases;
mod mutation;

use bodies::Body;
use corpus::Corpus;
use mutation::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Calls `body` with what is kept for it, and with `cases` mutations of that.
fn explore(body: Body, cases: usize) {
    explore_with(body, cases, Vec::new());
}

/// The same, with `further` inputs.
fn explore_with(body: Body, cases: usize, further: Vec<Vec<u8>>) {
    let corpus = Corpus::of(body.name, further);
    for input in corpus.inputs() {
        call(body, input);
    }
    let seed = number("FUZZ_SEED").unwrap_or_else(|| getrandom::u64().expect("the kernel gives random numbers"));
    let cases = number("FUZZ_CASES").map_or(cases, |cases| cases as usize);
    println!("{}: {} kept inputs, FUZZ_SEED={seed} FUZZ_CASES={cases}", body.name, corpus.inputs().len());
    let mut mutator = Mutator::new(seed, corpus.inputs());
    for _ in 0..cases {
        call(body, &mutator.next());
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn call(body: Body, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (body.run)(input))) {
        let file = corpus::keep_finding(body.name, input);
        println!("{} breaks a promise with {}: {}", body.name, file.display(), input.escape_ascii());
        resume_unwind(panic);
    }
}

/// The requests whose framing `tests/api` asks a live server for, each behind `prefix`.
fn framing_cases(prefix: &[u8]) -> Vec<Vec<u8>> {
    framing_cases::CASES.iter().map(|case| [prefix, case.bytes].concat()).collect()
}

#[test]
fn requests_are_answered_once_each_however_they_are_cut() {
    // One core, cut once.
    explore_with(bodies::SESSION, 4_000, framing_cases(&[0, 1, 60, 0]));
}

#[test]
fn a_proxy_sees_the_requests_that_we_see() {
    explore_with(bodies::FRAMING, 40_000, framing_cases(b""));
}

#[test]
fn bodies_say_what_serde_json_says() {
    explore(bodies::JSON, 40_000);
}

#[test]
fn paths_keys_and_queries_are_read_as_plainly_as_they_can_be() {
    explore(bodies::TARGET, 20_000);
}

#[test]
fn single_fields_are_read_as_plainly_as_they_can_be() {
    explore(bodies::FIELDS, 40_000);
}

#[test]
fn a_configuration_is_good_or_its_problems_are_told() {
    explore(bodies::CONFIG, 4_000);
}

#[test]
fn a_shard_does_what_the_model_does_whatever_is_chosen() {
    explore(bodies::SHARD, 500);
}
