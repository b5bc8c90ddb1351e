# SPDX-License-Identifier: Apache-2.0
"""Programs that a comparison starts: finding them, ports, processor time, memory, and their end."""

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
PACKAGES = {"wrk": "wrk", "iperf3": "iperf3", "haproxy": "haproxy", "nginx": "nginx"}
FOLDERS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))

# A loopback address of this run's own: a port that is free there stays free, because nobody else dials from it.
HOME = "127.%d.%d.%d" % (random.randint(64, 250), random.randint(0, 255), random.randint(1, 254))


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


def free_port(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


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


def _end_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    """A program that runs beside the comparison, with what it says in a file."""

    def __init__(self, name, command, folder, stdin=subprocess.DEVNULL):
        self.name = name
        self.log = os.path.join(folder, name + ".log")
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, cwd=folder,
                                             preexec_fn=_end_with_parent)
        self.pid = self._process.pid

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def check(self):
        """Fails when the program has ended."""
        if self._process.poll() is not None:
            raise Failure(f"{self.name} has ended with {self._process.returncode}; it said:\n{self.said()[-2000:]}")
        return True

    def wait_said(self, text):
        """The first line of what it said that holds `text`."""
        def find():
            self.check()
            return next((line for line in self.said().split("\n")[:-1] if text in line), None)
        return wait_for(find, f"{self.name} to say {text!r}")

    def cpu(self):
        """Processor time in seconds, user and system, of its children that run too."""
        total = 0
        for pid in [self.pid] + self._children():
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def _children(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as children:
            return [int(pid) for pid in children.read().split()]

    def resident(self):
        """Resident memory in bytes."""
        total = 0
        for pid in [self.pid] + self._children():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as rollup:
                total += next(int(line.split()[1]) for line in rollup if line.startswith("Rss:"))
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
