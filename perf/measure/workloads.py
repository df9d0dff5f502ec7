"""What is asked for, and what issue 6 wants it to cost."""

import dataclasses

LINE_PEERS = ("redis", "memcached")
ALL_PEERS = ("nginx", "varnish", "redis", "memcached")
KEYS = 100_000
MANY_KEYS = 1_000_000
BATCH_KEYS = 100


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    what: str
    ask: str = "get"
    # json: the main form. raw: bytes, asked for and answered as such.
    form: str = "json"
    connections: int = 64
    depth: int = 1
    keys: int = KEYS
    draw: str = "uniform"
    value_bytes: int = 64
    # Who takes part.
    peers: tuple = ()
    # The highest multiple of the floor that is wanted.
    floor_max: float | None = None
    # How many requests find out how fast it goes.
    trial: int = 5_000


WORKLOADS = [
    Workload("get-1", "GET, 1 connection", connections=1, peers=ALL_PEERS, floor_max=1.5, trial=2_000),
    Workload("get-64", "GET, 64 connections", peers=ALL_PEERS, floor_max=1.2),
    Workload("get-512", "GET, 512 connections", connections=512, peers=ALL_PEERS, floor_max=1.1),
    Workload("get-5000", "GET, 5,000 connections", connections=5_000, peers=("nginx", *LINE_PEERS), trial=10_000),
    Workload("get-64x16", "GET, 64 connections, 16 pipelined", depth=16, peers=("nginx", *LINE_PEERS), floor_max=1.6, trial=50_000),
    Workload("get-uniform", "GET over 1 M keys, uniform", keys=MANY_KEYS),
    Workload("get-zipf", "GET over 1 M keys, zipf", keys=MANY_KEYS, draw="zipf", peers=LINE_PEERS),
    Workload("put-64", "PUT of 64 B", ask="put", peers=LINE_PEERS, floor_max=1.5),
    Workload("put-4k", "PUT of 4 KiB", ask="put", value_bytes=4096, peers=LINE_PEERS),
    Workload("mixed", "90 % GET, 10 % PUT over 1 M keys, zipf", ask="mixed", keys=MANY_KEYS, draw="zipf", peers=LINE_PEERS, floor_max=1.4),
    Workload("batch", f"batch get of {BATCH_KEYS} keys", ask="batch", peers=LINE_PEERS, trial=500),
    Workload("get-64k", "GET of 64 KiB", form="raw", keys=1_000, value_bytes=64 * 1024, peers=("nginx", *LINE_PEERS), trial=1_000),
    Workload("get-1m", "GET of 1 MiB, 16 connections", form="raw", connections=16, keys=64, value_bytes=1024 * 1024,
             peers=("nginx", *LINE_PEERS), floor_max=1.1, trial=100),
]
BY_NAME = {workload.name: workload for workload in WORKLOADS}
