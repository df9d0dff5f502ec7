//! The kernel has no more memory to give. What is asked for a long value is asked for in large pieces, and can be refused.

use crate::support::{Server, eventually, proc_fs};

/// A value that cannot be held.
const LARGE_BYTES: usize = 64 << 20;
/// The address space that is left: enough for small requests.
const LEFT_BYTES: u64 = 16 << 20;

/// A server that has all that it needs to serve, and may have no more than [`LEFT_BYTES`] from now on. Gives the limit
/// that it had.
fn short_of_memory() -> (Server, u64) {
    let budget = (1_u64 << 30).to_string();
    let server = Server::start(&[("SHARDS", "2"), ("MEMORY_BUDGET_BYTES", &budget)]);
    let mut client = server.client();
    (0..64).for_each(|n| drop(client.put_value(&format!("k{n}"), &n.to_string()).expect_status(201)));
    server.metrics();
    let before =
        proc_fs::set_soft_limit(server.pid(), libc::RLIMIT_AS, proc_fs::virtual_bytes(server.pid()) + LEFT_BYTES);
    (server, before)
}

#[test]
fn a_body_for_which_there_is_no_memory_is_refused_and_all_else_goes_on() {
    let (mut server, before) = short_of_memory();
    let large = vec![b'x'; LARGE_BYTES];
    let json = format!("{{\"value\":\"{}\"}}", "x".repeat(LARGE_BYTES));
    let batch = format!(
        "{{\"items\":[{{\"key\":\"a\",\"value\":1}},{{\"key\":\"b\",\"value\":\"{}\"}}]}}",
        "x".repeat(LARGE_BYTES)
    );
    for round in 0..3 {
        // Both shards, whichever core has the connection.
        for n in 0..4 {
            let mut client = server.client();
            let answers = [
                client.put_bytes(&format!("large-{n}"), "application/octet-stream", &large),
                client.put(&format!("large-{n}"), &json),
                client.post("/v1/kv/batch/set", &batch),
            ];
            for answer in answers {
                let answer = answer.expect_status(503);
                assert_eq!(answer.json()["error"]["code"], "SERVICE_UNAVAILABLE", "round {round}");
                assert!(answer.required("Retry-After").parse::<u32>().is_ok_and(|secs| secs > 0), "{answer:?}");
            }
            client.get(&format!("large-{n}")).expect_status(404);
        }
        let mut client = server.client();
        (0..64).for_each(|n| assert_eq!(client.get(&format!("k{n}")).expect_status(200).json()["value"], n));
        assert!(server.is_running());
    }
    assert!(server.metrics().sum_where("cache_backpressure_total", &[("reason", "no_memory")]) >= 36.0);
    proc_fs::set_soft_limit(server.pid(), libc::RLIMIT_AS, before);
    eventually("there is memory again", || {
        let status = server.client().put_bytes("large-0", "application/octet-stream", &large).status;
        (status == 201).then_some(())
    });
    assert_eq!(server.client().get_path("/v1/kv/large-0?raw=true").expect_status(200).body, large);
}

