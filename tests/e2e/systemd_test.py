# SPDX-License-Identifier: Apache-2.0
# exclusive: measured
# timeout: 300
"""Sockets that systemd opens and passes: `bind = systemd:NAME`, and what a restart costs with them."""

import os
import socket
import threading
import time
import unittest

import pair
from service_manager import Activation, Service, Ticks, listener

ANY = "tcp://127.0.0.1:0"


class Passed(pair.Case):

    def segment_with(self, text, *passed, **more):
        for _, sock in passed:
            self.keep(sock)
        return self.segment(text, passed=passed, **more)

    def visit(self, url):
        with pair.connect(url) as client:
            self.assertEqual(client.exchange(b"hello"), b"hello")

    def test_bind_has_the_socket_of_its_name_and_serves_there(self):
        links, clients = listener(ANY), listener(ANY)
        segment = self.segment_with("[Cloudbus]\nbind=systemd:links\n[Orders]\nserver=builtin:echo\n", ("links", links))
        record = segment.listening()[0]
        self.assertEqual((record.fields["address"], record.fields["bind"]), (pair.url_of(links), "systemd:links"))
        self.keep(clients)
        controller = self.controller(f"[Orders]\nbind=systemd:orders\nserver={pair.url_of(links)}\n",
                                     passed=[("orders", clients)])
        controller.wait_link()
        self.links(controller, segment)
        self.visit(pair.url_of(clients))

    def test_every_socket_of_a_name_belongs_to_its_bind(self):
        path = f"{self.folder}/orders.sock"
        clients = [listener(ANY), listener("tcp://[::1]:0"), listener(f"unix://{path}"), listener("unix:@" + path)]
        other = listener(ANY)
        both = self.pair("builtin:echo")
        for sock in (*clients, other):
            self.keep(sock)
        passed = [("orders", clients[0]), ("other", other)] + [("orders", sock) for sock in clients[1:]]
        controller = self.controller(
            f"[Orders]\nbind=systemd:orders\nserver={both.link_url}\n"
            f"[Other]\nbind=systemd:other\nserver={both.link_url}\n", passed=passed, name="passed")
        controller.wait_link()
        self.links(controller, both.segment)
        self.assertEqual(sorted(r.fields["address"] for r in controller.listening() if r.subject == "Orders"),
                         sorted(pair.url_of(sock) for sock in clients))
        for sock in clients:
            self.visit(pair.url_of(sock))
        controller.stop()
        self.assertTrue(os.path.exists(path), "the file is systemd's")
        os.unlink(path)

    def test_socket_that_no_bind_names_is_told(self):
        one, two = listener(ANY), listener(ANY)
        daemon = self.segment_with("[Orders]\nbind=systemd:one\nserver=builtin:echo\n", ("one", one), ("two", two))
        warning = daemon.wait_log(lambda r: r.level == "warning", "the warning")
        self.assertEqual(warning.fields["name"], "two")

    def test_socket_that_is_no_listening_stream_is_told(self):
        packets, silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        daemon = self.segment_with("[Orders]\nbind=systemd:good\nserver=builtin:echo\n",
                                   ("packets", packets), ("silent", silent), ("good", listener(ANY)))
        warnings = daemon.wait_log(lambda r: r.level == "warning", "the warnings", count=2)
        for name, warning in zip(("packets", "silent"), warnings):
            self.assertIn(f'"{name}"', warning.message + warning.line)
            self.assertIn("does not listen", warning.line)

    def test_bind_without_its_socket_says_what_was_passed(self):
        daemon = self.segment_with("[Orders]\nbind=systemd:orders\nserver=builtin:echo\n", ("other", listener(ANY)),
                                   wait=False)
        self.assertEqual(daemon.wait_exit(), os.EX_TEMPFAIL)
        self.assertIn(f"{daemon.file}:2: systemd:orders: systemd passed no socket of this name; it passed other",
                      daemon.output())
        daemon = self.segment("[Orders]\nbind=systemd:orders\nserver=builtin:echo\n", wait=False)
        self.assertEqual(daemon.wait_exit(), os.EX_TEMPFAIL)
        self.assertIn("systemd passed no sockets", daemon.output())

    def test_sockets_of_another_process_are_not_taken(self):
        daemon = self.segment_with("[Orders]\nbind=systemd:orders\nbind=tcp://127.0.0.1:0\nserver=builtin:echo\n",
                                   ("orders", listener(ANY)), env={"LISTEN_PID": "1"})
        warnings = daemon.wait_log(lambda r: r.level == "warning", "the warnings", count=2)
        self.assertIn("not to this one", warnings[0].line)
        self.assertIn("systemd passed no sockets", warnings[1].line)

    def test_reload_matches_binds_by_name(self):
        one, two = listener(ANY), listener(ANY)
        text = "[A]\nbind=systemd:one\nserver=builtin:echo\n[B]\nbind=systemd:two\nserver=builtin:discard\n"
        daemon = self.segment_with(text, ("one", one), ("two", two))
        mark = daemon.mark()
        # It goes, and is told; it moves; it comes back.
        daemon.reload("[A]\nbind=systemd:one\nserver=builtin:echo\n")
        self.assertEqual(daemon.find(lambda r: r.level == "warning", mark)[0].fields["name"], "two")
        mark = daemon.mark()
        daemon.reload("[A]\nbind=systemd:two\nserver=builtin:echo\n[B]\nbind=systemd:one\nserver=builtin:discard\n")
        self.assertEqual(sorted((r.subject, r.fields["bind"]) for r in daemon.find(lambda r: r.message == "listening", mark)),
                         [("A", "systemd:two"), ("B", "systemd:one")])
        daemon.reload(text.replace("systemd:two", "systemd:three"), refused=True)
        daemon.reload(text)


