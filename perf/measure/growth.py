"""Part: what more shards cost, all on the same two CPUs with the same load on the same two, keys uniform."""

from common import verdict
from measure.load import fill, measure, requests_for
from measure.subjects import Ours
from measure.turns import alternate, column, median, ratios, spread
from measure.workloads import BY_NAME

WORKLOAD = BY_NAME["get-64"]
SHARDS = (1, 2, 4, 8, 16)
TWO_MAX = 1.35
AWARE_MAX = 1.05


def run(options):
    both = ",".join(options.cpus)
    servers = {}
    try:
        for shards in SHARDS:
            servers[shards] = Ours(options, both, shards=shards, own_ports=True)
            fill(servers[shards], WORKLOAD, both)
        knows = servers[2].knows_topology()
        # Whoever is not measured stands still.
        for server in servers.values():
            server.pause()
        kinds = [(str(shards), server, {}) for shards, server in servers.items()]
        if knows:
            kinds.insert(2, ("2, aware", servers[2], servers[2].aware()))
        turns = [turn(server, changes, options, both) for _, server, changes in kinds]
        found = alternate(options, "shards " + " / ".join(name for name, _, _ in kinds), *turns)
    finally:
        for server in servers.values():
            server.stop()
    return {name: measured for (name, _, _), measured in zip(kinds, found)}


def turn(server, changes, options, cpus):
    server.go_on()
    requests = requests_for(server, WORKLOAD, cpus, options.seconds, **changes)
    server.pause()

    def measured():
        server.go_on()
        try:
            before = server.counters()
            it = measure(server, WORKLOAD, cpus, requests, **changes)
            after, answers = server.counters(), it.pop("result")["answers"]
            return {**it, "per_request": {name: (after[name] - before[name]) / answers for name in after}}
        finally:
            server.pause()

    return measured


def report(result, options):
    lines = ["## Growth", "",
             f"GET, 64 connections, all shards on the same two CPUs, which the load has as well. Ratios are of the same round, of {len(result['1'])}.",
             "A shard-aware client reaches each shard by a port of its own and asks it for its own keys.", "",
             "| shards | µs per request | of one shard's | requests/s | wake-ups per request | doorbells |", "| --- | --- | --- | --- | --- | --- |"]
    for name, measured in result.items():
        counters = [per_request(measured, it) for it in ("cache_wakeups_total", "cache_doorbells_total")]
        lines.append(f"| {name} | {spread(column(measured, 'us'))} | {spread(ratios(measured, result['1']))} | {median(column(measured, 'rate')):,.0f} | "
                     + " | ".join("not told" if it is None else f"{it:.3f}" for it in counters) + " |")
    lines += ["", verdict("two shards, half the keys foreign", "CPU", median(ratios(result["2"], result["1"])), "at most", TWO_MAX, "of one shard's")]
    if "2, aware" in result:
        lines.append(verdict("two shards, shard-aware client", "CPU", median(ratios(result["2, aware"], result["1"])), "at most", AWARE_MAX, "of one shard's"))
    else:
        lines.append("The shard-aware client was left out: the server does not tell its topology.")
    return lines


def per_request(measured, name):
    found = [it["per_request"][name] for it in measured if name in it["per_request"]]
    return median(found) if found else None
