# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
"""One client and several servers: the latch, merged answers, publishing, and how each mode begins and ends."""

import random
import struct
import threading
import unittest

import fanout
import pair
from pair import KIB, MIB, PATTERN, scaled


class HalfDuplex(fanout.Case):

    def test_the_first_that_answers_wins_whichever_it_is(self):
        for count in (3, 12):
            fan, stages = self.played("half duplex", count)
            for winner in range(0, count, count // 3):
                mark = fan.controller.mark()
                marks = [segment.mark() for segment in fan.segments]
                client = fan.connect().send(b"request")
                legs = self.meet(stages)
                self.all_read(legs, b"request")
                legs[winner].send(b"answer")
                self.assertEqual(client.read_exact(6), b"answer")
                losers = [leg for leg in legs if leg is not legs[winner]]
                self.all_end(losers, "reset")
                client.send(b"more").finish()
                self.assertEqual(legs[winner].read_to_end()[:2], ("fin", 4))
                legs[winner].send(b"last").finish()
                self.assertEqual(client.read_to_end()[:2], ("fin", 4))
                record = fan.controller.wait_conversation(mark, end="client-fin/server-fin", up="11", down="10")
                self.assertEqual((record.fields["mode"], record.fields["legs"], record.fields["server"]),
                                 ("half-duplex", str(count), fan.names[winner]))
                self.assertEqual(sorted(fan.ends(record)), [
                    (number, "winner" if number == winner else "lost-race") for number in range(count)])
                self.assertRegex(record.fields["open"], r"^\d+(\.\d+)?(us|ms|s)$")
                for number, segment in enumerate(fan.segments):
                    line = segment.wait_conversation(marks[number], id=record.fields["id"], mode="one-to-one")
                    self.assertEqual(line.fields["end"],
                                     "client-fin/server-fin" if number == winner else "lost-race")
                    self.assertEqual(line.fields["client"], record.fields["client"])
                    self.assertNotIn("ends", line.fields)

    def test_it_is_the_default_for_several_servers(self):
        stages = [self.stage() for _ in range(2)]
        fan = self.fan([stage.url for stage in stages])
        client = fan.connect().send(b"x")
        legs = self.meet(stages)
        self.all_read(legs, b"x")
        legs[1].send(b"y")
        self.assertEqual(client.read_exact(1), b"y")
        self.all_end(legs[:1], "reset")

    def test_every_server_gets_what_the_client_sends_until_one_answers(self):
        fan, stages = self.played("half duplex")
        client = fan.connect()
        legs = self.meet(stages)
        for number in range(20):
            data = b"%d " % number * 1000
            client.send(data)
            self.all_read(legs, data)
        legs[0].send(b"!")
        self.assertEqual(client.read_exact(1), b"!")
        self.all_end(legs[1:], "reset")
        client.send(b"only one")
        self.all_read(legs[:1], b"only one")

    def test_winner_gets_every_byte_of_an_upload_that_the_latch_cuts_through(self):
        size = scaled(32 * MIB)
        data = PATTERN.bytes(size)
        fan, stages = self.played("half duplex")
        client = fan.connect()
        legs = self.meet(stages)
        answered = threading.Event()

        def upload():
            client.send(data[:size // 2])
            answered.wait(pair.DEADLINE * pair.PATIENCE)
            client.send(data[size // 2:]).finish()

        sender = threading.Thread(target=upload)
        sender.start()
        intakes = [fanout.Intake(leg) for leg in legs]
        intakes[1].wait(size // 4)
        legs[1].send(b"enough")
        self.assertEqual(client.read_exact(6), b"enough")
        answered.set()
        self.assertEqual(intakes[1].end(), fanout.ending_of(data))
        sender.join()
        for loser in (intakes[0].end(), intakes[2].end()):
            self.assertLessEqual(loser.size, size // 2)
            self.assertEqual(loser, fanout.ending_of(data[:loser.size], "reset"))
        legs[1].finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def test_client_half_closes_and_then_reads_the_answer(self):
        size = scaled(16 * MIB)
        fan, stages = self.played("half duplex")
        client = fan.connect().send(b"request").finish()
        legs = self.meet(stages)
        self.all_end(legs, "fin", 7)
        sender = threading.Thread(target=lambda: legs[2].send_pattern(size).finish())
        sender.start()
        self.assertEqual(client.read_to_end(), pair.Ending("fin", size, PATTERN.sha256(size)))
        sender.join()
        for leg in legs[:2]:
            self.assertTrue(leg.wait_broken())
        fan.controller.wait_conversation(end="client-fin/server-fin", up="7", down=str(size))

    def test_winner_half_closes_and_then_reads_what_the_client_sends(self):
        size = scaled(8 * MIB)
        fan, stages = self.played("half duplex")
        client = fan.connect()
        legs = self.meet(stages)
        legs[0].send(b"go").finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 2))
        intake = fanout.Intake(legs[0])
        client.send_pattern(size).finish()
        self.assertEqual(intake.end(), pair.Ending("fin", size, PATTERN.sha256(size)))
        self.all_end(legs[1:], "reset")
        fan.controller.wait_conversation(end="server-fin/client-fin", up=str(size), down="2")

    def test_server_that_ends_without_a_byte_is_only_a_leg_less(self):
        fan, stages = self.played("half duplex")
        client = fan.connect().send(b"request")
        legs = self.meet(stages)
        self.all_read(legs, b"request")
        legs[0].finish()
        legs[1].finish()
        self.assertFalse(client.readable(0.3))
        legs[2].send(b"answer").finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 6))

    def test_client_gets_a_clean_end_when_all_have_ended_without_a_byte(self):
        fan, stages = self.played("half duplex")
        client = fan.connect().finish()
        legs = self.meet(stages)
        self.all_end(legs, "fin")
        for leg in legs:
            self.assertFalse(client.readable(0))
            leg.finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        record = fan.controller.wait_conversation(legs="3", server="-")
        self.assertNotIn("winner", record.fields["ends"])

    def test_client_reset_before_the_latch_resets_all(self):
        self.client_reset("half duplex")

    def client_reset(self, mode):
        fan, stages = self.played(mode)
        client = fan.connect().send(b"request")
        legs = self.meet(stages)
        self.all_read(legs, b"request")
        client.reset()
        self.all_end(legs, "reset")
        record = fan.controller.wait_conversation(end="client-reset", up="7")
        self.assertEqual(len(fan.ends(record)), 3)
        for segment in fan.segments:
            segment.wait_conversation(end="client-reset", id=record.fields["id"])

    def test_client_reset_in_the_modes_without_a_latch_resets_all(self):
        for mode in fanout.MODES[1:]:
            with self.subTest(mode):
                self.client_reset(mode)

    def test_client_reset_after_the_latch_resets_the_winner(self):
        fan, stages = self.played("half duplex")
        client = fan.connect()
        legs = self.meet(stages)
        legs[1].send(b"x")
        client.read_exact(1)
        client.reset()
        self.all_end(legs, "reset")
        fan.controller.wait_conversation(end="client-reset", server=fan.names[1])

    def test_client_that_is_gone_at_once_leaves_nothing_behind(self):
        for mode in fanout.MODES:
            fan, _ = self.served(mode, lambda _: pair.echo)
            for _ in range(scaled(100)):
                pair.connect(fan.url).reset()
            fan.controller.wait_conversation(count=scaled(100))

    def test_servers_and_clients_of_every_kind(self):
        kinds = ("tcp4", "tcp6", "unix", "abstract")
        stages = [self.stage(kind) for kind in kinds]
        fan = self.fan([stage.url for stage in stages], client="unix")
        for winner in range(len(kinds)):
            client = fan.connect().send(b"request")
            legs = self.meet(stages)
            self.all_read(legs, b"request")
            legs[winner].send(b"answer")
            self.assertEqual(client.read_exact(6), b"answer")
            for leg in legs:
                if leg is not legs[winner]:
                    # A Unix socket knows no reset of its own.
                    self.assertIn(leg.read_to_end()[:2], (("reset", 0), ("fin", 0)))
            client.close()

    def test_many_conversations_at_once(self):
        self.many_at_once()

    def test_many_conversations_at_once_with_several_threads(self):
        self.many_at_once(controller_global="threads=2", segment_global="threads=2")

    def many_at_once(self, **more):
        fan, _ = self.served("half duplex", lambda _: pair.echo, **more)
        failures = []

        def run(number):
            try:
                for turn in range(scaled(40, 4)):
                    data = b"%d %d\n" % (number, turn) * (1 + turn * 97)
                    with pair.connect(fan.url) as client:
                        for part in (data, data[:100], data):
                            if client.exchange(part) != part:
                                failures.append((number, turn))
                        if client.finish().read_to_end()[:2] != ("fin", 0):
                            failures.append((number, turn, "end"))
            except Exception as error:  # pylint: disable=broad-except
                failures.append(repr(error))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


class FullDuplex(fanout.Case):

    def test_answers_of_all_come_and_the_end_with_the_last(self):
        fan, stages = self.played("full duplex")
        client = fan.connect().send(b"question").finish()
        legs = self.meet(stages)
        self.all_end(legs, "fin", 8)
        for number in (1, 0):
            legs[number].send(b"answer %d" % number).finish()
            self.assertEqual(client.read_exact(8), b"answer %d" % number)
            fan.segments[number].wait_conversation(end="client-fin/server-fin", up="8", down="8")
        self.assertFalse(client.readable(0.3))
        legs[2].send(b"the last")
        self.assertEqual(client.read_exact(8), b"the last")
        self.assertFalse(client.readable(0.3))
        legs[2].finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        record = fan.controller.wait_conversation(mode="full-duplex", legs="3", server="-", up="8", down="24",
                                                  end="client-fin/server-fin")
        self.assertEqual(sorted(fan.ends(record)), [(0, "fin"), (1, "fin"), (2, "fin")])
        for segment in fan.segments:
            segment.wait_conversation(id=record.fields["id"], mode="one-to-one")

    def test_servers_end_first_and_then_read_what_the_client_sends(self):
        for mode in ("full duplex", "publish"):
            with self.subTest(mode):
                size = scaled(8 * MIB)
                fan, stages = self.played(mode)
                client = fan.connect()
                legs = self.meet(stages)
                for leg in legs:
                    leg.finish()
                self.assertEqual(client.read_to_end()[:2], ("fin", 0))
                intakes = [fanout.Intake(leg) for leg in legs]
                client.send_pattern(size).finish()
                for intake in intakes:
                    self.assertEqual(intake.end(), pair.Ending("fin", size, PATTERN.sha256(size)))
                fan.controller.wait_conversation(end="server-fin/client-fin", up=str(size))

    def test_server_that_speaks_first_is_heard_at_once(self):
        fan, stages = self.played("full duplex")
        client = fan.connect()
        legs = self.meet(stages)
        for number in (2, 0, 1, 2):
            legs[number].send(b"hello from %d" % number)
            self.assertEqual(client.read_exact(12), b"hello from %d" % number)

    # -- whole reads stay together

    def records(self, number, count):
        """What a server sends, with one write for each."""
        stream = random.Random(number)
        for sequence in range(count):
            body = PATTERN.period[:stream.randrange(16 * KIB - 8)]
            yield struct.pack("!HHI", number, sequence % 65536, len(body)) + body

    def merge_records(self, count, rounds, flood=False, drip=False, **more):
        """Records of `count` servers, each uncut. The next one is sent when the client has had the last, so that each is
        read in one go. With `flood`, another server fills the client's way meanwhile."""
        heard = [threading.Semaphore(1) for _ in range(count)]
        stop = threading.Event()

        def serve(number):
            def run(peer):
                if number == count:
                    while not stop.is_set():
                        peer.send(b"\xff" * 64 * KIB)
                    return
                for record in self.records(number, rounds):
                    self.assertTrue(heard[number].acquire(timeout=pair.DEADLINE * pair.PATIENCE))
                    peer.send(record)
            return run

        fan, _ = self.served("full duplex", serve, count + (1 if flood else 0), **more)
        if drip:
            fan.drip()
        expected = [self.records(number, rounds) for number in range(count)]
        received = [0] * count
        with pair.connect(fan.url, receive_buffer=4096 if flood else None) as client:
            pending = bytearray()
            ended = False
            while True:
                pending = pending.lstrip(b"\xff")
                if len(pending) >= 8:
                    number, sequence, size = struct.unpack("!HHI", pending[:8])
                    self.assertLess(number, count, "a cut record")
                    self.assertLess(size, 16 * KIB, "a cut record")
                    if len(pending) >= 8 + size:
                        self.assertEqual(sequence, received[number])
                        self.assertTrue(pending[:8 + size] == next(expected[number]), "a cut record")
                        del pending[:8 + size]
                        received[number] += 1
                        heard[number].release()
                        if min(received) == rounds:
                            stop.set()
                        continue
                self.assertFalse(ended and pending, "the end within a record")
                if ended:
                    break
                data = client.read(64 * KIB)
                pending += data
                ended = not data
            client.finish()
        self.assertEqual(received, [rounds] * count)

    def test_whole_reads_of_three_are_kept_together(self):
        self.merge_records(3, scaled(500))

    def test_whole_reads_of_twelve_are_kept_together(self):
        self.merge_records(12, scaled(150))

    def test_whole_reads_are_kept_together_with_several_threads(self):
        self.merge_records(3, scaled(200), controller_global="threads=2", segment_global="threads=2")

    def test_whole_reads_are_kept_together_when_the_client_is_behind(self):
        self.merge_records(3, scaled(60, 4), flood=True)

    def test_whole_reads_are_kept_together_when_their_frames_come_in_pieces(self):
        self.merge_records(3, scaled(150), drip=True)

    def test_whole_reads_are_kept_together_when_all_is_slow(self):
        self.merge_records(3, scaled(30, 4), flood=True, drip=True)

    def test_every_byte_of_every_server_arrives_in_its_order(self):
        for count, periods in ((3, scaled(8, 4)), (12, scaled(2, 2))):
            with self.subTest(count):
                self.merge_bytes(count, periods)

    def merge_bytes(self, count, periods):
        """Every server marks its bytes with its number in the upper half, and sends as fast as it can."""
        marked = [PATTERN.period.translate(bytes(number << 4 | byte & 15 for byte in range(256)))
                  for number in range(count)]

        def serve(number):
            def run(peer):
                for _ in range(periods):
                    peer.send(marked[number])
                return peer.finish().read_to_end()
            return run

        fan, backends = self.served("full duplex", serve, count)
        with fan.connect() as client:
            received = bytearray()
            while data := client.read():
                received += data
            client.finish()
        self.assertEqual(len(received), count * periods * len(PATTERN.period))
        for number in range(count):
            mine = set(range(number << 4, (number << 4) + 16))
            own = received.translate(None, bytes(byte for byte in range(256) if byte not in mine))
            self.assertTrue(own == marked[number] * periods, f"the bytes of server {number}")
        for backend in backends:
            self.assertEqual(backend.outcome()[:2], ("fin", 0))

    def test_upload_to_all_while_all_answer(self):
        size = scaled(8 * MIB)
        fan, backends = self.served("full duplex", lambda _: pair.echo)
        with fan.connect() as client:
            sender = threading.Thread(target=lambda: client.send(b"\x07" * size).finish())
            sender.start()
            intake = fanout.Intake(client)
            self.assertEqual(intake.end(), fanout.ending_of(b"\x07" * 3 * size))
            sender.join()
        pair.wait_for(lambda: all(backend.live == 0 for backend in backends), "the end of all backends")


class Publish(fanout.Case):

    def test_all_get_every_byte_and_the_end_of_the_client(self):
        for count in (1, 3, 12):
            with self.subTest(count):
                size = scaled(16 * MIB if count < 12 else 4 * MIB)
                fan, backends = self.served("publish", lambda _: pair.hold, count)
                with fan.connect() as client:
                    client.send_pattern(size).finish()
                    for backend in backends:
                        self.assertEqual(backend.outcome(), pair.Ending("fin", size, PATTERN.sha256(size)))
                    self.assertEqual(client.read_to_end()[:2], ("fin", 0))
                record = fan.controller.wait_conversation(mode="publish", up=str(size), down="0", server="-",
                                                          end="client-fin/server-fin", legs=str(count))
                self.assertEqual(sorted(fan.ends(record)), [(number, "fin") for number in range(count)])
                for segment in fan.segments:
                    segment.wait_conversation(id=record.fields["id"], mode="one-to-one", up=str(size))

    def test_all_get_every_byte_of_a_client_that_is_gone_after_the_last(self):
        size = scaled(16 * MIB)
        fan, backends = self.served("publish", lambda _: pair.hold)
        for _ in range(3):
            with fan.connect() as client:
                client.send_pattern(size)
            for backend in backends:
                self.assertEqual(backend.outcome(), pair.Ending("fin", size, PATTERN.sha256(size)))

    def test_answers_are_read_and_discarded(self):
        size, answer = scaled(8 * MIB), scaled(32 * MIB)

        def serve(_):
            def run(peer):
                # The answer is more than all the buffers on the way hold, and comes before the request is read.
                peer.send_pattern(answer)
                return peer.read_to_end()
            return run

        fan, backends = self.served("publish", serve)
        with fan.connect() as client:
            client.send_pattern(size).finish()
            for backend in backends:
                self.assertEqual(backend.outcome(), pair.Ending("fin", size, PATTERN.sha256(size)))
            self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def test_live_feed_reaches_every_server_line_by_line(self):
        for count in (3, 12):
            with self.subTest(count):
                fan, stages = self.played("publish", count)
                client = fan.connect()
                legs = self.meet(stages)
                for number in range(scaled(200, 10)):
                    line = b"news %d\n" % number
                    client.send(line)
                    self.all_read(legs, line)
                client.finish()
                self.all_end(legs, "fin")

    def test_client_gets_its_end_with_the_last_server(self):
        fan, stages = self.played("publish")
        client = fan.connect().send(b"news").finish()
        legs = self.meet(stages)
        self.all_end(legs, "fin", 4)
        for number in (2, 0):
            legs[number].send(b"nobody reads this").finish()
            fan.segments[number].wait_conversation(end="client-fin/server-fin", up="4", down="17")
        self.assertFalse(client.readable(0.3))
        legs[1].finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def test_many_feeds_at_once_with_several_threads(self):
        size = 100 * KIB
        fan, backends = self.served("publish", lambda _: pair.hold, controller_global="threads=2",
                                    segment_global="threads=2")
        clients = [fan.connect() for _ in range(20)]
        for client in clients:
            client.send_pattern(size).finish()
        for client in clients:
            self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        for backend in backends:
            for _ in clients:
                self.assertEqual(backend.outcome(), pair.Ending("fin", size, PATTERN.sha256(size)))


class Together(fanout.Case):

    def test_services_of_every_mode_share_the_links(self):
        """Four services of the same three segments, with clients of all of them at once."""
        copies = {"half duplex": 1, "full duplex": 3, "publish": 0, "balance": 1}
        backends = [self.backend(pair.echo) for _ in range(3)]
        segments = [self.segment(f"[Cloudbus]\nbind=tcp://{pair.HOME}:0\n" + "".join(
            f"[{fanout.word(mode)}]\nserver={backend.url}\n" for mode in copies), name=f"segment{number}")
                    for number, backend in enumerate(backends)]
        servers = "".join(f"server={segment.listening()[0].fields['address']}\n" for segment in segments)
        controller = self.controller("".join(
            f"[{fanout.word(mode)}]\nbind=tcp://127.0.0.1:0\nmode={mode}\n{servers}" for mode in copies))
        controller.wait_link(count=3)
        for segment in segments:
            self.links(controller, segment)
        controller.wait_connected(3)
        failures = []

        def run(mode, count):
            try:
                for turn in range(scaled(60, 6)):
                    data = bytes([turn]) * (1 + turn * 997)
                    with pair.connect(controller.address(fanout.word(mode))) as client:
                        client.send(data)
                        # The answer comes before the end: the end would make the servers of a race close.
                        if client.read_exact(count * len(data)) != data * count:
                            failures.append((mode, turn))
                        if client.finish().read_to_end()[:2] != ("fin", 0):
                            failures.append((mode, turn, "end"))
            except Exception as error:  # pylint: disable=broad-except
                failures.append((mode, repr(error)))

        threads = [threading.Thread(target=run, args=item) for item in copies.items() for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(len(controller.find(lambda r: r.subject == "link" and r.message == "up")), 3)


if __name__ == "__main__":
    unittest.main()
