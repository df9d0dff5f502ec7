//! The second core of two on the thread of a test, which has its wake-ups in hand, and plays the first one.

use cache_service::engine::Engine;
use cache_service::engine::parts::Parts;
use cache_service::engine::rules::Settings;
use cache_service::insight::{Question, Report};
use cache_service::metrics::CoreMetrics;
use cache_service::parcel::{Parcel, Work};
use cache_service::protocol::auth::Tokens;
use cache_service::routing::{Router, ShardId};
use cache_service::runtime::core::{Common, Core};
use cache_service::runtime::lanes::{Arrival, Lanes};
use cache_service::runtime::ring::Ring;
use cache_service::runtime::scribe::Scribe;
use cache_service::runtime::sockets::Sockets;
use cache_service::session::request_id::RequestIds;
use cache_service::shard::{EvictionPolicy, Shard, ShardConfig};
use socket2::Socket;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Parcels that may lie in a lane.
pub const LANE_MAX: usize = 2_000;
/// What a client of the core may need many wake-ups for, and does not.
const WAKE_UPS_MAX: usize = 10_000;
pub const TOKEN: &str = "0123456789abcdef";
pub const CORE: ShardId = ShardId(1);

pub fn router() -> Router {
    Router::new(2, [3, 4])
}

/// A key that the core owns; another one for every `name`.
pub fn own_key(name: &str) -> String {
    let mut keys = (0..).map(|n| format!("{name}.{n}"));
    keys.find(|key| router().owner(router().hash(key.as_bytes())) == CORE).expect("the core owns some key")
}

/// A core that has no end of memory.
pub fn core_of(lanes: Lanes, listeners: Vec<Socket>, common: Common) -> Core {
    let settings = Settings {
        tokens: Tokens::new([TOKEN]),
        request_timeout_ms: 60_000,
        header_timeout_ms: 60_000,
        inflight_max: 64,
        ..Settings::default()
    };
    let (policy, hasher) = (EvictionPolicy::default(), router().hasher());
    let shard = Shard::new(ShardConfig { budget_bytes: None, first_version: 1, policy, hasher });
    let parts = Parts::new(CORE, router(), shard, settings, RequestIds::new(1, 2), 64);
    let sockets = Sockets::new(Ring::new().expect("a ring"), listeners);
    Core::new(Engine::new(parts), lanes, Scribe::new(2).0, sockets, common).expect("a core")
}

/// A core that listens, and the other end of its lanes.
pub struct OneCore {
    core: Core,
    common: Common,
    pub other: Lanes,
    address: SocketAddr,
}

impl OneCore {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let listener = Socket::from(listener);
        // So much may have come in on each connection before the core looks, as far as the machine allows.
        listener.set_recv_buffer_size(1 << 20).expect("a live socket");
        let (mut ends, _) = Lanes::connect(2, LANE_MAX, 2 * LANE_MAX);
        let (lanes, other) = (ends.remove(1), ends.remove(0));
        let common = Common { open: Arc::new(AtomicBool::new(true)), ..Common::default() };
        let core = core_of(lanes, vec![listener], common.clone());
        Self { core, common, other, address }
    }

    /// The core hears from the kernel, and has one wake-up.
    pub fn turn(&mut self) {
        self.core.sleep(Duration::ZERO);
        self.core.wake_up();
    }

    /// Has wake-ups until there is what is wanted.
    pub fn turns_until<T>(&mut self, what: &str, mut wanted: impl FnMut(&mut Self) -> Option<T>) -> T {
        for _ in 0..WAKE_UPS_MAX {
            if let Some(found) = wanted(self) {
                return found;
            }
            self.turn();
        }
        panic!("after {WAKE_UPS_MAX} wake-ups, not yet: {what}");
    }

    /// Clients that the core has accepted.
    pub fn clients(&mut self, count: usize) -> Vec<Client> {
        let before = self.common.open_connections.load(Ordering::Relaxed);
        let clients = (0..count).map(|_| Client::new(self.address)).collect();
        self.turns_until("all are accepted", |it| {
            (it.common.open_connections.load(Ordering::Relaxed) == before + count).then_some(())
        });
        // It receives on them from its next call of the kernel.
        self.turn();
        clients
    }

    /// What the core has counted; nothing else is on its way.
    pub fn numbers(&mut self) -> CoreMetrics {
        let mut parcel = Box::new(Parcel::new(ShardId(0)));
        parcel.to = CORE;
        parcel.work = Work::Tell { question: Question::Numbers, report: None };
        self.other.send(parcel).expect("there is room for a question");
        self.turns_until("the numbers", |it| match it.other.next_arrival()? {
            Arrival::Reply(parcel) => match parcel.work {
                Work::Tell { report: Some(Report::Numbers(numbers)), .. } => Some(*numbers),
                _ => None,
            },
            Arrival::Work(_) => None,
        })
    }
}

/// A client that never waits.
pub struct Client(TcpStream);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the backlog has room");
        stream.set_nonblocking(true).expect("a live socket");
        stream.set_nodelay(true).expect("a live socket");
        Self(stream)
    }

    pub fn asks_for(&mut self, key: &str) {
        let request = format!("GET /v1/kv/{key} HTTP/1.1\r\nHost: t\r\n\r\n");
        self.0.write_all(request.as_bytes()).expect("room for a request");
    }

    /// Sends as much of `bytes` as the core's machine takes before the core looks; how much that was.
    pub fn sends(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.0.write(&bytes[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        sent
    }

    /// What has come so far.
    pub fn heard(&mut self) -> Vec<u8> {
        let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match self.0.read(&mut piece) {
                Ok(len) => {
                    assert!(len > 0, "the core has closed the connection: {:?}", String::from_utf8_lossy(&heard));
                    heard.extend_from_slice(&piece[..len]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return heard,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
