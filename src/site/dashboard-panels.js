// The numbers that stand beside the charts: the header's facts, the tiles and the tables.

import { bytes, clock, count, duration, NOTHING, rate, share, span } from "./format.js";
import { HISTORY_SECONDS, over, RECENT_SECONDS } from "./history.js";

const ERRORS_MAX = 12;

const COUNTERS = {
  cache_backpressure_total: "refused",
  cache_auth_failures_total: "token",
  cache_slow_requests_total: "slow requests",
  cache_late_replies_total: "late replies of other cores",
  cache_log_lines_dropped_total: "log lines dropped",
};
const REASONS = {
  lane_full: "lane to another core full",
  control_lane_full: "control lane full",
  max_inflight: "too many in progress",
  max_connections: "too many connections",
  deadline: "request timed out",
  over_budget: "memory over budget",
  no_memory: "no memory from the kernel",
  missing_token: "missing",
  invalid_token: "wrong",
};

export function put(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

// Fills a table's body. A cell is a text, or an element; those in the columns of numbers stand to the right.
export function fill(id, rows, nothing) {
  const table = document.getElementById(id);
  const heads = [...table.tHead.rows[0].cells];
  const made = rows.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((cell, column) => cellOf(cell, heads[column].className)));
    row.classList.toggle("quiet", id === "refusals" && cells.at(-1) === "0");
    return row;
  });
  if (made.length === 0) {
    const row = document.createElement("tr");
    const cell = cellOf(nothing, "nothing");
    cell.colSpan = heads.length;
    row.append(cell);
    made.push(row);
  }
  table.tBodies[0].replaceChildren(...made);
}

function cellOf(content, className) {
  const cell = document.createElement("td");
  cell.className = className;
  cell.append(content);
  return cell;
}

// A number with a bar as long as its part of the largest.
function withBar(text, part) {
  const box = document.createElement("div");
  box.className = "barred";
  const track = document.createElement("span");
  track.className = "track";
  const bar = document.createElement("span");
  setPart(bar, part);
  track.append(bar);
  box.append(text, track);
  return box;
}

function setPart(bar, part) {
  bar.style.inlineSize = `${Math.min(Math.max(part ?? 0, 0), 1) * 100}%`;
}

export function status(code) {
  const badge = document.createElement("span");
  badge.className = `badge ${Number(code) >= 500 ? "server" : Number(code) >= 400 ? "client" : "fine"}`;
  badge.textContent = code;
  return badge;
}

export function request(method, route) {
  const box = document.createElement("span");
  const verb = document.createElement("b");
  verb.textContent = method;
  box.append(verb, ` ${route}`);
  return box;
}

export function showFacts(scrape) {
  const started = scrape.sum("process_start_time_seconds");
  put("fact-version", scrape.series("cache_build_info")[0]?.labels.version ?? NOTHING);
  put("fact-uptime", span(started === null ? null : scrape.time - started));
  put("fact-shards", count(scrape.families.get("cache_entries_total")?.size));
  put("fact-entries", count(scrape.sum("cache_entries_total")));
}

export function showTiles(scrape, history) {
  const recent = history.during(RECENT_SECONDS);
  const all = history.during(HISTORY_SECONDS);
  const rates = history.points.filter((point) => !point.isGap).map((point) => over(point.requests, point.seconds));
  put("tile-requests", rate(recent.rate("requests")));
  put("sub-requests", rates.length > 0 ? `at most ${rate(Math.max(...rates))} in 5 min` : "");
  for (const [name, quantile] of [["p50", 0.5], ["p95", 0.95], ["p99", 0.99]]) {
    put(`tile-${name}`, duration(recent.latency(quantile)));
  }
  const [hits, misses] = [recent.sum("hits"), recent.sum("misses")];
  put("tile-hits", share(hits === null ? null : over(hits, hits + misses)));
  put("sub-hits", `${rate(recent.rate("hits"))} hits, ${rate(recent.rate("misses"))} misses per s`);
  showErrors("5xx", recent, all, "serverErrors");
  showErrors("4xx", recent, all, "clientErrors");
  showProcess(scrape, recent);
}

