// The charts: what each draws of the history, and its caption, which says the same in words and numbers.

import { bytes, clock, duration, NOTHING, rate, share } from "./format.js";
import { HISTORY_SECONDS, over } from "./history.js";

// More lines than this nobody can tell apart; then the busiest, the middle and the idlest core stand for all.
const LINES_MAX = 8;
const COLOURS = 8;
const HEIGHT = 170;
// A page that has just been opened shows so much, and then more until it is all.
const SPAN_SECONDS_MIN = 60;
const FONT = "11px system-ui, sans-serif";
// Half the width of a time below a chart.
const LABEL_HALF = 20;
// Steps between the values beside a chart: powers of two for bytes, and what can be said in few digits for the rest.
const STEPS_BINARY = Array.from({ length: 50 }, (_, n) => 2 ** n);
const STEPS_DECIMAL = Array.from({ length: 12 }, (_, n) => [0.2, 0.5, 1].map((it) => it * 10 ** n)).flat();
const DASHES = [[], [6, 4]];

const line = (label, colour, values, more = {}) => ({ label, colour, values, ...more });

// One line for each core, of what `pick` finds in a point; nothing where the server tells no such thing.
function byCore(points, pick) {
  const known = points.filter((point) => !point.isGap && pick(point).size > 0);
  if (known.length === 0) {
    return null;
  }
  const cores = [...pick(known.at(-1)).keys()].sort((a, b) => Number(a) - Number(b));
  const of = (point) => (point.isGap ? new Map() : pick(point));
  if (cores.length <= LINES_MAX) {
    return cores.map((core, n) => line(`core ${core}`, n, points.map((point) => of(point).get(core) ?? null)));
  }
  const sorted = points.map((point) => [...of(point).values()].sort((a, b) => a - b));
  const at = (part) => sorted.map((values) => values[Math.round((values.length - 1) * part)] ?? null);
  const digest = [["busiest", 1], ["median", 0.5], ["idlest", 0]];
  return digest.map(([label, part], n) => line(label, n, at(part), { isDigest: true }));
}

const valuesOf = (points, pick) => points.map((point) => (point.isGap ? null : pick(point)));
const ratesOf = (points, name) => valuesOf(points, (point) => over(point[name], point.seconds));

function requests(points) {
  const perSecond = (point) => new Map([...point.requestsByShard].map(([core, by]) => [core, by / point.seconds]));
  return byCore(points, perSecond) ?? [line("all cores", 0, ratesOf(points, "requests"))];
}

function latency(points) {
  return ["p50", "p95", "p99"].map((name, n) => line(name, n, valuesOf(points, (point) => point[name])));
}

function hitRatio(points) {
  const ratio = ({ hits, misses }) => (hits === null ? null : over(hits, hits + misses));
  return [line("hits of all reads", 2, valuesOf(points, ratio))];
}

function memory(points) {
  // Without a budget there is no line to draw.
  const budget = ({ budget: limit }) => (limit === Infinity ? null : limit);
  return [
    line("used", 0, valuesOf(points, (point) => point.memory), { isFilled: true }),
    line("budget", 1, valuesOf(points, budget), { isDashed: true }),
    line("resident", 2, valuesOf(points, (point) => point.resident)),
  ];
}

function forwarded(points) {
  const part = (point) => (point.local === null ? null : over(point.forwarded, point.forwarded + point.local));
  const isKnown = points.some((point) => !point.isGap && point.local !== null);
  return isKnown ? [line("forwarded", 3, valuesOf(points, part))] : null;
}

function removals(points) {
  return [line("evictions", 1, ratesOf(points, "evictions")), line("expirations", 0, ratesOf(points, "expirations"))];
}

const SPECS = [
  { id: "requests", lines: requests, format: rate, isStacked: true, ceiling: 1 },
  { id: "latency", lines: latency, format: duration, isLog: true },
  { id: "hits", lines: hitRatio, format: share, isShare: true, isFilled: true },
  { id: "memory", lines: memory, format: bytes, isBinary: true, ceiling: 1 << 20 },
  { id: "busy", lines: (points) => byCore(points, (point) => point.busyByShard), format: share, isShare: true },
  { id: "forwarded", lines: forwarded, format: share, isShare: true, isFilled: true },
  { id: "removals", lines: removals, format: rate, ceiling: 1 },
];

