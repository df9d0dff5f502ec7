"""Part: the instrument itself. The floor against itself, and wrong answers that must be found."""

from common import verdict
from measure.load import fill, load, measure, requests_for, sizes
from measure.subjects import Floor, Ours
from measure.turns import alternate, column, median, ratios, spread
from measure.workloads import BY_NAME

WORKLOAD = BY_NAME["get-64"]
# How far from 1 a ratio of equals may be.
DIFFERENCE_MAX = 0.03


def run(options):
    server_cpu, load_cpu = options.cpus
    ours, floors = Ours(options, server_cpu), []
    try:
        fill(ours, WORKLOAD, load_cpu)
        told = sizes(load(ours, WORKLOAD, load_cpu, requests=WORKLOAD.trial))
        floors = [Floor(server_cpu, WORKLOAD, told) for _ in range(2)]
        found = {
            "bodies that are no values": is_found(floors[0], load_cpu, "a wrong answer", without_fixed=True),
            "bodies that are too short": is_found(floors[0], load_cpu, "a wrong answer", fixed=told["get"]["body_bytes"] + 1),
            "values that are too long": is_found(ours, load_cpu, "a wrong answer", value_bytes=WORKLOAD.value_bytes - 1),
            "keys that were never written": is_found(ours, load_cpu, "a wrong answer", keys=2 * WORKLOAD.keys),
        }
        requests = requests_for(floors[0], WORKLOAD, load_cpu, options.seconds)
        one, two = alternate(options, "floor / floor", *(lambda floor=floor: measure(floor, WORKLOAD, load_cpu, requests) for floor in floors))
    finally:
        for subject in [ours, *floors]:
            subject.stop()
    return {"found": found, "one_us": column(one, "us"), "other_us": column(two, "us"), "ratios": ratios(one, two)}


def is_found(subject, load_cpu, how, without_fixed=False, **changes):
    """Whether a load that expects something else ends with such an error."""
    told = subject.load_options
    if without_fixed:
        subject.load_options = lambda workload: {name: value for name, value in told(workload).items() if name != "fixed"}
    try:
        load(subject, WORKLOAD, load_cpu, requests=WORKLOAD.trial, **changes)
    except RuntimeError as error:
        if how in str(error):
            return True
        raise
    finally:
        subject.load_options = told
    raise RuntimeError(f"wrong answers were not found: {changes}")


def report(result, options):
    return ["## The instrument", "",
            f"The floor against another one like it: {spread(result['one_us'])} and {spread(result['other_us'])} µs, ratio {spread(result['ratios'])}.",
            f"Wrong answers that were found, each of which ends a run: {', '.join(result['found'])}.", "",
            verdict("floor / floor", "distance from 1 of the ratio", abs(median(result["ratios"]) - 1), "at most", DIFFERENCE_MAX, "")]
