# SPDX-License-Identifier: Apache-2.0
# sanitizers: address
"""Which addresses are passed over: checks by `health`, links that are silent; and further links with `links = auto`."""

import contextlib
import signal
import unittest

import dns
import pair
import wire

OUT, BACK = "the server is passed over", "the server can be connected again"
LINK_OUT, LINK_BACK = "its checks are not answered", "answers its checks again"
CHECKS = "health=tcp 100 ms fall 2 rise 2"


class Case(dns.Case):

    def logged(self, daemon, message, server):
        address = server.removeprefix("tcp://")
        return len(daemon.find(lambda r: message in r.line and address in r.line))

    def wait_logged(self, daemon, message, server):
        pair.wait_for(lambda: self.logged(daemon, message, server), f"{message} {server}")

    @contextlib.contextmanager
    def stopped(self, daemon):
        daemon.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            daemon.signal(signal.SIGCONT)


class Servers(Case):
    """What a segment checks."""

    def setUp(self):
        super().setUp()
        self.backends = [self.backend(dns.say(name)) for name in "ab"]
        self.urls = [backend.url for backend in self.backends]

    def front_of(self, urls, more=CHECKS):
        return self.pair(urls[0], segment="".join(f"server={url}\n" for url in urls[1:]) + more)

    def test_server_that_fails_its_checks_meets_no_client(self):
        both = self.front_of(self.urls)
        self.backends[0].close()
        self.wait_logged(both.segment, OUT, self.backends[0].url)
        mark = both.segment.mark()
        self.assertEqual(self.names_of(both.url, 20), {"b": 20})
        self.assertEqual(both.segment.find(lambda r: "cannot connect" in r.line, mark), [], "no client is its trial")
        self.backend(dns.say("again"), url=self.urls[0])
        self.wait_logged(both.segment, BACK, self.urls[0])
        self.assertEqual(self.names_of(both.url, 20), {"again": 10, "b": 10})
        for message in (OUT, BACK):
            self.assertEqual(self.logged(both.segment, message, self.urls[0]), 1)
            self.assertEqual(self.logged(both.segment, message, self.urls[1]), 0)

    def test_server_that_is_silent_costs_nobody_time(self):
        silent = self.keep(pair.Swallowing())
        both = self.front_of([silent.url, self.urls[1]], CHECKS + "\nconnect_timeout=60 s")
        self.wait_logged(both.segment, OUT, silent.url)
        with pair.Load(both.url) as load:
            load.wait_more(50)
        self.assertLess(max(load.seconds), 5 * pair.PATIENCE)
        self.assertEqual(list(load.served), ["b"])

    def test_addresses_of_a_name_are_checked(self):
        addresses = dns.hosts(2)
        port = dns.free_port(*addresses)
        self.backend(dns.say("good"), url=f"tcp://{addresses[1]}:{port}")
        self.dns.set("back", A=addresses)
        both = self.pair(f"tcp://back.{dns.ZONE}:{port}", segment=CHECKS)
        self.wait_logged(both.segment, OUT, addresses[0])
        self.assertEqual(self.logged(both.segment, OUT, addresses[1]), 0)
        self.assertEqual(self.names_of(both.url, 5), {"good": 5})

    def test_clients_of_the_only_server_fail_at_once_while_it_is_down(self):
        both = self.front_of(self.urls[:1])
        self.backends[0].close()
        self.wait_logged(both.segment, "the server failed several times", self.urls[0])
        self.assertEqual(both.refusal(), ("reset", 0))
        both.segment.wait_conversation(end="server-down")
        self.backend(dns.say("again"), url=self.urls[0])
        self.wait_logged(both.segment, BACK, self.urls[0])
        self.assertEqual(self.names_of(both.url, 2), {"again": 2})

    def test_check_connects_and_closes(self):
        endings = pair.queue.Queue()
        server = self.backend(lambda peer: endings.put(peer.read_to_end()))
        self.front_of([server.url])
        for _ in range(3):
            self.assertEqual(endings.get(timeout=pair.DEADLINE * pair.PATIENCE)[:2], ("fin", 0))

    def test_without_checks_nobody_is_connected_before_a_client(self):
        both = self.front_of(self.urls, "")
        self.assertEqual(self.names_of(both.url, 10), {"a": 5, "b": 5})
        self.assertEqual([backend.accepted for backend in self.backends], [5, 5])


