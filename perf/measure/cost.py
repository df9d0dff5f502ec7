"""Part: CPU per request of ours beside the floor's and each peer's, in a closed loop. Server and load have a CPU each."""

from common import verdict
from measure.load import fill, load, measure, requests_for, sizes
from measure.subjects import PEERS, Floor, Ours
from measure.turns import alternate, column, median, ratios, spread
from measure.workloads import BATCH_KEYS, BY_NAME, WORKLOADS

# What issue 6 asks for: a batch of 100 keys costs less than so many GETs.
BATCH_GETS_MAX = 12


def run(options):
    return [run_workload(BY_NAME[name], options) for name in options.workloads]


def run_workload(workload, options):
    server_cpu, load_cpu = options.cpus
    ours = Ours(options, server_cpu)
    try:
        fill(ours, workload, load_cpu)
        if workload.name == "get-64":
            ours.check_that_all_is_on()
        requests = requests_for(ours, workload, load_cpu, options.seconds)
        told = sizes(load(ours, workload, load_cpu, requests=max(workload.trial, workload.connections * workload.depth)))
        pairs = {}
        for name, start in others(workload, told, ours, options):
            other = start()
            try:
                pairs[name] = run_pairs(workload, ours, other, requests, options)
            finally:
                other.stop()
        if workload.ask in ("put", "mixed"):
            # What was written can be read, whole.
            load(ours, workload, load_cpu, ask="get", draw="order", requests=workload.keys, depth=4)
    finally:
        ours.stop()
    return {"name": workload.name, "what": workload.what, "sizes": told, "requests": requests, "pairs": pairs}


def others(workload, told, ours, options):
    """Names of those that ours is held against, and what starts them."""
    server_cpu, _ = options.cpus
    yield "floor", lambda: Floor(server_cpu, workload, told)
    for name in options.peers:
        if name in workload.peers:
            yield name, lambda name=name: PEERS[name](server_cpu, workload, told, ours)
    for also in options.also:
        # Of HTTP this load knows batches as ours has them only.
        if workload.ask != "batch" or also.dialect != "raw":
            also.move_to(server_cpu)
            yield also.name, lambda also=also: also


def run_pairs(workload, ours, other, requests, options):
    _, load_cpu = options.cpus
    fill(other, workload, load_cpu)
    requests_of_other = requests_for(other, workload, load_cpu, options.seconds)
    one, two = alternate(options, f"{workload.name}, ours / {other.name}", lambda: measure(ours, workload, load_cpu, requests),
                         lambda: measure(other, workload, load_cpu, requests_of_other))
    return {"ours_us": column(one, "us"), "other_us": column(two, "us"), "ours_rate": column(one, "rate"), "other_rate": column(two, "rate"),
            "ours_load_busy": median(column(one, "load_busy")), "other_load_busy": median(column(two, "load_busy")),
            "requests_of_other": requests_of_other, "ratios": ratios(one, two)}


def report(results, options):
    lines = ["## CPU per request", "",
             f"Server CPU in µs per checked answer, median (lowest–highest) of {options.pairs} alternating pairs, and requests a second beside it;",
             "ours with tokens, request IDs, dates and metrics on. The floor is a bare epoll loop that writes fixed answers of the same size.",
             "Where nothing else is said: 64 connections, a 64-byte value, JSON, keys uniform over 100,000. Values from 64 KiB on are asked for",
             "as bytes. Pipelined requests and batches: 'per request' is per GET in the pipeline, and per batch.", "",
             "| workload | ours, µs | floor, µs | ours / floor | ours, requests/s | floor, requests/s | answer, bytes |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for it in results:
        pair = it["pairs"]["floor"]
        answer = ", ".join(f"{kind['answer_bytes']:,}" for kind in it["sizes"].values())
        lines.append(f"| {it['what']} | {spread(pair['ours_us'])} | {spread(pair['other_us'])} | {spread(pair['ratios'])} "
                     f"| {median(pair['ours_rate']):,.0f} | {median(pair['other_rate']):,.0f} | {answer} |")
    lines += ["", *report_peers(results), *verdicts(results)]
    return lines


def report_peers(results):
    rows = []
    for it in results:
        of_floor = median(it["pairs"]["floor"]["ratios"])
        for name, pair in it["pairs"].items():
            if name != "floor":
                rows.append(f"| {it['what']} | {name} | {spread(pair['ours_us'])} | {spread(pair['other_us'])} | {spread(pair['ratios'])} "
                            f"| {of_floor / median(pair['ratios']):.2f} | {median(pair['ours_rate']):,.0f} | {median(pair['other_rate']):,.0f} |")
    if not rows:
        return []
    return ["Others, each in pairs with ours, on the same CPU with the same keys and values. Their multiple of the floor is ours divided by",
            "'ours / other'.", "",
            "| workload | other | ours, µs | other, µs | ours / other | other / floor | ours, requests/s | other, requests/s |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |", *rows, ""]


def verdicts(results):
    lines = []
    for it in results:
        if bound := BY_NAME[it["name"]].floor_max:
            lines.append(verdict(it["what"], "CPU", median(it["pairs"]["floor"]["ratios"]), "at most", bound, "floors"))
    by_name = {it["name"]: median(it["pairs"]["floor"]["ours_us"]) for it in results}
    if "batch" in by_name and "get-64" in by_name:
        lines.append(verdict(f"batch get of {BATCH_KEYS} keys", "CPU", by_name["batch"] / by_name["get-64"], "at most", BATCH_GETS_MAX, "GETs"))
    return lines


NAMES = [workload.name for workload in WORKLOADS]
