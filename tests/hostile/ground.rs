//! The server that is attacked, and whether it is afterwards as it was before.

use crate::support::{Client, Launch, Server, eventually_equal, proc_fs};
use cache_service::routing::{Router, ShardId};
use std::net::SocketAddr;

/// Cores of the server that is attacked: hostile clients come to the first, and the second must not notice.
pub const CORES: u16 = 2;
/// Resident memory that may stay behind: what the allocator keeps, and tables that have grown once.
pub const GROWTH_BYTES_MAX: u64 = 32 << 20;

/// A server whose cores have a port each.
pub struct Ground {
    pub server: Server,
    ports: Vec<u16>,
    router: Router,
}

/// What the server holds when nobody wants anything of it.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    held: Held,
    resident_bytes: u64,
}

/// What must be exactly as it was.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    fds: usize,
    threads: usize,
    connections: f64,
    active_requests: f64,
}

impl Held {
    fn least(self, other: Self) -> Self {
        Self {
            fds: self.fds.min(other.fds),
            threads: self.threads.min(other.threads),
            connections: self.connections.min(other.connections),
            active_requests: self.active_requests.min(other.active_requests),
        }
    }
}

impl Ground {
    /// Starts it with these variables besides the usual ones.
    #[track_caller]
    pub fn new(env: &[(&str, &str)]) -> Self {
        Self::of(&Launch::new(&[&[("SHARDS", "2"), ("SHARD_PORTS_FROM", "0")], env].concat()))
    }

    /// Starts it in its own way; it needs two shards with ports.
    #[track_caller]
    pub fn of(launch: &Launch) -> Self {
        proc_fs::raise_fd_limit();
        let server = launch.start();
        let told = server.client().get_path("/v1/topology").expect_status(200).json();
        let ports = told["ports"].as_array().expect("there are ports").iter();
        let ports = ports.map(|port| port.as_u64().and_then(|port| port.try_into().ok()).expect("a port")).collect();
        let half = |n: usize| u64::from_str_radix(told["seed"][n].as_str().expect("text"), 16).expect("64 bits");
        Self { server, ports, router: Router::new(CORES, [half(0), half(1)]) }
    }

    /// Where the core `core` listens.
    pub fn of_core(&self, core: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[usize::from(core)]))
    }

    /// A well-behaved client of the core `core`.
    pub fn client_of(&self, core: u16) -> Client {
        Client::new(self.of_core(core))
    }

    /// How the server finds keys.
    pub const fn router(&self) -> Router {
        self.router
    }

    /// A key that the core `owner` owns; another one for every `name`.
    pub fn key(&self, owner: u16, name: &str) -> String {
        let mut keys = (0..).map(|n| format!("{name}.{n}"));
        keys.find(|key| self.router.owner(self.router.hash(key.as_bytes())) == ShardId(owner))
            .expect("keys without end")
    }

    /// Stores a value of `bytes` bytes at the core `owner` and gives its key.
    #[track_caller]
    pub fn store(&self, owner: u16, name: &str, bytes: usize) -> String {
        let key = self.key(owner, name);
        self.client_of(owner).put_bytes(&key, "text/plain", &vec![b'x'; bytes]).expect_status(201);
        key
    }

    /// What it holds when nobody asks for anything. A look at the wrong moment sees a descriptor that a thread has open to read
    /// from /proc, or a scrape that is not closed yet: so the least of some looks counts.
    #[track_caller]
    pub fn rest(&self) -> Rest {
        let looks = (0..20).map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            self.held()
        });
        let held = looks.reduce(Held::least).expect("some looks");
        Rest { held, resident_bytes: proc_fs::resident_bytes(self.server.pid()) }
    }

    fn held(&self) -> Held {
        let metrics = self.server.metrics();
        Held {
            fds: proc_fs::open_fds(self.server.pid()),
            threads: proc_fs::threads(self.server.pid()).len(),
            connections: metrics.sum("cache_connections"),
            active_requests: metrics.single("http_active_requests"),
        }
    }

    /// Waits until it holds what it held before, and not much more memory. Gives by how much that has grown.
    #[track_caller]
    pub fn assert_back_to(&self, before: &Rest) -> u64 {
        eventually_equal("descriptors, threads, connections, requests", &before.held, || self.held());
        let growth = proc_fs::resident_bytes(self.server.pid()).saturating_sub(before.resident_bytes);
        assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes more are resident than before");
        growth
    }

    /// How often requests or connections were refused for this reason.
    #[track_caller]
    pub fn refused(&self, reason: &str) -> f64 {
        self.server.metrics().sum_where("cache_backpressure_total", &[("reason", reason)])
    }

    /// The sum over all cores of a metric.
    #[track_caller]
    pub fn sum(&self, name: &str) -> f64 {
        self.server.metrics().sum(name)
    }
}
