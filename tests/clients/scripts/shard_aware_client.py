"""The example of a shard-aware client: no request of its needs a hop, and where its ports are wrong all goes well anyhow."""

import os
import signal
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))
from shard_aware import ShardAwareCache  # noqa: E402

URL, OTHER_URL, TOKEN = os.environ["CACHE_URL"], os.environ["CACHE_OTHER_URL"], os.environ["CACHE_TOKEN"]
# Every length up to two words of the hash and more, and characters of one to four bytes.
KEYS = [f"{n:0{1 + n % 40}}" for n in range(600)] + [f"{char} a/b {n}" for n in range(50) for char in "\u00e4\u20ac\U0001f600?%"]


def hops(url):
    """How many operations the server's cores have sent on to other cores."""
    with urllib.request.urlopen(url + "/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("cache_forwarded_requests_total"))


def go_through(cache, keys):
    for n, key in enumerate(keys):
        cache.put(key, n)
    for n, key in enumerate(keys):
        assert cache.get(key) == n, key
    assert cache.get_many([*keys, "nothing"]) == {key: n for n, key in enumerate(keys)}
    for key in keys:
        assert cache.delete(key), key
    assert not cache.delete(keys[0]) and cache.get(keys[0]) is None and cache.get_many(keys) == {}


def every_request_goes_to_the_owner(cache, url):
    before = hops(url)
    go_through(cache, KEYS)
    assert hops(url) == before, f"{hops(url) - before} hops"
    ports = cache.topology["ports"]
    assert len(set(ports)) == len(ports) == cache.topology["shards"]
    used = set(cache.connections) - {cache.common_port}
    assert used == set(ports), f"{used} of {ports} were used"


def wrong_ports_cost_hops_only(cache, url):
    ports = cache.topology["ports"]
    cache.topology["ports"] = ports[1:] + ports[:1]
    before, keys = hops(url), KEYS[:100]
    go_through(cache, keys)
    # A write, a read and a deletion of each key; a batch counts once.
    assert hops(url) - before >= 3 * len(keys), f"{hops(url) - before} hops"
    cache.topology["ports"] = [1 for _ in ports]
    assert cache.get("nobody listens on port 1") is None


def a_server_without_ports_is_served_through_one_connection(url):
    cache = ShardAwareCache(url, TOKEN)
    cache.owner("k")
    del cache.topology["ports"]
    go_through(cache, KEYS[:100])
    assert list(cache.connections) == [cache.common_port]


def another_server_in_its_place_is_noticed(cache):
    cache.put("k", 1)
    seed = cache.topology["seed"]
    os.kill(int(os.environ["CACHE_PID"]), signal.SIGTERM)
    cache.common_port = urlsplit(OTHER_URL).port
    # As long as the old one has not closed its connections, it answers.
    while cache.get("k") is not None:
        time.sleep(0.01)
    every_request_goes_to_the_owner(cache, OTHER_URL)
    assert cache.topology["seed"] != seed


cache = ShardAwareCache(URL, TOKEN)
every_request_goes_to_the_owner(cache, URL)
wrong_ports_cost_hops_only(cache, URL)
a_server_without_ports_is_served_through_one_connection(URL)
another_server_in_its_place_is_noticed(cache)
