# SPDX-License-Identifier: Apache-2.0
"""Very many services in one file: when they are to be had, and what memory they take."""

import time
import types

from processes import Failure
from servers import exchange


class Services:
    """A pair with so many services, and the same pair with one."""

    rows = (("start, s", "start", 1), ("start of the clients' side, s", "front", 1),
            ("memory beyond that of one service, MB", "memory", 1e-6))

    def __init__(self, count):
        self.count, self.about = count, f"{count:,} services in one file, up to an answer of the last"

    def run_alone(self, pair, servers, *_):
        one, many = self.started(pair, servers, 1), self.started(pair, servers, self.count)
        return {"start": many["start"], "front": many["front"], "memory": many["memory"] - one["memory"]}

    @staticmethod
    def started(pair, servers, count):
        names = [f"service{number + 1}" for number in range(count)]
        echoes = types.SimpleNamespace(addresses=dict.fromkeys(names, servers.addresses["Echo"]))
        with pair.start(echoes):
            try:
                exchange(pair.addresses[names[-1]]).close()
            except OSError as error:
                raise Failure(f"the last of {count} services through {pair.name}: {error}") from error
            *others, front = pair.processes
            took = time.monotonic() - front.began
            pair.check()
            return {"front": took, "start": took + sum(process.took for process in others), "memory": pair.resident()}


WORKLOADS = {"services": Services(10_000)}
TABLE = "services, threads and fairness"