class Segments(Case):
    """What a controller checks, and what it sees without checks."""

    def test_stopped_segment_that_fails_its_checks_is_passed_over(self):
        sites = self.fleet(2)
        controller = self.front([site.address for site in sites], sites, mode="balance",
                                health="tcp 100 ms fall 2 rise 2")
        with self.stopped(sites[0].segment):
            self.wait_logged(controller, LINK_OUT, sites[0].host)
            self.echoes(controller, 20, {"b": 20})
        self.wait_logged(controller, LINK_BACK, sites[0].host)
        self.echoes(controller, 20, {"a": 10, "b": 10})
        for message in (LINK_OUT, LINK_BACK):
            self.assertEqual(self.logged(controller, message, sites[0].host), 1)
            self.assertEqual(self.logged(controller, message, sites[1].host), 0)

    def echoes(self, controller, count, served):
        """These clients speak first."""
        found = dict.fromkeys(served, 0)
        for _ in range(count):
            with self.connect(controller.address()) as client:
                client.send(b"x\n")
                found[client.read_line().strip().decode()] += 1
                self.assertEqual(client.read_line(), b"x\n")
        self.assertEqual(found, served)

    def test_client_that_has_sent_nothing_leaves_a_stopped_segment(self):
        sites = self.fleet(2)
        self.dns.set("all", A=[site.host for site in sites])
        for server, mode in ((f"tcp://all.{dns.ZONE}:{self.port}", "half duplex"),
                             ([site.address for site in sites], "balance")):
            with self.subTest(mode):
                controller = self.front(server, sites, mode=mode, connect_timeout="60 s")
                with self.stopped(sites[0].segment):
                    clients = [self.connect(controller.address()) for _ in range(10)]
                    for client in clients:
                        self.assertEqual(client.read_line(), b"b\n")
                    self.assertEqual(self.names_of(controller.address(), 10), {"b": 10})
                for client in clients:
                    self.assertEqual(client.exchange(b"x"), b"x")
                self.assertEqual(set(self.names_of(controller.address(), 20)), {"a", "b"})

    def test_clients_that_speak_first_avoid_a_segment_that_is_silent(self):
        sites = self.fleet(2)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites, connect_timeout="60 s")
        with self.stopped(sites[0].segment):
            first = [self.connect(controller.address()) for _ in range(2)]  # one of them has it found out
            for client in first:
                self.assertEqual(client.read_line(), b"b\n")
            self.echoes(controller, 20, {"b": 20})

    def test_segment_that_is_alone_and_silent_is_waited_for(self):
        sites = self.fleet(1)
        controller = self.front(sites[0].address, sites, health="tcp 100 ms fall 1")
        with self.stopped(sites[0].segment):
            self.wait_logged(controller, LINK_OUT, sites[0].host)
            client = self.connect(controller.address())
        self.assertEqual(client.read_line(), b"a\n")
        self.wait_logged(controller, LINK_BACK, sites[0].host)

    def test_fan_out_does_not_leave_a_stopped_segment_out(self):
        sites = self.fleet(2)
        for mode in ("half duplex", "full duplex", "publish"):
            with self.subTest(mode):
                controller = self.front([site.address for site in sites], sites, mode=mode, connect_timeout="60 s",
                                        quorum=2)
                with self.stopped(sites[0].segment):
                    clients = []
                    for _ in range(3):
                        clients.append(self.connect(controller.address()))
                        pair.window(0.3)  # longer than a link may be silent before it is avoided
                for client in clients:
                    client.finish()
                    self.assertEqual(client.read_to_end().how, "fin")
                controller.wait_conversation(count=3)
                self.assertEqual(self.logged(controller, "link-lost", ""), 0)

    def test_refusals_and_checks_are_told_apart(self):
        """A segment that answers its checks, but whose server is gone, is tried by clients and not by checks."""
        sites = self.fleet(2)
        controller = self.front([site.address for site in sites], sites, mode="balance", health="tcp 100 ms")
        sites[0].backend.close()
        self.assertEqual(self.names_of(controller.address(), 20), {"b": 20})
        self.wait_logged(controller, "refused several clients in a row", sites[0].host)
        self.assertEqual(self.logged(controller, LINK_OUT, ""), 0)
        self.assertEqual(self.logged(controller, LINK_BACK, ""), 0)


