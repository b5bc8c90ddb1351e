# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
"""Servers by name while DNS is silent, broken or lies."""

import time
import unittest

import dns
import pair

FAULTS = ("silence", "servfail", "refused", "notimp", "garbage", "wrong_id", "wrong_question",
          "truncated_and_silent", "truncated_and_closed")
STALE, UNRESOLVED, AGAIN = "cannot be asked for; its last answer serves", "cannot be resolved", "is resolved again"


class Faults(dns.Case):

    def services(self, names, segment="", **records):
        """A segment with a server by name for each of these services, and a controller in front of it."""
        self.server = self.backend(pair.echo)
        port = pair.host_and_port(self.server.url)[1]
        for name in names:
            self.dns.set(name, **(records or {"A": ["127.0.0.1"]}))
        self.segment_side = self.segment("[Cloudbus]\nbind=tcp://127.0.0.1:0\n" + "".join(
            f"[{name}]\nserver=tcp://{name}.{dns.ZONE}:{port}\n{segment}\n" for name in names))
        link = self.segment_side.listening()[0].fields["address"]
        self.controller_side = self.controller("".join(
            f"[{name}]\nbind=tcp://127.0.0.1:0\nserver={link}\nconnect_timeout=60 s\n" for name in names))
        self.controller_side.wait_link()
        self.links(self.controller_side, self.segment_side)

    def client(self, name):
        return self.connect(self.controller_side.address(name))

    def serves(self, name):
        with self.client(name) as client:
            self.assertEqual(client.exchange(b"x" * 100), b"x" * 100)

    def said(self, message, name, since=0):
        return self.segment_side.find(
            lambda r: r.subject == "name" and dns.about(r, message, name=f"{name}.{dns.ZONE}"), since)

    def wait_said(self, message, name, since=0):
        pair.wait_for(lambda: self.said(message, name, since), f"{message}: {name}")

    def test_last_answer_serves_whatever_goes_wrong(self):
        self.services(FAULTS)
        for name in FAULTS:
            self.serves(name)
            self.dns.fail(name, name)
        for name in FAULTS:
            self.wait_said(STALE, name)
            self.serves(name)
        self.assertLess(self.segment_side.load(0.5), 0.1)
        mark = self.dns.mark()
        self.dns.wait_asked("servfail", "A", since=mark)
        for name in FAULTS:
            self.serves(name)
            self.dns.heal(name)
        for name in FAULTS:
            self.wait_said(AGAIN, name)
            self.serves(name)
            self.assertEqual(len(self.said(STALE, name)), 1)
            self.assertEqual(len(self.said(AGAIN, name)), 1)
            self.assertEqual(self.said(UNRESOLVED, name), [])
        self.assertEqual(self.segment_side.find(lambda r: dns.POISON in r.line), [])

    def test_client_that_comes_before_dns_works_is_served_when_it_does(self):
        for name in FAULTS:
            self.dns.fail(name, name)
        self.services(FAULTS, segment="connect_timeout=60 s")
        clients = {name: self.client(name).send(b"early") for name in FAULTS}
        for name in FAULTS:
            self.wait_said(UNRESOLVED, name)
            self.dns.heal(name)
        for name, client in clients.items():
            self.assertEqual(client.read_exact(5), b"early", name)
            self.assertEqual(len(self.said(UNRESOLVED, name)), 1)
        self.assertEqual(self.segment_side.find(lambda r: dns.POISON in r.line), [])

    def test_client_is_reset_after_connect_timeout_while_dns_is_silent_and_nothing_spins(self):
        self.dns.fail(None, "silence")
        self.services(["silent"], segment="connect_timeout=700 ms")
        start = time.monotonic()
        self.assertEqual(self.refusal(self.controller_side.address("silent")), ("reset", 0))
        self.assertLess(time.monotonic() - start, 4 * pair.PATIENCE)
        self.segment_side.wait_conversation(end="connect-timeout")
        self.assertLess(self.segment_side.load(2), 0.05)
        # A query that is under way holds up no SIGTERM.
        start = time.monotonic()
        self.segment_side.stop()
        self.assertLess(time.monotonic() - start, 2 * pair.PATIENCE)

    def test_what_must_not_be_believed_is_not(self):
        self.dns.fail("lies", "lies_first")
        self.services(["lies"])
        for _ in range(5):
            self.serves("lies")
        self.dns.wait_renewed("lies")
        self.serves("lies")
        self.assertEqual(self.segment_side.find(lambda r: dns.POISON in r.line), [])

    def test_server_that_does_not_know_edns(self):
        self.dns.fail("old", "formerr")
        self.services(["old"])
        self.serves("old")
        self.dns.wait_renewed("old")
        self.serves("old")
        self.assertEqual(self.said(UNRESOLVED, "old"), [])

    def test_trouble_with_the_one_family_leaves_the_other(self):
        """As RFC 4074 tells of servers that do not know AAAA."""
        faults = ("servfail", "refused", "notimp", "nxdomain", "formerr")
        for fault in faults:
            self.dns.fail(fault, fault, "AAAA")
        self.services(faults)
        for fault in faults:
            with self.subTest(fault):
                self.serves(fault)
        self.dns.wait_renewed("servfail")
        for fault in faults:
            with self.subTest(fault):
                self.serves(fault)
                self.assertEqual(self.said(STALE, fault), [])

    def test_dns_server_that_ends_and_is_started_again(self):
        self.services(["one"])
        with pair.Load(self.controller_side.address("one"), threads=2, has_names=False) as load:
            load.wait_more(10)
            self.dns.close()
            self.wait_said(STALE, "one")
            load.wait_more(100)
            again = self.keep(dns.Scripted(port=self.dns.port))
            again.set("one", A=["127.0.0.1"])
            self.wait_said(AGAIN, "one")
            load.wait_more(10)
        self.assertEqual((len(self.said(STALE, "one")), len(self.said(AGAIN, "one"))), (1, 1))

    def test_nothing_of_a_dead_dns_reaches_clients_of_links_that_are_there(self):
        sites = self.fleet(2)
        self.dns.set("all", A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        mark = controller.mark()
        with pair.Load(controller.address(), threads=2) as load:
            load.wait_more(20)
            self.dns.fail(None, "silence")
            controller.wait_log(lambda r: dns.about(r, "name", STALE), "the trouble", mark)
            load.wait_more(100)
            self.dns.heal()
            controller.wait_log(lambda r: dns.about(r, "name", AGAIN), "its end", mark)
        self.assertEqual(controller.find(lambda r: r.subject == "link", mark), [])
        self.assertLessEqual(abs(load.served["a"] - load.served["b"]), 4)


if __name__ == "__main__":
    unittest.main()
