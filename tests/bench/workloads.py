# SPDX-License-Identifier: Apache-2.0
"""What is measured: the servers, and the clients that load a pair and check what comes back."""

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time

from processes import DEADLINE, HOME, Failure, Process, accepts, free_port, program, wait_for

ANSWER = ("Cloudbus carries conversations. " * 7)[:200]
FOLDER = os.path.dirname(os.path.abspath(__file__))
CROWD = os.path.join(FOLDER, "..", "e2e", "crowd.py")
LEGS = os.path.join(FOLDER, "legs.py")
MOST_LEGS = 3

WRK_SCRIPT = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"microseconds":%d,"median":%.3f,"p99":%.3f,"errors":{"connect":%d,"read":%d,"write":%d,' ..
    '"status":%d,"timeout":%d}}\\n', summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"""

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    server {{ listen {address}; default_type text/plain; return 200 "{answer}"; }}
}}
"""


class Servers:
    """nginx with a small answer, iperf3, an echo server for very many connections, and the far ends of a fan-out."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        self.addresses = {}
        self.legs = []  # the addresses that each leg of a fan-out has for itself
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        web, bulk = (HOME, free_port(HOME)), (HOME, free_port(HOME))
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(NGINX.format(folder=self.folder, address="%s:%d" % web, answer=ANSWER))
        self._run("nginx", [program("nginx"), "-p", self.folder, "-e", "stderr", "-c", path])
        self._run("iperf3", [program("iperf3"), "-s", "-B", HOME, "-p", str(bulk[1]), "--forceflush"])
        echo, = self._run_own("echo", CROWD, HOME)
        ports = iter(self._run_own("legs", LEGS, HOME, str(MOST_LEGS)))
        self.legs = [{"Sink": sink, "First": next(ports)} for sink in ports]
        self.addresses = {"Web": web, "Bulk": bulk, "Echo": echo}
        for name in ("Web", "Echo"):
            wait_for(lambda a=self.addresses[name]: self.check() and accepts(a), "the servers")
        self.wait_bulk()

    def tests_begun(self):
        return self.processes[1].said().count("Server listening")

    def wait_bulk(self, after=0):
        """iperf3 takes one test at a time: waits until it has said so for the next one."""
        wait_for(lambda: self.check() and self.tests_begun() > after, "iperf3's server to be free")

    def taken(self):
        """What each connection to a sink has brought, in bytes, in the order of their ends."""
        return [int(line) for line in self.processes[3].said().split("\n")[1:-1]]

    def _run(self, name, command, **more):
        self.processes.append(Process(name, command, self.folder, **more))
        return self.processes[-1]

    def _run_own(self, name, *command):
        """The addresses of a server of ours. It ends with its input, which is this end of the pipe."""
        server = self._run(name, [sys.executable, *command], stdin=subprocess.PIPE)
        ports = wait_for(lambda: server.check() and re.match(r"([\d ]+)\n", server.said()), f"the ports of {name}")
        return [(HOME, int(port)) for port in ports.group(1).split()]

    def check(self):
        return all(process.check() for process in self.processes)

    def stop(self):
        for process in reversed(self.processes):
            process.stop()


def run_client(command, seconds):
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=seconds + DEADLINE, check=False, encoding="utf-8", errors="replace")
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{command[0]} did not end in time") from error


def measured(pair, action):
    """The figures of `action`, and the processor time that the pair took meanwhile, in all and for each of `count`."""
    before = pair.cpu()
    figures = action()
    pair.check()
    if pair.processes:
        figures["cpu"] = pair.cpu() - before
        figures["cpu_each"] = figures["cpu"] * 1e6 / figures["count"]
    return figures


class Requests:
    """wrk with one thread; the rate is in requests a second."""

    service, unit, amount = "Web", "requests/s", "request"

    def __init__(self, about, clients, close):
        self.about, self.clients, self.close = about, clients, close

    def run(self, pair, options, seconds):
        host, port = pair.addresses[self.service]
        script = os.path.join(options.folder, "wrk.lua")
        with open(script, "w", encoding="utf-8") as file:
            file.write(WRK_SCRIPT)
        url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        command = [program("wrk"), "-t1", f"-c{self.clients}", f"-d{seconds}s", "-s", script]
        command += ["-H", "Connection: close"] if self.close else []

        def load():
            result = run_client(command + [url], seconds)
            lines = [line for line in result.stdout.split("\n") if line.startswith("RESULT ")]
            if not lines:
                raise Failure(f"wrk failed through {pair.name}: {result.stderr.strip() or result.stdout.strip()}")
            said = json.loads(lines[0][len("RESULT "):])
            if any(said["errors"].values()) or not said["requests"]:
                raise Failure(f"wrk met errors through {pair.name}: {said['errors']}, {said['requests']} requests")
            return {"rate": said["requests"] * 1e6 / said["microseconds"], "count": said["requests"],
                    "median": said["median"], "p99": said["p99"]}
        return measured(pair, load)


class Bulk:
    """iperf3; the rate is in gigabits a second."""

    service, unit, amount = "Bulk", "Gbit/s", "GB"

    def __init__(self, about, streams, reverse):
        self.about, self.streams, self.reverse = about, streams, reverse

    def run(self, pair, options, seconds):
        host, port = pair.addresses[self.service]
        command = [program("iperf3"), "-c", host, "-p", str(port), "-t", str(seconds), "-P", str(self.streams), "-J"]
        command += ["-R"] if self.reverse else []

        def load():
            said = self.result(run_client(command, seconds), pair)
            if "error" in said:
                raise Failure(f"iperf3 failed through {pair.name}: {said['error']}")
            received = said["end"]["sum_received"]
            if received["bytes"] == 0:
                raise Failure(f"iperf3 received nothing through {pair.name}")
            return {"rate": received["bits_per_second"] / 1e9, "count": received["bytes"] / 1e9}
        begun = pair.servers.tests_begun()
        figures = measured(pair, load)
        pair.servers.wait_bulk(begun)
        return figures

    @staticmethod
    def result(result, pair):
        try:
            return json.loads(result.stdout)
        except ValueError as error:
            raise Failure(f"iperf3 failed through {pair.name}: {result.stderr.strip()}") from error


class Idle:
    """Very many conversations that have said something once; memory, processor time, and a newcomer's wait."""

    service, unit, amount = "Echo", "bytes", "conversation"
    about = "idle conversations"
    NEWCOMERS = 200
    MESSAGE = b"x" * 100

    def exchange(self, address, client=None):
        client = client or socket.create_connection(address, timeout=DEADLINE)
        client.sendall(self.MESSAGE)
        got = b""
        while len(got) < len(self.MESSAGE):
            part = client.recv(4096)
            if not part:
                raise Failure("a conversation ended early")
            got += part
        if got != self.MESSAGE:
            raise Failure("a conversation got wrong bytes")
        return client

    def run(self, pair, options, seconds):
        address = pair.addresses[self.service]
        for _ in range(100):  # what the first ones cost is the pair's own
            self.exchange(address).close()
        base = pair.resident()
        clients = []
        try:
            for _ in range(options.idle_counts[pair.name]):
                clients.append(self.exchange(address))
            grown = pair.resident() - base
            before, start = pair.cpu(), time.monotonic()
            time.sleep(seconds)  # the window in which nothing is to happen
            load = (pair.cpu() - before) / (time.monotonic() - start)
            waits = []
            for _ in range(self.NEWCOMERS):
                start = time.monotonic()
                self.exchange(address).close()
                waits.append((time.monotonic() - start) * 1000)
            for client in clients[::97]:
                self.exchange(address, client)
            pair.check()
        except OSError as error:
            raise Failure(f"idle through {pair.name}: {error}") from error
        finally:
            for client in clients:
                client.close()
        return {"count": len(clients), "base": base, "each": grown / len(clients), "load": load,
                "median": statistics.median(waits), "p99": statistics.quantiles(waits, n=100)[98], "worst": max(waits)}


WORKLOADS = {
    "keepalive": Requests("64 clients, connections kept", 64, False),
    "connections": Requests("64 clients, a connection for each request", 64, True),
    "one": Requests("one client, its connection kept", 1, False),
    "bulk1": Bulk("1 stream, client to server", 1, False),
    "bulk8": Bulk("8 streams, client to server", 8, False),
    "bulk1r": Bulk("1 stream, server to client", 1, True),
    "bulk8r": Bulk("8 streams, server to client", 8, True),
    "idle": Idle(),
}
DEFAULT = ("keepalive", "connections", "one", "bulk1", "bulk8", "idle")


def check_answers(pair):
    """The bytes that come through are the right ones."""
    try:
        Idle().exchange(pair.addresses["Echo"]).close()
        with socket.create_connection(pair.addresses["Web"], timeout=DEADLINE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
    except OSError as error:
        raise Failure(f"no answer through {pair.name}: {error}") from error
    if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"\r\n\r\n" + ANSWER.encode()):
        raise Failure(f"a wrong answer through {pair.name}: {answer[:300]!r}")
