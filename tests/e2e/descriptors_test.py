# SPDX-License-Identifier: Apache-2.0
"""A process that runs out of descriptors: the old conversations live, new ones wait, nothing spins."""

import unittest

import pair

LIMIT = 64
CLIENTS = 100


class Descriptors(pair.Case):

    def crowd(self, url, count):
        return [self.connect(url).send(b"hello") for _ in range(count)]

    def served(self, clients):
        """The clients that have their echo."""
        return [client for client in clients if client.readable(0)]

    def settled(self, clients):
        """Waits until the number of served clients grows no more, and returns them."""
        state = [len(self.served(clients)), 0]

        def stable():
            count = len(self.served(clients))
            state[:] = [count, state[1] + 1 if count == state[0] else 0]
            return state[0] > 0 and state[1] >= 10
        pair.wait_for(stable, "a standstill")
        return self.served(clients)

    def exhaust(self, limits):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url, controller="connect_timeout=60 s", segment="connect_timeout=60 s", **limits)
        daemon = both.controller if "controller_args" in limits else both.segment
        clients = self.crowd(both.url, CLIENTS)
        old = self.settled(clients)
        self.assertGreater(len(old), 10)
        self.assertLess(len(old), LIMIT)
        waiting = [client for client in clients if client not in old]
        # Out of descriptors it must not spin, and says what is the matter, but not again and again.
        self.assertLess(min(daemon.load(0.3) for _ in range(3)), 0.05)
        said = daemon.wait_log(lambda r: "descriptor" in r.line and r.level in ("warning", "error"), "descriptors")
        self.assertLess(len(daemon.find(lambda r: r.level == said.level and "descriptor" in r.line)), 50)
        # The old ones are not touched.
        for client in old:
            self.assertEqual(client.read_exact(5), b"hello")
            self.assertEqual(client.exchange(b"again"), b"again")
        # The new ones wait, and each is served when there is room.
        while waiting:
            for client in old:
                client.close()
            old = pair.wait_for(lambda: self.served(waiting), "the next ones to be served")
            for client in old:
                self.assertEqual(client.read_exact(5), b"hello")
            waiting = [client for client in waiting if client not in old]
        for client in old:
            client.close()
        with both.connect() as client:
            self.assertEqual(client.exchange(b"after"), b"after")

    def test_controller(self):
        self.exhaust({"controller_args": {"limit": LIMIT}})

    def test_segment(self):
        self.exhaust({"segment_args": {"limit": LIMIT}})

    def test_segment_still_takes_a_controller_while_its_streams_hold_the_rest(self):
        """Nobody who floods a segment with streams can keep the link of another controller away for good."""
        backend = self.backend(pair.echo)
        both = self.pair(backend.url, segment_args={"limit": LIMIT}, controller="connect_timeout=60 s",
                         segment="connect_timeout=60 s")
        clients = self.crowd(both.url, CLIENTS)
        old = self.settled(clients)
        other = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={both.link_url}\n", name="other")
        for client in old + clients:
            client.close()
        other.wait_link()
        self.links(other, both.segment)
        with self.connect(other.address()) as client:
            self.assertEqual(client.exchange(b"x"), b"x")

    def test_soft_limit_is_raised_to_the_hard_one(self):
        both = self.pair("builtin:echo")
        with open(f"/proc/{both.controller.pid}/limits", encoding="ascii") as limits:
            soft, hard = [line.split()[3:5] for line in limits if line.startswith("Max open files")][0]
        self.assertEqual(soft, hard)

    def test_low_limit_is_logged_at_start(self):
        daemon = self.segment("[S]\nbind=tcp://127.0.0.1:0\nserver=builtin:echo\n", limit=LIMIT)
        self.assertTrue(daemon.find(lambda r: "descriptor" in r.line and str(LIMIT) in r.line), daemon.output())

    def test_clients_that_give_up_in_the_backlog_are_no_trouble(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url, controller_args={"limit": LIMIT})
        clients = self.crowd(both.url, CLIENTS)
        old = self.settled(clients)
        for client in clients:
            if client not in old:
                client.reset()
        for client in old:
            self.assertEqual(client.read_exact(5), b"hello")
            self.assertEqual(client.exchange(b"again"), b"again")
            client.close()
        with both.connect() as client:
            self.assertEqual(client.exchange(b"after"), b"after")


if __name__ == "__main__":
    unittest.main()
