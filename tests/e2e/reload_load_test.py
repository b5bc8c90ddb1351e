# SPDX-License-Identifier: Apache-2.0
# exclusive: measured
# sanitizers: address
# timeout: 1800
"""Many reloads under load: services and servers come, go and change at random, and files are bad now and then.

RELOADS=1000 makes it longer (60), RELOAD_SERVICES=10000 larger (2000), RELOAD_SEED repeats a run.
"""

import os
import random
import threading
import time
import unittest

import cutter
import pair
from pair import HOME, KIB, PATTERN
from reload_test import counts, named, section

RELOADS = int(os.environ.get("RELOADS", "60"))
SERVICES = int(os.environ.get("RELOAD_SERVICES", "2000"))
SEED = int(os.environ.get("RELOAD_SEED", str(random.randrange(1 << 30))))
WARM = 20        # reloads before memory is looked at
BAD = 10         # one of so many files is bad
VOLATILE = 6     # services that come, go and change
DRAIN = "drain_timeout=60 s"


class Clients:
    """Threads that each do one thing again and again until stop(); `failures` holds what went wrong."""

    def __init__(self):
        self.failures = []
        self.done = {}
        self.stopping = threading.Event()
        self.threads = []

    def start(self, name, visit):
        self.done[name] = 0

        def run():
            while not self.stopping.is_set() and not self.failures:
                try:
                    self.done[name] += visit() or 0
                except (OSError, AssertionError) as error:
                    self.failures.append(f"{name}: {error!r}")
        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(pair.DEADLINE * pair.PATIENCE)


class Volatile:
    """What the files say of the services that change."""

    def __init__(self, case):
        self.case = case
        self.random = case.random
        self.binds = [case.bind() for _ in range(VOLATILE)]
        self.names = [f"V{number}" for number in range(VOLATILE)]
        self.backends = [case.backend(named(f"v{number}")) for number in range(3)]
        self.bound = {}  # of the file in force: bind by name
        self.lock = threading.Lock()

    def controller_text(self, links):
        chosen = self.random.sample(self.names, self.random.randint(0, VOLATILE))
        binds = dict(zip(chosen, self.random.sample(self.binds, len(chosen))))
        text = ""
        for name, bind in binds.items():
            servers = self.random.sample(links, self.random.randint(1, len(links)))
            keys = {"mode": self.random.choice(["balance", "half duplex"]),
                    "priority": self.random.randint(-128, 127),
                    "balance": self.random.choice(["round robin", "least connections", "random", "hash", "first"]),
                    "connect_timeout": "20 s", "links": self.random.choice(["1", "2", "auto"]),
                    "health": self.random.choice(["passive", "tcp 1 s"])}
            text += section(name, bind, *servers, **keys)
        return text, binds

    def segment_text(self, present=True):
        text = ""
        for name in self.names:
            servers = self.random.sample(self.backends, self.random.randint(1, len(self.backends)))
            keys = {"balance": self.random.choice(["round robin", "least connections", "random", "hash", "first"]),
                    "health": self.random.choice(["passive", "tcp 1 s"])}
            text += section(name, None, *(backend.url for backend in servers), **keys) if present else ""
        return text

    def visit(self):
        """A client of a service that may go at any time: it may be refused, but not be cut."""
        with self.lock:
            binds = list(self.bound.values())
        if not binds:
            return 0
        try:
            client = pair.connect(random.choice(binds))
        except ConnectionRefusedError:
            return 0
        with client:
            if not client.read_line().startswith(b"v"):
                raise AssertionError("no greeting")
            for _ in range(3):
                if client.exchange(b"x" * 100) != b"x" * 100:
                    raise AssertionError("the echo differs")
            client.finish()
            if client.read_to_end().how != "fin":
                raise AssertionError("cut")
        return 1


