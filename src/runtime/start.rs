//! What can keep the server from starting, found out before any core starts, in words for an operator.

use super::ring::Ring;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// glommio refuses to start an executor below this limit, in bytes.
const MEMLOCK_MIN: u64 = 512 * 1024;
/// File descriptors that a core needs for itself: four rings, eventfds, up to two listeners, timers.
const FDS_PER_CORE: u64 = 16;
/// File descriptors of the process besides its cores and connections.
const FDS_OF_PROCESS: u64 = 32;
/// More descriptors than this are not asked for.
const FDS_WANTED: u64 = 1_048_576;

/// Why the server does not start: one line, what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl StartError {
    /// A reason that is already a sentence.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    pub(super) fn ring(core: u16, error: &io::Error) -> Self {
        Self(format!("core {core} gets no io_uring of its own: {error}; {}", what_to_do_about_io_uring(error)))
    }

    /// `setting` is where the port comes from.
    pub(super) fn listen(address: SocketAddr, setting: &str, error: &io::Error) -> Self {
        let what_to_do = match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!(
                    "another process listens on port {} (see `ss -ltnp`): stop it, or set {setting}",
                    address.port()
                )
            }
            io::ErrorKind::PermissionDenied => {
                format!(
                    "port {} needs privileges: set {setting} to 1024 or more, or grant CAP_NET_BIND_SERVICE",
                    address.port()
                )
            }
            io::ErrorKind::AddrNotAvailable => {
                format!("this machine has no address {}: set HOST to one of `ip address`", address.ip())
            }
            _ => format!("check HOST and {setting}"),
        };
        Self(format!("cannot listen on {address}: {error}; {what_to_do}"))
    }
}

/// Raises what may be raised and checks that the kernel gives us what `cores` cores need. Returns how many connections
/// the limit on open files has room for.
///
/// # Errors
/// The first thing that is missing.
pub fn check(cores: u16) -> Result<usize, StartError> {
    keep_the_allocator_from_hoarding();
    keep_secrets_out_of_core_dumps();
    check_memlock()?;
    let connections = check_fds(cores)?;
    check_io_uring()?;
    Ok(connections)
}

/// The C library raises the length from which it gives allocations back to the kernel one by one, up to 32 MiB, when long
/// ones are freed; from then on the buffers of many connections stay with the process when they are not needed any
/// more, beyond any budget. Set by hand, the threshold stays where it is.
#[cfg(target_env = "gnu")]
fn keep_the_allocator_from_hoarding() {
    const MMAP_THRESHOLD_BYTES: libc::c_int = 128 * 1024;
    // SAFETY: `mallopt` takes two integers. A failure only leaves things as they were.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES) };
}

/// Only the GNU C library is known to do so.
#[cfg(not(target_env = "gnu"))]
fn keep_the_allocator_from_hoarding() {}

/// A core dump is to tell where each thread was, and neither the tokens nor what is cached: nothing of the process's own memory
/// goes into it. Where the kernel cannot be told so, there is to be no dump.
fn keep_secrets_out_of_core_dumps() {
    const NO_MEMORY_OF_OURS: &str = "0";
    if std::fs::write("/proc/self/coredump_filter", NO_MEMORY_OF_OURS).is_err() {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is to a live rlimit that the kernel reads. A limit can always be lowered.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    }
}

fn check_memlock() -> Result<(), StartError> {
    let limit = raise(libc::RLIMIT_MEMLOCK, u64::MAX)
        .map_err(|error| StartError::new(format!("cannot read the limit on locked memory: {error}")))?;
    if limit >= MEMLOCK_MIN {
        return Ok(());
    }
    Err(StartError::new(format!(
        "the limit on locked memory is {limit} bytes and io_uring needs {MEMLOCK_MIN}: \
         set LimitMEMLOCK=infinity in the systemd unit, `--ulimit memlock=-1` for a container, or `ulimit -l 512`"
    )))
}

fn check_fds(cores: u16) -> Result<usize, StartError> {
    let needed = FDS_OF_PROCESS + FDS_PER_CORE * u64::from(cores);
    let limit = raise(libc::RLIMIT_NOFILE, FDS_WANTED)
        .map_err(|error| StartError::new(format!("cannot read the limit on open files: {error}")))?;
    if limit > needed {
        return Ok(usize::try_from(limit - needed).unwrap_or(usize::MAX));
    }
    Err(StartError::new(format!(
        "the limit on open files is {limit} and {cores} shards need more than {needed} before the first connection: \
         set LimitNOFILE=1048576 in the systemd unit, `ulimit -n 65536`, or a smaller SHARDS"
    )))
}

/// Raises the soft limit of `resource` towards `wanted`, as far as its hard limit allows, and says where it is then.
fn raise(resource: libc::__rlimit_resource_t, wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit that the kernel fills in.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let target = limit.rlim_max.min(wanted);
    if target > limit.rlim_cur {
        let raised = libc::rlimit { rlim_cur: target, rlim_max: limit.rlim_max };
        // SAFETY: the pointer is to a live rlimit that the kernel reads.
        if unsafe { libc::setrlimit(resource, &raw const raised) } == 0 {
            return Ok(target);
        }
    }
    Ok(limit.rlim_cur)
}

/// Sets up a ring as the cores want it, enters it and throws it away. glommio panics, or ends the process, where its own
/// fail.
fn check_io_uring() -> Result<(), StartError> {
    Ring::new().and_then(|mut ring| ring.try_to_enter(Duration::ZERO)).map_err(|error| {
        StartError::new(format!("io_uring is not available: {error}; {}", what_to_do_about_io_uring(&error)))
    })
}

fn what_to_do_about_io_uring(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            "it is forbidden here: set kernel.io_uring_disabled=0, and for a container allow io_uring_setup, \
             io_uring_enter and io_uring_register in its seccomp profile"
        }
        Some(libc::ENOSYS | libc::EINVAL) => {
            "this kernel, or the seccomp profile of this container, has none, or an old one: Linux 6.1 or later is needed"
        }
        Some(libc::ENOMEM) => "locked memory is used up: raise the limit (LimitMEMLOCK=infinity)",
        Some(libc::EMFILE | libc::ENFILE) => "descriptors are used up: raise the limit (LimitNOFILE)",
        _ => "see `dmesg`",
    }
}
