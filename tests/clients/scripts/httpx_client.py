"""Python `httpx`, one client with one connection."""

import httpx
from contract import TOKEN, URL, Contract, expect

client = httpx.Client(base_url=URL, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, trust_env=False)
local_addresses = set()


def call(method, path, body, headers):
    answer = client.request(method, path, content=body, headers=headers)
    local_addresses.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
    return answer.status_code, answer.headers, answer.content


Contract(call).run()
expect(len(local_addresses), 1, "connections opened by a client")
print("httpx: everything as expected")
