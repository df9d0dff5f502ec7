//! What a hop takes on this machine: two threads, each pinned to a CPU of its own with a core on it, and the real lanes between
//! them. Neither sleeps while hops are measured, and there are no sockets.

use crate::clients::{Clients, Spread, Workload};
use crate::core::{Asked, Core, moment};
use crate::epoll::Epoll;
use crate::on_lanes::OnLanes;
use cache_service::routing::{Router, ShardId};
use cache_service::runtime::lanes::{Arrival, Bell, Lanes};
use cache_service::session::ConnId;
use core_affinity::CoreId;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const KEYS: u64 = 100_000;
const IN_FLIGHT: usize = 64;
const ROUNDS: u64 = 1_000_000;
const RINGS: usize = 300;
/// Long enough for the other thread to have gone to sleep.
const PAUSE: Duration = Duration::from_micros(300);

/// Measures, and prints what it found.
///
/// # Errors
/// If the kernel has no descriptors.
pub fn print() -> io::Result<()> {
    let router = Router::new(2, [3, 4]);
    let clients = Clients::new(Workload::Uniform, router, 1, Spread::Even, KEYS, 1);
    let (lanes, _outside) = Lanes::connect(2, 1_000, 2_024);
    let Ok([here, there]) = <[Lanes; 2]>::try_from(lanes) else { panic!("each core has its lanes") };
    let mut asker = Side::new(ShardId(0), router, here);
    let mut owner = Side::new(ShardId(1), router, there);
    let (own, foreign) = asker.fill(&mut owner, &clients);
    let [mine, other] = two_cpus();
    pin(mine);
    let nanos_of_own = asker.ask_all(&own);
    let is_over = AtomicBool::new(false);
    let (nanos_of_foreign, nanos_of_serving) = thread::scope(|scope| {
        let serving = scope.spawn(|| {
            pin(other);
            owner.serve_until(&is_over)
        });
        let nanos = asker.ask_all(&foreign);
        is_over.store(true, Ordering::Relaxed);
        (nanos, serving.join().expect("it only serves"))
    });
    println!("own key, no sockets: {nanos_of_own} ns at the core that is asked");
    println!("foreign key, no sockets: {nanos_of_foreign} ns there, {nanos_of_serving} ns at the owner");
    let (ringing, waking) = measure_bells(other)?;
    println!("a bell, medians: {ringing} ns for whoever rings, {waking} ns until the sleeper is awake");
    Ok(())
}

struct Side {
    core: Core,
    ends: OnLanes,
}

impl Side {
    fn new(me: ShardId, router: Router, lanes: Lanes) -> Self {
        Self { core: Core::new(me, router, 1_000), ends: OnLanes(lanes) }
    }

    /// Stores all keys where they belong. Returns the requests for those of each core.
    fn fill(&mut self, other: &mut Self, clients: &Clients) -> (Vec<String>, Vec<String>) {
        let mut requests = (Vec::new(), Vec::new());
        for number in 0..KEYS {
            let (owner, store) = clients.store(number);
            let (side, list) = if owner == 0 { (&mut *self, &mut requests.0) } else { (&mut *other, &mut requests.1) };
            side.ask(&store);
            side.take_answers();
            list.push(Clients::get(number));
        }
        requests
    }

    fn ask(&mut self, wire: &str) {
        let conn = self.core.take_connection(Asked { client: 0, at: 0 });
        self.core.engine.receive(moment(0), &mut self.ends, conn, wire.as_bytes());
        self.take_answer(conn);
    }

    fn take_answer(&mut self, conn: ConnId) -> u64 {
        let len = self.core.engine.output(conn).len();
        if len == 0 {
            return 0;
        }
        self.core.engine.sent(moment(0), &mut self.ends, conn, len);
        self.core.give_back(conn);
        1
    }

    fn take_answers(&mut self) -> u64 {
        let mut taken = 0;
        while let Some(conn) = self.core.engine.next_dirty() {
            taken += self.take_answer(conn);
        }
        self.core.engine.settle(moment(0), &mut self.ends);
        self.ends.0.ring();
        taken
    }

