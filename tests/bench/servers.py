# SPDX-License-Identifier: Apache-2.0
"""The servers behind every pair, and whether what comes through a pair is what they said."""

import os
import re
import socket
import subprocess
import sys

from processes import DEADLINE, HOME, Failure, Process, accepts, free_ports, program, wait_for

ANSWER = ("Cloudbus carries conversations. " * 7)[:200]
FOLDER = os.path.dirname(os.path.abspath(__file__))
CROWD = os.path.join(FOLDER, "..", "e2e", "crowd.py")
LEGS = os.path.join(FOLDER, "legs.py")
MOST_LEGS = 3
MESSAGE = b"x" * 100

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 20000; multi_accept on; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    server {{
        listen {address} backlog=4096;
        default_type text/plain;
        location / {{ return 200 "{answer}"; }}
        location = /status {{ stub_status; }}
    }}
}}
"""


class Servers:
    """nginx with a small answer, iperf3, an echo server for very many connections, and the far ends of a fan-out."""

    def __init__(self, folder, host=HOME):
        self.folder, self.host = folder, host
        self.processes = []
        self.addresses = {}
        self.legs = []  # the addresses that each leg of a fan-out has for itself
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        web, bulk = ((self.host, port) for port in free_ports(self.host, 2))
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(NGINX.format(folder=self.folder, address="%s:%d" % web, answer=ANSWER))
        self._run("nginx", [program("nginx"), "-p", self.folder, "-e", "stderr", "-c", path])
        self._run("iperf3", [program("iperf3"), "-s", "-B", self.host, "-p", str(bulk[1]), "--forceflush"])
        echo, = self._run_own("echo", CROWD, self.host)
        ports = iter(self._run_own("legs", LEGS, self.host, str(MOST_LEGS)))
        self.legs = [{"Sink": sink, "First": next(ports)} for sink in ports]
        self.addresses = {"Web": web, "Bulk": bulk, "Echo": echo}
        for name in ("Web", "Echo"):
            wait_for(lambda a=self.addresses[name]: self.check() and accepts(a), "the servers")
        self.wait_bulk()

    def tests_begun(self):
        return self.processes[1].said().count("Server listening")

    def streams_begun(self):
        """Those of the test that iperf3 takes now."""
        return self.processes[1].said().rsplit("Server listening", 1)[1].count(" connected to ")

    def wait_bulk(self, after=0):
        """iperf3 takes one test at a time: waits until it has said so for the next one."""
        wait_for(lambda: self.check() and self.tests_begun() > after, "iperf3's server to be free")

    def taken(self):
        """What each connection to a sink has brought, in bytes, in the order of their ends."""
        return [int(line) for line in self.processes[3].said().split("\n")[1:-1]]

    def requests(self):
        """How many requests the web server has had, and how many connections it has, these of ours among them."""
        status = fetch(self.addresses["Web"], "/status").decode()
        counts = re.search(r"Active connections: (\d+) \n.*\n \d+ \d+ (\d+) \n", status)
        if not counts:
            raise Failure(f"the web server tells no status: {status}")
        return int(counts.group(2)), int(counts.group(1))

    def _run(self, name, command, **more):
        self.processes.append(Process(name, command, self.folder, **more))
        return self.processes[-1]

    def _run_own(self, name, *command):
        """The addresses of a server of ours. It ends with its input, which is this end of the pipe."""
        server = self._run(name, [sys.executable, *command], stdin=subprocess.PIPE)
        ports = wait_for(lambda: server.check() and re.match(r"([\d ]+)\n", server.said()), f"the ports of {name}")
        return [(self.host, int(port)) for port in ports.group(1).split()]

    def check(self):
        return all(process.check() for process in self.processes)

    def stop(self):
        for process in reversed(self.processes):
            process.stop()


def exchange(address, client=None):
    """Says something to an echo server and checks what comes back; returns the connection."""
    client = client or socket.create_connection(address, timeout=DEADLINE)
    client.sendall(MESSAGE)
    got = b""
    while len(got) < len(MESSAGE):
        part = client.recv(4096)
        if not part:
            raise Failure("a conversation ended early")
        got += part
    if got != MESSAGE:
        raise Failure("a conversation got wrong bytes")
    return client


def fetch(address, path):
    """The whole answer of the web server."""
    with socket.create_connection(address, timeout=DEADLINE) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


def check_answers(pair):
    """The bytes that come through are the right ones."""
    try:
        exchange(pair.addresses["Echo"]).close()
        answer = fetch(pair.addresses["Web"], "/")
    except OSError as error:
        raise Failure(f"no answer through {pair.name}: {error}") from error
    if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"\r\n\r\n" + ANSWER.encode()):
        raise Failure(f"a wrong answer through {pair.name}: {answer[:300]!r}")
