# SPDX-License-Identifier: Apache-2.0
# sanitizers: address
"""Names with several addresses: taken in turn, and what happens when some of them do not answer."""

import time
import unittest

import dns
import pair

OUT, BACK = "the server is passed over", "the server can be connected again"
LINK_OUT, LINK_BACK = "is passed over", "serves again"


class Case(dns.Case):

    def named(self, addresses, names="abcdef"):
        """Echo servers at one port of these addresses."""
        self.port = dns.free_port(*addresses)
        return [self.backend(dns.say(name), url=url(host, self.port)) for host, name in zip(addresses, names)]

    def crowd(self, address, count, threads=8):
        """So many clients, several at once; none fails."""
        with pair.Load(address, threads=threads) as load:
            pair.wait_for(lambda: load.count >= count or load.failures, f"{count} clients", deadline=60)
        print(f"{load.count} clients, the slowest {max(load.seconds):.2f} s, served by {dict(load.served)}")
        return load

    def even(self, served, names, few=2):
        """Within 1%, or `few` where there are not many: those who went elsewhere went to the first of the others."""
        total = sum(served.values())
        self.assertEqual(sorted(served), sorted(names))
        for count in served.values():
            self.assertLessEqual(abs(count - total / len(names)), max(few, total / len(names) / 100), served)

    def quick(self, load, timeout):
        """Nobody waited for longer than connect_timeout, and hardly anybody at all."""
        self.assertLess(max(load.seconds), timeout * pair.PATIENCE)
        self.assertLess(pair.percentile(load.seconds, 0.95), 0.3 * pair.PATIENCE)

    def logged(self, daemon, message, server):
        return len(daemon.find(lambda r: message in r.line and server in r.line))


def url(host, port):
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


class Turns(Case):

    def test_3000_clients_meet_three_segments_equally_often(self):
        sites = self.fleet(3)
        self.dns.is_rotating = True
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        load = self.crowd(controller.address(), pair.scaled(3000))
        self.even(load.served, "abc")

    def test_3000_clients_meet_three_addresses_of_a_server_equally_often(self):
        addresses = dns.hosts(3)
        self.named(addresses)
        self.dns.is_rotating = True
        self.dns.set("back", A=addresses)
        both = self.pair(f"tcp://back.{dns.ZONE}:{self.port}")
        self.even(self.crowd(both.url, pair.scaled(3000)).served, "abc")


