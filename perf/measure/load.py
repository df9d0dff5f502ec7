"""Runs the load generator (perf/load) and measures what a server spends on it."""

import json
import subprocess
import threading

from common import RELEASE, TICK_NS, cpu_ns, cpu_ticks_ns

LOAD = RELEASE / "examples" / "load"
LOAD_SECONDS_MAX = 120


def load(subject, workload, cpus, **changes):
    """What the load generator says; an error if a single answer was wrong."""
    with Load(subject, workload, cpus, **changes) as running:
        return running.finish()


class Load:
    """The load generator while it runs. With wait=1 it first says that all connections are there."""

    def __init__(self, subject, workload, cpus, **changes):
        self.what = f"{subject.name}, {workload.name}"
        options = {"ask": workload.ask, "connections": workload.connections, "depth": workload.depth, "keys": workload.keys,
                   "draw": workload.draw, "value_bytes": workload.value_bytes, **subject.load_options(workload), **changes}
        arguments = [str(part) for name, value in options.items() for part in ("--" + name.replace("_", "-"), value)]
        self.requests = None if "rate" in options else options["requests"]
        self.process = subprocess.Popen(["taskset", "-c", cpus, LOAD, *arguments], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.watchdog = threading.Timer(LOAD_SECONDS_MAX, self.process.kill)

    def __enter__(self):
        self.watchdog.start()
        return self

    def __exit__(self, *_):
        self.watchdog.cancel()
        self.process.kill()
        self.process.communicate()

    def line(self):
        if line := self.process.stdout.readline():
            return line
        raise RuntimeError(f"load on {self.what}: {self.process.stderr.read().strip()}")

    def wait_until_ready(self):
        if self.line() != "ready\n":
            raise RuntimeError(f"load on {self.what}: not ready")

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self):
        result = json.loads(self.line())
        if self.requests not in (None, result["answers"]):
            raise RuntimeError(f"load on {self.what}: {result['answers']} answers for {self.requests} requests")
        return result


def fill(subject, workload, cpus):
    """Gives every key its value, by what the subject says must be asked for that; nothing if its answers are fixed."""
    if ask := subject.fill_ask:
        load(subject, workload, cpus, ask=ask, draw="order", requests=workload.keys, connections=16, depth=4)


def measure(subject, workload, cpus, requests, **changes):
    """Server CPU for each checked answer in µs, and the rate; without what opening and closing connections takes."""
    with Load(subject, workload, cpus, requests=requests, wait=1, **changes) as running:
        running.wait_until_ready()
        before, ticks_before = cpu_ns(subject.pid), cpu_ticks_ns(subject.pid)
        running.go()
        result = running.finish()
        spent, ticks = cpu_ns(subject.pid) - before, cpu_ticks_ns(subject.pid) - ticks_before
    # utime and stime are each rounded down to a tick, at both ends.
    if abs(spent - ticks) > 4 * TICK_NS + spent // 20:
        raise RuntimeError(f"two clocks disagree about the CPU of {subject.name}: {spent} ns, {ticks} ns")
    return {"us": spent / result["answers"] / 1000, "rate": result["answers"] / result["seconds"],
            "load_busy": result["load_cpu_seconds"] / result["seconds"], "result": result}


def requests_for(subject, workload, cpus, seconds, **changes):
    """How many requests take so long. Warms up as well."""
    trial = max(workload.trial, workload.connections * workload.depth)
    for part in (0.2, 1.0):
        rate = measure(subject, workload, cpus, trial, **changes)["rate"]
        trial = max(workload.connections * workload.depth, int(rate * seconds * part))
    return trial


def sizes(result):
    """Bytes of requests, answers and bodies of each kind, as the floor wants to know them."""
    told = {}
    for kind, counts in result["kinds"].items():
        lengths = {int(length): count for length, count in counts["bodies"].items()}
        # Lengths of versions may differ by a digit, nothing else may: 100 of them in a batch.
        if max(lengths) - min(lengths) > (8 if kind != "batch" else 800):
            raise RuntimeError(f"answers of very different lengths: {lengths}")
        told[kind] = {"request_bytes": round(counts["request_bytes"] / counts["answers"]),
                      "answer_bytes": round(counts["answer_bytes"] / counts["answers"]), "body_bytes": max(lengths, key=lengths.get)}
    return told
