//! N engines in one thread, under a clock that moves from event to event. What a core does in a turn is what
//! `runtime::core` has it do, in the same order; how long that takes is what [`Costs`] says.

use crate::agenda::{Agenda, Event};
use crate::clients::{Clients, Workload};
use crate::core::{self, Core, Phase, Request, moment};
use crate::costs::{self, Costs};
use crate::options::Setting;
use crate::post::{Arrival, Post, lines_of_answer, lines_of_question};
use crate::tally::Tally;
use cache_service::limits::{LANE_BURST_MAX, TICK_MS, TURN_US_MAX};
use cache_service::routing::{Router, ShardId};
use cache_service::session::ConnId;

/// How clients ask.
#[derive(Clone, Copy, Debug)]
pub enum Loop {
    /// Each again when it has been answered.
    Closed,
    /// All together at random, so many nanoseconds from each other on average, whatever becomes of it.
    Open(f64),
}

/// Everything.
#[derive(Debug)]
pub struct World {
    cores: Vec<Core>,
    post: Post,
    agenda: Agenda,
    clients: Clients,
    costs: Costs,
    keys_per_request: u64,
    pace: Loop,
    /// Whether clients go on asking.
    is_asking: bool,
    tally: Tally,
    now: u64,
}

const OK: &[u8] = b"HTTP/1.1 200 ";
const BUSY: &[u8] = b"HTTP/1.1 503 ";
const CREATED: &[u8] = b"HTTP/1.1 201 ";

impl World {
    /// So many cores, whose shards hold all keys already, and their clients.
    pub fn new(cores: u16, workload: Workload, setting: &Setting) -> Self {
        let router = Router::new(cores, [setting.seed, 4]);
        let count = usize::from(cores);
        let clients = count * setting.connections;
        let mut world = Self {
            cores: (0..cores).map(|core| Core::new(ShardId(core), router, setting.inflight)).collect(),
            post: Post::new(count, setting.mailbox),
            agenda: Agenda::default(),
            clients: Clients::new(workload, router, clients, setting.spread, setting.keys, setting.seed),
            costs: setting.costs,
            keys_per_request: workload.keys(),
            pace: Loop::Closed,
            is_asking: false,
            tally: Tally::default(),
            now: 0,
        };
        (0..setting.keys).for_each(|key| world.store(key));
        world
    }

    fn store(&mut self, key: u64) {
        let (owner, wire) = self.clients.store(key);
        let (core, now) = (&mut self.cores[owner], moment(self.now));
        let conn = core.take_connection(core::Asked { client: 0, at: self.now });
        core.engine.receive(now, &mut self.post, conn, wire.as_bytes());
        let output = core.engine.output(conn);
        assert!(output.starts_with(CREATED), "{}", String::from_utf8_lossy(output));
        let len = output.len();
        core.engine.sent(now, &mut self.post, conn, len);
        core.engine.settle(now, &mut self.post);
        core.give_back(conn);
    }

    /// Has `requests` requests answered, of which the first tenth counts for nothing, and comes to rest.
    pub fn run(&mut self, pace: Loop, requests: u64) -> Tally {
        (self.pace, self.is_asking) = (pace, true);
        self.begin_to_ask();
        self.go_on_until(requests / 10);
        self.begin_to_count();
        let began = self.now;
        self.go_on_until(requests - requests / 10);
        let mut tally = std::mem::take(&mut self.tally);
        tally.traffic = self.post.traffic;
        tally.passed = self.now - began;
        tally.worked = self.cores.iter().map(|core| core.worked).collect();
        self.is_asking = false;
        self.go_on_until(u64::MAX);
        assert!(self.cores.iter().all(|core| core.phase == Phase::Asleep && core.engine.is_quiet()), "the cores rest");
        self.begin_to_count();
        tally
    }

    fn begin_to_ask(&mut self) {
        match self.pace {
            Loop::Open(_) => self.agenda.enter(self.now, Event::AskAndDraw),
            Loop::Closed => {
                for client in 0..self.clients.count() {
                    let at = self.now + self.clients.pause(self.costs.client_ns as f64);
                    self.agenda.enter(at, Event::Ask(client));
                }
            }
        }
    }

