//! The listening sockets: one for each core on the same address, all open before the first core starts.

use super::start::StartError;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// Connections that the kernel keeps for a core that has not accepted them yet; `net.core.somaxconn` caps it.
const BACKLOG: i32 = 4096;

/// One socket for each of `cores` cores, bound to `address`, and the address with its port if that was 0. Nobody can
/// connect before [`open`].
///
/// # Errors
/// If the address cannot be had; the error says why and what to do.
pub fn bind(address: SocketAddr, cores: u16) -> Result<(Vec<Socket>, SocketAddr), StartError> {
    let failed = |error: io::Error| StartError::listen(address, &error);
    let (reserved, address) = reserve(address).map_err(failed)?;
    drop(reserved);
    let sockets = (0..cores).map(|_| bound(address, true)).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    Ok((sockets, address))
}

/// Lets connections in on all `sockets`.
///
/// # Errors
/// If somebody else was faster.
pub fn open(sockets: &[Socket], address: SocketAddr) -> Result<(), StartError> {
    let opened = sockets.iter().try_for_each(|socket| socket.listen(BACKLOG));
    opened.map_err(|error| StartError::listen(address, &error))
}

/// Binds `address` without `SO_REUSEPORT`, which fails if anybody holds it; with it, a second server of the same user
/// would join in silently and take half of the connections.
fn reserve(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = bound(address, false)?;
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket, address))
}

fn bound(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    // The connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
