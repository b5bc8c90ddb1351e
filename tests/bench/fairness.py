# SPDX-License-Identifier: Apache-2.0
"""Whether those who share a link, or the threads of a daemon, get their parts."""

from beside import Beside
from clients import Iperf3
from idle import crowd
from processes import Failure
from servers import exchange


class Shares:
    """iperf3 with several streams over one link."""

    rows = (("farthest from the mean share, percent", "deviation", 100), ("Gbit/s", "rate", 1))

    def __init__(self, about, streams):
        self.about, self.streams = about, streams

    def run(self, pair, _, seconds):
        return Iperf3(pair, self.streams, seconds).run()


class Spread:
    """Connections that all say the same: what part of the work the busiest of two threads has."""

    pairs = ("threads-2",)
    about = "1,000 connections over 2 threads, each with 20 exchanges"
    CONNECTIONS, EXCHANGES = 1000, 20
    rows = (("the busiest thread's part in the controller, percent", "controller", 100),
            ("the busiest thread's part in the segment, percent", "segment", 100))

    def run_alone(self, pair, servers, options, _):
        with pair.start(servers):
            daemons = {process.name: process for process in pair.processes}
            with crowd(pair, self.CONNECTIONS) as clients:
                before = {name: daemon.cpu_of_threads() for name, daemon in daemons.items()}
                for _ in range(self.EXCHANGES):
                    for client in clients:
                        exchange(None, client)
                pair.check()
                return {name: self.busiest(daemon, before[name]) for name, daemon in daemons.items()}

    @staticmethod
    def busiest(daemon, before):
        times = sorted(now - before[thread] for thread, now in daemon.cpu_of_threads().items() if thread in before)
        if len(times) < 2 or sum(times) == 0:
            raise Failure(f"{daemon.name} has {len(times)} threads")
        return times[-1] / sum(times)


WORKLOADS = {
    "fair8": Shares("8 bulk streams over one link", 8),
    "among64": Beside("one client with small requests beside 64 bulk streams", 64),
    "threads": Spread(),
}
TABLE = "services, threads and fairness"
