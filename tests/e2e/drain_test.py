# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT: a drain that loses no conversation, and ends in time."""

import os
import signal
import threading
import time
import unittest

import pair
from pair import MIB, PATTERN, scaled


class Drain(pair.Case):

    def drained(self, daemon, seconds=10):
        self.assertEqual(daemon.wait_exit(seconds), 0, daemon.output())

    def transfer(self, controller=""):
        """A conversation that is half-way through its reply: (pair, client, let the rest come, size)."""
        size = scaled(32 * MIB)
        proceed = threading.Event()

        def serve(peer):
            peer.read_exact(1)
            peer.send(PATTERN.bytes(size)[:1000])
            proceed.wait(pair.DEADLINE * pair.PATIENCE)
            peer.send(PATTERN.bytes(size)[1000:])

        keys = "drain_timeout=60 s\ndrain_idle=0"  # the server says nothing for as long as the test likes
        both = self.pair(self.backend(serve).url, controller=controller, controller_global=keys, segment_global=keys)
        client = both.connect()
        client.send(b"x")
        self.assertEqual(client.read_exact(1000), PATTERN.bytes(1000))
        return both, client, proceed, size

    def test_without_conversations_it_ends_at_once(self):
        for sig in (signal.SIGTERM, signal.SIGINT):
            both = self.pair("builtin:echo")
            for daemon in both.both:
                daemon.expected_end = True
                daemon.signal(sig)
                self.drained(daemon)

    def test_idle_client_is_reset_at_drain_timeout(self):
        for number, sig in ((0, signal.SIGTERM), (1, signal.SIGINT), (1, signal.SIGTERM), (0, signal.SIGINT)):
            backend = self.backend(pair.hold)
            both = self.pair(backend.url, controller_global="drain_timeout=1 s", segment_global="drain_timeout=1 s")
            daemon = both.both[number]
            client = both.connect()
            pair.wait_for(lambda b=backend: b.accepted, "the backend's connection")
            start = time.monotonic()
            daemon.expected_end = True
            daemon.signal(sig)
            self.assertEqual(client.read_to_end().how, "reset")
            self.drained(daemon)
            self.assertGreater(time.monotonic() - start, 0.9)
            self.assertEqual(backend.outcome().how, "reset")
            daemon.wait_conversation(end="drain-timeout")

    def test_controller_finishes_a_transfer_first(self):
        both, client, proceed, size = self.transfer()
        both.controller.terminate()
        self.finish(both.controller, client, proceed, size)

    def test_segment_finishes_a_transfer_first(self):
        both, client, proceed, size = self.transfer()
        both.segment.terminate()
        self.finish(both.segment, client, proceed, size)

    def finish(self, daemon, client, proceed, size):
        daemon.wait_log(lambda r: "drain" in r.line, "drain")
        self.assertTrue(daemon.alive)
        proceed.set()
        self.assertEqual(client.read_exact(size - 1000), PATTERN.bytes(size)[1000:])
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        client.close()
        self.drained(daemon)
        daemon.wait_conversation(end="server-fin/client-fin")

    def test_second_signal_ends_it_at_once(self):
        for number in (0, 1):
            both, client, _, _ = self.transfer()
            daemon = both.both[number]
            daemon.terminate()
            daemon.wait_log(lambda r: "drain" in r.line, "drain")
            start = time.monotonic()
            daemon.terminate()
            self.drained(daemon)
            self.assertLess(time.monotonic() - start, 10 * pair.PATIENCE)
            self.assertEqual(client.read_to_end().how, "reset")

    def test_new_clients_are_refused_while_the_controller_drains(self):
        both, client, proceed, _ = self.transfer()
        both.controller.terminate()
        both.controller.wait_log(lambda r: "drain" in r.line, "drain")

        def refused():
            try:
                with pair.connect(both.url) as client:
                    return client.read_to_end().how == "reset"
            except ConnectionRefusedError:
                return True

        pair.wait_for(refused, "a refusal")
        proceed.set()
        self.assertEqual(client.read_to_end().how, "fin")
        client.close()
        self.drained(both.controller)

    def test_new_clients_of_a_draining_segment_wait_for_its_successor(self):
        both, client, proceed, size = self.transfer("connect_timeout=60 s")
        both.segment.terminate()
        both.controller.wait_log(lambda r: r.subject == "link" and "drain" in r.line, "drain")
        late = both.connect()
        late.send(b"x")
        self.assertFalse(late.readable(0.3))
        other = self.backend(lambda peer: peer.send(b"the successor\n").finish().read_to_end() and None)
        text = both.segment.frozen_text().replace(f"server={self.server_of(both.segment)}", f"server={other.url}")
        successor = pair.wait_for(lambda: self.started(text), "the address to be free")
        self.links(both.controller, successor)
        self.assertEqual(late.read_line(), b"the successor\n")
        # The one that was there before is still served by the one that drains.
        proceed.set()
        self.assertEqual(client.read_exact(size - 1000), PATTERN.bytes(size)[1000:])
        client.close()
        self.drained(both.segment)

    def server_of(self, daemon):
        return [line.split("=", 1)[1] for line in daemon.text.splitlines() if line.startswith("server=")][0]

    def started(self, text):
        """A second segment, or None while the first one still holds the address."""
        daemon = pair.Daemon("segment", text, self.folder, name=f"successor{len(self.daemons)}")
        daemon.start(wait=False)
        try:
            daemon.wait_log(lambda r: "ready" in r.message, "ready")
        except AssertionError:
            daemon.kill()
            return None
        daemon.base = daemon._base()  # pylint: disable=protected-access
        self.daemons.append(daemon)
        return daemon

    def test_new_client_of_a_draining_segment_without_successor_is_reset_after_connect_timeout(self):
        backend = self.backend(pair.hold)
        both = self.pair(backend.url, controller="connect_timeout=700 ms", segment_global="drain_timeout=60 s")
        both.connect()
        pair.wait_for(lambda: backend.accepted, "the backend's connection")
        both.segment.terminate()
        both.controller.wait_log(lambda r: r.subject == "link" and "drain" in r.line, "drain")
        with both.connect() as client:
            self.assertEqual(client.read_to_end()[:2], ("reset", 0))
        self.assertEqual(backend.accepted, 1)

    def test_drain_loses_no_client_that_comes_and_goes(self):
        """Clients keep coming while one segment after the other is replaced: none may fail."""
        link = f"tcp://{pair.HOME}:{pair.free_port()}"
        text = f"[Cloudbus]\ndrain_timeout=60 s\n[Orders]\nbind={link}\nserver=builtin:echo\n"
        segment = self.segment(text)
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={link}\nconnect_timeout=60 s\n")
        controller.wait_link()
        url = controller.address()
        failures, served, stopping = [], [], threading.Event()

        def run():
            while not stopping.is_set():
                try:
                    with pair.connect(url) as client:
                        if client.exchange(b"hello") != b"hello":
                            failures.append("bytes")
                        client.finish()
                        if client.read_to_end()[:2] != ("fin", 0):
                            failures.append("end")
                        served.append(time.monotonic())
                except Exception as error:  # pylint: disable=broad-except
                    failures.append(repr(error))

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(3):
                count = len(served)
                pair.wait_for(lambda c=count: len(served) > c + 20 or failures, "twenty more clients")
                segment.terminate()
                self.drained(segment, pair.DEADLINE)
                base = segment.base
                segment = self.segment(text, name=f"segment{number}")
                segment.base = base
                controller.wait_link(count=2 + number)
            count = len(served)
            pair.wait_for(lambda: len(served) > count + 20 or failures, "twenty more clients")
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        self.links(controller, segment)

    # -- idle conversations

    def idle_pair(self, serve, number, idle="500 ms", **more):
        """A pair of which one end, 0 the controller, resets idle conversations when it drains."""
        keys = [f"drain_timeout=60 s\ndrain_idle={idle if end == number else '0'}" for end in (0, 1)]
        backend = self.backend(serve)
        return backend, self.pair(backend.url, controller_global=keys[0], segment_global=keys[1], **more)

    def end_idle(self, daemon, client):
        start = time.monotonic()
        daemon.terminate()
        self.assertEqual(client.read_to_end()[:2], ("reset", 0))
        self.drained(daemon)
        daemon.wait_conversation(end="drain-timeout")
        return time.monotonic() - start

    def test_idle_conversation_is_reset_after_drain_idle(self):
        for number in (0, 1):
            _, both = self.idle_pair(pair.echo, number)
            client = both.connect()
            client.exchange(b"hello")
            self.assertGreater(self.end_idle(both.both[number], client), 0.4)

    def test_conversation_that_has_been_idle_is_reset_at_once(self):
        for number in (0, 1):
            _, both = self.idle_pair(pair.echo, number)
            client = both.connect()
            client.exchange(b"hello")
            pair.window(0.7)
            self.assertLess(self.end_idle(both.both[number], client), 0.4 * pair.PATIENCE)

    def test_by_default_idle_is_5_s(self):
        for number in (0, 1):
            both = self.pair(self.backend(pair.echo).url)
            client = both.connect()
            client.exchange(b"hello")
            seconds = self.end_idle(both.both[number], client)
            self.assertGreater(seconds, 4.5)
            self.assertLess(seconds, 6 * pair.PATIENCE)

    def test_request_that_waits_for_its_answer_is_not_idle(self):
        for number in (0, 1):
            proceed = threading.Event()

            def serve(peer, proceed=proceed):
                peer.send(b"welcome\n").read_exact(7)
                proceed.wait(pair.DEADLINE * pair.PATIENCE)
                peer.send(b"answer\n")
                return peer.read_to_end()

            _, both = self.idle_pair(serve, number)
            client = both.connect()
            client.read_line()
            client.send(b"request")
            both.both[number].terminate()
            self.assertFalse(client.readable(1.5))
            proceed.set()
            self.assertEqual(client.read_line(), b"answer\n")
            self.assertEqual(client.read_to_end()[:2], ("reset", 0))
            self.drained(both.both[number])

    def test_client_that_has_ended_and_waits_for_its_answer_is_not_idle(self):
        for number in (0, 1):
            proceed = threading.Event()

            def serve(peer, proceed=proceed):
                peer.send(b"welcome\n").read_to_end()
                proceed.wait(pair.DEADLINE * pair.PATIENCE)
                peer.send(b"answer\n").finish()

            _, both = self.idle_pair(serve, number)
            client = both.connect()
            client.read_line()
            client.finish()
            both.both[number].terminate()
            self.assertFalse(client.readable(1.5))
            proceed.set()
            self.assertEqual(client.read_rest(), b"answer\n")
            self.drained(both.both[number])

    def test_answer_that_the_client_does_not_read_is_not_idle(self):
        size = scaled(32 * MIB)
        for number in (0, 1):
            def serve(peer):
                peer.read_exact(1)
                peer.send_pattern(size)
                return peer.read_to_end()

            _, both = self.idle_pair(serve, number)
            client = both.connect(receive_buffer=4096)
            client.send(b"x")
            self.assertEqual(client.read_exact(1), PATTERN.bytes(1))
            both.both[number].terminate()
            pair.window(1.5)
            self.assertTrue(both.both[number].alive)
            self.assertEqual(client.read_exact(size - 1), PATTERN.bytes(size)[1:])
            self.assertEqual(client.read_to_end()[:2], ("reset", 0))
            self.drained(both.both[number])

    def test_with_drain_idle_0_only_drain_timeout_counts(self):
        for number in (0, 1):
            both = self.pair(self.backend(pair.echo).url, controller_global="drain_timeout=2 s\ndrain_idle=0",
                             segment_global="drain_timeout=2 s\ndrain_idle=0")
            client = both.connect()
            client.exchange(b"hello")
            self.assertGreater(self.end_idle(both.both[number], client), 1.8)

    def test_client_that_publishes_is_idle_though_nobody_answers(self):
        backend, both = self.idle_pair(lambda peer: peer.read_to_end().size, 0, controller="mode=publish")
        client = both.connect()
        client.send(b"news")
        pair.wait_for(lambda: backend.accepted, "the backend's connection")
        self.end_idle(both.controller, client)
        self.assertEqual(backend.outcome(), 4)

    def test_client_of_several_servers_is_idle_when_they_have_answered(self):
        links = [self.pair(self.backend(pair.echo).url).link_url for _ in range(2)]
        for mode in ("half duplex", "full duplex", "balance"):
            controller = self.controller(
                f"[Cloudbus]\ndrain_timeout=60 s\ndrain_idle=500 ms\n[Orders]\nbind=tcp://127.0.0.1:0\n"
                f"server={links[0]}\nserver={links[1]}\nmode={mode}\n", name=mode.replace(" ", "-"))
            controller.wait_link(count=2)
            client = self.connect(controller.address())
            client.send(b"hello").read_exact(10 if mode == "full duplex" else 5)
            self.end_idle(controller, client)

    # -- newcomers

    def test_clients_who_have_connected_when_the_controller_stops_are_served(self):
        both = self.pair(self.backend(pair.echo).url)
        both.controller.signal(signal.SIGSTOP)
        clients = [both.connect() for _ in range(100)]
        both.controller.terminate()
        both.controller.signal(signal.SIGCONT)
        for client in clients:
            self.assertEqual(client.exchange(b"hello"), b"hello")
            client.finish()
            self.assertEqual(client.read_to_end()[:2], ("fin", 0))
            client.close()
        self.drained(both.controller)

    def test_successor_takes_every_kind_of_address_over_from_one_that_drains(self):
        for kind in pair.KINDS:
            for number in (0, 1):
                with self.subTest(kind=kind, number=number):
                    self.succeed(kind, number)

    def succeed(self, kind, number):
        proceed = threading.Event()

        def serve(peer):
            if peer.read() == b"slow":
                proceed.wait(pair.DEADLINE * pair.PATIENCE)
            peer.send(b"done\n").finish()

        backend = self.backend(serve)
        both = self.pair(backend.url, kind, kind, controller="connect_timeout=60 s",
                         controller_global="drain_timeout=60 s", segment_global="drain_timeout=60 s")
        old = both.both[number]
        slow = both.connect().send(b"slow")
        pair.wait_for(lambda: backend.accepted, "the backend's connection")
        old.terminate()
        old.wait_log(lambda r: r.message == "drains", "drains")
        successor = self.daemon(old.role, old.frozen_text(), name=f"successor{len(self.daemons)}")
        self.links(both.controller if number else successor, successor if number else both.segment)
        with both.connect() as quick:
            self.assertEqual(quick.send(b"quick").read_line(), b"done\n")
        self.assertTrue(old.alive)
        proceed.set()
        self.assertEqual(slow.read_line(), b"done\n")
        slow.close()
        self.drained(old)
        # What is there now is the successor's.
        with both.connect() as quick:
            self.assertEqual(quick.send(b"quick").read_line(), b"done\n")
        successor.base = old.base

    def test_unix_socket_files_are_gone_after_a_drain(self):
        both = self.pair("builtin:echo", client="unix", link="unix")
        paths = [pair.socket_address(url)[1] for url in (both.url, both.link_url)]
        for daemon in both.both:
            daemon.stop()
        self.assertEqual([path for path in paths if os.path.exists(path)], [])

    def test_client_that_waits_for_a_link_is_reset_at_drain_timeout(self):
        controller = self.controller(
            f"[Cloudbus]\ndrain_timeout=500 ms\n[Orders]\nbind=tcp://127.0.0.1:0\n"
            f"server=tcp://{pair.HOME}:{pair.free_port()}\nconnect_timeout=60 s\n")
        client = self.connect(controller.address())
        controller.wait_log(lambda r: r.subject == "link", "its attempts")
        controller.terminate()
        self.assertEqual(client.read_to_end().how, "reset")
        self.drained(controller)


if __name__ == "__main__":
    unittest.main()
