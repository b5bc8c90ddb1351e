# SPDX-License-Identifier: Apache-2.0
"""What a client with small requests notices of bulk that goes the same way, over the same link."""

from clients import Iperf3, Wrk
from processes import Failure


class Beside:
    """One client that keeps its connection, first alone, then beside iperf3."""

    LEAD = 3  # seconds for which the bulk flows in any case, before and behind the requests
    rows = (("median latency, us", "median", 1), ("p99 latency, us", "p99", 1),
            ("times the median without bulk", "slower", 1), ("Gbit/s", "rate", 1))

    def __init__(self, about, streams):
        self.about, self.streams = about, streams

    def run(self, pair, options, seconds):
        alone = Wrk(pair, options, 1, 1).run()
        with Iperf3(pair, self.streams, seconds + self.LEAD) as bulk:
            bulk.wait_flowing()
            beside = Wrk(pair, options, 1, seconds).run()
            if not bulk.is_running():
                raise Failure(f"the bulk through {pair.name} ended before the requests")
            flowed = bulk.figures()
        pair.check()
        return {"rate": flowed["rate"], "median": beside["median"], "p99": beside["p99"], "alone": alone["median"],
                "slower": beside["median"] / alone["median"]}


WORKLOADS = {
    "mixed1": Beside("one client with small requests beside 1 bulk stream", 1),
    "mixed4": Beside("one client with small requests beside 4 bulk streams", 4),
}
TABLE = "latency beside bulk"
