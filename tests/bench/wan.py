# SPDX-License-Identifier: Apache-2.0
"""The two sides of a pair in networks of their own, with a wide area between them: that of tests/e2e/wide_area.py.

Clients and the clients' side are near, the servers and their side are far. Each round of each pair has a new wide area.
"""

import contextlib
import os
import statistics
import sys
import time
import unittest

from clients import Iperf3
from processes import Failure
from servers import Servers, check_answers, exchange

E2E = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e")


def allow_buffers():
    """What is on its way fits into the kernel's buffers: 100 ms of 500 Mbit/s are more than its defaults."""
    for name, first in (("tcp_rmem", 131_072), ("tcp_wmem", 16_384)):
        with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as limits:
            limits.write(f"4096 {first} {32 << 20}")


@contextlib.contextmanager
def started(pair, options, properties):
    """The pair, and its servers, with a wide area between them; clients made meanwhile are near."""
    os.environ["CLOUDBUS_BUILD"] = os.path.abspath(options.build)  # where wan_link is
    if E2E not in sys.path:
        sys.path.append(E2E)
    import wide_area  # pylint: disable=import-outside-toplevel
    try:
        with wide_area.WideArea(**properties) as wide, contextlib.ExitStack() as stack:
            pair.options.wide, pair.options.between = wide, wide_area.FAR
            with wide.near.inside():
                allow_buffers()
            with wide.far.inside():
                allow_buffers()
                servers = Servers(stack.enter_context(options.new_folder()), wide_area.FAR)
            stack.callback(servers.stop)
            with pair.start(servers), wide.near.inside():
                check_answers(pair)
                yield
    except (unittest.SkipTest, AssertionError) as error:
        raise Failure(f"no wide area: {error}") from error


class Requests:
    """Small requests, one after the other, over a wide area."""

    pairs, link = ("cloudbus", "haproxy", "direct"), "tcp"
    COUNT = 200
    DELAY = 7  # ms, one way
    rows = (("median beyond a round trip, ms", "median", 1), ("p99 beyond a round trip, ms", "p99", 1))

    def __init__(self, about, is_first):
        self.about, self.is_first = about, is_first

    def run_alone(self, pair, _servers, options, _seconds):
        with started(pair, options, {"delay_ms": self.DELAY}):
            waits = [wait - 2 * self.DELAY for wait in self.waits(pair)]
            pair.check()
        return {"count": len(waits), "median": statistics.median(waits), "p99": statistics.quantiles(waits, n=100)[98]}

    def waits(self, pair):
        """Milliseconds."""
        address = pair.addresses["Echo"]
        client = None if self.is_first else exchange(address)
        try:
            for _ in range(self.COUNT):
                start = time.monotonic()
                connection = exchange(address, client)
                yield (time.monotonic() - start) * 1000
                if self.is_first:
                    connection.close()
        finally:
            if client:
                client.close()


class Bulk:
    """iperf3 from the server to the client, so that its intervals are what arrives."""

    link = "tcp"
    LEAST = 12  # seconds
    FULL = 0.9  # of what is had in the second half

    def __init__(self, about, streams, pairs, **properties):
        self.about, self.streams, self.pairs, self.properties = about, streams, pairs, properties
        self.rows = (("Mbit/s", "rate", 1000),)
        if streams == 1:
            self.rows += (("seconds until 90% of the second half's", "growth", 1),)

    def run_alone(self, pair, _servers, options, seconds):
        with started(pair, options, self.properties):
            figures = Iperf3(pair, self.streams, max(self.LEAST, 4 * seconds), reverse=True).run()
            pair.check()
        rates = figures["intervals"]
        full = self.FULL * statistics.median(rate for end, rate in rates[len(rates) // 2:])
        figures["growth"] = next(end for end, rate in rates if rate >= full)
        return figures


WORKLOADS = {
    "wan-first": Requests("the first request of a connection, from before it is made; round trip 14 ms", True),
    "wan-later": Requests("a later request of a connection; round trip 14 ms", False),
    "wan-bulk": Bulk("1 stream, server to client; round trip 100 ms, 500 Mbit/s", 1, ("cloudbus", "haproxy", "direct"),
                     delay_ms=50, rate_mbit=500),
    "wan-many": Bulk("100 streams, server to client; round trip 100 ms, 500 Mbit/s, 1% loss", 100,
                     ("cloudbus", "links-4", "haproxy", "direct"), delay_ms=50, rate_mbit=500, loss_percent=1),
}
TABLE = "wide area"
