// Somebody who watches the server at CACHE_URL on /dashboard while others use it: what they see is compared with what
// was done. At the end the server, whose process is CACHE_PID, is stopped under their eyes.

import { strict as assert } from "node:assert";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { contrastsOf, hasLinesOn } from "./dashboard_eyes.mjs";
import { Browser, ENTER, TAB } from "./webdriver.mjs";

const { CACHE_URL, CACHE_TOKEN, CACHE_PID, SCREENSHOTS } = process.env;
const AUTHORISED = { "X-API-Token": CACHE_TOKEN };
const KEYS = 200;
const CHARTS = ["requests", "latency", "hits", "memory", "busy", "forwarded", "removals"];
// What a server that does not know these names cannot show.
const NEEDED = { busy: "cache_core_busy_ratio", forwarded: "cache_local_operations_total" };
// Three of four reads find their key.
const HIT_PERCENT = 75;
const POINTS_MIN = 6;
// For pictures the history should be worth looking at.
const POSE_MS = 60_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const prefer = (theme) =>
    browser.cdp("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: theme }] });
const text = (id) => browser.run("return document.getElementById(arguments[0]).textContent", id);
const number = (shown) => Number(/^[<>]?([\d.,]+)/.exec(shown)?.[1].replaceAll(",", "") ?? NaN);

let refused = 0;
const browser = await Browser.start();
const load = new AbortController();
try {
    await resize(1280);
    await browser.open(`${CACHE_URL}/dashboard`);
    const loaded = use(load.signal);
    // The load ends first only if it fails.
    await Promise.race([loaded, watch()]);
    load.abort();
    await loaded;
    await noticesThatTheServerIsGone();
} finally {
    load.abort();
    await browser.stop();
}
console.log("dashboard: everything as expected");

async function watch() {
    await calculatesRightly();
    await tellsTheTruth();
    await drawsCharts();
    await listsErrors();
    await isReadable();
    await photograph();
    await goesByKeyboard();
    await fitsANarrowScreen();
    await staysAtHome();
    await asksForAToken();
}

// Keeps the server busy in a steady mixture, and provokes errors, until told to stop.
async function use(signal) {
    const path = (key) => `${CACHE_URL}/v1/kv/${key}`;
    const body = JSON.stringify({ value: "v".repeat(1000), ttlSec: 600 });
    const headers = { ...AUTHORISED, "Content-Type": "application/json" };
    const send = async (statuses, url, options) => {
        const answer = await fetch(url, options);
        await answer.arrayBuffer();
        // A machine that is busy with other things may let a request time out.
        refused += answer.status === 503 ? 1 : 0;
        assert.ok([...statuses, 503].includes(answer.status), `${options?.method ?? "GET"} ${url}: ${answer.status}`);
        return answer.status;
    };
    for (let n = 0; n < KEYS; n++) {
        while ((await send([200, 201], path(`k${n}`), { method: "PUT", body, headers })) === 503) {
            await pause(100);
        }
    }
    const worker = async (name) => {
        for (let n = 0; !signal.aborted; n++) {
            await Promise.all([0, 1, 2].map((more) => send([200], path(`k${(n * 3 + more) % KEYS}`))));
            await send([404], path(`absent-${name}-${n}`));
            await send([401], path("k0"), { method: "PUT", body: "{}" });
            await send([200], path(`k${n % KEYS}`), { method: "PUT", body, headers });
            await pause(20);
        }
    };
    await Promise.all(["a", "b", "c", "d"].map(worker));
}

function resize(width) {
    const size = { width, height: 900, deviceScaleFactor: 1, mobile: false };
    return browser.cdp("Emulation.setDeviceMetricsOverride", size);
}

// The arithmetic under the page, with answers that no server gives on demand.
async function calculatesRightly() {
    const results = await browser.run(`return (async () => {
        const { Scrape, Change, quantileOf } = await import("${CACHE_URL}/dashboard/metrics.js");
        const { share, duration, bytes, rate } = await import("${CACHE_URL}/dashboard/format.js");
        const scrape = (start, hits, time) => new Scrape(
            '# HELP hits_total Reads\\nhits_total{shard="0",note="a\\\\"b}c\\\\\\\\"} ' + hits + "\\n" +
            "process_start_time_seconds " + start + "\\nload +Inf\\nbroken\\n", time);
        const first = scrape(1, 10, 100);
        const change = (start, hits) => new Change(first, scrape(start, hits, 102)).sum("hits_total");
        const buckets = new Map([[0.001, 50], [0.01, 100], [Infinity, 101]]);
        return {
            note: first.series("hits_total")[0].labels.note,
            infinite: first.sum("load") === Infinity,
            absent: first.sum("misses_total"),
            changes: [change(1, 15), change(1, 4), change(2, 15)],
            quantiles: [quantileOf(buckets, 0.25), quantileOf(buckets, 0.75), quantileOf(new Map(), 0.5)],
            beyond: quantileOf(buckets, 0.999) === Infinity,
            texts: [share(NaN), share(null), duration(undefined), share(0.99999), bytes(Infinity), rate(0.01)],
        };
    })()`);
    assert.equal(results.note, 'a"b}c\\');
    assert.deepEqual([results.infinite, results.absent, results.beyond], [true, null, true]);
    assert.deepEqual(results.changes, [5, 4, 15], "growth; a counter that went down; a server that was restarted");
    const [quarter, three, none] = results.quantiles;
    assert.ok(Math.abs(quarter - 0.000505) < 1e-9 && three > 0.005 && three < 0.006 && none === null, `${results.quantiles}`);
    assert.deepEqual(results.texts.map((it) => it.replace("\u00a0", " ")), ["–", "–", "–", ">99.9 %", "∞", "<0.1"]);
}

async function tellsTheTruth() {
    await browser.until("a history", () =>
        browser.run("return Number(document.body.dataset.points ?? 0) >= arguments[0]", POINTS_MIN));
    await browser.until("the word for a server that is up", async () => (await text("status-word")) === "Up");
    const shown = await browser.until("the true hit ratio", async () => {
        const percent = number(await text("tile-hits"));
        return Math.abs(percent - HIT_PERCENT) < 5 && percent;
    });
    console.log(`hit ratio: ${shown} %`);
    for (const id of ["tile-requests", "tile-p50", "tile-p95", "tile-p99", "tile-memory", "tile-rss", "tile-connections", "tile-4xx"]) {
        assert.ok(number(await text(id)) > 0, `${id} shows ${await text(id)}`);
    }
    assert.match(await text("tile-memory"), /B$/);
    const failed = number(await text("tile-5xx"));
    assert.ok(failed === 0 || refused > 0, `${failed} % are shown as failed, and none was`);
    assert.equal(await text("fact-shards"), "4");
    assert.equal(await text("fact-entries"), String(KEYS));
    assert.match(await text("fact-version"), /^\d+\.\d+\.\d+/);
    const rows = await browser.run("return [...document.querySelectorAll('#shards tbody tr')].map((it) => it.cells[1].textContent)");
    assert.equal(rows.reduce((sum, entries) => sum + Number(entries), 0), KEYS, `entries of the shards: ${rows}`);
}

async function drawsCharts() {
    const metrics = await browser.until("metrics", async () => {
        const answer = await fetch(`${CACHE_URL}/metrics`);
        return answer.ok && answer.text();
    });
    for (const name of CHARTS) {
        const caption = await browser.text(`#chart-${name} figcaption`);
        if (NEEDED[name] && !metrics.includes(NEEDED[name])) {
            assert.match(caption, /does not tell/, `${name} is not known`);
            continue;
        }
        assert.match(caption, /\d/, `the caption of ${name} has no number: ${caption}`);
        const coloured = await browser.run(hasLinesOn, `#chart-${name} canvas`);
        assert.ok(coloured > 20, `${name} is blank: ${coloured} pixels have a colour`);
    }
    await saysNothingAbsurd();
}

async function saysNothingAbsurd() {
    const all = await browser.text("body");
    assert.doesNotMatch(all, /NaN|undefined|Infinity|\[object|null/);
}

async function listsErrors() {
    const rowsOf = "return [...document.querySelectorAll('#' + arguments[0] + ' tbody tr')].map((row) => row.innerText)";
    const errors = (await browser.run(rowsOf, "errors")).map((row) => row.replace(/\s+/g, " "));
    for (const expected of [/^GET \/v1\/kv\/:key 404 [\d.,]+ [\d.,]+$/, /^PUT \/v1\/kv\/:key 401 [\d.,]+ [\d.,]+$/]) {
        const row = errors.find((it) => expected.test(it));
        assert.ok(row && number(row.split(" ").at(-1)) > 0, `${expected} is not in ${JSON.stringify(errors)}`);
    }
    const refusals = await browser.run(rowsOf, "refusals");
    const missing = refusals.find((row) => row.startsWith("token: missing"));
    assert.ok(number(missing.split(/\s+/).at(-1)) > 0, `no missing token in ${JSON.stringify(refusals)}`);
}

// Every text stands out from what is behind it as WCAG's AA wants, in both themes.
async function isReadable() {
    for (const theme of ["light", "dark"]) {
        await prefer(theme);
        await pause(500);
        const contrasts = await browser.run(contrastsOf);
        assert.ok(contrasts.length > 100, `only ${contrasts.length} texts`);
        const faint = contrasts.filter(({ ratio, isLarge }) => ratio < (isLarge ? 3 : 4.5));
        assert.deepEqual(faint, [], `${theme}: too faint`);
    }
}

async function goesByKeyboard() {
    await prefer("light");
    await browser.run("scrollTo(0, 0); document.activeElement.blur()");
    const focused = () => browser.run("return document.activeElement.id");
    const order = [];
    while (!order.includes("theme") && order.length < 5) {
        await browser.press(TAB);
        order.push(await focused());
    }
    assert.deepEqual(order, ["pause", "theme"]);
    const outline = await browser.run("return getComputedStyle(document.activeElement).outlineStyle");
    assert.equal(outline, "solid", "the focus cannot be seen");
    const background = () => browser.run("return getComputedStyle(document.body).backgroundColor");
    const light = await background();
    await browser.press(ENTER);
    assert.equal(await browser.run("return document.activeElement.getAttribute('aria-pressed')"), "true");
    assert.notEqual(await background(), light, "Enter has changed nothing");
    await browser.press(ENTER);
    assert.equal(await background(), light);
    await browser.run("document.getElementById('pause').focus()");
    await browser.press(ENTER);
    assert.equal(await text("status-word"), "Paused");
    await browser.press(ENTER);
    await browser.until("going on", async () => (await text("status-word")) === "Up");
}

async function fitsANarrowScreen() {
    for (const width of [1280, 1000, 768, 360]) {
        await resize(width);
        await pause(300);
        const wide = await browser.run(`return [...document.querySelectorAll("body *")]
            .filter((it) => !it.closest(".scroll") && it.getBoundingClientRect().right > innerWidth + 0.5)
            .map((it) => it.tagName + "#" + it.id + "." + it.className)`);
        const scrolled = await browser.run("return document.documentElement.scrollWidth - innerWidth");
        assert.ok(scrolled <= 0 && wide.length === 0, `${width}: ${scrolled} too wide, by ${wide}`);
        const cut = await browser.run(`return [...document.querySelectorAll(".big")]
            .filter((it) => it.scrollWidth > it.parentElement.clientWidth).map((it) => it.id)`);
        assert.deepEqual(cut, [], `${width}: numbers wider than their place`);
    }
    await resize(1280);
}

async function photograph() {
    if (!SCREENSHOTS) {
        return;
    }
    await mkdir(SCREENSHOTS, { recursive: true });
    await pause(POSE_MS);
    for (const [name, width] of [["wide", 1280], ["narrow", 360]]) {
        for (const theme of ["light", "dark"]) {
            await resize(width);
            await prefer(theme);
            await browser.run("scrollTo(0, 0)");
            await pause(1000);
            await browser.until("a server that is up", async () => (await text("status-word")) === "Up");
            const height = await browser.run("return document.documentElement.scrollHeight");
            const clip = { x: 0, y: 0, width, height, scale: 1 };
            const { data } = await browser.cdp("Page.captureScreenshot", { captureBeyondViewport: true, clip });
            await writeFile(join(SCREENSHOTS, `${name}-${theme}.png`), Buffer.from(data, "base64"));
        }
    }
    await resize(1280);
}

// Nothing was asked of another address, and nothing that the page does offends its own rules.
async function staysAtHome() {
    const asked = await browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)");
    assert.ok(asked.length > 8, `the page has loaded nothing: ${asked}`);
    for (const url of asked.filter((url) => !url.startsWith("data:"))) {
        assert.ok(url.startsWith(`${CACHE_URL}/`), `asked of another address: ${url}`);
    }
    // What the server has no time to answer says nothing of the page.
    const isOfBusy = ({ message }) => refused > 0 && /status of 503/.test(message);
    const complaints = (await browser.log()).filter((entry) => entry.level === "SEVERE" && !isOfBusy(entry));
    assert.deepEqual(complaints.map((entry) => entry.message), []);
}

// A wrong token is refused in words, and the right one shows what the server has to show.
async function asksForAToken() {
    const statusOf = async (path) => (await fetch(CACHE_URL + path, { headers: AUTHORISED })).status;
    const isOffered = (await statusOf("/v1/admin/hotkeys")) === 200;
    const show = async (token) => {
        await browser.type("#token", token);
        await browser.click("#admin button[type=submit]");
    };
    if (isOffered) {
        await show("wrong");
        await browser.until("a refusal", async () => /^The token is refused: \S/.test(await text("admin-status")));
    }
    await show(CACHE_TOKEN);
    const expected = isOffered ? /\d/ : /does not offer/;
    for (const id of isOffered ? ["hotkeys"] : ["hotkeys", "slowlog"]) {
        await browser.until(`rows of ${id}`, async () => expected.test(await text(id)));
    }
    await saysNothingAbsurd();
    // A busy machine makes slow requests; a fast one may have none.
    const rows = await browser.run("return [...document.querySelectorAll('#slowlog tbody tr')].map((row) => row.innerText)");
    const isRow = (row) => /^\d\d:\d\d:\d\d\s+(GET|PUT) \/\S+\s+\d{3}\s/.test(row) && /\d\s(µs|ms|s)\s/.test(row);
    const isMessage = rows.length === 1 && /^(None|This server does not offer it)/.test(rows[0]);
    assert.ok(isMessage || rows.every(isRow), `slow requests: ${JSON.stringify(rows)}`);
    console.log(`slow requests: ${isMessage ? rows[0] : rows.length}`);
    const kept = await browser.run("return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])");
    assert.ok(!kept.includes(CACHE_TOKEN), `the token is kept: ${kept}`);
    await browser.click("#forget");
    assert.equal(await browser.run("return document.getElementById('admin-panels').hidden"), true);
}

async function noticesThatTheServerIsGone() {
    process.kill(Number(CACHE_PID), "SIGTERM");
    await browser.until("the word for it", async () => (await text("status-word")) === "Unreachable");
    assert.match(await text("notice"), /cannot be reached.*What is shown is of \d\d:\d\d:\d\d/);
    assert.equal(await browser.run("return document.getElementById('notice').hidden"), false);
    assert.match(await browser.run("return document.title"), /DOWN/);
    await saysNothingAbsurd();
}
