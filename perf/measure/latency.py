"""Part: latency in an open loop, ours, nginx and the floor in turns at the same rate, counted from when a request was due."""

from common import verdict
from measure.load import fill, load, measure, requests_for, sizes
from measure.subjects import PEERS, Floor, Ours
from measure.turns import median, spread
from measure.workloads import BY_NAME

WORKLOAD = BY_NAME["get-64"]
SHOWN = (50.0, 90.0, 99.0, 99.9)
SATURATING_RUNS = 3


def run(options):
    server_cpu, load_cpu = options.cpus
    ours, others = Ours(options, server_cpu), []
    try:
        fill(ours, WORKLOAD, load_cpu)
        told = sizes(load(ours, WORKLOAD, load_cpu, requests=WORKLOAD.trial))
        if "nginx" in options.peers:
            others.append(PEERS["nginx"](server_cpu, WORKLOAD, told, ours))
        others.append(Floor(server_cpu, WORKLOAD, told))
        subjects = [ours, *others]
        saturating = {subject.name: saturating_rate(subject, options) for subject in subjects}
        half = min(rate for name, rate in saturating.items() if name != "floor") / 2
        spans = {subject.name: [] for subject in subjects}
        for number in range(options.pairs):
            for subject in subjects:
                spans[subject.name].append(span(subject, half, options))
            shown = " / ".join(f"{dict(of[-1]['at'])[99.0]:.0f}" for of in spans.values())
            print(f"  latency, {' / '.join(spans)} {number + 1}: 99 % within {shown} us", flush=True)
    finally:
        for subject in [ours, *others]:
            subject.stop()
    return {"rate": half, "saturating": saturating, "seconds": options.open_seconds, "spans": spans}


def saturating_rate(subject, options):
    _, load_cpu = options.cpus
    requests = requests_for(subject, WORKLOAD, load_cpu, options.seconds)
    return median([measure(subject, WORKLOAD, load_cpu, requests)["rate"] for _ in range(SATURATING_RUNS)])


def span(subject, rate, options):
    _, load_cpu = options.cpus
    result = load(subject, WORKLOAD, load_cpu, rate=f"{rate:.1f}", seconds=options.open_seconds, arrivals="poisson")
    # Arrivals are random, their number is not far from what it should be.
    if abs(result["answers"] / (rate * options.open_seconds) - 1) > 0.05:
        raise RuntimeError(f"{result['answers']} answers at {rate} a second in {options.open_seconds} s")
    return result["latency"]


def of_spans(spans, share):
    return [dict(map(tuple, of["at"]))[share] for of in spans]


def report(result, options):
    lines = ["## Latency", "",
             f"In µs from when a request was due, at {result['rate']:,.0f} GETs a second that arrive at random (Poisson) on 64 connections: half of the lower",
             f"saturating rate of ours and nginx's ({', '.join(f'{name} {rate:,.0f}' for name, rate in result['saturating'].items())} a second, closed loop).",
             f"Median (lowest–highest) of {len(result['spans']['cache-service'])} spans of {result['seconds']:g} s, in turns. The load generator never sleeps.", "",
             "| server | " + " | ".join(f"{share:g} %" for share in SHOWN) + " | longest |", "| --- | --- | --- | --- | --- | --- |"]
    for name, spans in result["spans"].items():
        cells = [spread(of_spans(spans, share), 0) for share in SHOWN] + [spread([of["max_us"] for of in spans], 0)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append("")
    ours, nginx = (median(of_spans(result["spans"][name], 99.0)) if name in result["spans"] else None for name in ("cache-service", "nginx"))
    if nginx is None:
        lines.append("nginx was left out, so that nothing can be said about what issue 6 wants.")
    else:
        lines.append(verdict("open loop at half of the saturating rate, nginx's latency being the bound", "99 % within", ours, "at most", nginx, "µs"))
    return lines
