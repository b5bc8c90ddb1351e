# SPDX-License-Identifier: Apache-2.0
"""A small raw peer of the session protocol (doc/protocol.md), to play a controller or a segment that misbehaves."""

import collections
import os
import socket
import struct
import time

import pair

MAGIC = b"\xf3\x43\x42\x1a"
CONTROLLER, SEGMENT = 1, 2
HELLO, OPEN, ACCEPT, DATA, CREDIT, RESET, STOP, MAX_STREAMS, PING, GOAWAY, ACK, RESUME, CLOSE = range(1, 14)
FIN = REPLY = 1
NAMES = {HELLO: "HELLO", OPEN: "OPEN", ACCEPT: "ACCEPT", DATA: "DATA", CREDIT: "CREDIT", RESET: "RESET",
         STOP: "STOP", MAX_STREAMS: "MAX_STREAMS", PING: "PING", GOAWAY: "GOAWAY", ACK: "ACK", RESUME: "RESUME",
         CLOSE: "CLOSE"}
LINK_CODES = ("no-error", "frame-error", "protocol-error", "credit-error", "wrong-role", "version", "unsupported",
              "flood", "handshake-timeout", "ping-timeout", "shutdown", "unknown-session")
STREAM_CODES = ("cancelled", "client-reset", "server-reset", "unknown-service", "connect-failed", "connect-timeout",
                "overload", "no-descriptors", "going-away", "idle-timeout", "half-close-timeout", "drain-timeout",
                "lost-race", "lagging", "no-quorum", "link-lost", "resume-timeout", "session-lost")
FINAL_GOAWAY = 2 ** 64 - 1

Frame = collections.namedtuple("Frame", "type flags stream payload")
HEADER = struct.Struct("!BBHQ")

# Section 2.1: the stream id (whether one belongs there), the lengths of the payload, the flags, whether it is reliable.
Rule = collections.namedtuple("Rule", "stream shortest longest flags reliable")
RULES = {HELLO: Rule(False, 0, 1024, 0, False), OPEN: Rule(True, 22, 1024, 0, True),
         ACCEPT: Rule(True, 0, 256, 0, True), DATA: Rule(True, 0, 65535, FIN, True),
         CREDIT: Rule(True, 8, 8, 0, True), RESET: Rule(True, 10, 10, 0, True), STOP: Rule(True, 2, 2, 0, True),
         MAX_STREAMS: Rule(False, 8, 8, 0, True), PING: Rule(False, 8, 8, REPLY, False),
         GOAWAY: Rule(False, 8, 8, 0, True), ACK: Rule(False, 8, 8, 0, False),
         RESUME: Rule(False, 64, 64, 0, False), CLOSE: Rule(False, 2, 258, 0, False)}

# Section 1.2: the fields of HELLO, the lengths of their values.
HELLO_FIELDS = {1: ("initial-window", 4, 4), 2: ("max-streams", 8, 8), 3: ("boot-id", 16, 16), 4: ("software", 1, 64),
                5: ("session-id", 16, 16), 6: ("session-secret", 32, 32), 7: ("resume", 24, 24)}


def header(kind, length, stream=0, flags=0):
    return HEADER.pack(kind, flags, length, stream)


def take_frame(data, at=0):
    """The frame that begins there, if all of it has come; None otherwise."""
    if len(data) - at < HEADER.size:
        return None
    kind, flags, length, stream = HEADER.unpack_from(data, at)
    end = at + HEADER.size + length
    return Frame(kind, flags, stream, bytes(data[at + HEADER.size:end])) if end <= len(data) else None


def frame(kind, stream=0, payload=b"", flags=0):
    return header(kind, len(payload), stream, flags) + payload


def field(number, value, critical=False):
    return struct.pack("!HH", number | (0x8000 if critical else 0), len(value)) + value


def fields(payload):
    """(number, whether it is critical, value) of each field of section 2.2; ValueError if one does not fit."""
    found = []
    while payload:
        if len(payload) < 4:
            raise ValueError("a field is cut off")
        number, length = struct.unpack_from("!HH", payload)
        if len(payload) < 4 + length:
            raise ValueError(f"field {number & 0x7FFF} is longer than what holds it")
        found.append((number & 0x7FFF, bool(number & 0x8000), payload[4:4 + length]))
        payload = payload[4 + length:]
    return found


def hello_number(received, number):
    """The value of a field of a HELLO, as a number."""
    return next(int.from_bytes(value, "big") for found, _, value in fields(received.payload) if found == number)


def window(received):
    return hello_number(received, 1)


def max_streams_of(received):
    return hello_number(received, 2)


def preface(role, lowest=1, highest=1):
    return MAGIC + bytes([lowest, highest, role, 0])


def hello_payload(role, window=262144, streams=None, more=b""):
    if streams is None:
        streams = 0 if role == CONTROLLER else 32768
    return (field(1, struct.pack("!I", window), True) + field(2, struct.pack("!Q", streams), True) +
            field(3, os.urandom(16)) + field(4, b"raw peer 1") + more)


def hello(role, **more):
    return frame(HELLO, 0, hello_payload(role, **more))


