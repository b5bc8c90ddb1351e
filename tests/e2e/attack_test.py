# SPDX-License-Identifier: Apache-2.0
# exclusive: measured
# sanitizers: address
"""Peers that break the protocol: strangers, garbage, floods, and what becomes of everybody else."""

import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import termios
import time
import unittest

import pair
import wire
from pair import KIB, MIB

TLS_HELLO = bytes.fromhex(
    "16030100c8010000c40303") + bytes(range(32)) + b"\x20" + bytes(range(32)) + bytes.fromhex("000813021303130100ff")
STRANGERS = {
    "http": b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "tls": TLS_HELLO,
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "newline": b"\r\n\r\n",
    "zeros": bytes(100),
    "ones": b"\xff" * 100,
    "almost the magic": b"\xf3\x43\x42\x1b\x01\x01\x01\x00",
    "proxy protocol": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
}


def is_link(record, *words):
    return record.subject == "link" and all(word in record.line for word in words)


class Target(pair.Case):
    """A segment with all kinds of services at a shared bind."""

    def target(self, more="", server=None):
        self.server = self.backend(pair.echo) if server is None else None
        self.swallow = self.keep(pair.Swallowing())
        self.seg = self.segment(
            f"[Cloudbus]\nbind=tcp://127.0.0.1:0\n{more}\n[Echo]\nserver=builtin:echo\n[Discard]\n"
            f"server=builtin:discard\n[Backend]\nserver={server or self.server.url}\n[Swallow]\nserver={self.swallow.url}\n"
            "connect_timeout=2 s\n")
        self.url = self.seg.listening()[0].fields["address"]
        return self.seg

    def dial(self, **more):
        return self.keep(wire.RawPeer.dial(self.url, **more))

    def closes(self, raw, code, since=0):
        """The link ends with a code that the log shows too."""
        found = raw.wait_closed()
        self.assertIn(code, (found, None) if code is None else (found,))
        return self.seg.wait_log(lambda r: is_link(r, code), f"link closed with {code}", since)


