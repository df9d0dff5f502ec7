#!/usr/bin/env python3
"""A client that sends each request to the core that owns its key, and so spares the server every hop between cores.

    cache = ShardAwareCache("http://127.0.0.1:8080", token)
    cache.put("greeting", "hello", ttl_sec=60)
    cache.get("greeting")
    cache.get_many(["greeting", "nothing"])

The server tells each core's port if it has SHARD_PORTS_FROM; if it has not, everything goes through the common port. One
connection is kept for each port, so give each thread a client of its own. Python's standard library is all it needs.

As a program, it writes and reads a thousand keys: shard_aware.py http://127.0.0.1:8080 TOKEN. The server's metric
cache_forwarded_requests_total, the operations that one core has sent on to another, does not move meanwhile.
"""

import http.client
import json
import struct
import sys
import urllib.parse

BATCH_KEYS_MAX = 100
TIMEOUT_SECONDS = 5
U64 = (1 << 64) - 1


def siphash_1_3(k0, k1, data):
    """SipHash (Aumasson and Bernstein) of `data`, with one round for each word and three at the end."""
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for (word,) in struct.iter_unpack("<Q", padded):
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3 ^ word)
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(3):
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def sip_round(v0, v1, v2, v3):
    v0, v2 = (v0 + v1) & U64, (v2 + v3) & U64
    v1, v3 = rotated(v1, 13) ^ v0, rotated(v3, 16) ^ v2
    v0, v2 = (rotated(v0, 32) + v3) & U64, (v2 + v1) & U64
    v1, v3 = rotated(v1, 17) ^ v2, rotated(v3, 21) ^ v0
    return v0, v1, rotated(v2, 32), v3


def rotated(word, bits):
    return (word << bits | word >> (64 - bits)) & U64


class ShardAwareCache:
    def __init__(self, url, token):
        address = urllib.parse.urlsplit(url)
        self.host, self.common_port = address.hostname, address.port or 80
        self.headers = {"X-API-Token": token, "Content-Type": "application/json"}
        self.topology = None
        self.connections = {}

    def get(self, key):
        """The value of `key`, None if there is none."""
        status, answer = self.ask(key, "GET", path_of(key))
        return expected(status, answer, 200)["value"] if status != 404 else None

    def put(self, key, value, ttl_sec=0):
        """Stores `value`; gives its version."""
        status, answer = self.ask(key, "PUT", path_of(key), {"value": value, "ttlSec": ttl_sec})
        return expected(status, answer, 200, 201)["version"]

    def delete(self, key):
        """Whether `key` was there, and is not any more."""
        status, answer = self.ask(key, "DELETE", path_of(key))
        return status != 404 and not expected(status, answer, 204)

    def get_many(self, keys):
        """The values that there are: one request to each core that owns some of the keys, for each hundred."""
        keys_of = {}
        for key in keys:
            keys_of.setdefault(self.port_of(key), []).append(key)
        found = {}
        for of_port in keys_of.values():
            for start in range(0, len(of_port), BATCH_KEYS_MAX):
                batch = of_port[start : start + BATCH_KEYS_MAX]
                status, answer = self.ask(batch[0], "POST", "/v1/kv/batch/get", {"keys": batch})
                found.update((hit["key"], hit["value"]) for hit in expected(status, answer, 200)["hits"])
        return found

    def owner(self, key):
        """The number of the shard that owns `key`, by the rule that the topology gives in its member `owner`."""
        if self.topology is None:
            status, answer = self.send(self.common_port, "GET", "/v1/topology")
            self.topology = expected(status, answer, 200)
        k0, k1 = (int(half, 16) for half in self.topology["seed"])
        return ((siphash_1_3(k0, k1, key.encode()) >> 32) * self.topology["shards"]) >> 32

    def port_of(self, key):
        """The port of the core that owns `key`; the common one if cores have none of their own."""
        owner = self.owner(key)
        return self.topology["ports"][owner] if "ports" in self.topology else self.common_port

    def ask(self, key, method, path, body=None):
        """Sends what may be sent twice to the owner of `key`, and once more, to whichever core, if that has failed."""
        try:
            return self.send(self.port_of(key), method, path, body)
        except (OSError, http.client.HTTPException):
            return self.send(self.common_port, method, path, body)

    def send(self, port, method, path, body=None):
        """The status and the body of an answer."""
        new = http.client.HTTPConnection(self.host, port, timeout=TIMEOUT_SECONDS)  # Does not connect yet.
        connection = self.connections.setdefault(port, new)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self.headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.forget()
            raise
        if answer.will_close:
            self.forget()
        return answer.status, json.loads(text) if text else None

    def forget(self):
        """A connection has ended. Perhaps the server has been restarted and places every key anew: it is to be asked."""
        for connection in self.connections.values():
            connection.close()
        self.connections, self.topology = {}, None


def path_of(key):
    return "/v1/kv/" + urllib.parse.quote(key, safe="")


def expected(status, answer, *statuses):
    if status not in statuses:
        raise RuntimeError(f"the cache answers {status}: {answer}")
    return answer


def main(url, token):
    cache = ShardAwareCache(url, token)
    for n in range(1000):
        cache.put(f"key {n}", n, ttl_sec=60)
    found = sum(cache.get(f"key {n}") == n for n in range(1000))
    print(f"{found} of 1000 keys found, through the ports {sorted(cache.connections)}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} URL TOKEN")
    main(*sys.argv[1:])
