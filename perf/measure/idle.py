"""Part: what idle connections take: our own memory for each, and whether busy ones notice."""

import pathlib
import re
import socket
import time

from common import TOKEN, verdict
from measure.load import fill, measure, requests_for
from measure.subjects import Ours
from measure.turns import alternate, column, median, ratios, spread
from measure.workloads import BY_NAME

WORKLOAD = BY_NAME["get-64"]
KIB_MAX = 2.5
# "No effect", as far as a noisy machine can show it.
BUSY_MAX = 1.03
SETTLE_SECONDS = 0.5
# Connections from one loopback address, of which there are many: the kernel has 28,000 ports for each.
CONNECTIONS_OF_AN_ADDRESS = 5_000
REQUEST = f"GET /v1/kv/key-000000000000 HTTP/1.1\r\nHost: cache\r\nX-API-Token: {TOKEN}\r\n\r\n".encode()


class Idle:
    """Connections that have asked once and say nothing more."""

    # The kernel keeps the ports of those that were closed for a minute: each lot has addresses of its own.
    lots = 0

    def __init__(self, address, count):
        host, port = address.rsplit(":", 1)
        self.sockets = []
        Idle.lots += 1
        for number in range(count):
            source = f"127.0.{Idle.lots}.{2 + number // CONNECTIONS_OF_AN_ADDRESS}"
            self.sockets.append(socket.create_connection((host, int(port)), timeout=10, source_address=(source, 0)))
        for connection in self.sockets:
            connection.sendall(REQUEST)
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("an idle connection was not served")

    def close(self):
        for connection in self.sockets:
            connection.close()


def memory_kib(pid):
    """What is resident, and what of it is the process's own."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    own = re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return {"resident": int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE).group(1)), "own": sum(map(int, own))}


def run(options):
    server_cpu, load_cpu = options.cpus
    ours = Ours(options, server_cpu, IDLE_TIMEOUT_MS="3600000", MAX_CONNECTIONS=str(options.idle + 1_000))
    try:
        fill(ours, WORKLOAD, load_cpu)
        requests = requests_for(ours, WORKLOAD, load_cpu, options.seconds)
        time.sleep(SETTLE_SECONDS)
        before = memory_kib(ours.pid)
        idle = Idle(ours.address, options.idle)
        time.sleep(SETTLE_SECONDS)
        after = memory_kib(ours.pid)
        idle.close()
        alone, beside = alternate(options, f"64 busy connections, alone / beside {options.idle:,} idle ones",
                                  lambda: measure(ours, WORKLOAD, load_cpu, requests), lambda: measure_beside(ours, requests, options))
    finally:
        ours.stop()
    return {"connections": options.idle, "before_kib": before, "after_kib": after, "alone_us": column(alone, "us"),
            "beside_us": column(beside, "us"), "ratios": ratios(beside, alone)}


def measure_beside(ours, requests, options):
    _, load_cpu = options.cpus
    idle = Idle(ours.address, options.idle)
    try:
        return measure(ours, WORKLOAD, load_cpu, requests)
    finally:
        idle.close()
        time.sleep(SETTLE_SECONDS)


def report(result, options):
    each = {kind: (result["after_kib"][kind] - result["before_kib"][kind]) / result["connections"] for kind in result["before_kib"]}
    count = f"{result['connections']:,} idle connections"
    return ["## Idle connections", "",
            f"{count} that have asked once, on a server that 64 busy ones have warmed up. Memory of the process, without the kernel's.", "",
            "| what | |", "| --- | --- |",
            f"| resident before, after | {result['before_kib']['resident']:,}, {result['after_kib']['resident']:,} KiB |",
            f"| for each connection | {each['resident']:.2f} KiB resident, {each['own']:.2f} KiB the process's own |",
            f"| 64 busy connections alone, µs per request | {spread(result['alone_us'])} |",
            f"| beside the idle ones | {spread(result['beside_us'])} |",
            f"| ratio | {spread(result['ratios'])} |", "",
            verdict(count, "each takes", max(each.values()), "at most", KIB_MAX, "KiB"),
            verdict(count, "CPU of busy ones beside them", median(result["ratios"]), "at most", BUSY_MAX, "of what they take alone")]
