//! One core is flooded, in every way there is, and another core's clients who ask for that core's own keys do not notice: each
//! is answered in the wake-up that reads the request, before anything has travelled between the cores.

use crate::cores::{Cores, Peer, REQUEST_TIMEOUT_MS, batch_get, get_raw, head, put_raw, put_raw_head};
use cache_service::limits::PLACE_PATIENCE_MS;
use cache_service::metrics::BackpressureReason::{Deadline, LaneFull, MaxInflight};

const FLOODED: usize = 0;
const QUIET: usize = 1;
const ROUNDS: usize = 20;
const BUDGET_BYTES: u64 = 4 << 20;
const PLACES: usize = 8;

fn cores() -> Cores {
    Cores::of(2, Some(BUDGET_BYTES), |settings| settings.inflight_max = PLACES)
}

/// A client of the quiet core who asks for that core's own keys.
struct Bystander {
    peer: Peer,
    short: String,
    long: String,
    gone: String,
    counter: String,
    answered: usize,
}

/// What a flood elsewhere must not change at the quiet core.
#[derive(Debug, PartialEq)]
struct Still {
    buffer_bytes: u64,
    active_requests: u64,
    under_way: usize,
    connections: u64,
    refused: Vec<u64>,
    evictions: u64,
    entries: u64,
}

impl Bystander {
    fn new(cores: &mut Cores) -> Self {
        let key = |name| cores.key(QUIET as u16, name);
        let (short, long, gone, counter) = (key("short"), key("long"), key("gone"), key("counter"));
        cores.store(QUIET, &long, 300_000);
        let mut bystander = Self { peer: cores.connect(QUIET), short, long, gone, counter, answered: 0 };
        // Until all buffers have grown.
        (0..3).for_each(|_| bystander.asks_for_anything(cores));
        bystander
    }

    /// Asks, and hears the answer before anything else happens.
    fn asks(&mut self, cores: &mut Cores, request: impl AsRef<[u8]>, statuses: &[u16]) {
        cores.say(&mut self.peer, request.as_ref());
        while cores.hear(&mut self.peer, usize::MAX) {}
        let answers = self.peer.answers();
        let shown = String::from_utf8_lossy(&request.as_ref()[..request.as_ref().len().min(60)]).into_owned();
        assert!(matches!(&answers[..], [one] if statuses.contains(&one.status)), "{shown}: {answers:?}");
        self.answered += 1;
    }

    /// Everything that concerns one key.
    fn asks_for_single_keys(&mut self, cores: &mut Cores) {
        let (short, long, gone) = (self.short.clone(), self.long.clone(), self.gone.clone());
        self.asks(cores, put_raw(&short, b"value"), &[200, 201]);
        self.asks(cores, format!("GET /v1/kv/{short} HTTP/1.1\r\nHost: t\r\n\r\n"), &[200]);
        self.asks(cores, get_raw(&short), &[200]);
        self.asks(cores, get_raw(&long), &[200]);
        self.asks(cores, put_raw(&gone, b"value"), &[201]);
        self.asks(cores, head("DELETE", &format!("/v1/kv/{gone}"), ""), &[204]);
        self.asks(cores, get_raw(&gone), &[404]);
    }

    fn asks_for_anything(&mut self, cores: &mut Cores) {
        self.asks_for_single_keys(cores);
        let body = format!("{{\"key\":\"{}\",\"delta\":1}}", self.counter);
        let incr = head("POST", "/v1/kv/incr", &format!("Content-Length: {}\r\n", body.len())) + &body;
        self.asks(cores, incr, &[200]);
        self.asks(cores, batch_get(&[self.short.clone(), self.gone.clone(), self.counter.clone()]), &[200]);
        let (first, rest) = (put_raw_head(&self.short, 2), "of");
        cores.say(&mut self.peer, first);
        self.asks(cores, rest, &[200]);
    }

    fn sees(cores: &Cores) -> Still {
        let parts = cores.engines[QUIET].parts();
        let stats = parts.shard.stats();
        Still {
            buffer_bytes: parts.buffer_bytes(),
            active_requests: parts.metrics.active_requests,
            under_way: parts.forward.len(),
            connections: parts.metrics.connections,
            refused: parts.metrics.backpressure.to_vec(),
            evictions: stats.evictions,
            entries: stats.entries,
        }
    }
}

