//! One engine that owns every key, and a connection to it that has been used.

use crate::counting::allocations;
use cache_service::engine::Engine;
use cache_service::engine::host::{Host, Notice};
use cache_service::engine::parts::Parts;
use cache_service::engine::rules::Settings;
use cache_service::insight::hot_keys::WINDOW_MS;
use cache_service::parcel::Parcel;
use cache_service::protocol::auth::Tokens;
use cache_service::routing::{Router, ShardId};
use cache_service::session::ConnId;
use cache_service::session::request_id::RequestIds;
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};
use cache_service::time::{Mono, Now};

/// A value as the body of a PUT.
pub const PUT_VALUE: &str = r#"{"value":{"name":"Ada","tags":["a","b"],"n":12345678901234567890}}"#;
/// Requests before counting begins: buffers grow to what they need.
const WARM_UP: usize = 300;
/// Requests between two looks at the clock.
const REQUESTS_A_TICK: usize = 500;

/// The engine, its clock, and the connection.
pub struct Warm {
    engine: Engine,
    conn: ConnId,
    now_ms: u64,
}

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

impl Warm {
    /// The token that the engine knows, among others.
    pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    /// A header field with it.
    pub const TOKEN_FIELD: &str = "X-API-Token: 0123456789abcdef0123456789abcdef\r\n";

    /// An engine that holds `key`, a JSON value, and `bytes`.
    pub fn new(read_requires_auth: bool) -> Self {
        let settings = Settings {
            tokens: Tokens::new(["another-token-of-32-and-more-characters", Self::TOKEN]),
            read_requires_auth,
            ..Settings::default()
        };
        let router = Router::new(1, [3, 4]);
        let (policy, hasher) = (EvictionPolicy::default(), router.hasher());
        let shard = Shard::new(ShardConfig { budget_bytes: Some(1 << 24), first_version: 1, policy, hasher });
        let mut engine = Engine::new(Parts::new(ShardId(0), router, shard, settings, RequestIds::new(1, 2), 64));
        let now = Now::new(Mono::from_millis(0), 1_700_000_000_000);
        let conn = engine.open(now).expect("the first connection");
        let mut warm = Self { engine, conn, now_ms: 0 };
        warm.exchange(Self::put("key", "", PUT_VALUE).as_bytes(), b"HTTP/1.1 201 ");
        let media = "Content-Type: application/x-thing\r\n";
        warm.exchange(Self::put("bytes?ttlSec=86400", media, "some bytes").as_bytes(), b"HTTP/1.1 201 ");
        warm.live_through_the_windows_of_hot_keys();
        warm
    }

    /// Both windows have seen some keys, so that there is a counter for each.
    fn live_through_the_windows_of_hot_keys(&mut self) {
        for window in 1..=2 {
            self.now_ms = window * WINDOW_MS - 1;
            for key in 0..8 {
                self.exchange(
                    format!("GET /v1/kv/{key} HTTP/1.1\r\nHost: t\r\n{}\r\n", Self::TOKEN_FIELD).as_bytes(),
                    b"HTTP/1.1 404 ",
                );
            }
        }
    }

    /// The bytes of a PUT.
    pub fn put(key_and_query: &str, fields: &str, body: &str) -> String {
        let length = body.len();
        let head = format!("PUT /v1/kv/{key_and_query} HTTP/1.1\r\nHost: t\r\n{fields}{}", Self::TOKEN_FIELD);
        format!("{head}Content-Length: {length}\r\n\r\n{body}")
    }

    /// How often memory was asked for while `wire` was sent and answered `times` times, after a warm-up with the same.
    #[track_caller]
    pub fn allocations_of(&mut self, times: usize, wire: &[u8], answer_begins: &[u8]) -> u64 {
        for _ in 0..WARM_UP {
            self.exchange(wire, answer_begins);
        }
        let before = allocations();
        for _ in 0..times {
            self.exchange(wire, answer_begins);
        }
        allocations() - before
    }

    /// One wake-up of a core: bytes come, answers go, time passes.
    #[track_caller]
    fn exchange(&mut self, wire: &[u8], answer_begins: &[u8]) {
        self.now_ms += 1;
        let now = Now::new(Mono::from_millis(self.now_ms), 1_700_000_000_000);
        self.engine.receive(now, &mut Alone, self.conn, wire);
        let output = self.engine.output(self.conn);
        assert!(output.starts_with(answer_begins), "{}", String::from_utf8_lossy(output));
        let len = output.len();
        self.engine.sent(now, &mut Alone, self.conn, len);
        assert!(self.engine.output(self.conn).is_empty(), "a short answer goes out at once");
        self.engine.settle(now, &mut Alone);
        if self.now_ms.is_multiple_of(REQUESTS_A_TICK as u64) {
            self.engine.tick(now, &mut Alone);
        }
    }
}
