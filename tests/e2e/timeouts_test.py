# SPDX-License-Identifier: Apache-2.0
"""connect_timeout, idle_timeout and half_close_timeout, at either end."""

import threading
import time
import unittest

import pair

SIDES = ("controller", "segment")


class Timeouts(pair.Case):

    def on(self, side, text):
        return {side: text}

    def test_backend_that_swallows_is_given_up_after_connect_timeout(self):
        for kind in ("tcp4", "unix"):
            with self.subTest(kind):
                swallow = self.keep(pair.Swallowing(kind, self.folder))
                both = self.pair(swallow.url, segment="connect_timeout=700 ms", controller="connect_timeout=60 s")
                start = time.monotonic()
                with both.connect() as client:
                    self.assertEqual(client.read_to_end()[:2], ("reset", 0))
                self.assertGreater(time.monotonic() - start, 0.6)
                for daemon in both.both:
                    daemon.wait_conversation(end="connect-timeout")

    def test_swallowing_backend_holds_up_nobody_else(self):
        swallow = self.keep(pair.Swallowing())
        segment = self.segment("[Cloudbus]\nbind=tcp://127.0.0.1:0\n[Bad]\nconnect_timeout=1 s\n"
                               f"server={swallow.url}\n[Good]\nserver=builtin:echo\n")
        link = segment.listening()[0].fields["address"]
        controller = self.controller(f"[Bad]\nbind=tcp://127.0.0.1:0\nserver={link}\n"
                                     f"[Good]\nbind=tcp://127.0.0.1:0\nserver={link}\n")
        controller.wait_link()
        self.links(controller, segment)
        waiting = [self.connect(controller.address("Bad")) for _ in range(100)]
        with self.connect(controller.address("Good")) as client:
            self.assertEqual(client.exchange(b"x"), b"x")
        for client in waiting:
            self.assertEqual(client.read_to_end()[:2], ("reset", 0))

    def test_conversation_that_is_idle_is_reset_on_both_sides(self):
        for side in SIDES:
            with self.subTest(side):
                backend = self.backend(lambda peer: (peer.read_exact(1), peer.send(b"y"), peer.read_to_end())[2])
                both = self.pair(backend.url, **self.on(side, "idle_timeout=500 ms"))
                with both.connect() as client:
                    client.exchange(b"x")
                    start = time.monotonic()
                    self.assertEqual(client.read_to_end()[:2], ("reset", 0))
                    self.assertGreater(time.monotonic() - start, 0.4)
                    self.assertEqual(backend.outcome()[:2], ("reset", 0))
                for daemon in both.both:
                    daemon.wait_conversation(end="idle-timeout")

    def test_bytes_in_either_direction_keep_a_conversation_from_being_idle(self):
        both = self.pair(self.backend(pair.hold).url, controller="idle_timeout=2 s", segment="idle_timeout=2 s")
        with both.connect() as client:
            start = time.monotonic()
            while time.monotonic() - start < 4:
                client.send(b"x")
                self.assertFalse(client.readable(0.1))
        for daemon in both.both:
            daemon.wait_conversation(end="client-fin/server-fin")

    def test_no_idle_timeout_by_default(self):
        both = self.pair("builtin:echo")
        with both.connect() as client:
            client.exchange(b"x")
            self.assertFalse(client.readable(3))
            self.assertEqual(client.exchange(b"y"), b"y")

    def test_half_closed_by_the_client_for_too_long(self):
        for side in SIDES:
            with self.subTest(side):
                backend = self.backend(lambda peer: (peer.read_to_end(), peer.wait_broken())[1])
                both = self.pair(backend.url, **self.on(side, "half_close_timeout=500 ms"))
                with both.connect() as client:
                    client.finish()
                    start = time.monotonic()
                    self.assertEqual(client.read_to_end()[:2], ("reset", 0))
                    self.assertGreater(time.monotonic() - start, 0.4)
                self.assertTrue(backend.outcome(), "the backend is reset")
                for daemon in both.both:
                    daemon.wait_conversation(end="half-close-timeout")

    def test_half_closed_by_the_server_for_too_long(self):
        for side in SIDES:
            with self.subTest(side):
                backend = self.backend(lambda peer: peer.finish().read_to_end())
                both = self.pair(backend.url, **self.on(side, "half_close_timeout=500 ms"))
                with both.connect() as client:
                    self.assertEqual(client.read_to_end()[:2], ("fin", 0))
                    self.assertEqual(backend.outcome().how, "reset")
                    # Not before: the client's own end could come first at the controller.
                    for daemon in both.both:
                        daemon.wait_conversation(end="half-close-timeout")

    def test_half_closed_conversation_that_moves_is_left_alone(self):
        def serve(peer):
            peer.read_to_end()
            for _ in range(20):
                peer.send(b"x")
                threading.Event().wait(0.1)
            peer.finish()

        backend = self.backend(serve)
        both = self.pair(backend.url, controller="half_close_timeout=1 s", segment="half_close_timeout=1 s")
        with both.connect() as client:
            client.finish()
            self.assertEqual(client.read_to_end()[:2], ("fin", 20))

    def test_client_that_does_not_read_is_idle_too(self):
        backend = self.backend(lambda peer: peer.send_pattern(64 * pair.MIB) and None)
        both = self.pair(backend.url, controller="idle_timeout=1 s")
        client = both.connect()
        both.controller.wait_conversation(end="idle-timeout")
        self.assertEqual(client.read_to_end().how, "reset")

    def test_zero_is_no_timeout(self):
        backend = self.backend(lambda peer: (peer.read_to_end(), peer.readable(0), peer.send(b"y").finish())[0])
        both = self.pair(backend.url, controller="idle_timeout=0\nhalf_close_timeout=0",
                         segment="idle_timeout=0\nhalf_close_timeout=0")
        with both.connect() as client:
            client.finish()
            self.assertEqual(client.read_to_end()[:2], ("fin", 1))


if __name__ == "__main__":
    unittest.main()
