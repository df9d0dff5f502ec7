"""Python `requests`, one session with one connection."""

import requests
from contract import TOKEN, URL, Contract, expect

session = requests.Session()
session.trust_env = False
session.headers["X-API-Token"] = TOKEN


def call(method, path, body, headers):
    answer = session.request(method, URL + path, data=body, headers=headers, timeout=60)
    return answer.status_code, answer.headers, answer.content


Contract(call).run()
pools = session.get_adapter(URL).poolmanager.pools
expect(len(pools), 1, "pools of a session")
pool = pools[pools.keys()[0]]
expect(pool.num_connections, 1, "connections opened by a session")
expect(pool.num_requests > 100, True, "requests over that connection")
print("requests: everything as expected")
