# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
"""Servers that refuse for a moment, and local ports that run out."""

import os
import socket
import threading
import time
import unittest

import pair


def after(seconds, action):
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


class Retry(pair.Case):

    def later(self, url, seconds, serve=pair.echo):
        """A backend that listens at the address after a while."""
        return after(seconds, lambda: self.backend(serve, url=url))

    def free_url(self, kind):
        if kind == "unix":
            return f"unix://{self.folder}/later.sock"
        return f"tcp://127.0.0.1:{pair.free_port()}"

    def test_a_server_that_restarts_is_waited_for(self):
        for kind in ("tcp4", "unix"):
            with self.subTest(kind):
                url = self.free_url(kind)
                both = self.pair(url, service="Orders" + kind)
                with both.connect() as client:
                    client.send(b"hello")
                    self.later(url, 1.5)
                    self.assertEqual(client.read_exact(5), b"hello")
                record = both.segment.wait_conversation(service="Orders" + kind)
                self.assertEqual(record.fields["end"].split("-")[0], "client")
                warnings = both.segment.find(lambda r: "cannot connect" in r.message)
                self.assertEqual(len(warnings), 1, "each client's failure is told once")

    def test_without_connect_retry_the_client_is_reset_at_once(self):
        for side in ("controller", "segment"):
            with self.subTest(side):
                both = self.pair(self.free_url("tcp4"), **{side: "connect_retry=no"})
                start = time.monotonic()
                self.assertEqual(both.refusal()[:2], ("reset", 0))
                self.assertLess(time.monotonic() - start, 2 * pair.PATIENCE)
                for daemon in both.both:
                    daemon.wait_conversation(end="connect-failed")

    def test_a_server_that_stays_away_is_told_as_such_within_connect_timeout(self):
        both = self.pair(self.free_url("tcp4"), segment="connect_timeout=1 s", controller="connect_timeout=10 s")
        start = time.monotonic()
        with both.connect() as client:
            self.assertEqual(client.read_to_end()[:2], ("reset", 0))
        self.assertLess(time.monotonic() - start, 5 * pair.PATIENCE)
        for daemon in both.both:
            daemon.wait_conversation(end="connect-failed")

    def test_other_servers_of_a_segment_come_first(self):
        gone, there = self.free_url("tcp4"), self.backend(pair.echo)
        both = self.pair(gone, segment=f"server={there.url}\nbalance=first")
        for _ in range(3):
            start = time.monotonic()
            with both.connect() as client:
                self.assertEqual(client.exchange(b"x"), b"x")
            self.assertLess(time.monotonic() - start, 2 * pair.PATIENCE)

    def segments(self, servers, mode, more=""):
        """A controller with a segment before each server."""
        segments = [self.segment(f"[Cloudbus]\nbind=tcp://127.0.0.1:0\n[Orders]\nserver={server}\n", name=f"segment-{n}")
                    for n, server in enumerate(servers)]
        links = [segment.listening()[0].fields["address"] for segment in segments]
        controller = self.controller("[Orders]\nbind=tcp://127.0.0.1:0\n" + "".join(f"server={u}\n" for u in links) +
                                     f"mode={mode}\n{more}\n")
        controller.wait_link(count=len(segments))
        for segment in segments:
            self.links(controller, segment)
        return controller

    def others_come_first(self, mode):
        controller = self.segments([self.free_url("tcp4"), self.backend(pair.echo).url], mode)
        start = time.monotonic()
        with self.connect(controller.address()) as client:
            self.assertEqual(client.exchange(b"x"), b"x")
        self.assertLess(time.monotonic() - start, 2 * pair.PATIENCE)

    def test_other_servers_of_a_fan_out_come_first(self):
        self.others_come_first("half duplex")

    def test_other_servers_of_a_balanced_service_come_first(self):
        self.others_come_first("balance\nbalance=first")

    def one_is_waited_for(self, mode, which):
        servers = [self.free_url("tcp4") for _ in range(3)]
        controller = self.segments(servers, mode)
        with self.connect(controller.address()) as client:
            client.send(b"hello")
            self.later(servers[which], 1)
            self.assertEqual(client.read_exact(5), b"hello")
            client.finish()
            start = time.monotonic()
            self.assertEqual(client.read_to_end()[:2], ("fin", 0))
            self.assertLess(time.monotonic() - start, 2 * pair.PATIENCE)  # the others are not waited for

    def test_any_server_of_a_half_duplex_fan_out_is_waited_for(self):
        self.one_is_waited_for("half duplex", 0)

    def test_any_server_of_a_full_duplex_fan_out_is_waited_for(self):
        self.one_is_waited_for("full duplex", 1)

    def test_the_last_server_of_a_balanced_service_is_waited_for(self):
        self.one_is_waited_for("balance\nbalance=first", 2)

    def test_a_quorum_is_waited_for(self):
        late = self.free_url("tcp4")
        controller = self.segments([self.backend(pair.echo).url, late], "full duplex", "quorum=2")
        with self.connect(controller.address()) as client:
            client.send(b"hello")
            self.later(late, 1)
            self.assertEqual(client.read_exact(10), b"hello" * 2)

    def test_local_ports_that_run_out_are_no_failure_of_the_server(self):
        if os.geteuid() != 0:
            self.skipTest("network namespaces are root's")
        pair.need("ip", "unshare")
        port = pair.free_port()
        few_ports = os.path.join(os.path.dirname(os.path.abspath(__file__)), "few_ports.py")
        segment = self.segment(f"[Cloudbus]\nbind=unix://{self.folder}/link.sock\n[Orders]\n"
                               f"server=tcp://{pair.HOME}:{port}\nconnect_timeout=1 s\n",
                               prefix=["unshare", "-n", "/usr/bin/python3", few_ports, pair.HOME, str(port)])
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver=unix://{self.folder}/link.sock\n")
        controller.wait_link()
        clients = [self.connect(controller.address()) for _ in range(8)]
        record = controller.wait_conversation(end="no-ports")
        self.assertEqual(record.fields["end"], "no-ports")
        self.assertTrue(segment.find(lambda r: "no local port is free" in r.message))
        self.assertFalse(segment.find(lambda r: "passed over" in r.message or "failed several" in r.message))
        for client in clients:
            client.reset()
        for daemon in (controller, segment):  # before the network of the segment goes
            daemon.stop()


if __name__ == "__main__":
    unittest.main()
