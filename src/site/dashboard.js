// Asks the server for its metrics every two seconds while somebody looks, and shows what it says, or that it does not
// answer.
"use strict";

import { listen } from "./admin.js";
import { Charts } from "./charts.js";
import { span } from "./format.js";
import { History } from "./history.js";
import { Scrape } from "./metrics.js";
import { showFacts, showState, showTables, showTiles, sinceWhen } from "./panels.js";

const INTERVAL_MS = 2_000;
const PATIENCE_MS = 4_000;
// Two answers further apart than this have a gap between them.
const TOGETHER_SECONDS = 6;
// So long it is worth telling that the server has been started.
const RESTART_TOLD_SECONDS = 60;

const history = new History();
const charts = new Charts();
const pause = document.getElementById("pause");

let isPaused = false;
let restartedAt = null;
let timer;
// Counts the askings: an answer to one that has been given up is not shown.
let asking = 0;

async function refresh() {
  clearTimeout(timer);
  const mine = ++asking;
  const answer = await ask();
  if (mine !== asking) {
    return;
  }
  const now = Date.now() / 1000;
  if (answer.text === undefined) {
    history.addGap(now);
    history.forget(now);
    charts.draw(history.points, now);
    showState("down", answer.word, `${answer.problem} ${sinceWhen(history.last?.time ?? null)} Trying again every 2 s.`);
  } else {
    take(new Scrape(answer.text, now));
  }
  timer = setTimeout(refresh, INTERVAL_MS);
}

function take(scrape) {
  if (history.add(scrape, TOGETHER_SECONDS)?.restarted) {
    restartedAt = scrape.time;
  }
  showFacts(scrape);
  showTiles(scrape, history);
  showTables(scrape, history);
  charts.draw(history.points, scrape.time);
  const isNew = restartedAt !== null && scrape.time - restartedAt < RESTART_TOLD_SECONDS;
  showState("up", isNew ? "Up, was restarted" : "Up", "");
  document.body.dataset.points = history.points.length;
}

// The text of the metrics, or why there is none: a word for the header and a sentence.
async function ask() {
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch("metrics", { cache: "no-store", credentials: "omit", signal });
    if (answer.ok) {
      return { text: await answer.text() };
    }
    const { error } = await answer.json().catch(() => ({}));
    const problem = `The server is there, but refuses (${answer.status}): ${error?.message ?? "it does not say why"}.`;
    return { word: "Refusing", problem };
  } catch (error) {
    return error.name === "TimeoutError"
      ? { word: "No answer", problem: `The server does not answer within ${span(PATIENCE_MS / 1000)}.` }
      : { word: "Unreachable", problem: "The server cannot be reached: it is down, or the network is." };
  }
}

function stop(word) {
  clearTimeout(timer);
  asking += 1;
  showState("paused", word, "");
}

function goOnOrStop() {
  pause.setAttribute("aria-pressed", String(isPaused));
  if (isPaused) {
    stop("Paused");
  } else if (document.hidden) {
    stop("Paused while hidden");
  } else {
    refresh();
  }
}

pause.addEventListener("click", () => {
  isPaused = !isPaused;
  goOnOrStop();
});
document.addEventListener("visibilitychange", goOnOrStop);
listen();
goOnOrStop();
