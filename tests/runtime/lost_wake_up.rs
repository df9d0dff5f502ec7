//! glommio 0.9 can park an executor while its tasks are runnable: once the preempt timer has fired, `run_task_queues`
//! says the same as when there is nothing to run. Shown here with timers far shorter than the server's, so that it
//! happens within moments; and undone by the supervisor's pings.

use cache_service::runtime::lanes::{CoreFace, Facts, Lanes, Outside};
use cache_service::runtime::notify::Watchdog;
use cache_service::runtime::supervisor::{self, Duties};
use crossbeam_channel::{Receiver, Sender, unbounded};
use glommio::{LocalExecutorBuilder, Placement};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Two thousand times shorter than the server's: it fires in every hundredth pass or so.
const PREEMPT_TIMER: Duration = Duration::from_micros(50);
/// Passes of the ball in one game, some ten times as many as it usually takes until a game stalls.
const PASSES: u64 = 20_000;
/// A ball that lies for so long lies for ever: nothing else is running that could hit it.
const STALLED_AFTER: Duration = Duration::from_secs(2);
/// Players who are not there by then have lost their very first wake-up.
const LATE_AFTER: Duration = Duration::from_secs(1);
/// Games played without a supervisor until one stalls.
const GAMES_MAX: usize = 20;
/// Games that must end with a supervisor.
const GAMES_SUPERVISED: usize = 6;
/// How long a game may take before the test gives up on it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// Two executors that pass one number to and fro, over channels and doorbells as the cores do.
struct Game {
    cores: Vec<Outside>,
    passes: Arc<AtomicU64>,
    players: Vec<JoinHandle<()>>,
}

/// One side of a game.
struct Player {
    face: Arc<CoreFace>,
    inbox: Receiver<u64>,
    opponent: Sender<u64>,
    opponent_face: Arc<CoreFace>,
    passes: Arc<AtomicU64>,
    ready: mpsc::Sender<()>,
}

impl Game {
    /// A game whose players are both at their doorbells. A player can park before its first look there, and nobody
    /// has a waker of its yet: such a game is left alone, and another one begun.
    #[track_caller]
    fn begin() -> Self {
        let games = std::iter::repeat_with(Self::invite).take(GAMES_MAX);
        games.flatten().next().expect("two executors can be started")
    }

    fn invite() -> Option<Self> {
        let (ready, readiness) = mpsc::channel();
        let game = Self::with(&ready);
        (0..2).all(|_| readiness.recv_timeout(LATE_AFTER).is_ok()).then_some(game)
    }

    fn with(ready: &mpsc::Sender<()>) -> Self {
        let (_, cores) = Lanes::connect(2, 1, 1);
        let passes = Arc::new(AtomicU64::new(0));
        let ((to_a, in_a), (to_b, in_b)) = (unbounded(), unbounded());
        to_a.send(1).expect("the receiver is alive");
        let sides = [(0, in_a, to_b), (1, in_b, to_a)];
        let players = sides.map(|(me, inbox, opponent)| {
            let (face, opponent_face) = (Arc::clone(&cores[me].face), Arc::clone(&cores[1 - me].face));
            Player { face, inbox, opponent, opponent_face, passes: Arc::clone(&passes), ready: ready.clone() }
        });
        let players = players.into_iter().map(|player| std::thread::spawn(move || player.play())).collect();
        Self { cores, passes, players }
    }

    fn supervise(&self) {
        let duties = Duties {
            facts_every_ms: Arc::new(AtomicU64::new(u64::MAX)),
            read_facts: Facts::default,
            watchdog: Watchdog::default(),
            hung_after: u64::MAX - 1,
            on_hung: |_| {},
        };
        supervisor::start(self.cores.clone(), duties).expect("a thread can be started");
    }

    /// Watches until the game is over (true) or has stalled.
    fn watch(&self) -> bool {
        let mut last = (0, Instant::now());
        loop {
            let passes = self.passes.load(Ordering::Relaxed);
            if passes >= PASSES {
                return true;
            }
            if passes != last.0 {
                last = (passes, Instant::now());
            } else if last.1.elapsed() > STALLED_AFTER {
                return false;
            }
            sleep(Duration::from_millis(1));
        }
    }

    #[track_caller]
    fn must_end(self) {
        let began = Instant::now();
        while !self.players.iter().all(JoinHandle::is_finished) {
            assert!(began.elapsed() < GIVE_UP_AFTER, "still at pass {}", self.passes.load(Ordering::Relaxed));
            sleep(Duration::from_millis(1));
        }
        for player in self.players {
            player.join().expect("nobody panics");
        }
    }
}

impl Player {
    fn play(self) {
        let executor = LocalExecutorBuilder::new(Placement::Unbound).preempt_timer(PREEMPT_TIMER).io_memory(64 * 1024);
        executor.make().expect("an executor can be made").run(poll_fn(|cx| self.poll(cx)));
    }

    /// What a core does at its doorbell.
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.face.bell.disarm();
        self.face.answered.store(self.face.pinged.load(Ordering::Relaxed), Ordering::Relaxed);
        while let Ok(pass) = self.inbox.try_recv() {
            self.passes.store(pass, Ordering::Relaxed);
            // The opponent may have gone home after the last pass.
            let _ = self.opponent.send(pass + 1);
            self.opponent_face.bell.ring();
            if pass >= PASSES {
                return Poll::Ready(());
            }
        }
        self.face.bell.arm(cx.waker());
        // Heard once; afterwards nobody listens any more.
        let _ = self.ready.send(());
        if !self.inbox.is_empty() {
            self.face.bell.disarm();
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

#[test]
fn a_game_that_stalls_is_brought_to_its_end_by_the_supervisor() {
    for number in 1..=GAMES_MAX {
        let game = Game::begin();
        let stalled = !game.watch();
        println!("game {number}: {} passes, stalled: {stalled}", game.passes.load(Ordering::Relaxed));
        game.supervise();
        game.must_end();
        if stalled {
            return;
        }
    }
    // What matters is that every game ended. Whether one stalls is up to glommio and the machine.
    println!("no game of {GAMES_MAX} stalled: if glommio has mended this, docs/adr/0003 is to be looked at again");
}

#[test]
fn supervised_games_end() {
    for _ in 0..GAMES_SUPERVISED {
        let game = Game::begin();
        game.supervise();
        game.must_end();
    }
}
