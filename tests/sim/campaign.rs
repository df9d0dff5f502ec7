//! Runs plans, each on a thread of its own, and tells of those that fail.

use crate::fault::Fault;
use crate::plan::Plan;
use crate::seen::Seen;
use crate::shrink::shrink;
use crate::world::{Failure, Run, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// Threads with this name panic in silence: whoever has started them tells of it.
const QUIET: &str = "a simulated world";

/// What has come of a run.
pub struct Outcome {
    pub run: Run,
    pub seen: Seen,
    pub history: Vec<String>,
}

/// Follows a plan, on a thread of its own: what threads keep for later use would make a difference to the next run.
pub fn follow(plan: &Plan, fault: Option<Fault>) -> Outcome {
    hush();
    let plan = plan.clone();
    let world = move || {
        let mut world = World::new(&plan.shape, fault);
        let run = catch_unwind(AssertUnwindSafe(|| world.follow(&plan)));
        let run = run.unwrap_or_else(|cause| Err(Failure::new(&format!("panic: {}", reason(&*cause)), "")));
        Outcome { run, seen: world.seen, history: world.history }
    };
    let thread = thread::Builder::new().name(QUIET.to_owned()).spawn(world).expect("threads can be started");
    thread.join().unwrap_or_else(|cause| {
        let run = Err(Failure::new(&format!("panic: {}", reason(&*cause)), "when the world ended"));
        Outcome { run, seen: Seen::default(), history: Vec::new() }
    })
}

fn reason(cause: &(dyn std::any::Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().cloned();
    let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    // Numbers in it may change when a plan is shrunk.
    text.unwrap_or_default().chars().filter(|it| !it.is_ascii_digit()).take(120).collect()
}

fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if thread::current().name() != Some(QUIET) {
                loud(info);
            }
        }));
    });
}

/// Follows the plans of the seeds from `first` on for as long as `goes_on` says. The first one that fails is shrunk and told
/// of.
///
/// # Panics
/// If one fails.
pub fn try_seeds(first: u64, goes_on: impl Fn(u64) -> bool + Sync) -> (u64, Seen) {
    let next = AtomicU64::new(first);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&next, first, &goes_on))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker only counts")).collect()
    });
    let (mut seen, mut tried) = (Seen::default(), 0);
    let mut failed = Vec::new();
    for result in results {
        tried += result.tried;
        seen.add(&result.seen);
        failed.extend(result.failed);
    }
    failed.sort_unstable_by_key(|(seed, _)| *seed);
    if let Some((seed, failure)) = failed.first() {
        tell_of(&Plan::of(*seed), failure);
    }
    (tried, seen)
}

struct Work {
    tried: u64,
    seen: Seen,
    failed: Option<(u64, Failure)>,
}

fn work(next: &AtomicU64, first: u64, goes_on: &(impl Fn(u64) -> bool + Sync)) -> Work {
    let mut work = Work { tried: 0, seen: Seen::default(), failed: None };
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if !goes_on(seed - first) {
            return work;
        }
        let outcome = follow(&Plan::of(seed), None);
        work.tried += 1;
        work.seen.add(&outcome.seen);
        if let Err(failure) = outcome.run {
            work.failed = Some((seed, failure));
            // Nobody begins another one.
            next.fetch_add(u64::MAX / 4, Ordering::Relaxed);
            return work;
        }
    }
}

/// Shrinks a plan that fails, saves what is left of it, and says how to see it fail again.
///
/// # Panics
/// Always.
pub fn tell_of(plan: &Plan, failure: &Failure) -> ! {
    let began = Instant::now();
    println!("SIM_SEED={} fails: {}: {:.3000}", plan.seed, failure.kind, failure.text);
    let shrunk = shrink(plan, failure, |plan| follow(plan, None).run.err());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sim-{}.plan", plan.seed));
    std::fs::write(&path, shrunk.plan.text()).expect("the target directory can be written to");
    println!("{} steps of {}, after {:?}:", shrunk.plan.steps.len(), plan.steps.len(), began.elapsed());
    println!("{}", shrunk.plan.text());
    println!("SIM_PLAN={} cargo test --test sim", path.display());
    panic!("SIM_SEED={}: {}: {}", plan.seed, shrunk.failure.kind, shrunk.failure.text);
}

/// The first plan of so many seeds in which a fault is found, and how.
pub fn find(fault: Fault, seeds: u64) -> Option<(Plan, Failure)> {
    (1..=seeds).map(Plan::of).find_map(|plan| follow(&plan, Some(fault)).run.err().map(|failure| (plan, failure)))
}