class Strangers(Target):

    def gone(self, stranger, seconds=10):
        """Waits until the other side has closed the connection; what it said before."""
        stranger.socket.settimeout(seconds * pair.PATIENCE)
        return stranger.read_rest()

    def test_strangers_are_cut_off_at_once_and_logged_and_learn_nothing(self):
        segment = self.target()
        for name, data in STRANGERS.items():
            with self.subTest(name):
                mark = segment.mark()
                with pair.connect(self.url) as stranger:
                    start = time.monotonic()
                    stranger.send(data)
                    said = self.gone(stranger)
                    self.assertEqual(said, b"")
                    self.assertLess(time.monotonic() - start, 4 * pair.PATIENCE, "not only by the timeout")
                record = segment.wait_log(lambda r: r.subject == "link" and r.level != "debug", "stranger", mark)
                self.assertRegex(record.line, r"\d+\.\d+\.\d+\.\d+:\d+")
        self.assertEqual(self.server.accepted, 0)

    def test_random_bytes_reach_no_backend(self):
        segment = self.target()
        source = random.Random(7)
        for _ in range(pair.scaled(500, 5)):
            with pair.connect(self.url) as stranger:
                with contextlib.suppress(OSError):
                    stranger.send(source.randbytes(source.choice((1, 7, 8, 12, 20, 100, 5000))))
        pair.wait_for(lambda: segment.connected() == 0, "all of them to be gone", 20)
        self.assertEqual(self.server.accepted, 0)

    def test_random_bytes_after_the_magic_reach_no_backend(self):
        segment = self.target()
        source = random.Random(8)
        for _ in range(pair.scaled(300, 5)):
            with pair.connect(self.url) as stranger:
                with contextlib.suppress(OSError):
                    stranger.send(wire.MAGIC + source.randbytes(200))
        for _ in range(pair.scaled(300, 5)):
            with pair.connect(self.url) as stranger:
                with contextlib.suppress(OSError):
                    stranger.send(wire.preface(wire.CONTROLLER) + source.randbytes(200))
        pair.wait_for(lambda: segment.connected() == 0, "all of them to be gone", 20)
        self.assertEqual(self.server.accepted, 0)

    def test_port_scan_leaves_nothing_behind(self):
        segment = self.target()
        for number in range(pair.scaled(500, 5)):
            scanner = pair.connect(self.url)
            scanner.reset() if number % 2 else scanner.close()
        pair.wait_for(lambda: segment.connected() == 0, "all of them to be gone", 20)

    def test_silence_and_drips_are_cut_off_by_the_timeout(self):
        """In one test, as each takes 5 s."""
        segment = self.target()
        start = time.monotonic()
        greeting = wire.preface(wire.CONTROLLER) + wire.hello(wire.CONTROLLER)
        silent, half, dripping = (pair.connect(self.url) for _ in range(3))
        half.send(greeting[:30])
        position = 0
        gone = {}
        peers = {"silent": silent, "half": half, "dripping": dripping}
        while len(gone) < 3:
            self.assertLess(time.monotonic() - start, 30 * pair.PATIENCE, f"only {gone} were cut off")
            if "dripping" not in gone and position < len(greeting) - 1 and \
                    time.monotonic() - start > position * 0.25:
                with contextlib.suppress(OSError):
                    dripping.send(greeting[position:position + 1])
                position += 1
            for name, peer in peers.items():
                if name not in gone and peer.readable(0.02):
                    try:
                        if not peer.read():
                            gone[name] = time.monotonic() - start
                    except ConnectionResetError:
                        gone[name] = time.monotonic() - start
        for name, seconds in gone.items():
            self.assertGreater(seconds, 4, name)
            self.assertLess(seconds, 7 * pair.PATIENCE, name)
        segment.wait_log(lambda r: is_link(r, "handshake-timeout"), "timeouts", count=3)
        for peer in peers.values():
            peer.close()

    def test_strangers_at_a_clients_port_are_just_clients(self):
        both = self.pair("builtin:echo")
        for data in STRANGERS.values():
            with both.connect() as client:
                self.assertEqual(client.exchange(data), data)