    fn begin_to_count(&mut self) {
        self.tally = Tally::default();
        self.post.traffic = Default::default();
        self.cores.iter_mut().for_each(|core| core.worked = 0);
    }

    /// Lets time pass until so many more requests are answered, or nothing happens any more.
    fn go_on_until(&mut self, answers: u64) {
        let target = self.tally.answers().saturating_add(answers);
        while self.tally.answers() < target {
            let Some((at, event)) = self.agenda.next() else { return };
            self.now = at;
            match event {
                Event::Step(core) => self.step(core),
                Event::Ask(client) => self.ask(client),
                Event::AskAndDraw => self.ask_and_draw(),
            }
        }
    }

    fn ask_and_draw(&mut self) {
        let Loop::Open(mean_ns) = self.pace else { unreachable!("only an open loop draws times") };
        if self.is_asking {
            let client = self.clients.any();
            self.ask(client);
            self.agenda.enter(self.now + self.clients.pause(mean_ns), Event::AskAndDraw);
        }
    }

    /// A request reaches its core.
    fn ask(&mut self, client: usize) {
        if self.is_asking {
            let (number, wire) = self.clients.request(client);
            let core = &mut self.cores[number];
            let conn = core.take_connection(core::Asked { client, at: self.now });
            core.requests.push_back(Request { conn, wire });
            self.wake(number, self.now);
        }
    }

    /// Wakes a core if it sleeps.
    fn wake(&mut self, number: usize, at: u64) {
        let core = &mut self.cores[number];
        if core.phase == Phase::Asleep {
            core.phase = Phase::Waking;
            self.agenda.enter(at + self.costs.wake_ns, Event::Step(number));
        }
    }

    /// One step of a core: the next thing that takes time.
    fn step(&mut self, number: usize) {
        while self.cores[number].phase != Phase::Asleep {
            let took = match self.cores[number].phase {
                Phase::Asleep => return,
                Phase::Waking => self.wake_up(number),
                Phase::Sockets => self.read_a_socket(number),
                Phase::Arrivals => self.take_a_parcel(number),
                Phase::Places => self.give_places(number),
                Phase::Answers => self.send_an_answer(number),
                Phase::Waiting => self.wait(number),
            };
            if let Some(took) = took {
                self.cores[number].worked += took;
                return self.agenda.enter(self.now + took, Event::Step(number));
            }
        }
    }

    fn wake_up(&mut self, number: usize) -> Option<u64> {
        self.begin_turn(number);
        Some(self.costs.sleep_ns)
    }

    fn begin_turn(&mut self, number: usize) {
        let core = &mut self.cores[number];
        (core.is_armed, core.phase, core.began) = (false, Phase::Sockets, self.now);
        (core.taken, core.has_more, core.has_traded) = (0, false, false);
        if self.now >= core.next_tick {
            core.has_more = core.engine.tick(moment(self.now), &mut self.post);
            core.next_tick = self.now + TICK_MS * 1_000_000;
        }
    }

    fn is_over(&self, number: usize) -> bool {
        self.now - self.cores[number].began > TURN_US_MAX * 1_000
    }

    fn read_a_socket(&mut self, number: usize) -> Option<u64> {
        let is_over = self.is_over(number);
        let core = &mut self.cores[number];
        if is_over || core.requests.is_empty() {
            core.has_more |= is_over;
            (core.phase, core.began) = (Phase::Arrivals, self.now);
            return None;
        }
        let Request { conn, wire } = core.requests.pop_front()?;
        core.engine.receive(moment(self.now), &mut self.post, conn, wire.as_bytes());
        let is_answered = !core.engine.output(conn).is_empty();
        let sent = self.post.load();
        let keys = self.keys_per_request;
        let asked = costs::Asked { keys, own: keys - sent.keys, parcels: sent.parcels, is_answered };
        let took = self.costs.of_asking(asked);
        self.tally.asked(asked);
        self.deliver(number, took);
        if is_answered {
            self.answer(number, conn, took);
        }
        Some(took)
    }

