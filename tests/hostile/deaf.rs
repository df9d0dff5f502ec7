//! Clients that ask and do not read.

use crate::ground::Ground;
use crate::neighbours::beside;
use crate::sockets::{Rude, crowd, until_all};
use crate::support::proc_fs;
use std::time::Duration;

const BUDGET_BYTES: u64 = 64 << 20;
/// The program itself, and what it may take for each core besides the budget: see the README.
const BESIDES_BYTES: u64 = (8 + 2 * 3) << 20;
/// What a twentieth more than the budget is to an operator: noise.
const RESIDENT_BYTES_MAX: u64 = BUDGET_BYTES + BUDGET_BYTES / 20 + BESIDES_BYTES;
const DEAF: usize = 200;
/// What each wants to say at once, far more than the server should take in.
const PIPELINE_BYTES: usize = 1 << 20;

/// Entries that nobody asks for while the others are deaf.
const BYSTANDERS: usize = 2_000;

fn bystander(number: usize) -> String {
    format!("bystander-{number}")
}

fn settle_bystanders(ground: &Ground) {
    let mut client = ground.client_of(0);
    for number in 0..BYSTANDERS {
        client.put_bytes(&bystander(number), "text/plain", &[b'b'; 1_000]).expect_status(201);
    }
}

#[track_caller]
fn assert_bystanders_are_there(ground: &Ground) {
    let mut client = ground.client_of(1);
    let lost = (0..BYSTANDERS).filter(|number| client.get(&bystander(*number)).status != 200).count();
    assert_eq!(lost, 0, "entries lost of {BYSTANDERS}");
}

/// Has everybody ask as much as the kernel takes, until it takes no more.
fn ask_without_end(crowd: &mut [Rude], pipeline: &[u8]) {
    for _ in 0..40 {
        for rude in crowd.iter_mut() {
            let from = rude.sent % pipeline.len();
            rude.push(&pipeline[from..]);
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Deaf clients of core 0 ask for `value_bytes` bytes that the core `owner` holds.
fn deaf_pipelines(owner: u16, value_bytes: usize) {
    let ground = Ground::new(&[("MEMORY_BUDGET_BYTES", &BUDGET_BYTES.to_string()), ("IDLE_TIMEOUT_MS", "600000")]);
    settle_bystanders(&ground);
    let key = ground.store(owner, "asked-for", value_bytes);
    let request = format!("GET /v1/kv/{key}?raw=true HTTP/1.1\r\nHost: t\r\n\r\n");
    let pipeline = request.repeat(PIPELINE_BYTES / request.len()).into_bytes();
    beside(&ground, |neighbours| {
        let mut deaf = crowd(ground.of_core(0), DEAF);
        ask_without_end(&mut deaf, &pipeline);
        neighbours.are_served();
        let resident = proc_fs::resident_bytes(ground.server.pid());
        println!("{resident} bytes are resident, {} were sent", deaf.iter().map(|rude| rude.sent).sum::<usize>());
        assert!(resident < RESIDENT_BYTES_MAX, "{resident} bytes are resident under a budget of {BUDGET_BYTES}");
        assert_bystanders_are_there(&ground);
    });
    assert_eq!(ground.sum("cache_evictions_total"), 0.0, "who does not read evicts nothing of the others'");
}

#[test]
fn pipelines_of_short_values_that_are_not_read() {
    deaf_pipelines(0, 1_000);
}

#[test]
fn pipelines_of_another_cores_short_values_that_are_not_read() {
    deaf_pipelines(1, 1_000);
}

#[test]
fn pipelines_of_long_values_that_are_not_read() {
    deaf_pipelines(0, 2_000_000);
}

#[test]
fn pipelines_of_another_cores_long_values_that_are_not_read() {
    deaf_pipelines(1, 2_000_000);
}

#[test]
fn who_takes_nothing_of_an_answer_is_cut_off() {
    let ground = Ground::new(&[("IDLE_TIMEOUT_MS", "1000")]);
    let key = ground.store(0, "long", 20_000_000);
    let request = format!("GET /v1/kv/{key}?raw=true HTTP/1.1\r\nHost: t\r\n\r\n");
    beside(&ground, |neighbours| {
        let mut deaf = crowd(ground.of_core(0), DEAF);
        deaf.iter_mut().for_each(|rude| assert!(rude.push(request.as_bytes())));
        neighbours.are_served();
        until_all("the server ends it", &mut deaf, Duration::from_millis(100), |rude| !rude.push(b"x"));
    });
}
