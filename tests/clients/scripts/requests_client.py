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
# A pool counts the connections that it has opened, whether or not they are still open.
pools = session.get_adapter(URL).poolmanager.pools
opened = [pools[key].num_connections for key in list(pools.keys())]
expect(opened, [1], "connections opened by a session")
print("requests: everything as expected")
