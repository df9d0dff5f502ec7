//! A GET of a key that another core owns: there and back, by a lane in memory that costs next to nothing, and by the real
//! ones. Both cores are awake: nothing here waits, and no doorbell wakes anybody.

use crate::core::{Core, VALUE, get, write};
use crate::counter::Counter;
use crate::on_lanes::OnLanes;
use cache_service::engine::host::{Host, Notice};
use cache_service::parcel::Parcel;
use cache_service::routing::{Router, ShardId};
use cache_service::runtime::lanes::{Arrival, Lanes};
use std::hint::black_box;

/// What is between two cores, at one end.
trait Post: Host {
    /// What the other end has sent; `other` is that end.
    fn arrival(&mut self, other: &mut Self) -> Option<Arrival>;

    /// Tells the other end that there is something for it.
    fn ring(&mut self) {}
}

/// Holds what was sent until the other end takes it.
#[derive(Default)]
struct InMemory(Option<Arrival>);

impl Host for InMemory {
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        self.0 = Some(Arrival::Work(parcel));
        Ok(())
    }

    fn reply(&mut self, parcel: Box<Parcel>) {
        self.0 = Some(Arrival::Reply(parcel));
    }

    fn notice(&mut self, notice: Notice) {
        panic!("nothing to tell: {notice:?}");
    }
}

impl Post for InMemory {
    fn arrival(&mut self, other: &mut Self) -> Option<Arrival> {
        other.0.take()
    }
}

impl Post for OnLanes {
    fn arrival(&mut self, _other: &mut Self) -> Option<Arrival> {
        self.0.next_arrival()
    }

    fn ring(&mut self) {
        self.0.ring();
    }
}

/// The core that is asked, and the one that owns the key.
struct Pair<P>([Core<P>; 2]);

impl<P: Post> Pair<P> {
    fn new(router: Router, posts: [P; 2]) -> Self {
        let [asked, owner] = posts;
        Self([Core::new(ShardId(0), router, asked), Core::new(ShardId(1), router, owner)])
    }

    /// One request, from its bytes to its answer.
    fn round_trip(&mut self, wire: &[u8], begins: &[u8]) {
        let [asked, owner] = &mut self.0;
        asked.receive(wire);
        end_wake_up(asked, b"");
        let arrival = owner.host.arrival(&mut asked.host);
        let Some(Arrival::Work(parcel)) = arrival else { panic!("no work has arrived: {arrival:?}") };
        owner.engine.carry_out(asked.now(), &mut owner.host, parcel);
        end_wake_up(owner, b"");
        let arrival = asked.host.arrival(&mut owner.host);
        let Some(Arrival::Reply(parcel)) = arrival else { panic!("no reply has arrived: {arrival:?}") };
        asked.engine.come_back(asked.now(), &mut asked.host, parcel);
        end_wake_up(asked, begins);
    }
}

fn end_wake_up<P: Post>(core: &mut Core<P>, begins: &[u8]) {
    core.send(begins);
    core.host.ring();
}

/// By both ways.
pub fn count(counter: &mut Counter) {
    let router = Router::new(2, [3, 4]);
    let pair = Pair::new(router, [InMemory::default(), InMemory::default()]);
    count_by(counter, "foreign: GET hit, by parcels in memory", pair, router);
    let (lanes, _outside) = Lanes::connect(2, 1_000, 2_000);
    let Ok(posts) = <[Lanes; 2]>::try_from(lanes) else { panic!("each core has its lanes") };
    count_by(counter, "foreign: GET hit, by the lanes", Pair::new(router, posts.map(OnLanes)), router);
}

fn count_by<P: Post>(counter: &mut Counter, name: &str, mut pair: Pair<P>, router: Router) {
    let mut keys = (0..).map(|number| format!("{number:016x}"));
    let is_foreign = |key: &String| router.owner(router.hash(key.as_bytes())) == ShardId(1);
    let key = keys.find(is_foreign).expect("every core owns some key");
    pair.round_trip(write("PUT", &format!("/v1/kv/{key}"), VALUE).as_bytes(), b"HTTP/1.1 201 ");
    let wire = get(&key).into_bytes();
    counter.count(name, |_| pair.round_trip(black_box(&wire), b"HTTP/1.1 200 "));
}
