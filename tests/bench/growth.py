# SPDX-License-Identifier: Apache-2.0
"""What a request costs as clients become more, and as idle conversations do. All are streams of one link.

The cost is that of requests alone: it is measured in a window in the middle, when all clients are there and each has had
answers. The web server counts the requests of the window.
"""

import contextlib
import time

from clients import Wrk
from idle import crowd
from processes import Failure, wait_for

ACTIVE = 64


class Growth:
    """So many clients that keep their connections, beside so many idle conversations."""

    # So many clients connect at once, while those before them pause: no listener has more than the kernel lets wait.
    AT_ONCE = 1000
    LEAD = 60  # seconds after which a wrk would end by itself
    rows = (("CPU for each request, us", "cpu_each", 1), ("requests/s", "rate", 1))

    def __init__(self, about, clients, idle=0):
        self.about, self.clients, self.idle = about, clients, idle

    def run(self, pair, options, seconds):
        most = options.most[pair.name]
        idle = min(self.idle, most - ACTIVE)
        clients = min(self.clients, most)
        with contextlib.ExitStack() as stack:
            wait_for(lambda: pair.servers.requests()[1] == 1, "the connections of earlier clients to end")
            if idle > 0:
                stack.enter_context(crowd(pair, idle))
            loads = []
            for begun in range(0, clients, self.AT_ONCE):
                count = min(self.AT_ONCE, clients - begun)
                loads.append(stack.enter_context(Wrk(pair, options, count, seconds + self.LEAD)))
                wait_for(lambda wanted=begun + count: pair.servers.requests()[1] > wanted,
                         f"{begun + count} clients through {pair.name}")
                loads[-1].pause()
            for load in loads:
                load.go_on()
            begun = pair.servers.requests()[0]
            wait_for(lambda: pair.servers.requests()[0] > begun + 2 * clients, f"answers for all through {pair.name}")
            figures = self.window(pair, seconds)
            if not all(load.is_running() for load in loads):
                raise Failure(f"wrk ended before the window of {seconds} s through {pair.name}")
            for load in loads:
                load.interrupt()
            for load in loads:
                load.figures()
        return {"clients": clients, "idle": idle, **figures}

    @staticmethod
    def window(pair, seconds):
        def now():  # the server may take its time for an answer: the rest is looked at right behind it
            return pair.servers.requests()[0], pair.cpu(), time.monotonic()
        begin = now()
        time.sleep(seconds)
        count, cpu, span = (after - before for before, after in zip(begin, now()))
        pair.check()
        figures = {"count": count, "rate": count / span}
        if pair.processes:
            figures.update(cpu=cpu, cpu_each=cpu * 1e6 / count)
        return figures


# The curves of a drawing: what each is of, its axis, and the workload of each value on it.
CURVES = {
    "clients": ("clients that keep their connections",
                {count: f"growth-{count}" for count in (1, 10, 100, 1000, 10_000)}),
    "idle": (f"idle conversations beside {ACTIVE} clients",
             {count: f"growth-idle-{count}" for count in (0, 100, 1000, 10_000)}),
}
WORKLOADS = {
    **{name: Growth(f"{count:,} clients, connections kept", count) for count, name in CURVES["clients"][1].items()},
    **{name: Growth(f"{ACTIVE} clients beside {count:,} idle conversations", ACTIVE, count)
       for count, name in CURVES["idle"][1].items()},
}
TABLE = "growth"
