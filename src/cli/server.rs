//! Which server the commands ask that are clients of one, and under which token.

use super::{complain, load};
use crate::config::{Config, Sources};
use crate::load::{Peer, Url};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a shell says of a process that a signal ended, less the signal's number.
const EXIT_SIGNAL: i32 = 128;
/// A signal so much later than the first is another one: `timeout`, for example, sends the same twice.
const IMPATIENT_AFTER: Duration = Duration::from_millis(500);

/// Where the server is, for commands that can ask one elsewhere.
#[derive(Args, Clone, Debug)]
pub(super) struct ServerArguments {
    /// The server to ask [default: at HOST and PORT of the configuration, on this machine if HOST means every address]
    #[arg(long, value_name = "http://HOST:PORT")]
    pub url: Option<Url>,
}

impl ServerArguments {
    /// The server's address and a token that it takes, from the same sources as a server's own.
    ///
    /// # Errors
    /// The exit code, after it was told why.
    pub fn resolve(&self, sources: &Sources) -> Result<(Url, String), ExitCode> {
        let config = load(sources)?;
        let url = match &self.url {
            Some(url) => url.clone(),
            None => configured(&config)?.into(),
        };
        match config.tokens.first() {
            Some(token) if config.generated_token.is_none() => Ok((url, token.expose().to_owned())),
            _ => {
                complain(
                    "no token is configured: give the server's as API_TOKEN or with --api-token or --api-token-file",
                );
                Err(ExitCode::FAILURE)
            }
        }
    }
}

/// Where the configured server can be reached from this machine.
///
/// # Errors
/// The exit code, after it was told that no one knows the port.
pub(super) fn configured(config: &Config) -> Result<SocketAddr, ExitCode> {
    let address = reachable(config.listen);
    if address.port() == 0 {
        complain("PORT=0 means any free port: tell the server's with --port");
        return Err(ExitCode::FAILURE);
    }
    Ok(address)
}

/// Where a server that listens on `listen` can be reached from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Connects to the server once, and finds out whether it is one and takes the token.
///
/// # Errors
/// In words.
pub(super) fn reach(url: &Url, token: String, timeout: Duration) -> Result<Arc<Peer>, String> {
    let found = Peer::find(url, token, timeout);
    found.map(Arc::new).map_err(|error| format!("cannot connect to {url}: {error}"))
}

/// A flag that the first SIGINT or SIGTERM sets; a later one ends the process at once.
///
/// # Errors
/// If the kernel refuses.
pub(super) fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let flag = Arc::clone(&stop);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut first = None;
        for signal in signals.forever() {
            let since_first = first.get_or_insert_with(Instant::now).elapsed();
            flag.store(true, Ordering::Relaxed);
            if since_first >= IMPATIENT_AFTER {
                std::process::exit(EXIT_SIGNAL + signal);
            }
        }
    })?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_is_asked_at_the_loopback() {
        let asked = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(asked("[::]:8080"), "[::1]:8080");
        assert_eq!(asked("10.0.0.1:80"), "10.0.0.1:80");
    }
}
