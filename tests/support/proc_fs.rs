//! What the kernel says about the server: threads, processors, sockets, descriptors, memory.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// A thread of a process.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Its name.
    pub name: String,
    /// The processors that it may run on.
    pub cpus: Vec<usize>,
}

/// All threads of a process, by name.
pub fn threads(pid: u32) -> Vec<Thread> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    // A thread may end between the listing and the look at it.
    let statuses = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let mut threads: Vec<Thread> = statuses
        .map(|status| Thread { name: field(&status, "Name"), cpus: cpu_list(&field(&status, "Cpus_allowed_list")) })
        .collect();
    threads.sort_by(|a, b| a.name.cmp(&b.name));
    threads
}

/// The processors that this test may use, and so those of a server that it starts.
pub fn own_cpus() -> Vec<usize> {
    cpu_list(&field(&fs::read_to_string("/proc/self/status").expect("/proc is there"), "Cpus_allowed_list"))
}

/// Whether every thread of a process is stopped.
pub fn is_stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let mut statuses = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    statuses.all(|status| field(&status, "State").starts_with('T'))
}

/// Resident memory in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    kib_field(pid, "VmRSS")
}

/// CPU time that a process has used.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    // The name, in parentheses, may have anything in it.
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a line").split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    // SAFETY: `sysconf` takes a number.
    let ticks_per_sec = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_secs_f64(ticks as f64 / ticks_per_sec as f64)
}

/// How many descriptors a process has open.
pub fn open_fds(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count()
}

/// The inodes of the sockets of a process that listen on a TCP port over IPv4.
pub fn listening_inodes(pid: u32, port: u16) -> BTreeSet<String> {
    let own: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the process lives")
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("the process lives");
    let listening = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let local_port = u16::from_str_radix(local.split_once(':')?.1, 16).ok()?;
        (*state == LISTEN && local_port == port).then(|| (*inode).to_owned())
    });
    listening.filter(|inode| own.contains(inode)).collect()
}

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Raises this process's limit of open descriptors as far as it may; children inherit it. Gives the limit.
pub fn raise_fd_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a live, initialised rlimit and keep none.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max.min(65_536);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_cur
}

/// Sets the soft limit of a resource of a running process, such as `libc::RLIMIT_NOFILE`; gives what it was.
#[track_caller]
pub fn set_soft_limit(pid: u32, resource: libc::__rlimit_resource_t, soft: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let pid = libc::pid_t::try_from(pid).expect("process IDs fit");
    // SAFETY: all pointers are to a live rlimit, or to nothing, and the kernel keeps none.
    let set = unsafe {
        libc::prlimit(pid, resource, std::ptr::null(), &raw mut limit);
        let wanted = libc::rlimit { rlim_cur: soft, ..limit };
        libc::prlimit(pid, resource, &raw const wanted, std::ptr::null_mut())
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    limit.rlim_cur
}

/// The address space that a process has taken up, in bytes.
pub fn virtual_bytes(pid: u32) -> u64 {
    kib_field(pid, "VmSize")
}

fn kib_field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let kib = field(&status, name);
    kib.trim_end_matches(" kB").trim().parse::<u64>().expect("a number of kB") * 1024
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
}

/// `0-3,8` as its numbers.
fn cpu_list(text: &str) -> Vec<usize> {
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("bad processor list {text:?}"));
    let range =
        |part: &str| part.split_once('-').map_or_else(|| number(part)..=number(part), |(a, b)| number(a)..=number(b));
    text.split(',').flat_map(range).collect()
}