class Greeting(Target):

    def greets(self, data, code):
        self.target() if not self.daemons else None
        mark = self.seg.mark()
        raw = self.keep(wire.RawPeer.dial(self.url, greet=False))
        raw.send(data)
        found = self.gone_with(raw)
        self.assertIn(found, (code, "fin", "reset"))
        self.seg.wait_log(lambda r: is_link(r, code), f"{code} for {data[:60]!r}", mark)

    def gone_with(self, raw):
        """The code in CLOSE, if there was a greeting and one."""
        try:
            raw.read_greeting()
        except AssertionError:
            return raw.ended or "fin"
        return raw.wait_closed()

    def hello_of(self, payload):
        return wire.preface(wire.CONTROLLER) + wire.frame(wire.HELLO, 0, payload)

    def test_wrong_role(self):
        self.greets(wire.preface(wire.SEGMENT) + wire.hello(wire.SEGMENT), "wrong-role")

    def test_unknown_role(self):
        self.greets(wire.preface(9) + wire.hello(wire.CONTROLLER), "frame-error")

    def test_version_that_is_not_spoken(self):
        self.greets(wire.preface(wire.CONTROLLER, 2, 3) + wire.hello(wire.CONTROLLER), "version")
        self.greets(wire.preface(wire.CONTROLLER, 0, 0) + wire.hello(wire.CONTROLLER), "version")

    def test_wider_range_of_versions_is_welcome(self):
        self.target()
        raw = self.keep(wire.RawPeer.dial(self.url, greet=False))
        raw.send(wire.preface(wire.CONTROLLER, 1, 200) + wire.hello(wire.CONTROLLER)).read_greeting().open(1, name=b"Echo")

    def test_unknown_fields(self):
        self.target()
        raw = self.dial(more=wire.field(99, b"whatever"))
        raw.open(1, name=b"Echo")
        self.greets(wire.preface(wire.CONTROLLER) + wire.hello(wire.CONTROLLER, more=wire.field(99, b"x", True)),
                    "unsupported")

    def test_fields_that_do_not_fit(self):
        window, streams = wire.field(1, struct.pack("!I", 65536), True), wire.field(2, bytes(8), True)
        for payload in (window, streams, b"", window + window + streams, window[:-1] + streams, window + streams + b"\0",
                        window + streams + wire.field(3, b"short"), window + streams + b"\0\4\xff\xff",
                        window + streams + wire.field(4, b""), window + streams + wire.field(4, b"x" * 65),
                        wire.field(1, struct.pack("!I", 1), True) + streams,
                        wire.field(1, struct.pack("!I", 2 ** 32 - 1), True) + streams,
                        window + streams + wire.field(99, b"x" * 1001)):
            with self.subTest(payload):
                self.greets(self.hello_of(payload), "frame-error")

    def test_longest_hello_is_welcome(self):
        self.target()
        raw = self.keep(wire.RawPeer.dial(self.url, greet=False))
        payload = wire.field(1, struct.pack("!I", 65536), True) + wire.field(2, bytes(8), True)
        raw.send(self.hello_of(payload + wire.field(99, b"x" * (1024 - 4 - len(payload))))).read_greeting()
        raw.open(1, name=b"Echo")

    def test_first_frame_that_is_not_hello(self):
        for data in (wire.open_frame(1, b"Backend"), wire.ping(), wire.data(1, b"x")):
            with self.subTest(data):
                self.greets(wire.preface(wire.CONTROLLER) + data, "protocol-error")
        self.assertEqual(self.server.accepted, 0)

    def test_second_hello(self):
        self.target()
        raw = self.dial()
        raw.send(wire.hello(wire.CONTROLLER))
        self.closes(raw, "protocol-error")


