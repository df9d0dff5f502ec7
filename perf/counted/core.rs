//! A core as the runtime drives it, with whatever takes its parcels, but without sockets.

use cache_service::engine::Engine;
use cache_service::engine::host::Host;
use cache_service::engine::parts::Parts;
use cache_service::engine::rules::Settings;
use cache_service::protocol::auth::Tokens;
use cache_service::routing::{Router, ShardId};
use cache_service::session::ConnId;
use cache_service::session::request_id::RequestIds;
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};
use cache_service::time::{Mono, Now};

/// A header field with the token that writes need.
pub const TOKEN_FIELD: &str = "X-API-Token: 0123456789abcdef0123456789abcdef\r\n";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// A value of 64 bytes, and the body of the PUT that stores it.
pub const VALUE: &str = r#"{"value":"a value of sixty-four bytes, the quotes on both sides included."}"#;
/// Between two wake-ups, as if there were a hundred thousand a second.
const STEP_NANOS: u64 = 10_000;

/// An engine, its only connection, its clock, and its way to other cores.
pub struct Core<H> {
    pub engine: Engine,
    pub host: H,
    pub conn: ConnId,
    nanos: u64,
}

impl<H: Host> Core<H> {
    /// The core `me` of `router`, which holds nothing yet.
    pub fn new(me: ShardId, router: Router, host: H) -> Self {
        Self::of_limit(me, router, host, 1_000)
    }

    /// The same with so many requests in progress at most.
    pub fn of_limit(me: ShardId, router: Router, host: H, inflight_max: usize) -> Self {
        let (policy, hasher) = (EvictionPolicy::default(), router.hasher());
        let shard = Shard::new(ShardConfig { budget_bytes: Some(64 << 20), first_version: 1, policy, hasher });
        let ids = RequestIds::new(1, u64::from(me.0));
        let mut engine = Engine::new(Parts::new(me, router, shard, settings(inflight_max), ids, 1_000));
        let conn = engine.open(now_at(0)).expect("the first connection");
        Self { engine, host, conn, nanos: 0 }
    }

    /// The moment of this wake-up.
    pub const fn now(&self) -> Now {
        now_at(self.nanos)
    }

    /// A wake-up with bytes from the peer.
    pub fn receive(&mut self, wire: &[u8]) {
        self.nanos += STEP_NANOS;
        self.engine.receive(self.now(), &mut self.host, self.conn, wire);
    }

    /// What a wake-up ends with: answers out, durations entered. The output must begin as is said.
    pub fn send(&mut self, begins: &[u8]) {
        while self.engine.next_dirty().is_some() {}
        let output = self.engine.output(self.conn);
        assert!(output.starts_with(begins), "{}", String::from_utf8_lossy(output));
        let len = output.len();
        if len > 0 {
            self.engine.sent(self.now(), &mut self.host, self.conn, len);
        }
        self.engine.settle(self.now(), &mut self.host);
    }

    /// A whole wake-up of a core that owns all keys that are asked for.
    pub fn exchange(&mut self, wire: &[u8], begins: &[u8]) {
        self.receive(wire);
        self.send(begins);
    }
}

const fn now_at(nanos: u64) -> Now {
    Now::new(Mono::from_nanos(1_000_000_000 + nanos), 1_700_000_000_000)
}

fn settings(inflight_max: usize) -> Settings {
    Settings { tokens: Tokens::new([TOKEN]), inflight_max, ..Settings::default() }
}

/// The bytes of a GET.
pub fn get(key: &str) -> String {
    format!("GET /v1/kv/{key} HTTP/1.1\r\nHost: cache:8080\r\n\r\n")
}

/// The bytes of a write with [`TOKEN_FIELD`].
pub fn write(method: &str, path: &str, body: &str) -> String {
    let len = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: cache:8080\r\n{TOKEN_FIELD}Content-Length: {len}\r\n\r\n{body}")
}
