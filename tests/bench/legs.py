# SPDX-License-Identifier: Apache-2.0
"""The far ends of a fan-out's legs, in a process of their own: prints its ports, ends with its input.

Each leg has two servers. A sink takes what comes, without copying it, and prints how much it was. The other takes a
question and keeps silent, until the question has come over all the legs that it names: then one of them answers with the
time, which is taken just before it is sent.
"""

import selectors
import socket
import struct
import sys
import time

QUESTION = struct.Struct("!QQ")  # the conversation's number, and over how many legs it comes
ANSWER = struct.Struct("!QQ")  # the number, and the monotonic time in nanoseconds
PIECE = bytearray(1 << 20)


class Sink:
    """What one connection brings is counted and thrown away."""

    def __init__(self, connection):
        self.connection = connection
        self.taken = 0

    def take(self):
        """False at the end."""
        try:
            size = self.connection.recv_into(PIECE, len(PIECE), socket.MSG_TRUNC)  # TCP then copies nothing
        except OSError:
            return False
        self.taken += size
        if size == 0:
            print(self.taken, flush=True)
        return size > 0


class Answerer:
    """One connection of a leg; `waiting` has the connections over which each question has come."""

    waiting = {}

    def __init__(self, leg, connection):
        self.leg = leg
        self.connection = connection

    def take(self):
        """False at the end."""
        try:
            question = self.connection.recv(QUESTION.size)
        except OSError:
            return False  # another leg was faster
        if len(question) == QUESTION.size:
            self.asked(*QUESTION.unpack(question))
        return len(question) == QUESTION.size

    def asked(self, number, legs):
        asked = self.waiting.setdefault(number, {})
        asked[self.leg] = self.connection
        if len(asked) == legs:
            del self.waiting[number]
            asked[number % legs].send(ANSWER.pack(number, time.monotonic_ns()))


def main():
    host, legs = sys.argv[1], int(sys.argv[2])
    events = selectors.EpollSelector()
    events.register(sys.stdin, selectors.EVENT_READ)
    ports = []
    for leg in range(legs):
        for make in (Sink, lambda connection, leg=leg: Answerer(leg, connection)):
            listener = socket.create_server((host, 0), backlog=4096)
            events.register(listener, selectors.EVENT_READ, make)
            ports.append(listener.getsockname()[1])
    print(*ports, flush=True)
    while True:
        for key, _ in events.select():
            if key.fileobj is sys.stdin:
                return
            if isinstance(key.data, (Sink, Answerer)):
                if not key.data.take():
                    events.unregister(key.fileobj)
                    key.fileobj.close()
            else:
                connection, _ = key.fileobj.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                events.register(connection, selectors.EVENT_READ, key.data(connection))


if __name__ == "__main__":
    main()
