# SPDX-License-Identifier: Apache-2.0
"""quorum and fanout: how many servers must have taken the client, and how many are asked."""

import collections
import contextlib
import threading
import time
import unittest

import fanout
import pair
from fanout import MODES
from pair import KIB, MIB, PATTERN, scaled


class Quorum(fanout.Case):

    def with_refusing(self, mode, refusing, text, **more):
        """A fan of three, the last of which refuse, and the stages of the others."""
        stages = [self.stage() for _ in range(3 - refusing)]
        servers = [stage.url for stage in stages] + [fanout.refusing() for _ in range(refusing)]
        return self.fan(servers, f"mode={mode}\n{text}", **more), stages

    def gets_nothing(self, stage):
        """A server that was dialled hears of no byte, only of the reset."""
        if stage.has_caller():
            self.assertEqual(stage.accept().read_to_end()[:2], ("reset", 0))

    def turned_away(self, fan):
        """A client that sends something, and is reset."""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError), fan.connect() as client:
            self.assertEqual(client.send(b"nobody shall read this").read_to_end()[:2], ("reset", 0))

    def test_client_is_reset_at_once_when_too_few_servers_are_to_be_had(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.with_refusing(mode, 2, "quorum=2\nconnect_timeout=60 s")
                start = time.monotonic()
                self.turned_away(fan)
                self.assertLess(time.monotonic() - start, 30)
                record = fan.controller.wait_conversation(end="no-quorum", down="0", mode=fanout.word(mode))
                self.assertEqual(sorted(fan.ends(record)), [(0, "no-quorum"), (1, "connect-failed"),
                                                            (2, "connect-failed")])
                self.assertEqual(record.fields["open"], "-")
                self.gets_nothing(stages[0])
                fan.segments[0].wait_conversation(end="no-quorum", up="0", id=record.fields["id"])

    def test_client_is_reset_after_connect_timeout_when_too_few_have_taken_it(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="quorum=2\nconnect_timeout=700 ms")
                self.stop(fan.segments[1])
                self.stop(fan.segments[2])
                start = time.monotonic()
                self.turned_away(fan)
                self.assertGreater(time.monotonic() - start, 0.6)
                record = fan.controller.wait_conversation(end="no-quorum", legs="3")
                self.assertEqual(dict(fan.ends(record))[0], "no-quorum")
                self.assertTrue(stages[0].has_caller())
                self.gets_nothing(stages[0])

    def test_client_is_reset_after_connect_timeout_when_the_segments_are_down(self):
        fan, stages = self.played("half duplex", text="quorum=2\nconnect_timeout=700 ms")
        fan.lose(0, 1)
        self.turned_away(fan)
        fan.controller.wait_conversation(end="no-quorum", up="0")
        self.gets_nothing(stages[2])

    def test_without_a_quorum_key_a_silent_segment_ends_in_connect_timeout(self):
        fan, _ = self.played("half duplex", text="connect_timeout=700 ms")
        for segment in fan.segments:
            self.stop(segment)
        self.assertEqual(fan.refusal(), ("reset", 0))
        fan.controller.wait_conversation(end="connect-timeout")

    def test_bytes_are_held_and_delivered_when_the_second_comes(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="quorum=2\nconnect_timeout=60 s")
                stops = [self.stop(fan.segments[1]), self.stop(fan.segments[2])]
                client = fan.connect().send(b"held ")
                first = stages[0].accept()
                self.assertFalse(first.readable(0.3), "bytes before the quorum")
                stops[1].close()
                legs = [first, stages[2].accept()]
                self.all_read(legs, b"held ")
                stops[0].close()
                # The third may come later still, and gets the same.
                legs.append(stages[1].accept())
                self.all_read(legs[2:], b"held ")
                self.works(mode, client, legs)
                record = fan.controller.wait_conversation(end="client-fin/server-fin", legs="3")
                for segment in fan.segments:
                    segment.wait_conversation(id=record.fields["id"])

    def test_segment_that_the_quorum_needs_is_awaited_though_it_is_down(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="quorum=2\nconnect_timeout=60 s")
                fan.lose(0, 1)
                client = fan.connect().send(b"held ")
                self.assertFalse(client.readable(0.2))
                fan.revive(1)
                legs = self.meet(stages[1:])
                self.all_read(legs, b"held ")
                self.works(mode, client, legs)

    def test_large_request_is_held_and_arrives_whole(self):
        size = scaled(16 * MIB)
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="quorum=3\nconnect_timeout=60 s")
                stop = self.stop(fan.segments[1])
                client = fan.connect()
                sender = threading.Thread(target=lambda c=client: c.send_pattern(size).finish())
                sender.start()
                legs = {number: stages[number].accept() for number in (0, 2)}
                self.assertFalse(legs[0].readable(0.3))
                self.assertFalse(legs[2].readable(0))
                stop.close()
                legs[1] = stages[1].accept()
                intakes = [fanout.Intake(leg) for leg in legs.values()]
                for intake in intakes:
                    self.assertEqual(intake.end(), pair.Ending("fin", size, PATTERN.sha256(size)))
                sender.join()
                for leg in legs.values():
                    leg.finish()
                self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def test_client_that_has_ended_before_the_quorum_is_served_all_the_same(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="quorum=3\nconnect_timeout=60 s")
                stop = self.stop(fan.segments[0])
                client = fan.connect().send(b"request").finish()
                legs = [stage.accept() for stage in stages[1:]]
                self.assertFalse(legs[0].readable(0.2))
                stop.close()
                legs.append(stages[0].accept())
                self.all_end(legs, "fin", 7)
                for leg in legs:
                    leg.finish()
                self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def test_client_that_gives_up_before_the_quorum_is_forgotten(self):
        fan, stages = self.played("half duplex", text="quorum=2\nconnect_timeout=60 s")
        self.stop(fan.segments[1])
        self.stop(fan.segments[2])
        client = fan.connect().send(b"never mind")
        self.assertTrue(stages[0].has_caller(pair.DEADLINE))
        client.reset()
        self.gets_nothing(stages[0])
        fan.controller.wait_conversation(end="client-reset")

    def test_client_that_is_gone_when_the_banners_may_be_delivered(self):
        for mode in MODES[:2]:
            for reset in (True, False):
                with self.subTest(mode, reset=reset):
                    fan, stages = self.played(mode, text="quorum=3\nconnect_timeout=60 s")
                    stop = self.stop(fan.segments[2])
                    client = fan.connect().send(b"request").finish()
                    legs = self.meet(stages[:2])
                    for leg in legs:
                        leg.send(PATTERN.bytes(100 * KIB))
                    pair.wait_for(lambda f=fan: f.controller.load(0.1) < 0.05, "a standstill")
                    client.reset() if reset else client.close()
                    stop.close()
                    for leg in legs:
                        self.assertTrue(leg.wait_broken(), "all servers are reset")
                    fan.controller.wait_conversation(end="client-reset")

    def test_banner_is_held_until_the_quorum(self):
        for mode in MODES[:2]:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="quorum=2\nconnect_timeout=60 s")
                stops = [self.stop(fan.segments[1]), self.stop(fan.segments[2])]
                client = fan.connect()
                first = stages[0].accept()
                first.send(b"220 ready\r\n")
                self.assertFalse(client.readable(0.3), "a banner before the quorum")
                stops[0].close()
                self.assertEqual(client.read_line(), b"220 ready\r\n")
                stops[1].close()
                if mode == "full duplex":
                    legs = [first] + [stage.accept() for stage in stages[1:]]
                    self.works(mode, client, legs)
                else:
                    self.all_end([stages[1].accept()], "reset")
                    self.works(mode, client, [first])
                    record = fan.controller.wait_conversation(server=fan.names[0])
                    self.assertEqual(dict(fan.ends(record))[0], "winner")

    def test_long_banners_are_held_until_the_quorum(self):
        """More than a window of each, before anybody may hear of it."""
        size = scaled(8 * MIB)
        fan, stages = self.played("full duplex", text="quorum=3\nconnect_timeout=60 s")
        stop = self.stop(fan.segments[2])
        client = fan.connect()
        legs = [stage.accept() for stage in stages[:2]]
        senders = [threading.Thread(target=lambda leg=leg: leg.send_pattern(size).finish()) for leg in legs]
        for sender in senders:
            sender.start()
        self.assertFalse(client.readable(0.3))
        stop.close()
        stages[2].accept().finish()
        ending = client.read_to_end()
        self.assertEqual(ending[:2], ("fin", 2 * size))
        for sender in senders:
            sender.join()

    def test_banner_of_a_server_that_fails_before_the_quorum_is_never_heard(self):
        fan, stages = self.played("full duplex", text="quorum=2\nconnect_timeout=60 s")
        stops = [self.stop(fan.segments[1]), self.stop(fan.segments[2])]
        client = fan.connect()
        first = stages[0].accept()
        first.send(b"half a banner")
        first.reset()
        fan.segments[0].wait_conversation(end="server-reset", down="13")
        self.assertFalse(client.readable(0.2))
        for stop in stops:
            stop.close()
        # No byte of the first reached the client: it was only a leg less.
        self.works("full duplex", client, [stage.accept() for stage in stages[1:]])

    def test_too_few_living_before_the_latch_reset_the_client(self):
        fan, stages = self.played("half duplex", text="quorum=2")
        client = fan.connect().send(b"request")
        legs = self.meet(stages)
        self.all_read(legs, b"request")
        legs[0].reset()
        fan.segments[0].wait_conversation(end="server-reset")
        self.assertFalse(client.readable(0.2), "two are enough")
        client.send(b"more")
        self.all_read(legs[1:], b"more")
        legs[1].reset()
        self.assertEqual(client.read_to_end()[:2], ("reset", 0))
        self.all_end(legs[2:], "reset")
        record = fan.controller.wait_conversation(end="no-quorum", legs="3")
        self.assertEqual(sorted(fan.ends(record)), [(0, "server-reset"), (1, "server-reset"), (2, "no-quorum")])
        fan.segments[2].wait_conversation(end="no-quorum", id=record.fields["id"])

    def test_after_the_latch_the_quorum_counts_no_more(self):
        fan, stages = self.played("half duplex", text="quorum=3")
        for _ in range(5):
            client = fan.connect()
            self.works("half duplex", client, self.meet(stages))

    def test_quorum_is_kept_by_every_thread(self):
        threads = {"controller_global": "threads=2"}
        fan, stages = self.with_refusing("full duplex", 1, "quorum=2", **threads)
        for _ in range(4):
            self.works("full duplex", fan.connect(), self.meet(stages))
        fan, _ = self.with_refusing("full duplex", 1, "quorum=3", **threads)
        for _ in range(4):
            self.assertEqual(fan.refusal(), ("reset", 0))
        fan.controller.wait_conversation(count=4, end="no-quorum")


