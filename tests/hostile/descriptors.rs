//! A server that gets no more descriptors.

use crate::ground::Ground;
use crate::neighbours::{Neighbours, beside};
use crate::sockets::{Rude, crowd, until_all};
use crate::support::{Launch, proc_fs};
use std::fs;
use std::time::Duration;

const REQUEST: &[u8] = b"GET /v1/kv/absent HTTP/1.1\r\nHost: t\r\n\r\n";
const WAITING: usize = 100;
/// Rounds of the neighbours in which CPU time is counted.
const ROUNDS: u64 = 100;
/// To try again a hundred times a second takes some CPU as well; a loop that spins takes all there is.
const CPU_FACTOR_MAX: u32 = 3;
const CPU_BESIDES: Duration = Duration::from_millis(200);

/// Sets how many descriptors the server may have open; gives how many that was.
fn allow_descriptors(ground: &Ground, count: u64) -> u64 {
    let pid = i32::try_from(ground.server.pid()).expect("process IDs fit");
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit, which the kernel fills in.
    let asked = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut before) };
    let wanted = libc::rlimit { rlim_cur: count, ..before };
    // SAFETY: the pointer is to a live rlimit, which the kernel only reads.
    let set = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const wanted, std::ptr::null_mut()) };
    assert_eq!((asked, set), (0, 0), "{}", std::io::Error::last_os_error());
    before.rlim_cur
}

/// The number that the next descriptor of the server will have: the limit is one on numbers.
fn lowest_free_descriptor(ground: &Ground) -> u64 {
    let is_open = |number: &u64| fs::symlink_metadata(format!("/proc/{}/fd/{number}", ground.server.pid())).is_ok();
    (0..).find(|number| !is_open(number)).expect("numbers without end")
}

/// CPU time of the server while the neighbours are served for some rounds.
fn cpu_of_rounds(ground: &Ground, neighbours: &Neighbours) -> Duration {
    let before = proc_fs::cpu_time(ground.server.pid());
    neighbours.are_served_for(ROUNDS);
    proc_fs::cpu_time(ground.server.pid()) - before
}

#[test]
fn without_descriptors_nobody_new_is_let_in_and_nothing_spins() {
    let ground = Ground::new(&[]);
    beside(&ground, |neighbours| {
        let usual = cpu_of_rounds(&ground, neighbours);
        let allowed = allow_descriptors(&ground, lowest_free_descriptor(&ground));
        let mut waiting = crowd(ground.of_core(0), WAITING);
        waiting.iter_mut().for_each(|rude| assert!(rude.push(REQUEST)));
        ground.server.log_line("a complaint", |line| line.contains("cannot accept connections"));
        let starved = cpu_of_rounds(&ground, neighbours);
        println!("CPU of {ROUNDS} rounds: {usual:?} usually, {starved:?} without descriptors");
        assert!(starved < usual * CPU_FACTOR_MAX + CPU_BESIDES, "{starved:?} of CPU instead of {usual:?}");
        assert!(!waiting.iter().any(Rude::has_heard), "nobody can have been let in");
        let complaints = ground.server.log_lines().iter().filter(|line| line.contains("cannot accept")).count();
        assert!(complaints < 100, "{complaints} complaints about the same thing");
        allow_descriptors(&ground, allowed);
        until_all("who waited is served", &mut waiting, Duration::from_millis(20), |rude| {
            rude.has_been_answered_with(b"HTTP/1.1 404")
        });
    });
}

#[test]
fn a_low_limit_on_descriptors_is_a_limit_on_connections() {
    let launch = Launch::new(&[("SHARDS", "2"), ("SHARD_PORTS_FROM", "0")]).under(&["prlimit", "--nofile=200:200"]);
    let ground = Ground::of(&launch);
    let served = beside(&ground, |neighbours| {
        let mut many = crowd(ground.of_core(0), 500);
        many.iter_mut().for_each(|rude| {
            rude.push(REQUEST);
        });
        until_all("each is served or turned away", &mut many, Duration::from_millis(20), |rude| rude.has_heard());
        neighbours.are_served();
        let served = many.iter().filter(|rude| rude.has_been_answered_with(b"HTTP/1.1 404")).count();
        println!("{served} of {} were served", many.len());
        assert!((100..200).contains(&served), "{served} were served");
        served
    });
    assert_eq!(ground.refused("max_connections") + served as f64, 500.0);
}
