//! Asks the kernel about this process. Part of the world half: it reads `/proc`.

use crate::metrics::ProcessStats;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;

/// What `/proc` says about this process now; a file or a number that cannot be read leaves its field `None`.
///
/// A handful of system calls on the calling thread, each of which may wait for a lock of the kernel: not for a core
/// that has requests to answer.
#[must_use]
pub fn read() -> ProcessStats {
    static START_TIME_SECS: OnceLock<Option<f64>> = OnceLock::new();
    static FILES: OnceLock<[Option<File>; 2]> = OnceLock::new();
    // They stay open: who runs out of descriptors must still be seen to.
    let files = FILES.get_or_init(|| ["/proc/self/stat", "/proc/self/status"].map(|path| File::open(path).ok()));
    let [stat, status] = files.each_ref().map(|file| file.as_ref().map_or_else(String::new, text_from_start));
    ProcessStats {
        cpu_secs: cpu_secs(&stat),
        resident_bytes: status_bytes(&status, "VmRSS:"),
        virtual_bytes: status_bytes(&status, "VmSize:"),
        open_fds: open_fds(),
        max_fds: max_fds(),
        threads: field_after(&status, "Threads:"),
        // It never changes, and /proc/stat is slow to read on a machine with many CPUs.
        start_time_secs: *START_TIME_SECS.get_or_init(|| start_time_secs(&stat, &text("/proc/stat"))),
    }
}

fn text(path: &str) -> String {
    fs::read(path).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The text of a file of `/proc` as it is now, which the kernel makes whenever it is read from its start.
fn text_from_start(file: &File) -> String {
    let mut buffer = [0; 16 * 1024];
    let len = file.read_at(&mut buffer, 0).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

/// The CPU time of the calling thread, user and system, in nanoseconds; 0 if the kernel does not tell.
#[must_use]
pub fn cpu_nanos_of_this_thread() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec that the kernel fills in.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The number after the first line that begins with `label`.
fn field_after(text: &str, label: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

fn status_bytes(status: &str, label: &str) -> Option<u64> {
    field_after(status, label)?.checked_mul(1024)
}

/// Field `number` of `/proc/self/stat`, counted from 1 as proc(5) does. The second one, the name in parentheses, may
/// hold anything, so fields are counted from its end.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// User (field 14) and system (15) time of all threads.
fn cpu_secs(stat: &str) -> Option<f64> {
    Some((stat_field(stat, 14)? + stat_field(stat, 15)?) as f64 / ticks_per_sec())
}

/// The machine's boot time plus the process's start after it (field 22).
fn start_time_secs(stat: &str, machine: &str) -> Option<f64> {
    Some(field_after(machine, "btime ")? as f64 + stat_field(stat, 22)? as f64 / ticks_per_sec())
}

/// The unit of times in `/proc`, from the auxiliary vector that the kernel gave this process; pairs of a name and a
/// number, of which `AT_CLKTCK` is the one.
fn ticks_per_sec() -> f64 {
    const AT_CLKTCK: usize = 17;
    const USUAL: f64 = 100.0;
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| {
        let words: Vec<usize> = fs::read("/proc/self/auxv")
            .unwrap_or_default()
            .chunks_exact(size_of::<usize>())
            .filter_map(|word| word.try_into().ok().map(usize::from_ne_bytes))
            .collect();
        let ticks = words.chunks_exact(2).find(|pair| pair[0] == AT_CLKTCK).map_or(0, |pair| pair[1]);
        if ticks == 0 { USUAL } else { ticks as f64 }
    })
}

/// Kernels since 6.2 tell the number as the directory's size; counting the entries of an older one takes long when
/// there are many connections.
fn open_fds() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.len() {
        // The directory is open itself while it is read.
        0 => Some((fs::read_dir(DIRECTORY).ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

/// The soft limit, as the kernel enforces it.
fn max_fds() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit that the kernel fills in.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (asked == 0).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_described() {
        let stats = read();
        assert!(stats.resident_bytes.unwrap() > 100_000);
        assert!(stats.virtual_bytes.unwrap() >= stats.resident_bytes.unwrap());
        assert!(stats.threads.unwrap() >= 1);
        assert!(stats.open_fds.unwrap() >= 3);
        assert!(stats.max_fds.unwrap() >= stats.open_fds.unwrap());
        assert!(stats.cpu_secs.unwrap() >= 0.0);
        assert!(stats.start_time_secs.unwrap() > 1_600_000_000.0);
        assert_eq!(read().start_time_secs, stats.start_time_secs);
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_field() {
        let stat = "7 (a) b (c) S 4 5 6 7 8 9 10 11 12 13 1400 1500 16 17 18 19 20 21 2200 23";
        assert_eq!(
            (stat_field(stat, 4), stat_field(stat, 14), stat_field(stat, 22)),
            (Some(4), Some(1400), Some(2200))
        );
        assert_eq!(cpu_secs(stat), Some(2900.0 / ticks_per_sec()));
        assert_eq!(start_time_secs(stat, "cpu 1 2\nbtime 1000\n"), Some(1000.0 + 2200.0 / ticks_per_sec()));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for broken in ["", "7 (a", "7 (a) S", ")", "VmRSS: many kB", "btime"] {
            assert_eq!(cpu_secs(broken), None);
            assert_eq!(start_time_secs(broken, broken), None);
            assert_eq!(status_bytes(broken, "VmRSS:"), None);
        }
    }
}
