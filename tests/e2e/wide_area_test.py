# SPDX-License-Identifier: Apache-2.0
# exclusive: measured
"""A link over a wide area: how many round trips a request takes, and a black hole in the middle of conversations.

RESUME_BLACK_HOLE: seconds that the black hole lasts at least; then the conversation must go on within a second of its
end, which otherwise is left to how busy the machine is.
"""

import os
import threading
import time
import unittest

import pair
from fanout import Intake
from wide_area import FAR, WideArea

BLACK_HOLE = float(os.environ.get("RESUME_BLACK_HOLE", "0"))
NOTICED = 15  # seconds until both ends have taken a silent link for lost, at most
# Seconds from its end until a conversation goes on, at most: half of one until the next link is tried, and then what is
# replayed comes first. TCP would try the old link again after 3 to 12.
GONE_ON = 1 if BLACK_HOLE else 2.5


class WideAreaCase(pair.Case):

    def wide_area(self, **options):
        self.wide = self.enterContext(WideArea(**options))

    def wide_pair(self, serve):
        """A segment and a backend at the far end, a controller at the near one."""
        with self.wide.far.inside():
            self.far_backend = self.backend(serve)
        self.far_segment = self.segment(f"[Orders]\nbind=tcp://{FAR}:0\nserver={self.far_backend.url}\n",
                                        prefix=self.wide.far.prefix)
        self.near_controller = self.controller(
            f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={self.far_segment.address()}\n", prefix=self.wide.near.prefix)
        self.near_controller.wait_link()
        self.links(self.near_controller, self.far_segment)

    def near_client(self, url=None):
        with self.wide.near.inside():
            return self.connect(url or self.near_controller.address())


class RoundTrips(WideAreaCase):

    def setUp(self):
        super().setUp()
        self.wide_area(delay_ms=200)

    def measured(self):
        """Seconds that a round trip takes, over a connection that was there before."""
        with self.wide.far.inside():
            server = self.backend(pair.echo, url=f"tcp://{FAR}:0")
        return min(pair.round_trips(self.near_client(server.url), 3))

    def request(self):
        """Seconds from before the connection to the answer, each with a connection of its own."""
        start = time.monotonic()
        with self.near_client() as client:
            self.assertEqual(client.exchange(b"request"), b"request")
            return time.monotonic() - start

    def test_first_request_and_later_ones_take_one_round_trip_each(self):
        self.wide_pair(pair.echo)
        round_trip = self.measured()
        self.assertGreaterEqual(round_trip, 0.4)
        for number in range(5):
            self.assertLess(self.request(), 2 * round_trip, f"request {number}")


class BlackHole(WideAreaCase):

    SIZE = 64 * pair.MIB

    def setUp(self):
        super().setUp()
        self.wide_area(delay_ms=7, rate_mbit=200)

    def serve(self, peer):
        first = peer.read_exact(1)
        if first == b"d":
            peer.send_pattern(self.SIZE).finish().read_to_end()
            return None
        if first == b"u":
            return peer.read_to_end()
        return pair.echo(peer)

    def test_conversations_go_on_soon_after_its_end(self):
        self.wide_pair(self.serve)
        talker, down, up = (self.near_client() for _ in range(3))
        talker.send(b"e").exchange(b"before")
        sender = threading.Thread(target=lambda: up.send(b"u").send_pattern(self.SIZE).finish(), daemon=True)
        sender.start()
        received = Intake(down.send(b"d"))
        received.wait(self.SIZE // 4)
        self.wide.black_hole(True)
        start = time.monotonic()
        self.assertIsNone(received.ending, "the download was over before")
        self.assertTrue(sender.is_alive(), "the upload was over before")
        for daemon in (self.near_controller, self.far_segment):
            daemon.wait_log(lambda r: r.message.startswith("lost"), "the loss")
        noticed = time.monotonic() - start
        self.assertLess(noticed, NOTICED * pair.PATIENCE)
        talker.send(b"meanwhile")
        pair.window(max(0, BLACK_HOLE - noticed))
        self.assertFalse(talker.readable(0))
        self.wide.black_hole(False)
        end = time.monotonic()
        self.assertEqual(talker.read_exact(9), b"meanwhile")
        after = time.monotonic() - end
        if BLACK_HOLE:
            print(f"\nblack hole: {end - start:.1f} s, noticed after {noticed:.1f} s, gone on {after * 1000:.0f} ms "
                  "after its end")
        self.assertLess(after, GONE_ON * pair.PATIENCE)
        sender.join(pair.DEADLINE * pair.PATIENCE)
        whole = ("fin", self.SIZE, pair.PATTERN.sha256(self.SIZE))
        self.assertEqual(received.end(), whole)
        self.assertEqual(self.far_backend.outcome(), whole)
        self.assertEqual(talker.exchange(b"after"), b"after")
        for daemon in (self.near_controller, self.far_segment):
            daemon.wait_log(lambda r: r.message.startswith("resumed"), "resumed")


if __name__ == "__main__":
    unittest.main()
