# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
# exclusive: no
"""Links that break under streams: the clients notice a pause, or a reset, and nothing else.

RESUME_CUTS and RESUME_MIB: how often the links of big transfers are cut, and how big the transfers are. DETACHED: how
many sessions an attacker leaves behind.
"""

import calendar
import contextlib
import hashlib
import os
import random
import shutil
import signal
import struct
import subprocess
import threading
import time
import unittest

import dns
import pair
import wire
from cutter import Cutter

CUTS = int(os.environ.get("RESUME_CUTS", "40"))
SIZE = int(os.environ.get("RESUME_MIB", "96")) * pair.MIB
DETACHED = int(os.environ.get("DETACHED", pair.scaled(10000, 4)))
MOST_PARKED = 1024  # sessions without a link, for each worker of a segment: doc/protocol.md, section 7


class ResumeCase(pair.Case):

    def cutter(self, *target, **more):
        """Stays until the daemons have ended: without it they would wait for their links."""
        cutter = Cutter(*target, **more)
        self.addCleanup(cutter.close)
        return cutter

    def cut_pair(self, server, link="tcp4", segment="", controller="", segment_global="", controller_global="",
                 service="Orders", recorded=False, links=1):
        """A pair with a cutter on its link: (cutter, controller, segment). The controller has so many links in all."""
        number = len(self.daemons)
        bind = pair.bind_text(link, self.folder, f"link{number}")
        if link == "tcp4":
            bind = f"tcp://{pair.HOME}:0"
        back = self.segment(f"[Cloudbus]\n{segment_global}\n[{service}]\nbind={bind}\nserver={server}\n{segment}\n",
                            name=f"segment{number}")
        cutter = self.cutter(back.address(service), kind=link, folder=self.folder)
        cutter.recorded = [] if recorded else None
        front = self.controller(
            f"[Cloudbus]\n{controller_global}\n[{service}]\nbind=tcp://127.0.0.1:0\nserver={cutter.url}\n{controller}\n",
            name=f"controller{number}")
        front.wait_link(count=links)
        if link != "tcp4":
            front.base = front.descriptors() - links
        self.links(front, back)
        return cutter, front, back

    def lose_link(self, cutter, controller):
        """There is none until the cutter lets one through again."""
        cutter.refuse()
        cutter.cut()
        controller.wait_log(lambda r: r.message.startswith("lost"), "the loss")

    def cut_and_wait(self, cutter, controller, count=1):
        """Cuts so many times, each when the session is resumed from the time before."""
        for _ in range(count):
            mark = controller.mark()
            pair.wait_for(cutter.cut, "a link to cut")
            controller.wait_log(lambda r: r.subject == "link" and r.message.startswith("resumed"), "resumed", mark)


def seconds_of(record, field):
    """A duration in a line of the log."""
    return pair.seconds(record.fields[field])


def resumed(daemon):
    return daemon.find(lambda r: r.subject == "link" and r.message.startswith("resumed"))


class Merged:
    """A client of three servers whose answers are merged: the upper two bits of each byte say whose it is."""

    COUNT = 3
    OWN = [bytes(byte & 63 | number << 6 for byte in range(256)) for number in range(COUNT)]
    OTHERS = [bytes(byte for byte in range(256) if byte >> 6 != number) for number in range(COUNT)]

    @classmethod
    def server(cls, number):
        """Gives back what comes in bytes of its own, and says what came."""
        def serve(peer):
            digest, size = hashlib.sha256(), 0
            while data := peer.read():
                digest.update(data)
                size += len(data)
                peer.send(data.translate(cls.OWN[number]))
            peer.finish()
            return pair.Ending("fin", size, digest.hexdigest())
        return serve

    def __init__(self, client):
        self.client = client
        self.sent = hashlib.sha256()
        self.size = 0

    def exchange(self, data):
        """Whether every server gave back what was sent."""
        self.client.send(data)
        self.sent.update(data)
        self.size += len(data)
        answer = self.client.read_exact(self.COUNT * len(data))
        return all(answer.translate(None, others) == data.translate(own)
                   for own, others in zip(self.OWN, self.OTHERS))

    def finish(self):
        """How it ended, and what each server must have had."""
        self.client.finish()
        return self.client.read_to_end()[:2], pair.Ending("fin", self.size, self.sent.hexdigest())


