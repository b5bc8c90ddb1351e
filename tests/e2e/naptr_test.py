# SPDX-License-Identifier: Apache-2.0
"""Servers by URN and by NAPTR records (RFC 3401 to 3404)."""

import unittest

import dns
import pair

BUS = r"!^urn:bus:([a-z]+)$!_\1._tcp.cloud.test!i"


class Naptr(dns.Case):

    def sites(self, *services):
        """A segment for each of these names, with an SRV record _name._tcp."""
        found = {}
        for name, host in zip(services, dns.hosts(len(services))):
            site = found[name] = dns.Site(self, name, host, dns.free_port(host))
            self.dns.set(name, A=[host])
            self.dns.set(f"_{name}._tcp", SRV=[(1, 1, site.port, name)])
        return found

    def serve(self, *urls, zone=dns.ZONE, timeout="60 s"):
        """A controller with a service for each of these servers; the segments know all of them as Orders."""
        section = f"[Cloudbus]\nurn_zone={zone}\n" if zone else ""
        return self.controller(section + "".join(
            f"[{number}]\nbind=tcp://127.0.0.1:0\nserver={url}\nservice=Orders\nconnect_timeout={timeout}\n"
            for number, url in enumerate(urls)))

    def met(self, controller, number=0):
        return self.greeting(controller.address(str(number)))

    def linked(self, controller, *sites):
        for site in sites:
            self.links(controller, site.segment)

    def test_urn_is_rewritten_to_the_srv_records_of_its_service(self):
        sites = self.sites("orders", "mail")
        self.dns.set("bus", NAPTR=[(10, 10, "s", "bus+tcp", BUS, ".")])
        controller = self.serve("urn:bus:orders", "urn:bus:mail")
        controller.wait_link(count=2)
        self.linked(controller, *sites.values())
        self.assertEqual(self.met(controller, 0), "orders")
        self.assertEqual(self.met(controller, 1), "mail")

    def test_zone_of_urns_is_urn_arpa_by_default(self):
        sites = self.sites("orders")
        self.dns.set("bus.urn.arpa.", NAPTR=[(10, 10, "s", "bus+tcp", BUS, ".")])
        controller = self.serve("urn:bus:orders", zone=None)
        self.assertEqual(self.met(controller), "orders")
        self.linked(controller, sites["orders"])
        self.assertEqual(len(self.dns.queries("bus.urn.arpa.", "NAPTR")[:1]), 1)

    def test_segment_finds_its_server_by_urn(self):
        backend = self.backend(pair.echo)
        self.dns.set("bus", NAPTR=[(10, 10, "s", "bus+tcp", BUS, ".")])
        self.dns.set("_orders._tcp", SRV=[(1, 1, pair.host_and_port(backend.url)[1], "host")])
        self.dns.set("host", A=["127.0.0.1"])
        both = self.pair("urn:bus:orders", segment_global=f"urn_zone={dns.ZONE}")
        with both.connect() as client:
            self.assertEqual(client.exchange(b"x"), b"x")

    def test_naptr_with_replacement_instead_of_expression(self):
        sites = self.sites("orders")
        self.dns.set("entry", NAPTR=[(10, 10, "s", "bus+tcp", "", "_orders._tcp")])
        controller = self.serve(f"naptr:entry.{dns.ZONE}")
        self.assertEqual(self.met(controller), "orders")
        self.linked(controller, sites["orders"])

    def test_rules_without_a_flag_lead_on_and_flags_are_the_same_in_any_case(self):
        sites = self.sites("orders")
        self.dns.set("bus", NAPTR=[(10, 10, "", "", "!^urn:bus:(.*)$!first.cloud.test!", ".")])
        self.dns.set("first", NAPTR=[(10, 10, "", "", "", "second")])
        self.dns.set("second", NAPTR=[(10, 10, "S", "TCP+BUS", BUS, ".")])
        controller = self.serve("urn:bus:orders")
        self.assertEqual(self.met(controller), "orders")
        self.linked(controller, sites["orders"])

    def test_flag_a_is_a_host_with_the_port_7900(self):
        host = dns.hosts(1)[0]
        site = dns.Site(self, "a", host, 7900)
        self.dns.set("host", A=[host])
        self.dns.set("bus", NAPTR=[(10, 10, "a", "bus+tcp", "", "host")])
        controller = self.serve("urn:bus:orders")
        self.assertEqual(self.met(controller), "a")
        self.linked(controller, site)

    def test_flag_u_is_an_address(self):
        sites = self.sites("orders", "mail")
        self.dns.set("bus", NAPTR=[
            (10, 10, "u", "bus+tcp", f"!^urn:bus:direct$!{sites['orders'].address}!", "."),
            (10, 20, "u", "bus+tcp", f"!^urn:bus:named$!tcp://mail.cloud.test:{sites['mail'].port}!", "."),
            (10, 30, "u", "bus+tcp", "!^urn:bus:(.*)$!srv:_\\1._tcp.cloud.test!", ".")])
        controller = self.serve("urn:bus:direct", "urn:bus:named", "urn:bus:orders")
        self.assertEqual([self.met(controller, number) for number in range(3)], ["orders", "mail", "orders"])
        self.linked(controller, *sites.values())

    def test_lowest_order_and_in_it_lowest_preference_come_first(self):
        sites = self.sites("right", "wrong")
        self.dns.is_rotating = True
        self.dns.set("bus", NAPTR=[
            (20, 1, "s", "bus+tcp", "", "_wrong._tcp"), (10, 20, "s", "bus+tcp", "", "_wrong._tcp"),
            (10, 10, "s", "bus+tcp", "", "_right._tcp"), (30, 0, "s", "bus", "", "_wrong._tcp")])
        controller = self.serve("urn:bus:orders")
        self.assertEqual(self.met(controller), "right")
        mark = self.dns.mark()
        self.dns.wait_asked("bus", "NAPTR", 2, since=mark)
        self.assertEqual(self.met(controller), "right")
        self.assertEqual(self.dns.queries("_wrong._tcp"), [])
        self.assertEqual(len(controller.find(lambda r: r.subject == "link")), 1)
        self.linked(controller, sites["right"])

    def test_rules_for_others_are_passed_over(self):
        sites = self.sites("right", "wrong")
        self.dns.set("bus", NAPTR=[
            (1, 1, "s", "bus+tcp", "!^urn:cab:(.*)$!_wrong._tcp.cloud.test!", "."),
            (2, 1, "s", "bus+tcp", "!^URN:BUS!_wrong._tcp.cloud.test!", "."),
            (3, 1, "s", "bus+tcp", "!([)!_wrong._tcp.cloud.test!", "."),
            (4, 1, "s", "bus+tcp", "!^urn!_wrong._tcp.cloud.test!", "_wrong._tcp"),
            (5, 1, "x", "bus+tcp", "", "_wrong._tcp"), (6, 1, "su", "bus+tcp", "", "_wrong._tcp"),
            (7, 1, "s", "http+tcp", "", "_wrong._tcp"), (7, 2, "p", "bus+tcp", "", "_wrong._tcp"),
            (7, 3, "s", "omnibus+tcp", "", "_wrong._tcp"),
            (7, 4, "s", "bus+tcp", "!^URN:BUS:(.*)$!_right._tcp.cloud.test!i", "."),
            (8, 1, "s", "bus+tcp", "", "_wrong._tcp")])
        controller = self.serve("urn:bus:orders")
        self.assertEqual(self.met(controller), "right")
        self.linked(controller, sites["right"])

    def test_rule_for_others_that_matches_ends_the_search_at_its_order(self):
        """RFC 3403, section 4.1: no higher order is looked at, even if what matched cannot be used."""
        self.sites("wrong")
        self.dns.set("bus", NAPTR=[(1, 1, "s", "http+tcp", "", "_wrong._tcp"), (2, 1, "s", "bus", "", "_wrong._tcp")])
        controller = self.serve("urn:bus:orders", timeout="500 ms")
        self.assertEqual(self.refusal(controller.address("0")), ("reset", 0))
        controller.wait_log(lambda r: dns.about(r, "name cannot be used", name="urn:bus:orders"), "the reason")

    def test_loops_dead_ends_and_nonsense_are_told_once_and_harm_no_other(self):
        sites = self.sites("orders")
        self.dns.set("good", NAPTR=[(1, 1, "s", "bus", "", "_orders._tcp")])
        self.dns.set("loop1", NAPTR=[(1, 1, "", "", "", "loop2")])
        self.dns.set("loop2", NAPTR=[(1, 1, "", "", "", "loop1")])
        self.dns.set("self", NAPTR=[(1, 1, "", "", "", "self")])
        for number in range(30):
            self.dns.set(f"deep{number}", NAPTR=[(1, 1, "", "", "", f"deep{number + 1}")])
        self.dns.set("nothing", NAPTR=[(1, 1, "s", "http+tcp", "", "_orders._tcp")])
        self.dns.set("nonsense", NAPTR=[(1, 1, "u", "bus+tcp", "!.*!http://www.example/!", ".")])
        self.dns.set("bomb", NAPTR=[(1, 1, "s", "bus", "!^(.*)$!" + r"\1" * 100 + "!", ".")])
        self.dns.set("again", NAPTR=[(1, 1, "u", "bus", "!.*!naptr:again.cloud.test!", ".")])
        bad = ("loop1", "self", "deep0", "nothing", "nonsense", "bomb", "again")
        controller = self.serve(f"naptr:good.{dns.ZONE}", *[f"naptr:{name}.{dns.ZONE}" for name in bad],
                                timeout="500 ms")
        clients = [self.connect(controller.address(str(number))) for number in range(1, len(bad) + 1)]
        for client in clients:
            self.assertEqual(client.read_to_end()[:2], ("reset", 0))
        for name in bad:
            controller.wait_log(lambda r, n=name: r.level == "warning" and dns.about(
                r, "name cannot be used", name=f"naptr:{n}.{dns.ZONE}"), name)
        self.assertEqual(self.met(controller), "orders")
        self.linked(controller, sites["orders"])
        mark = self.dns.mark()
        self.dns.wait_asked("good", "NAPTR", 2, since=mark)
        self.assertLessEqual(len(self.dns.queries("loop1", since=mark)), 3)
        self.assertEqual(self.dns.queries("deep17"), [])
        self.assertLess(controller.load(0.5), 0.1)
        self.assertEqual(len(controller.find(lambda r: "cannot be used" in r.line)), len(bad))

    def test_rule_that_changes_moves_new_clients_and_leaves_old_conversations(self):
        sites = self.sites("old", "new")
        self.dns.set("bus", NAPTR=[(1, 1, "s", "bus", "", "_old._tcp")])
        controller = self.serve("urn:bus:orders")
        held = self.connect(controller.address())
        self.assertEqual(held.read_line(), b"old\n")
        with pair.Load(controller.address(), threads=2) as load:
            self.dns.set("bus", NAPTR=[(1, 1, "s", "bus", "", "_new._tcp")])
            controller.wait_log(lambda r: dns.about(r, "link is drained: its address is no more"), "the old link")
            load.wait_more(100)
            self.assertGreater(load.served["new"], 50)
            self.assertEqual(held.exchange(b"x"), b"x")
        held.close()
        self.linked(controller, *sites.values())
        self.links(controller, sites["old"].segment, 0)

    def test_last_rules_serve_while_dns_is_silent(self):
        sites = self.sites("orders")
        self.dns.set("bus", NAPTR=[(10, 10, "s", "bus+tcp", BUS, ".")])
        controller = self.serve("urn:bus:orders")
        self.assertEqual(self.met(controller), "orders")
        self.linked(controller, sites["orders"])
        self.dns.fail(None, "silence")
        for name in ("bus", "_orders._tcp", "orders"):
            controller.wait_log(
                lambda r, n=name: dns.about(r, "name cannot be asked for", name=f"{n}.{dns.ZONE}"), name)
        for _ in range(10):
            self.assertEqual(self.met(controller), "orders")
        self.dns.heal()
        for name in ("bus", "_orders._tcp", "orders"):
            controller.wait_log(lambda r, n=name: dns.about(r, "name is resolved again", name=f"{n}.{dns.ZONE}"), name)

    def test_rules_that_appear_later(self):
        sites = self.sites("orders")
        controller = self.serve("urn:bus:orders")
        early = self.connect(controller.address())
        self.dns.wait_asked("bus", "NAPTR")
        self.dns.set("bus", NAPTR=[(10, 10, "s", "bus+tcp", BUS, ".")])
        self.assertEqual(early.read_line(), b"orders\n")
        self.linked(controller, sites["orders"])


if __name__ == "__main__":
    unittest.main()
