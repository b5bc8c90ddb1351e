# SPDX-License-Identifier: Apache-2.0
"""balance: one of several servers for each client, at a controller and at a segment."""

import collections
import contextlib
import os
import threading
import unittest

import fanout
import pair
from pair import MIB, PATTERN, scaled

POLICIES = ("round robin", "least connections", "random", "hash", "first")


def clients(count):
    """As many client addresses."""
    return [(f"127.0.{1 + number // 200}.{1 + number % 200}", 0) for number in range(count)]


@contextlib.contextmanager
def user(uid):
    """For a while we are somebody else, to those who ask our sockets."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


class Case(fanout.Case):

    def one(self, url, **more):
        """The number of the server that a client meets."""
        numbers = self.asked(url, **more)
        self.assertEqual(len(numbers), 1, numbers)
        return numbers[0]

    def many(self, url, count):
        return [self.one(url) for _ in range(count)]

    def by_address(self, url, count):
        """Who serves each of as many addresses."""
        return {source: self.one(url, source=source) for source in clients(count)}

    def hold(self, url):
        """A client that stays, and the number of its server."""
        client = self.connect(url)
        return client, int(client.read_line())

    def all_served(self, url, count=30, data=b"request"):
        """No client fails, and no byte is lost that is sent before anybody is there to take it."""
        for _ in range(count):
            with pair.connect(url) as client:
                sender = threading.Thread(target=lambda c=client: c.send(data).finish())
                sender.start()
                self.assertEqual(client.read_to_end(), fanout.ending_of(data))
                sender.join()

    def least_connections(self, url, count=3):
        """Clients go where the fewest are. The servers say their number in a line and hold."""
        held = [self.hold(url) for _ in range(3 * count)]
        counts = collections.Counter(number for _, number in held)
        self.assertEqual(counts, {number: 3 for number in range(count)})
        for client, number in held:
            if number == 1:
                client.finish()
                self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        self.assertEqual([self.hold(url)[1] for _ in range(3)], [1, 1, 1])

    def greeter(self, number):
        """A server that says its number in a line, and ends when the client has."""
        return lambda peer: peer.send(b"%d\n" % number).read_to_end() and None

    def spread(self, numbers, count=3):
        counts = collections.Counter(numbers)
        print("random:", sorted(counts.items()))
        self.assertEqual(set(counts), set(range(count)))
        self.assertGreater(min(counts.values()), len(numbers) // count // 3)


class OnController(Case):

    def test_round_robin_goes_around(self):
        fan = self.numbered("balance", text="balance=round robin")
        numbers = self.many(fan.url, 30)
        self.assertEqual(numbers, [(numbers[0] + turn) % 3 for turn in range(30)])

    def test_round_robin_is_the_default(self):
        fan = self.numbered("balance", 12)
        numbers = self.many(fan.url, 36)
        self.assertEqual(numbers, [(numbers[0] + turn) % 12 for turn in range(36)])

    def test_least_connections(self):
        fan, _ = self.served("balance", self.greeter, text="balance=least connections")
        self.least_connections(fan.url)

    def test_random_spreads_the_clients(self):
        fan = self.numbered("balance", text="balance=random")
        self.spread(self.many(fan.url, 150))

    def test_random_is_the_better_of_two(self):
        fan, _ = self.served("balance", self.greeter, text="balance=random")
        counts = collections.Counter(self.hold(fan.url)[1] for _ in range(60))
        print("held:", sorted(counts.items()))
        # By chance alone they would differ by more, mostly.
        self.assertLessEqual(max(counts.values()) - min(counts.values()), 8)

    def test_first_fails_over_to_the_spare_and_comes_back(self):
        fan = self.numbered("balance", text="balance=first")
        self.assertEqual(self.many(fan.url, 5), [0] * 5)
        fan.lose(0)
        self.assertEqual(self.many(fan.url, 5), [1] * 5)
        fan.lose(1)
        self.assertEqual(self.many(fan.url, 5), [2] * 5)
        fan.revive(0)
        self.assertEqual(self.many(fan.url, 5), [0] * 5)

    def test_server_that_refuses_costs_no_client(self):
        for balance in POLICIES:
            with self.subTest(balance):
                backends = [self.backend(pair.echo) for _ in range(2)]
                fan = self.fan([fanout.refusing()] + [backend.url for backend in backends],
                               f"mode=balance\nbalance={balance}")
                self.all_served(fan.url)
                records = fan.controller.wait_conversation(count=30, end="client-fin/server-fin", mode="balance")
                self.assertLessEqual({record.fields["server"] for record in records}, set(fan.names[1:]))

    def test_large_request_is_not_lost_on_a_server_that_refuses(self):
        size = scaled(4 * MIB)
        fan = self.fan([fanout.refusing(), fanout.refusing(), self.backend(pair.echo).url],
                       "mode=balance\nbalance=first")
        self.all_served(fan.url, 5, PATTERN.bytes(size))

    def test_client_is_reset_when_all_refuse(self):
        fan = self.fan([fanout.refusing() for _ in range(3)], "mode=balance")
        for _ in range(5):
            self.assertEqual(fan.refusal(), ("reset", 0))
        fan.controller.wait_conversation(count=5, end="connect-failed", mode="balance")
        for segment in fan.segments:
            segment.wait_conversation(count=5, end="connect-failed")

    def test_segment_without_the_service_costs_no_client(self):
        backend = self.backend(pair.echo)
        segments = [self.segment(f"[Cloudbus]\nbind=tcp://127.0.0.1:0\n[{name}]\nserver={backend.url}\n",
                                 name=f"segment-{name}") for name in ("Other", "Orders")]
        controller = self.controller("[Orders]\nbind=tcp://127.0.0.1:0\nmode=balance\nbalance=first\n" + "".join(
            f"server={segment.listening()[0].fields['address']}\n" for segment in segments))
        controller.wait_link(count=2)
        for segment in segments:
            self.links(controller, segment)
        self.all_served(controller.address(), 5)

    def test_segment_that_is_lost_in_the_middle_resets_its_clients_only(self):
        fan, _ = self.served("balance", self.greeter, text="resume=0")
        held = [self.hold(fan.url) for _ in range(6)]
        fan.lose(1)
        for client, number in held:
            if number != 1:
                client.finish()
            self.assertEqual(client.read_to_end()[:2], ("reset" if number == 1 else "fin", 0))
        fan.controller.wait_conversation(count=2, end="link-lost", server=fan.names[1])

    def test_clients_wait_for_a_segment_when_all_are_down(self):
        fan = self.numbered("balance", text="connect_timeout=60 s")
        fan.lose(0, 1, 2)
        client = fan.connect().send(b"early")
        self.assertFalse(client.readable(0.2))
        fan.revive(2)
        self.assertEqual(client.read_exact(2), b"2 ")
        self.assertEqual(client.finish().read_to_end()[:2], ("fin", 0))

    def test_client_is_reset_after_connect_timeout_when_all_are_down(self):
        fan = self.numbered("balance", text="connect_timeout=700 ms")
        fan.lose(0, 1, 2)
        self.assertEqual(fan.refusal(), ("reset", 0))
        fan.controller.wait_conversation(end="no-segment", mode="balance")

    def test_segment_that_drains_costs_no_client(self):
        fan, _ = self.served("balance", lambda _: pair.echo)
        with fan.connect() as client, fan.connect() as second, fan.connect() as third:
            for peer in (client, second, third):
                self.assertEqual(peer.exchange(b"x"), b"x")
            fan.segments[1].terminate()
            self.all_served(fan.url, 30)
            for peer in (client, second, third):
                self.assertEqual(peer.exchange(b"y"), b"y")
        self.assertEqual(fan.segments[1].wait_exit(), 0)
        self.all_served(fan.url, 6)

    def test_with_several_threads_all_are_served_by_all(self):
        fan = self.numbered("balance", text="balance=round robin", controller_global="threads=2",
                            segment_global="threads=2")
        counts = collections.Counter(self.many(fan.url, 60))
        self.assertEqual(counts, {0: 20, 1: 20, 2: 20})

    def test_a_conversation_is_one_to_one(self):
        size = scaled(16 * MIB)
        stages = [self.stage() for _ in range(2)]
        fan = self.fan([stage.url for stage in stages], "mode=balance\nbalance=first")
        client = fan.connect()
        peer = stages[0].accept()
        sender = threading.Thread(target=lambda: client.send_pattern(size).finish())
        sender.start()
        self.assertEqual(peer.read_to_end(), pair.Ending("fin", size, PATTERN.sha256(size)))
        sender.join()
        answer = fanout.Intake(client)
        peer.send_pattern(size).finish()
        self.assertEqual(answer.end(), pair.Ending("fin", size, PATTERN.sha256(size)))
        self.assertFalse(stages[1].has_caller())
        record = fan.controller.wait_conversation(mode="balance", server=fan.names[0], up=str(size), down=str(size),
                                                  end="client-fin/server-fin")
        fan.segments[0].wait_conversation(mode="one-to-one", id=record.fields["id"])
        for reset, how in ((True, "server-reset"), (False, "client-reset")):
            client = fan.connect().send(b"x")
            peer = stages[0].accept()
            peer.read_exact(1)
            near, far = (peer, client) if reset else (client, peer)
            near.reset()
            self.assertEqual(far.read_to_end()[:2], ("reset", 0))
            fan.controller.wait_conversation(end=how, server=fan.names[0])


class Hash(Case):
    """The same client meets the same servers."""

    def test_same_address_same_server_whatever_the_port(self):
        fan = self.numbered("balance", 12, "balance=hash")
        first = self.by_address(fan.url, 40)
        print("hash:", sorted(collections.Counter(first.values()).items()))
        self.assertGreater(len(set(first.values())), 6)
        for _ in range(2):
            self.assertEqual(self.by_address(fan.url, 40), first)

    def test_across_a_restart_and_controllers_with_another_order(self):
        fan = self.numbered("balance", 6, "balance=hash")
        first = self.by_address(fan.url, 40)
        other = fan.front(addresses=list(reversed(fan.addresses)))
        self.assertEqual(self.by_address(other.address(), 40), first)
        fan.controller.stop()
        again = fan.front()
        self.assertEqual(self.by_address(again.address(), 40), first)

    def test_same_set_of_servers_across_a_restart_and_controllers_with_another_order(self):
        for text in ("fanout=2", "fanout=3\nquorum=2"):
            with self.subTest(text):
                fan = self.numbered("full duplex", 6, f"balance=hash\n{text}")
                first = {source: self.asked(fan.url, source=source) for source in clients(30)}
                self.assertGreater(len(set(first.values())), 5)
                self.assertEqual({len(set(servers)) for servers in first.values()}, {int(text[7])})
                order = fan.addresses[3:] + fan.addresses[:3]
                other = fan.front(addresses=list(reversed(order)))
                fan.controller.stop()
                again = fan.front()
                for controller in (other, again):
                    self.assertEqual({source: self.asked(controller.address(), source=source) for source in first},
                                     first)

    def test_server_that_goes_moves_its_own_clients_only(self):
        fan = self.numbered("balance", 6, "balance=hash")
        before = self.by_address(fan.url, 60)
        fan.lose(2)
        after = self.by_address(fan.url, 60)
        for source, number in before.items():
            if number == 2:
                self.assertNotEqual(after[source], 2)
            else:
                self.assertEqual(after[source], number)
        moved = [source for source in before if before[source] == 2]
        print(f"{len(moved)} of {len(before)} moved to {sorted({after[source] for source in moved})}")
        self.assertGreater(len({after[source] for source in moved}), 1)
        fan.revive(2)
        self.assertEqual(self.by_address(fan.url, 60), before)

    def test_server_that_is_added_takes_only_its_share(self):
        fan = self.numbered("balance", 6, "balance=hash")
        smaller = fan.front(addresses=fan.addresses[:5])
        before = self.by_address(smaller.address(), 60)
        after = self.by_address(fan.url, 60)
        moved = [source for source in before if before[source] != after[source]]
        print(f"{len(moved)} of {len(before)} moved")
        self.assertEqual({after[source] for source in moved}, {5})
        self.assertLess(len(moved), 30)

    def test_threads_agree(self):
        fan = self.numbered("balance", 6, "balance=hash", controller_global="threads=2")
        first = self.by_address(fan.url, 30)
        for _ in range(3):
            self.assertEqual(self.by_address(fan.url, 30), first)

    def test_unix_clients_go_by_their_user(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        fan = self.numbered("balance", 6, "balance=hash\nsocket_mode=0666", client="unix")

        def by_user(url):
            found = {}
            for uid in range(0, 40):
                with user(uid):
                    found[uid] = self.one(url)
            return found

        first = by_user(fan.url)
        print("users:", sorted(collections.Counter(first.values()).items()))
        self.assertGreater(len(set(first.values())), 3)
        self.assertEqual(by_user(fan.url), first)
        other = fan.front(addresses=list(reversed(fan.addresses)))
        self.assertEqual(by_user(other.address()), first)


class OnSegment(Case):

    def balanced(self, servers, text="", **more):
        """A pair whose segment has several servers."""
        return self.pair(servers[0], segment="".join(f"server={server}\n" for server in servers[1:]) + text, **more)

    def numbered_pair(self, count, text="", **more):
        return self.balanced([self.backend(fanout.number_server(number)).url for number in range(count)], text, **more)

    def test_it_is_the_default_and_goes_around(self):
        both = self.numbered_pair(3)
        numbers = self.many(both.url, 30)
        self.assertEqual(numbers, [(numbers[0] + turn) % 3 for turn in range(30)])
        for record in both.controller.wait_conversation(count=30, mode="one-to-one"):
            self.assertEqual(record.fields["server"], both.link_url.removeprefix("tcp://"))

    def test_log_names_the_server_that_was_taken(self):
        stages = [self.stage(), self.stage("unix")]
        both = self.balanced([stage.url for stage in stages], "mode=balance\n")
        names = [stages[0].url.removeprefix("tcp://"), stages[1].url.replace("unix://", "unix:")]
        for number in (0, 1):
            client = both.connect().send(b"x").finish()
            stages[number].accept().finish()
            client.read_to_end()
            both.segment.wait_conversation(mode="balance", server=names[number])

    def test_least_connections(self):
        both = self.balanced([self.backend(self.greeter(number)).url for number in range(3)],
                             "balance=least connections\n")
        self.least_connections(both.url)

    def test_random_spreads_the_clients(self):
        self.spread(self.many(self.numbered_pair(3, "balance=random\n").url, 150))

    def test_first_fails_over_to_the_spare(self):
        backends = [self.backend(fanout.number_server(number)) for number in range(3)]
        both = self.balanced([backend.url for backend in backends], "balance=first\n")
        self.assertEqual(self.many(both.url, 5), [0] * 5)
        backends[0].close()
        self.assertEqual(self.many(both.url, 5), [1] * 5)
        backends[1].close()
        self.assertEqual(self.many(both.url, 5), [2] * 5)
        backends[2].close()
        self.assertEqual(both.refusal(), ("reset", 0))

    def test_server_that_refuses_costs_no_client(self):
        for balance in POLICIES:
            with self.subTest(balance):
                backends = [self.backend(pair.echo, kind) for kind in ("tcp4", "unix")]
                both = self.balanced([fanout.refusing(), backends[0].url, f"unix://{self.folder}/nobody.sock",
                                      backends[1].url], f"balance={balance}\n")
                self.all_served(both.url)
                both.controller.wait_conversation(count=30, end="client-fin/server-fin")

    def test_server_that_refuses_costs_no_client_of_several_threads(self):
        both = self.balanced([fanout.refusing(), self.backend(pair.echo).url], controller_global="threads=2",
                             segment_global="threads=2")
        self.all_served(both.url)

    def test_large_request_is_not_lost_on_a_server_that_refuses(self):
        both = self.balanced([fanout.refusing(), self.backend(pair.echo).url], "balance=first\n")
        self.all_served(both.url, 5, PATTERN.bytes(scaled(4 * MIB)))

    def test_client_is_reset_when_all_refuse(self):
        both = self.balanced([fanout.refusing(), fanout.refusing(), f"unix://{self.folder}/nobody.sock"])
        for _ in range(3):
            self.assertEqual(both.refusal(), ("reset", 0))
        for daemon in both.both:
            daemon.wait_conversation(count=3, end="connect-failed")

    def test_hash_goes_by_the_client_of_the_controller(self):
        backends = [self.backend(fanout.number_server(number)).url for number in range(6)]
        both = self.balanced(backends, "balance=hash\n")
        first = self.by_address(both.url, 40)
        self.assertGreater(len(set(first.values())), 3)
        self.assertEqual(self.by_address(both.url, 40), first)
        # The same with another segment, and the servers in another order.
        other = self.balanced(list(reversed(backends)), "balance=hash\n")
        self.assertEqual(self.by_address(other.url, 40), first)

    def test_hash_knows_unix_clients_again(self):
        both = self.numbered_pair(6, "balance=hash\n", client="unix")
        self.assertEqual(len(set(self.many(both.url, 12))), 1)

    def test_fan_out_to_segments_that_balance(self):
        backends = [[self.backend(fanout.number_server(10 * row + column)).url for column in range(2)]
                    for row in range(3)]
        fan = self.fan([row[0] for row in backends], "mode=full duplex")
        segments = [self.segment(f"[Orders]\nbind=tcp://{pair.HOME}:0\n" + "".join(f"server={url}\n" for url in row),
                                 name=f"balancing{number}") for number, row in enumerate(backends)]
        controller = self.controller("[Orders]\nbind=tcp://127.0.0.1:0\nmode=full duplex\n" + "".join(
            f"server={segment.address()}\n" for segment in segments), name="front")
        controller.wait_link(count=3)
        for segment in segments:
            self.links(controller, segment)
        self.assertEqual([self.asked(controller.address()) for _ in range(4)],
                         [(0, 10, 20), (1, 11, 21), (0, 10, 20), (1, 11, 21)])
        self.assertEqual(self.asked(fan.url), (0, 10, 20))


if __name__ == "__main__":
    unittest.main()