class SegmentSide(Case):

    def test_one_address_refuses_and_one_swallows_and_3000_clients_are_served(self):
        addresses = dns.hosts(3)
        self.named(addresses[:1])
        self.dns.set("back", A=addresses)
        self.keep(pair.Swallowing(url=url(addresses[1], self.port)))
        both = self.pair(f"tcp://back.{dns.ZONE}:{self.port}", segment="connect_timeout=3 s")
        load = self.crowd(both.url, pair.scaled(3000))
        self.assertEqual(list(load.served), ["a"])
        self.quick(load, 3)
        for host in addresses[1:]:
            self.assertEqual(self.logged(both.segment, OUT, host), 1)

    def test_5000_clients_meet_the_three_addresses_that_serve_equally_often(self):
        addresses = dns.hosts(5)
        self.named(addresses[1:4])
        self.dns.is_rotating = True
        self.dns.set("back", A=addresses)
        self.keep(pair.Swallowing(url=url(addresses[4], self.port)))
        both = self.pair(f"tcp://back.{dns.ZONE}:{self.port}", segment="connect_timeout=3 s")
        load = self.crowd(both.url, pair.scaled(5000))
        self.even(load.served, "abc", few=15)
        self.quick(load, 3)

    def test_server_that_fails_is_passed_over_and_taken_again_when_it_is_back(self):
        addresses = dns.hosts(2)
        backends = self.named(addresses)
        self.dns.set("back", A=addresses)
        both = self.pair(f"tcp://back.{dns.ZONE}:{self.port}")
        self.assertEqual(self.names_of(both.url, 20), {"a": 10, "b": 10})
        backends[0].close()
        with pair.Load(both.url) as load:
            both.segment.wait_log(lambda r: OUT in r.line and addresses[0] in r.line, "what is passed over")
            load.wait_more(200)
            self.backend(dns.say("again"), url=url(addresses[0], self.port))
            both.segment.wait_log(lambda r: BACK in r.line and addresses[0] in r.line, "its return")
            load.wait_more(50)
        for message in (OUT, BACK):
            self.assertEqual(self.logged(both.segment, message, addresses[0]), 1)
            self.assertEqual(self.logged(both.segment, message, addresses[1]), 0)
        self.assertEqual(self.names_of(both.url, 20), {"again": 10, "b": 10})

    def test_those_beside_one_that_is_passed_over_have_the_same_share(self):
        addresses = dns.hosts(3)
        self.named(addresses[:2])
        self.dns.set("back", A=addresses)
        both = self.pair(f"tcp://back.{dns.ZONE}:{self.port}", segment="health=tcp 100 ms fall 1")
        both.segment.wait_log(lambda r: OUT in r.line and addresses[2] in r.line, "what is passed over")
        self.assertEqual(self.names_of(both.url, 20), {"a": 10, "b": 10})

    def test_with_all_passed_over_all_are_tried(self):
        addresses = dns.hosts(3)
        port = dns.free_port(*addresses)
        self.dns.set("back", A=addresses)
        both = self.pair(f"tcp://back.{dns.ZONE}:{port}", segment="connect_timeout=20 s\nconnect_retry=no")
        for _ in range(10):
            start = time.monotonic()
            self.assertEqual(both.refusal(), ("reset", 0))
            self.assertLess(time.monotonic() - start, 3 * pair.PATIENCE, "all refuse: there is nothing to wait for")
        both.segment.wait_conversation(count=10, end="connect-failed")
        for host in addresses:
            self.assertEqual(self.logged(both.segment, OUT, host), 1)
        self.backend(dns.say("back"), url=url(addresses[1], port))
        self.assertEqual(self.names_of(both.url, 10), {"back": 10})

    def test_client_is_reset_when_all_addresses_swallow(self):
        addresses = dns.hosts(2)
        port = dns.free_port(*addresses)
        for host in addresses:
            self.keep(pair.Swallowing(url=url(host, port)))
        self.dns.set("back", A=addresses)
        both = self.pair(f"tcp://back.{dns.ZONE}:{port}", segment="connect_timeout=700 ms")
        start = time.monotonic()
        self.assertEqual(both.refusal(), ("reset", 0))
        self.assertGreater(time.monotonic() - start, 0.6)
        both.segment.wait_conversation(end="connect-timeout")

    def test_ipv6_address_that_refuses(self):
        addresses = ["::1", dns.hosts(1)[0]]
        port = dns.free_port(*addresses)
        self.backend(dns.say("good"), url=url(addresses[1], port))
        self.dns.set("back", A=addresses[1:], AAAA=addresses[:1])
        both = self.pair(f"tcp://back.{dns.ZONE}:{port}")
        load = self.crowd(both.url, 50, threads=1)
        self.assertLess(pair.percentile(load.seconds, 0.9), 0.2 * pair.PATIENCE)
        self.assertEqual(list(load.served), ["good"])

    def test_ipv4_address_that_swallows_beside_an_ipv6_one(self):
        addresses = ["::1", dns.hosts(1)[0]]
        port = dns.free_port(*addresses)
        self.backend(dns.say("good"), url=url("::1", port))
        self.keep(pair.Swallowing(url=url(addresses[1], port)))
        self.dns.set("back", A=addresses[1:], AAAA=addresses[:1])
        both = self.pair(f"tcp://back.{dns.ZONE}:{port}", segment="connect_timeout=60 s")
        load = self.crowd(both.url, 50, threads=1)
        self.assertLess(max(load.seconds), 2 * pair.PATIENCE)
        self.assertEqual(list(load.served), ["good"])

    def test_bytes_sent_before_the_server_was_found_are_all_delivered(self):
        addresses = dns.hosts(3)
        port = dns.free_port(*addresses)
        self.keep(pair.Swallowing(url=url(addresses[1], port)))
        self.backend(pair.echo, url=url(addresses[2], port))
        self.dns.set("back", A=addresses)
        both = self.pair(f"tcp://back.{dns.ZONE}:{port}", segment="connect_timeout=3 s")
        clients = [both.connect().send_pattern(100000).finish() for _ in range(6)]
        for client in clients:
            self.assertEqual(client.read_to_end(), pair.Ending("fin", 100000, pair.PATTERN.sha256(100000)))


