//! A run: its threads, its beginning and its end.

use super::connection::{Connection, Failure};
use super::keyspace::Draw;
use super::schedule::Schedule;
use super::tally::Tally;
use super::worker::Worker;
use super::{Peer, Plan};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Stack of a worker: it calls nothing deep, and a thousand of them are to be had.
pub(super) const STACK_BYTES: usize = 256 * 1024;
/// How often the end of the run is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// What the start of a thread is allowed to take, so that all are there when the first has to send.
const START_OF_THREAD: Duration = Duration::from_micros(100);

/// What all workers of a run share.
pub(super) struct Shared<'a> {
    pub start: Instant,
    pub end: Instant,
    pub answered: AtomicU64,
    pub failed: AtomicU64,
    stop: &'a AtomicBool,
}

impl Shared<'_> {
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// How long requests have been sent.
    pub elapsed: Duration,
    /// How long they will be.
    pub duration: Duration,
    /// Requests that are done, those that failed included.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was seen.
    pub tally: Tally,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// Opens every connection, one after the other.
///
/// # Errors
/// In words, if one of them cannot be opened.
pub fn connect(plan: &Plan, peer: &Arc<Peer>) -> Result<Vec<Connection>, String> {
    let mut connections = Vec::with_capacity(plan.connections);
    for number in 1..=plan.connections {
        let mut connection = Connection::new(Arc::clone(peer), plan.timeout);
        connection.open().map_err(|failure| no_connection(number, plan, &failure))?;
        connections.push(connection);
    }
    Ok(connections)
}

fn no_connection(number: usize, plan: &Plan, failure: &Failure) -> String {
    let text = failure.to_string();
    let hint = if text.contains("open files") { "; raise the limit with `ulimit -n 4096`" } else { "" };
    format!("connection {number} of {}: {text}{hint}", plan.connections)
}

/// Does what the plan says over these connections, until its end or until `stop` is set; tells `watch` every second.
///
/// # Errors
/// In words, if the plan cannot be carried out on this machine.
pub fn run(
    plan: &Plan,
    connections: Vec<Connection>,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Progress),
) -> Result<Outcome, String> {
    wake_on_time();
    let draw = Draw::new(plan.distribution, plan.keys.count).map_err(|error| error.to_string())?;
    let start = Instant::now() + START_OF_THREAD * u32::try_from(connections.len()).unwrap_or(u32::MAX);
    let (answered, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let shared = Shared { start, end: start + plan.duration, answered, failed, stop };
    let count = connections.len() as u64;
    std::thread::scope(|scope| {
        let workers = (0..).zip(connections).map(|(index, connection)| {
            let worker = Worker::new(plan, &shared, draw, index, connection);
            let schedule = plan.rate.map(|rate| Schedule::new(rate, count, index));
            spawn(scope, move || {
                let tally = match schedule {
                    None => worker.closed_loop(),
                    Some(schedule) => worker.open_loop(schedule),
                };
                (tally, Instant::now())
            })
        });
        let workers: Vec<_> = workers.collect::<Result<_, _>>().inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        supervise(plan, &shared, &workers, watch);
        let (mut tally, mut last) = (Tally::default(), shared.start);
        for worker in workers {
            let (own, ended) = worker.join().map_err(|_| "a worker panicked".to_owned())?;
            tally.add(own);
            last = last.max(ended);
        }
        Ok(Outcome { tally, elapsed: last - shared.start, interrupted: shared.stopped() })
    })
}

/// Has the kernel wake this thread, and those that it starts, when they asked to be woken: by default it takes the
/// liberty of 50 microseconds, which an open loop would count as latency.
fn wake_on_time() {
    const SLACK_NS: libc::c_ulong = 1;
    // SAFETY: this option takes a plain number and concerns nothing but the thread's timers. A refusal costs accuracy.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NS) };
}

/// Starts a thread with a small stack.
pub(super) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, String> {
    let builder = Builder::new().name("load".to_owned()).stack_size(STACK_BYTES);
    builder.spawn_scoped(scope, work).map_err(|error| format!("cannot start a thread for each connection: {error}"))
}

fn supervise<T>(
    plan: &Plan,
    shared: &Shared<'_>,
    workers: &[ScopedJoinHandle<'_, T>],
    watch: &mut dyn FnMut(Progress),
) {
    let mut next = shared.start + PROGRESS_EVERY;
    while !workers.iter().all(ScopedJoinHandle::is_finished) {
        std::thread::sleep(LOOK_EVERY);
        if Instant::now() >= next {
            next += PROGRESS_EVERY;
            watch(Progress {
                elapsed: shared.start.elapsed(),
                duration: plan.duration,
                requests: shared.answered.load(Ordering::Relaxed),
                failed: shared.failed.load(Ordering::Relaxed),
            });
        }
    }
}
