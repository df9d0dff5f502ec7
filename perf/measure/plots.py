#!/usr/bin/python3
"""Draws the results of perf/run: plots.py RESULT.json BASE writes BASE-*.svg and prints the Markdown that shows them.

A program of its own, for Debian's Python, which is the one that has Debian's matplotlib. Text and axes take the colour of the
page's theme, so that plots can be read on a light page and on a dark one.
"""

import json
import pathlib
import re
import statistics
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, NullLocator

# Stands for the theme's own colour until the file is written.
INK = "#123456"
THEME = "<style>svg{color:#1f2328} @media (prefers-color-scheme: dark){svg{color:#e6edf3}}</style>"
# Longer bars are cut.
LONGEST_BAR = 8.0
# Okabe and Ito's, which people of all kinds of sight tell apart, as far as they show on white and on near-black.
COLOURS = {"cache-service": "#d55e00", "floor": "#8c8c8c", "nginx": "#009e73", "varnish": "#cc79a7", "redis": "#0072b2", "memcached": "#e69f00"}
OTHER_COLOURS = ["#56b4e9", "#a58f00"]
OURS = "cache-service"
SHARES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99)

plt.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "perf", "font.family": "sans-serif", "font.size": 10, "axes.edgecolor": INK, "axes.labelcolor": INK,
    "text.color": INK, "xtick.color": INK, "ytick.color": INK, "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False,
    "grid.color": INK, "grid.alpha": 0.15, "axes.axisbelow": True,
})


def colour(name, others):
    return COLOURS.get(name) or OTHER_COLOURS[others.index(name) % len(OTHER_COLOURS)]


def save(figure, path, title):
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None, "Title": title})
    plt.close(figure)
    text = path.read_text().replace(INK, "currentColor")
    # Fonts by kind, as the reader's machine has them.
    text = re.sub(r"font: (\d+(?:\.\d+)?px) [^;\"]*", r"font: \1 sans-serif", text)
    path.write_text(re.sub(r"(<svg [^>]*>)", r"\1" + THEME, text, count=1))


def of_floor(workload):
    """By name, multiples of the floor: of ours, and of each peer by way of ours."""
    pairs = workload["pairs"]
    ours = statistics.median(pairs["floor"]["ratios"])
    found = {OURS: (ours, min(pairs["floor"]["ratios"]), max(pairs["floor"]["ratios"]))}
    for name, pair in pairs.items():
        if name != "floor":
            found[name] = tuple(ours / quantile for quantile in (statistics.median(pair["ratios"]), max(pair["ratios"]), min(pair["ratios"])))
    return found


def plot_cost(workloads, base):
    bars = {it["what"]: of_floor(it) for it in workloads}
    known = list(COLOURS)
    subjects = sorted({name for found in bars.values() for name in found}, key=lambda name: known.index(name) if name in known else len(known))
    others = [name for name in subjects if name not in COLOURS]
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.19 * sum(len(found) + 1 for found in bars.values())))
    top, ticks, seen = 0.0, [], set()
    longest = min(LONGEST_BAR, 1.12 * max(middle for found in bars.values() for middle, _, _ in found.values()))
    for found in bars.values():
        start = top
        for name in (name for name in subjects if name in found):
            middle, low, high = found[name]
            axes.barh(top, min(middle, longest), height=0.85, color=colour(name, others), label=None if name in seen else name)
            axes.plot([min(low, longest), min(high, longest)], [top, top], color=INK, linewidth=0.8, alpha=0.7)
            # Beside the floor's line, not on it; an arrow where the bar is cut.
            place = min(max(middle, high, 1.0 if middle > 0.6 else 0.0), longest)
            axes.text(place + 0.05, top, f"{middle:.2f}" + (" →" if middle > longest else ""), va="center", fontsize=7)
            seen.add(name)
            top += 1
        ticks.append((start + top - 1) / 2)
        top += 1
    axes.axvline(1, color=INK, linewidth=1, linestyle="--")
    axes.set_yticks(ticks, list(bars))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(top - 0.5, -1)
    axes.set_xlim(0, longest * 1.08)
    axes.grid(axis="x")
    axes.set_xlabel("CPU per request, multiple of a bare epoll loop's (median; line: lowest to highest)")
    axes.set_title("CPU per request beside the floor", loc="left", pad=26)
    axes.legend(ncol=6, loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=9, handlelength=1, columnspacing=1.2)
    save(figure, path_of(base, "cost"), "CPU per request beside the floor")
    return "CPU per request as a multiple of the floor's, ours and others", "cost"