def uuid7():
    data = bytearray(struct.pack("!Q", int(time.time() * 1000))[2:] + os.urandom(10))
    data[6] = 0x70 | data[6] & 0x0F
    data[8] = 0x80 | data[8] & 0x3F
    return bytes(data)


def open_frame(stream, name=b"Orders", client=b"192.0.2.1:1234", uuid=None, priority=0, more=b""):
    payload = ((uuid or uuid7()) + struct.pack("!bB", priority, 0) + struct.pack("!H", len(name)) + name +
               struct.pack("!H", len(client)) + client + more)
    return frame(OPEN, stream, payload)


def accept(stream):
    return frame(ACCEPT, stream)


def data(stream, payload=b"", fin=False):
    return frame(DATA, stream, payload, FIN if fin else 0)


def credit(stream, offset):
    return frame(CREDIT, stream, struct.pack("!Q", offset))


def reset(stream, code=0, offset=0):
    return frame(RESET, stream, struct.pack("!HQ", code, offset))


def stop(stream, code=0):
    return frame(STOP, stream, struct.pack("!H", code))


def max_streams(count):
    return frame(MAX_STREAMS, 0, struct.pack("!Q", count))


def ping(value=b"01234567", reply=False):
    return frame(PING, 0, value, REPLY if reply else 0)


def goaway(last):
    return frame(GOAWAY, 0, struct.pack("!Q", last))


def ack(position):
    return frame(ACK, 0, struct.pack("!Q", position))


def close(code=0, reason=b""):
    return frame(CLOSE, 0, struct.pack("!H", code) + reason)


def reset_code(received):
    return STREAM_CODES[struct.unpack("!H", received.payload[:2])[0]]


def close_code(received):
    return LINK_CODES[struct.unpack("!H", received.payload[:2])[0]]


class RawPeer(pair.Peer):
    """One end of a link by hand. As a controller it dials; as a segment it is made of an accepted socket."""

    def __init__(self, sock, role):
        super().__init__(sock)
        self.role = role
        self.input = b""
        self.peer_preface = None
        self.peer_hello = None
        self.seen = []

    @classmethod
    def dial(cls, url, role=CONTROLLER, greet=True, **more):
        peer = cls(pair.connect(url).socket, role)
        if greet:
            peer.greet(**more)
        return peer

    def greet(self, **more):
        self.send(preface(self.role) + hello(self.role, **more))
        self.read_greeting()
        return self

    def read_greeting(self):
        while len(self.input) < 8:
            if not self._fill():
                raise AssertionError(f"the link ended before the preface: {self.ended}")
        self.peer_preface, self.input = self.input[:8], self.input[8:]
        self.peer_hello = self.next()
        if self.peer_hello is None or self.peer_hello.type != HELLO:
            raise AssertionError(f"no HELLO but {self.peer_hello}")
        return self

    def try_send(self, data):
        """Sends unless the other side has closed the link; whether it could."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def _fill(self):
        data = self.receive()
        self.input += data
        return bool(data)

    def next(self):
        """The next frame, or None at the end of the link."""
        while (received := take_frame(self.input)) is None:
            if not self._fill():
                return None
        self.input = self.input[HEADER.size + len(received.payload):]
        if received.type != DATA:
            self.seen.append(received)
        return received

    def wait(self, kind, stream=None):
        """The next frame of a type; pings are answered on the way."""
        end = time.monotonic() + pair.DEADLINE * pair.PATIENCE
        while True:
            received = self.next()
            if time.monotonic() > end:
                raise AssertionError(f"no {NAMES[kind]} came; seen {self.seen[-5:]}")
            if received is None:
                raise AssertionError(f"the link ended ({self.ended}) before {NAMES[kind]}; seen {self.seen[-5:]}")
            if received.type == kind and stream in (None, received.stream):
                return received
            if received.type == PING and not received.flags & REPLY:
                self.send(ping(received.payload, reply=True))

    def wait_data(self, stream, size=None):
        """So many bytes of a stream, or all to its FIN. They may come in any number of frames."""
        received, ended = b"", False
        while not ended and (size is None or len(received) < size):
            part = self.wait(DATA, stream)
            received, ended = received + part.payload, part.flags & FIN
        return received

    def open(self, stream, **more):
        """Opens a stream and waits for ACCEPT."""
        self.send(open_frame(stream, **more))
        self.wait(ACCEPT, stream)
        return self

    def wait_closed(self, seconds=None):
        """Reads to the end of the link; the name of the code in CLOSE, or how it ended."""
        self.socket.settimeout((seconds or pair.DEADLINE) * pair.PATIENCE)
        code = None
        while True:
            received = self.next()
            if received is None:
                return code or self.ended
            if received.type == CLOSE:
                code = close_code(received)


class RawSegment:
    """A listener that plays segments by hand, for a controller to dial."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.bind((pair.HOME, 0))
        self.socket.listen(64)
        self.url = pair.url_of(self.socket)

    def accept(self, greet=True, **more):
        self.socket.settimeout(pair.DEADLINE * pair.PATIENCE)
        sock, _ = self.socket.accept()
        peer = RawPeer(sock, SEGMENT)
        return peer.greet(**more) if greet else peer

    def close(self):
        self.socket.close()
