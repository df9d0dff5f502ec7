// A person with a browser: opens /docs, gives the token, sends a PUT and a GET from the page and looks at the answers.

import { strict as assert } from "node:assert";
import { Browser, CONTROL_A } from "./webdriver.mjs";

const { CACHE_URL, CACHE_TOKEN } = process.env;
const KEY = "from/the browser ü";
const VALUE = "seen in the browser";

const browser = await Browser.start();
try {
    await browser.open(`${CACHE_URL}/docs`);
    await authorise();
    const put = await tryOut("operations-keys-putKey", JSON.stringify({ value: VALUE }));
    assert.equal(put.status, "201");
    assert.match(put.body, /"version"/);
    const got = await tryOut("operations-keys-getKey");
    assert.equal(got.status, "200");
    assert.ok(got.body.includes(VALUE), `no value in ${got.body}`);
    await storedOnTheServer();
    await staysAtHome();
} finally {
    await browser.stop();
}
console.log("browser: everything as expected");

async function authorise() {
    await browser.click(".auth-wrapper .btn.authorize");
    const first = ".modal-ux .auth-container:first-of-type";
    await browser.type(`${first} input`, CACHE_TOKEN);
    await browser.click(`${first} .btn.authorize`);
    await browser.click(".modal-ux .btn-done");
}

// Opens an operation, fills its form in and sends it; gives what the page shows of the answer.
async function tryOut(operation, body) {
    const block = `#${operation}`;
    await browser.click(`${block} .opblock-summary-control`);
    // The page may open its forms ready to be filled in, and the button is for going back then.
    const ready = "return !!document.querySelector(`${arguments[0]} .try-out__btn.cancel`)";
    await browser.until("a button", () => browser.find(`${block} .try-out__btn`));
    if (!(await browser.run(ready, block))) {
        await browser.click(`${block} .try-out__btn`);
    }
    await browser.type(`${block} tr[data-param-name="key"] input`, CONTROL_A + KEY);
    if (body !== undefined) {
        await browser.type(`${block} textarea.body-param__text`, CONTROL_A + body);
    }
    await browser.click(`${block} .execute`);
    const answer = `${block} .live-responses-table tr.response`;
    const status = await browser.text(`${answer} .response-col_status`);
    return { status: status.trim().split(/\s/)[0], body: await browser.text(`${answer} .response-col_description`) };
}

async function storedOnTheServer() {
    const stored = await fetch(`${CACHE_URL}/v1/kv/${encodeURIComponent(KEY)}?raw=true`);
    assert.equal(await stored.text(), VALUE);
}

// Nothing was asked of another address, and nothing that the page does offends its own rules.
async function staysAtHome() {
    const asked = await browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)");
    assert.ok(asked.length > 2, `the page has loaded nothing: ${asked}`);
    for (const url of asked.filter((url) => !url.startsWith("data:"))) {
        assert.ok(url.startsWith(`${CACHE_URL}/`), `asked of another address: ${url}`);
    }
    const complaints = (await browser.log()).filter((entry) => entry.level === "SEVERE");
    assert.deepEqual(complaints.map((entry) => entry.message), []);
}
