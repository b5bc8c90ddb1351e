# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
"""How conversations begin and end: bytes, half-close, reset and end arrive as they came."""

import signal
import threading
import unittest

import pair
from pair import PATTERN, MIB, KIB, scaled


class Ends(pair.Case):

    def test_server_speaks_first(self):
        backend = self.backend(lambda peer: peer.send(b"220 ready\r\n").finish().read_to_end())
        both = self.pair(backend.url)
        with both.connect() as client:
            self.assertEqual(client.read_line(), b"220 ready\r\n")

    def test_server_that_speaks_and_resets_before_the_connection_is_seen_is_heard(self):
        for more, early in (("", b""), ("", b"early"), (f"server=tcp://{pair.HOME}:9", b""), (f"server=tcp://{pair.HOME}:9", b"early")):
            with self.subTest(more=more, early=early):
                full = self.keep(pair.Swallowing())
                both = self.pair(full.url, segment=f"{more}\nbalance=first\nconnect_timeout=60 s")
                client = both.connect().send(early)
                pair.wait_for(lambda: both.segment.connected() == 2, "the segment to dial")
                both.segment.signal(signal.SIGSTOP)
                try:
                    server = full.accept_last()
                    server.send(b"too many connections")
                    server.reset()
                finally:
                    both.segment.signal(signal.SIGCONT)
                self.assertEqual(client.read_to_end()[:2], ("reset", 20))
                both.segment.wait_conversation(end="server-reset", down="20")

    def test_server_that_says_nothing_is_dialled_before_the_first_byte(self):
        backend = self.backend(pair.hold)
        both = self.pair(backend.url)
        with both.connect():
            pair.wait_for(lambda: backend.accepted == 1, "the backend's connection")
        self.assertEqual(backend.outcome().how, "fin")

    def test_client_half_closes_and_then_reads_64_megabytes(self):
        size = scaled(64 * MIB)

        def serve(peer):
            request = peer.read_to_end()
            peer.send_pattern(size).finish()
            return request

        backend = self.backend(serve)
        both = self.pair(backend.url)
        with both.connect() as client:
            client.send(b"a request without a length").finish()
            ending = client.read_to_end()
        self.assertEqual(ending, pair.Ending("fin", size, PATTERN.sha256(size)))
        self.assertEqual(backend.outcome()[:2], ("fin", 26))
        for daemon in both.both:
            line = daemon.wait_conversation(end="client-fin/server-fin")
            self.assertEqual((line.fields["up"], line.fields["down"]), ("26", str(size)))

    def test_server_half_closes_and_then_reads_what_the_client_sends(self):
        size = scaled(16 * MIB)
        backend = self.backend(lambda peer: peer.send(b"go").finish().read_to_end())
        both = self.pair(backend.url)
        with both.connect() as client:
            self.assertEqual(client.read_to_end()[:2], ("fin", 2))
            client.send_pattern(size).finish()
            self.assertEqual(backend.outcome(), pair.Ending("fin", size, PATTERN.sha256(size)))
        for daemon in both.both:
            daemon.wait_conversation(end="server-fin/client-fin", up=str(size), down="2")

    def test_empty_conversation_ends_cleanly_on_both_sides(self):
        backend = self.backend(lambda peer: (peer.read_to_end(), peer.finish())[0])
        both = self.pair(backend.url)
        with both.connect() as client:
            client.finish()
            self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        self.assertEqual(backend.outcome()[:2], ("fin", 0))

    def test_backend_sends_64_megabytes_and_closes_ten_times_out_of_ten(self):
        size = scaled(64 * MIB)
        backend = self.backend(lambda peer: peer.send_pattern(size) and None)
        both = self.pair(backend.url)
        expected = pair.Ending("fin", size, PATTERN.sha256(size))
        for _ in range(scaled(10, 3)):
            with both.connect() as client:
                self.assertEqual(client.read_to_end(), expected)

    def test_client_sends_64_megabytes_and_closes_ten_times_out_of_ten(self):
        size = scaled(64 * MIB)
        backend = self.backend(pair.hold)
        both = self.pair(backend.url)
        expected = pair.Ending("fin", size, PATTERN.sha256(size))
        for _ in range(scaled(10, 3)):
            with both.connect() as client:
                client.send_pattern(size)
            self.assertEqual(backend.outcome(), expected)

    def test_request_over_64_kilobytes_on_an_open_connection_is_delivered_whole(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url)
        with both.connect() as client:
            for size in (65535, 65536, 65537, 100 * KIB, 255 * KIB, 300 * KIB, 1, 200 * KIB):
                data = PATTERN.bytes(size)
                sender = threading.Thread(target=client.send, args=(data,))
                sender.start()
                self.assertEqual(client.read_exact(size), data)
                sender.join()

    def test_both_directions_at_once(self):
        size = scaled(64 * MIB)

        def serve(peer):
            sender = threading.Thread(target=lambda: peer.send_pattern(size).finish())
            sender.start()
            ending = peer.read_to_end()
            sender.join()
            return ending

        backend = self.backend(serve)
        both = self.pair(backend.url)
        with both.connect() as client:
            sender = threading.Thread(target=lambda: client.send_pattern(size).finish())
            sender.start()
            expected = pair.Ending("fin", size, PATTERN.sha256(size))
            self.assertEqual(client.read_to_end(), expected)
            sender.join()
            self.assertEqual(backend.outcome(), expected)

    def test_bytes_one_at_a_time(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url)
        with both.connect() as client:
            for value in range(256):
                self.assertEqual(client.exchange(bytes([value])), bytes([value]))

    def test_many_short_conversations_at_once(self):
        self.many_at_once(self.pair(self.backend(pair.echo).url))

    def test_many_short_conversations_at_once_with_several_threads(self):
        self.many_at_once(self.pair(self.backend(pair.echo).url, links=2, controller_global="threads=3",
                                    segment_global="threads=2"))

    def many_at_once(self, both):
        failures = []

        def run(number):
            try:
                for turn in range(scaled(60, 4)):
                    data = b"%d %d\n" % (number, turn) * (1 + turn * 37)
                    with pair.connect(both.url) as client:
                        client.send(data).finish()
                        ending = client.read_to_end()
                        if ending[:2] != ("fin", len(data)):
                            failures.append(ending)
            except Exception as error:  # pylint: disable=broad-except
                failures.append(repr(error))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


