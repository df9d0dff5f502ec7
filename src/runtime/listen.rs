//! The listening sockets, all open before the first core starts: one for each core on the common address, and one for
//! each core on a port of its own, if clients are to choose their core.

use super::start::StartError;
use crate::config::Config;
use crate::limits::KERNEL_UNSENT_BYTES;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections that the kernel keeps for a core that has not accepted them yet; `net.core.somaxconn` caps it.
const BACKLOG: i32 = 4096;

/// How long a port is waited for that somebody has: of a server that was killed, the kernel ends the rings, which keep
/// the listeners, some time after the process is gone (5 to 40 ms were seen).
const PORT_PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried again.
const PORT_RETRY: Duration = Duration::from_millis(5);

/// The sockets of all cores. Nobody can connect before [`Listeners::open`].
#[derive(Debug)]
pub struct Listeners {
    /// Where every core listens, with the port that was found if any was to be taken.
    pub address: SocketAddr,
    /// The ports of their own that cores listen on, by their numbers; empty if there are none.
    pub shard_ports: Arc<[u16]>,
    common: Vec<Socket>,
    own: Vec<(Socket, SocketAddr)>,
}

impl Listeners {
    /// Binds all that `config` asks for.
    ///
    /// # Errors
    /// If an address cannot be had; the error says why and what to do.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        // What was chosen goes first: where the kernel may choose, it then takes something else.
        let (own, (common, address)) = if config.listen.port() == 0 {
            let own = bind_own(config)?;
            (own, bind_common(config)?)
        } else {
            let common = bind_common(config)?;
            (bind_own(config)?, common)
        };
        let shard_ports = own.iter().map(|(_, address)| address.port()).collect();
        Ok(Self { address, shard_ports, common, own })
    }

    /// The sockets of each core, duplicated.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn of_cores(&self) -> Result<Vec<Vec<Socket>>, StartError> {
        let of_core = |(number, common)| {
            let own = self.own.get(number).map(|(socket, _)| socket);
            std::iter::once(common).chain(own).map(Socket::try_clone).collect()
        };
        let duplicates: io::Result<Vec<Vec<Socket>>> = self.common.iter().enumerate().map(of_core).collect();
        duplicates.map_err(|error| StartError::new(format!("cannot duplicate a socket: {error}")))
    }

    /// Lets connections in on all of them.
    ///
    /// # Errors
    /// If somebody else was faster.
    pub fn open(&self) -> Result<(), StartError> {
        let common = self.common.iter().map(|socket| (socket, self.address, "PORT"));
        let own = self.own.iter().map(|(socket, address)| (socket, *address, "SHARD_PORTS_FROM"));
        // Those that nobody can join go first: who was slower then fails before he has let anybody in.
        for (socket, address, setting) in own.chain(common) {
            socket.listen(BACKLOG).map_err(|error| StartError::listen(address, setting, &error))?;
        }
        Ok(())
    }
}

/// One socket for each core on the common address, and that address with its port.
fn bind_common(config: &Config) -> Result<(Vec<Socket>, SocketAddr), StartError> {
    let failed = |error: io::Error| StartError::listen(config.listen, "PORT", &error);
    let (reserved, address) = reserve(config.listen).map_err(failed)?;
    drop(reserved);
    let sockets = (0..config.shards).map(|_| bound(address, true)).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    Ok((sockets, address))
}

/// A socket for each core on a port of its own.
fn bind_own(config: &Config) -> Result<Vec<(Socket, SocketAddr)>, StartError> {
    let Some(from) = config.shard_ports_from else { return Ok(Vec::new()) };
    let one = |number: u16| {
        // The configuration has found room for them all.
        let port = if from == 0 { 0 } else { from + number };
        let address = SocketAddr::new(config.listen.ip(), port);
        reserve(address).map_err(|error| StartError::listen(address, "SHARD_PORTS_FROM", &error))
    };
    (0..config.shards).map(one).collect()
}

/// Binds `address` without `SO_REUSEPORT`, which fails if anybody holds it; with it, a second server of the same user
/// would join in silently and take half of the connections.
fn reserve(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let began = Instant::now();
    let socket = loop {
        match bound(address, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && began.elapsed() < PORT_PATIENCE => {
                std::thread::sleep(PORT_RETRY);
            }
            outcome => break outcome?,
        }
    };
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket, address))
}

fn bound(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    // The connections inherit these.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(KERNEL_UNSENT_BYTES)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
