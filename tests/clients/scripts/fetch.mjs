// Node's own fetch, which keeps its connections alive, against the server at CACHE_URL with CACHE_TOKEN.

import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { subscribe } from "node:diagnostics_channel";

const { CACHE_URL, CACHE_TOKEN, LARGE_MIB } = process.env;
const JSON_MEDIA = { "Content-Type": "application/json" };
const BINARY = { "Content-Type": "application/octet-stream" };

let connections = 0;
let requests = 0;
subscribe("undici:client:connected", () => connections++);

async function ask(status, method, path, body, headers = {}) {
    requests++;
    const streams = body instanceof ReadableStream ? { duplex: "half" } : {};
    const all = { "X-API-Token": CACHE_TOKEN, ...headers };
    const answer = await fetch(CACHE_URL + path, { method, body, headers: all, ...streams });
    const content = Buffer.from(await answer.arrayBuffer());
    assert.equal(answer.status, status, `${method} ${path}: ${content.subarray(0, 500)}`);
    return { answer, content, json: () => JSON.parse(content) };
}

const pathOf = (key) => `/v1/kv/${encodeURIComponent(key)}`;
const put = (status, key, value, headers = {}) =>
    ask(status, "PUT", pathOf(key), JSON.stringify({ value, ttlSec: 600 }), { ...JSON_MEDIA, ...headers });
const post = (status, path, members) => ask(status, "POST", path, JSON.stringify(members), JSON_MEDIA);

async function values() {
    for (const [n, value] of ["text", 1.5, false, { a: [null, "ü\n"] }].entries()) {
        await put(201, `json ${n}`, value);
        const meta = (await ask(200, "GET", `${pathOf(`json ${n}`)}?includeMeta=true`)).json();
        assert.deepEqual(meta.value, value);
        assert.ok(meta.createdAt && meta.updatedAt && meta.expiresAt && meta.ttlSec > 0, "meta members");
    }
    const bytes = randomBytes(5000);
    await ask(201, "PUT", "/v1/kv/raw", bytes, { "Content-Type": "image/x-test" });
    const raw = await ask(200, "GET", "/v1/kv/raw?raw=true");
    assert.ok(raw.content.equals(bytes), "raw bytes");
    assert.equal(raw.answer.headers.get("content-type"), "image/x-test");
    assert.equal((await ask(200, "GET", "/v1/kv/raw")).json().value, bytes.toString("base64"));
}

async function conditions() {
    await put(201, "conditional", 1);
    const etag = (await ask(200, "GET", "/v1/kv/conditional")).answer.headers.get("etag");
    await ask(304, "GET", "/v1/kv/conditional", undefined, { "If-None-Match": etag });
    await put(200, "conditional", 2, { "If-Match": etag });
    await put(409, "conditional", 3, { "If-Match": etag });
    await ask(200, "HEAD", "/v1/kv/conditional");
    await ask(204, "DELETE", "/v1/kv/conditional");
    await ask(404, "GET", "/v1/kv/conditional");
}

async function keysBatchesCounters() {
    const keys = ["schlüssel", "a/b", "鍵 🔑", "100%", "?#&+"];
    for (const key of keys) {
        await put(201, key, key);
        assert.equal((await ask(200, "GET", `${pathOf(key)}?raw=true`)).content.toString(), key);
    }
    const got = (await post(200, "/v1/kv/batch/get", { keys: ["no", ...keys] })).json();
    assert.deepEqual(got.hits.map((hit) => hit.key), keys);
    assert.deepEqual(got.misses, ["no"]);
    const items = [{ key: "one", value: 1 }, { key: "", value: 2 }];
    const set = (await post(200, "/v1/kv/batch/set", { items })).json();
    assert.deepEqual(set.results.map((result) => result.status), ["created", "error"]);
    assert.equal((await post(200, "/v1/kv/incr", { key: "one", delta: -3 })).json().value, -2);
    const gone = (await post(200, "/v1/kv/batch/delete", { keys: ["one", "no"] })).json();
    assert.deepEqual(gone.results.map((result) => result.status), ["deleted", "missing"]);
}

async function chunkedUploads() {
    const pieces = [1, 100_000, 7, 2_000_000].map((size) => randomBytes(size));
    await ask(201, "PUT", "/v1/kv/chunked", ReadableStream.from(pieces), BINARY);
    const raw = await ask(200, "GET", "/v1/kv/chunked?raw=true");
    assert.ok(raw.content.equals(Buffer.concat(pieces)), "a chunked upload");
}

async function largeValues() {
    const bytes = randomBytes(Number(LARGE_MIB) << 20);
    const text = bytes.toString("base64");
    for (let n = 0; n < 3; n++) {
        const path = `/v1/kv/large-${n}`;
        await ask(201, "PUT", path, bytes, BINARY);
        assert.ok((await ask(200, "GET", `${path}?raw=true`)).content.equals(bytes), "many bytes");
        await ask(200, "PUT", path, JSON.stringify({ value: text }), JSON_MEDIA);
        assert.ok((await ask(200, "GET", path)).json().value === text, "a long string");
        await ask(204, "DELETE", path);
    }
}

await values();
await conditions();
await keysBatchesCounters();
await chunkedUploads();
await largeValues();
// After a HEAD fetch gives its connection up by itself, and now and then it opens one more than it needs.
assert.ok(requests >= 50 && connections <= 4, `${connections} connections for ${requests} requests`);

// Many at once, each over whichever of its connections is free.
await Promise.all(Array.from({ length: 200 }, (_, n) => put(201, `at once ${n}`, n)));
const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => ask(200, "GET", pathOf(`at once ${n}`))));
answers.forEach((answer, n) => assert.equal(answer.json().value, n));
console.log("fetch: everything as expected");
