# SPDX-License-Identifier: Apache-2.0
"""Servers by name with NSD, whose zone changes while clients come and go."""

import random
import unittest

import dns
import pair

DRAINED = "link is drained: its address is no more"


class Server(dns.Case):

    def make_dns(self):
        return dns.Nsd(self)

    def serving(self, load, sites):
        """Waits until new clients meet these sites, all of them and no others."""
        names = {site.name for site in sites}

        def met():
            with load.lock:
                before = dict(load.served)
            load.wait_more(10 * len(names))
            with load.lock:
                return {name for name, count in load.served.items() if count > before.get(name, 0)} == names
        pair.wait_for(met, f"clients to meet {sorted(names)}")

    def meet(self, controller, now, sites):
        """Tells the invariants to whom there are links."""
        for site in sites:
            self.links(controller, site.segment, 1 if site in now else 0)

    def test_addresses_come_and_go_under_load_and_no_client_fails(self):
        sites = self.fleet(5)
        self.dns.set("all", A=[site.host for site in sites[:3]])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites[:3])
        self.links(controller, sites[3].segment)
        self.links(controller, sites[4].segment)
        held = [self.connect(controller.address()) for _ in range(3)]
        for client in held:
            client.read_line()
        chance = random.Random(4)
        with pair.Load(controller.address()) as load:
            for _ in range(5):
                now = chance.sample(sites, chance.randint(1, 4))
                self.dns.set("all", A=[site.host for site in now])
                self.serving(load, now)
                for client in held:
                    self.assertEqual(client.exchange(b"x" * 100), b"x" * 100)
        print(f"{load.count} clients, the slowest {max(load.seconds):.2f} s")
        for client in held:
            client.close()
        self.meet(controller, now, sites)

    def test_name_that_changes_all_its_addresses_under_load(self):
        sites = self.fleet(4)
        self.dns.set("all", A=[site.host for site in sites[:2]])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites[:2])
        with pair.Load(controller.address()) as load:
            for now in (sites[2:], sites[:2], sites[2:]):
                mark = controller.mark()
                self.dns.set("all", A=[site.host for site in now])
                controller.wait_log(lambda r: dns.about(r, "link drained"), "the ends of the links", mark, count=2)
                self.serving(load, now)
        self.meet(controller, sites[2:], sites)

    def test_rotated_answers_change_nothing(self):
        sites = self.fleet(3)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        mark = controller.mark()
        with pair.Load(controller.address(), threads=2) as load:
            pair.window(4)
        self.assertEqual(controller.find(lambda r: r.subject in ("link", "name"), mark), [])
        self.assertLessEqual(max(load.served.values()) - min(load.served.values()), max(4, load.count // 100))

    def test_segments_are_replaced_one_after_the_other_and_no_client_fails(self):
        """Out of the zone, drained, ended and started again: what a careful deployment does."""
        sites = self.fleet(3)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        with pair.Load(controller.address()) as load:
            for site in sites[:2]:
                mark = controller.mark()
                self.dns.set("all", A=[other.host for other in sites if other is not site])
                controller.wait_log(lambda r, s=site: dns.about(r, "link drained", segment=s.address), "its link", mark)
                site.segment.stop()
                site.start()
                self.dns.set("all", A=[other.host for other in sites])
                controller.wait_link(mark)
                self.serving(load, sites)
        for site in sites:
            self.links(controller, site.segment)

    def test_dns_server_that_is_stopped_and_started_again_under_load(self):
        sites = self.fleet(2)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        mark = controller.mark()
        with pair.Load(controller.address(), threads=2) as load:
            self.dns.stop()
            controller.wait_log(lambda r: dns.about(r, "name cannot be asked for; its last answer serves"), "it", mark)
            load.wait_more(200)
            self.dns.start()
            controller.wait_log(lambda r: dns.about(r, "name is resolved again"), "its end", mark)
        self.assertEqual(controller.find(lambda r: r.subject == "link", mark), [])

    def test_long_answers_come_by_tcp(self):
        addresses = dns.hosts(120)
        port = dns.free_port("0.0.0.0")
        self.backend(pair.echo, url=f"tcp://0.0.0.0:{port}")
        self.dns.set("back", A=addresses, ttl=60)
        both = self.pair(f"tcp://back.{dns.ZONE}:{port}")
        for _ in range(240):
            with both.connect() as client:
                self.assertEqual(client.exchange(b"x"), b"x")
        taken = [record.fields["server"] for record in both.segment.wait_conversation(count=240)]
        self.assertEqual({taken.count(f"{host}:{port}") for host in addresses}, {2})

    def test_aliases_and_both_families(self):
        addresses = [dns.hosts(1)[0], "::1"]
        port = dns.free_port(*addresses)
        for name, url in (("four", f"tcp://{addresses[0]}:{port}"), ("six", f"tcp://[::1]:{port}")):
            self.backend(dns.say(name), url=url)
        self.dns.update({"host": (1, {"A": addresses[:1], "AAAA": addresses[1:]}), "alias": (1, {"CNAME": "host"})})
        both = self.pair(f"tcp://alias.{dns.ZONE}:{port}")
        self.assertEqual(self.names_of(both.url, 20), {"four": 10, "six": 10})

    def test_segments_behind_srv_records_come_and_go_under_load(self):
        """As in a cluster: each segment has a record, which appears when it runs and vanishes before it ends."""
        sites = {name: dns.Site(self, name, host, dns.free_port(host)) for name, host in zip("abcde", dns.hosts(5))}
        running = [sites[name] for name in "abc"]
        self.publish(running)
        controller = self.front(f"srv:_orders._tcp.{dns.ZONE}", running)
        with pair.Load(controller.address()) as load:
            self.serving(load, running)
            for come, go in (("d", "a"), ("a", ""), ("e", "bcd")):
                mark = controller.mark()
                for name in go:
                    running.remove(sites[name])
                for name in come:
                    if not sites[name].segment.alive:
                        sites[name].start()
                    running.append(sites[name])
                self.publish(running)
                for name in go:
                    controller.wait_log(lambda r, n=name: dns.about(r, "link drained", segment=sites[n].address),
                                        f"the end of the link to {name}", mark)
                    sites[name].segment.stop()
                self.serving(load, running)
        print(f"{load.count} clients, the slowest {max(load.seconds):.2f} s")
        self.meet(controller, running, sites.values())

    def publish(self, sites):
        changes = {"_orders._tcp": (1, {"SRV": [(10, 10, site.port, f"pod-{site.name}") for site in sites]})}
        changes.update({f"pod-{site.name}": (1, {"A": [site.host]}) for site in sites})
        self.dns.update(changes)

    def test_urn_that_leads_to_srv_records(self):
        sites = {name: dns.Site(self, name, host, dns.free_port(host)) for name, host in zip("ab", dns.hosts(2))}
        self.dns.set("bus", NAPTR=[(10, 10, "s", "bus+tcp", r"!^urn:bus:([a-z]+)$!_\1._tcp.cloud.test!i", ".")])
        self.publish(sites.values())
        controller = self.controller(f"[Cloudbus]\nurn_zone={dns.ZONE}\n[Orders]\nbind=tcp://127.0.0.1:0\n"
                                     "server=urn:bus:Orders\n")
        controller.wait_link(count=2)
        self.meet(controller, sites.values(), sites.values())
        self.assertEqual(set(self.names_of(controller.address(), 40)), {"a", "b"})


if __name__ == "__main__":
    unittest.main()