export class Charts {
  constructor() {
    this.ink = { text: "", grid: "" };
    this.charts = SPECS.map((spec) => new Chart(spec, this));
    this.takeColours();
    document.addEventListener("themechange", () => {
      this.takeColours();
      this.charts.forEach((chart) => chart.redraw());
    });
  }

  // The canvas knows nothing of style sheets: what they say is asked for once for each theme.
  takeColours() {
    const probe = document.createElement("span");
    document.body.append(probe);
    const colourOf = (name) => {
      probe.className = name;
      return getComputedStyle(probe).color;
    };
    this.ink = { text: colourOf("ink-text"), grid: colourOf("ink-grid") };
    this.palette = Array.from({ length: COLOURS }, (_, n) => colourOf(`ink-${n}`));
    probe.remove();
  }

  draw(points, now) {
    this.now = now;
    const first = Math.min(points[0]?.time ?? now, now - SPAN_SECONDS_MIN);
    this.since = Math.max(first, now - HISTORY_SECONDS);
    this.charts.forEach((chart) => chart.draw(points));
  }
}

class Chart {
  constructor(spec, charts) {
    this.spec = spec;
    this.charts = charts;
    this.figure = document.getElementById(`chart-${spec.id}`);
    this.legend = document.createElement("ul");
    this.legend.className = "legend";
    this.figure.querySelector("figcaption").append(this.legend);
    this.place = document.createElement("div");
    this.place.className = "plot";
    this.place.setAttribute("aria-hidden", "true");
    this.figure.append(this.place);
    this.lines = [];
    this.times = [];
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.place);
  }

  size() {
    return { width: Math.max(this.place.clientWidth, 100), height: HEIGHT };
  }

  redraw() {
    this.plot?.redraw(false);
  }

  draw(points) {
    const lines = this.spec.lines(points);
    this.figure.toggleAttribute("data-unknown", lines === null);
    if (lines === null) {
      this.forget();
      this.legend.replaceChildren(item("This server does not tell."));
      return;
    }
    this.isStacked = this.spec.isStacked && !lines[0].isDigest;
    const hasOthers = lines.map(({ label }) => label).join() !== this.lines.map(({ label }) => label).join();
    this.lines = lines;
    this.times = points.map((point) => point.time);
    const data = [this.times, ...(this.isStacked ? stacked(lines) : lines.map((it) => it.values.map(finite)))];
    if (hasOthers || !this.plot) {
      this.forget();
      this.makeLegend();
      this.plot = new uPlot(this.options(), data, this.place);
    } else {
      this.plot.setData(data);
    }
    this.tell();
  }

  forget() {
    this.plot?.destroy();
    this.plot = undefined;
  }

  makeLegend() {
    this.values = this.lines.map(({ label, colour, isDashed }, n) => {
      const entry = item();
      const swatch = document.createElement("span");
      swatch.setAttribute("aria-hidden", "true");
      swatch.className = `swatch ink-${colour}${this.dashOf({ colour: n, isDashed }).length > 0 ? " dashed" : ""}`;
      const value = document.createElement("b");
      entry.append(swatch, `${label} `, value);
      return { entry, value };
    });
    this.when = item();
    this.when.className = "when";
    this.when.setAttribute("aria-hidden", "true");
    this.total = document.createElement("b");
    const all = item("all ");
    all.append(this.total);
    const isSum = this.isStacked && this.lines.length > 1;
    this.legend.replaceChildren(...this.values.map(({ entry }) => entry), ...(isSum ? [all] : []), this.when);
  }

  // The numbers under the pointer, or else the newest.
  tell() {
    const pointed = this.plot?.cursor.idx;
    const isPointed = typeof pointed === "number" && pointed < this.times.length && this.plot.cursor.left >= 0;
    const at = isPointed ? pointed : this.times.length - 1;
    this.lines.forEach(({ values }, n) => {
      this.values[n].value.textContent = at < 0 ? NOTHING : this.spec.format(values[at]);
    });
    const numbers = this.lines.map(({ values }) => values[at] ?? null);
    this.total.textContent = this.spec.format(numbers.includes(null) ? null : numbers.reduce((a, b) => a + b, 0));
    this.when.textContent = isPointed ? `at ${clock(this.times[at])}` : "";
  }

  dashOf({ colour, isDashed }) {
    return isDashed || colour >= COLOURS / 2 ? DASHES[1] : DASHES[0];
  }

  options() {
    const { charts, spec } = this;
    return {
      ...this.size(),
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "dashboard" }, points: { size: 7 } },
      hooks: { setCursor: [() => this.values && this.plot && this.tell()] },
      scales: {
        x: { time: true, range: () => [charts.since, charts.now] },
        y: { distr: spec.isLog ? 3 : 1, range: (_, min, max) => this.rangeOf(min, max) },
      },
      axes: [this.timeAxis(), this.valueAxis()],
      series: [{}, ...this.lines.map((it, n) => this.seriesOf(it, n))],
      bands: this.isStacked ? this.lines.slice(1).map((_, n) => ({ series: [n + 2, n + 1] })) : [],
    };
  }

  rangeOf(min, max) {
    if (this.spec.isShare) {
      return [0, 1];
    }
    if (this.spec.isLog) {
      const low = 10 ** Math.floor(Math.log10(min ?? 1e-4));
      return [low, Math.max(10 ** Math.ceil(Math.log10(max ?? 1e-2)), low * 10)];
    }
    return [0, Math.max((max ?? 0) * 1.08, this.spec.ceiling)];
  }

  axis() {
    const { charts } = this;
    const grid = { stroke: () => charts.ink.grid, width: 1 };
    return { font: FONT, stroke: () => charts.ink.text, grid, ticks: { ...grid, size: 4 }, gap: 4 };
  }

  timeAxis() {
    // A time that would be cut off at the edge is left out.
    const { charts } = this;
    const fits = (plot, seconds) => ((charts.now - seconds) / (charts.now - charts.since)) * plot.width > LABEL_HALF;
    const values = (plot, splits, _, __, step) =>
      splits.map((seconds) => (fits(plot, seconds) ? clock(seconds, step < 60) : ""));
    return { ...this.axis(), values, incrs: [15, 30, 60, 120], space: 64, size: 24 };
  }

  valueAxis() {
    const { spec } = this;
    const powers = (_, splits) => splits.map((it) => (Math.abs(Math.log10(it) % 1) % 1 < 1e-9 ? it : null));
    const values = (_, splits) => splits.map((it) => (it === null ? "" : spec.format(it)));
    const incrs = spec.isBinary ? STEPS_BINARY : spec.isShare ? [0.25, 0.5, 1] : STEPS_DECIMAL;
    const axis = { ...this.axis(), ...(spec.isLog ? {} : { incrs }), values, space: 26, size: spec.isShare ? 48 : 62 };
    if (spec.isLog) {
      Object.assign(axis, { filter: powers, grid: { ...axis.grid, filter: powers } });
      axis.ticks.filter = powers;
    }
    return axis;
  }

  seriesOf({ label, colour, isDashed, isFilled }, n) {
    const { charts, spec } = this;
    const stroke = () => charts.palette[colour];
    const isArea = this.isStacked || spec.isFilled || isFilled;
    return {
      label,
      stroke,
      width: isDashed ? 1.5 : 2,
      dash: this.dashOf({ colour: n, isDashed }),
      // A bit of the line's own colour.
      fill: isArea ? () => stroke().replace("rgb(", "rgba(").replace(")", `, ${this.isStacked ? 0.3 : 0.14})`) : undefined,
      // A number between two gaps has no line that would show it.
      points: { show: () => false, filter: (plot, at) => lonely(plot.data[at]), size: 5, fill: stroke },
    };
  }
}

function item(text = "") {
  const entry = document.createElement("li");
  entry.textContent = text;
  return entry;
}

// What is above every bound is drawn at none.
const finite = (value) => (value === Infinity ? null : value);

// Each line on top of those before it.
function stacked(lines) {
  let below = null;
  return lines.map(({ values }) => {
    below = values.map((value, n) => (value === null ? null : value + (below?.[n] ?? 0)));
    return below;
  });
}

function lonely(values) {
  const isThere = (n) => values[n] !== null && values[n] !== undefined;
  return values.map((_, n) => n).filter((n) => isThere(n) && !isThere(n - 1) && !isThere(n + 1));
}
