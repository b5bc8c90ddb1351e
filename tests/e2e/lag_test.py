# SPDX-License-Identifier: Apache-2.0
# exclusive: yes
# sanitizers: yes
"""A server that lags behind the others: it is left out, it holds up nobody, and memory stays within lag_limit."""

import threading
import unittest

import fanout
import pair
from fanout import MODES
from pair import KIB, MIB, PATTERN, scaled

# The window of a leg, what is on its way to the links, and what an allocator keeps.
BESIDES = 12 * MIB


class Upload:
    """A client that sends the pattern, never far ahead of what all the healthy servers have: they do not lag."""

    def __init__(self, client, intakes, size, ahead, daemon):
        self.most = 0
        base = daemon.rss()
        sent = 0
        for chunk in PATTERN.chunks(size, min(ahead, 256 * KIB)):
            for intake in intakes:
                intake.wait(sent + len(chunk) - ahead)
            client.send(chunk)
            sent += len(chunk)
            self.most = max(self.most, daemon.rss() - base)
        client.finish()
        for intake in intakes:
            intake.wait(size)
        self.most = max(self.most, daemon.rss() - base)


class Lag(fanout.Case):

    def memory_within(self, used, allowed):
        print(f"controller: {used / MIB:.1f} MiB more, {allowed / MIB:.1f} MiB allowed")
        if not pair.SANITIZER:
            self.assertLessEqual(used, allowed)

    def one_that_does_not_read(self, mode, text, count=3):
        """A fan, its legs, and a client. The first server does not read."""
        stages = [self.stage(receive_buffer=4096)] + [self.stage() for _ in range(count - 1)]
        fan = self.fan([stage.url for stage in stages], f"mode={mode}\n{text}")
        client = fan.connect()
        return fan, client, self.meet(stages)

    def upload(self, mode, size, lag_limit, ahead, text, count=3):
        """An upload to several, one of which does not read; returns the client, the legs and their intakes."""
        fan, client, legs = self.one_that_does_not_read(mode, text, count)
        intakes = [fanout.Intake(leg) for leg in legs[1:]]
        upload = Upload(client, intakes, size, ahead, fan.controller)
        for intake in intakes:
            self.assertEqual(intake.end(), pair.Ending("fin", size, PATTERN.sha256(size)))
        self.memory_within(upload.most, lag_limit + BESIDES)
        warning = fan.controller.wait_log(lambda r: r.level == "warning" and r.subject == fan.service, "a warning")
        self.assertIn("lags behind", warning.message)
        self.assertEqual(warning.fields["server"], fan.names[0])
        self.assertGreater(int(warning.fields["behind"]), lag_limit)
        # It gets what was on its way before its reset.
        lagged = legs[0].read_to_end()
        self.assertEqual(lagged, pair.Ending("reset", lagged.size, PATTERN.sha256(lagged.size)))
        self.assertLess(lagged.size, size)
        if mode == "half duplex":
            legs[1].send(b"answer")
            self.assertEqual(client.read_exact(6), b"answer")
        for leg in legs[1:2] if mode == "half duplex" else legs[1:]:
            leg.finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        record = fan.controller.wait_conversation(up=str(size), id=warning.fields["id"], legs=str(count))
        ends = dict(fan.ends(record))
        self.assertEqual(ends.pop(0), "lagging")
        self.assertEqual(sorted(ends.values()), ["fin"] * (count - 1) if mode != "half duplex" else
                         ["lost-race"] * (count - 2) + ["winner"])
        fan.segments[0].wait_conversation(end="lagging", id=record.fields["id"])
        self.assertEqual(len(fan.controller.find(lambda r: r.level == "warning")), 1)

    def test_upload_of_256_megabytes_with_the_default_limit(self):
        for mode in ("publish", "half duplex"):
            with self.subTest(mode):
                self.upload(mode, scaled(256 * MIB, 4), 16 * MIB, 8 * MIB, "")

    def test_upload_of_256_megabytes_with_a_small_limit(self):
        self.upload("publish", scaled(256 * MIB, 4), MIB, 512 * KIB, "lag_limit=1M")

    def test_upload_with_a_small_limit_in_every_mode(self):
        for mode in MODES:
            with self.subTest(mode):
                self.upload(mode, 64 * MIB, MIB, 512 * KIB, "lag_limit=1M")

    def test_upload_with_the_smallest_limit(self):
        self.upload("publish", 16 * MIB, 64 * KIB, 32 * KIB, "lag_limit=64K")

    def test_upload_to_twelve(self):
        self.upload("publish", 32 * MIB, 2 * MIB, MIB, "lag_limit=2M", count=12)

    def test_upload_with_several_threads(self):
        stages = [self.stage(receive_buffer=4096), self.stage()]
        fan = self.fan([stage.url for stage in stages], "mode=publish\nlag_limit=1M", controller_global="threads=2",
                       segment_global="threads=2")
        size = 32 * MIB
        for _ in range(2):
            client = fan.connect()
            legs = self.meet(stages)
            intake = fanout.Intake(legs[1])
            Upload(client, [intake], size, 512 * KIB, fan.controller)
            self.assertEqual(intake.end(), pair.Ending("fin", size, PATTERN.sha256(size)))
            self.assertEqual(legs[0].read_to_end().how, "reset")
            legs[1].finish()
            self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def test_servers_that_keep_up_are_not_left_out_however_small_the_limit(self):
        size = scaled(128 * MIB, 8)
        for limit in ("64K", "1M", "16M"):
            for mode in MODES:
                with self.subTest(mode, limit=limit):
                    fan = self.fan(["builtin:discard"] * 3, f"mode={mode}\nlag_limit={limit}")
                    with fan.connect() as client:
                        client.send_pattern(size).finish()
                        self.assertEqual(client.read_to_end()[:2], ("fin", 0))
                    record = fan.controller.wait_conversation(up=str(size), end="client-fin/server-fin")
                    self.assertEqual(sorted(fan.ends(record)), [(number, "fin") for number in range(3)])
                    for segment in fan.segments:
                        segment.wait_conversation(up=str(size))

    def test_servers_that_keep_up_beside_one_that_does_not_read(self):
        size = scaled(256 * MIB, 4)
        for limit in ("64K", "16M"):
            with self.subTest(limit):
                stage = self.stage(receive_buffer=4096)
                fan = self.fan([stage.url, "builtin:discard", "builtin:discard"], f"mode=publish\nlag_limit={limit}")
                client = fan.connect()
                leg = stage.accept()
                base = fan.controller.rss()
                client.send_pattern(size).finish()
                self.assertEqual(client.read_to_end()[:2], ("fin", 0))
                self.memory_within(fan.controller.rss() - base, 16 * MIB + BESIDES)
                record = fan.controller.wait_conversation(up=str(size))
                self.assertEqual(sorted(fan.ends(record)), [(0, "lagging"), (1, "fin"), (2, "fin")])
                self.assertEqual(leg.read_to_end().how, "reset")

    def test_client_does_not_wait_for_the_end_of_its_request_at_a_slow_server(self):
        """All have answered. One that has not read the request gets it all the same, when it likes."""
        size = 8 * MIB
        fan, client, legs = self.one_that_does_not_read("full duplex", "")
        intakes = [fanout.Intake(leg) for leg in legs[1:]]
        client.send_pattern(size).finish()
        expected = pair.Ending("fin", size, PATTERN.sha256(size))
        self.assertEqual([intake.end() for intake in intakes], [expected] * 2)
        for leg in legs:
            leg.send(b"answer").finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 18))
        client.close()
        self.assertEqual(legs[0].read_to_end(), expected)

    def test_stopped_segment_lags_and_holds_up_nobody(self):
        size = 32 * MIB
        fan, stages = self.played("publish", text="lag_limit=1M")
        client = fan.connect()
        legs = self.meet(stages)
        # All are accepted before one is stopped.
        client.send_pattern(100)
        self.all_read(legs, PATTERN.bytes(100))
        stop = self.stop(fan.segments[0])
        intakes = [fanout.Intake(leg) for leg in legs[1:]]
        for chunk in PATTERN.chunks(size, 256 * KIB):
            target = intakes[0].size + len(chunk)
            client.send(chunk)
            for intake in intakes:
                intake.wait(target)
        fan.controller.wait_log(lambda r: r.level == "warning" and "lags behind" in r.message, "a warning")
        client.finish()
        for intake, leg in zip(intakes, legs[1:]):
            self.assertEqual(intake.end(), pair.Ending("fin", size, PATTERN.sha256(size)))
            leg.finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        stop.close()
        self.assertEqual(legs[0].read_to_end().how, "reset")

    def test_answers_of_a_laggard_make_the_end_a_reset(self):
        """Some of its bytes came, and the rest never will."""
        fan, client, legs = self.one_that_does_not_read("full duplex", "lag_limit=1M")
        legs[0].send(b"first half")
        self.assertEqual(client.read_exact(10), b"first half")
        intakes = [fanout.Intake(leg) for leg in legs[1:]]
        Upload(client, intakes, 32 * MIB, 512 * KIB, fan.controller)
        self.assertEqual(legs[0].read_to_end().how, "reset")
        for leg in legs[1:]:
            leg.send(b"answer").finish()
        self.assertEqual(client.read_to_end()[:2], ("reset", 12))
        record = fan.controller.wait_conversation(end="lagging")
        self.assertEqual(sorted(fan.ends(record)), [(0, "lagging"), (1, "fin"), (2, "fin")])

    # -- the last one

    def test_the_last_living_server_is_never_left_out(self):
        """The others die while it is behind, but within the limit; then it may be as slow as it likes."""
        size = 32 * MIB
        for mode in MODES:
            with self.subTest(mode):
                fan, client, legs = self.one_that_does_not_read(mode, "lag_limit=1M")
                client.send(PATTERN.bytes(512 * KIB))
                for number, leg in enumerate(legs[1:], 1):
                    leg.read_exact(512 * KIB)
                    leg.reset()
                    fan.segments[number].wait_conversation(end="server-reset")
                base = fan.controller.rss()
                sender = threading.Thread(target=lambda c=client: c.send(PATTERN.bytes(size)[512 * KIB:]).finish())
                sender.start()
                # The client is held back, not the memory filled.
                pair.wait_for(lambda f=fan: f.controller.load(0.2) < 0.05, "a standstill")
                self.assertTrue(sender.is_alive())
                self.memory_within(fan.controller.rss() - base, MIB + BESIDES)
                self.assertEqual(legs[0].read_to_end(), pair.Ending("fin", size, PATTERN.sha256(size)))
                sender.join()
                legs[0].finish()
                self.assertEqual(client.read_to_end()[:2], ("fin", 0))
                record = fan.controller.wait_conversation(up=str(size), end="client-fin/server-fin")
                self.assertEqual(dict(fan.ends(record)), {0: "fin", 1: "server-reset", 2: "server-reset"})
                self.assertEqual(fan.controller.find(lambda r: r.level == "warning"), [])

    def test_winner_of_the_latch_is_never_left_out(self):
        size = 32 * MIB
        fan, client, legs = self.one_that_does_not_read("half duplex", "lag_limit=64K")
        legs[0].send(b"go")
        self.assertEqual(client.read_exact(2), b"go")
        self.all_end(legs[1:], "reset")
        base = fan.controller.rss()
        sender = threading.Thread(target=lambda: client.send_pattern(size).finish())
        sender.start()
        pair.wait_for(lambda: fan.controller.load(0.2) < 0.05, "a standstill")
        self.memory_within(fan.controller.rss() - base, BESIDES)
        self.assertEqual(legs[0].read_to_end(), pair.Ending("fin", size, PATTERN.sha256(size)))
        sender.join()
        legs[0].finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def test_all_that_do_not_read_hold_the_client_back(self):
        """None is behind another: nobody is left out, and memory stays where it is."""
        size = 64 * MIB
        stages = [self.stage(receive_buffer=4096) for _ in range(3)]
        fan = self.fan([stage.url for stage in stages], "mode=publish")
        client = fan.connect()
        legs = self.meet(stages)
        base = fan.controller.rss()
        sender = threading.Thread(target=lambda: client.send_pattern(size).finish())
        sender.start()
        pair.wait_for(lambda: fan.controller.load(0.2) < 0.05, "a standstill")
        self.assertTrue(sender.is_alive())
        self.memory_within(fan.controller.rss() - base, 16 * MIB + BESIDES)
        # They read in turns: on a busy machine one of three that read as they like would lag indeed.
        for chunk in PATTERN.chunks(size, 256 * KIB):
            self.all_read(legs, chunk)
        self.all_end(legs, "fin", 0)
        sender.join()
        for leg in legs:
            leg.finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    # -- the other direction

    def test_client_that_does_not_read_merged_answers(self):
        """It holds its windows, and another client of the same servers is served meanwhile."""
        size = 64 * MIB

        def serve(_):
            def run(peer):
                if peer.read_exact(1) == b"?":
                    peer.send(b"!").finish()
                else:
                    peer.send_pattern(size).finish()
                return peer.read_to_end()
            return run

        fan, _ = self.served("full duplex", serve)
        base = fan.controller.rss()
        client = fan.connect().send(b"x")
        client.readable(pair.DEADLINE)
        pair.wait_for(lambda: all(daemon.load(0.2) < 0.05 for daemon in (fan.controller, *fan.segments)), "a standstill")
        self.memory_within(fan.controller.rss() - base, BESIDES)
        for _ in range(20):
            with fan.connect() as other:
                other.send(b"?").finish()
                self.assertEqual(other.read_to_end()[:2], ("fin", 3))
        client.finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 3 * size))


if __name__ == "__main__":
    unittest.main()