class Restart(pair.Case):
    """A restart in systemd's order: the successor starts when the old process has ended."""

    idle = 5.0  # drain_idle

    def services(self, more=""):
        links, clients = listener(ANY), listener(ANY)
        backend = self.backend(pair.echo)
        segment = Service(self, "segment", f"[Cloudbus]\n{more}bind=systemd:links\n[Orders]\nserver={backend.url}\n",
                          {"links": [links]})
        controller = Service(
            self, "controller", f"[Cloudbus]\n{more}[Orders]\nbind=systemd:orders\nserver={pair.url_of(links)}\n"
            "connect_timeout=20 s\n", {"orders": [clients]})
        segment.start()
        controller.start().wait_link()
        self.skip_invariants = True  # who of them has a link changes all the time
        return segment, controller, pair.url_of(clients)

    def restart(self, number):
        services = self.services()
        url = services[2]
        idle = self.connect(url)
        with Ticks(url) as ticks:
            pair.wait_for(lambda: len(ticks.seconds) > 5 or ticks.failures, "some clients")
            self.assertEqual(idle.exchange(b"hello"), b"hello")
            services[number].restart()
            count = len(ticks.seconds)
            pair.wait_for(lambda: len(ticks.seconds) > count + 10 or ticks.failures, "more clients")
        self.assertEqual(ticks.failures, [])
        print(f"{services[number].role}: {len(ticks.seconds)} clients, the longest {max(ticks.seconds):.2f} s",
              flush=True)
        self.assertLess(max(ticks.seconds), self.idle + 1 * pair.PATIENCE)
        self.assertEqual(idle.read_to_end().how, "reset")

    def test_restart_of_the_controller_refuses_nobody(self):
        self.restart(1)

    def test_restart_of_the_segment_refuses_nobody(self):
        self.restart(0)

    def successor(self, number):
        """Beside a process that drains, for as long as a client waits for its answer."""
        answer = threading.Event()

        def serve(peer):
            data = peer.read()
            if data == b"slow":
                answer.wait(pair.DEADLINE * pair.PATIENCE)
            while data:
                peer.send(data)
                data = peer.read()
            peer.finish()

        services = self.services()
        service, url = services[number], services[2]
        backend = self.open[0]
        backend.serve = serve
        slow = self.connect(url).send(b"slow")
        pair.wait_for(lambda: backend.accepted == 1, "the slow one")
        with Ticks(url) as ticks:
            pair.wait_for(lambda: len(ticks.seconds) > 5 or ticks.failures, "some clients")
            old = service.daemon
            old.terminate()
            service.start()
            count = len(ticks.seconds)
            pair.wait_for(lambda: len(ticks.seconds) > count + 10 or ticks.failures, "more clients")
            self.assertTrue(old.alive)
            answer.set()
            self.assertEqual(slow.read_exact(4), b"slow")
            slow.finish()
            self.assertEqual(old.wait_exit(), 0)
        self.assertEqual(ticks.failures, [])
        print(f"{service.role}: {len(ticks.seconds)} clients, the longest {max(ticks.seconds):.2f} s", flush=True)
        self.assertLess(max(ticks.seconds), 1 * pair.PATIENCE)

    def test_successor_of_the_controller_beside_the_old_one(self):
        self.successor(1)

    def test_successor_of_the_segment_beside_the_old_one(self):
        self.successor(0)


class WrongFile(pair.Case):
    """Clients wait while the file is wrong: the socket stays, and the daemon does not start all the time."""

    def test_after_mending_the_file_the_next_start_serves_them(self):
        clients = listener(ANY)
        both = self.pair("builtin:echo")
        good = f"[Orders]\nbind=systemd:orders\nserver={both.link_url}\n"
        service = Service(self, "controller", good + "colour=blue\n", {"orders": [clients]})
        self.skip_invariants = True
        with Activation(service) as activation:
            waiting = [self.connect(pair.url_of(clients)) for _ in range(10)]
            pair.wait_for(lambda: len(activation.codes) == 2, "two starts")
            self.assertEqual(activation.codes, [os.EX_CONFIG] * 2)
            self.assertGreater(activation.starts[1] - activation.starts[0], 1.5)
            service.text = good
            start = time.monotonic()
            for client in waiting:
                self.assertEqual(client.exchange(b"hello"), b"hello")
            self.assertLess(time.monotonic() - start, 5 * pair.PATIENCE)
            self.assertFalse(activation.is_out)
            service.daemon.stop()


if __name__ == "__main__":
    unittest.main()
