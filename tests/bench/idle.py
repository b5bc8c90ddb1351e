# SPDX-License-Identifier: Apache-2.0
"""Very many conversations that say nothing: what they cost, and what newcomers notice of them."""

import contextlib
import statistics
import time

from processes import Failure
from servers import exchange


@contextlib.contextmanager
def crowd(pair, count):
    """So many conversations that have said something once."""
    clients = []
    try:
        for _ in range(count):
            clients.append(exchange(pair.addresses["Echo"]))
        yield clients
    except OSError as error:
        raise Failure(f"{count} idle conversations through {pair.name}: {error}") from error
    finally:
        for client in clients:
            client.close()


class Idle:
    """Memory, processor time, and a newcomer's wait."""

    about = "idle conversations"
    NEWCOMERS = 200
    rows = (("memory for each, bytes", "each", 1), ("memory before them, MB", "base", 1e-6),
            ("of it not shared with others, MB", "private", 1e-6), ("processor, percent", "load", 100),
            ("a newcomer's wait, median, ms", "median", 1), ("a newcomer's wait, p99, ms", "p99", 1))

    def run_alone(self, pair, servers, options, seconds):
        with pair.start(servers):
            with crowd(pair, 100):
                pass  # what the first ones cost is the pair's own
            base, private = pair.resident(), pair.private()
            with crowd(pair, min(options.idle_count, options.most[pair.name])) as clients:
                each = (pair.resident() - base) / len(clients)
                load = self.load(pair, seconds)
                waits = [self.wait(pair) for _ in range(self.NEWCOMERS)]
                for client in clients[::97]:
                    exchange(None, client)
                pair.check()
        return {"count": len(clients), "base": base, "private": private, "each": each, "load": load,
                "median": statistics.median(waits), "p99": statistics.quantiles(waits, n=100)[98], "worst": max(waits)}

    @staticmethod
    def load(pair, seconds):
        """Processors that it takes while nothing is to happen."""
        before, start = pair.cpu(), time.monotonic()
        time.sleep(seconds)
        return (pair.cpu() - before) / (time.monotonic() - start)

    @staticmethod
    def wait(pair):
        """Milliseconds of a newcomer, to its first answer."""
        start = time.monotonic()
        exchange(pair.addresses["Echo"]).close()
        return (time.monotonic() - start) * 1000


WORKLOADS = {"idle": Idle()}
TABLE = "requests and bulk"
