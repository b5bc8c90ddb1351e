# SPDX-License-Identifier: Apache-2.0
# timeout: 120
"""tests/tools/frames: it finds no fault with what real daemons send, and says where bytes break the protocol."""

import os
import pathlib
import struct
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import cutter  # noqa: E402
import pair  # noqa: E402
import wire  # noqa: E402

START = wire.preface(wire.CONTROLLER) + wire.hello(wire.CONTROLLER)
SEGMENT_START = wire.preface(wire.SEGMENT) + wire.hello(wire.SEGMENT)
OFFER = wire.field(7, struct.pack("!II", 30000, 1 << 20) + bytes(16))
RESUME = wire.frame(wire.RESUME, 0, bytes(16) + struct.pack("!QQ", 1, 5) + bytes(32))


def frames(folder, data):
    """The exit status, and the lines."""
    path = os.path.join(folder, "capture")
    with open(path, "wb") as file:
        file.write(data)
    done = pair.run([str(HERE / "frames"), path], check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.decode().splitlines()


class RealLinks(pair.Case):

    def shown(self, data):
        status, lines = frames(self.folder, data)
        self.assertEqual(status, 0, "\n".join(lines))
        return "\n".join(lines)

    def test_what_a_controller_sends_on_a_link_and_on_the_one_that_resumes_it(self):
        segment = self.segment(f"[Orders]\nbind=tcp://{pair.HOME}:0\nserver=builtin:echo\n")
        link = self.keep(cutter.Cutter(segment.address()))
        link.recorded = []
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={link.url}\n")
        controller.wait_link()
        client = self.connect(controller.address())
        client.exchange(b"x" * 1000)
        link.cut()
        client.exchange(b"y" * 2000)
        client.finish()
        self.assertEqual(client.read_to_end().how, "fin")
        client.close()
        controller.stop()
        first, second = map(self.shown, link.recorded)
        for words in ("role=controller", "HELLO length=", " software='cloudbus ", "OPEN stream=1 ", "service='Orders'",
                      "DATA stream=1 length=1000 position="):
            self.assertIn(words, first)
        for words in ("RESUME length=64 ", "taken=", "DATA stream=1 length=2000 position=?", "CLOSE length="):
            self.assertIn(words, second)

    def test_what_a_segment_sends(self):
        segment = self.segment(f"[Orders]\nbind=tcp://{pair.HOME}:0\nserver=builtin:echo\n")
        with wire.RawPeer.dial(segment.address(), greet=False) as peer:
            peer.send(START + wire.open_frame(1) + wire.data(1, b"x" * 100, fin=True))
            sent = b""
            while wire.data(1, b"x" * 100)[12:] not in sent or not sent.endswith(wire.data(1, fin=True)):
                part = peer.receive()
                self.assertTrue(part, "the link ended")
                sent += part
                if sent.endswith(wire.data(1, b"x" * 100, fin=True)):
                    break
        shown = self.shown(sent)
        for words in ("role=segment", "session-secret=(32 bytes)", "ACCEPT stream=1", "DATA stream=1 length=100",
                      "FIN"):
            self.assertIn(words, shown)


class Bytes(unittest.TestCase):
    """What is wrong with some bytes, one fault each."""

    def setUp(self):
        self.folder = os.environ["TMPDIR"]

    def expect(self, data, fault):
        status, lines = frames(self.folder, data)
        self.assertEqual([line.strip() for line in lines if "!!" in line], [f"!! {fault}"] if fault else [])
        self.assertEqual(status, 1 if fault else 0)
        return lines

    def test_a_preface(self):
        self.expect(b"GET / HTTP", "1.1: the magic is f3 43 42 1a, not 47 45 54 20")
        self.expect(b"\xf3\x43", "1.1: a preface has 8 bytes; these are 2")
        self.expect(wire.preface(3) + wire.hello(wire.CONTROLLER), "1.1: there is no role 3")
        self.expect(wire.preface(1, 2, 3) + wire.hello(wire.CONTROLLER), "1.1: version 1 is not among them")

    def test_headers(self):
        for header, fault in ((wire.header(14, 0), "2.1: there is no type 14"),
                              (wire.header(wire.PING, 7), "2.1: PING of 7 bytes; 8 to 8 are allowed"),
                              (wire.header(wire.DATA, 0, 1, 2), "2.1: DATA has no flags 0x02"),
                              (wire.header(wire.DATA, 0, 0), "2.1: DATA has stream 0"),
                              (wire.header(wire.PING, 8, 5), "2.1: PING has stream 5")):
            lines = self.expect(START + header + bytes(8), fault)
            self.assertEqual(lines[-1], f"{len(START):8} 20 bytes are not shown")

    def test_bytes_that_end_early(self):
        self.expect(START + wire.ping()[:5], "the bytes end within a header, 5 of 12 are there")
        self.expect(START + wire.open_frame(1) + wire.data(1, bytes(100))[:22],
                    "the bytes end within a DATA of stream 1, 10 of 100 bytes are there")

    def test_hello(self):
        preface = wire.preface(wire.CONTROLLER)
        window, streams = wire.field(1, bytes([0, 4, 0, 0]), True), wire.field(2, bytes(8), True)
        self.expect(preface + wire.ping() + wire.hello(wire.CONTROLLER), "1.2: PING before HELLO")
        self.expect(START + wire.hello(wire.CONTROLLER), "1.2: a second HELLO")
        for payload, fault in ((window, "1.2: max-streams is missing"),
                               (wire.field(1, bytes(4), True) + streams, "1.2: initial-window is 16,384 to 16,777,216"),
                               (window + window + streams, "2.2: field 1 appears twice"),
                               (window + streams + wire.field(99, b"", True), "2.2: field 99 is critical and unknown"),
                               (window + streams + wire.field(99, b""), None),
                               (window + streams + wire.field(3, b"abc"),
                                "1.2: boot-id of 3 bytes; 16 to 16 are allowed"),
                               (window + streams + b"\0\3\0\5a", "2.2: field 3 is longer than what holds it")):
            with self.subTest(fault):
                self.expect(preface + wire.frame(wire.HELLO, 0, payload), fault)

    def test_streams(self):
        opened = START + wire.open_frame(5)
        for data, fault in ((opened + wire.open_frame(5), "3.1: stream 5 after 5"),
                            (opened + wire.data(6, b"x"), "3.6: stream 6 was never opened"),
                            (opened + wire.data(5, fin=True) + wire.data(5, b"x"), "3.3: DATA after FIN"),
                            (opened + wire.data(5, b"x") + wire.reset(5, 1, 1), None),
                            (opened + wire.data(5, b"x") + wire.reset(5, 1, 2),
                             "3.4: the final offset is 2, but 1 bytes were sent"),
                            (opened + wire.reset(5) + wire.stop(5), "3.4: the sender has forgotten this stream"),
                            (opened + wire.credit(5, 1 << 63), "4: an offset of 2^63 or more"),
                            (opened + wire.accept(5), "3.2: ACCEPT comes from a segment"),
                            (SEGMENT_START + wire.open_frame(1), "3: only a controller opens streams"),
                            (SEGMENT_START + wire.data(1, b"x"), "3.2: DATA before ACCEPT"),
                            (SEGMENT_START + wire.accept(1) + wire.accept(1), "3.2: a second ACCEPT")):
            with self.subTest(fault):
                self.expect(data, fault)

    def test_the_end_of_a_link(self):
        self.expect(START + wire.goaway(wire.FINAL_GOAWAY) + wire.goaway(3) + wire.close(0, b"done"), None)
        self.expect(START + wire.goaway(3) + wire.goaway(4), "6: the id is greater than that of an earlier GOAWAY")
        self.expect(START + wire.close() + wire.ping(), "5.1: bytes behind CLOSE, which are ignored")

    def test_a_link_that_resumes_goes_on_within_a_frame(self):
        start = wire.preface(wire.CONTROLLER) + wire.hello(wire.CONTROLLER, more=OFFER)
        lines = self.expect(start + RESUME + b"\xff" * 37 + wire.data(3, b"y" * 10) + wire.stop(3), None)
        self.assertEqual([line.split()[1:3] for line in lines[-3:]],
                         [["37", "bytes"], ["DATA", "stream=3"], ["STOP", "stream=3"]])
        self.expect(START + RESUME, "2.1: RESUME, but HELLO had no field resume")
        self.expect(start + RESUME + RESUME, "7: a second RESUME")

    def test_captured_packets(self):
        """Both directions of a connection over IPv4: one segment late, one twice, and one missing."""
        sent = START + wire.open_frame(1) + wire.data(1, b"z" * 50)
        first, second, third = sent[:30], sent[30:100], sent[100:]
        start = 2 ** 32 - 40  # so that the numbers begin anew within the connection
        capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        for ports, flags, sequence, payload in (
                ((1, 2), 2, start - 1, b""), ((2, 1), 18, 99, b""), ((2, 1), 16, 100, SEGMENT_START),
                ((1, 2), 16, start, first), ((1, 2), 16, start + 100, third), ((1, 2), 16, start, first),
                ((1, 2), 16, start + 30, second), ((3, 4), 16, 7, b"something else"),
                ((2, 1), 16, 100 + len(SEGMENT_START) + 1, b"behind a gap")):
            capture += packet(ports, flags, sequence % 2 ** 32, payload)
        status, lines = frames(self.folder, capture)
        text = "\n".join(lines)
        self.assertEqual(status, 0, text)
        self.assertEqual([line for line in lines if "->" in line],
                         ["127.0.0.1:1 -> 127.0.0.1:2", "127.0.0.1:2 -> 127.0.0.1:1"])
        self.assertIn("DATA stream=1 length=50", text)
        self.assertEqual(lines[-1].strip(),
                         "packets are missing in the capture; what was sent behind them is not shown")


def packet(ports, flags, sequence, payload):
    home = bytes([127, 0, 0, 1])
    tcp = struct.pack("!HHIIBBHHH", *ports, sequence, 0, 0x50, flags, 65535, 0, 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, home, home) + tcp
    frame = bytes(12) + b"\x08\x00" + ip
    return struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame


if __name__ == "__main__":
    unittest.main()
