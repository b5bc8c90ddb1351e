# SPDX-License-Identifier: Apache-2.0
"""Plays the part of systemd for one daemon with sockets: it opens them, passes them, and starts the daemon in its order."""

import contextlib
import os
import pathlib
import re
import select
import socket
import subprocess
import threading
import time

import pair

SOURCE = pathlib.Path(__file__).resolve().parents[2]
LEAST_BURST = 20  # of TriggerLimitBurst=, and the seconds of TriggerLimitIntervalSec=: systemd.socket(5)
BURST_SECONDS = 2.0


def settings(name):
    """{key: values} of a unit of this project."""
    found = {}
    text = (SOURCE / "etc" / "systemd" / name).read_text()
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


class Service:
    """A daemon and its sockets: {name: sockets}. At most one process takes newcomers."""

    def __init__(self, case, role, text, sockets):
        self.case = case
        self.role = role
        self.text = text
        self.passed = [(name, sock) for name, several in sockets.items() for sock in several]
        for _, sock in self.passed:
            case.keep(sock)
        self.daemon = None

    def start(self, wait=True):
        self.daemon = self.case.daemon(self.role, self.text, passed=self.passed, wait=wait)
        return self.daemon

    def stop(self):
        """SIGTERM, and then nothing before the process has ended."""
        self.daemon.terminate()
        code = self.daemon.wait_exit(60)
        if code != 0:
            raise AssertionError(f"{self.daemon.name} ended with {code}:\n{self.daemon.output()}")

    def restart(self):
        self.stop()
        return self.start()


class Activation:
    """Starts a service whenever somebody waits at its sockets and it does not run, by the rules of its units.

    `starts` has the time of each start, `codes` the exit codes. After too many starts the socket unit has failed: `is_out`.
    """

    def __init__(self, service):
        self.service = service
        unit = f"cloudbus-{service.role}"
        limit = settings(f"{unit}.socket").get("TriggerLimitIntervalSec", ["2"])[-1]
        self.is_limited = limit != "0"
        self.unit = settings(f"{unit}.service.in")
        self.starts, self.codes = [], []
        self.is_out = False
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self.stopping.is_set() and not self.is_out:
            if not select.select([sock for _, sock in self.service.passed], [], [], 0.05)[0]:
                continue
            self.starts.append(time.monotonic())
            recent = [start for start in self.starts if start > self.starts[-1] - BURST_SECONDS]
            if self.is_limited and len(recent) > LEAST_BURST:
                self.is_out = True
                return
            daemon = self.service.start(wait=False)
            while daemon.alive and not self.stopping.wait(0.02):
                pass
            if not daemon.alive:
                self._after(daemon.wait_exit())

    def _after(self, code):
        self.codes.append(code)
        for command in self.unit.get("ExecStopPost", []):
            # systemd passes the words of the quotes on, with $$ as $.
            words = re.match(r"(/bin/sh) (-c) '(.*)'$", command).groups()
            post = subprocess.Popen([part.replace("$$", "$") for part in words],
                                    env=dict(os.environ, EXIT_STATUS=str(code)))
            while post.poll() is None and not self.stopping.wait(0.02):
                pass
            with contextlib.suppress(ProcessLookupError):
                post.kill()
            post.wait()
        if code != 0 and str(code) not in self.unit["RestartPreventExitStatus"]:
            self.stopping.wait(float(self.unit["RestartSec"][-1].rstrip("s")))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()


class Ticks:
    """Clients that come one after the other, ten a second, none waiting for another. How long each took, and failures."""

    def __init__(self, url):
        self.url = url
        self.seconds, self.failures = [], []
        self.stopping = threading.Event()
        self.clients = []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _visit(self):
        start = time.monotonic()
        try:
            with pair.connect(self.url) as client:
                if client.exchange(b"hello") != b"hello":
                    raise AssertionError("the echo differs")
            self.seconds.append(time.monotonic() - start)
        except (OSError, AssertionError) as error:
            self.failures.append(f"{error!r} after {time.monotonic() - start:.2f} s")

    def _run(self):
        while not self.stopping.wait(0.1):
            self.clients.append(threading.Thread(target=self._visit, daemon=True))
            self.clients[-1].start()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        for client in self.clients:
            client.join()


def listener(url, backlog=4096):
    family, address = pair.socket_address(url)
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen(backlog)
    return sock