class UnderLoad(pair.Case):

    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        print(f"RELOAD_SEED={SEED}", flush=True)

    @staticmethod
    def bind():
        return f"tcp://{HOME}:{pair.free_port()}"

    def test_nobody_notices(self):
        volatile = Volatile(self)
        echo = self.backend(pair.echo)
        bulk = self.backend(lambda peer: (peer.read_exact(1), peer.send_pattern(4096 * KIB)))
        shared = "[Cloudbus]\nbind={}\n" + DRAIN + "\n"
        lasting = section("Keep", None, echo.url) + section("Bulk", None, bulk.url)
        links = [self.bind() for _ in range(3)]
        segments = [self.segment(shared.format(link) + lasting + volatile.segment_text(), name=f"s{number}")
                    for number, link in enumerate(links)]
        cuts = self.keep(cutter.Cutter(links[0]))
        keep, new, flow, fan = (self.bind() for _ in range(4))
        stable = f"[Cloudbus]\n{DRAIN}\n" + section("Keep", keep, cuts.url) + \
            section("New", new, links[1], service="Keep", balance="least connections") + \
            section("Bulk", flow, cuts.url) + section("Fan", fan, *links, service="Keep")
        controller = self.controller(stable)
        controller.wait_link(count=4)
        for number, segment in enumerate(segments):
            self.links(controller, segment, 1 if number else 2)  # the first one directly, too
        clients = Clients()
        steady = self.connect(keep)

        def exchange(peer):
            data = random.randbytes(200)
            if peer.exchange(data) != data:
                raise AssertionError("the echo differs")
            return 1

        def come_and_go(url):
            with pair.connect(url) as client:
                exchange(client)
                client.finish()
                if client.read_to_end().how != "fin":
                    raise AssertionError("no clean end")
            return 1

        def transfer():
            with pair.connect(flow) as client:
                client.send(b"x")
                if client.read_exact(4096 * KIB) != PATTERN.bytes(4096 * KIB):
                    raise AssertionError("the bytes differ")
            return 1
        clients.start("keep-alive", lambda: exchange(steady))
        clients.start("new connections", lambda: come_and_go(new))
        clients.start("bulk", transfer)
        clients.start("fan-out", lambda: come_and_go(fan))
        clients.start("volatile", volatile.visit)
        clients.start("volatile too", volatile.visit)
        memory = {}
        # The buffers and the heap's pieces that this load needs are there by then.
        warm = max(WARM, RELOADS // 5)
        try:
            for number in range(RELOADS + WARM):
                self.step(number, controller, segments, volatile, stable, (shared, lasting, links), cuts)
                if number == warm:
                    memory = {daemon.name: daemon.rss() for daemon in (controller, *segments)}
                if number % 200 == 199:
                    print({daemon.name: f"{daemon.rss() / 1e6:.2f} MB" for daemon in (controller, *segments)}, flush=True)
                self.assertEqual(clients.failures, [])
        finally:
            clients.stop()
        self.assertEqual(clients.failures, [])
        print({name: done for name, done in clients.done.items()}, flush=True)
        for name, done in clients.done.items():
            self.assertGreater(done, 3, name)
        self.settle(controller, segments, stable, shared, lasting, links, volatile)
        for daemon in (controller, *segments):
            grown = daemon.rss() / memory[daemon.name] - 1
            print(f"{daemon.name}: {memory[daemon.name] / 1e6:.1f} MB, {grown * 100:+.1f}%", flush=True)
            if not pair.SANITIZER:  # a short run has buffers of the load in it
                self.assertLess(grown, 0.02 if RELOADS >= 1000 else 0.3, daemon.name)

    def step(self, number, controller, segments, volatile, stable, site, cuts):
        shared, lasting, links = site
        is_bad = number % BAD == BAD - 1
        if number % 7 == 3:
            cuts.cut()
        if number % 3 == 2:
            which = number % len(segments)
            text = shared.format(links[which]) + lasting + volatile.segment_text()
            segments[which].reload(text + "[X]\nsever=1\n" if is_bad else text, is_bad)
            return
        text, binds = volatile.controller_text(links)
        if is_bad:
            controller.reload(stable + text + "nonsense\n", True)
            return
        with volatile.lock:
            kept = {name: bind for name, bind in volatile.bound.items() if binds.get(name) == bind}
            volatile.bound = kept  # nobody new comes to what goes
        controller.reload(stable + text)
        with volatile.lock:
            volatile.bound = binds

    def settle(self, controller, segments, stable, shared, lasting, links, volatile):
        """As at the start; and balance counts nobody any more, or new clients would not spread evenly."""
        volatile.bound = {}
        for segment, link in zip(segments, links):
            segment.reload(shared.format(link) + lasting +
                           section("V0", None, *(b.url for b in volatile.backends), balance="least connections"))
        bind = volatile.binds[0]
        controller.reload(stable + section("V0", bind, *links, balance="least connections", mode="balance"))
        clients = [self.connect(bind) for _ in range(9)]
        greeted = sorted(client.read_line() for client in clients)
        self.assertEqual(greeted, [b"v0\n"] * 3 + [b"v1\n"] * 3 + [b"v2\n"] * 3)
        for client in clients:
            client.finish()
            client.read_to_end()
        controller.reload(stable)

    def test_ten_thousand_services_and_one_line_changed(self):
        backend = self.backend(pair.echo)
        link = self.bind()
        segment = self.segment(f"[Cloudbus]\nbind={link}\n" + section("Orders", None, backend.url))
        folder = os.path.join(self.folder, "u")
        os.mkdir(folder)
        many = [section(f"S{number}", f"unix://{folder}/{number}", link) for number in range(SERVICES)]
        orders = self.bind()
        head = section("Orders", orders, link)
        controller = self.controller(head + "".join(many), limit=SERVICES + 2000)
        self.links(controller, segment)
        client = self.connect(orders)
        took, stalls = [], []
        for number in range(5):
            many[number] = many[number] + f"idle_timeout={number + 1} s\n"
            slowest = self.watch(client)
            record = controller.reload(head + "".join(many))
            stalls.append(slowest())
            self.assertEqual(counts(record), (0, 0, 1, SERVICES))
            took.append(pair.seconds(record.fields["took"]) * 1000)
        print(f"{SERVICES} services, one line changed: took {took} ms, stalls {[f'{s * 1000:.1f}' for s in stalls]} ms",
              flush=True)
        if not pair.SANITIZER:
            self.assertLess(min(took), 300)
            self.assertLess(min(stalls), 0.020)

    @staticmethod
    def watch(client):
        """Exchanges with a client until the returned function is called, which gives the slowest exchange."""
        stopping = threading.Event()
        slowest = [0.0]

        def run():
            while not stopping.is_set():
                start = time.monotonic()
                client.exchange(b"x")
                slowest[0] = max(slowest[0], time.monotonic() - start)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def stop():
            stopping.set()
            thread.join(pair.DEADLINE)
            return slowest[0]
        return stop


if __name__ == "__main__":
    unittest.main()
