# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
# exclusive: no
"""Links: made at start, shared, lost and made again, and what clients see meanwhile."""

import signal
import time
import unittest

import pair
import wire


def names_server(name):
    """A backend that says its name."""
    return lambda peer: peer.send(name.encode() + b"\n").finish().read_to_end() and None


class Links(pair.Case):

    def two(self, segment_text, controller_text):
        """A segment and a controller for it; LINK in the controller's text is the segment's first address."""
        segment = self.segment(segment_text)
        controller = self.controller(controller_text.replace("LINK", segment.listening()[0].fields["address"]))
        controller.wait_link()
        self.links(controller, segment)
        return controller, segment

    def greeting(self, url):
        with self.connect(url) as client:
            return client.read_line().strip().decode()

    def test_controller_opens_the_link_before_the_first_client(self):
        both = self.pair("builtin:echo")
        both.wait_connected(1)

    def test_clients_share_one_link(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url)
        clients = [both.connect() for _ in range(50)]
        for client in clients:
            self.assertEqual(client.exchange(b"x"), b"x")
        # Each has a socket for every client, and one for the link.
        both.wait_connected(51)

    def test_two_services_with_the_same_segment_share_one_link(self):
        backends = [self.backend(names_server(name)) for name in ("one", "two")]
        controller, segment = self.two(
            f"[Cloudbus]\nbind=tcp://127.0.0.1:0\n[One]\nserver={backends[0].url}\n[Two]\nserver={backends[1].url}\n",
            "[One]\nbind=tcp://127.0.0.1:0\nserver=LINK\n[Two]\nbind=tcp://127.0.0.1:0\nserver=LINK\n")
        self.assertEqual(self.greeting(controller.address("One")), "one")
        self.assertEqual(self.greeting(controller.address("Two")), "two")
        self.assertEqual(len(controller.find(lambda r: r.subject == "link" and "up" in r.message.split())), 1)
        pair.wait_for(lambda: (controller.connected(), segment.connected()) == (1, 1), "one link and nothing else")

    def test_links_key_makes_that_many_links_and_spreads_the_clients(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url, links=3)
        both.wait_connected(3)
        clients = [both.connect() for _ in range(30)]
        for client in clients:
            self.assertEqual(client.exchange(b"x"), b"x")

    def test_every_one_of_several_links_is_used(self):
        raw = self.keep(wire.RawSegment())
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={raw.url}\nlinks=3\n")
        peers = [self.keep(raw.accept()) for _ in range(3)]
        controller.wait_link(count=3)
        clients = [self.connect(controller.address()) for _ in range(9)]
        for peer in peers:
            for _ in range(3):
                self.assertEqual(peer.wait(wire.OPEN).type, wire.OPEN)
        for client in clients:
            client.close()
        self.skip_invariants = True

    def test_link_over_a_unix_socket(self):
        both = self.pair("builtin:echo", link="unix")
        with both.connect() as client:
            self.assertEqual(client.exchange(b"x" * 100000), b"x" * 100000)

    def test_shared_bind_serves_by_name(self):
        backends = [self.backend(names_server(name)) for name in ("one", "two")]
        controller, _ = self.two(
            f"[Cloudbus]\nbind=tcp://127.0.0.1:0\n[One]\nserver={backends[0].url}\n[Two]\nserver={backends[1].url}\n",
            "[Mine]\nbind=tcp://127.0.0.1:0\nserver=LINK\nservice=Two\n")
        self.assertEqual(self.greeting(controller.address("Mine")), "two")

    def test_own_bind_serves_its_service_whatever_the_name(self):
        backend = self.backend(names_server("orders"))
        controller, _ = self.two(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={backend.url}\n",
                                 "[Anything else]\nbind=tcp://127.0.0.1:0\nserver=LINK\n")
        self.assertEqual(self.greeting(controller.address()), "orders")

    def test_unknown_service_is_reset_and_logged_on_both_sides(self):
        controller, segment = self.two(
            "[Cloudbus]\nbind=tcp://127.0.0.1:0\n[One]\nserver=builtin:echo\n",
            "[Missing]\nbind=tcp://127.0.0.1:0\nserver=LINK\n")
        self.assertEqual(self.refusal(controller.address()), ("reset", 0))
        controller.wait_conversation(end="unknown-service")
        record = segment.wait_log(lambda r: "unknown-service" in r.line, "unknown service")
        self.assertIn("Missing", record.line)
        self.assertEqual(len(segment.find(lambda r: r.subject == "link" and "lost" in r.line)), 0)

    # -- losing the link

    def restart(self, segment, name="again"):
        base = segment.base
        again = self.segment(segment.frozen_text(), name=name)
        again.base = base
        return again

    def test_killed_segment_resets_clients_and_new_ones_are_served_after_its_return(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url, link_bind=f"tcp://{pair.HOME}:0", controller="resume=0")
        clients = [both.connect() for _ in range(20)]
        for client in clients:
            client.exchange(b"x")
        mark = both.controller.mark()
        both.segment.kill()
        for client in clients:
            self.assertEqual(client.read_to_end().how, "reset")
        both.controller.wait_conversation(mark, count=20, end="link-lost")
        both.controller.wait_log(lambda r: r.level == "warning" and r.subject == "link", "loss of the link", mark)
        again = self.restart(both.segment)
        both.controller.wait_link(mark, count=1)
        self.links(both.controller, again)
        with both.connect() as client:
            self.assertEqual(client.exchange(b"back"), b"back")

    def test_backend_is_reset_when_the_controller_is_killed(self):
        backend = self.backend(pair.hold)
        both = self.pair(backend.url, segment="resume=0")
        both.connect()
        pair.wait_for(lambda: backend.accepted, "the backend's connection")
        both.controller.kill()
        self.assertEqual(backend.outcome().how, "reset")
        both.segment.wait_conversation(end="link-lost")

    def test_client_waits_for_a_segment_that_comes_in_time(self):
        backend = self.backend(pair.echo)
        address = f"tcp://{pair.HOME}:{pair.free_port()}"
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={address}\nconnect_timeout=60 s\n")
        client = self.connect(controller.address())
        client.send(b"early")
        self.assertFalse(client.readable(0.5))
        segment = self.segment(f"[Orders]\nbind={address}\nserver={backend.url}\n")
        self.links(controller, segment)
        self.assertEqual(client.read_exact(5), b"early")

    def test_client_is_reset_after_connect_timeout_without_a_segment(self):
        address = f"tcp://{pair.HOME}:{pair.free_port()}"
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={address}\nconnect_timeout=700 ms\n")
        start = time.monotonic()
        with self.connect(controller.address()) as client:
            self.assertEqual(client.read_to_end()[:2], ("reset", 0))
        self.assertGreater(time.monotonic() - start, 0.6)
        controller.wait_conversation(end="no-segment")
        # It goes on dialling, and says so, but not in a hurry.
        mark = controller.mark()
        self.assertLess(controller.load(0.5), 0.05)
        self.assertLess(len(controller.records) - mark, 20)

    def test_client_that_gives_up_while_it_waits_is_forgotten(self):
        address = f"tcp://{pair.HOME}:{pair.free_port()}"
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={address}\nconnect_timeout=60 s\n")
        for _ in range(10):
            client = self.connect(controller.address())
            client.send(b"x")
            client.reset()
        controller.wait_conversation(count=10, end="client-reset")

    def test_link_comes_back_within_the_backoff(self):
        both = self.pair("builtin:echo", link_bind=f"tcp://{pair.HOME}:0")
        both.segment.kill()
        both.controller.wait_log(lambda r: r.level == "warning" and r.subject == "link", "loss of the link")
        pair.window(2)
        mark = both.controller.mark()
        again = self.restart(both.segment)
        start = time.monotonic()
        both.controller.wait_link(mark)
        self.links(both.controller, again)
        # 5 s and their jitter; the rest is for a slow machine.
        self.assertLess(time.monotonic() - start, 15 * pair.PATIENCE)

    def test_link_socket_killed_by_the_kernel_is_made_again(self):
        raw = self.keep(wire.RawSegment())
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={raw.url}\n")
        for _ in range(3):
            peer = raw.accept()
            controller.wait_link()
            pair.Peer(peer.socket).reset()
        self.keep(raw.accept())
        self.skip_invariants = True

    def test_stopped_peers_are_noticed_within_15_seconds_and_quiet_ones_are_left_alone(self):
        """In one test, as it takes so long: a stopped segment, a stopped controller, and a pair with nothing to say."""
        stuck = self.pair(self.backend(pair.echo).url, controller="resume=0")
        quiet = self.pair(self.backend(pair.echo).url)
        held = self.backend(pair.hold)
        mute = self.pair(held.url, segment="resume=0")
        client, idle = stuck.connect(), quiet.connect()
        mute.connect()
        client.exchange(b"x")
        idle.exchange(b"x")
        pair.wait_for(lambda: held.accepted, "the backend's connection")
        stopped = (stuck.segment, mute.controller)
        for daemon in stopped:
            daemon.signal(signal.SIGSTOP)
        start = time.monotonic()
        try:
            self.assertEqual(client.read_to_end().how, "reset")
            stuck.controller.wait_conversation(end="link-lost")
            self.assertEqual(held.outcome().how, "reset")
            mute.segment.wait_conversation(end="link-lost")
            self.assertLess(time.monotonic() - start, 15 + (10 if pair.SANITIZER else 1))
        finally:
            for daemon in stopped:
                daemon.signal(signal.SIGCONT)
        # The ones that slept find out, and the links are made again.
        stuck.segment.wait_conversation(end="link-lost")
        stuck.controller.wait_link(count=2)
        mute.controller.wait_link(count=2)
        with stuck.connect() as again:
            self.assertEqual(again.exchange(b"back"), b"back")
        self.assertEqual(idle.exchange(b"y"), b"y")
        self.assertEqual(len(quiet.controller.find(lambda r: r.subject == "link" and "up" in r.message.split())), 1)

    # -- the wrong peer

    def test_controller_that_dials_a_controller_is_told_so(self):
        """Its bytes are passed on, as they may be a link through another pair; but the log of the one it dials tells."""
        both = self.pair(self.backend(pair.hold).url)
        self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={both.url}\n", name="dialling")
        both.controller.wait_log(lambda r: r.level == "warning" and "controller" in r.message, "its mistake")

    def test_controller_that_meets_its_own_role_is_told_so(self):
        both = self.pair("builtin:echo")
        dialling = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={both.url}\n", name="dialling")
        record = dialling.wait_log(lambda r: r.subject == "link" and r.level == "warning", "its mistake")
        self.assertIn("controller", record.line)

    def test_link_through_another_pair(self):
        inner = self.pair("builtin:echo")
        outer = self.pair(inner.link_url, service="Tunnel")
        front = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={outer.url}\n", name="front")
        front.wait_link()
        with self.connect(front.address()) as client:
            self.assertEqual(client.exchange(b"x" * 100000), b"x" * 100000)
        front.stop()

    def test_controller_that_dials_something_else_says_so_and_goes_on(self):
        stranger = self.backend(lambda peer: peer.send(b"SSH-2.0-OpenSSH_9.2\r\n").read_to_end() and None)
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={stranger.url}\n")
        controller.wait_log(lambda r: r.subject == "link" and r.level == "warning", "the stranger")
        pair.wait_for(lambda: stranger.accepted > 1, "a second attempt")

    def test_two_controllers_of_one_segment(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url)
        other = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={both.link_url}\n", name="other")
        other.wait_link()
        self.links(other, both.segment)
        for url in (both.url, other.address()):
            with self.connect(url) as client:
                self.assertEqual(client.exchange(b"x"), b"x")

    def test_one_controller_of_two_segments(self):
        backends = [self.backend(names_server(name)) for name in ("one", "two")]
        segments = [self.segment(f"[S]\nbind=tcp://127.0.0.1:0\nserver={backend.url}\n", name=f"segment{number}")
                    for number, backend in enumerate(backends)]
        controller = self.controller("".join(
            f"[S{number}]\nbind=tcp://127.0.0.1:0\nserver={segment.address()}\n"
            for number, segment in enumerate(segments)))
        controller.wait_link(count=2)
        for segment in segments:
            self.links(controller, segment)
        self.assertEqual([self.greeting(controller.address(f"S{n}")) for n in (0, 1)], ["one", "two"])
        segments[0].kill()
        self.assertEqual(self.greeting(controller.address("S1")), "two")

    def test_several_threads_serve_the_same_service(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url, controller_global="threads=2", segment_global="threads=2", links=2)
        for _ in range(50):
            with both.connect() as client:
                self.assertEqual(client.exchange(b"x"), b"x")


if __name__ == "__main__":
    unittest.main()