class Links(pair.Case):
    """links = auto"""

    def setUp(self):
        super().setUp()
        self.skip_invariants = True  # the other ends are tests, which keep them open
        self.raw = self.keep(wire.RawSegment())
        self.controller_of_raw = self.controller(
            f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={self.raw.url}\nlinks=auto\n")

    def accept(self, **more):
        return self.keep(self.raw.accept(**more))

    def client(self):
        return self.connect(self.controller_of_raw.address())

    def joined(self):
        return len(self.controller_of_raw.find(lambda r: "is joined by another" in r.line))

    def test_link_at_its_limit_of_streams_is_joined_by_another(self):
        first = self.accept(streams=2)
        self.controller_of_raw.wait_link()
        clients = [self.client() for _ in range(2)]
        for _ in clients:
            first.wait(wire.OPEN)
        second = self.accept(streams=2)
        more = self.client()
        self.assertEqual(second.wait(wire.OPEN).type, wire.OPEN)
        more.close()
        self.assertEqual(self.joined(), 1)

    def test_client_that_found_no_room_is_served_by_the_new_link(self):
        first = self.accept(streams=0)
        self.controller_of_raw.wait_link()
        client = self.client()
        second = self.accept(streams=1)
        stream = second.wait(wire.OPEN).stream
        second.send(wire.accept(stream) + wire.data(stream, b"hello", fin=True))
        self.assertEqual(client.read_exact(5), b"hello")
        first.close()

    def test_there_are_eight_links_at_most(self):
        peers = []
        for number in range(8):
            peers.append(self.accept(streams=1))
            self.controller_of_raw.wait_link(count=number + 1)
            self.keep(self.client())
            peers[-1].wait(wire.OPEN)
        waiting = self.client()
        peers[3].send(wire.max_streams(2))
        self.assertEqual(peers[3].wait(wire.OPEN).type, wire.OPEN)
        waiting.close()
        self.assertEqual(self.joined(), 7)

    def test_congested_link_is_joined_by_another_for_new_clients(self):
        first = self.accept(window=1 << 24)
        self.controller_of_raw.wait_link()
        bulk = self.client()
        first.wait(wire.OPEN)  # and nothing is read from here on
        sender = pair.threading.Thread(target=self.upload, args=(bulk,), daemon=True)
        sender.start()
        second = self.accept()
        self.controller_of_raw.wait_link(count=2)
        small = self.client().send(b"small")
        stream = second.wait(wire.OPEN).stream
        self.assertEqual(second.wait_data(stream, 5), b"small")
        small.close()
        self.assertEqual(self.joined(), 1)
        first.close()
        sender.join(pair.DEADLINE)
        self.assertFalse(sender.is_alive())

    def upload(self, client):
        with contextlib.suppress(OSError):
            while True:
                client.socket.sendall(bytes(1 << 20))

    def test_further_link_that_is_lost_is_not_made_again(self):
        first = self.accept(streams=1)
        self.controller_of_raw.wait_link()
        clients = [self.client()]
        first.wait(wire.OPEN)
        second = self.accept(streams=1)
        self.controller_of_raw.wait_link(count=2)
        second.close()
        self.controller_of_raw.wait_log(lambda r: r.message == "link lost" or "lost" in r.message, "the lost link")
        clients.append(self.client())  # needs one again
        third = self.accept(streams=2)
        self.assertEqual(third.wait(wire.OPEN).type, wire.OPEN)
        self.assertEqual(self.joined(), 2)
        for client in clients:
            client.close()


if __name__ == "__main__":
    unittest.main()
