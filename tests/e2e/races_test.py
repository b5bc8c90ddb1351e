# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
"""Half duplex, however close the race: one source, all of its bytes, and a reset for the others."""

import collections
import random
import signal
import struct
import threading
import unittest

import fanout
import pair
from pair import KIB, scaled


class Races(fanout.Case):
    SIZE = 100 * KIB

    def setUp(self):
        super().setUp()
        self.answers = []
        self.lock = threading.Lock()

    def make_answers(self, count):
        for number in range(count):
            body = random.Random(number).randbytes(self.SIZE - 1)
            self.answers.append(bytes([number]) + body)

    def source(self, answer):
        """Which backend the answer is from. It is all of it, and nothing else."""
        number = answer[0]
        self.assertLess(number, len(self.answers))
        self.assertEqual(len(answer), len(self.answers[number]))
        self.assertTrue(answer == self.answers[number], f"not the bytes of backend {number}")
        return number

    def answer(self, peer, number):
        """Sends a backend's whole answer, and says how its conversation ends."""
        try:
            peer.send(self.answers[number])
            ending = peer.read_to_end()
        except (ConnectionResetError, BrokenPipeError):
            return "reset"
        # The winner alone hears the end of the conversation.
        return "winner" if ending == fanout.ending_of(b"thanks") else ending.how

    def run_race(self, client):
        answer = client.read_exact(self.SIZE)
        number = self.source(answer)
        client.send(b"thanks").finish()
        return number

    def check(self, won, endings, count):
        """`endings` has how each leg ended, by race and backend."""
        for race, winner in won.items():
            pair.wait_for(lambda r=race: len(endings[r]) == count, f"the ends of race {race}: {endings[race]}")
            expected = {number: "winner" if number == winner else "reset" for number in range(count)}
            self.assertEqual(endings[race], expected, f"race {race}, won by {winner}")

    def races(self, count, races, at_once=4, drip=False, **more):
        """All backends answer a request at the same time, as often as that."""
        self.make_answers(count)
        gates = [threading.Barrier(count) for _ in range(races)]
        endings = collections.defaultdict(dict)
        won, failures = {}, []

        def serve(number):
            def run(peer):
                race = struct.unpack("!I", peer.read_exact(4))[0]
                gates[race].wait(pair.DEADLINE * pair.PATIENCE)
                ending = self.answer(peer, number)
                with self.lock:
                    endings[race][number] = ending
            return run

        def run(first):
            try:
                for race in range(first, races, at_once):
                    with pair.connect(fan.url) as client:
                        won[race] = self.run_race(client.send(struct.pack("!I", race)))
            except Exception as error:  # pylint: disable=broad-except
                failures.append(f"race {race}: {error!r}")

        fan, _ = self.served("half duplex", serve, count, **more)
        if drip:
            fan.drip()
        threads = [threading.Thread(target=run, args=(first,)) for first in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.check(won, endings, count)
        print("won by each:", sorted(collections.Counter(won.values()).items()))
        return fan, won

    def test_a_thousand_races_of_three_have_one_source_each(self):
        races = scaled(1000)
        fan, won = self.races(3, races)
        records = fan.controller.wait_conversation(count=races, mode="half-duplex", legs="3", down=str(self.SIZE))
        by_server = collections.Counter(record.fields["server"] for record in records)
        self.assertEqual(by_server, collections.Counter(fan.names[number] for number in won.values()))
        for record in records:
            ends = dict(fan.ends(record))
            self.assertEqual(sorted(ends.values()), ["lost-race", "lost-race", "winner"])
            self.assertEqual(record.fields["server"], fan.names[min(ends, key=lambda n: ends[n] != "winner")])

    def test_races_of_twelve(self):
        self.races(12, scaled(150), at_once=2)

    def test_races_with_several_threads(self):
        self.races(3, scaled(300), controller_global="threads=2", segment_global="threads=2")

    def test_races_over_links_that_hand_on_a_few_bytes_at_a_time(self):
        self.races(3, scaled(60), drip=True)

    def test_races_of_servers_that_speak_first(self):
        races, count = scaled(300), 3
        self.make_answers(count)
        gate = threading.Barrier(count)
        endings = collections.defaultdict(dict)
        won = {}

        def serve(number):
            def run(peer):
                # Nobody has answered before all are here, and the next client comes when all have gone.
                gate.wait(pair.DEADLINE * pair.PATIENCE)
                ending = self.answer(peer, number)
                with self.lock:
                    endings[race][number] = ending
            return run

        fan, _ = self.served("half duplex", serve, count)
        for race in range(races):
            with pair.connect(fan.url) as client:
                won[race] = self.run_race(client)
                self.check({race: won[race]}, endings, count)
        self.assertEqual(len(won), races)

    def test_answers_that_the_controller_finds_all_at_once(self):
        """A race that nobody won before the controller looks: it is stopped until all the answers are there."""
        count = 3
        self.make_answers(count)
        fan, stages = self.played("half duplex", count)
        for race in range(scaled(60, 6)):
            with pair.connect(fan.url) as client:
                legs = self.meet(stages)
                client.send(b"all")
                self.all_read(legs, b"all")
                fan.controller.signal(signal.SIGSTOP)
                try:
                    order = list(range(count))
                    random.Random(race).shuffle(order)
                    senders = [threading.Thread(target=self.try_send, args=(legs[n], self.answers[n])) for n in order]
                    for sender in senders:
                        sender.start()
                    pair.wait_for(lambda: all(fan.controller.unread(url) >= 32 * KIB for url in fan.addresses),
                                  "all answers")
                finally:
                    fan.controller.signal(signal.SIGCONT)
                winner = self.run_race(client)
                for sender in senders:
                    sender.join()
                self.assertEqual(legs[winner].read_to_end()[:2], ("fin", 6))
                self.all_end([leg for leg in legs if leg is not legs[winner]], "reset")
                legs[winner].finish()
                self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def try_send(self, peer, data):
        try:
            peer.send(data)
        except (ConnectionResetError, BrokenPipeError):
            pass


if __name__ == "__main__":
    unittest.main()