    /// Keeps requests under way; what each took, in nanoseconds: the median of all turns, since a turn in which the other work
    /// of the machine took this CPU away tells nothing.
    fn ask_all(&mut self, wires: &[String]) -> u64 {
        let (mut asked, mut next, mut turns) = (0, wires.iter().cycle(), Vec::new());
        while asked < ROUNDS || self.core.asked() > 0 {
            let (began, before) = (Instant::now(), asked);
            while asked < ROUNDS && self.core.asked() < IN_FLIGHT && asked - before < IN_FLIGHT as u64 {
                self.ask(next.next().expect("each core owns keys"));
                asked += 1;
            }
            self.ends.0.ring();
            while let Some(Arrival::Reply(parcel)) = self.ends.0.next_arrival() {
                self.core.engine.come_back(moment(0), &mut self.ends, parcel);
            }
            self.take_answers();
            if asked > before {
                turns.push(nanos(began, Instant::now()) / (asked - before));
            }
        }
        median(turns)
    }

    /// Serves another core. Returns what a parcel took, in nanoseconds, in the same way.
    fn serve_until(&mut self, is_over: &AtomicBool) -> u64 {
        let mut turns = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let (began, mut served) = (Instant::now(), 0);
            while let Some(Arrival::Work(parcel)) = self.ends.0.next_arrival() {
                self.core.engine.carry_out(moment(0), &mut self.ends, parcel);
                served += 1;
            }
            self.ends.0.ring();
            turns.extend(nanos(began, Instant::now()).checked_div(served));
        }
        median(turns)
    }
}

/// Two CPUs, one for each thread.
fn two_cpus() -> [CoreId; 2] {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    let [one, other, ..] = cpus[..] else { panic!("this needs two CPUs") };
    [one, other]
}

fn pin(cpu: CoreId) {
    assert!(core_affinity::set_for_current(cpu), "the kernel has just named this CPU");
}

/// Rings at a thread that sleeps: what that takes, and how long until it is awake.
fn measure_bells(other: CoreId) -> io::Result<(u64, u64)> {
    let bells: Vec<Bell> = (0..RINGS).map(|_| Bell::default()).collect();
    let armed: Vec<AtomicBool> = bells.iter().map(|_| AtomicBool::new(false)).collect();
    let (rung, woken) = thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            pin(other);
            bells.iter().zip(&armed).map(|(bell, armed)| sleep(bell, armed)).collect::<io::Result<Vec<Instant>>>()
        });
        let rung: Vec<_> = bells.iter().zip(&armed).map(|(bell, armed)| ring(bell, armed)).collect();
        (rung, sleeper.join().expect("it only sleeps"))
    });
    let ringing = rung.iter().map(|(began, ended)| nanos(*began, *ended)).collect();
    let waking = rung.iter().zip(woken?).map(|((began, _), woken)| nanos(*began, woken)).collect();
    Ok((median(ringing), median(waking)))
}

fn sleep(bell: &Bell, is_armed: &AtomicBool) -> io::Result<Instant> {
    let (epoll, mut ready) = (Epoll::new()?, Vec::new());
    epoll.watch(&bell.hang()?, 0)?;
    bell.arm();
    is_armed.store(true, Ordering::Release);
    epoll.wait(&mut ready, None)?;
    Ok(Instant::now())
}

fn ring(bell: &Bell, is_armed: &AtomicBool) -> (Instant, Instant) {
    while !is_armed.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
    let until = Instant::now() + PAUSE;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    let began = Instant::now();
    bell.ring();
    (began, Instant::now())
}

fn nanos(began: Instant, ended: Instant) -> u64 {
    u64::try_from(ended.duration_since(began).as_nanos()).unwrap_or(u64::MAX)
}

fn median(mut found: Vec<u64>) -> u64 {
    found.sort_unstable();
    found[found.len() / 2]
}
