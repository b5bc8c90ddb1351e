# SPDX-License-Identifier: Apache-2.0
# sanitizers: address
"""Servers by SRV records (RFC 2782)."""

import time
import unittest

import dns
import pair

SERVICE = f"srv:_orders._tcp.{dns.ZONE}"
DRAINED = "link is drained: its address is no more"


class Srv(dns.Case):

    def sites(self, count):
        """Segments at ports of their own; a record's target is the segment's name."""
        found = [dns.Site(self, chr(ord("a") + number), host, dns.free_port(host))
                 for number, host in enumerate(dns.hosts(count))]
        for site in found:
            self.dns.set(site.name, A=[site.host])
        return found

    def publish(self, *records, name="_orders._tcp", **more):
        """(priority, weight, site)."""
        self.dns.set(name, SRV=[(priority, weight, site.port, site.name) for priority, weight, site in records], **more)

    def crowd(self, address, count):
        with pair.Load(address) as load:
            pair.wait_for(lambda: load.count >= count or load.failures, f"{count} clients", deadline=60)
        print(f"{load.count} clients, served by {dict(load.served)}")
        return load.served

    def shares(self, served, **weights):
        self.assertEqual(set(served), set(weights))
        total, sum_of_weights = sum(served.values()), sum(weights.values())
        for name, weight in weights.items():
            expected = total * weight / sum_of_weights
            # The choice is random: 10% is more than five standard deviations at 10,000 clients.
            self.assertLess(abs(served[name] - expected), max(0.1 * expected, 5 * expected ** 0.5), name)

    def test_port_and_weight_of_each_record_are_obeyed(self):
        a, b, c = self.sites(3)
        self.publish((10, 60, a), (10, 30, b), (10, 10, c))
        controller = self.front(SERVICE, [a, b, c])
        self.shares(self.crowd(controller.address(), pair.scaled(3000)), a=60, b=30, c=10)

    def test_weights_of_0_share_evenly(self):
        a, b = self.sites(2)
        self.publish((1, 0, a), (1, 0, b))
        controller = self.front(SERVICE, [a, b])
        self.shares(self.crowd(controller.address(), 400), a=1, b=1)

    def test_weight_of_0_beside_others_hardly_gets_any(self):
        a, b = self.sites(2)
        self.publish((1, 0, a), (1, 100, b))
        controller = self.front(SERVICE, [a, b])
        self.assertLess(self.crowd(controller.address(), 300)["a"], 30)

    def test_addresses_of_a_target_share_its_weight(self):
        a, b, c = self.fleet(3)
        self.dns.set("two", A=[a.host, b.host])
        self.dns.set("one", A=[c.host])
        self.dns.set("_orders._tcp", SRV=[(1, 50, self.port, "two"), (1, 50, self.port, "one")])
        controller = self.front(SERVICE, [a, b, c])
        self.shares(self.crowd(controller.address(), pair.scaled(2000)), a=25, b=25, c=50)

    def test_higher_priority_number_serves_only_when_none_of_a_lower_is_left(self):
        a, b, spare = self.sites(3)
        self.publish((10, 1, a), (10, 1, b), (20, 100, spare))
        controller = self.front(SERVICE, [a, b, spare])

        def servers(count):
            """Who serves so many; a conversation that had not quite ended would wait for a segment that was killed."""
            mark = controller.mark()
            names = set(self.names_of(controller.address(), count))
            controller.wait_conversation(mark, count)
            return names

        self.assertEqual(servers(40), {"a", "b"})
        for site, left in ((a, {"b"}), (b, {"c"})):
            mark = controller.mark()
            site.segment.kill()
            controller.wait_log(lambda r: r.subject == "link" and "lost" in r.message, "the lost link", mark)
            self.assertEqual(servers(20), left)
        mark = controller.mark()
        b.start()
        controller.wait_link(mark)
        self.links(controller, b.segment)
        self.assertEqual(servers(20), {"b"})

    def test_segment_that_refuses_is_replaced_by_the_next_priority(self):
        a, spare = self.sites(2)
        self.publish((1, 1, a), (2, 1, spare))
        controller = self.front(SERVICE, [a, spare])
        a.backend.close()
        clients = [self.connect(controller.address()).send_pattern(50000).finish() for _ in range(8)]
        for client in clients:
            self.assertEqual(client.read_line(), b"b\n")
            self.assertEqual(client.read_to_end(), pair.Ending("fin", 50000, pair.PATTERN.sha256(50000)))

    def test_segments_server_by_srv_records_with_a_spare(self):
        backends = [self.backend(dns.say(name)) for name in "abc"]
        for name in "abc":
            self.dns.set(name, A=["127.0.0.1"])
        ports = [pair.host_and_port(backend.url)[1] for backend in backends]
        self.dns.set("_orders._tcp", SRV=[(1, 75, ports[0], "a"), (1, 25, ports[1], "b"), (2, 1, ports[2], "c")])
        both = self.pair(SERVICE)
        self.shares(self.crowd(both.url, 1000), a=75, b=25)
        backends[0].close()
        self.assertEqual(set(self.names_of(both.url, 20)), {"b"})
        backends[1].close()
        self.assertEqual(set(self.names_of(both.url, 20)), {"c"})

    def test_segments_come_and_go_under_load_and_no_client_fails(self):
        sites = self.sites(4)
        self.publish(*[(1, 1, site) for site in sites[:2]])
        controller = self.front(SERVICE, sites[:2])
        held = self.connect(controller.address())
        held.read_line()
        with pair.Load(controller.address()) as load:
            for now in (sites[2:], sites[1:3], sites):
                self.publish(*[(1, 1, site) for site in now])
                names = {site.name for site in now}
                pair.wait_for(lambda n=names: self.met(load) == n, f"clients to meet {names}")
                self.assertEqual(held.exchange(b"x"), b"x")
        for site in sites:
            self.links(controller, site.segment)

    def met(self, load):
        before = dict(load.served)
        load.wait_more(60)
        return {name for name, count in load.served.items() if count > before.get(name, 0)}

    def test_new_weights_and_another_order_leave_the_links_alone(self):
        a, b = self.sites(2)
        self.dns.is_rotating = True
        self.publish((1, 50, a), (1, 50, b))
        controller = self.front(SERVICE, [a, b])
        mark, asked = controller.mark(), self.dns.mark()
        self.publish((1, 95, a), (1, 5, b))
        self.dns.wait_asked("_orders._tcp", "SRV", 2, since=asked)
        served = self.names_of(controller.address(), 100)
        self.assertGreater(served["a"], 70)
        self.assertEqual(controller.find(lambda r: r.subject in ("link", "name"), mark), [])

    def test_target_moves_while_the_record_stays(self):
        a, b = self.fleet(2)
        self.dns.set("host", A=[a.host], ttl=1)
        self.dns.set("_orders._tcp", SRV=[(1, 1, self.port, "host")], ttl=300)
        controller = self.front(SERVICE, [a])
        self.assertEqual(self.greeting(controller.address()), "a")
        self.dns.set("host", A=[b.host], ttl=1)
        controller.wait_log(lambda r: dns.about(r, "link drained", segment=a.address), "the end of the old link")
        self.assertEqual(self.greeting(controller.address()), "b")
        self.assertEqual(len(self.dns.queries("_orders._tcp")), 1)
        self.links(controller, a.segment, 0)
        self.links(controller, b.segment)

    def test_first_client_of_immediate_gets_the_new_target(self):
        a, b = self.sites(2)
        self.publish((1, 1, a))
        controller = self.front(SERVICE, [a], refresh="immediate")
        self.links(controller, b.segment)
        self.assertEqual(self.greeting(controller.address()), "a")
        self.dns.fail("b", "hold")
        mark = self.dns.mark()
        self.publish((1, 1, b))
        first = pair.wait_for(lambda: self.client_that_waits(controller.address()), "a client that comes after the TTL")
        self.dns.wait_asked("b", "A", since=mark)
        second = self.connect(controller.address())
        for client in (first, second):
            self.assertFalse(client.readable(0.2))
        self.dns.release()
        for client in (first, second):
            self.assertEqual(client.read_line(), b"b\n")
        controller.wait_log(lambda r: dns.about(r, DRAINED, segment=a.address), "the drained link")
        self.links(controller, a.segment, 0)

    def test_old_target_serves_clients_of_immediate_when_the_new_one_cannot_be_resolved(self):
        a, = self.sites(1)
        self.publish((1, 1, a))
        controller = self.front(SERVICE, [a], refresh="immediate")
        self.assertEqual(self.greeting(controller.address()), "a")
        self.dns.fail("new", "servfail")
        mark = self.dns.mark()
        self.dns.set("_orders._tcp", SRV=[(1, 1, 9, "new")])
        while not self.dns.queries("new", since=mark):
            start = time.monotonic()
            self.assertEqual(self.greeting(controller.address()), "a")
            self.assertLess(time.monotonic() - start, 2 * pair.PATIENCE)
        self.assertEqual(self.names_of(controller.address(), 5), {"a": 5})

    def test_first_client_of_immediate_gets_the_new_target_of_a_segments_server(self):
        backends = {name: self.backend(dns.say(name)) for name in "ab"}
        ports = {name: pair.host_and_port(backend.url)[1] for name, backend in backends.items()}
        for name in "ab":
            self.dns.set(name, A=["127.0.0.1"])
        self.dns.set("_orders._tcp", SRV=[(1, 1, ports["a"], "a")])
        both = self.pair(SERVICE, segment="refresh=immediate")
        self.assertEqual(self.greeting(both.url), "a")
        self.dns.fail("b", "hold")
        mark = self.dns.mark()
        self.dns.set("_orders._tcp", SRV=[(1, 1, ports["b"], "b")])
        first = pair.wait_for(lambda: self.client_that_waits(both.url), "a client that comes after the TTL")
        self.dns.wait_asked("b", "A", since=mark)
        self.assertFalse(first.readable(0.2))
        self.dns.release()
        self.assertEqual(first.read_line(), b"b\n")

    def client_that_waits(self, url):
        mark = self.dns.mark()
        client = self.connect(url)
        if not client.readable(0.3):
            return client
        self.assertEqual(self.dns.queries("_orders._tcp", since=mark), [], "served as the old answer says")
        client.close()
        return None

    def test_target_that_does_not_exist_or_is_not_answered_harms_no_other(self):
        a, = self.sites(1)
        for fault in ("silence", "servfail"):
            self.dns.fail(fault, fault)
        self.dns.set("_orders._tcp", SRV=[(1, 1, 9, "nowhere"), (1, 1, 9, "silence"), (1, 1, 9, "servfail"),
                                          (1, 1, a.port, "a")])
        controller = self.front(SERVICE, connect_timeout="60 s")
        self.links(controller, a.segment)
        start = time.monotonic()
        self.assertEqual(self.names_of(controller.address(), 10), {"a": 10})
        self.assertLess(time.monotonic() - start, 8 * pair.PATIENCE)

    def test_lone_dot_says_that_there_is_no_service(self):
        self.dns.set("_orders._tcp", SRV=[(0, 0, 0, ".")])
        controller = self.front(SERVICE, connect_timeout="500 ms")
        self.assertEqual(self.refusal(controller.address()), ("reset", 0))
        self.assertEqual([query.type for query in self.dns.asked if query.type != "SRV"], [])

    def test_that_there_are_none_is_kept_for_as_long_as_the_answer_says(self):
        self.dns.negative_ttl = 60
        controller = self.front("srv:_long._tcp." + dns.ZONE)
        controller.wait_log(lambda r: dns.about(r, "name cannot be resolved"), "its absence")
        self.dns.negative_ttl = 1
        self.front("srv:_short._tcp." + dns.ZONE)
        asked = self.dns.wait_asked("_short._tcp", "SRV", 4)
        self.assertGreater(asked[3].time - asked[0].time, 2.9)
        self.assertLess(asked[3].time - asked[0].time, 3 + 2 * pair.PATIENCE)
        self.assertEqual(len(self.dns.queries("_long._tcp", "SRV")), 1)

    def test_records_by_a_short_name(self):
        a, = self.sites(1)
        self.publish((1, 1, a))
        controller = self.controller("[Orders]\nbind=tcp://127.0.0.1:0\nserver=srv:_orders._tcp\n",
                                     env={"LOCALDOMAIN": f"first.test {dns.ZONE}"})
        controller.wait_link()
        self.links(controller, a.segment)
        self.assertEqual(self.greeting(controller.address()), "a")

    def test_records_that_appear_later(self):
        a, = self.sites(1)
        controller = self.front(SERVICE, connect_timeout="60 s")
        early = self.connect(controller.address())
        early.send(b"early")
        self.dns.wait_asked("_orders._tcp", "SRV")
        self.publish((1, 1, a))
        self.assertEqual(early.read_line(), b"a\n")
        self.assertEqual(early.read_exact(5), b"early")
        self.links(controller, a.segment)

    def test_last_records_serve_whatever_goes_wrong(self):
        faults = ("silence", "servfail", "refused", "garbage", "wrong_id", "wrong_question", "truncated_and_closed")
        a, = self.sites(1)
        for fault in faults:
            self.publish((1, 1, a), name=f"_{fault}._tcp")
        controller = self.controller("".join(
            f"[{fault}]\nbind=tcp://127.0.0.1:0\nserver=srv:_{fault}._tcp.{dns.ZONE}\nservice=Orders\n"
            for fault in faults))
        controller.wait_link()
        self.links(controller, a.segment)
        for fault in faults:
            self.assertEqual(self.greeting(controller.address(fault)), "a")
            self.dns.fail(f"_{fault}._tcp", fault)
        for fault in faults:
            name = f"_{fault}._tcp.{dns.ZONE}"
            controller.wait_log(lambda r, n=name: dns.about(r, "name cannot be asked for", name=n), f"{fault}")
            self.assertEqual(self.greeting(controller.address(fault)), "a")
        for fault in faults:
            self.dns.heal(f"_{fault}._tcp")
        for fault in faults:
            name = f"_{fault}._tcp.{dns.ZONE}"
            controller.wait_log(lambda r, n=name: dns.about(r, "name is resolved again", name=n), f"{fault}")
        self.assertEqual(len(controller.find(lambda r: r.subject == "name" and r.level == "warning")), len(faults))
        self.assertEqual(len(controller.find(lambda r: r.subject == "link")), 1)

    def test_ttl_of_0_asks_once_a_second(self):
        a, = self.sites(1)
        self.publish((1, 1, a), ttl=0)
        controller = self.front(SERVICE, [a])
        mark, start = self.dns.mark(), time.monotonic()
        with pair.Load(controller.address(), threads=2):
            self.dns.wait_asked("_orders._tcp", "SRV", 3, since=mark)
        self.assertLessEqual(len(self.dns.queries("_orders._tcp", since=mark)), time.monotonic() - start + 1)

    def test_fifty_records_that_come_by_tcp(self):
        sites = self.sites(2)
        for number in range(50):
            self.dns.set(f"target-{number}", A=[sites[number % 2].host])
        self.dns.set("_orders._tcp", SRV=[(1, 1, sites[number % 2].port, f"target-{number}") for number in range(50)])
        controller = self.front(SERVICE, sites)
        self.assertIn("tcp", {query.transport for query in self.dns.queries("_orders._tcp")})
        self.assertEqual(set(self.names_of(controller.address(), 30)), {"a", "b"})
        self.assertEqual(len(controller.find(lambda r: dns.about(r, "link up"))), 2, "one to each address")

    def test_srv_records_and_alias_of_them(self):
        a, = self.sites(1)
        self.publish((1, 1, a), name="_real._tcp", ttl=300)
        self.dns.set("_orders._tcp", CNAME="_real._tcp")
        self.dns.set("a", CNAME="host")
        self.dns.set("host", A=[a.host])
        controller = self.front(SERVICE, [a])
        self.assertEqual(self.greeting(controller.address()), "a")


if __name__ == "__main__":
    unittest.main()