class Frames(Target):

    def breaks(self, code, *frames, opened=False):
        """Frames after a good greeting that end the link with a code; and others are served after it."""
        if not self.daemons:
            self.target()
        mark = self.seg.mark()
        raw = self.dial()
        if opened:
            raw.open(1, name=b"Echo")
        raw.try_send(b"".join(frames))
        self.closes(raw, code, mark)
        raw.close()

    def test_every_type_with_every_length_ends_the_link(self):
        self.target()
        for kind in range(256):
            for length in (0, 1, 23, 65535):
                for stream in (0, 1):
                    with self.subTest(kind=kind, length=length, stream=stream):
                        raw = wire.RawPeer.dial(self.url)
                        raw.try_send(wire.header(kind, length, stream) + bytes(length))
                        self.assertIn(raw.wait_closed(), ("frame-error", "protocol-error", "no-error", "reset")
                                      if kind != wire.CLOSE else ("fin", "reset", "frame-error", "no-error"))
                        raw.close()
            if pair.SANITIZER and kind > 20:
                break
        self.assertEqual(self.server.accepted, 0)
        self.assertGreater(len(self.seg.find(lambda r: is_link(r, "frame-error"))), 20)

    def test_header_alone_decides(self):
        """A frame that cannot be is refused before its payload comes."""
        self.target()
        for head in (wire.header(0, 65535), wire.header(wire.PING, 65535), wire.header(wire.OPEN, 1025, 1),
                     wire.header(wire.CREDIT, 9, 1), wire.header(wire.DATA, 10, 0), wire.header(wire.RESET, 65535, 1)):
            with self.subTest(head):
                raw = self.dial()
                raw.send(head)
                self.closes(raw, "frame-error")

    def test_undefined_flags(self):
        for data in (wire.frame(wire.PING, 0, bytes(8), 2), wire.frame(wire.DATA, 1, b"x", 0x80),
                     wire.frame(wire.RESET, 1, bytes(10), 1), wire.frame(wire.CREDIT, 1, bytes(8), 0xff)):
            with self.subTest(data):
                self.breaks("frame-error", data, opened=True)

    def test_frames_split_at_every_byte(self):
        self.target()
        stream = (wire.preface(wire.CONTROLLER) + wire.hello(wire.CONTROLLER) +
                  wire.open_frame(1, b"Backend") + wire.data(1, b"hello", fin=True))
        for position in range(1, len(stream)):
            raw = wire.RawPeer.dial(self.url, greet=False)
            raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.send(stream[:position])
            pair.wait_for(lambda r=raw: self.taken(r.socket), "the first part to be taken")
            raw.send(stream[position:])
            raw.read_greeting()
            raw.wait(wire.ACCEPT, 1)
            self.assertEqual(raw.wait_data(1), b"hello")
            raw.close()

    def taken(self, sock):
        """Whether the segment has read all that was sent: neither in our queue nor in its."""
        if pair.queued(sock, termios.TIOCOUTQ) > 0:
            return False
        there = "tcp://%s:%d" % sock.getsockname()
        return self.seg.unread(there) == 0

    def test_one_byte_at_a_time(self):
        self.target()
        raw = self.keep(wire.RawPeer.dial(self.url, greet=False))
        for value in (wire.preface(wire.CONTROLLER) + wire.hello(wire.CONTROLLER) +
                      wire.open_frame(1, b"Echo") + wire.data(1, b"hello", fin=True)):
            raw.send(bytes([value]))
        raw.read_greeting()
        self.assertEqual(raw.wait_data(1), b"hello")

    def test_open_that_lies_about_its_lengths(self):
        head = wire.uuid7() + b"\0\0"
        for payload in (head + b"\xff\xff" + b"x" * 10, head + b"\0\x05Echo", head + b"\0\4Echo\0\xff", head + b"\0\4Echo",
                        head + b"\1\0" + b"x" * 256 + b"\0\0"):
            with self.subTest(payload):
                self.breaks("frame-error", wire.frame(wire.OPEN, 1, payload))

    def test_stream_ids_that_go_back_or_repeat(self):
        self.breaks("protocol-error", wire.open_frame(5, b"Echo"), wire.open_frame(5, b"Echo"))
        self.breaks("protocol-error", wire.open_frame(5, b"Echo"), wire.open_frame(4, b"Echo"))
        self.breaks("protocol-error", wire.open_frame(5, b"Echo"), wire.reset(5), wire.open_frame(5, b"Echo"))

    def test_frames_for_streams_that_never_were(self):
        for data in (wire.data(7, b"x"), wire.credit(7, 1), wire.reset(7), wire.stop(7), wire.accept(7)):
            with self.subTest(data):
                self.breaks("protocol-error", data)

    def test_accept_from_a_controller(self):
        self.breaks("protocol-error", wire.accept(1), opened=True)

    def test_data_after_fin(self):
        self.breaks("protocol-error", wire.data(1, b"x", fin=True), wire.data(1, b"y"), opened=True)

    def test_second_fin(self):
        self.breaks("protocol-error", wire.data(1, b"x", fin=True), wire.data(1, b"", fin=True), opened=True)

    def test_data_beyond_the_credit(self):
        self.target()
        raw = self.dial()
        window = wire.window(raw.peer_hello)
        raw.send(wire.open_frame(1, b"Swallow"))
        left = window + 1
        while left:
            size = min(left, 65535)
            if not raw.try_send(wire.data(1, bytes(size))):
                break
            left -= size
        self.closes(raw, "credit-error")

    def test_whole_window_is_welcome_before_accept(self):
        self.target()
        raw = self.dial()
        window = wire.window(raw.peer_hello)
        raw.send(wire.open_frame(1, b"Swallow"))
        for offset in range(0, window, 32768):
            raw.send(wire.data(1, bytes(min(32768, window - offset))))
        self.assertEqual(wire.reset_code(raw.wait(wire.RESET, 1)), "connect-timeout")

    def test_credit_that_overflows(self):
        self.breaks("credit-error", wire.credit(1, 2 ** 63), opened=True)
        self.breaks("credit-error", wire.credit(1, 2 ** 64 - 1), opened=True)

    def test_credit_that_goes_backwards_is_harmless(self):
        self.target()
        raw = self.dial().open(1, name=b"Echo")
        raw.send(wire.credit(1, 5) + wire.credit(1, 0) + wire.data(1, b"hello", fin=True))
        self.assertEqual(raw.wait_data(1), b"hello")

    def test_reset_with_a_wrong_final_offset(self):
        self.breaks("protocol-error", wire.data(1, b"hello"), wire.reset(1, 1, 4), opened=True)
        self.breaks("protocol-error", wire.data(1, b"hello"), wire.reset(1, 1, 2 ** 63), opened=True)

    def test_unknown_reset_code_is_a_reset(self):
        self.target()
        raw = self.dial().open(1, name=b"Backend")
        pair.wait_for(lambda: self.server.accepted, "the backend's connection")
        raw.send(wire.reset(1, 999, 0))
        self.assertIsInstance(self.server.outcome(), ConnectionResetError)

    def test_more_streams_than_allowed(self):
        self.target()
        raw = self.dial()
        allowed = wire.max_streams_of(raw.peer_hello)
        self.assertGreater(allowed, 1000)
        for first in range(1, allowed + 2, 256):
            if not raw.try_send(b"".join(wire.open_frame(n, b"Swallow")
                                         for n in range(first, min(first + 256, allowed + 2)))):
                break
        self.closes(raw, "protocol-error")

    def test_resume_that_was_not_agreed_upon(self):
        self.breaks("protocol-error", wire.frame(wire.RESUME, 0, bytes(64)))

    def test_ack_beyond_what_was_sent(self):
        self.breaks("protocol-error", wire.ack(2 ** 40))

    def test_stop_lets_the_other_direction_go_on(self):
        self.target()
        raw = self.dial().open(1, name=b"Backend")
        raw.send(wire.stop(1))
        raw.send(wire.data(1, b"x" * 100, fin=True))
        raw.send(wire.ping(b"after it"))
        while raw.wait(wire.PING).payload != b"after it":
            pass

    def test_peer_that_closes_in_the_middle_of_a_frame(self):
        self.target()
        data = wire.open_frame(1, b"Backend") + wire.data(1, b"hello") + wire.reset(1, 1, 5)
        for position in range(len(data)):
            with wire.RawPeer.dial(self.url) as raw:
                raw.send(data[:position])
        pair.wait_for(lambda: self.seg.connected() == 0, "all links to be gone")


