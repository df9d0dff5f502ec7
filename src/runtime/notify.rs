//! Tells systemd how the server is (`sd_notify(3)`): ready, reloading, stopping, alive.
//!
//! Our own and no crate, for two reasons: the socket is opened before there are connections, so that running out of file
//! descriptors does not look like a hang; and it never waits, since the one who feeds the watchdog is the one who pings
//! the cores.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// How often a message that must arrive is tried while systemd's queue is full, and the pause between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// The way to whoever started this process and wants to know.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
}

impl Notifier {
    /// Goes by `NOTIFY_SOCKET`. Without it nobody is told anything.
    ///
    /// # Errors
    /// If there is such a variable but no such socket.
    pub fn from_environment() -> io::Result<Self> {
        let socket = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()).map(|name| connect(&name));
        Ok(Self { socket: socket.transpose()? })
    }

    /// The server serves, as `status` says in words.
    pub fn ready(&self, status: &str) {
        self.insist(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is being read again; [`Notifier::ready`] must follow.
    pub fn reloading(&self) {
        self.insist(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_usec()));
    }

    /// The server is on its way to its end.
    pub fn stopping(&self) {
        self.insist("STOPPING=1\nSTATUS=finishing what is in progress");
    }

    /// Sends a message that must arrive; waits for up to a second.
    fn insist(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        for _ in 0..TRIES {
            match socket.send(message.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(error) => return tracing::warn!(%error, "cannot tell systemd: {message}"),
                Ok(_) => return,
            }
        }
        tracing::warn!("systemd takes no messages: {message}");
    }

    /// What feeds systemd's watchdog, if it wants to be fed by this process.
    #[must_use]
    pub fn watchdog(&self) -> Watchdog {
        let socket = self.socket.as_ref().and_then(|socket| socket.try_clone().ok());
        Watchdog { socket, every: interval().map(|interval| interval / 3), fed_at: None }
    }
}

/// Feeds systemd's watchdog. Belongs to the supervisor.
#[derive(Debug, Default)]
pub struct Watchdog {
    socket: Option<UnixDatagram>,
    every: Option<Duration>,
    fed_at: Option<Instant>,
}

impl Watchdog {
    /// Says that the server is alive, if it is time to. Never waits: if systemd has no room, the next one will do.
    pub fn feed(&mut self) {
        let (Some(socket), Some(every)) = (&self.socket, self.every) else { return };
        if self.fed_at.is_none_or(|at| at.elapsed() >= every) && socket.send(b"WATCHDOG=1").is_ok() {
            self.fed_at = Some(Instant::now());
        }
    }
}

/// How long systemd waits for a sign of life, if it does, and of this process.
fn interval() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = env::var_os("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(std::process::id().into());
    number("WATCHDOG_USEC").filter(|&usec| is_ours && usec > 0).map(Duration::from_micros)
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The machine's monotonic clock, in microseconds, as systemd compares it with its own.
fn monotonic_usec() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec that the kernel fills in.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}
