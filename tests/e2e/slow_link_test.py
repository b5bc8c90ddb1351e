# SPDX-License-Identifier: Apache-2.0
# exclusive: yes
"""A link that carries less than its streams have: who waits for whom."""

import threading
import unittest

import pair
from cutter import Cutter
from pair import KIB, MIB

RATE = 8 * MIB  # bytes a second


class SlowLink(pair.Case):

    def slow_pair(self, **services):
        """{name: address} of services with these lines, all over one slow link."""
        segment = self.segment("[Cloudbus]\nbind=tcp://127.0.0.1:0\n" + "".join(
            f"[{name}]\nserver={server}\n" for name, (server, _) in services.items()))
        self.cutter = Cutter(segment.listening()[0].fields["address"], rate=RATE)
        self.addCleanup(self.cutter.close)
        controller = self.controller("".join(f"[{name}]\nbind=tcp://127.0.0.1:0\nserver={self.cutter.url}\n{lines}\n"
                                             for name, (_, lines) in services.items()))
        controller.wait_link()
        self.links(controller, segment)
        return {name: controller.address(name) for name in services}

    def counting_sink(self):
        """A backend that counts what it takes: (backend, [bytes])."""
        counted = [0]

        def take(peer):
            while data := peer.receive():
                counted[0] += len(data)
        return self.backend(take), counted

    def keep_busy(self, url, move):
        """A client that calls `move` with its socket, in the background, until the test is over."""
        client = self.connect(url)

        def run():
            try:
                while True:
                    move(client.socket)
            except (OSError, EOFError):
                pass
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(client.close)

    def upload(self, url):
        """Sends without end."""
        self.keep_busy(url, lambda sock: sock.sendall(bytes(64 * KIB)))

    def download(self, url, counted):
        """Counts what comes, from a server that sends without end."""
        def take(sock):
            data = sock.recv(256 * KIB)
            if not data:
                raise EOFError
            counted[0] += len(data)
        self.keep_busy(url, take)

    def shares(self, first, last):
        """What both get while 8 MiB pass, once both move."""
        pair.wait_for(lambda: first[0] > 0 and last[0] > 0, "both to move")
        begin = first[0], last[0]
        pair.wait_for(lambda: first[0] - begin[0] + last[0] - begin[1] > 8 * MIB, "8 MiB")
        return first[0] - begin[0], last[0] - begin[1]

    def test_first_priority_gets_most_and_the_last_one_moves(self):
        one, first = self.counting_sink()
        other, last = self.counting_sink()
        urls = self.slow_pair(First=(one.url, "priority=-128"), Last=(other.url, "priority=127"))
        self.upload(urls["Last"])
        pair.wait_for(lambda: last[0] > MIB, "the last one to fill the link")
        self.upload(urls["First"])
        high, low = self.shares(first, last)
        print(f"{high} and {low} bytes")
        self.assertGreater(high, 2 * low)
        self.assertGreater(low, 0)

    def test_priority_counts_from_server_to_client_too(self):
        def flood(peer):
            while True:
                peer.send_pattern(MIB)
        backend = self.backend(flood)
        urls = self.slow_pair(First=(backend.url, "priority=-1"), Last=(backend.url, "priority=1"))
        first, last = [0], [0]
        self.download(urls["Last"], last)
        pair.wait_for(lambda: last[0] > MIB, "the last one to fill the link")
        self.download(urls["First"], first)
        high, low = self.shares(first, last)
        print(f"{high} and {low} bytes")
        self.assertGreater(high, 2 * low)
        self.assertGreater(low, 0)

    def test_streams_of_one_priority_share_alike(self):
        sinks = [self.counting_sink() for _ in range(4)]
        urls = self.slow_pair(**{f"Sink{number}": (sink.url, "") for number, (sink, _) in enumerate(sinks)})
        for url in urls.values():
            self.upload(url)
        counts = [counted for _, counted in sinks]
        pair.wait_for(lambda: all(counted[0] > MIB for counted in counts), "all to move")
        begin = [counted[0] for counted in counts]
        pair.wait_for(lambda: sum(counted[0] for counted in counts) - sum(begin) > 16 * MIB, "16 MiB")
        moved = [counted[0] - before for counted, before in zip(counts, begin)]
        print(moved)
        mean = sum(moved) / len(moved)
        for each in moved:
            self.assertLess(abs(each - mean), 0.2 * mean)

    def test_little_stands_before_a_small_request(self):
        sink, taken = self.counting_sink()
        urls = self.slow_pair(Bulk=(sink.url, ""), Fast=("builtin:echo", ""))
        for _ in range(4):
            self.upload(urls["Bulk"])
        pair.wait_for(lambda: taken[0] > 4 * MIB, "the link to be full")
        stood = []
        with pair.connect(urls["Fast"]) as client:
            for _ in range(20):
                before = self.cutter.passed
                self.assertEqual(client.exchange(b"x"), b"x")
                stood.append(self.cutter.passed - before)
        stood.sort()
        print(f"bytes before a request: {stood[10]} at the median, {stood[-1]} at most")
        self.assertLess(stood[10], 512 * KIB)


if __name__ == "__main__":
    unittest.main()
