"""Part: what a foreign key costs. Two shards, each reached by a port of its own; server, floor and load share both CPUs."""

from common import verdict
from measure.load import fill, load, measure, requests_for, sizes
from measure.subjects import Floor, Ours
from measure.turns import alternate, column, median, spread
from measure.workloads import BY_NAME, Workload

BUSY = BY_NAME["get-64"]
ONE = Workload("get-1", "GET, 1 connection", connections=1, trial=2_000)
SHARES = (0, 50, 100)
MORE_FLOORS_MAX = 0.5
WAKEUPS_MAX = 0.2
ROUND_TRIP_US_MAX = 30


def run(options):
    both = ",".join(options.cpus)
    ours = Ours(options, both, shards=2, own_ports=True)
    floor = None
    try:
        if not ours.knows_topology():
            return None
        fill(ours, BUSY, both)
        floor = Floor(both, BUSY, sizes(load(ours, BUSY, both, requests=BUSY.trial)), threads=2)
        requests = requests_for(ours, BUSY, both, options.seconds, **ours.aware(50))
        requests_of_floor = requests_for(floor, BUSY, both, options.seconds)
        turns = [lambda share=share: measure_share(ours, share, requests, both) for share in SHARES]
        turns.append(lambda: measure(floor, BUSY, both, requests_of_floor))
        found = alternate(options, "foreign 0 % / 50 % / 100 % / floor", *turns)
        return {"shares": dict(zip(map(str, SHARES), found)), "floor_us": column(found[-1], "us"), "round_trips_us": round_trips(ours, options, both)}
    finally:
        for subject in filter(None, (ours, floor)):
            subject.stop()


def measure_share(ours, share, requests, cpus):
    before = ours.counters()
    measured = measure(ours, BUSY, cpus, requests, **ours.aware(share))
    after, foreign = ours.counters(), measured.pop("result")["foreign"]
    # Wake-ups that no foreign request asked for are among them: that is the safe side.
    of_foreign = {name: (after[name] - before[name]) / foreign for name in after} if foreign else {}
    return {**measured, "foreign": foreign, "per_foreign": of_foreign}


def round_trips(ours, options, cpus):
    """Medians as a single connection sees them: own keys and foreign keys in turns, nothing else going on."""
    requests = requests_for(ours, ONE, cpus, options.seconds / 2, **ours.aware(100))

    def trip(share):
        result = load(ours, ONE, cpus, requests=requests, time=1, **ours.aware(share))
        return {"us": dict(map(tuple, result["latency"]["at"]))[50.0]}

    own, foreign = alternate(options, "round trip, own / foreign", lambda: trip(0), lambda: trip(100))
    return {"own": column(own, "us"), "foreign": column(foreign, "us")}


def more_floors(result, share):
    """How many floors more than an own key, pair by pair; so much the more for a key if only some are foreign."""
    own, some = (column(result["shares"][str(number)], "us") for number in (0, share))
    return [(b - a) / floor * 100 / share for a, b, floor in zip(own, some, result["floor_us"])]


def report(result, options):
    lines = ["## Foreign keys", ""]
    if result is None:
        return [*lines, "Left out: the server does not tell its topology."]
    lines += ["GET, 64 connections on two shards, each connection asking for keys of the shard that it reaches or, that often, of the other one.",
              f"Server and load share both CPUs; the floor has two threads. Median (lowest–highest) of {len(result['floor_us'])} rounds.", "",
              "| foreign keys | ours, µs | ours / floor | more than an own key, floors per foreign key | sleeps of both cores per foreign request | cores woken by another |",
              "| --- | --- | --- | --- | --- | --- |"]
    for share in SHARES:
        of = result["shares"][str(share)]
        ratios = [it["us"] / floor for it, floor in zip(of, result["floor_us"])]
        more = spread(more_floors(result, share)) if share else "–"
        counters = [counter(of, name) for name in ("cache_wakeups_total", "cache_doorbells_total")]
        lines.append(f"| {share} % | {spread(column(of, 'us'))} | {spread(ratios)} | {more} | " +
                     " | ".join("not told" if it is None else f"{it:.3f}" for it in counters) + " |")
    trips = result["round_trips_us"]
    hop = [foreign - own for own, foreign in zip(trips["own"], trips["foreign"])]
    lines += [f"| floor | {spread(result['floor_us'])} | 1 | | | |", "",
              "One connection in a closed loop, everything else idle, median round trip in µs as the client sees it:", "",
              "| own key | foreign key | difference |", "| --- | --- | --- |",
              f"| {spread(trips['own'], 1)} | {spread(trips['foreign'], 1)} | {spread(hop, 1)} |", "",
              verdict("foreign key", "costs more than an own key", median(more_floors(result, 100)), "at most", MORE_FLOORS_MAX, "floors")]
    # Cores also sleep between requests of their own clients; what a foreign request wakes is told by the doorbells.
    doorbells = counter(result["shares"]["100"], "cache_doorbells_total")
    if doorbells is not None:
        lines.append(verdict("foreign key", "cores woken per request", doorbells, "at most", WAKEUPS_MAX, ""))
    lines.append(verdict("idle two-core round trip", "median, what it adds to an own key's", median(hop), "at most", ROUND_TRIP_US_MAX, "µs"))
    return lines


def counter(measured, name):
    """What a counter grew by for each foreign request, if the server has it."""
    found = [it["per_foreign"][name] for it in measured if name in it["per_foreign"]]
    return median(found) if found else None