/// Keeps a flood of the first core up, and asks beside it. Gives the cores as they are then.
fn beside(flood: impl FnOnce(&mut Cores) -> Box<dyn FnMut(&mut Cores)>) -> Cores {
    let mut cores = cores();
    let mut bystander = Bystander::new(&mut cores);
    let (before, answered) = (Bystander::sees(&cores), bystander.answered);
    let mut goes_on = flood(&mut cores);
    for _ in 0..ROUNDS {
        goes_on(&mut cores);
        bystander.asks_for_anything(&mut cores);
        assert_eq!(Bystander::sees(&cores), before);
        // Time passes for both; nothing travels.
        cores.pass(100);
        assert_eq!(Bystander::sees(&cores), before);
    }
    assert_eq!(bystander.answered - answered, ROUNDS * 10);
    cores
}

fn evictions_of_the_flooded(cores: &Cores) -> u64 {
    cores.engines[FLOODED].parts().shard.stats().evictions
}

#[test]
fn whose_entries_are_evicted_without_end_is_alone_with_it() {
    let cores = beside(|cores| {
        let (mut peer, mut number) = (cores.connect(FLOODED), 0);
        Box::new(move |cores| {
            for _ in 0..50 {
                number += 1;
                let key = cores.key(FLOODED as u16, &format!("flood-{number}"));
                cores.say(&mut peer, put_raw(&key, &[b'x'; 8_000]));
                while cores.hear(&mut peer, usize::MAX) {}
                assert_eq!(peer.answers()[0].status, 201);
            }
        })
    });
    assert!(evictions_of_the_flooded(&cores) > 300, "{} were evicted", evictions_of_the_flooded(&cores));
}

#[test]
fn keys_that_collide_cost_their_own_core() {
    let cores = beside(|cores| {
        let (mut peer, keys) = (cores.connect(FLOODED), cores.keys_of_one_table(FLOODED as u16, 2_000));
        let mut keys = keys.into_iter().cycle();
        Box::new(move |cores| {
            for key in keys.by_ref().take(200) {
                cores.say(&mut peer, put_raw(&key, b"x"));
                while cores.hear(&mut peer, usize::MAX) {}
                assert!(matches!(peer.answers()[0].status, 200 | 201));
            }
        })
    });
    assert_eq!(cores.engines[FLOODED].parts().shard.stats().entries, 2_000);
}

#[test]
fn places_that_are_all_taken_are_those_of_one_core() {
    let cores = beside(|cores| {
        let (here, there) = (cores.key(FLOODED as u16, "here"), cores.key(QUIET as u16, "there"));
        let mut peers: Vec<Peer> = (0..3 * PLACES).map(|_| cores.connect(FLOODED)).collect();
        peers.iter_mut().take(PLACES / 2).for_each(|peer| cores.say(peer, put_raw_head(&here, 100_000)));
        Box::new(move |cores| peers.iter_mut().skip(PLACES / 2).for_each(|peer| cores.say(peer, get_raw(&there))))
    });
    assert!(cores.backpressure(FLOODED, MaxInflight) > 0);
    assert!(cores.lanes.requests.len() <= PLACES, "{} parcels for the quiet core", cores.lanes.requests.len());
}

#[test]
fn readers_that_never_read_fill_their_own_cores_buffers() {
    let cores = beside(|cores| {
        let key = cores.key(FLOODED as u16, "value");
        cores.store(FLOODED, &key, 10_000);
        let peers: Vec<Peer> = (0..2 * ROUNDS).map(|_| cores.connect(FLOODED)).collect();
        let (mut peers, flood) = (peers.into_iter(), get_raw(&key).repeat(2_000));
        Box::new(move |cores| peers.by_ref().take(2).for_each(|peer| _ = cores.flood(&peer, &flood)))
    });
    assert!(cores.engines[FLOODED].parts().are_buffers_full());
}

#[test]
fn bodies_that_trickle_stand_still_at_their_own_core() {
    let cores = beside(|cores| {
        let key = cores.key(FLOODED as u16, "value");
        let mut peers: Vec<Peer> = (0..4 * PLACES).map(|_| cores.connect(FLOODED)).collect();
        peers.iter_mut().for_each(|peer| cores.say(peer, put_raw_head(&key, 1_000_000)));
        Box::new(move |cores| peers.iter_mut().for_each(|peer| cores.say(peer, "x")))
    });
    assert!(cores.backpressure(FLOODED, MaxInflight) > 0);
}

#[test]
fn batches_of_everything_wait_in_the_lane() {
    let cores = beside(|cores| {
        let keys = |owner| (0..50).map(move |n| (owner, format!("batch-{n}")));
        let keys: Vec<String> = keys(0).chain(keys(1)).map(|(owner, name)| cores.key(owner, &name)).collect();
        let mut peers: Vec<Peer> = (0..2 * PLACES).map(|_| cores.connect(FLOODED)).collect();
        Box::new(move |cores| peers.iter_mut().for_each(|peer| cores.say(peer, batch_get(&keys))))
    });
    // What the flooded core can ask of the quiet one at a time is what it may have in progress.
    assert_eq!(cores.lanes.requests.len(), PLACES);
    assert!(cores.lanes.requests.iter().all(|parcel| parcel.to.index() == QUIET && parcel.len() == 50));
}

