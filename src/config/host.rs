//! What this machine lets the process use: CPUs, memory, open files. The defaults are made from it.
//!
//! A container sees the whole machine in most places; what it may really use stands in its control group, in the
//! files of version 2 or of version 1.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// What the process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The CPUs of the affinity mask, ascending; at least one.
    pub cpus: Vec<usize>,
    /// The cgroup's CPU quota in whole CPUs, rounded up, at least 1; `None` if there is none.
    pub cpu_quota: Option<usize>,
    /// The smallest of the machine's memory and the cgroups' limits, in bytes; `None` if neither can be read.
    pub memory_bytes: Option<u64>,
    /// The hard limit of open files; `None` if it cannot be read or there is none.
    pub open_files_max: Option<u64>,
}

impl Host {
    /// Looks at this machine. To be called from a thread that is not pinned: the mask is the calling thread's.
    #[must_use]
    pub fn observe() -> Self {
        Self::observe_at(Path::new("/"), allowed_cpus())
    }

    fn observe_at(root: &Path, cpus: Vec<usize>) -> Self {
        let groups = ControlGroups::of_this_process(root);
        let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| total_memory(&text));
        let open_files = fs::read_to_string(root.join("proc/self/limits")).ok();
        Self {
            cpus,
            cpu_quota: groups.cpu_quota(),
            memory_bytes: machine.into_iter().chain(groups.memory_limit()).min(),
            open_files_max: open_files.and_then(|text| hard_limit_of_open_files(&text)),
        }
    }

    /// How many CPUs' worth of time the process can use at once; at least 1.
    #[must_use]
    pub fn usable_cpus(&self) -> usize {
        self.cpu_quota.unwrap_or(usize::MAX).min(self.cpus.len()).max(1)
    }
}

/// The CPUs of the calling thread's affinity mask. Where the mask cannot be read (a kernel built for more CPUs than
/// the call's fixed size), as many as the standard library counts, from 0 on.
fn allowed_cpus() -> Vec<usize> {
    match core_affinity::get_core_ids() {
        Some(ids) if !ids.is_empty() => ids.into_iter().map(|core| core.id).collect(),
        _ => (0..std::thread::available_parallelism().map_or(1, usize::from)).collect(),
    }
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The third column of the line: name, soft limit, hard limit, unit.
fn hard_limit_of_open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The directories whose files limit this process: its own groups and all above them, innermost first.
#[derive(Debug, Default)]
struct ControlGroups {
    unified: Vec<PathBuf>,
    cpu_v1: Vec<PathBuf>,
    memory_v1: Vec<PathBuf>,
}

impl ControlGroups {
    fn of_this_process(root: &Path) -> Self {
        let mut groups = Self::default();
        let membership = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let mounts = root.join("sys/fs/cgroup");
        for line in membership.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            if controllers.is_empty() {
                groups.unified = upwards(&mounts, path);
            }
            for controller in controllers.split(',') {
                let of_controller = match controller {
                    "cpu" => &mut groups.cpu_v1,
                    "memory" => &mut groups.memory_v1,
                    _ => continue,
                };
                // Controllers that are mounted together are found under their joint name, or a link for each.
                let joint = mounts.join(controllers);
                *of_controller = upwards(&if joint.is_dir() { joint } else { mounts.join(controller) }, path);
            }
        }
        groups
    }

    fn cpu_quota(&self) -> Option<usize> {
        let unified = self.unified.iter().filter_map(|dir| {
            let text = fs::read_to_string(dir.join("cpu.max")).ok()?;
            let (quota, period) = text.trim().split_once(' ')?;
            whole_cpus(quota, period)
        });
        let v1 = self.cpu_v1.iter().filter_map(|dir| {
            let quota = fs::read_to_string(dir.join("cpu.cfs_quota_us")).ok()?;
            whole_cpus(&quota, &fs::read_to_string(dir.join("cpu.cfs_period_us")).ok()?)
        });
        unified.chain(v1).min()
    }

    fn memory_limit(&self) -> Option<u64> {
        let in_files = |dirs: &[PathBuf], names: &[&str]| {
            let files = dirs.iter().flat_map(|dir| names.iter().map(move |name| dir.join(name)));
            files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
        };
        // Above `memory.high` the kernel slows a group down until it is of no use, so that it is a limit as well.
        let unified = in_files(&self.unified, &["memory.max", "memory.high"]);
        unified.into_iter().chain(in_files(&self.memory_v1, &["memory.limit_in_bytes"])).min()
    }
}