class Resets(pair.Case):

    def test_client_reset_arrives_as_reset_after_the_bytes_that_came_before(self):
        size = 60000
        got = threading.Event()

        def serve(peer):
            peer.read_exact(1)
            got.set()
            return peer.read_to_end()

        backend = self.backend(serve)
        both = self.pair(backend.url)
        for _ in range(5):
            got.clear()
            client = both.connect()
            client.send(b"x")
            self.assertTrue(got.wait(pair.DEADLINE))
            client.send_pattern(size)
            client.reset()
            self.assertEqual(backend.outcome(), pair.Ending("reset", size, PATTERN.sha256(size)))
        for daemon in both.both:
            daemon.wait_conversation(end="client-reset", up=str(size + 1), count=5)

    def test_server_reset_arrives_as_reset_after_the_bytes_that_came_before(self):
        size = 60000

        def serve(peer):
            peer.read_exact(1)
            peer.send_pattern(size)
            peer.reset()

        backend = self.backend(serve)
        both = self.pair(backend.url)
        for _ in range(5):
            with both.connect() as client:
                client.send(b"x")
                self.assertEqual(client.read_to_end(), pair.Ending("reset", size, PATTERN.sha256(size)))
        for daemon in both.both:
            daemon.wait_conversation(end="server-reset", down=str(size), count=5)

    def test_client_reset_of_an_idle_conversation(self):
        backend = self.backend(pair.hold)
        both = self.pair(backend.url)
        client = both.connect()
        pair.wait_for(lambda: backend.accepted, "the backend's connection")
        client.reset()
        self.assertEqual(backend.outcome()[:2], ("reset", 0))

    def test_client_reset_right_after_connect(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url)
        for _ in range(200):
            pair.connect(both.url).reset()
        with both.connect() as client:
            self.assertEqual(client.exchange(b"still there"), b"still there")

    def test_client_reset_after_its_own_half_close(self):
        backend = self.backend(lambda peer: (peer.read_to_end(), peer.send(b"half"), peer.wait_broken())[2])
        both = self.pair(backend.url)
        client = both.connect()
        client.finish()
        self.assertEqual(client.read_exact(4), b"half")
        client.reset()
        self.assertTrue(backend.outcome(), "the backend is reset")
        for daemon in both.both:
            daemon.wait_conversation(end="client-reset")

    def test_server_reset_after_its_own_half_close(self):
        proceed = threading.Event()

        def serve(peer):
            peer.send(b"all").finish()
            proceed.wait(pair.DEADLINE)
            peer.reset()

        backend = self.backend(serve)
        both = self.pair(backend.url)
        with both.connect() as client:
            self.assertEqual(client.read_to_end()[:2], ("fin", 3))
            proceed.set()
            self.assertTrue(client.wait_broken(), "the client is reset")
        for daemon in both.both:
            daemon.wait_conversation(end="server-reset")

    def test_backend_refuses_and_the_client_is_reset(self):
        port = pair.free_port()
        both = self.pair(f"tcp://{pair.HOME}:{port}")
        for _ in range(3):
            self.assertEqual(both.refusal(), ("reset", 0))
        for daemon in both.both:
            daemon.wait_conversation(end="connect-failed", count=3)

    def test_backend_refuses_while_the_client_sends(self):
        both = self.pair(f"tcp://{pair.HOME}:{pair.free_port()}")
        for _ in range(20):
            with self.assertRaises((ConnectionResetError, BrokenPipeError)):
                with both.connect() as client:
                    client.send_pattern(8 * MIB)

    def test_missing_unix_backend_resets_the_client(self):
        both = self.pair(f"unix://{self.folder}/nobody.sock")
        self.assertEqual(both.refusal(), ("reset", 0))
        both.segment.wait_conversation(end="connect-failed")

    def test_backend_resets_in_the_middle_of_a_long_reply(self):
        size = scaled(8 * MIB)
        ready = threading.Event()

        def serve(peer):
            peer.send_pattern(size)
            ready.wait(pair.DEADLINE * pair.PATIENCE)
            peer.reset()

        backend = self.backend(serve)
        both = self.pair(backend.url)
        with both.connect() as client:
            data = client.read_exact(size)
            ready.set()
            self.assertEqual(client.read_to_end()[:2], ("reset", 0))
        self.assertEqual(data, PATTERN.bytes(size))

    def test_reset_while_bytes_are_on_their_way_is_never_a_clean_end(self):
        backend = self.backend(lambda peer: peer.send_pattern(4 * MIB).reset())
        both = self.pair(backend.url)
        for _ in range(10):
            with both.connect() as client:
                self.assertEqual(client.read_to_end().how, "reset")

    def test_client_closes_while_the_reply_is_in_flight(self):
        ended = []

        def serve(peer):
            try:
                peer.send_pattern(1024 * MIB)
            except OSError as error:
                ended.append(type(error).__name__)

        backend = self.backend(serve)
        both = self.pair(backend.url)
        for number in range(5):
            client = both.connect()
            client.read_exact(MIB)
            client.close()
            pair.wait_for(lambda n=number: len(ended) > n, "the backend's end")
        self.assertLessEqual(set(ended), {"ConnectionResetError", "BrokenPipeError"})
        for daemon in both.both:
            daemon.wait_conversation(count=5)

    def test_client_that_closes_without_reading_resets_the_backend(self):
        proceed = threading.Event()

        def serve(peer):
            peer.send_pattern(100 * KIB)
            proceed.set()
            return peer.read_to_end()

        backend = self.backend(serve)
        both = self.pair(backend.url)
        client = both.connect()
        self.assertTrue(proceed.wait(pair.DEADLINE))
        self.assertTrue(client.readable(pair.DEADLINE))
        client.close()
        self.assertEqual(backend.outcome()[:2], ("reset", 0))

    def test_backend_that_closes_without_reading_resets_the_client(self):
        proceed = threading.Event()

        def serve(peer):
            self.assertTrue(peer.readable(pair.DEADLINE))
            peer.close()
            proceed.set()

        backend = self.backend(serve)
        both = self.pair(backend.url)
        with both.connect() as client:
            client.send(b"unread")
            self.assertTrue(proceed.wait(pair.DEADLINE))
            self.assertEqual(client.read_to_end()[:2], ("reset", 0))


if __name__ == "__main__":
    unittest.main()
