// As much of the WebDriver protocol as one test needs, over Debian's chromedriver and chromium.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ELEMENT = "element-6066-11e4-a52e-4f735466cecf";
const PATIENCE_MS = 30_000;
const POLL_MS = 50;

export const CONTROL_A = "\uE009a\uE000";
export const TAB = "\uE004";
export const ENTER = "\uE007";

export class Browser {
    static async start() {
        const profile = await mkdtemp(join(tmpdir(), "browser-"));
        const driver = spawn("chromedriver", ["--port=0"], { stdio: ["ignore", "pipe", "inherit"] });
        const browser = new Browser(driver, profile);
        try {
            browser.base = `http://127.0.0.1:${await portOf(driver)}/session`;
            // No sandbox: where the tests run as root in a container, chromium cannot have one. It opens our page only.
            const args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--window-size=1280,2000", "--no-proxy-server", "--disable-background-networking",
                `--user-data-dir=${profile}`];
            const alwaysMatch = {
                browserName: "chrome", "goog:chromeOptions": { args }, "goog:loggingPrefs": { browser: "ALL" },
            };
            const { sessionId } = await browser.call("POST", "", { capabilities: { alwaysMatch } });
            browser.base += `/${sessionId}`;
        } catch (error) {
            await browser.stop();
            throw error;
        }
        return browser;
    }

    constructor(driver, profile) {
        this.driver = driver;
        this.profile = profile;
    }

    async stop() {
        // Without a session there is none to end.
        await this.call("DELETE", "").catch(() => {});
        const ended = new Promise((resolve) => this.driver.once("exit", resolve));
        if (this.driver.exitCode === null && this.driver.kill()) {
            await ended;
        }
        await rm(this.profile, { recursive: true, force: true, maxRetries: 10 });
    }

    async call(method, path, body) {
        const sent = body === undefined ? undefined : JSON.stringify(body);
        const answer = await fetch(this.base + path, { method, body: sent });
        const { value } = await answer.json();
        if (!answer.ok) {
            throw Object.assign(new Error(`${path}: ${value.error}: ${value.message}`), { code: value.error });
        }
        return value;
    }

    open(url) {
        return this.call("POST", "/url", { url });
    }

    run(script, ...args) {
        return this.call("POST", "/execute/sync", { script, args });
    }

    // A command of the browser's own debugging protocol.
    cdp(cmd, params = {}) {
        return this.call("POST", "/goog/cdp/execute", { cmd, params });
    }

    // A key pressed on whatever has the focus.
    press(value) {
        const actions = [{ type: "keyDown", value }, { type: "keyUp", value }];
        return this.call("POST", "/actions", { actions: [{ type: "key", id: "keyboard", actions }] });
    }

    log() {
        return this.call("POST", "/se/log", { type: "browser" });
    }

    find(selector) {
        return this.call("POST", "/element", { using: "css selector", value: selector }).then((found) => found[ELEMENT]);
    }

    click(selector) {
        return this.until(`a click on ${selector}`, async () => {
            await this.call("POST", `/element/${await this.find(selector)}/click`, {});
            return true;
        });
    }

    type(selector, text) {
        return this.until(`typing into ${selector}`, async () => {
            await this.call("POST", `/element/${await this.find(selector)}/value`, { text });
            return true;
        });
    }

    text(selector) {
        return this.until(`text in ${selector}`, async () =>
            this.call("GET", `/element/${await this.find(selector)}/text`));
    }

    // The page draws itself when it likes: whatever is not there yet, or is being replaced, is tried again.
    async until(what, probe) {
        const end = Date.now() + PATIENCE_MS;
        let last;
        while (Date.now() < end) {
            try {
                const seen = await probe();
                if (seen) {
                    return seen;
                }
            } catch (error) {
                if (!/no such element|stale|not interactable|click intercepted/.test(error.code)) {
                    throw error;
                }
                last = error.message;
            }
            await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        }
        throw new Error(`not within ${PATIENCE_MS} ms: ${what} (${last})`);
    }
}

function portOf(driver) {
    return new Promise((resolve, reject) => {
        let written = "";
        driver.stdout.on("data", (data) => {
            written += data;
            const port = /started successfully on port (\d+)/.exec(written);
            if (port) {
                resolve(port[1]);
            }
        });
        driver.once("error", reject);
        driver.once("exit", (code) => reject(new Error(`chromedriver ends with ${code}: ${written}`)));
    });
}
