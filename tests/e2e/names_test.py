# SPDX-License-Identifier: Apache-2.0
"""Servers by name: what DNS is asked and when, and names that do not exist."""

import time
import unittest

import dns
import pair

DRAINED = "link is drained: its address is no more"


class Asking(dns.Case):

    def test_controller_finds_segments_and_segment_its_server_by_name(self):
        backend = self.backend(pair.echo)
        host, port = pair.host_and_port(backend.url)
        self.dns.set("back", A=[host])
        self.dns.set("front", A=["127.0.0.1"])
        segment = self.segment(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://back.{dns.ZONE}:{port}\n")
        link_port = pair.host_and_port(segment.address())[1]
        controller = self.front(f"tcp://front.{dns.ZONE}:{link_port}")
        controller.wait_link()
        self.links(controller, segment)
        with self.connect(controller.address()) as client:
            self.assertEqual(client.exchange(b"x" * 100000), b"x" * 100000)
        for daemon in (controller, segment):
            pair.wait_for(lambda d=daemon: d.resolving() == 0, "the DNS sockets to be closed")
            record = daemon.wait_conversation(end="client-fin/server-fin")
            # The log says which of the addresses it was.
            address = segment.address() if daemon is controller else backend.url
            self.assertEqual("tcp://" + record.fields["server"], address)

    def test_upper_case_and_a_final_dot_make_no_difference(self):
        backend = self.backend(pair.echo)
        port = pair.host_and_port(backend.url)[1]
        self.dns.set("back", A=["127.0.0.1"])
        for name in (f"BACK.{dns.ZONE}", f"back.{dns.ZONE}."):
            with self.subTest(name):
                both = self.pair(f"tcp://{name}:{port}")
                with both.connect() as client:
                    self.assertEqual(client.exchange(b"x"), b"x")

    def test_name_that_has_only_an_ipv6_address(self):
        backend = self.backend(pair.echo, kind="tcp6")
        self.dns.set("back", AAAA=["::1"])
        both = self.pair(f"tcp://back.{dns.ZONE}:{pair.host_and_port(backend.url)[1]}")
        with both.connect() as client:
            self.assertEqual(client.exchange(b"x"), b"x")

    def test_localhost_is_known_without_asking(self):
        backend = self.backend(pair.echo)
        segment = self.segment("[Orders]\nbind=tcp://127.0.0.1:0\n"
                               f"server=tcp://localhost:{pair.host_and_port(backend.url)[1]}\n")
        controller = self.front(f"tcp://localhost:{pair.host_and_port(segment.address())[1]}")
        controller.wait_link()
        self.links(controller, segment)
        with self.connect(controller.address()) as client:
            self.assertEqual(client.exchange(b"x"), b"x")
        self.assertEqual(self.dns.queries(), [])

    def test_name_of_the_hosts_file_is_known_without_asking(self):
        backend = self.backend(pair.echo)
        for name in names_of_the_hosts_file():
            with self.subTest(name):
                both = self.pair(f"tcp://{name}:{pair.host_and_port(backend.url)[1]}")
                with both.connect() as client:
                    self.assertEqual(client.exchange(b"x"), b"x")
        self.assertEqual(self.dns.queries(kind="A"), [])

    def test_numeric_addresses_ask_nothing(self):
        both = self.pair(self.backend(pair.echo).url)
        with both.connect() as client:
            self.assertEqual(client.exchange(b"x"), b"x")
        self.assertEqual(self.dns.queries(), [])

    def test_search_domain_completes_a_short_name(self):
        backend = self.backend(pair.echo)
        self.dns.set("back", A=["127.0.0.1"])
        both = self.pair(f"tcp://back:{pair.host_and_port(backend.url)[1]}",
                         segment_args={"env": {"LOCALDOMAIN": f"search.test {dns.ZONE}"}})
        with both.connect() as client:
            self.assertEqual(client.exchange(b"x"), b"x")

    def test_search_ends_with_the_first_name_that_has_an_address_of_either_family(self):
        backend = self.backend(pair.echo)
        self.dns.set("back.first.test.", A=["127.0.0.1"])
        self.dns.set("back", AAAA=["::1"])
        both = self.pair(f"tcp://back:{pair.host_and_port(backend.url)[1]}",
                         segment_args={"env": {"LOCALDOMAIN": f"first.test {dns.ZONE}"}})
        with both.connect() as client:
            self.assertEqual(client.exchange(b"x"), b"x")
        self.assertEqual(self.dns.queries("back"), [])

    def test_nameserver_that_is_silent_or_absent_is_passed_over(self):
        backend = self.backend(pair.echo)
        self.dns.set("back", A=["127.0.0.1"])
        silent = self.keep(dns.Scripted())
        silent.fail(None, "silence")
        absent = f"{pair.HOME}:{dns.free_port(pair.HOME)}"
        for first, separator in ((silent.address, ","), (absent, " ")):
            both = self.pair(f"tcp://back.{dns.ZONE}:{pair.host_and_port(backend.url)[1]}",
                             segment_global=f"nameservers={first}{separator}{self.dns.address}")
            with both.connect() as client:
                self.assertEqual(client.exchange(b"x"), b"x")
        self.assertTrue(silent.queries())

    def test_nameserver_with_an_ipv6_address(self):
        backend = self.backend(pair.echo)
        other = self.keep(dns.Scripted("::1"))
        other.set("back", A=["127.0.0.1"])
        both = self.pair(f"tcp://back.{dns.ZONE}:{pair.host_and_port(backend.url)[1]}",
                         segment_global=f"nameservers={other.address}")
        with both.connect() as client:
            self.assertEqual(client.exchange(b"x"), b"x")

    def test_one_query_however_many_clients_wait_for_it(self):
        backend = self.backend(pair.echo)
        self.dns.set("back", A=["127.0.0.1"], ttl=60)
        self.dns.fail("back", "hold")
        both = self.pair(f"tcp://back.{dns.ZONE}:{pair.host_and_port(backend.url)[1]}")
        clients = [both.connect().send(b"early") for _ in range(200)]
        self.dns.wait_asked("back", "A")
        self.dns.wait_asked("back", "AAAA")
        # They are at the segment.
        pair.wait_for(lambda: both.segment.cpu() > 0 and not clients[-1].readable(0.2), "all clients to wait")
        self.dns.release()
        for client in clients:
            self.assertEqual(client.read_exact(5), b"early")
        for kind in ("A", "AAAA"):
            starts = self.dns.starts("back", kind)
            for one, following in zip(starts, starts[1:]):
                self.assertGreater(following - one, 2, "another one, before the first was given up after 3 s")

    def test_ttl_of_0_at_1000_connections_a_second_asks_once_a_second(self):
        backend = self.crowd_server()
        host, port = pair.host_and_port(backend)
        self.dns.set("back", A=[host], ttl=0)
        self.dns.set("front", A=["127.0.0.1"], ttl=0)
        for refresh in ("lazy", "immediate"):
            with self.subTest(refresh):
                segment = self.segment("[Orders]\nbind=tcp://127.0.0.1:0\n"
                                       f"server=tcp://back.{dns.ZONE}:{port}\nrefresh={refresh}\n")
                controller = self.front(f"tcp://front.{dns.ZONE}:{pair.host_and_port(segment.address())[1]}",
                                        refresh=refresh)
                controller.wait_link()
                self.links(controller, segment)
                pair.Load(controller.address(), has_names=False).visit()
                mark, start = self.dns.mark(), time.monotonic()
                with pair.Load(controller.address(), has_names=False) as load:
                    pair.wait_for(lambda at=start: time.monotonic() > at + 2.2, "some seconds")
                seconds = time.monotonic() - start
                print(f"{refresh}: {load.count / seconds:.0f} connections a second")
                for name in ("back", "front"):
                    for kind in ("A", "AAAA"):
                        asked = len(self.dns.queries(name, kind, since=mark))
                        self.assertLessEqual(asked, seconds + 1)
                        self.assertGreaterEqual(asked, 2, "it is asked for again")
                for daemon in (controller, segment):
                    daemon.kill()
                self.edges = []

    def test_ttl_is_kept(self):
        backend = self.backend(pair.echo)
        self.dns.set("back", A=["127.0.0.1"], ttl=300)
        self.dns.set("other", A=["127.0.0.1"], ttl=1)
        port = pair.host_and_port(backend.url)[1]
        segment = self.segment(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://back.{dns.ZONE}:{port}\n"
                               f"[Others]\nbind=tcp://127.0.0.1:0\nserver=tcp://other.{dns.ZONE}:{port}\n")
        controller = self.front(segment.address("Orders"))
        controller.wait_link()
        self.links(controller, segment)
        self.dns.wait_renewed("other")
        with self.connect(controller.address()) as client:
            self.assertEqual(client.exchange(b"x"), b"x")
        self.assertEqual(sorted(query.type for query in self.dns.queries("back")), ["A", "AAAA"])

    def test_lazy_asks_before_a_client_comes_and_immediate_when_one_has_come(self):
        sites = self.fleet(2)
        for name in ("lazy", "immediate"):
            self.dns.set(name, A=[sites[0].host])
        controller = self.controller("".join(
            f"[{name}]\nbind=tcp://127.0.0.1:0\nserver=tcp://{name}.{dns.ZONE}:{self.port}\nservice=Orders\n"
            f"refresh={name}\n"
            for name in ("lazy", "immediate")))
        controller.wait_link()
        self.links(controller, sites[0].segment)
        self.links(controller, sites[1].segment)
        mark = self.dns.mark()
        self.dns.wait_asked("lazy", "A", 2, since=mark)
        self.assertEqual(self.dns.queries("immediate", since=mark), [])
        # Its first client after the TTL already gets the new answer.
        self.dns.set("immediate", A=[sites[1].host])
        self.assertEqual(self.greeting(controller.address("immediate")), "b")
        self.assertEqual(len(self.dns.queries("immediate", "A", since=mark)), 1)
        self.assertEqual(self.greeting(controller.address("lazy")), "a")

    def test_client_of_immediate_waits_for_the_answer_only_as_long_as_connect_timeout(self):
        backend = self.backend(pair.echo)
        self.dns.set("back", A=["127.0.0.1"])
        both = self.pair(f"tcp://back.{dns.ZONE}:{pair.host_and_port(backend.url)[1]}",
                         segment="refresh=immediate\nconnect_timeout=4 s")
        with both.connect() as client:
            self.assertEqual(client.exchange(b"x"), b"x")
        self.dns.fail("back", "hold")
        start = time.monotonic()
        first = pair.wait_for(lambda: self.client_that_waits(both.url), "a client that comes after the TTL")
        self.dns.release()
        self.assertEqual(first.read_exact(1), b"y")
        self.assertLess(time.monotonic() - start, 10 * pair.PATIENCE)

    def test_client_of_immediate_is_served_by_the_one_server_when_the_other_is_answered_with_nothing(self):
        sites = self.fleet(1)
        self.dns.set("one", A=[sites[0].host], ttl=3600)
        controller = self.front([f"tcp://{name}.{dns.ZONE}:{self.port}" for name in ("one", "two")], sites,
                                mode="balance", refresh="immediate", connect_timeout="60 s")
        self.assertEqual(self.greeting(controller.address()), "a")
        self.dns.fail("two", "hold")
        first = pair.wait_for(lambda: self.client_that_waits(controller.address()), "a client that comes after the TTL")
        start = time.monotonic()
        self.dns.release()
        self.assertEqual(first.read_line(), b"a\n")
        self.assertLess(time.monotonic() - start, 5 * pair.PATIENCE)

    def client_that_waits(self, url):
        client = self.connect(url)
        client.send(b"y")
        if not client.readable(0.3):
            return client
        client.close()
        return None

    def test_services_that_share_a_name_share_its_queries_and_links(self):
        sites = self.fleet(2)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.controller("".join(
            f"[{name}]\nbind=tcp://127.0.0.1:0\nserver=tcp://all.{dns.ZONE}:{self.port}\nservice=Orders\n"
            for name in ("One", "Two")))
        controller.wait_link(count=2)
        for site in sites:
            self.links(controller, site.segment)
        for name in ("One", "Two"):
            self.assertEqual(self.names_of(controller.address(name), 4), {"a": 2, "b": 2})
        pair.wait_for(lambda: controller.connected() == 2, "two links and nothing else")
        start = self.dns.queries("all", "A")[0].time
        asked = self.dns.wait_asked("all", "A", 3)
        self.assertGreater(asked[2].time - start, 1.8)

    def test_each_thread_asks_once_a_second(self):
        backend = self.backend(pair.echo)
        self.dns.set("back", A=["127.0.0.1"], ttl=0)
        both = self.pair(f"tcp://back.{dns.ZONE}:{pair.host_and_port(backend.url)[1]}", segment_global="threads=2",
                         controller_global="threads=2")
        for _ in range(20):
            with both.connect() as client:
                self.assertEqual(client.exchange(b"x"), b"x")
        asked = self.dns.wait_asked("back", "A", 6)
        self.assertGreater(asked[5].time - asked[0].time, 1.7)
        self.assertLessEqual(both.segment.resolving(), 2)


def names_of_the_hosts_file():
    """Some that stand for 127.0.0.1 only."""
    found = {}
    with open("/etc/hosts", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split("#")[0].split()
            for name in words[1:]:
                found.setdefault(name, set()).add(words[0])
    names = [name for name, addresses in found.items() if addresses == {"127.0.0.1"} and name != "localhost"]
    if not names:
        raise unittest.SkipTest("/etc/hosts has no further name for 127.0.0.1")
    return names[:2]


class Missing(dns.Case):

    def test_name_that_does_not_exist_is_not_asked_for_by_every_client(self):
        segment = self.segment("[Orders]\nbind=tcp://127.0.0.1:0\n"
                               f"server=tcp://nowhere.{dns.ZONE}:9\nconnect_timeout=300 ms\n")
        controller = self.front(segment.address())
        controller.wait_link()
        self.links(controller, segment)
        start = time.monotonic()
        count = 0
        while time.monotonic() < start + 2.2:
            self.assertEqual(self.refusal(controller.address()), ("reset", 0))
            count += 1
        for name in (f"nowhere.{dns.ZONE}.", f"nowhere.{dns.ZONE}.search.test."):
            self.assertLessEqual(len(self.dns.queries(name, "A")), time.monotonic() - start + 1.5)
        self.assertLess(len(segment.find(lambda r: r.level == "warning" and r.subject == "name")), 2)

    def test_that_there_is_nothing_is_kept_for_as_long_as_the_answer_says(self):
        self.dns.negative_ttl = 60
        text = f"[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://%s.{dns.ZONE}:9\n"
        long = self.segment(text % "long")
        long.wait_log(lambda r: dns.about(r, "name cannot be resolved"), "its absence")
        self.dns.negative_ttl = 1
        self.segment(text % "short")
        asked = self.dns.wait_asked("short", "A", 4)
        self.assertLess(asked[3].time - asked[0].time, 3 + 2 * pair.PATIENCE)
        self.assertGreater(asked[3].time - asked[0].time, 2.9)
        self.assertEqual(len(self.dns.queries("long", "A")), 1)

    def test_client_waits_for_a_name_that_appears_in_time(self):
        backend = self.backend(pair.echo)
        port = pair.host_and_port(backend.url)[1]
        segment = self.segment(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://back.{dns.ZONE}:{port}\n"
                               "connect_timeout=60 s\n")
        controller = self.front(f"tcp://front.{dns.ZONE}:{pair.host_and_port(segment.address())[1]}",
                                connect_timeout="60 s")
        early = self.connect(controller.address())
        early.send(b"early")
        self.assertFalse(early.readable(0.3))
        for name in ("front", "back"):
            self.dns.set(name, A=["127.0.0.1"])
        self.assertEqual(early.read_exact(5), b"early")
        self.links(controller, segment)
        for daemon in (controller, segment):
            daemon.wait_log(lambda r: dns.about(r, "name is resolved again"), "its resolution")

    def test_client_is_reset_after_connect_timeout_without_an_address(self):
        self.dns.set("empty", TXT=[])
        for name in ("nowhere", "empty"):
            controller = self.front(f"tcp://{name}.{dns.ZONE}:9", connect_timeout="500 ms")
            start = time.monotonic()
            self.assertEqual(self.refusal(controller.address()), ("reset", 0))
            self.assertLess(time.monotonic() - start, 5 * pair.PATIENCE)
            controller.wait_conversation(end="no-segment")

    def test_name_that_vanishes_and_returns(self):
        sites = self.fleet(1)
        self.dns.set("all", A=[sites[0].host])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites, connect_timeout="60 s")
        old = self.connect(controller.address())
        self.assertEqual(old.read_line(), b"a\n")
        self.dns.remove("all")
        controller.wait_log(lambda r: dns.about(r, DRAINED, segment=sites[0].address), "the drained link")
        # What goes on there is not disturbed; who comes now waits.
        self.assertEqual(old.exchange(b"x"), b"x")
        new = self.connect(controller.address())
        self.assertFalse(new.readable(1.5))
        self.dns.set("all", A=[sites[0].host])
        self.assertEqual(new.read_line(), b"a\n")
        self.assertEqual(old.exchange(b"y"), b"y")
        # The old link ends with its last conversation.
        old.finish()
        self.assertEqual(old.read_to_end().how, "fin")
        controller.wait_log(lambda r: dns.about(r, "link drained", segment=sites[0].address), "its end")

    def test_server_whose_name_vanishes_keeps_its_conversations(self):
        backend = self.backend(pair.echo)
        self.dns.set("back", A=["127.0.0.1"])
        both = self.pair(f"tcp://back.{dns.ZONE}:{pair.host_and_port(backend.url)[1]}", segment="connect_timeout=1 s")
        old = both.connect()
        self.assertEqual(old.exchange(b"x"), b"x")
        self.dns.remove("back")
        pair.wait_for(lambda: not self.is_served(both), "the name to be gone")
        self.assertEqual(old.exchange(b"y"), b"y")
        self.dns.set("back", A=["127.0.0.1"])
        self.dns.wait_renewed("back")
        with both.connect() as client:
            self.assertEqual(client.exchange(b"z"), b"z")

    def is_served(self, both):
        try:
            with both.connect() as client:
                return client.exchange(b"x") == b"x"
        except (ConnectionResetError, BrokenPipeError):
            return False


class Fanout(dns.Case):

    def test_each_server_line_is_one_server_whatever_addresses_it_has(self):
        sites = self.fleet(4)
        self.dns.set("left", A=[site.host for site in sites[:2]])
        self.dns.set("right", A=[site.host for site in sites[2:]])
        controller = self.front([f"tcp://{name}.{dns.ZONE}:{self.port}" for name in ("left", "right")], sites,
                                mode="full duplex")
        met = []
        for _ in range(4):
            with self.connect(controller.address()) as client:
                names = sorted(client.read_exact(4).split())
                self.assertEqual(len(client.send(b"x").read_exact(2)), 2)
            met.append(tuple(name.decode() for name in names))
        for pair_of_names in met:
            self.assertIn(pair_of_names[0], ("a", "b"))
            self.assertIn(pair_of_names[1], ("c", "d"))
        self.assertEqual([site.count for site in sites], [2, 2, 2, 2])

    def test_leg_whose_name_is_not_resolved_is_a_leg_less(self):
        sites = self.fleet(1)
        self.dns.set("left", A=[sites[0].host])
        controller = self.front([f"tcp://{name}.{dns.ZONE}:{self.port}" for name in ("left", "nowhere")], sites,
                                mode="full duplex")
        start = time.monotonic()
        with self.connect(controller.address()) as client:
            self.assertEqual(client.read_line(), b"a\n")
            self.assertLess(time.monotonic() - start, 2 * pair.PATIENCE)
            client.finish()
            self.assertEqual(client.read_to_end().how, "fin")


if __name__ == "__main__":
    unittest.main()
