# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
# exclusive: no
"""Links that go silent while somebody waits: the conversation goes on over another link within two seconds."""

import os
import signal
import threading
import time
import unittest

import cutter
import dns
import pair
from pair import KIB, PATTERN

SILENCES = int(os.environ.get("SILENCES", "12" if not pair.SANITIZER else "6"))
WORST = 2.5 * pair.PATIENCE  # seconds


class Silence(pair.Case):

    def through(self, server="builtin:echo"):
        """A pair whose link passes through a relay that can swallow."""
        segment = self.segment(f"[Cloudbus]\nbind=tcp://127.0.0.1:0\n[Orders]\nserver={server}\n")
        relay = self.keep(cutter.Cutter(segment.listening()[0].fields["address"]))
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={relay.url}\n")
        controller.wait_link()
        self.links(controller, segment)
        return controller, segment, relay

    def test_silences_under_load(self):
        """Both ways, and one way only; every byte is right, and no pause is long."""
        controller, segment, relay = self.through()
        stop, pauses, failures = threading.Event(), [], []

        def talk(number):
            pattern = pair.Pattern(number).bytes(16 * KIB)
            try:
                with pair.connect(controller.address()) as client:
                    while not stop.is_set():
                        start = time.monotonic()
                        if client.exchange(pattern) != pattern:
                            raise AssertionError("the bytes differ")
                        pauses.append(time.monotonic() - start)
                        stop.wait(0.01)
            except (OSError, AssertionError) as error:
                failures.append(repr(error))
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(1, 9)]
        for thread in threads:
            thread.start()
        try:
            for number in range(SILENCES):
                mark = controller.mark()
                relay.swallow(("both", "up", "down")[number % 3])
                controller.wait_log(lambda r: r.message.startswith("resumed"), "resumed", mark)
                done = len(pauses)
                pair.wait_for(lambda d=done: len(pauses) > d + 20 or failures, "the conversations to go on")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        print(f"{SILENCES} silences, {len(pauses)} exchanges: worst pause {max(pauses) * 1000:.0f} ms")
        self.assertLess(max(pauses), WORST)
        self.assertFalse(segment.find(lambda r: r.message == "given up"))

    def test_a_transfer_goes_on(self):
        size = 64 << 20
        backend = self.backend(lambda peer: peer.send_pattern(size).finish().read_to_end())
        controller, _, relay = self.through(backend.url)
        with self.connect(controller.address()) as client:
            first = client.read_exact(1 << 20)
            start = time.monotonic()
            relay.swallow("both")
            rest = client.read_exact(size - len(first))
            print(f"went on after {time.monotonic() - start:.2f} s, all of it")
            self.assertEqual((first + rest)[-1000:], PATTERN.bytes(size)[-1000:])
        controller.wait_log(lambda r: r.message.startswith("resumed"), "resumed")

    def test_a_segment_that_is_stopped_for_a_second_keeps_its_link(self):
        controller, segment, _ = self.through()
        with self.connect(controller.address()) as client:
            client.exchange(b"x")
            for _ in range(3):
                mark = controller.mark()
                segment.signal(signal.SIGSTOP)
                client.send(b"y")
                controller.wait_log(lambda r: "tried beside" in r.message, "a link beside it", mark)
                pair.window(0.3)
                segment.signal(signal.SIGCONT)
                self.assertEqual(client.read_exact(1), b"y")
                pair.window(0.7)  # until nothing is left of the other link
        self.assertFalse(controller.find(lambda r: r.message in ("lost", "given up") or r.message.startswith("resumed")))

    def test_an_idle_link_is_left_in_peace(self):
        controller, _, relay = self.through()
        with self.connect(controller.address()) as client:
            client.exchange(b"x")
            pair.window(0.7)  # so that nothing is unanswered
            mark = controller.mark()
            made = relay.made
            pair.window(1.5)
            self.assertFalse(controller.find(lambda r: "tried beside" in r.message, mark))
            self.assertEqual(relay.made, made)


class Paths(dns.Case):

    def test_another_path_takes_over_when_the_one_in_use_dies(self):
        """A segment with two addresses under one name."""
        segment = self.segment("[Cloudbus]\nbind=tcp://127.0.0.1:0\nbind=tcp://127.0.0.1:0\n"
                               "[Orders]\nserver=builtin:echo\n")
        hosts = dns.hosts(2)
        port = dns.free_port(*hosts)
        relays = [self.keep(cutter.Cutter(record.fields["address"], url=f"tcp://{host}:{port}"))
                  for host, record in zip(hosts, segment.listening())]
        self.dns.set("paths", A=hosts)
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://paths.{dns.ZONE}:{port}\n")
        controller.wait_link(count=2)
        self.links(controller, segment, 2)
        with self.connect(controller.address()) as client:
            before = [relay.passed for relay in relays]
            client.exchange(b"x" * 64 * KIB)
            moved = [relay.passed - was for relay, was in zip(relays, before)]
            used, spare = sorted(relays, key=lambda relay: -moved[relays.index(relay)])
            used.refuse()
            used.swallow("both")
            start = time.monotonic()
            self.assertEqual(client.exchange(b"y"), b"y")
            took = time.monotonic() - start
            for daemon in (controller, segment):
                told = daemon.wait_log(lambda r: r.message.startswith("resumed"), "resumed")
            told = controller.find(lambda r: r.message.startswith("resumed"))[0]
            self.assertEqual(told.fields["over"], spare.url)
            print(f"on the other path after {took * 1000:.0f} ms")
            self.assertLess(took, WORST)
        for daemon in (controller, segment):  # before the relays, without which nothing is as it was
            daemon.stop()


if __name__ == "__main__":
    unittest.main()
