# SPDX-License-Identifier: Apache-2.0
"""A flood in a process of its own: `attacker.py URL FLOOD`, until its standard input ends.

As a controller it dials URL again and again; with `listen` instead of a URL it plays a segment, prints its address first,
and floods every controller that comes. Prints how the links ended, counted, at the end.
"""

import collections
import json
import os
import random
import sys
import threading

import pair
import wire

FLOODS = {}
BATCH = 64


def flood(function):
    FLOODS[function.__name__] = function
    return function


def batches(make):
    """Endless bytes: BATCH frames at a time, each made from its number."""
    number = 0
    while True:
        yield b"".join(make(number + n) for n in range(BATCH))
        number += BATCH


# ---- floods of a controller against a segment

@flood
def open_and_reset(_peer):
    return batches(lambda n: wire.open_frame(n + 1, b"Echo") + wire.reset(n + 1, 1, 0))


@flood
def open_and_reset_backend(_peer):
    return batches(lambda n: wire.open_frame(n + 1, b"Backend") + wire.reset(n + 1, 1, 0))


@flood
def open_data_and_reset(_peer):
    return batches(lambda n: wire.open_frame(n + 1, b"Echo") + wire.data(n + 1, b"x" * 100) +
                   wire.reset(n + 1, 1, 100))


@flood
def open_unknown(_peer):
    return batches(lambda n: wire.open_frame(n + 1, b"no such service"))


@flood
def ping(_peer):
    return batches(lambda n: wire.ping(n.to_bytes(8, "big")))


@flood
def ping_reply(_peer):
    return batches(lambda n: wire.ping(n.to_bytes(8, "big"), reply=True))


@flood
def empty_data(peer):
    peer.open(1, name=b"Echo")
    return batches(lambda n: wire.data(1))


@flood
def empty_data_on_many(peer):
    for stream in range(1, 101):
        peer.open(stream, name=b"Echo")
    return batches(lambda n: wire.data(1 + n % 100))


@flood
def repeated_credit(peer):
    peer.open(1, name=b"Echo")
    return batches(lambda n: wire.credit(1, 1))


@flood
def small_credit(peer):
    """Credit that advances, a byte at a time, for a stream that has nothing to say."""
    peer.open(1, name=b"Echo")
    return batches(lambda n: wire.credit(1, 262145 + n))


@flood
def repeated_ack(_peer):
    return batches(lambda n: wire.ack(0))


@flood
def repeated_max_streams(_peer):
    return batches(lambda n: wire.max_streams(0))


@flood
def reset_of_closed(peer):
    peer.open(1, name=b"Echo")
    peer.send(wire.reset(1, 1, 0))
    return batches(lambda n: wire.reset(1, 1, 0))


@flood
def stop_of_closed(peer):
    peer.open(1, name=b"Echo")
    peer.send(wire.reset(1, 1, 0))
    return batches(lambda n: wire.stop(1, 0))


@flood
def data_of_closed(peer):
    peer.open(1, name=b"Echo")
    peer.send(wire.reset(1, 1, 0))
    return batches(lambda n: wire.data(1, b"x"))


@flood
def goaway(_peer):
    return batches(lambda n: wire.goaway(wire.FINAL_GOAWAY))


@flood
def one_byte_frames(peer):
    peer.open(1, name=b"Discard")
    return batches(lambda n: wire.data(1, b"x"))


@flood
def echo_without_credit(_peer):
    """Many streams that make the segment hold as much as it may: nobody takes the echo."""
    def make(number):
        return wire.open_frame(number + 1, b"Echo") + wire.data(number + 1, bytes(16384))
    return batches(make)


@flood
def opens(_peer):
    """30,000 streams that stay open, and then nothing."""
    for number in range(0, 30000, BATCH):
        yield b"".join(wire.open_frame(number + n + 1, b"Echo") for n in range(min(BATCH, 30000 - number)))


@flood
def opens_backend(_peer):
    for number in range(0, 30000, BATCH):
        yield b"".join(wire.open_frame(number + n + 1, b"Backend") for n in range(min(BATCH, 30000 - number)))


@flood
def opens_swallowed(_peer):
    for number in range(0, 30000, BATCH):
        yield b"".join(wire.open_frame(number + n + 1, b"Swallow") for n in range(min(BATCH, 30000 - number)))


@flood
def garbage(_peer):
    source = random.Random(1)
    while True:
        yield source.randbytes(4096)


# ---- floods of a segment against a controller

@flood
def credit_of_nobody(_peer):
    return batches(lambda n: wire.credit(n + 1, 1))


@flood
def accept_of_nobody(_peer):
    return batches(lambda n: wire.accept(n + 1))


@flood
def close_at_once(_peer):
    yield wire.close(0)


# ---- the program

def dial(url):
    return wire.RawPeer.dial(url, window=16384)


def run(peer, name, ends, read):
    """Floods one link until it is closed."""
    code = None
    try:
        for data in FLOODS[name](peer):
            if not peer.try_send(data):
                break
            while read and peer.readable(0):
                if not peer.receive():
                    break
        else:
            peer.socket.settimeout(3600)
            while peer.receive():
                pass
    except (OSError, AssertionError) as error:
        code = type(error).__name__
    ends[code or "closed"] += 1
    peer.close()


def main():
    target, name = sys.argv[1:3]
    read = "unread" not in sys.argv[3:]
    ends = collections.Counter()

    def work():
        if target == "listen":
            listener = wire.RawSegment()
            print(listener.url, flush=True)
            while True:
                peer = listener.accept(greet=False)
                try:
                    peer.greet(window=16384)
                except (AssertionError, OSError):
                    continue
                run(peer, name, ends, read)
        print("running", flush=True)
        while True:
            try:
                peer = dial(target)
            except (OSError, AssertionError):
                ends["refused"] += 1
                continue
            run(peer, name, ends, read)

    pair.DEADLINE = 3600
    threading.Thread(target=work, daemon=True).start()
    sys.stdin.read()
    print(json.dumps(ends), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
