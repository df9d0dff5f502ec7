"""Measurements that take turns, so that whatever else the machine does falls on all of them alike."""

import statistics


def alternate(options, label, *turns):
    """Runs all turns one after another, as often as there are pairs: a list of what each measured."""
    found = [[] for _ in turns]
    for number in range(options.pairs):
        for turn, results in zip(turns, found):
            results.append(turn())
        shown = " / ".join(f"{results[-1]['us']:.2f}" for results in found if "us" in results[-1])
        print(f"  {label} {number + 1}: {shown} us", flush=True)
    return found


def ratios(one, other, what="us"):
    """Of one to the other, pair by pair."""
    return [a[what] / b[what] for a, b in zip(one, other)]


def median(values):
    return statistics.median(values)


def spread(values, digits=2):
    low, middle, high = min(values), median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def column(results, what):
    return [result[what] for result in results]
