//! One thread, one processor and one listening socket for each shard.

use crate::support::proc_fs::{self, Thread};
use crate::support::{Launch, Server, eventually_equal};

fn core_threads(server: &Server) -> Vec<Thread> {
    let mut threads = proc_fs::threads(server.pid());
    threads.retain(|thread| thread.name.starts_with("core-"));
    threads.sort_by_key(|thread| thread.name["core-".len()..].parse::<usize>().expect("core-N"));
    threads
}

#[test]
fn every_shard_has_its_listener_and_its_pinned_thread() {
    let allowed = proc_fs::own_cpus();
    for shards in [1, 2, 4, 8] {
        let server = Server::with_shards(shards);
        let listeners = proc_fs::listening_inodes(server.pid(), server.address().port());
        assert_eq!(listeners.len(), shards, "listening sockets");
        let threads = core_threads(&server);
        let expected: Vec<String> = (0..shards).map(|n| format!("core-{n}")).collect();
        assert_eq!(threads.iter().map(|thread| thread.name.clone()).collect::<Vec<_>>(), expected);
        for (n, thread) in threads.iter().enumerate() {
            assert_eq!(thread.cpus, [allowed[n % allowed.len()]], "{} of {shards}", thread.name);
        }
    }
}

#[test]
fn a_server_on_one_processor_has_one_shard() {
    let cpu = *proc_fs::own_cpus().last().expect("there is a processor");
    let server = Launch::new(&[]).on_cpus(&cpu.to_string()).start();
    let threads = core_threads(&server);
    assert_eq!(threads.iter().map(|thread| thread.cpus.clone()).collect::<Vec<_>>(), [[cpu]]);
    eventually_equal("shards", &Some(1), || {
        server.client().get_path("/readyz").expect_status(200).json()["shards"].as_u64()
    });
    let outside: Vec<Thread> =
        proc_fs::threads(server.pid()).into_iter().filter(|thread| thread.cpus != [cpu]).collect();
    assert!(outside.is_empty(), "threads that escaped taskset: {outside:?}");
}
