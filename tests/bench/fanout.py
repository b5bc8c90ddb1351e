# SPDX-License-Identifier: Apache-2.0
"""Our fan-out beside our own one-to-one: a controller with one segment and with three, and what is asked of both."""

import contextlib
import itertools
import os
import re
import socket
import statistics
import time

from legs import ANSWER, QUESTION
from processes import DEADLINE, Failure
from proxies import Cloudbus
from servers import MOST_LEGS
from workloads import Requests, measured

# How a leg may end. Any other word in the controller's log, "lagging" for one, means that there were fewer legs.
GOOD_ENDS = {"fin", "winner", "lost-race", "open"}


class Legs(Cloudbus):
    """A controller with `legs` segments, one thread each and a link to each, everything else at its default."""

    MODES = {"Web": "half duplex", "Echo": "half duplex", "First": "half duplex", "Sink": "publish"}

    def __init__(self, options):
        super().__init__(options)
        self.front = None  # the controller
        self._read = 0  # bytes of its log

    def launch(self, servers):
        common = {service: servers[service] for service in ("Web", "Echo")}
        links = [self.segment(f"segment{number + 1}", {**common, **self.servers.legs[number]})
                 for number in range(self.legs)]
        several = self.legs > 1
        self.front = self.controller(links, {service: f"mode = {mode}\n" if several else "" for service, mode in
                                             self.MODES.items()})

    def check_legs(self):
        """Fails when a conversation has had fewer legs than it should: its figures would be too good."""
        with open(self.front.log, "rb") as log:
            log.seek(self._read)
            text = log.read()
        text = text[:text.rfind(b"\n") + 1]
        self._read += len(text)
        for legs, ends in re.findall(r' legs=(\d+) ends="([^"]*)"', text.decode()):
            if int(legs) != self.legs or not GOOD_ENDS.issuperset(end.rsplit("=", 1)[1] for end in ends.split()):
                raise Failure(f"not all legs of a conversation through {self.name} lasted: {ends}")
        if b"lags behind" in text:
            raise Failure(f"a leg of {self.name} was dropped for lag")


class OneLeg(Legs):
    name, legs = "1 leg", 1


class ThreeLegs(Legs):
    name, legs = "3 legs", MOST_LEGS


PAIRS = {pair.name: pair for pair in (OneLeg, ThreeLegs)}


def measured_legs(pair, action):
    """As `measured`, with the controller's own processor time too."""
    before = pair.front.cpu()
    figures = measured(pair, action)
    figures["controller"] = pair.front.cpu() - before
    figures["controller_each"] = figures["controller"] * 1e6 / figures["count"]
    pair.check_legs()
    return figures


class Publish:
    """One client sends as fast as it can, the sinks take it; the rate is in gigabits of the client's a second."""

    pairs = tuple(PAIRS)
    rows = (("Gbit/s", "rate", 1), ("the controller's CPU for each GB, s", "controller_each", 1e-6),
            ("CPU for each GB, s", "cpu_each", 1e-6))
    about = "1 stream, client to servers, publish to 3"
    PIECE = bytes(128 * 1024)

    def run(self, pair, _, seconds):
        ended = len(pair.servers.taken())

        def load():
            start = time.monotonic()
            sent = self.send(pair, start + seconds)
            return {"rate": sent * 8 / 1e9 / (time.monotonic() - start), "count": sent / 1e9}
        figures = measured_legs(pair, load)
        taken = pair.servers.taken()[ended:]
        if taken != [round(figures["count"] * 1e9)] * pair.legs:
            raise Failure(f"of {figures['count']} GB through {pair.name} the sinks have taken {taken} bytes")
        return figures

    def send(self, pair, deadline):
        """How many bytes; all sinks have taken them."""
        sent = 0
        try:
            with socket.create_connection(pair.addresses["Sink"], timeout=DEADLINE) as client:
                while time.monotonic() < deadline:
                    sent += client.send(self.PIECE)
                client.shutdown(socket.SHUT_WR)
                if client.recv(1):
                    raise Failure(f"an answer of a sink came through {pair.name}")
        except OSError as error:
            raise Failure(f"bytes through {pair.name}: {error}") from error
        return sent


@contextlib.contextmanager
def cores_apart(process):
    """This process and another on different cores, where there are two."""
    cores = os.sched_getaffinity(0)
    own = {min(cores)}
    os.sched_setaffinity(0, own)
    os.sched_setaffinity(process.pid, cores - own or own)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        os.sched_setaffinity(process.pid, cores)


class FirstByte:
    """One conversation after the other: from just before a server's first byte is sent until the client has it."""

    pairs = tuple(PAIRS)
    rows = (("median latency, us", "median", 1), ("p99 latency, us", "p99", 1))
    numbers = itertools.count()

    def __init__(self, about, is_apart):
        self.about, self.is_apart = about, is_apart

    def run(self, pair, _, seconds):
        with cores_apart(pair.front) if self.is_apart else contextlib.nullcontext():
            return self.measure(pair, seconds)

    def measure(self, pair, seconds):
        def load():
            start, waits = time.monotonic(), []
            while time.monotonic() < start + seconds or len(waits) < 2:
                waits.append(self.converse(pair, next(self.numbers)))
            return {"rate": len(waits) / (time.monotonic() - start), "count": len(waits),
                    "median": statistics.median(waits), "p99": statistics.quantiles(waits, n=100)[98]}
        return measured_legs(pair, load)

    @staticmethod
    def converse(pair, number):
        """Microseconds."""
        try:
            with socket.create_connection(pair.addresses["First"], timeout=DEADLINE) as client:
                client.sendall(QUESTION.pack(number, pair.legs))
                answer = client.recv(2 * ANSWER.size)
                now = time.monotonic_ns()
                client.shutdown(socket.SHUT_WR)
                if len(answer) != ANSWER.size or client.recv(1):
                    raise Failure(f"{len(answer)} bytes came through {pair.name}, or some after them")
        except OSError as error:
            raise Failure(f"no answer through {pair.name}: {error}") from error
        answered, sent = ANSWER.unpack(answer)
        if answered != number:
            raise Failure(f"an answer to another question came through {pair.name}")
        return (now - sent) / 1000


class FanoutRequests(Requests):
    """The small requests of the other comparison, half duplex to three."""

    pairs = tuple(PAIRS)

    def __init__(self, about, clients, close=False):
        super().__init__(about, clients, close)
        self.rows = (self.rate, ("the controller's CPU for each request, us", "controller_each", 1), self.cpu)

    def run(self, pair, options, seconds):
        return measured_legs(pair, lambda: super(FanoutRequests, self).run(pair, options, seconds))


WORKLOADS = {
    "fanout": Publish(),
    "fanout-first-byte": FirstByte("from the server's first byte to the client, half duplex with 3", False),
    "fanout-first-byte-apart": FirstByte("the same, client and controller on cores of their own", True),
    "fanout-keepalive": FanoutRequests("64 clients, connections kept, half duplex to 3", 64),
    "fanout-connections": FanoutRequests("64 clients, a connection for each request, half duplex to 3", 64, close=True),
}
TABLE = "fan-out"
