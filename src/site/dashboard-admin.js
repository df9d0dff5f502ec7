// What needs a token: the keys that are asked for most, and the requests that took long. The token is in a variable of
// this file and nowhere else.

import { clock, count, duration, NOTHING } from "./format.js";
import { fill, put, request, status } from "./panels.js";

const REFRESH_MS = 10_000;
const PATIENCE_MS = 5_000;

let token = "";
let timer;

const form = document.getElementById("admin");
const field = document.getElementById("token");
const forget = document.getElementById("forget");
const panels = document.getElementById("admin-panels");

export function listen() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    token = field.value.trim();
    field.value = "";
    if (token === "") {
      put("admin-status", "A token is needed.");
      field.focus();
      return;
    }
    show();
  });
  forget.addEventListener("click", () => {
    stop("The token is forgotten.");
    field.focus();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && token !== "") {
      show();
    }
  });
}

function stop(why) {
  token = "";
  clearTimeout(timer);
  forget.hidden = true;
  panels.hidden = true;
  for (const id of ["hotkeys", "slowlog"]) {
    fill(id, [], "");
  }
  put("admin-status", why);
}

// Asks for both, shows what comes, and asks again in a while as long as the token is good and somebody looks.
async function show() {
  clearTimeout(timer);
  const asked = token;
  const answers = await Promise.all([ask("v1/admin/hotkeys"), ask("v1/admin/slowlog")]);
  if (token !== asked) {
    return;
  }
  const refused = answers.find(({ code }) => code === 401);
  if (refused) {
    stop(refused.problem);
    return;
  }
  panels.hidden = false;
  forget.hidden = false;
  put("admin-status", "");
  showHotKeys(answers[0]);
  showSlowRequests(answers[1]);
  if (!document.hidden) {
    clearTimeout(timer);
    timer = setTimeout(show, REFRESH_MS);
  }
}

async function ask(path) {
  try {
    const options = { headers: { "X-API-Token": token }, cache: "no-store", credentials: "omit" };
    const answer = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.ok ? { content: await answer.json() } : { code: answer.status, problem: await problemOf(answer) };
  } catch (error) {
    return { problem: error.name === "TimeoutError" ? "The server does not answer." : "The server cannot be reached." };
  }
}

// The server's own words, if it has any.
async function problemOf(answer) {
  const { error } = await answer.json().catch(() => ({}));
  if (answer.status === 401) {
    return `The token is refused: ${error?.message ?? "it is not one of the server's"}.`;
  }
  if (answer.status === 404) {
    return "This server does not offer it (404).";
  }
  return `The server refuses (${answer.status}): ${error?.message ?? "it does not say why"}.`;
}

function showHotKeys({ content, problem }) {
  const keys = content?.keys ?? [];
  put("hotkeys-note", content ? `Counted in the last ${count(content.seconds)} s.` : "");
  const rows = keys.map((it) => [text(it.key), String(it.shard ?? NOTHING), count(it.requests), count(it.errorAtMost)]);
  fill("hotkeys", rows, problem ?? "No key has been asked for.");
}

function showSlowRequests({ content, problem }) {
  const requests = content?.requests ?? [];
  put("slowlog-note", content ? `Those that took ${duration(content.thresholdMs / 1000)} or longer without their clients' own time, and what took longest.` : "");
  const rows = requests.map((it) => [
    clock(Date.parse(it.timestamp) / 1000),
    request(it.method, it.route),
    status(String(it.status)),
    text(it.key),
    String(it.shard ?? NOTHING),
    String(it.core ?? NOTHING),
    took(it.totalMs),
    ...phasesOf(it),
    text(it.requestId),
  ]);
  fill("slowlog", rows, problem ?? "None.");
}

const took = (ms) => duration(typeof ms === "number" ? ms / 1000 : null);

// Where the time of a request went; what took longest stands out.
function phasesOf({ bodyMs, queueMs, laneMs, shardMs, writeMs }) {
  const phases = [bodyMs, queueMs, laneMs, shardMs, writeMs];
  const longest = phases.indexOf(Math.max(...phases.map((ms) => ms ?? 0)));
  return phases.map((ms, n) => {
    const box = document.createElement(n === longest ? "mark" : "span");
    box.textContent = took(ms);
    return box;
  });
}

// What clients chose, which may be long.
function text(value) {
  const box = document.createElement("code");
  box.textContent = value ?? NOTHING;
  return box;
}