    fn take_a_parcel(&mut self, number: usize) -> Option<u64> {
        let is_over = self.is_over(number) || self.cores[number].taken == LANE_BURST_MAX;
        let arrival = if is_over { None } else { self.post.next_arrival(number, self.now) };
        let core = &mut self.cores[number];
        let Some(arrival) = arrival else {
            core.has_more |= is_over;
            core.phase = Phase::Places;
            return None;
        };
        core.taken += 1;
        core.has_traded = true;
        let now = moment(self.now);
        let took = match arrival {
            Arrival::Work(parcel) => {
                let took = self.costs.of_serving(parcel.len() as u64, lines_of_question(&parcel));
                core.engine.carry_out(now, &mut self.post, parcel);
                took
            }
            Arrival::Reply(parcel) => {
                let took = self.costs.of_taking_back(lines_of_answer(&parcel));
                core.engine.come_back(now, &mut self.post, parcel);
                took
            }
        };
        self.deliver(number, took);
        Some(took)
    }

    /// Lets in who waited for a place. What his request takes was charged for when it came in, but for the parcels.
    fn give_places(&mut self, number: usize) -> Option<u64> {
        let core = &mut self.cores[number];
        core.has_more |= core.engine.admit_waiting(moment(self.now), &mut self.post);
        core.phase = Phase::Answers;
        let sent = self.post.load();
        self.tally.foreign += sent.keys;
        let took = sent.parcels * self.costs.send_ns;
        self.deliver(number, took);
        (took > 0).then_some(took)
    }

    /// What a step has sent is seen when it ends.
    fn deliver(&mut self, number: usize, took: u64) {
        for to in self.post.deliver(self.now + took) {
            self.cores[number].note_sent(to);
        }
    }

    fn send_an_answer(&mut self, number: usize) -> Option<u64> {
        let core = &mut self.cores[number];
        let Some(conn) = core.engine.next_dirty() else {
            core.engine.settle(moment(self.now), &mut self.post);
            return Some(self.end_turn(number));
        };
        if core.engine.output(conn).is_empty() {
            return None;
        }
        self.answer(number, conn, self.costs.answer_ns);
        Some(self.costs.answer_ns)
    }

    /// Hands an answer over, which is there when `took` has passed.
    fn answer(&mut self, number: usize, conn: ConnId, took: u64) {
        let (core, now) = (&mut self.cores[number], moment(self.now));
        let output = core.engine.output(conn);
        let is_ok = output.starts_with(OK);
        assert!(is_ok || output.starts_with(BUSY), "{}", String::from_utf8_lossy(output));
        let len = output.len();
        core.engine.sent(now, &mut self.post, conn, len);
        let core::Asked { client, at } = core.give_back(conn);
        self.tally.answered(is_ok, self.now + took - at);
        if matches!(self.pace, Loop::Closed) {
            self.agenda.enter(self.now + took + self.costs.client_ns, Event::Ask(client));
        }
    }

    /// Rings, and says that this core is about to sleep.
    fn end_turn(&mut self, number: usize) -> u64 {
        let mut took = 0;
        self.cores[number].has_traded |= !self.cores[number].to_ring.is_empty();
        for to in std::mem::take(&mut self.cores[number].to_ring) {
            if std::mem::replace(&mut self.cores[to].is_armed, false) {
                took += self.costs.ring_ns;
                self.tally.doorbells += 1;
                self.wake(to, self.now + took);
            }
        }
        let core = &mut self.cores[number];
        // Who trades parcels looks once more before it sleeps.
        let looks_again = core.has_traded && !core.has_more;
        (core.is_armed, core.phase) = (!core.has_more && !looks_again, Phase::Waiting);
        took + if looks_again { self.costs.look_ns } else { self.costs.turn_ns }
    }

    /// Sleeps, unless something has come in or somebody has rung meanwhile.
    fn wait(&mut self, number: usize) -> Option<u64> {
        let core = &mut self.cores[number];
        // The bell is not armed either if there is more to do, or to look for.
        if !core.is_armed || !core.requests.is_empty() || self.post.has_arrivals(number, self.now) {
            self.begin_turn(number);
        } else {
            core.phase = Phase::Asleep;
            self.tally.sleeps += 1;
        }
        None
    }
}
