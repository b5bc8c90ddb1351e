# SPDX-License-Identifier: Apache-2.0
"""What is asked of every pair: small requests and bulk.

A workload has `about`, what it is in a few words; `rows`, the lines of its table, each with a title, the key of a figure
and what the figure is multiplied by; and run(), which loads a pair for so many seconds and returns figures. It may also
have `pairs`, the names of those that it is for where they are not the ones of the command line, and `link`, the kind of
link that it is for. One with `run_alone` gets a pair that was not started, and nothing else stands meanwhile.
"""

from clients import Iperf3, Wrk


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
    """wrk with one thread."""

    rate = ("requests/s", "rate", 1)
    latency = ("median latency, us", "median", 1)
    cpu = ("CPU for each request, us", "cpu_each", 1)

    def __init__(self, about, clients, close=False, link=None):
        self.about, self.clients, self.close, self.link = about, clients, close, link
        self.rows = (self.latency if clients == 1 else self.rate, self.cpu)

    def run(self, pair, options, seconds):
        return measured(pair, Wrk(pair, options, self.clients, seconds, self.close).run)


class Bulk:
    """iperf3."""

    rows = (("Gbit/s", "rate", 1), ("CPU for each GB, s", "cpu_each", 1e-6))

    def __init__(self, about, streams, reverse):
        self.about, self.streams, self.reverse = about, streams, reverse

    def run(self, pair, _, seconds):
        return measured(pair, Iperf3(pair, self.streams, seconds, self.reverse).run)


WORKLOADS = {
    "keepalive": Requests("64 clients, connections kept", 64),
    "keepalive1000": Requests("1,000 clients, connections kept", 1000),
    "connections": Requests("64 clients, a connection for each request", 64, close=True),
    "one": Requests("one client, its connection kept", 1),
    "one-unix": Requests("one client, its connection kept, over a link that is a Unix socket", 1, link="unix"),
    "bulk1": Bulk("1 stream, client to server", 1, False),
    "bulk8": Bulk("8 streams, client to server", 8, False),
    "bulk1r": Bulk("1 stream, server to client", 1, True),
    "bulk8r": Bulk("8 streams, server to client", 8, True),
}
TABLE = "requests and bulk"