class Resume(ResumeCase):

    def test_client_does_not_notice_a_link_that_breaks(self):
        backend = self.backend(pair.echo)
        cutter, controller, segment = self.cut_pair(backend.url)
        client = self.connect(controller.address())
        self.assertEqual(client.exchange(b"before"), b"before")
        self.cut_and_wait(cutter, controller)
        self.assertEqual(client.exchange(b"after"), b"after")
        lost = controller.wait_log(lambda r: r.message.startswith("lost"), "the loss")
        self.assertEqual((lost.level, lost.fields["streams"]), ("warning", "1"))
        segment.wait_log(lambda r: r.message.startswith("resumed"), "resumed")
        client.finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        controller.wait_conversation(end="client-fin/server-fin")
        segment.wait_conversation(end="client-fin/server-fin")

    def totals(self, daemon):
        """Ends it; what it counted."""
        daemon.stop()
        record = daemon.wait_log(lambda r: r.subject == "link" and r.message == "totals", "the totals")
        return {key: int(value) for key, value in record.fields.items()}

    def test_links_are_counted(self):
        backend = self.backend(pair.echo)
        cutter, controller, segment = self.cut_pair(backend.url, controller="resume=1 s")
        clients = [self.connect(controller.address()) for _ in range(3)]
        for client in clients:
            self.assertEqual(client.exchange(b"hello"), b"hello")
        self.cut_and_wait(cutter, controller, 2)
        for client in clients:
            self.assertEqual(client.exchange(b"again"), b"again")
        cutter.refuse()
        cutter.cut()
        for client in clients:
            self.assertEqual(client.read_to_end()[0], "reset")
        segment.wait_conversation(end="resume-timeout")
        cutter.refuse(False)
        for daemon in (controller, segment):
            counted = self.totals(daemon)
            counted.pop("replayed")  # depends on how far the bytes were
            self.assertEqual(counted, {"lost": 3, "resumed": 2, "given_up": 1, "streams_carried": 6, "streams_lost": 3,
                                           "probes": 0})

    def test_idle_sessions_are_counted_alike_at_both_ends(self):
        backend = self.backend(pair.echo)
        cutter, controller, segment = self.cut_pair(backend.url, controller="resume=1 s", segment="resume=1 s",
                                                    segment_global="log_level=debug")
        mark = segment.mark()
        cutter.cut()
        controller.wait_link(count=2)
        segment.wait_log(lambda r: r.message == "given up", "the end of the idle session", mark)
        with self.connect(controller.address()) as client:
            self.assertEqual(client.exchange(b"hello"), b"hello")
        for daemon in (controller, segment):
            counted = self.totals(daemon)
            self.assertEqual((counted["lost"], counted["given_up"], counted["streams_lost"]), (1, 0, 0), daemon.name)

    def transfer(self, link, threads=1):
        """Big transfers both ways, 50 conversations and a fan-out while all links are cut again and again."""
        size = pair.scaled(SIZE)

        def serve(peer):
            first = peer.read_exact(1)
            if first == b"d":
                peer.send_pattern(size).finish().read_to_end()
                return None
            if first == b"u":
                return peer.read_to_end()
            return pair.echo(peer)
        backend = self.backend(serve)
        servers = [self.backend(Merged.server(number)) for number in range(Merged.COUNT)]
        sites = [self.segment(f"[Merged]\nbind=tcp://{pair.HOME}:0\nserver={server.url}\n", name=f"site{number}")
                 for number, server in enumerate(servers)]
        cutters = [self.cutter(site.address()) for site in sites]
        cutter, controller, segment = self.cut_pair(
            backend.url, link, segment_global=f"threads={threads}", links=1 + Merged.COUNT,
            controller="[Merged]\nbind=tcp://127.0.0.1:0\nmode=full duplex\n" +
            "".join(f"server={each.url}\n" for each in cutters))
        for site in sites:
            self.links(controller, site)
        merged = Merged(self.connect(controller.address("Merged")))
        self.assertTrue(merged.exchange(b"before"))
        down, up = self.connect(controller.address()), self.connect(controller.address())
        talkers = [self.connect(controller.address()) for _ in range(50)]
        done = {}

        def receive():
            down.send(b"d")
            done["down"] = down.read_to_end()

        def send():
            up.send(b"u")
            up.send_pattern(size).finish()

        stop = threading.Event()
        wrong = []

        def talk():
            source = random.Random(1)
            for client in talkers:
                client.send(b"e")
            while not stop.is_set():
                for client in talkers:
                    data = source.randbytes(source.randrange(1, 3000))
                    if client.exchange(data) != data:
                        wrong.append("another echo")

        def fan_out():
            source = random.Random(3)
            while not stop.is_set():
                if not merged.exchange(source.randbytes(source.randrange(1, 65536))):
                    wrong.append("another answer of a fan-out")
        workers = [threading.Thread(target=work, daemon=True) for work in (receive, send, talk, fan_out)]
        for worker in workers:
            worker.start()
        cuts = 0
        source = random.Random(2)
        while cuts < CUTS or any(worker.is_alive() for worker in workers[:2]):
            if cuts >= CUTS:
                pair.wait_for(lambda: not any(worker.is_alive() for worker in workers[:2]), "the transfers", 300)
                break
            before = cutter.passed
            want = source.randrange(1, 4 * max(1, size // CUTS))  # of both ways together
            pair.wait_for(lambda b=before, w=want: cutter.passed - b > w or
                          not any(worker.is_alive() for worker in workers[:2]), "bytes")
            self.assertTrue(workers[2].is_alive(), "a conversation was reset")
            self.assertTrue(workers[3].is_alive(), "the fan-out was reset")
            for each in cutters:
                each.cut()
            if cutter.cut():
                cuts += 1
                pair.wait_for(lambda n=cuts: cutter.made > n, "another link")
            self.assertEqual(wrong, [])
        stop.set()
        for worker in workers:
            worker.join(60 * pair.PATIENCE)
        self.assertEqual(wrong, [])
        self.assertEqual(done["down"], ("fin", size, pair.PATTERN.sha256(size)))
        self.assertEqual(backend.outcome(), ("fin", size, pair.PATTERN.sha256(size)))
        for client in talkers:
            client.finish()
            self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        how, had = merged.finish()
        self.assertEqual(how, ("fin", 0))
        self.assertEqual([server.outcome() for server in servers], [had] * Merged.COUNT)
        for each in (segment, *sites):
            each.wait_log(lambda r: r.message.startswith("resumed"), "a link that was resumed")
        after = [seconds_of(record, "after") for record in resumed(controller)]
        if os.environ.get("RESUME_CUTS"):
            print(f"\n{link}: {cuts} cuts, {len(after)} resumed, median {pair.percentile(after, 0.5) * 1000:.1f} ms, "
                  f"p99 {pair.percentile(after, 0.99) * 1000:.1f} ms, most {max(after) * 1000:.1f} ms")
        self.assertLess(pair.percentile(after, 0.5), 0.05 * pair.PATIENCE)
        self.assertLess(pair.percentile(after, 0.99), 0.5 * pair.PATIENCE)
        return segment

    def test_every_byte_arrives_over_tcp(self):
        self.transfer("tcp4")

    def test_every_byte_arrives_over_unix(self):
        self.transfer("unix")

    def test_every_byte_arrives_at_a_segment_with_several_workers(self):
        """The links arrive at one worker after the other; the session stays where it was."""
        self.transfer("tcp4", threads=2)

    def test_fan_out_goes_on(self):
        def serve(peer):
            data = peer.read_exact(pair.scaled(4 * pair.MIB))
            return hashlib.sha256(data).hexdigest()
        backends = [self.backend(serve) for _ in range(3)]
        segments = [self.segment(f"[Orders]\nbind=tcp://{pair.HOME}:0\nserver={backend.url}\n", name=f"segment{n}")
                    for n, backend in enumerate(backends)]
        cutters = [self.cutter(segment.address()) for segment in segments]
        controller = self.controller("[Orders]\nbind=tcp://127.0.0.1:0\nmode=publish\nlag_limit=64M\n" +
                                     "".join(f"server={cutter.url}\n" for cutter in cutters))
        controller.wait_link(count=3)
        for segment in segments:
            self.links(controller, segment)
        client = self.connect(controller.address())
        size = pair.scaled(4 * pair.MIB)
        for number, chunk in enumerate(pair.PATTERN.chunks(size, size // 16)):
            client.send(chunk)
            if number % 4 == 1:
                self.cut_and_wait(cutters[number // 4 % 3], controller)
        for backend in backends:
            self.assertEqual(backend.outcome(), pair.PATTERN.sha256(size))

    def test_half_closed_stream_ends_cleanly_after_a_break(self):
        backend = self.backend(lambda peer: peer.send(str(peer.read_to_end().size).encode()).finish() and None)
        cutter, controller, _ = self.cut_pair(backend.url)
        client = self.connect(controller.address())
        cutter.cut_after(100_000)
        client.send_pattern(200_000).finish()
        self.assertEqual(client.read_exact(6), b"200000")
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        self.assertTrue(resumed(controller))

    def test_reset_of_a_client_arrives_after_a_break(self):
        backend = self.backend(pair.hold)
        cutter, controller, _ = self.cut_pair(backend.url)
        client = self.connect(controller.address())
        client.send(b"x")
        pair.wait_for(lambda: backend.accepted, "the backend's connection")
        self.lose_link(cutter, controller)
        client.reset()
        cutter.refuse(False)
        self.assertEqual(backend.outcome().how, "reset")
        controller.wait_conversation(end="client-reset")

    def test_client_that_comes_meanwhile_is_served_when_the_link_is_back(self):
        backend = self.backend(pair.echo)
        cutter, controller, _ = self.cut_pair(backend.url)
        old = self.connect(controller.address())
        old.exchange(b"x")
        self.lose_link(cutter, controller)
        client = self.connect(controller.address())
        client.send(b"early")
        cutter.refuse(False)
        self.assertEqual(client.read_exact(5), b"early")
        self.assertEqual(old.exchange(b"y"), b"y")

    def test_stopped_segment_that_goes_on(self):
        """Its silence is taken for a dead link on both sides; the session is resumed when it is back."""
        backend = self.backend(pair.echo)
        both = self.pair(backend.url)
        client = both.connect()
        client.exchange(b"x")
        both.segment.signal(signal.SIGSTOP)
        try:
            both.controller.wait_log(lambda r: r.message.startswith("lost"), "the loss", 0)
        finally:
            both.segment.signal(signal.SIGCONT)
        self.assertEqual(client.exchange(b"y"), b"y")
        self.assertTrue(resumed(both.controller))


class Given(ResumeCase):
    """Sessions that are not resumed."""

    def test_without_resume_streams_are_reset_at_once(self):
        for where in ("segment", "controller"):
            with self.subTest(where):
                backend = self.backend(pair.hold)
                cutter, controller, segment = self.cut_pair(backend.url, **{where: "resume=0"})
                client = self.connect(controller.address())
                client.send(b"x")
                pair.wait_for(lambda b=backend: b.accepted, "the backend's connection")
                start = time.monotonic()
                cutter.cut()
                self.assertEqual(client.read_to_end().how, "reset")
                self.assertEqual(backend.outcome().how, "reset")
                self.assertLess(time.monotonic() - start, 2 * pair.PATIENCE)
                controller.wait_conversation(end="link-lost")
                segment.wait_conversation(end="link-lost")

    def test_streams_of_a_service_without_resume_are_reset_and_others_go_on(self):
        backends = [self.backend(pair.echo), self.backend(pair.hold)]
        segment = self.segment("[Cloudbus]\nbind=tcp://127.0.0.1:0\n" + "".join(
            f"[{name}]\nserver={backend.url}\n" for name, backend in zip(("Long", "Short"), backends)))
        cutter = self.cutter(segment.listening()[0].fields["address"])
        controller = self.controller(f"[Long]\nbind=tcp://127.0.0.1:0\nserver={cutter.url}\n"
                                     f"[Short]\nbind=tcp://127.0.0.1:0\nserver={cutter.url}\nresume=0\n")
        controller.wait_link()
        self.links(controller, segment)
        long, short = self.connect(controller.address("Long")), self.connect(controller.address("Short"))
        long.exchange(b"x")
        short.send(b"x")
        pair.wait_for(lambda: backends[1].accepted, "the backend's connection")
        self.cut_and_wait(cutter, controller)
        self.assertEqual(short.read_to_end().how, "reset")
        self.assertEqual(backends[1].outcome().how, "reset")
        self.assertEqual(long.exchange(b"y"), b"y")
        controller.wait_conversation(end="link-lost")

    def test_streams_are_reset_when_the_time_is_over(self):
        backend = self.backend(pair.hold)
        cutter, controller, segment = self.cut_pair(backend.url, controller="resume=1 s")
        client = self.connect(controller.address())
        client.send(b"x")
        pair.wait_for(lambda: backend.accepted, "the backend's connection")
        cutter.refuse()
        start = time.monotonic()
        cutter.cut()
        self.assertEqual(client.read_to_end().how, "reset")
        self.assertEqual(backend.outcome().how, "reset")
        self.assertGreater(time.monotonic() - start, 0.9)
        self.assertLess(time.monotonic() - start, 4 * pair.PATIENCE)
        for daemon in (controller, segment):
            daemon.wait_conversation(end="resume-timeout")
            daemon.wait_log(lambda r: r.message.startswith("given up"), "that it was given up")
        mark = controller.mark()
        cutter.refuse(False)
        controller.wait_link(mark)

    def test_killed_segment_that_is_started_again_resets_clients_at_once(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url, link_bind=f"tcp://{pair.HOME}:0")
        clients = [both.connect() for _ in range(10)]
        for client in clients:
            client.exchange(b"x")
        mark = both.controller.mark()
        both.segment.kill()
        both.controller.wait_log(lambda r: r.message.startswith("lost"), "the loss", mark)
        pair.window(1)
        self.assertFalse(clients[0].readable(0))
        ended = []

        def wait_end():
            how = clients[0].read_to_end().how
            ended.append((time.time(), how))
        waiter = threading.Thread(target=wait_end)
        waiter.start()
        again = self.segment(both.segment.frozen_text(), name="again")
        again.base = both.segment.base
        waiter.join(pair.DEADLINE)
        ready = again.wait_log(lambda r: r.subject == "segment" and "ready" in r.message, "ready")
        stamp = time.strptime(ready.time.split()[0].split(".")[0], "%Y-%m-%dT%H:%M:%S")
        began = calendar.timegm(stamp) + float("0." + ready.time.rstrip("Z").split(".")[1])
        self.assertEqual(ended[0][1], "reset")
        self.assertLess(ended[0][0] - began, 0.1 * pair.PATIENCE)
        for client in clients[1:]:
            self.assertEqual(client.read_to_end().how, "reset")
        both.controller.wait_conversation(mark, count=10, end="session-lost")
        self.links(both.controller, again)
        with both.connect() as client:
            self.assertEqual(client.exchange(b"back"), b"back")

    def test_link_that_breaks_while_its_segment_drains_ends_its_streams_at_once(self):
        """The segment listens no more, so that its successor can: there is nowhere to resume them."""
        backend = self.backend(pair.hold)
        cutter, controller, segment = self.cut_pair(backend.url, segment_global="drain_timeout=60 s")
        client = self.connect(controller.address())
        client.send(b"x")
        pair.wait_for(lambda: backend.accepted, "the backend's connection")
        segment.terminate()
        controller.wait_log(lambda r: r.message.startswith("is draining"), "the drain")
        start = time.monotonic()
        cutter.cut()
        self.assertEqual(client.read_to_end().how, "reset")
        self.assertEqual(backend.outcome().how, "reset")
        self.assertEqual(segment.wait_exit(), 0)
        self.assertLess(time.monotonic() - start, 5 * pair.PATIENCE)
        lost = controller.wait_log(lambda r: r.message == "lost", "the loss")
        self.assertEqual((lost.level, lost.fields["streams"]), ("warning", "1"))
        for daemon in (controller, segment):
            daemon.wait_conversation(end="link-lost")

    def test_drain_of_a_segment_ends_streams_whose_link_is_lost(self):
        """It may take new links no more; the controller hears of it from the successor, which has another boot-id."""
        backend = self.backend(pair.hold)
        cutter, controller, segment = self.cut_pair(backend.url, segment_global="drain_timeout=60 s")
        client = self.connect(controller.address())
        client.send(b"x")
        pair.wait_for(lambda: backend.accepted, "the backend's connection")
        self.lose_link(cutter, controller)
        segment.terminate()
        self.assertEqual(backend.outcome().how, "reset")
        self.assertEqual(segment.wait_exit(), 0)
        segment.wait_conversation(end="link-lost")
        successor = self.segment(segment.frozen_text(), name="successor")
        cutter.refuse(False)
        self.assertEqual(client.read_to_end().how, "reset")
        controller.wait_conversation(end="session-lost")
        self.links(controller, successor)

    def test_drain_of_a_controller_waits_for_its_link(self):
        backend = self.backend(pair.echo)
        cutter, controller, _ = self.cut_pair(backend.url)
        client = self.connect(controller.address())
        client.exchange(b"x")
        self.lose_link(cutter, controller)
        controller.terminate()
        controller.wait_log(lambda r: "drains" in r.message, "the drain")
        cutter.refuse(False)
        self.assertEqual(client.exchange(b"y"), b"y")
        client.finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        self.assertEqual(controller.wait_exit(10), 0)


class Attackers(ResumeCase):
    """Whoever has not the secret resumes nothing, and harms nobody."""

    OFFER = wire.field(7, struct.pack("!II", 30000, 1 << 20) + bytes(16))

    def resume_payload(self, session, epoch=1, position=0, proof=bytes(32)):
        return wire.frame(wire.RESUME, 0, session + struct.pack("!QQ", epoch, position) + proof)

    def refusal_of_resume(self, url, frame):
        peer = self.keep(wire.RawPeer.dial(url, more=self.OFFER))
        peer.send(frame)
        return peer.wait_closed()

    def test_replayed_and_forged_resumes_are_refused_and_the_session_lives(self):
        backend = self.backend(pair.echo)
        cutter, controller, segment = self.cut_pair(backend.url, recorded=True)
        client = self.connect(controller.address())
        client.exchange(b"x")
        self.cut_and_wait(cutter, controller)
        self.assertEqual(client.exchange(b"y"), b"y")
        sent = cutter.recorded[1]
        at = sent.index(bytes([wire.RESUME, 0, 0, 64]) + bytes(8))
        genuine = sent[at:at + 76]
        session, epoch, position = genuine[12:28], *struct.unpack("!QQ", genuine[28:44])
        url = segment.address()
        # All that was sent on the link that was resumed, once more.
        with wire.RawPeer.dial(url, greet=False) as replay:
            replay.send(sent[:at + 76])
            replay.read_greeting()
            self.assertEqual(replay.wait_closed(), "unknown-session")
        proof = genuine[44:]
        attempts = [genuine, self.resume_payload(session), self.resume_payload(session, epoch + 1, position, proof),
                    self.resume_payload(session, 2 ** 64 - 1, 2 ** 64 - 1, proof),
                    self.resume_payload(os.urandom(16), 1, 0, os.urandom(32)),
                    self.resume_payload(session, epoch, position + 1, proof)]
        self.assertEqual({self.refusal_of_resume(url, attempt) for attempt in attempts}, {"unknown-session"})
        self.assertEqual(client.exchange(b"z"), b"z")
        self.assertEqual(len(resumed(segment)), 1)
        self.cut_and_wait(cutter, controller)
        self.assertEqual(client.exchange(b"end"), b"end")

    def test_resume_in_the_wrong_place_ends_the_link(self):
        both = self.pair("builtin:echo")
        some = self.resume_payload(os.urandom(16))
        with wire.RawPeer.dial(both.link_url) as peer:  # without the offer
            peer.send(some)
            self.assertEqual(peer.wait_closed(), "protocol-error")
        with wire.RawPeer.dial(both.link_url, more=self.OFFER) as peer:
            peer.open(1).send(some)
            self.assertEqual(peer.wait_closed(), "protocol-error")
        with wire.RawPeer.dial(both.link_url, more=self.OFFER) as peer:
            peer.send(wire.frame(wire.RESUME, 0, bytes(63)))
            self.assertEqual(peer.wait_closed(), "frame-error")

    def test_many_detached_sessions_are_bounded_and_the_real_one_lives(self):
        # They wait for longer than this takes on any machine.
        cutter, controller, segment = self.cut_pair(self.crowd_server(), segment="resume=20 min")
        client = self.connect(controller.address())
        client.exchange(b"x")
        url, mark, memory = segment.address(), segment.mark(), segment.rss()
        patient = wire.field(7, struct.pack("!II", 1_200_000, 1 << 20) + bytes(16))
        for _ in range(DETACHED):
            with wire.RawPeer.dial(url, more=patient) as peer:
                peer.send(wire.open_frame(1))
        count = max(0, DETACHED - MOST_PARKED)
        segment.wait_log(lambda r: r.message == "given up", "the oldest to be given up", mark, count=count)
        given_up = segment.find(lambda r: r.message == "given up", mark)
        self.assertEqual([record.fields["reason"] for record in given_up],
                         ["too many sessions wait for their links"] * count)
        lost = segment.find(lambda r: r.subject == "link" and r.message == "lost", mark)
        self.assertEqual([record.fields["controller"] for record in given_up],
                         [record.fields["controller"] for record in lost[:count]])
        self.assertLess(segment.descriptors(), MOST_PARKED + 100)
        if not pair.SANITIZER:
            self.assertLess(segment.rss() - memory, 64 * pair.MIB)
        self.cut_and_wait(cutter, controller)
        self.assertEqual(client.exchange(b"y"), b"y")
        self.skip_invariants = True  # they wait for half a minute

    def test_secrets_are_not_logged(self):
        backend = self.backend(pair.echo)
        cutter, controller, segment = self.cut_pair(backend.url, controller_global="log_level=trace",
                                                    segment_global="log_level=trace")
        client = self.connect(controller.address())
        client.exchange(b"x")
        self.cut_and_wait(cutter, controller)
        with wire.RawPeer.dial(segment.address(), more=self.OFFER) as peer:
            fields = {number: value for number, _, value in wire.fields(peer.peer_hello.payload)}
        self.assertEqual((len(fields[5]), len(fields[6])), (16, 32))
        for daemon in (controller, segment):
            for line in daemon.lines:
                self.assertNotIn(fields[6].hex()[:16], line.lower())


class Addresses(dns.Case, ResumeCase):

    def test_another_address_of_the_same_segment_carries_the_session(self):
        segment = self.segment(f"[Orders]\nbind=tcp://{pair.HOME}:0\nserver=builtin:echo\n")
        hosts = dns.hosts(2)
        port = dns.free_port(*hosts)
        cutters = [self.cutter(segment.address(), url=f"tcp://{host}:{port}") for host in hosts]
        self.dns.set("all", A=hosts)
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://all.{dns.ZONE}:{port}\n")
        controller.wait_link(count=2)
        self.links(controller, segment, 2)
        clients = [self.connect(controller.address()) for _ in range(4)]
        for client in clients:
            client.exchange(b"before")
        mark = controller.mark()
        cutters[0].refuse()
        cutters[0].cut()
        record = controller.wait_log(lambda r: r.message.startswith("resumed"), "resumed", mark)
        self.assertEqual(record.fields["streams"], "2")
        for client in clients:
            self.assertEqual(client.exchange(b"after"), b"after")

    def test_another_segment_at_another_address_does_not(self):
        sites = [self.segment(f"[Orders]\nbind=tcp://{pair.HOME}:0\nserver=builtin:echo\n", name=f"segment{n}")
                 for n in range(2)]
        hosts = dns.hosts(2)
        port = dns.free_port(*hosts)
        cutters = [self.cutter(site.address(), url=f"tcp://{host}:{port}") for site, host in zip(sites, hosts)]
        self.dns.set("all", A=hosts)
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://all.{dns.ZONE}:{port}\n")
        controller.wait_link(count=2)
        for site in sites:
            self.links(controller, site)
        clients = [self.connect(controller.address()) for _ in range(4)]
        for client in clients:
            client.exchange(b"before")
        mark = controller.mark()
        cutters[0].refuse()
        cutters[0].cut()
        sites[1].wait_log(lambda r: "this is another segment" in r.line, "the controller's visit")
        cutters[0].refuse(False)
        controller.wait_log(lambda r: r.message.startswith("resumed"), "resumed", mark)
        for client in clients:
            self.assertEqual(client.exchange(b"after"), b"after")


class Programs(ResumeCase):

    @unittest.skipUnless(shutil.which("redis-server") and shutil.which("redis-cli"), "Redis is not installed")
    def test_redis_subscription(self):
        _, url = self.redis()
        cutter, controller, _ = self.cut_pair(url)
        subscriber, publisher = self.connect(controller.address()), self.connect(url)
        subscriber.send(b"SUBSCRIBE news\r\n")
        self.assertTrue(subscriber.read().startswith(b"*3"))
        for number in range(5):
            self.cut_and_wait(cutter, controller)
            publisher.exchange(b"PING\r\n")
            publisher.send(b"PUBLISH news item%d\r\n" % number)
            self.assertIn(b"item%d" % number, subscriber.read())
            publisher.read()

    @unittest.skipUnless(shutil.which("curl") and shutil.which("nginx"), "curl or nginx is not installed")
    def test_download_with_curl(self):
        size = pair.scaled(64 * pair.MIB, 2)  # more than all buffers on the way hold

        def serve(peer):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += peer.read_exact(1)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size).send_pattern(size)
        backend = self.backend(serve)
        cutter, controller, _ = self.cut_pair(backend.url)
        host, port = pair.host_and_port(controller.address())
        process = subprocess.Popen(["curl", "-sS", "--max-time", "120", "--limit-rate", str(size // 2),
                                    f"http://{host}:{port}/"], stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        digest, received = hashlib.sha256(), 0
        next_cut = size // 8
        while data := process.stdout.read1(256 * pair.KIB):
            digest.update(data)
            received += len(data)
            if received >= next_cut and received < size * 7 // 8:
                next_cut += size // 8
                cutter.cut()
        self.assertEqual(process.wait(60), 0)
        self.assertEqual((received, digest.hexdigest()), (size, pair.PATTERN.sha256(size)))
        self.assertTrue(resumed(controller))

    def test_ssh(self):
        keys = os.path.join(self.folder, "ssh")
        os.mkdir(keys, 0o700)
        for name in ("host", "user"):
            pair.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{keys}/{name}"])
        with contextlib.suppress(FileExistsError):
            os.mkdir("/run/sshd")
        port = pair.free_port()
        server = pair.Program([shutil.which("sshd"), "-D", "-e", "-f", "/dev/null", "-h", f"{keys}/host", "-o",
                               f"ListenAddress={pair.HOME}:{port}", "-o", f"AuthorizedKeysFile={keys}/user.pub", "-o",
                               "StrictModes=no", "-o", "PidFile=none"], self.folder, "sshd")
        self.addCleanup(server.stop)
        url = f"tcp://{pair.HOME}:{port}"
        server.wait_until(lambda: server.accepts(url), "listening")
        cutter, controller, _ = self.cut_pair(url)
        host, front = pair.host_and_port(controller.address())
        process = subprocess.Popen(["ssh", "-F", "/dev/null", "-i", f"{keys}/user", "-p", str(front), "-o",
                                    "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                                    "LogLevel=ERROR", host, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        for number in range(5):
            process.stdin.write(b"line %d\n" % number)
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), b"line %d\n" % number)
            self.cut_and_wait(cutter, controller)
        process.stdin.close()
        self.assertEqual(process.wait(30), 0)


if __name__ == "__main__":
    unittest.main()