#[test]
fn a_cache_that_the_kernel_lets_grow_no_further_goes_on_as_a_smaller_one() {
    let (mut server, before) = short_of_memory();
    let mut client = server.client();
    let value = format!("\"{}\"", "v".repeat(16_000));
    // Three times what there is memory for, of a budget that would have room for all of it.
    let (keys, mut refused) = (3 * LEFT_BYTES / 16_000, 0);
    for n in 0..keys {
        let answer = client.put_value(&format!("short-{n}"), &value);
        match answer.status {
            201 => assert_eq!(client.get(&format!("short-{n}")).expect_status(200).member_text("value"), value),
            503 => refused += 1,
            _ => panic!("{answer:?}"),
        }
    }
    assert!(server.is_running());
    // While nobody writes the limit is raised again, and nothing tells that there is still no memory.
    let missing = || server.metrics().sum("cache_memory_denied_bytes");
    let missed = missing();
    assert!(missed > (512 << 20) as f64, "{missed} bytes of the budget are missing");
    println!("{refused} of {keys} writes were refused");
    assert!(refused * 10 < keys, "{refused} of {keys} writes were refused");
    let kept = (0..keys).filter(|n| client.get(&format!("short-{n}")).status == 200).count();
    let denied = server.metrics().sum_where("cache_backpressure_total", &[("reason", "no_memory")]);
    assert!(denied > 0.0, "nobody was told");
    assert!(kept > 500 && (kept as u64) < keys, "{kept} of {keys} entries are there");
    proc_fs::set_soft_limit(server.pid(), libc::RLIMIT_AS, before);
    // By itself, and step by step: nobody reads the configuration again.
    wait_until_all_is_there(missing);
    (0..keys).for_each(|n| drop(client.put_value(&format!("short-{n}"), &value)));
    assert!((0..keys).all(|n| client.get(&format!("short-{n}")).status == 200), "there is room for all again");
}

/// Waits for the budget to be whole again: each second it grows by a part.
#[track_caller]
fn wait_until_all_is_there(missing: impl Fn() -> f64) {
    let mut before = missing();
    while before > 0.0 {
        before = eventually("more of the budget", || Some(missing()).filter(|now| *now < before));
    }
}

/// A small shard that is denied memory early comes back as well; how much there is of it is no matter of how large it was.
#[test]
fn a_small_cache_that_was_denied_memory_early_grows_again() {
    let budget = (32_u64 << 20).to_string();
    let server = Server::start(&[("SHARDS", "1"), ("MEMORY_BUDGET_BYTES", &budget)]);
    let mut client = server.client();
    let value = format!("\"{}\"", "v".repeat(8_000));
    server.metrics();
    let most = proc_fs::virtual_bytes(server.pid()) + (512 << 10);
    let before = proc_fs::set_soft_limit(server.pid(), libc::RLIMIT_AS, most);
    let missing = || server.metrics().sum("cache_memory_denied_bytes");
    for n in 0..500 {
        client.put_value(&format!("short-{n}"), &value);
    }
    assert!(missing() > 0.0, "nothing was denied");
    // It would fit into the budget: who asks again when there is memory gets it.
    client.put_bytes("long", "a/b", &vec![b'x'; 4_000_000]).expect_status(503);
    proc_fs::set_soft_limit(server.pid(), libc::RLIMIT_AS, before);
    wait_until_all_is_there(missing);
    (0..500).for_each(|n| drop(client.put_value(&format!("short-{n}"), &value)));
    assert!((0..500).all(|n| client.get(&format!("short-{n}")).status == 200), "there is room for all");
}

/// A shard that has one block can have no spare one; it empties that one, and goes on.
#[test]
fn a_shard_of_one_block_lives_on_when_it_is_denied_the_second() {
    let budget = (1_u64 << 30).to_string();
    let mut server = Server::start(&[("SHARDS", "1"), ("MEMORY_BUDGET_BYTES", &budget)]);
    let mut client = server.client();
    let value = format!("\"{}\"", "v".repeat(16_000));
    (0..16).for_each(|n| drop(client.put_value(&format!("first-{n}"), &value).expect_status(201)));
    server.metrics();
    let most = proc_fs::virtual_bytes(server.pid()) + (512 << 10);
    let before = proc_fs::set_soft_limit(server.pid(), libc::RLIMIT_AS, most);
    let mut stored = 0;
    for n in 0..300 {
        let answer = client.put_value(&format!("short-{n}"), &value);
        assert!(matches!(answer.status, 201 | 503), "{answer:?}");
        stored += usize::from(answer.status == 201);
    }
    assert!(server.is_running());
    assert!(stored > 200, "{stored} of 300 were stored");
    assert_eq!(client.get("short-299").status, 200);
    proc_fs::set_soft_limit(server.pid(), libc::RLIMIT_AS, before);
}
