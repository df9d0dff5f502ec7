"""Whom the load is put on: ours, the floor, other servers from Debian's packages, and any that is already running.

All have a name, a process id whose CPU is counted, a way to be filled, and what the load generator must know to talk to them.
"""

import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from common import RELEASE, TOKEN, Child, Peer, free_port, server_address

FLOOR = RELEASE / "examples" / "floor"
RAW_PATH = "/v1/kv/{key}?raw=true"
CONNECTIONS_MAX = 16_384


class Subject:
    """How it is filled: by writing each key, by reading each key once (a cache before ours), or not at all."""

    name = ""
    dialect = "json"
    fill_ask = "put"

    def __init__(self, child):
        self.child = child
        self.pid = child.process.pid
        self.address = child.address

    def load_options(self, workload):
        return {"address": self.address, "dialect": self.dialect}

    def pause(self):
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def stop(self):
        self.child.stop()


class Ours(Subject):
    """The server of this repository, with everything on: reads need a token as well."""

    name = "cache-service"

    def __init__(self, options, cpus, shards=1, own_ports=False, **env):
        self.shards = shards
        if own_ports:
            base = free_ports(shards)
            self.shard_addresses = ",".join(f"127.0.0.1:{base + shard}" for shard in range(shards))
            env["SHARD_PORTS_FROM"] = str(base)
        super().__init__(Child([options.server], cpus, {
            "HOST": "127.0.0.1", "PORT": "0", "API_TOKEN": TOKEN, "READ_REQUIRES_AUTH": "true", "SHARDS": str(shards),
            "MAX_INFLIGHT": "20000", "MAX_SHARD_MAILBOX": "20000", "LOG_LEVEL": "info", **env}, server_address))

    def load_options(self, workload):
        path = {"path": RAW_PATH} if workload.form == "raw" else {}
        return {"address": self.address, "dialect": workload.form, "token": TOKEN, **path}

    def aware(self, foreign=0):
        """What makes the load reach each shard by a port of its own."""
        return {"address": self.shard_addresses, "topology": 1, "foreign": foreign}

    def ask(self, path, token=TOKEN):
        connection = http.client.HTTPConnection(self.address, timeout=10)
        connection.request("GET", path, headers={"X-API-Token": token} if token else {})
        answer = connection.getresponse()
        return answer, answer.read().decode()

    def knows_topology(self):
        return self.ask("/v1/topology")[0].status == 200

    def counters(self):
        """Counters of what cores do to each other, summed over the cores; those that this server has."""
        found = {}
        for name, value in re.findall(r"^(cache_(?:wakeups|doorbells)_total)(?:\{[^}]*\})? (\S+)", self.ask("/metrics")[1], re.MULTILINE):
            found[name] = found.get(name, 0) + float(value)
        return found

    def check_that_all_is_on(self):
        """What issue 6 wants to be on while it is measured."""
        answer, _ = self.ask("/v1/kv/key-000000000000")
        missing = [field for field in ("Date", "X-Request-ID", "ETag") if field not in answer.headers]
        if answer.status != 200 or missing:
            raise RuntimeError(f"a GET was answered with {answer.status}, without {missing}")
        if (status := self.ask("/v1/kv/key-000000000000", token=None)[0].status) != 401:
            raise RuntimeError(f"a GET without a token was answered with {status}")
        if 'route="/v1/kv/:key"' not in self.ask("/metrics")[1]:
            raise RuntimeError("requests are not counted in /metrics")


class Floor(Subject):
    """perf/floor.rs: the least that a server must do."""

    name = "floor"
    fill_ask = None

    def __init__(self, cpus, workload, sizes, threads=1):
        self.sizes = sizes
        # Long values are sent from as many places in memory as ours are.
        copies = workload.keys if workload.form == "raw" else 1
        options = []
        for kind, it in sizes.items():
            options += ["--get" if kind == "get" else "--put", f"{it['request_bytes']}:{it['answer_bytes']}:{it['body_bytes']}:{copies}"]
        super().__init__(Child([FLOOR, *options, "--threads", threads], cpus, {}, floor_address))

    def load_options(self, workload):
        # What is asked is what ours is asked, byte for byte.
        path = {"path": RAW_PATH} if workload.form == "raw" else {}
        return {"address": self.address, "dialect": workload.form, "token": TOKEN, "fixed": fixed(self.sizes), **path}


def fixed(sizes):
    """The lengths of bodies of reads and of writes."""
    reads = sizes.get("get") or sizes.get("batch") or sizes["put"]
    return f"{reads['body_bytes']},{sizes.get('put', reads)['body_bytes']}"


def floor_address(line):
    return line.split()[1] if line.startswith("listening ") else None


