# SPDX-License-Identifier: Apache-2.0
"""Programs that a comparison starts: finding them, ports, processor time, memory, and their end."""

import contextlib
import ctypes
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import time

DEADLINE = 20  # seconds for a program to start, or to end
TICKS = os.sysconf("SC_CLK_TCK")
PACKAGES = {"gnuplot": "gnuplot-nox", "haproxy": "haproxy", "iperf3": "iperf3", "nginx": "nginx-light", "wrk": "wrk"}
FOLDERS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def own_address():
    """A loopback address of this run's own: a port that is free there stays free, because nobody else dials from it."""
    return "127.%d.%d.%d" % (random.randint(64, 250), random.randint(0, 255), random.randint(1, 254))


HOME = own_address()
BETWEEN = own_address()  # between two proxies


class Failure(Exception):
    """Why a comparison cannot go on."""


def wait_for(condition, what, deadline=DEADLINE):
    """Polls until the condition holds, and returns its value."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {deadline} s in vain for {what}")
        time.sleep(0.01)


def program(name):
    """The path of an installed program."""
    path = shutil.which(name, path=FOLDERS)
    if not path:
        raise Failure(f"{name} is missing; on Debian: apt install {PACKAGES[name]}")
    return path


def first_line(*command):
    """The first line that a program prints, for its version."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                            encoding="utf-8", errors="replace", timeout=DEADLINE)
    return result.stdout.strip().split("\n")[0].strip()


def free_ports(host, count):
    """So many different ones."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as probes:
        ports = []
        for _ in range(count):
            probe = probes.enter_context(socket.socket(family, socket.SOCK_STREAM))
            probe.bind((host, 0))
            ports.append(probe.getsockname()[1])
        return ports


def accepts(address):
    """Whether somebody listens at (host, port), or at ("unix", path)."""
    family = socket.AF_UNIX if address[0] == "unix" else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(address[1] if address[0] == "unix" else address) == 0


def raise_descriptors(wanted):
    """Raises the limit of open descriptors, for the programs started from here too; returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), max(hard, wanted)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def end_with_parent():
    """In a child, before its program: it is not to outlive us."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    """A program that runs beside the comparison, with what it says in a file."""

    def __init__(self, name, command, folder, stdin=subprocess.DEVNULL):
        self.name = name
        self.log = os.path.join(folder, name + ".log")
        self.began, self.took = time.monotonic(), None  # seconds until it was there
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, cwd=folder,
                                             preexec_fn=end_with_parent)
        self.pid = self._process.pid

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def check(self):
        """Fails when the program has ended."""
        if self._process.poll() is not None:
            raise Failure(f"{self.name} has ended with {self._process.returncode}; it said:\n{self.said()[-2000:]}")
        return True

    def is_there(self):
        """What it was started for can be had."""
        if self.took is None:
            self.took = time.monotonic() - self.began

    def wait_said(self, text, times=1):
        """The line of what it said that holds `text`, for the first time or a later one."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            rest, found = "", []

            def find():
                nonlocal rest
                self.check()
                *lines, rest = (rest + log.read()).split("\n")
                found.extend(line for line in lines if text in line)
                return found[times - 1] if len(found) >= times else None
            return wait_for(find, f"{self.name} to say {text!r}")

    def cpu(self):
        """Processor time in seconds, user and system, of its children that run too."""
        total = 0
        for pid in [self.pid] + self._children():
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def cpu_of_threads(self):
        """The processor time of each of its threads, in nanoseconds."""
        times = {}
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/schedstat", encoding="ascii") as stat:
                times[thread] = int(stat.read().split()[0])
        return times

    def _children(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as children:
            return [int(pid) for pid in children.read().split()]

    def resident(self):
        """Resident memory in bytes."""
        return self._memory("Rss:")

    def private(self):
        """What of it no other process has too, as it has the text of libraries."""
        return self._memory("Private_")

    def _memory(self, start):
        total = 0
        for pid in [self.pid] + self._children():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as rollup:
                total += sum(int(line.split()[1]) for line in rollup if line.startswith(start))
        return total * 1024

    def stop(self):
        if self._process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):  # twice: at once
            self._process.send_signal(number)
            try:
                self._process.wait(1)
                return
            except subprocess.TimeoutExpired:
                pass
        self._process.wait(DEADLINE)
