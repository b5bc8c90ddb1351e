# SPDX-License-Identifier: Apache-2.0
# exclusive: yes
"""Very many idle conversations: little memory, no work, and newcomers are served at once."""

import resource
import time
import unittest

import pair
from pair import KIB

WANTED = 10000
BYTES_EACH = 2 * KIB


class Idle(pair.Case):

    def crowd(self, link):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        count = min(WANTED, hard - 500)
        self.assertGreater(count, 0)
        both = self.pair(self.crowd_server(), link=link)
        # What the first ones cost is the daemon's own, not theirs.
        for _ in range(100):
            with pair.connect(both.url) as client:
                client.exchange(b"x" * 100)
        pair.wait_for(lambda: both.controller.connected() == 1, "the first ones' end")
        base = [daemon.rss() for daemon in both.both]
        clients = []
        for number in range(count):
            # A source address for each 10,000, so that ports do not run short.
            client = self.connect(both.url, source=(f"127.0.0.{2 + number // 10000}", 0))
            client.send(b"x" * 100)
            clients.append(client)
            if number % 50 == 49:
                for other in clients[-50:]:
                    self.assertEqual(len(other.read_exact(100)), 100)
        used = [daemon.rss() - before for daemon, before in zip(both.both, base)]
        each = sum(used) / count
        print(f"{count} idle conversations over {link}: {used[0] / count:.0f} bytes each in the controller, "
              f"{used[1] / count:.0f} in the segment")
        if not pair.SANITIZER:
            self.assertLessEqual(each, BYTES_EACH)
        pair.wait_for(lambda: all(daemon.load(0.3) < 0.01 for daemon in both.both), "no work", 20)
        times = []
        for _ in range(50):
            start = time.monotonic()
            with pair.connect(both.url) as client:
                client.exchange(b"hello")
                times.append(time.monotonic() - start)
        print(f"a newcomer is served in {pair.percentile(times, 0.5) * 1000:.2f} ms "
              f"(p99 {pair.percentile(times, 0.99) * 1000:.2f} ms)")
        self.assertLess(pair.percentile(times, 0.5), 1)
        # They are alive, every one.
        for client in clients[::97]:
            self.assertEqual(client.exchange(b"still"), b"still")

    def test_ten_thousand_idle_conversations(self):
        self.crowd("tcp4")


if __name__ == "__main__":
    unittest.main()