/// Clients of the quiet core who ask for keys of the flooded one, which does nothing any more.
fn who_asks_the_flooded(cores: &mut Cores, count: usize) -> Vec<Peer> {
    let key = cores.key(FLOODED as u16, "value");
    let mut peers: Vec<Peer> = (0..count).map(|_| cores.connect(QUIET)).collect();
    peers.iter_mut().for_each(|peer| cores.say(peer, get_raw(&key)));
    peers
}

fn statuses(cores: &mut Cores, peers: &mut [Peer]) -> Vec<u16> {
    let heard = peers.iter_mut().flat_map(|peer| {
        while cores.hear(peer, usize::MAX) {}
        peer.answers()
    });
    heard.map(|answer| answer.status).collect()
}

/// Theirs are all places of the quiet core, and those who ask for its own keys need none.
#[test]
fn who_waits_for_a_slow_core_keeps_nobody_from_the_keys_of_another() {
    let mut cores = cores();
    let mut bystander = Bystander::new(&mut cores);
    let mut peers = who_asks_the_flooded(&mut cores, 3 * PLACES);
    assert_eq!((cores.active_requests(QUIET), cores.lanes.requests.len()), (PLACES as u64, PLACES));
    let evictions = Bystander::sees(&cores).evictions;
    for round in 0..ROUNDS {
        bystander.asks_for_single_keys(&mut cores);
        let refused = cores.backpressure(QUIET, MaxInflight);
        // A third has a place, a third waits for some time, and a third was told at once.
        let expected = if round * 100 <= PLACE_PATIENCE_MS as usize { PLACES } else { 2 * PLACES };
        assert_eq!(refused, expected as u64, "in round {round}: none of them the bystander's");
        cores.pass(100);
    }
    assert_eq!(statuses(&mut cores, &mut peers), [503; 2 * PLACES]);
    cores.pass(REQUEST_TIMEOUT_MS);
    cores.deliver();
    assert_eq!(statuses(&mut cores, &mut peers), [503; PLACES], "their time is up");
    assert_eq!(cores.backpressure(FLOODED, Deadline), PLACES as u64);
    bystander.asks_for_anything(&mut cores);
    assert_eq!(Bystander::sees(&cores).evictions, evictions);
    cores.assert_at_rest();
}

/// Pipelines that ask for keys of both cores hold what they may hold of the places, and no more.
#[test]
fn pipelines_that_wait_for_a_slow_core_keep_nobody_from_the_keys_of_another() {
    let mut cores = cores();
    let mut bystander = Bystander::new(&mut cores);
    let (slow, own) = (cores.key(FLOODED as u16, "value"), cores.key(QUIET as u16, "value"));
    let mut peers: Vec<Peer> = (0..PLACES).map(|_| cores.connect(QUIET)).collect();
    peers.iter_mut().for_each(|peer| cores.say(peer, (get_raw(&slow) + &get_raw(&own)).repeat(20)));
    assert!(cores.engines[QUIET].parts().at_work() <= PLACES as u64);
    bystander.asks_for_single_keys(&mut cores);
    assert_eq!(cores.backpressure(QUIET, MaxInflight), 0);
    while cores.carry_out() | cores.bring_back() {
        peers.iter_mut().for_each(|peer| while cores.hear(peer, usize::MAX) {});
    }
    assert_eq!(statuses(&mut cores, &mut peers), [404; PLACES * 40]);
    cores.assert_at_rest();
}

#[test]
fn who_finds_the_lane_to_a_core_full_is_told_at_once_and_holds_no_place() {
    let mut cores = cores();
    let mut bystander = Bystander::new(&mut cores);
    cores.lanes.commands_are_full = true;
    for round in 1..=ROUNDS {
        let mut peers = who_asks_the_flooded(&mut cores, 2 * PLACES);
        assert_eq!(statuses(&mut cores, &mut peers), [503; 2 * PLACES]);
        assert_eq!((cores.active_requests(QUIET), cores.backpressure(QUIET, MaxInflight)), (0, 0));
        assert_eq!(cores.backpressure(QUIET, LaneFull), (round * 2 * PLACES) as u64);
        bystander.asks_for_anything(&mut cores);
        peers.iter().for_each(|peer| cores.close(peer));
    }
    cores.assert_at_rest();
}
