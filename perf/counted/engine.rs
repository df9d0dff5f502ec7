//! Whole requests through the engine of a core that owns every key.

use crate::core::{Core, VALUE, get, write};
use crate::counter::Counter;
use cache_service::engine::host::{Host, Notice};
use cache_service::parcel::Parcel;
use cache_service::routing::{Router, ShardId};
use std::hint::black_box;

const OK: &[u8] = b"HTTP/1.1 200 ";
const PIPELINED: usize = 16;
const BATCH: usize = 100;

/// The only core: it writes to nobody.
struct Alone;

impl Host for Alone {
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        panic!("there is no other core for {parcel:?}");
    }

    fn reply(&mut self, parcel: Box<Parcel>) {
        panic!("nobody has sent {parcel:?}");
    }

    fn notice(&mut self, notice: Notice) {
        panic!("nothing to tell: {notice:?}");
    }
}

/// Reads alone, pipelined and as a batch; writes.
pub fn count(counter: &mut Counter) {
    let mut core = Core::new(ShardId(0), Router::new(1, [3, 4]), Alone);
    let keys: Vec<String> = (0..BATCH).map(|number| format!("{number:016x}")).collect();
    for key in &keys {
        core.exchange(write("PUT", &format!("/v1/kv/{key}"), VALUE).as_bytes(), b"HTTP/1.1 201 ");
    }
    let one = get(&keys[0]).into_bytes();
    counter.count("engine: GET hit", |_| core.exchange(black_box(&one), OK));
    // Of two cores: what a full one refuses is what another one would have to do.
    let router = Router::new(2, [3, 4]);
    let mut full = Core::of_limit(ShardId(0), router, Alone, 0);
    let foreign = keys.iter().find(|key| router.owner(router.hash(key.as_bytes())) != ShardId(0));
    let foreign = get(foreign.expect("half of the keys are foreign")).into_bytes();
    counter.count("engine: GET refused", |_| full.exchange(black_box(&foreign), b"HTTP/1.1 503 "));
    let refused = write("POST", "/v1/kv/batch/get", &format!("{{\"keys\":{keys:?}}}")).into_bytes();
    counter.count("engine: batch get of 100 refused", |_| full.exchange(black_box(&refused), b"HTTP/1.1 503 "));
    let absent = get("absent").into_bytes();
    counter.count("engine: GET miss", |_| core.exchange(black_box(&absent), b"HTTP/1.1 404 "));
    let many: Vec<u8> = keys[..PIPELINED].iter().flat_map(|key| get(key).into_bytes()).collect();
    counter.count("engine: 16 GET hits, pipelined", |_| core.exchange(black_box(&many), OK));
    let put = write("PUT", &format!("/v1/kv/{}", keys[0]), VALUE).into_bytes();
    counter.count("engine: PUT over 64 bytes", |_| core.exchange(black_box(&put), OK));
    let batch = write("POST", "/v1/kv/batch/get", &format!("{{\"keys\":{keys:?}}}")).into_bytes();
    counter.count("engine: batch get of 100 hits", |_| core.exchange(black_box(&batch), OK));
}
