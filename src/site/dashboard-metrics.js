// What /metrics says, in the Prometheus text format 0.0.4, and what has changed between two answers.

const LABEL = /([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"/g;

const unescaped = (text) => text.replace(/\\(.)/g, (_, character) => (character === "n" ? "\n" : character));

function labelsOf(text) {
  const labels = {};
  for (const [, name, value] of text.matchAll(LABEL)) {
    labels[name] = unescaped(value);
  }
  return labels;
}

function numberOf(text) {
  return text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text);
}

const everything = () => true;

// One answer: for each name its series, each by the text of its labels.
export class Scrape {
  constructor(text, time) {
    this.time = time;
    this.families = new Map();
    for (const line of text.split("\n")) {
      if (line !== "" && !line.startsWith("#")) {
        this.#add(line);
      }
    }
  }

  #add(line) {
    // A label's value may hold a brace, so the last one ends the labels.
    const open = line.indexOf("{");
    const close = line.lastIndexOf("}");
    const name = open < 0 ? line.slice(0, line.indexOf(" ")) : line.slice(0, open);
    const labelText = open < 0 ? "" : line.slice(open + 1, close);
    const value = numberOf(line.slice(open < 0 ? name.length + 1 : close + 2).trim().split(" ")[0]);
    if (name === "" || Number.isNaN(value)) {
      return;
    }
    if (!this.families.has(name)) {
      this.families.set(name, new Map());
    }
    this.families.get(name).set(labelText, { labels: labelsOf(labelText), value });
  }

  series(name) {
    return [...(this.families.get(name)?.values() ?? [])];
  }

  // The sum of the series that `wanted` picks; nothing if the server knows no such name.
  sum(name, wanted = everything) {
    if (!this.families.has(name)) {
      return null;
    }
    return this.series(name).filter(({ labels }) => wanted(labels)).reduce((sum, { value }) => sum + value, 0);
  }

  // Sums by the values of a label.
  by(name, label) {
    return summedBy(this.series(name), label);
  }
}

// From one answer to a later one. A counter that has gone down has begun anew, and so has every counter of a process
// that has been started since: then all that it counts is new.
export class Change {
  constructor(before, after) {
    this.before = before;
    this.after = after;
    this.seconds = after.time - before.time;
    const started = (scrape) => scrape.sum("process_start_time_seconds");
    this.restarted = started(before) !== started(after);
  }

  // By how much each series of a counter has grown. A series that was not there before has been at 0.
  series(name) {
    const old = this.restarted ? undefined : this.before.families.get(name);
    return [...(this.after.families.get(name) ?? [])].map(([id, { labels, value }]) => {
      const from = old?.get(id)?.value ?? 0;
      return { labels, value: value < from ? value : value - from };
    });
  }

  sum(name, wanted = everything) {
    if (!this.after.families.has(name)) {
      return null;
    }
    return this.series(name).filter(({ labels }) => wanted(labels)).reduce((sum, { value }) => sum + value, 0);
  }

  by(name, label) {
    return summedBy(this.series(name), label);
  }

  // A histogram's new observations: for each upper bound, how many are not above it.
  buckets(name, wanted = everything) {
    const cumulative = new Map();
    for (const { labels, value } of this.series(`${name}_bucket`)) {
      if (wanted(labels)) {
        const bound = numberOf(labels.le);
        cumulative.set(bound, (cumulative.get(bound) ?? 0) + value);
      }
    }
    return cumulative;
  }
}

function summedBy(series, label) {
  const sums = new Map();
  for (const { labels, value } of series) {
    sums.set(labels[label], (sums.get(labels[label]) ?? 0) + value);
  }
  return sums;
}

// The value that the part `quantile` of what `cumulative` counts does not exceed, taken to lie evenly in its bucket;
// infinite if it is above the last bound, and nothing if nothing was counted.
export function quantileOf(cumulative, quantile) {
  const bounds = [...cumulative.keys()].sort((a, b) => a - b);
  const total = cumulative.get(bounds.at(-1)) ?? 0;
  if (total <= 0) {
    return null;
  }
  const rank = quantile * total;
  let below = { bound: 0, count: 0 };
  for (const bound of bounds) {
    const count = cumulative.get(bound);
    if (count >= rank && count > below.count) {
      return bound === Infinity
        ? Infinity
        : below.bound + ((bound - below.bound) * (rank - below.count)) / (count - below.count);
    }
    below = { bound, count };
  }
  return null;
}
