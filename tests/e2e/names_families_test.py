# SPDX-License-Identifier: Apache-2.0
"""Servers by name when only one of the two queries, A and AAAA, is answered (RFC 8305, section 3)."""

import time
import unittest

import dns
import pair

DRAINED = "link is drained: its address is no more"
FAMILIES = ("A", "AAAA")


class Families(dns.Case):

    def both_families(self):
        """Two segments at one port of an IPv4 and an IPv6 address, both of which "all" has."""
        host, = dns.hosts(1)
        self.port = dns.free_port(host, "::1")
        sites = [dns.Site(self, name, where, self.port) for name, where in zip(FAMILIES, (host, "[::1]"))]
        self.dns.set("all", A=[host], AAAA=["::1"])
        return dict(zip(FAMILIES, sites))

    def changes(self, controller, mark):
        return controller.find(lambda r: r.subject in ("link", "name"), mark)

    def test_silence_of_one_family_delays_nobody(self):
        for silent, kind in (("AAAA", "tcp4"), ("A", "tcp6")):
            port = pair.host_and_port(self.backend(pair.echo, kind=kind).url)[1]
            name = "no-" + silent.lower()
            self.dns.set(name, A=["127.0.0.1"], AAAA=["::1"])
            self.dns.fail(name, "silence", silent)
            other = "AAAA" if silent == "A" else "A"
            with self.subTest(silent):
                both = self.pair(f"tcp://{name}.{dns.ZONE}:{port}", segment="refresh=immediate")
                with both.connect() as client:
                    self.assertEqual(client.exchange(b"x"), b"x")
                # c-ares gives the silent query up after 3 s.
                start = self.dns.queries(name, other)[0].time
                self.assertLess(time.monotonic() - start, 2.5 * pair.PATIENCE)
                # Renewed when the TTL is over and the silent query is given up, again for clients that hardly wait.
                while len(self.dns.queries(name, other)) < 2:
                    start = time.monotonic()
                    with both.connect() as client:
                        self.assertEqual(client.exchange(b"x"), b"x")
                    self.assertLess(time.monotonic() - start, pair.PATIENCE)
                self.assertEqual(both.segment.find(lambda r: r.subject == "name"), [])

    def test_late_answer_of_a_family_only_adds_its_addresses(self):
        for late in FAMILIES:
            with self.subTest(late):
                sites = self.both_families()
                other = sites["AAAA" if late == "A" else "A"]
                self.dns.fail("all", "hold", late)
                controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", [other])
                mark = controller.mark()
                held = self.connect(controller.address())
                self.assertEqual(held.read_line().strip().decode(), other.name)
                self.dns.release()
                controller.wait_log(lambda r, s=sites[late]: dns.about(r, "link up", segment=s.address), "the link", mark)
                self.links(controller, sites[late].segment)
                self.assertEqual(self.names_of(controller.address(), 10), {"A": 5, "AAAA": 5})
                self.assertEqual(held.exchange(b"x"), b"x")
                self.assertEqual(len(self.changes(controller, mark)), 1, "the new link and nothing else")
                held.close()
                for daemon in (controller, *(site.segment for site in sites.values())):
                    daemon.kill()
                self.edges = []

    def test_family_that_is_answered_no_more_keeps_its_addresses(self):
        sites = self.both_families()
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites.values())
        mark = controller.mark()
        for fault, kind in (("silence", "AAAA"), ("servfail", "A")):
            self.dns.fail("all", fault, kind)
            asked = self.dns.mark()
            self.dns.wait_asked("all", "A" if kind == "AAAA" else "AAAA", 2, since=asked)
            self.assertEqual(self.names_of(controller.address(), 10), {"A": 5, "AAAA": 5}, fault)
            self.dns.heal("all", kind)
        self.assertEqual(self.changes(controller, mark), [])
        # But it loses them when the answer says so.
        self.dns.set("all", A=[sites["A"].host])
        controller.wait_log(lambda r: dns.about(r, DRAINED, segment=sites["AAAA"].address), "the drained link", mark)
        self.links(controller, sites["AAAA"].segment, 0)
        self.assertEqual(self.names_of(controller.address(), 4), {"A": 4})


if __name__ == "__main__":
    unittest.main()