class Floods(Target):
    """An attacker on one link, a victim on another."""

    def victim(self):
        self.front = self.controller(f"[Echo]\nbind=tcp://127.0.0.1:0\nserver={self.url}\n")
        self.front.wait_link()
        self.links(self.front, self.seg)
        client = self.connect(self.front.address())
        pair.round_trips(client, 50)
        self.quiet = min(pair.percentile(pair.round_trips(client, 200), 0.99) for _ in range(3))
        return client

    @contextlib.contextmanager
    def attack(self, target, name, *more):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "attacker.py")
        with subprocess.Popen([sys.executable, path, target, name, *more], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.first = process.stdout.readline().decode().strip()
            try:
                self.assertTrue(process.first, "the attacker runs")
                yield process
            finally:
                out, err = process.communicate(timeout=pair.DEADLINE * pair.PATIENCE)
                self.assertEqual(err, b"")
                self.ends = json.loads(out)

    def measure(self, client, seconds):
        end, times = time.monotonic() + seconds, []
        while time.monotonic() < end:
            times += pair.round_trips(client, 20, spacing=0.002)
        return times

    def unharmed(self, client, daemon, base):
        """The victim's p99, the best of some seconds; judged later, when the quiet value is known for certain."""
        self.worst = None
        for _ in range(6):
            found = pair.percentile(self.measure(client, 1), 0.99)
            self.worst = found if self.worst is None else min(self.worst, found)
            if pair.SANITIZER or self.worst <= max(10 * self.quiet, 0.05):
                break
        self.peak = daemon.rss() - base
        if not pair.SANITIZER:
            self.assertLess(self.peak, 96 * MIB, "memory")
        return self.worst

    def judge(self, client):
        """After the attack: a machine that is busy with other things makes the quiet value worse, too."""
        if self.worst > max(10 * self.quiet, 0.05):
            self.quiet = max(self.quiet, pair.percentile(self.measure(client, 1), 0.99))
        # Under a sanitizer it is other things that count.
        bound = 5 if pair.SANITIZER else max(10 * self.quiet, 0.05)
        self.assertLessEqual(self.worst, bound, "the victim's p99")

    def flooded(self, name, *more, ends=("flood",)):
        segment = self.target("memory=64M", self.crowd_server())
        client = self.victim()
        base = segment.rss()
        mark = segment.mark()
        with self.attack(self.url, name, *more):
            p99 = self.unharmed(client, segment, base)
        start = time.monotonic()
        pair.wait_for(lambda: segment.load(0.2) < 0.03, "the segment to be quiet")
        self.assertLess(time.monotonic() - start, 2 * pair.PATIENCE, "quiet soon after the attacker has gone")
        self.judge(client)
        # Not parsed: there may be very many conversations between them.
        found = {word for line in segment.lines[mark:] if " link " in line for word in wire.LINK_CODES if word in line}
        print(f"{name} {' '.join(more)}: victim p99 {p99 * 1000:.2f} ms (quiet {self.quiet * 1000:.2f}), "
              f"{self.peak / MIB:.1f} MiB more, links {self.ends}, codes {sorted(found)}")
        if ends:
            self.assertTrue(found & set(ends), f"{found} is not {ends}")
        self.assertEqual(client.exchange(b"alive"), b"alive")

    def controller_flooded(self, name, ends=("flood",)):
        self.target()
        self.victim().close()
        self.front.stop()
        with self.attack("listen", name) as attacker:
            front = self.controller(
                f"[Echo]\nbind=tcp://127.0.0.1:0\nserver={self.url}\n"
                f"[Evil]\nbind=tcp://127.0.0.1:0\nserver={attacker.first}\nconnect_timeout=1 s\n", name="front")
            front.wait_link(count=1)
            self.links(front, self.seg)
            self.links(front, None)
            client = self.connect(front.address("Echo"))
            client.exchange(b"x")
            base = front.rss()
            p99 = self.unharmed(client, front, base)
            if ends:
                front.wait_log(lambda r: r.subject == "link" and any(end in r.line for end in ends), f"{ends}")
        pair.wait_for(lambda: front.load(0.2) < 0.03, "the controller to be quiet")
        self.judge(client)
        print(f"{name} at a controller: victim p99 {p99 * 1000:.2f} ms (quiet {self.quiet * 1000:.2f}), links {self.ends}")
        self.assertEqual(client.exchange(b"alive"), b"alive")

    def links(self, controller, segment, count=1):
        if segment is not None:
            super().links(controller, segment, count)


def _floods():
    cases = {
        "open_and_reset": None, "open_and_reset_backend": None, "open_data_and_reset": None, "open_unknown": None,
        "ping": ("flood",), "ping_reply": ("flood", "protocol-error"), "empty_data": ("flood",),
        "empty_data_on_many": ("flood",), "repeated_credit": ("flood",), "small_credit": None,
        "repeated_ack": ("flood",), "repeated_max_streams": ("flood", "protocol-error"),
        "reset_of_closed": ("flood",), "stop_of_closed": ("flood",), "data_of_closed": None, "goaway": None,
        "one_byte_frames": None, "echo_without_credit": None, "opens": None, "opens_backend": None,
        "opens_swallowed": None, "garbage": ("frame-error", "protocol-error"),
    }
    short = ("open_and_reset", "ping", "empty_data", "opens", "echo_without_credit", "garbage")
    for name, ends in cases.items():
        if pair.SANITIZER and name not in short:
            continue

        def test(self, name=name, ends=ends):
            self.flooded(name, ends=ends or ())
        setattr(Floods, f"test_segment_{name}", test)
    for name in ("ping", "open_and_reset", "open_unknown", "echo_without_credit")[:1 if pair.SANITIZER else 4]:
        def unread(self, name=name):
            self.flooded(name, "unread", ends=())
        setattr(Floods, f"test_segment_{name}_without_reading", unread)
    for name, ends in {"ping": ("flood",), "credit_of_nobody": ("protocol-error",), "close_at_once": (),
                       "accept_of_nobody": ("protocol-error",), "repeated_max_streams": ("flood",),
                       "garbage": ("frame-error", "protocol-error"), "repeated_ack": ("flood",)}.items():
        if pair.SANITIZER and name not in short:
            continue

        def controller(self, name=name, ends=ends):
            self.controller_flooded(name, ends)
        setattr(Floods, f"test_controller_{name}", controller)


_floods()


class MaliciousSegment(pair.Case):
    """A segment that breaks the protocol against a controller."""

    def start(self, **more):
        self.raw = self.keep(wire.RawSegment())
        self.front = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={self.raw.url}\n"
                                     "connect_timeout=1 s\n")
        self.skip_invariants = True
        self.peer = self.keep(self.raw.accept(**more))
        self.front.wait_link()
        return self.peer

    def opened(self):
        """A client's stream, accepted."""
        self.start()
        self.client = self.connect(self.front.address())
        self.stream = self.peer.wait(wire.OPEN).stream
        self.peer.send(wire.accept(self.stream))
        return self.stream

    def breaks(self, code, *frames):
        self.peer.try_send(b"".join(frames))
        self.assertEqual(self.peer.wait_closed(), code)
        self.front.wait_log(lambda r: is_link(r, code), code)

    def after(self):
        """It dials again, and serves with a segment that behaves; then the usual invariants."""
        again = self.keep(self.raw.accept())
        with self.connect(self.front.address()) as client:
            stream = again.wait(wire.OPEN).stream
            again.send(wire.accept(stream) + wire.data(stream, b"hello", fin=True))
            self.assertEqual(client.read_to_end()[:2], ("fin", 5))
        pair.wait_for(lambda: self.front.connected() == 1, "the descriptors")
        self.assertLess(min(self.front.load(0.2) for _ in range(3)), 0.03)

    def test_open_from_a_segment(self):
        self.start()
        self.breaks("protocol-error", wire.open_frame(1))
        self.after()

    def test_frames_for_streams_that_never_were(self):
        for data in (wire.data(99, b"x"), wire.accept(99), wire.reset(99), wire.stop(99), wire.credit(99, 1)):
            with self.subTest(data):
                self.start()
                self.breaks("protocol-error", data)
                self.after()
                self.front.stop()

    def test_data_before_accept(self):
        self.start()
        self.connect(self.front.address())
        stream = self.peer.wait(wire.OPEN).stream
        self.breaks("protocol-error", wire.data(stream, b"x"))

    def test_second_accept(self):
        stream = self.opened()
        self.breaks("protocol-error", wire.accept(stream))
        self.assertEqual(self.client.read_to_end()[:2], ("reset", 0))
        self.after()

    def test_data_beyond_the_credit(self):
        stream = self.opened()
        window = wire.window(self.peer.peer_hello)
        # The client does not read, so that nothing is granted once its own buffers are full.
        for _ in range(64 * MIB // 32768):
            if not self.peer.try_send(wire.data(stream, bytes(32768))):
                break
        self.assertEqual(self.peer.wait_closed(), "credit-error")
        self.assertGreater(window, 0)
        self.assertLess(self.front.rss(), 64 * MIB if not pair.SANITIZER else 1 << 40)

    def test_credit_that_overflows(self):
        stream = self.opened()
        self.breaks("credit-error", wire.credit(stream, 2 ** 63))

    def test_data_after_fin_and_second_fin(self):
        for more in (b"x", b""):
            with self.subTest(more):
                stream = self.opened()
                self.breaks("protocol-error", wire.data(stream, b"x", fin=True), wire.data(stream, more, fin=True))
                self.front.stop()

    def test_reset_with_a_wrong_final_offset_is_never_a_clean_end(self):
        stream = self.opened()
        self.breaks("protocol-error", wire.data(stream, b"hello"), wire.reset(stream, 2, 10))
        self.assertEqual(self.client.read_to_end().how, "reset")

    def test_link_that_ends_in_the_middle_of_a_reply_is_never_a_clean_end(self):
        stream = self.opened()
        self.peer.send(wire.data(stream, b"hello")[:-2])
        self.peer.socket.shutdown(socket.SHUT_WR)
        ending = self.client.read_to_end()
        self.assertEqual(ending.how, "reset")
        self.front.wait_conversation(end="link-lost")
        self.after()

    def test_max_streams_that_goes_back_is_harmless(self):
        self.start(streams=100)
        self.peer.send(wire.max_streams(5))
        clients = [self.connect(self.front.address()) for _ in range(20)]
        for _ in clients:
            self.peer.wait(wire.OPEN)

    def test_segment_that_allows_no_streams_makes_clients_wait_and_then_resets_them(self):
        self.start(streams=0)
        with self.connect(self.front.address()) as client:
            self.assertEqual(client.read_to_end()[:2], ("reset", 0))
        with self.connect(self.front.address()) as client:
            client.send(b"x")
            self.peer.send(wire.max_streams(1000))
            self.assertEqual(self.peer.wait(wire.OPEN).type, wire.OPEN)

    def test_goaway_of_a_stream_that_was_not_taken_resets_or_moves_it(self):
        self.start()
        client = self.connect(self.front.address())
        client.send(b"hello")
        self.peer.wait(wire.OPEN)
        self.peer.send(wire.goaway(wire.FINAL_GOAWAY) + wire.goaway(0))
        again = self.keep(self.raw.accept())
        again.socket.settimeout(0.1)
        while not client.readable(0.05):
            try:
                moved = again.next()
            except TimeoutError:
                continue
            if moved is not None and moved.type == wire.OPEN:
                again.socket.settimeout(pair.DEADLINE)
                self.assertEqual(again.wait_data(moved.stream, 5), b"hello")
                return
        self.assertEqual(client.read_to_end()[:2], ("reset", 0))

    def test_ping_is_answered_with_its_value(self):
        self.start()
        self.peer.send(wire.ping(b"12345678"))
        while not (answer := self.peer.wait(wire.PING)).flags & wire.REPLY:
            pass
        self.assertEqual(answer.payload, b"12345678")

    def test_segment_that_takes_links_and_never_greets(self):
        self.raw = self.keep(wire.RawSegment())
        front = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={self.raw.url}\nconnect_timeout=1 s\n")
        self.skip_invariants = True
        silent = self.keep(self.raw.accept(greet=False))
        with self.connect(front.address()) as client:
            self.assertEqual(client.read_to_end()[:2], ("reset", 0))
        front.wait_log(lambda r: is_link(r, "handshake-timeout"), "timeout")
        silent.close()
        self.keep(self.raw.accept())
        front.wait_link()

    def test_every_type_with_every_length_ends_the_link(self):
        """A controller for each, as one that has lost its link dials again only after a while."""
        cases = [(kind, length) for kind in (*range(16), 255) for length in (0, 1, 23, 65535)
                 if (kind, length) != (wire.CLOSE, 23)]
        for kind, length in cases[::7] if pair.SANITIZER else cases:
            with self.subTest(kind=kind, length=length):
                self.start()
                self.peer.try_send(wire.header(kind, length, 0) + bytes(length))
                self.assertIn(self.peer.wait_closed(), ("frame-error", "protocol-error", "reset"))
                self.front.wait_log(lambda r: is_link(r, "-error"), "an error")
                self.front.stop()


if __name__ == "__main__":
    unittest.main()
