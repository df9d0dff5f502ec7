"""What the measurements in this directory share: the server as a child process, and the machine's description."""

import json
import os
import pathlib
import platform
import queue
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
SERVER = RELEASE / "cache-service"
TOKEN = "a-token-for-measurements-of-32-and-more-characters"
# The clock of another process's CPU time: linux/posix-timers.h, MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED).
CPUCLOCK_SCHED = 2
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
START_SECONDS_MAX = 15


def cpu_ns(pid):
    """What the kernel has charged to a process so far, threads that have ended included, which the sum over
    /proc/PID/task/*/schedstat leaves out."""
    return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)


def cpu_ticks_ns(pid):
    """The same by the coarse counters of /proc/PID/stat (utime and stime), to check the fine one."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_NS


class Child:
    """A server process that says where it listens."""

    def __init__(self, command, cpus, env, find_address):
        self.process = subprocess.Popen(
            ["taskset", "-c", cpus, *map(str, command)],
            env={"PATH": os.environ["PATH"], **env},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._collect, daemon=True).start()
        self.address = self._wait_for_address(find_address)

    def _collect(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def _wait_for_address(self, find_address):
        seen = []
        try:
            while (line := self.lines.get(timeout=START_SECONDS_MAX)) is not None:
                seen.append(line)
                if address := find_address(line):
                    return address
        except queue.Empty:
            pass
        self.stop()
        sys.exit("does not listen: " + " ".join(map(str, self.process.args)) + "\n" + "".join(seen))

    def cpu_ns(self):
        return cpu_ns(self.process.pid)

    def cpu_ticks_ns(self):
        return cpu_ticks_ns(self.process.pid)

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Peer(Child):
    """A server process that is told where to listen and may say nothing."""

    def __init__(self, command, cpus, port):
        self.port = port
        super().__init__(command, cpus, {}, None)

    def _wait_for_address(self, _):
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return f"127.0.0.1:{self.port}"
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        self.stop()
        said = [line for line in list(self.lines.queue) if line]
        sys.exit("does not listen: " + " ".join(map(str, self.process.args)) + "\n" + "".join(said))


def raise_open_files(wanted):
    """Raises the limit of open files for this process and its children, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, soft), max(wanted, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def server_address(line):
    try:
        record = json.loads(line)
    except ValueError:
        return None
    record = {**record, **record.get("fields", {})} if isinstance(record, dict) else {}
    return record.get("address") if record.get("message") == "listening" else None


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def output_of(*command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def describe():
    memory_kib = next(int(line.split()[1]) for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    changed = " with local changes" if output_of("git", "status", "--porcelain", "--untracked-files=no") else ""
    return {"system": f"{platform.system()} {platform.release()} {platform.machine()}", "cpu": cpu_model(),
            "cpus": os.cpu_count(), "memory_gib": round(memory_kib / 2**20, 1), "rustc": output_of("rustc", "--version"),
            "commit": output_of("git", "rev-parse", "--short=12", "HEAD") + changed}


def machine_line(machine):
    return (f"{machine['system']}, {machine['cpus']} × {machine['cpu']}, {machine['memory_gib']} GiB; {machine['rustc']}; "
            f"commit {machine['commit']}.")


def build():
    subprocess.run(["cargo", "build", "--release", "--locked", "--bins", "--examples"], cwd=ROOT, check=True)


def first_two_cpus(parser):
    cpus = [str(cpu) for cpu in sorted(os.sched_getaffinity(0))][:2]
    if len(cpus) < 2:
        parser.error("two CPUs are needed: one for the server, one for the load")
    return cpus


def names(text, known, what, parser):
    """The names in a list with commas, if all are known."""
    chosen = [name for name in text.split(",") if name]
    if unknown := set(chosen) - set(known):
        parser.error(f"no such {what}: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return chosen


def verdict(who, what, value, relation, bound, unit):
    holds = value <= bound if relation == "at most" else value >= bound
    found, wanted = (f"{number:,.2f} {unit}".rstrip() for number in (value, bound))
    return f"- {'holds' if holds else 'MISSED'}: {who}: {what} {found}, {relation} {wanted} wanted"


def write_results(name, text, record):
    """Writes perf/results/NAME.md and .json."""
    base = ROOT / "perf" / "results" / name
    base.parent.mkdir(parents=True, exist_ok=True)
    base.with_suffix(".md").write_text(text)
    base.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
