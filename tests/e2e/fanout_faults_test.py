# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
"""What a client of several servers sees when some of them fail, and timeouts and drains with several legs."""

import contextlib
import signal
import socket
import threading
import time
import unittest

import fanout
import pair
from fanout import MODES
from pair import MIB, PATTERN, scaled


class Backends(fanout.Case):
    """Servers that refuse, break or stop."""

    def with_one_refusing(self, mode, **more):
        stages = [self.stage() for _ in range(2)]
        return self.fan([stages[0].url, fanout.refusing(), stages[1].url], f"mode={mode}", **more), stages

    def test_server_that_refuses_is_a_leg_less(self):
        for mode in MODES:
            for threads in ("", "threads=2"):
                with self.subTest(mode, threads=threads):
                    fan, stages = self.with_one_refusing(mode, controller_global=threads)
                    client, legs = fan.connect(), self.meet(stages)
                    refused = fan.segments[1].wait_conversation(end="connect-failed")
                    self.works(mode, client, legs)
                    record = fan.controller.wait_conversation(mode=fanout.word(mode), legs="3")
                    self.assertEqual(dict(fan.ends(record))[1], "connect-failed")
                    self.assertEqual(refused.fields["id"], record.fields["id"])

    def test_client_is_reset_when_all_refuse(self):
        for mode in MODES:
            with self.subTest(mode):
                fan = self.fan([fanout.refusing() for _ in range(3)], f"mode={mode}")
                for _ in range(3):
                    self.assertEqual(fan.refusal(), ("reset", 0))
                for record in fan.controller.wait_conversation(count=3, end="connect-failed", mode=fanout.word(mode)):
                    self.assertEqual(sorted(fan.ends(record)), [(number, "connect-failed") for number in range(3)])

    def test_all_refuse_while_the_client_sends(self):
        for mode in MODES:
            fan = self.fan([fanout.refusing() for _ in range(3)], f"mode={mode}")
            for _ in range(10):
                with self.assertRaises((ConnectionResetError, BrokenPipeError)):
                    with fan.connect() as client:
                        client.send_pattern(32 * MIB)

    def test_upload_to_the_one_that_does_not_refuse(self):
        size = scaled(8 * MIB)
        for mode in MODES:
            with self.subTest(mode):
                backend = self.backend(pair.hold)
                fan = self.fan([fanout.refusing(), backend.url, fanout.refusing()], f"mode={mode}")
                for _ in range(3):
                    with fan.connect() as client:
                        client.send_pattern(size).finish()
                        self.assertEqual(backend.outcome(), pair.Ending("fin", size, PATTERN.sha256(size)))
                        self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    # -- an answer, and a reset at once

    def dying(self, mode, size):
        """One of three servers sends an answer and resets at once. The controller has been told."""
        fan, stages = self.played(mode)
        client = fan.connect().send(b"x")
        legs = self.meet(stages)
        self.all_read(legs, b"x")
        legs[0].send_pattern(size)
        legs[0].reset()
        fan.segments[0].wait_conversation(end="server-reset")
        return fan, client, legs

    def test_winner_answers_and_dies_at_once(self):
        size = 60000
        for _ in range(5):
            fan, client, legs = self.dying("half duplex", size)
            self.assertEqual(client.read_to_end(), pair.Ending("reset", size, PATTERN.sha256(size)))
            self.all_end(legs[1:], "reset")
            record = fan.controller.wait_conversation(end="server-reset", down=str(size), server=fan.names[0])
            self.assertEqual(sorted(fan.ends(record)), [(0, "winner"), (1, "lost-race"), (2, "lost-race")])

    def test_one_of_the_merged_answers_and_dies_at_once(self):
        size = 60000
        fan, client, legs = self.dying("full duplex", size)
        self.assertEqual(client.read_exact(size), PATTERN.bytes(size))
        # The others go on, in both directions.
        client.send(b"more").finish()
        self.all_end(legs[1:], "fin", 4)
        for leg in legs[1:]:
            leg.send(b"answer").finish()
        self.assertEqual(client.read_to_end()[:2], ("reset", 12))
        record = fan.controller.wait_conversation(end="server-reset", down=str(size + 12))
        self.assertEqual(sorted(fan.ends(record)), [(0, "server-reset"), (1, "fin"), (2, "fin")])

    def test_one_of_the_published_to_answers_and_dies_at_once(self):
        fan, client, legs = self.dying("publish", 60000)
        self.works("publish", client, legs[1:])
        record = fan.controller.wait_conversation(end="client-fin/server-fin", down="0")
        self.assertEqual(sorted(fan.ends(record)), [(0, "server-reset"), (1, "fin"), (2, "fin")])

    def test_server_that_dies_without_a_byte_is_a_leg_less(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, client, legs = self.dying(mode, 0)
                self.works(mode, client, legs[1:])
                record = fan.controller.wait_conversation(end="client-fin/server-fin")
                self.assertEqual(dict(fan.ends(record))[0], "server-reset")

    def test_client_is_reset_when_all_servers_die_without_a_byte(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, client, legs = self.dying(mode, 0)
                legs[1].reset()
                self.assertFalse(client.readable(0.1))
                legs[2].reset()
                self.assertEqual(client.read_to_end()[:2], ("reset", 0))
                fan.controller.wait_conversation(end="server-reset")

    def test_client_is_reset_when_all_merged_answers_break(self):
        fan, client, legs = self.dying("full duplex", 10)
        for leg in legs[1:]:
            leg.send(b"0123456789").reset()
        self.assertEqual(client.read_to_end()[:2], ("reset", 30))
        fan.controller.wait_conversation(end="server-reset", down="30")

    def test_some_end_without_a_byte_and_the_others_die(self):
        """At least one ended cleanly, and so does the client."""
        for mode in MODES:
            with self.subTest(mode):
                fan, client, legs = self.dying(mode, 0)
                client.finish()
                self.all_end(legs[1:], "fin")
                legs[1].finish()
                legs[2].reset()
                self.assertEqual(client.read_to_end()[:2], ("fin", 0))
                fan.controller.wait_conversation(end="client-fin/server-fin")

    # -- a reset in the middle

    def test_server_resets_in_the_middle_of_the_request(self):
        size = scaled(16 * MIB)
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode)
                client = fan.connect()
                legs = self.meet(stages)
                intakes = [fanout.Intake(leg) for leg in legs[1:]]
                sender = threading.Thread(target=lambda c=client: c.send_pattern(size).finish())
                sender.start()
                legs[0].read_exact(size // 8)
                legs[0].reset()
                for intake in intakes:
                    self.assertEqual(intake.end(), pair.Ending("fin", size, PATTERN.sha256(size)))
                sender.join()
                fan.segments[0].wait_conversation(end="server-reset")
                for leg in legs[1:]:
                    leg.finish()
                self.assertEqual(client.read_to_end()[:2], ("fin", 0))
                record = fan.controller.wait_conversation(up=str(size))
                self.assertEqual(dict(fan.ends(record))[0], "server-reset")

    def test_winner_resets_in_the_middle_of_a_long_answer(self):
        size = scaled(8 * MIB)
        fan, stages = self.played("half duplex")
        client = fan.connect()
        legs = self.meet(stages)
        sender = threading.Thread(target=legs[2].send_pattern, args=(size,))
        sender.start()
        data = client.read_exact(size)
        sender.join()
        legs[2].reset()
        self.assertEqual(client.read_to_end()[:2], ("reset", 0))
        self.assertTrue(data == PATTERN.bytes(size))
        self.all_end(legs[:2], "reset")

    def test_reset_while_bytes_are_on_their_way_is_never_a_clean_end(self):
        for mode in ("half duplex", "full duplex"):
            with self.subTest(mode):
                fan, stages = self.played(mode, 2)
                for _ in range(10):
                    client = fan.connect()
                    legs = self.meet(stages)
                    sender = threading.Thread(target=lambda leg=legs[0]: leg.send_pattern(4 * MIB).reset())
                    sender.start()
                    client.read_exact(1)
                    if mode == "full duplex":
                        legs[1].finish()
                    self.assertEqual(client.read_to_end().how, "reset")
                    sender.join()

    def test_reset_of_one_while_the_others_answer_at_length(self):
        size = scaled(4 * MIB)
        fan, stages = self.played("full duplex")
        client = fan.connect()
        legs = self.meet(stages)
        intake = fanout.Intake(client)
        senders = [threading.Thread(target=leg.send_pattern, args=(size,)) for leg in legs]
        for sender in senders:
            sender.start()
        senders[0].join()
        legs[0].reset()
        for sender, leg in zip(senders[1:], legs[1:]):
            sender.join()
            leg.finish()
        ending = intake.end()
        # What was on its way from the first is lost or not; the others have all of theirs.
        self.assertEqual(ending.how, "reset")
        self.assertGreaterEqual(ending.size, 2 * size)
        self.assertLessEqual(ending.size, 3 * size)

    def test_loser_that_reads_nothing_is_reset_soon(self):
        """What is left of the request for it matters no more."""
        size = scaled(4 * MIB)
        stages = [self.stage(receive_buffer=4096), self.stage()]
        fan = self.fan([stage.url for stage in stages])
        client = fan.connect()
        legs = self.meet(stages)
        client.send_pattern(size)
        legs[1].read_exact(size)
        legs[1].send(b"answer")
        self.assertEqual(client.read_exact(6), b"answer")
        start = time.monotonic()
        self.assertTrue(legs[0].wait_broken())
        self.assertLess(time.monotonic() - start, 10 * pair.PATIENCE)

    # -- a stopped server

    def stoppable(self, mode, text=""):
        """A fan with echo servers in processes of their own; the first of them is stopped."""
        servers = [self.echo_process() for _ in range(3)]
        fan = self.fan([url for url, _ in servers], f"mode={mode}\n{text}")
        process = servers[0][1]
        process.send_signal(signal.SIGSTOP)
        self.keep(fanout.Resumed(process.send_signal))
        return fan, process

    def test_stopped_server_does_not_hold_up_a_race(self):
        fan, _ = self.stoppable("half duplex")
        for number in range(20):
            with fan.connect() as client:
                data = b"request %d" % number
                self.assertEqual(client.exchange(data), data)
                self.assertEqual(client.finish().read_to_end()[:2], ("fin", 0))
        for record in fan.controller.wait_conversation(count=20, end="client-fin/server-fin"):
            self.assertEqual(sorted(end for _, end in fan.ends(record)), ["lost-race", "lost-race", "winner"])
            self.assertNotEqual(record.fields["server"], fan.names[0])

    def test_stopped_server_is_awaited_where_all_answers_count(self):
        for mode, size in (("full duplex", 21), ("publish", 0)):
            with self.subTest(mode):
                fan, process = self.stoppable(mode)
                client = fan.connect().send(b"request").finish()
                for segment in fan.segments[1:]:
                    segment.wait_conversation(end="client-fin/server-fin", up="7", down="7")
                if size:
                    self.assertEqual(client.read_exact(14), b"requestrequest")
                self.assertFalse(client.readable(0.3))
                process.send_signal(signal.SIGCONT)
                self.assertEqual(client.read_to_end()[:2], ("fin", size - 14 if size else 0))


class Ends(fanout.Case):
    """Clients that read no more, timeouts and drains, with several legs."""

    def test_unix_client_that_reads_no_more_is_still_heard(self):
        size = scaled(2 * MIB)
        for drip in (False, True):
            for mode in ("half duplex", "full duplex"):
                with self.subTest(mode, drip=drip):
                    fan, stages = self.played(mode, client="unix")
                    if drip:
                        fan.drip()
                    for _ in range(5):
                        client = fan.connect()
                        legs = self.meet(stages)
                        legs[0].send(b"x")
                        client.read_exact(1)
                        heard = legs[:1] if mode == "half duplex" else legs
                        intakes = [fanout.Intake(leg) for leg in heard]
                        client.socket.shutdown(socket.SHUT_RD)
                        senders = [threading.Thread(target=self.try_send, args=(leg, 1 * MIB)) for leg in heard]
                        for sender in senders:
                            sender.start()
                        client.send_pattern(size).finish()
                        for intake in intakes:
                            self.assertEqual(intake.end(), pair.Ending("fin", size, PATTERN.sha256(size)))
                        for sender in senders:
                            sender.join()
                        client.close()

    def test_client_reset_that_comes_with_its_last_bytes_is_seen(self):
        """One event tells of both, and no other follows."""
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode)
                client = fan.connect()
                legs = self.meet(stages)
                client.send(b"x")
                for leg in legs:
                    self.assertEqual(leg.read_exact(1), b"x")
                fan.controller.signal(signal.SIGSTOP)
                client.send(b"the last")
                client.reset()
                fan.controller.signal(signal.SIGCONT)
                for leg in legs:
                    self.assertEqual(leg.read_to_end()[:2], ("reset", 8))
                fan.controller.wait_conversation(end="client-reset")

    def try_send(self, peer, size):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            peer.send_pattern(size)

    def test_conversation_that_is_idle_is_reset_on_all_legs(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="idle_timeout=500 ms")
                client = fan.connect().send(b"x")
                legs = self.meet(stages)
                self.all_read(legs, b"x")
                self.all_end(legs, "reset")
                self.assertEqual(client.read_to_end()[:2], ("reset", 0))
                record = fan.controller.wait_conversation(end="idle-timeout")
                for segment in fan.segments:
                    segment.wait_conversation(end="idle-timeout", id=record.fields["id"])

    def test_bytes_of_any_leg_keep_a_conversation_from_being_idle(self):
        fan, stages = self.played("full duplex", text="idle_timeout=2 s")
        client = fan.connect()
        legs = self.meet(stages)
        start = time.monotonic()
        while time.monotonic() - start < 4:
            legs[1].send(b"x")
            self.assertEqual(client.read_exact(1), b"x")
            pair.window(0.1)
        self.works("full duplex", client, legs)

    def test_half_closed_by_the_client_for_too_long(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode, text="half_close_timeout=500 ms")
                client = fan.connect().finish()
                legs = self.meet(stages)
                self.all_end(legs, "fin")
                self.assertEqual(client.read_to_end()[:2], ("reset", 0))
                for leg in legs:
                    self.assertTrue(leg.wait_broken())
                fan.controller.wait_conversation(end="half-close-timeout")

    def test_segment_drains_while_its_leg_goes_on_and_new_clients_do_without_it(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode)
                client = fan.connect().send(b"early ")
                legs = self.meet(stages)
                self.all_read(legs, b"early ")
                fan.segments[0].terminate()
                fan.controller.wait_log(lambda r: r.subject == "link" and "draining" in r.message, "the drain")
                self.works(mode, fan.connect(), self.meet(stages[1:]))
                self.works(mode, client, legs)
                self.assertEqual(fan.segments[0].wait_exit(), 0)

    def test_controller_drains_and_its_conversations_come_to_their_ends(self):
        for mode in MODES:
            with self.subTest(mode):
                fan, stages = self.played(mode)
                client = fan.connect().send(b"early ")
                legs = self.meet(stages)
                self.all_read(legs, b"early ")
                fan.controller.terminate()
                self.works(mode, client, legs)
                self.assertEqual(fan.controller.wait_exit(), 0)

    def test_controller_that_may_not_wait_resets_all(self):
        fan, stages = self.played("full duplex", controller_global="drain_timeout=0")
        client = fan.connect().send(b"x")
        legs = self.meet(stages)
        self.all_read(legs, b"x")
        fan.controller.terminate()
        self.all_end([client, *legs], "reset")
        fan.controller.wait_conversation(end="drain-timeout")
        self.assertEqual(fan.controller.wait_exit(), 0)

    def test_killed_controller_resets_all(self):
        fan, stages = self.played("publish", segment="resume=0")
        fan.connect().send(b"x")
        legs = self.meet(stages)
        self.all_read(legs, b"x")
        fan.controller.kill()
        self.all_end(legs, "reset")
        for segment in fan.segments:
            segment.wait_conversation(end="link-lost")


if __name__ == "__main__":
    unittest.main()