function showErrors(tile, recent, all, name) {
  const total = all.sum(name);
  put(`tile-${tile}`, share(over(recent.sum(name), recent.sum("requests"))));
  put(`sub-${tile}`, total === null ? "" : `${count(total)} in 5 min`);
  document.getElementById(`tile-${tile}`).toggleAttribute("data-bad", tile === "5xx" && recent.sum(name) > 0);
}

function showProcess(scrape, recent) {
  const [memory, budget] = [scrape.sum("cache_memory_bytes"), scrape.sum("memory_budget_bytes")];
  const part = budget === Infinity ? null : over(memory, budget);
  put("tile-memory", bytes(memory));
  put("sub-memory", part === null ? "no budget" : `${share(part)} of ${bytes(budget)}`);
  setPart(document.getElementById("bar-memory"), part);
  put("tile-rss", bytes(scrape.sum("process_resident_memory_bytes")));
  const cores = recent.rate("cpuSeconds");
  put("sub-rss", cores === null ? "" : `${Number(cores.toFixed(2))} CPUs in use`);
  put("tile-connections", count(scrape.sum("cache_connections")));
  put("sub-connections", `${rate(recent.rate("accepted"))} new per s`);
  put("tile-active", count(scrape.sum("http_active_requests")));
  put("sub-active", `of at most ${count(scrape.sum("max_inflight_requests"))}`);
}

export function showTables(scrape, history) {
  showShards(scrape);
  const recent = history.during(RECENT_SECONDS);
  const all = history.during(HISTORY_SECONDS);
  const perSecond = (name, id) => rate(over(recent.totals(name).get(id) ?? 0, recent.seconds));
  const errors = [...all.totals("errors")].sort((a, b) => b[1] - a[1]).slice(0, ERRORS_MAX);
  const errorRow = ([id, total]) => {
    const [method, route, code] = id.split(" ");
    return [request(method, route), status(code), perSecond("errors", id), count(total)];
  };
  fill("errors", errors.map(errorRow), "None in the last five minutes.");
  const refusals = [...all.totals("refusals")].map(([id, total]) => {
    const [name, reason] = id.split(" ");
    const text = reason ? `${COUNTERS[name]}: ${REASONS[reason] ?? reason.replaceAll("_", " ")}` : COUNTERS[name];
    return [text, perSecond("refusals", id), count(total)];
  });
  fill("refusals", refusals, "Nothing is known yet.");
}

function showShards(scrape) {
  const [entries, memory] = ["cache_entries_total", "cache_memory_bytes"].map((name) => scrape.by(name, "shard"));
  const waiting = scrape.by("cache_queue_depth", "shard");
  const most = (numbers) => Math.max(1, ...numbers.values());
  const [entriesMost, memoryMost] = [most(entries), most(memory)];
  const rows = [...entries.keys()].sort((a, b) => Number(a) - Number(b)).map((shard) => {
    const [held, taken] = [entries.get(shard), memory.get(shard) ?? null];
    const bars = [withBar(count(held), held / entriesMost), withBar(bytes(taken), over(taken, memoryMost))];
    return [shard, ...bars, count(waiting.get(shard))];
  });
  fill("shards", rows, "Nothing is known yet.");
  put("imbalance", share(scrape.sum("cache_shard_imbalance")));
}

export function showState(state, word, notice) {
  const pill = document.getElementById("status");
  if (pill.dataset.state !== state) {
    pill.dataset.state = state;
  }
  put("status-word", word);
  put("notice", notice);
  document.getElementById("notice").hidden = notice === "";
  document.body.toggleAttribute("data-stale", state === "down");
  document.title = state === "down" ? "DOWN · cache-service" : "cache-service: dashboard";
}

export function sinceWhen(seconds) {
  return seconds === null ? "It has not answered yet." : `What is shown is of ${clock(seconds)}.`;
}
