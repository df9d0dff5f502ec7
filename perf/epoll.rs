//! The least of epoll that the floor and the load generator need: level-triggered readiness.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};
use std::time::Duration;

/// Most events that one wait brings.
const EVENTS_MAX: usize = 256;

/// What a source is watched for.
#[derive(Debug, Clone, Copy)]
pub struct Interest {
    /// That something can be read.
    pub read: bool,
    /// That something can be written.
    pub write: bool,
}

impl Interest {
    const fn events(self) -> u32 {
        let read = if self.read { libc::EPOLLIN } else { 0 };
        let write = if self.write { libc::EPOLLOUT } else { 0 };
        (read | write) as u32
    }
}

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// Makes one.
    ///
    /// # Errors
    /// If the kernel has none to give.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is taken for a descriptor.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is fresh and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches `source` under the name `token` for something to read, until it is closed.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn watch(&self, source: &impl AsRawFd, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, source, token, Interest { read: true, write: false })
    }

    /// Watches for something else from now on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn change(&self, source: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, source, token, interest)
    }

    fn control(&self, operation: i32, source: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.events(), u64: token };
        // SAFETY: both descriptors are open, and the event lives until the call returns.
        let done = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, source.as_raw_fd(), &raw mut event) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until something can be done, and puts the names of the sources into `ready`; none after `patience`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn wait(&self, ready: &mut Vec<u64>, patience: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        let timeout_ms = patience.map_or(-1, |patience| i32::try_from(patience.as_millis()).unwrap_or(i32::MAX));
        // SAFETY: `events` has room for EVENTS_MAX events and lives until the call returns.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), EVENTS_MAX as i32, timeout_ms) };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        ready.extend(events.iter().take(usize::try_from(count).unwrap_or(0)).map(|event| event.u64));
        Ok(())
    }
}