class Legs(fanout.Case):
    """fanout=K: K of the servers, by `balance`, and the next one for one that cannot be had."""

    def test_two_of_three_by_each_policy(self):
        for balance in ("round robin", "least connections", "random", "hash", "first"):
            with self.subTest(balance):
                fan = self.numbered("full duplex", 3, f"fanout=2\nbalance={balance}")
                asked = [self.asked(fan.url) for _ in range(30)]
                self.assertEqual({len(set(servers)) for servers in asked}, {2})
                for record in fan.controller.wait_conversation(count=30, legs="2"):
                    self.assertEqual(len(fan.ends(record)), 2)
                counts = collections.Counter(number for servers in asked for number in servers)
                print(balance, sorted(counts.items()), len(set(asked)), "sets")
                if balance == "round robin":
                    self.assertEqual(counts, {0: 20, 1: 20, 2: 20})
                elif balance == "first":
                    self.assertEqual(set(asked), {(0, 1)})
                elif balance == "hash":
                    self.assertEqual(len(set(asked)), 1)
                else:
                    self.assertEqual(set(counts), {0, 1, 2})

    def test_least_connections_asks_those_with_the_fewest(self):
        fan, stages = self.played("full duplex", 4, "fanout=2\nbalance=least connections")
        clients = [fan.connect() for _ in range(6)]
        # Twelve legs, three for each.
        legs = [[stage.accept() for _ in range(3)] for stage in stages]
        self.assertFalse(any(stage.has_caller() for stage in stages))
        for client in clients:
            client.finish()
        for leg in sum(legs, []):
            self.assertEqual(leg.read_to_end()[:2], ("fin", 0))
            leg.finish()
        for client in clients:
            self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def test_server_that_refuses_is_replaced_by_the_next(self):
        policies = {"round robin": 0, "least connections": 1, "random": 2, "hash": 0, "first": 1}
        for balance, mode in policies.items():
            with self.subTest(MODES[mode], balance=balance):
                stages = [self.stage() for _ in range(2)]
                fan = self.fan([fanout.refusing()] + [stage.url for stage in stages],
                               f"mode={MODES[mode]}\nfanout=2\nbalance={balance}")
                for _ in range(4):
                    self.works(MODES[mode], fan.connect(), self.meet(stages))
                replaced = 0
                for record in fan.controller.wait_conversation(count=4):
                    ends = dict(fan.ends(record))
                    self.assertEqual(ends.pop(0, "connect-failed"), "connect-failed")
                    self.assertEqual(set(ends), {1, 2})
                    replaced += record.fields["legs"] == "3"
                if balance == "first":
                    self.assertEqual(replaced, 4)

    def test_early_bytes_are_not_lost_on_the_replaced(self):
        size = scaled(2 * MIB)
        backends = [self.backend(pair.hold) for _ in range(2)]
        fan = self.fan([fanout.refusing(), fanout.refusing()] + [backend.url for backend in backends],
                       "mode=publish\nfanout=2\nbalance=first")
        for _ in range(10):
            with fan.connect() as client:
                client.send_pattern(size).finish()
                for backend in backends:
                    self.assertEqual(backend.outcome(), pair.Ending("fin", size, PATTERN.sha256(size)))
                self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def test_segment_that_is_down_is_replaced_by_the_next(self):
        fan = self.numbered("full duplex", 3, "fanout=2\nbalance=first")
        self.assertEqual(self.asked(fan.url), (0, 1))
        fan.lose(0)
        self.assertEqual({self.asked(fan.url) for _ in range(5)}, {(1, 2)})
        fan.revive(0)
        self.assertEqual(self.asked(fan.url), (0, 1))

    def test_more_failures_than_spares_leave_fewer_legs(self):
        stages = [self.stage()]
        fan = self.fan([fanout.refusing(), fanout.refusing(), stages[0].url], "mode=full duplex\nfanout=2")
        for _ in range(3):
            self.works("full duplex", fan.connect(), self.meet(stages))

    def test_quorum_of_some_is_reached_with_the_spares(self):
        stages = [self.stage() for _ in range(2)]
        fan = self.fan([fanout.refusing()] + [stage.url for stage in stages] + [fanout.refusing()],
                       "mode=full duplex\nfanout=2\nquorum=2\nbalance=first")
        for _ in range(3):
            self.works("full duplex", fan.connect(), self.meet(stages))
        stages = [self.stage()]
        fan = self.fan([fanout.refusing(), stages[0].url, fanout.refusing()],
                       "mode=full duplex\nfanout=2\nquorum=2\nbalance=first")
        self.assertEqual(fan.refusal(), ("reset", 0))
        fan.controller.wait_conversation(end="no-quorum")

    def test_one_of_three_is_asked(self):
        fan = self.numbered("full duplex", 3, "fanout=1")
        asked = [self.asked(fan.url) for _ in range(9)]
        self.assertEqual(collections.Counter(asked), {(0,): 3, (1,): 3, (2,): 3})


if __name__ == "__main__":
    unittest.main()