class Scratch:
    """A directory for a server's files, for as long as that lives."""

    def __init__(self):
        base = RELEASE.parent / "scratch"
        base.mkdir(parents=True, exist_ok=True)
        self.path = pathlib.Path(tempfile.mkdtemp(dir=base))

    def write(self, name, text):
        (self.path / name).write_text(text)
        return self.path / name

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Nginx(Subject):
    """nginx in one process: `return 200` with a body as long as ours, or for long ones a file, by sendfile."""

    name = "nginx"
    fill_ask = None
    RETURN_BYTES_MAX = 2_000

    def __init__(self, cpus, workload, sizes, ours):
        self.sizes = sizes
        self.scratch = Scratch()
        port, body = free_port(), "y" * sizes["get"]["body_bytes"]
        if len(body) <= self.RETURN_BYTES_MAX:
            answer = f'return 200 "{body}";'
        else:
            self.scratch.write("body", body)
            answer = f"root {self.scratch.path}; rewrite ^ /body break; open_file_cache max=16 inactive=1h; sendfile on; tcp_nopush on;"
        temporary = " ".join(f"{kind}_temp_path {self.scratch.path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = self.scratch.write("nginx.conf", f"""
            daemon off; master_process off; worker_processes 1; pid {self.scratch.path}/pid; error_log stderr crit;
            worker_rlimit_nofile {CONNECTIONS_MAX + 100};
            events {{ worker_connections {CONNECTIONS_MAX}; }}
            http {{
                access_log off; {temporary}
                keepalive_requests 1000000000; keepalive_timeout 1h; default_type application/json;
                server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ {answer} }} }}
            }}""")
        super().__init__(Peer(["nginx", "-e", "stderr", "-p", self.scratch.path, "-c", config], cpus, port))

    def load_options(self, workload):
        path = {"path": RAW_PATH} if workload.form == "raw" else {}
        return {"address": self.address, "dialect": workload.form, "token": TOKEN, "fixed": fixed(self.sizes), **path}

    def stop(self):
        super().stop()
        self.scratch.remove()


class Varnish(Subject):
    """Varnish before ours, which it asks once for each key: what is measured are hits. One pool of threads."""

    name = "varnish"
    fill_ask = "get"

    def __init__(self, cpus, workload, sizes, ours):
        self.scratch = Scratch()
        host, port_of_ours = ours.address.rsplit(":", 1)
        config = self.scratch.write("default.vcl", f"""vcl 4.1;
            backend ours {{ .host = "{host}"; .port = "{port_of_ours}"; }}
            sub vcl_recv {{ return (hash); }}
            sub vcl_backend_response {{ set beresp.ttl = 1d; return (deliver); }}
            """)
        port = free_port()
        # A thread serves one busy connection, so there must be as many as connections; no more.
        threads = max(20, workload.connections + 10)
        command = ["varnishd", "-F", "-j", "none", "-n", self.scratch.path / "work", "-f", config, "-a", f"127.0.0.1:{port}", "-s", "malloc,2g",
                   "-p", "thread_pools=1", "-p", "thread_pool_min=10", "-p", f"thread_pool_max={threads}"]
        super().__init__(Peer(command, cpus, port))
        # The first process only watches the second.
        self.manager = self.pid
        children = pathlib.Path(f"/proc/{self.manager}/task/{self.manager}/children").read_text().split()
        self.pid = int(children[0])

    def load_options(self, workload):
        return {"address": self.address, "dialect": "json", "token": TOKEN}

    def stop(self):
        # On this signal it ends its second process as well.
        os.kill(self.manager, signal.SIGTERM)
        try:
            self.child.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, signal.SIGKILL)
        super().stop()
        self.scratch.remove()


class Redis(Subject):
    """Redis with one thread, and nothing on disk."""

    name = "redis"
    dialect = "redis"

    def __init__(self, cpus, workload, sizes, ours):
        port = free_port()
        super().__init__(Peer(["redis-server", "--bind", "127.0.0.1", "--io-threads", 1, "--maxclients", CONNECTIONS_MAX, "--save", "",
                               "--appendonly", "no", "--port", port], cpus, port))


class Memcached(Subject):
    """memcached with one thread."""

    name = "memcached"
    dialect = "memcached"

    def __init__(self, cpus, workload, sizes, ours):
        port = free_port()
        user = ["-u", "root"] if os.geteuid() == 0 else []
        super().__init__(Peer(["memcached", "-l", "127.0.0.1", "-t", 1, "-c", CONNECTIONS_MAX, "-m", 4096, "-I", "2m", *user, "-p", port], cpus, port))


class Also(Subject):
    """A server that runs already: NAME=PROTOCOL@ADDRESS[/PATH],PID. It is moved to the server's processor."""

    PROTOCOLS = {"http": "raw", "resp": "redis", "memcached": "memcached"}
    FORM = re.compile(r"(?P<name>[\w.-]+)=(?P<protocol>http|resp|memcached)@(?P<address>[^/,]+)(?P<path>/[^,]*)?,(?P<pid>\d+)")

    def __init__(self, text):
        if not (found := self.FORM.fullmatch(text)):
            raise ValueError(f"{text}: NAME=PROTOCOL@ADDRESS[/PATH],PID, with {' or '.join(self.PROTOCOLS)} for the protocol")
        self.name, self.pid, self.address = found["name"], int(found["pid"]), found["address"]
        self.dialect, self.path = self.PROTOCOLS[found["protocol"]], found["path"] or "/{key}"
        if "{key}" not in self.path:
            raise ValueError(f"{text}: the path needs {{key}} in it")

    def move_to(self, cpus):
        subprocess.run(["taskset", "-a", "-c", "-p", cpus, str(self.pid)], check=True, stdout=subprocess.DEVNULL)

    def load_options(self, workload):
        path = {"path": self.path} if self.dialect == "raw" else {}
        return {"address": self.address, "dialect": self.dialect, **path}

    def stop(self):
        """It is not ours to stop."""


PEERS = {"nginx": Nginx, "varnish": Varnish, "redis": Redis, "memcached": Memcached}


def free_ports(count):
    """The first of so many ports in a row that nobody has."""
    for first in range(21_000, 32_000, count):
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
            return first
        except OSError:
            continue
    raise RuntimeError(f"no {count} free ports in a row")
