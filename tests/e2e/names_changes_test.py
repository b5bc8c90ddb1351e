# SPDX-License-Identifier: Apache-2.0
"""Servers by name: what becomes of links and clients when the answer changes, and of answers of every shape."""

import threading
import unittest

import dns
import pair

DRAINED = "link is drained: its address is no more"


class Changes(dns.Case):

    def test_rotation_changes_nothing(self):
        sites = self.fleet(3)
        self.dns.is_rotating = True
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        mark = controller.mark()
        asked = self.dns.mark()
        served = []
        while len(self.dns.queries("all", "A", since=asked)) < 3:
            served.append(self.greeting(controller.address()))
        # It goes on in turn as if nothing had been asked.
        self.assertLess(len(set(served[:3])) + 2, 6)
        counts = [served.count(site.name) for site in sites]
        self.assertLessEqual(max(counts) - min(counts), max(3, len(served) // 100))
        self.assertEqual(controller.find(lambda r: r.subject in ("link", "name"), mark), [])

    def test_only_the_link_of_the_vanished_address_is_drained(self):
        sites = self.fleet(3)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        clients = {}
        for _ in range(3):
            client = self.connect(controller.address())
            clients[client.read_line().strip().decode()] = client
        self.assertEqual(sorted(clients), ["a", "b", "c"])
        mark = controller.mark()
        self.dns.set("all", A=[site.host for site in sites[1:]])
        controller.wait_log(lambda r: dns.about(r, DRAINED, segment=sites[0].address), "the drained link", mark)
        self.assertEqual(self.names_of(controller.address(), 20), {"b": 10, "c": 10})
        for name, client in clients.items():
            self.assertEqual(client.exchange(name.encode()), name.encode())
        clients["a"].finish()
        self.assertEqual(clients["a"].read_to_end().how, "fin")
        controller.wait_log(lambda r: dns.about(r, "link drained", segment=sites[0].address), "its end", mark)
        sites[0].segment.wait_log(lambda r: dns.about(r, "link down"), "the end of the link")
        self.links(controller, sites[0].segment, 0)
        pair.wait_for(lambda: sites[0].segment.connected() == 0, "the link to be closed")
        found = controller.find(lambda r: r.subject == "link" and sites[0].host not in r.line, mark)
        self.assertEqual(found, [], "the others are left alone")
        # It comes back.
        self.dns.set("all", A=[site.host for site in sites])
        controller.wait_link(mark)
        self.links(controller, sites[0].segment)
        self.assertEqual(self.names_of(controller.address(), 30), {"a": 10, "b": 10, "c": 10})

    def test_all_addresses_change_under_load_and_no_client_fails(self):
        sites = self.fleet(4)
        old, new = sites[:2], sites[2:]
        self.dns.set("all", A=[site.host for site in old])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", old)
        for site in new:
            self.links(controller, site.segment)
        held = [self.connect(controller.address()) for _ in range(4)]
        for client in held:
            client.read_line()
        with pair.Load(controller.address()) as load:
            for now, then in ((new, old), (old, new), (new, old)):
                mark = controller.mark()
                load.wait_more(100)
                self.dns.set("all", A=[site.host for site in now])
                controller.wait_log(lambda r: dns.about(r, DRAINED), "drained links", mark, count=2)
                load.wait_more(50)
                before = [site.count for site in then]
                load.wait_more(100)
                self.assertEqual([site.count for site in then], before)
                for client in held:
                    self.assertEqual(client.exchange(b"x" * 1000), b"x" * 1000)
        for client in held:
            client.close()
        controller.wait_log(lambda r: dns.about(r, "link drained"), "the ends of the old links", count=4)
        for site in old:
            self.links(controller, site.segment, 0)

    def test_server_that_moves_under_load_and_no_client_fails(self):
        """The same for the segment's own server."""
        addresses = dns.hosts(2)
        port = dns.free_port(*addresses)
        backends = [self.backend(dns.say(name), url=f"tcp://{host}:{port}") for name, host in zip("ab", addresses)]
        self.dns.set("back", A=addresses[:1])
        both = self.pair(f"tcp://back.{dns.ZONE}:{port}")
        with both.connect() as held, pair.Load(both.url) as load:
            self.assertEqual(held.read_line(), b"a\n")
            for number in (1, 0, 1):
                load.wait_more(50)
                self.dns.set("back", A=addresses[number:number + 1])
                met = backends[number].accepted
                pair.wait_for(lambda b=backends[number], m=met: b.accepted > m, "clients of the new one")
                load.wait_more(20)
                before = backends[1 - number].accepted
                load.wait_more(50)
                self.assertEqual(backends[1 - number].accepted, before)
                self.assertEqual(held.exchange(b"x"), b"x")

    def test_chain_of_aliases_and_a_loop_of_them(self):
        sites = self.fleet(1)
        for number in range(8):
            self.dns.set(f"alias{number}", CNAME=f"alias{number + 1}")
        self.dns.set("alias8", A=[sites[0].host])
        for number in range(3):
            self.dns.set(f"loop{number}", CNAME=f"loop{(number + 1) % 3}")
        controller = self.controller("".join(
            f"[{name}]\nbind=tcp://127.0.0.1:0\nserver=tcp://{name}.{dns.ZONE}:{self.port}\nservice=Orders\n"
            "connect_timeout=700 ms\n"
            for name in ("alias0", "loop0")))
        controller.wait_link()
        self.links(controller, sites[0].segment)
        self.assertEqual(self.refusal(controller.address("loop0")), ("reset", 0))
        self.assertEqual(self.greeting(controller.address("alias0")), "a")
        self.assertLess(controller.load(0.5), 0.1)
        asked = self.dns.wait_asked("loop0", "A", 3)
        self.assertGreater(asked[2].time - asked[0].time, 1.4, "not in a hurry, and in less of one each time")

    def test_fifty_addresses_are_all_used_and_an_answer_that_is_cut_comes_by_tcp(self):
        addresses = dns.hosts(50)
        port = dns.free_port("0.0.0.0")
        used = {}
        lock = threading.Lock()

        def serve(peer):
            with lock:
                host = peer.socket.getsockname()[0]
                used[host] = used.get(host, 0) + 1
            pair.echo(peer)

        self.backend(serve, url=f"tcp://0.0.0.0:{port}")
        self.dns.set("back", A=addresses)
        self.dns.set("cut", A=addresses)
        self.dns.fail("cut", "truncated")
        for name in ("back", "cut"):
            with self.subTest(name):
                used.clear()
                both = self.pair(f"tcp://{name}.{dns.ZONE}:{port}")
                for _ in range(200):
                    with both.connect() as client:
                        self.assertEqual(client.exchange(b"x"), b"x")
                self.assertEqual(sorted(used), sorted(addresses))
                self.assertLessEqual(max(used.values()) - min(used.values()), 2)
        self.assertIn("tcp", {query.transport for query in self.dns.queries("cut")})
        self.assertEqual({query.transport for query in self.dns.queries("back")}, {"udp"})

    def test_fifty_segments(self):
        addresses = dns.hosts(50)
        port = dns.free_port(*addresses)
        binds = "".join(f"bind=tcp://{host}:{port}\n" for host in addresses)
        segment = self.segment(f"[Orders]\n{binds}server=builtin:echo\n")
        self.dns.set("all", A=addresses)
        controller = self.front(f"tcp://all.{dns.ZONE}:{port}")
        controller.wait_link(count=50)
        self.links(controller, segment, 50)
        for _ in range(100):
            with self.connect(controller.address()) as client:
                self.assertEqual(client.exchange(b"x"), b"x")
        records = controller.wait_conversation(count=100, end="client-fin/server-fin")
        taken = [record.fields["server"] for record in records]
        self.assertEqual({taken.count(f"{host}:{port}") for host in addresses}, {2})


if __name__ == "__main__":
    unittest.main()
