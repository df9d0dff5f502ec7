"""The parts of the contract that each Python client is put through, whatever its library.

`call(method, path, body=None, headers={})` sends a request with the token and returns (status, headers, body bytes).
A body may be bytes, or a generator of bytes, which the library sends in chunks.
"""

import base64
import json
import os
from urllib.parse import quote

URL = os.environ["CACHE_URL"]
TOKEN = os.environ["CACHE_TOKEN"]
LARGE_BYTES = int(os.environ["LARGE_MIB"]) << 20
JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}


def expect(seen, wanted, what):
    if seen != wanted:
        raise SystemExit(f"{what}: {seen!r:.500} instead of {wanted!r:.500}")


class Contract:
    def __init__(self, call):
        self.call = call

    def ask(self, status, method, path, body=None, headers=None):
        seen, fields, content = self.call(method, path, body, headers or {})
        expect(seen, status, f"{method} {path}, {content[:300]!r}, status")
        return fields, content

    def put(self, key, value, status=201, headers=None, **members):
        body = json.dumps({"value": value, **members}, ensure_ascii=False).encode()
        return self.ask(status, "PUT", path_of(key), body, JSON | (headers or {}))

    def post(self, path, **members):
        return json.loads(self.ask(200, "POST", path, json.dumps(members).encode(), JSON)[1])

    def json_values(self):
        for value in ["text", 1, -2.5, True, {"a": [None, {"b": "ü\n"}]}, []]:
            self.ask(204 if self.call("GET", "/v1/kv/json", None, {})[0] == 200 else 404, "DELETE", "/v1/kv/json")
            self.put("json", value, ttlSec=600)
            answer = json.loads(self.ask(200, "GET", "/v1/kv/json?includeMeta=true")[1])
            expect(answer["value"], value, "a JSON value")
            expect({"createdAt", "updatedAt", "expiresAt", "ttlSec", "version", "type"} - set(answer), set(), "meta")

    def conditions(self):
        self.put("conditional", 1)
        etag = self.ask(200, "GET", "/v1/kv/conditional")[0]["ETag"]
        fields, content = self.ask(304, "GET", "/v1/kv/conditional", headers={"If-None-Match": etag})
        expect(content, b"", "the body of a 304")
        self.put("conditional", 2, status=200, headers={"If-Match": etag})
        self.put("conditional", 3, status=409, headers={"If-Match": etag})
        self.put("conditional", 3, status=409, headers={"If-None-Match": "*"})
        fields, content = self.ask(200, "HEAD", "/v1/kv/conditional")
        expect((content, int(fields["Content-Length"]) > 0), (b"", True), "HEAD")
        self.ask(204, "DELETE", "/v1/kv/conditional")
        self.ask(404, "DELETE", "/v1/kv/conditional")
        self.ask(404, "HEAD", "/v1/kv/conditional")

    def raw_values(self):
        sent = bytes(range(256)) * 9
        self.ask(201, "PUT", "/v1/kv/raw?ttlSec=600", sent, {"Content-Type": "image/x-test"})
        fields, content = self.ask(200, "GET", "/v1/kv/raw?raw=true")
        expect((content, fields["Content-Type"]), (sent, "image/x-test"), "raw bytes")
        answer = json.loads(self.ask(200, "GET", "/v1/kv/raw")[1])
        expect((base64.b64decode(answer["value"]), answer["type"]), (sent, "bytes"), "bytes in JSON")

    def keys(self):
        for key in ["schlüssel", "a/b", "鍵 🔑", "100%", "?#&+", "%2F", "~.-_", "й" * 250]:
            self.put(key, key)
            content = self.ask(200, "GET", path_of(key) + "?raw=true")[1]
            expect(content.decode(), key, "the value under an unusual key")
            hits = self.post("/v1/kv/batch/get", keys=[key])["hits"]
            expect([hit["key"] for hit in hits], [key], "a key of a batch")

    def batches_and_counters(self):
        items = [{"key": f"batch {n}", "value": n} for n in range(99)] + [{"key": "", "value": 0}]
        results = self.post("/v1/kv/batch/set", items=items)["results"]
        expect([result["status"] for result in results], ["created"] * 99 + ["error"], "batch/set")
        answer = self.post("/v1/kv/batch/get", keys=["no", "batch 7", "batch 3"])
        expect([hit["value"] for hit in answer["hits"]], [7, 3], "hits in request order")
        expect(answer["misses"], ["no"], "misses")
        for delta, total in [(1, 1), (2**63 - 2, 2**63 - 1), (-1, 2**63 - 2)]:
            expect(self.post("/v1/kv/incr", key="counter", delta=delta)["value"], total, "incr")
        results = self.post("/v1/kv/batch/delete", keys=["batch 1", "no"])["results"]
        expect([result["status"] for result in results], ["deleted", "missing"], "batch/delete")

    def chunked_uploads(self):
        pieces = [os.urandom(size) for size in [1, 70_000, 3, 1_000_000]]
        self.ask(201, "PUT", "/v1/kv/chunked", (piece for piece in pieces), BINARY)
        expect(self.ask(200, "GET", "/v1/kv/chunked?raw=true")[1], b"".join(pieces), "a chunked upload")
        self.ask(201, "PUT", "/v1/kv/chunked-json", iter([b'{"val', b'ue":"in ', b'pieces"}']), JSON)
        expect(self.ask(200, "GET", "/v1/kv/chunked-json?raw=true")[1], b"in pieces", "chunked JSON")

    def large_values(self):
        sent = os.urandom(LARGE_BYTES)
        text = base64.b64encode(sent[: LARGE_BYTES // 4 * 3])
        for n in range(3):
            path = f"/v1/kv/large-{n}"
            self.ask(201, "PUT", path, sent, BINARY)
            if self.ask(200, "GET", path + "?raw=true")[1] != sent:
                raise SystemExit(f"{LARGE_BYTES} bytes come back changed")
            self.ask(200, "PUT", path, b'{"value":"' + text + b'"}', JSON)
            answer = self.ask(200, "GET", path)[1]
            if json.loads(answer)["value"].encode() != text:
                raise SystemExit("a long string comes back changed")
            self.ask(204, "DELETE", path)

    def run(self):
        self.json_values()
        self.conditions()
        self.raw_values()
        self.keys()
        self.batches_and_counters()
        self.chunked_uploads()
        self.large_values()


def path_of(key):
    return "/v1/kv/" + quote(key, safe="")
