// The last five minutes: one point for each answer of the server, and a gap wherever it was not asked or did not answer.

import { Change, quantileOf } from "./metrics.js";

export const HISTORY_SECONDS = 300;
// What is shown as "now" is of so long, so that a single request does not make the numbers jump.
export const RECENT_SECONDS = 10;

const DURATIONS = "http_request_duration_seconds";
const REFUSALS = [["cache_backpressure_total", "reason"], ["cache_auth_failures_total", "reason"]];
const LONERS = ["cache_slow_requests_total", "cache_late_replies_total", "cache_log_lines_dropped_total"];

// The page's own questions would be most of what an idle server does.
const isTraffic = (labels) => labels.route !== "/metrics";
const isError = ({ status_code: status }) => Number(status) >= 400;
const isServerError = ({ status_code: status }) => Number(status) >= 500;
// A key that is not there is what caches are asked for all day, and no error.
const isClientError = (labels) => isError(labels) && !isServerError(labels) && labels.status_code !== "404";

export class History {
  constructor() {
    this.points = [];
    this.last = null;
  }

  // Takes an answer. `patience` is how many seconds may lie between two that belong together.
  add(scrape, patience) {
    const before = this.last;
    this.last = scrape;
    if (before === null || scrape.time <= before.time) {
      return null;
    }
    if (scrape.time - before.time > patience) {
      this.points.push({ time: before.time + patience / 2, isGap: true });
    }
    const change = new Change(before, scrape);
    this.points.push(pointOf(change));
    this.forget(scrape.time);
    return change;
  }

  addGap(time) {
    if (this.points.length > 0 && !this.points.at(-1).isGap) {
      this.points.push({ time, isGap: true });
    }
  }

  forget(now) {
    this.points = this.points.filter((point) => point.time > now - HISTORY_SECONDS);
  }

  // What has happened in the last `seconds` altogether, by the names that points have.
  during(seconds) {
    const since = (this.last?.time ?? 0) - seconds;
    const points = this.points.filter((point) => !point.isGap && point.time > since);
    const sumOf = (pick) => {
      const known = points.map(pick).filter((value) => value !== null);
      return known.length > 0 ? known.reduce((sum, value) => sum + value, 0) : null;
    };
    const total = sumOf((point) => point.seconds);
    return {
      seconds: total,
      sum: (name) => sumOf((point) => point[name]),
      rate: (name) => over(sumOf((point) => point[name]), total),
      latency: (quantile) => quantileOf(merged(points.map((point) => point.buckets)), quantile),
      totals: (name) => merged(points.map((point) => point[name])),
    };
  }
}

// A part of a whole, or nothing where there is no whole.
export function over(part, whole) {
  return part === null || !whole ? null : part / whole;
}

function merged(maps) {
  const sums = new Map();
  for (const map of maps) {
    for (const [name, value] of map) {
      sums.set(name, (sums.get(name) ?? 0) + value);
    }
  }
  return sums;
}

function pointOf(change) {
  const now = change.after;
  const buckets = change.buckets(DURATIONS, isTraffic);
  return {
    time: now.time,
    seconds: change.seconds,
    requests: change.sum(`${DURATIONS}_count`, isTraffic),
    serverErrors: change.sum(`${DURATIONS}_count`, (labels) => isTraffic(labels) && isServerError(labels)),
    clientErrors: change.sum(`${DURATIONS}_count`, (labels) => isTraffic(labels) && isClientError(labels)),
    buckets,
    p50: quantileOf(buckets, 0.5),
    p95: quantileOf(buckets, 0.95),
    p99: quantileOf(buckets, 0.99),
    hits: change.sum("cache_hits_total"),
    misses: change.sum("cache_misses_total"),
    evictions: change.sum("cache_evictions_total"),
    expirations: change.sum("cache_expirations_total"),
    forwarded: change.sum("cache_forwarded_requests_total"),
    local: change.sum("cache_local_operations_total"),
    accepted: change.sum("cache_connections_accepted_total"),
    cpuSeconds: change.sum("process_cpu_seconds_total"),
    memory: now.sum("cache_memory_bytes"),
    budget: now.sum("memory_budget_bytes"),
    resident: now.sum("process_resident_memory_bytes"),
    requestsByShard: change.by("cache_core_requests_total", "shard"),
    busyByShard: now.by("cache_core_busy_ratio", "shard"),
    errors: errorsOf(change),
    refusals: refusalsOf(change),
  };
}

// By method, route and status, which are joined with spaces: none of them has one.
function errorsOf(change) {
  const errors = new Map();
  for (const { labels, value } of change.series(`${DURATIONS}_count`)) {
    if (isError(labels) && value > 0) {
      errors.set(`${labels.method} ${labels.route} ${labels.status_code}`, value);
    }
  }
  return errors;
}

// By the name of the counter and the reason that it tells. Those that the server knows are there even at 0.
function refusalsOf(change) {
  const refusals = new Map();
  for (const [name, label] of REFUSALS) {
    for (const [reason, value] of change.by(name, label)) {
      refusals.set(`${name} ${reason}`, value);
    }
  }
  for (const name of LONERS) {
    const value = change.sum(name);
    if (value !== null) {
      refusals.set(name, value);
    }
  }
  return refusals;
}
