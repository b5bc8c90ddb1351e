# SPDX-License-Identifier: Apache-2.0
"""Segments that are down, lost or stopped, seen by a client of several servers."""

import signal
import time
import unittest

import fanout
import pair
from fanout import MODES
from pair import MIB, PATTERN, scaled


class Segments(fanout.Case):
    def test_segment_that_is_down_is_left_out(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode)
                fan.lose(1)
                mark = fan.controller.mark()
                client = fan.connect()
                self.works(mode, client, self.meet([stages[0], stages[2]]))
                record = fan.controller.wait_conversation(mark, mode=fanout.word(mode), legs="2")
                self.assertEqual(sorted(number for number, _ in fan.ends(record)), [0, 2])

    def test_segment_that_never_was_there_is_left_out(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode, 2)
                controller = fan.front(addresses=[fanout.refusing(), *fan.addresses])
                controller.wait_log(lambda r: r.subject == "link" and r.message == "cannot be made", "its absence")
                client = self.connect(controller.address())
                self.works(mode, client, self.meet(stages))
                controller.wait_conversation(mode=fanout.word(mode), legs="2")

    def test_segment_that_is_back_is_one_of_them_again(self):
        fan, stages = self.played("full duplex")
        fan.lose(0)
        self.works("full duplex", fan.connect(), self.meet(stages[1:]))
        fan.revive(0)
        self.works("full duplex", fan.connect(), self.meet(stages))

    def test_client_is_reset_after_connect_timeout_when_all_segments_are_down(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, _ = self.played(mode, text="connect_timeout=700 ms")
                fan.lose(0, 1, 2)
                start = time.monotonic()
                with fan.connect() as client:
                    self.assertEqual(client.read_to_end()[:2], ("reset", 0))
                self.assertGreater(time.monotonic() - start, 0.6)
                fan.controller.wait_conversation(end="no-segment", mode=fanout.word(mode))

    def test_client_is_served_when_a_segment_comes_back_in_time(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="connect_timeout=60 s")
                fan.lose(0, 1, 2)
                client = fan.connect()
                self.assertFalse(client.readable(0.2))
                fan.revive(1)
                self.works(mode, client, self.meet(stages[1:2]))

    def test_segment_that_is_killed_before_its_server_said_a_byte_is_a_leg_less(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="resume=0")
                client = fan.connect().send(b"early ")
                legs = self.meet(stages)
                self.all_read(legs, b"early ")
                fan.lose(2)
                self.works(mode, client, legs[:2])
                record = fan.controller.wait_conversation(mode=fanout.word(mode), legs="3", end="client-fin/server-fin")
                self.assertEqual(dict(fan.ends(record))[2], "link-lost")

    def test_segment_of_the_winner_is_killed_and_the_client_is_reset(self):
        fan, stages = self.played("half duplex", text="resume=0")
        client = fan.connect()
        legs = self.meet(stages)
        legs[1].send(b"x")
        client.read_exact(1)
        fan.lose(1)
        self.assertEqual(client.read_to_end()[:2], ("reset", 0))
        record = fan.controller.wait_conversation(end="link-lost", server=fan.names[1])
        self.assertEqual(dict(fan.ends(record))[1], "winner")

    def test_segment_of_a_loser_is_killed_and_nobody_cares(self):
        fan, stages = self.played("half duplex")
        client = fan.connect()
        legs = self.meet(stages)
        legs[1].send(b"x")
        client.read_exact(1)
        self.all_end([legs[0], legs[2]], "reset")
        fan.lose(0, 2)
        client.send(b"y").finish()
        self.assertEqual(legs[1].read_to_end()[:2], ("fin", 1))
        legs[1].finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def test_segment_that_is_killed_between_the_answers_makes_the_end_a_reset(self):
        fan, stages = self.played("full duplex", text="resume=0")
        client = fan.connect()
        legs = self.meet(stages)
        legs[0].send(b"half of an answer")
        client.read_exact(17)
        fan.lose(0)
        for leg in legs[1:]:
            leg.send(b"answer")
            self.assertEqual(client.read_exact(6), b"answer")
        client.send(b"more").finish()
        self.all_end(legs[1:], "fin", 4)
        for leg in legs[1:]:
            leg.send(b"last").finish()
        self.assertEqual(client.read_to_end()[:2], ("reset", 8))
        record = fan.controller.wait_conversation(end="link-lost", legs="3")
        self.assertEqual(sorted(fan.ends(record)), [(0, "link-lost"), (1, "fin"), (2, "fin")])

    def test_client_is_reset_when_the_last_segment_is_killed(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="resume=0")
                client = fan.connect().send(b"x")
                self.all_read(self.meet(stages), b"x")
                fan.lose(0, 1)
                self.assertFalse(client.readable(0.1))
                fan.lose(2)
                self.assertEqual(client.read_to_end()[:2], ("reset", 0))
                fan.controller.wait_conversation(end="link-lost")

    def test_stopped_segment_does_not_hold_up_a_race(self):
        fan, stages = self.played("half duplex", text="connect_timeout=60 s")
        self.stop(fan.segments[0])
        for _ in range(20):
            self.works("half duplex", fan.connect(), self.meet(stages[1:]))

    def test_stopped_segment_is_given_up_after_connect_timeout(self):
        for mode in MODES[1:]:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="connect_timeout=1 s")
                self.stop(fan.segments[2])
                self.works(mode, fan.connect(), self.meet(stages[:2]))
                record = fan.controller.wait_conversation(mode=fanout.word(mode))
                self.assertEqual(sorted(fan.ends(record)), [(0, "fin"), (1, "fin"), (2, "connect-timeout")])

    def test_segment_that_stops_in_the_middle_goes_on_where_it_was(self):
        size = scaled(4 * MIB)
        fan, stages = self.played("publish")
        client = fan.connect().send_pattern(1000)
        legs = self.meet(stages)
        intakes = [fanout.Intake(leg) for leg in legs]
        intakes[0].wait(1000)
        fan.segments[0].signal(signal.SIGSTOP)
        try:
            client.send(PATTERN.bytes(size)[1000:]).finish()
            expected = pair.Ending("fin", size, PATTERN.sha256(size))
            self.assertEqual([intake.end() for intake in intakes[1:]], [expected] * 2)
        finally:
            fan.segments[0].signal(signal.SIGCONT)
        self.assertEqual(intakes[0].end(), expected)
        for leg in legs:
            leg.finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))


if __name__ == "__main__":
    unittest.main()