/// The group's directory and all above it up to the mount. In a container the group's path may be the host's, of which
/// only the mount itself exists here; and a path from outside of the namespace starts with `..`, which is dropped.
fn upwards(mount: &Path, group: &str) -> Vec<PathBuf> {
    let inside = Path::new(group).components().filter(|part| matches!(part, Component::Normal(_)));
    let innermost = mount.join(inside.collect::<PathBuf>());
    innermost.ancestors().take_while(|dir| dir.starts_with(mount)).map(Path::to_path_buf).collect()
}

/// `None` where the quota is `max` or -1, which is how no limit is written.
fn whole_cpus(quota: &str, period: &str) -> Option<usize> {
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok().filter(|&period| period > 0)?;
    usize::try_from(quota.div_ceil(period).max(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn host(files: &[(&str, &str)]) -> Host {
        Host::observe_at(root(files).path(), vec![0, 1, 2, 3])
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16384 kB\nMemFree:  1 kB\n");

    #[test]
    fn a_bare_machine_has_its_memory_and_the_affinity_masks_cpus() {
        let host = host(&[MEMINFO]);
        assert_eq!((host.memory_bytes, host.cpu_quota, host.open_files_max), (Some(16 << 20), None, None));
        assert_eq!(host.usable_cpus(), 4);
    }

    #[test]
    fn version_2_limits_hold_from_every_level() {
        let host = host(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/system.slice/cache.service\n"),
            ("sys/fs/cgroup/system.slice/cache.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "4194304\n"),
            ("sys/fs/cgroup/system.slice/cache.service/memory.high", "5000000\n"),
            ("sys/fs/cgroup/system.slice/cache.service/cpu.max", "250000 100000\n"),
            ("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
        ]);
        assert_eq!((host.memory_bytes, host.cpu_quota), (Some(4 << 20), Some(3)));
        assert_eq!(host.usable_cpus(), 3);
    }

    #[test]
    fn version_1_limits_hold_in_a_container_that_sees_the_hosts_path() {
        let host = host(&[
            MEMINFO,
            ("proc/self/cgroup", "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "8388608\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!((host.memory_bytes, host.cpu_quota), (Some(8 << 20), Some(1)));
    }

    #[test]
    fn no_limit_is_no_limit_in_either_version() {
        let host = host(&[
            MEMINFO,
            ("proc/self/cgroup", "4:memory:/\n2:cpu:/\n0::/\n"),
            ("sys/fs/cgroup/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/memory.max", "max\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!((host.memory_bytes, host.cpu_quota), (Some(16 << 20), None));
    }

    #[test]
    fn a_group_outside_of_the_namespace_counts_as_the_mount() {
        let host = host(&[("proc/self/cgroup", "0::/../../a\n"), ("sys/fs/cgroup/memory.max", "7\n")]);
        assert_eq!(host.memory_bytes, Some(7));
    }

    #[test]
    fn the_hard_limit_of_open_files_is_read() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files \n";
        assert_eq!(host(&[("proc/self/limits", limits)]).open_files_max, Some(524_288));
        let unlimited = "Max open files            1024      unlimited      files\n";
        assert_eq!(host(&[("proc/self/limits", unlimited)]).open_files_max, None);
    }

    #[test]
    fn the_affinity_mask_of_this_process_is_honoured() {
        let before = allowed_cpus();
        std::thread::spawn(move || {
            let last = *before.last().unwrap();
            assert!(core_affinity::set_for_current(core_affinity::CoreId { id: last }));
            assert_eq!(allowed_cpus(), [last]);
        })
        .join()
        .unwrap();
    }
}