def plot_latency(latency, base):
    figure, axes = plt.subplots(figsize=(8, 4))
    for name, spans in latency["spans"].items():
        by_share = [dict(map(tuple, span["at"])) for span in spans]
        places = [1 / (1 - share / 100) for share in SHARES]
        at = [[of[share] for of in by_share] for share in SHARES]
        axes.plot(places, [statistics.median(values) for values in at], color=colour(name, [name]), marker="o", markersize=3, label=name)
        axes.fill_between(places, list(map(min, at)), list(map(max, at)), color=colour(name, [name]), alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([2, 10, 100, 1_000, 10_000], ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda us, _: f"{us:,.0f}"))
    axes.grid()
    axes.set_xlabel("share of the requests")
    axes.set_ylabel("latency, µs since due")
    axes.set_title(f"Latency in an open loop at {latency['rate']:,.0f} requests a second (median; area: lowest to highest span)", loc="left", fontsize=11)
    axes.legend()
    save(figure, path_of(base, "latency"), "Latency in an open loop")
    return "Latency by share of the requests in an open loop", "latency"


def plot_growth(growth, base):
    figure, axes = plt.subplots(figsize=(8, 4))
    one = [it["us"] for it in growth["1"]]
    relative = {name: [it["us"] / first for it, first in zip(measured, one)] for name, measured in growth.items()}
    aware = relative.pop("2, aware", None)
    places = range(len(relative))
    middles = [statistics.median(values) for values in relative.values()]
    axes.plot(places, middles, color=COLOURS[OURS], marker="o", label="any client")
    axes.fill_between(places, [min(values) for values in relative.values()], [max(values) for values in relative.values()],
                      color=COLOURS[OURS], alpha=0.15, linewidth=0)
    for place, middle in zip(places, middles):
        axes.annotate(f"{middle:.2f}", (place, middle), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=9)
    if aware:
        axes.plot([1], [statistics.median(aware)], color=COLOURS["redis"], marker="D", linestyle="none", label="shard-aware client")
        axes.annotate(f"{statistics.median(aware):.2f}", (1, statistics.median(aware)), textcoords="offset points", xytext=(8, -3), fontsize=9)
    axes.set_xticks(list(places), list(relative))
    axes.set_ylim(0, max(map(max, relative.values())) * 1.1)
    axes.grid(axis="y")
    axes.set_xlabel("shards, all on the same two CPUs, which the load shares")
    axes.set_ylabel("CPU per request, one shard's = 1")
    axes.set_title("CPU per request as shards grow in number (median; area: lowest to highest)", loc="left", fontsize=11)
    axes.legend(loc="lower right")
    save(figure, path_of(base, "growth"), "CPU per request as shards grow in number")
    return "CPU per request as shards grow in number", "growth"


def path_of(base, kind):
    return pathlib.Path(f"{base}-{kind}.svg")


def main():
    results, base = json.loads(pathlib.Path(sys.argv[1]).read_text()), sys.argv[2]
    for part, draw in (("cost", plot_cost), ("latency", plot_latency), ("growth", plot_growth)):
        if results.get(part):
            what, kind = draw(results[part], base)
            print(f"![{what}]({path_of(base, kind).name})\n")


if __name__ == "__main__":
    main()