class ControllerSide(Case):

    def test_one_segment_refuses_and_one_swallows_and_3000_clients_are_served(self):
        addresses = dns.hosts(3)
        sites = self.fleet(3)
        for site in sites[:2]:
            site.segment.stop()
        self.keep(pair.Swallowing(url=sites[1].address))
        self.dns.set("all", A=addresses)
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites[2:], connect_timeout="3 s")
        load = self.crowd(controller.address(), pair.scaled(3000))
        self.assertEqual(list(load.served), ["c"])
        self.quick(load, 3)
        self.assertEqual(self.logged(controller, "cannot be made", addresses[0]), 1)

    def test_3000_clients_meet_the_three_segments_that_serve_equally_often(self):
        sites = self.fleet(5)
        for site in sites[:2]:
            site.segment.stop()
        self.keep(pair.Swallowing(url=sites[1].address))
        self.dns.is_rotating = True
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites[2:], connect_timeout="3 s")
        load = self.crowd(controller.address(), pair.scaled(3000))
        self.even(load.served, "cde")
        self.quick(load, 3)

    def test_first_clients_do_not_wait_for_the_links_that_do_not_come(self):
        sites = self.fleet(2)
        sites[0].segment.stop()
        self.keep(pair.Swallowing(url=sites[0].address))
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", connect_timeout="60 s")
        self.links(controller, sites[1].segment)
        start = time.monotonic()
        self.assertEqual(self.names_of(controller.address(), 10), {"b": 10})
        self.assertLess(time.monotonic() - start, 5 * pair.PATIENCE)

    def test_segment_that_cannot_connect_its_server_harms_no_client_and_is_passed_over(self):
        sites = self.fleet(2)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        address = sites[0].backend.url
        self.assertEqual(self.names_of(controller.address(), 20), {"a": 10, "b": 10})
        sites[0].backend.close()
        with pair.Load(controller.address()) as load:
            controller.wait_log(lambda r: LINK_OUT in r.line and sites[0].host in r.line, "what is passed over")
            load.wait_more(200)
            self.backend(dns.say("again"), url=address)
            controller.wait_log(lambda r: LINK_BACK in r.line and sites[0].host in r.line, "its return")
            load.wait_more(50)
        for message in (LINK_OUT, LINK_BACK):
            self.assertEqual(self.logged(controller, message, sites[0].host), 1)
            self.assertEqual(self.logged(controller, message, sites[1].host), 0)
        self.assertEqual(self.names_of(controller.address(), 20), {"again": 10, "b": 10})

    def test_bytes_sent_before_a_segment_refused_are_all_delivered_by_the_next(self):
        sites = self.fleet(3)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        for site in sites[:2]:
            site.backend.close()
        clients = [self.connect(controller.address()).send_pattern(100000).finish() for _ in range(9)]
        for client in clients:
            self.assertEqual(client.read_line(), b"c\n")
            self.assertEqual(client.read_to_end(), pair.Ending("fin", 100000, pair.PATTERN.sha256(100000)))

    def test_segment_that_does_not_know_the_service_is_passed_over(self):
        sites = self.fleet(2)
        sites[0].segment.stop()
        stranger = self.segment(f"[Cloudbus]\nbind={sites[0].address}\n[Others]\nserver=builtin:echo\n")
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}")
        controller.wait_link(count=2)
        self.links(controller, stranger)
        self.links(controller, sites[1].segment)
        self.assertEqual(self.names_of(controller.address(), 20), {"b": 20})
        self.assertEqual(self.logged(controller, LINK_OUT, sites[0].host), 1)

    def test_client_is_reset_at_once_when_all_segments_refuse(self):
        sites = self.fleet(3)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites, connect_timeout="60 s", connect_retry="no")
        addresses = [site.backend.url for site in sites]
        for site in sites:
            site.backend.close()
        for _ in range(10):
            start = time.monotonic()
            self.assertEqual(self.refusal(controller.address()), ("reset", 0))
            self.assertLess(time.monotonic() - start, 3 * pair.PATIENCE)
        controller.wait_conversation(count=10, end="connect-failed")
        # All are out, so all are tried.
        self.backend(dns.say("back"), url=addresses[1])
        self.assertEqual(self.names_of(controller.address(), 10), {"back": 10})

    def test_new_clients_go_elsewhere_as_soon_as_a_segment_is_lost(self):
        sites = self.fleet(3)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        others = []
        while len(others) < 4:
            client = self.connect(controller.address())
            if client.read_line() != b"a\n":
                others.append(client)
        mark = controller.mark()
        sites[0].segment.kill()
        controller.wait_log(lambda r: r.subject == "link" and "lost" in r.message, "the lost link", mark)
        self.assertEqual(set(self.names_of(controller.address(), 20)), {"b", "c"})
        for client in others:
            self.assertEqual(client.exchange(b"x"), b"x")
        sites[0].start()
        controller.wait_link(mark)
        self.links(controller, sites[0].segment)
        self.assertEqual(self.names_of(controller.address(), 30), {"a": 10, "b": 10, "c": 10})

    def test_several_links_to_each_address(self):
        sites = self.fleet(2)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", links=2)
        controller.wait_link(count=4)
        for site in sites:
            self.links(controller, site.segment, 2)
        self.assertEqual(self.names_of(controller.address(), 40), {"a": 20, "b": 20})
        mark = controller.mark()
        self.dns.set("all", A=[sites[1].host])
        controller.wait_log(lambda r: dns.about(r, "link drained"), "the ends of the links", mark, count=2)
        self.links(controller, sites[0].segment, 0)
        self.assertEqual(self.names_of(controller.address(), 4), {"b": 4})

    def test_names_and_numbers_in_one_service(self):
        sites = self.fleet(3)
        self.dns.set("all", A=[site.host for site in sites[:2]])
        controller = self.front([f"tcp://all.{dns.ZONE}:{self.port}", sites[2].address], sites, mode="balance")
        # The two lines are taken in turn, and the two addresses of the first in turn.
        self.assertEqual(self.names_of(controller.address(), 40), {"a": 10, "b": 10, "c": 20})


if __name__ == "__main__":
    unittest.main()
