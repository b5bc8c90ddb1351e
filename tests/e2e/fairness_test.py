# SPDX-License-Identifier: Apache-2.0
# exclusive: yes
"""No conversation can stop another, or take more than its window of memory."""

import threading
import unittest

import pair
from pair import KIB, MIB, PATTERN

# Windows grow before the kernel's buffers of a client are full: how far depends on the machine. What does not is the
# budget of all of them, so a crowd has one that its first windows nearly fill, and is judged by it.
BUDGET = "memory=64M"
BUDGET_BYTES = 64 * MIB
# Slabs that are partly used, the sockets' and conversations' objects, and the heap's own.
OVERHEAD = 32 * MIB


class Fairness(pair.Case):

    def services(self, text="", **servers):
        """A pair with one link and a service for each server; returns {name: address}."""
        segment = self.segment(f"[Cloudbus]\n{text}\nbind=tcp://127.0.0.1:0\n" + "".join(
            f"[{name}]\nserver={server}\n" for name, server in servers.items()))
        link = segment.listening()[0].fields["address"]
        controller = self.controller(f"[Cloudbus]\n{text}\n" + "".join(
            f"[{name}]\nbind=tcp://127.0.0.1:0\nserver={link}\n" for name in servers))
        controller.wait_link()
        self.links(controller, segment)
        self.both = (controller, segment)
        return {name: controller.address(name) for name in servers}

    def flood(self):
        """A backend that sends without end."""
        def serve(peer):
            while True:
                peer.send_pattern(64 * MIB)
        return self.backend(serve)

    def latency(self, url, count=300):
        """p99 of small requests on an open connection, in seconds."""
        with pair.connect(url) as client:
            pair.round_trips(client, 20)
            return pair.percentile(pair.round_trips(client, count), 0.99)

    def quiet(self, url):
        return min(self.latency(url) for _ in range(3))

    def unharmed(self, url, quiet):
        """The neighbour's p99, the best of some attempts, against its quiet value."""
        bound = max(10 * quiet, 0.05)
        found = pair.best_of(4, lambda: self.latency(url), bound)
        print(f"neighbour p99 {found * 1000:.2f} ms, quiet {quiet * 1000:.2f} ms")
        self.assertLessEqual(found, bound)

    def memory_within(self, base, allowed):
        for daemon, before in zip(self.both, base):
            used = daemon.rss() - before
            print(f"{daemon.name}: {used / MIB:.1f} MiB more, {allowed / MIB:.1f} MiB allowed")
            if not pair.SANITIZER:
                self.assertLessEqual(used, allowed, daemon.name)

    def memory(self):
        return [daemon.rss() for daemon in self.both]

    def stalled(self, backend, count):
        """Waits until as many conversations stand still: nothing passes the daemons any more."""
        pair.wait_for(lambda: backend.live >= count, "all backends")
        pair.wait_for(lambda: all(daemon.load(0.2) < 0.05 for daemon in self.both), "a standstill")

    def test_200_slow_readers_and_a_fast_neighbour(self):
        count = 200
        backend = self.flood()
        urls = self.services(BUDGET, Slow=backend.url, Fast="builtin:echo")
        quiet = self.quiet(urls["Fast"])
        base = self.memory()
        readers = [self.connect(urls["Slow"], receive_buffer=4096) for _ in range(count)]
        self.stalled(backend, count)
        stop = threading.Event()
        taken = [0] * count

        def read_slowly():
            while not stop.wait(0.05):
                for number, reader in enumerate(readers):
                    taken[number] += len(reader.read(1024))

        thread = threading.Thread(target=read_slowly)
        thread.start()
        try:
            pair.wait_for(lambda: min(taken) > 20 * 1024, "some progress of every reader")
            self.unharmed(urls["Fast"], quiet)
            self.memory_within(base, BUDGET_BYTES + OVERHEAD)
            # A fast reader of the same backend gets its bytes whatever the slow ones do.
            size = 64 * MIB
            with pair.connect(urls["Slow"]) as fast:
                self.assertEqual(fast.read_exact(size)[-1000:], PATTERN.bytes(size)[-1000:])
            progress = list(taken)
            pair.wait_for(lambda: all(now > then for now, then in zip(taken, progress)), "every reader goes on")
        finally:
            stop.set()
            thread.join()

    def test_one_client_that_does_not_read(self):
        backend = self.flood()
        urls = self.services(Slow=backend.url, Fast="builtin:echo")
        quiet = self.quiet(urls["Fast"])
        base = self.memory()
        self.connect(urls["Slow"])
        self.stalled(backend, 1)
        self.memory_within(base, 20 * MIB)
        self.unharmed(urls["Fast"], quiet)

    def test_200_clients_that_do_not_read(self):
        backend = self.flood()
        urls = self.services(BUDGET, Slow=backend.url, Fast="builtin:echo")
        quiet = self.quiet(urls["Fast"])
        base = self.memory()
        for _ in range(200):
            self.connect(urls["Slow"], receive_buffer=4096)
        self.stalled(backend, 200)
        self.memory_within(base, BUDGET_BYTES + OVERHEAD)
        self.unharmed(urls["Fast"], quiet)

    def test_backends_that_do_not_read(self):
        release = threading.Event()
        backend = self.backend(lambda peer: release.wait(pair.DEADLINE * 4) and None, receive_buffer=4096)
        urls = self.services(BUDGET, Slow=backend.url, Fast="builtin:echo")
        quiet = self.quiet(urls["Fast"])
        base = self.memory()
        clients = [self.connect(urls["Slow"]) for _ in range(50)]
        for client in clients:
            client.socket.setblocking(False)
        state = [0, 0]

        def blocked():
            moved = 0
            for client in clients:
                try:
                    moved += client.socket.send(bytes(64 * KIB))
                except BlockingIOError:
                    pass
            state[0] += moved
            state[1] = 0 if moved else state[1] + 1
            return state[1] >= 20
        pair.wait_for(blocked, "all clients to be held back")
        self.memory_within(base, BUDGET_BYTES + OVERHEAD)
        self.unharmed(urls["Fast"], quiet)
        release.set()

    def test_bulk_upload_beside_small_requests(self):
        urls = self.services(Bulk="builtin:discard", Fast="builtin:echo")
        self.beside_bulk(urls, lambda client: client.send(bytes(256 * KIB)), 1)

    def test_eight_bulk_uploads_beside_small_requests(self):
        urls = self.services(Bulk="builtin:discard", Fast="builtin:echo")
        self.beside_bulk(urls, lambda client: client.send(bytes(256 * KIB)), 8)

    def test_bulk_download_beside_small_requests(self):
        urls = self.services(Bulk=self.flood().url, Fast="builtin:echo")
        buffer = bytearray(256 * KIB)
        self.beside_bulk(urls, lambda client: client.socket.recv_into(buffer), 1)

    def beside_bulk(self, urls, move, streams):
        quiet = self.quiet(urls["Fast"])
        stop = threading.Event()
        moved = [0] * streams

        def run(number):
            with pair.connect(urls["Bulk"]) as client:
                while not stop.is_set():
                    move(client)
                    moved[number] += 1

        threads = [threading.Thread(target=run, args=(number,)) for number in range(streams)]
        for thread in threads:
            thread.start()
        try:
            pair.wait_for(lambda: min(moved) > 100, "the bulk to run")
            self.unharmed(urls["Fast"], quiet)
            progress = list(moved)
            pair.wait_for(lambda: all(now > then for now, then in zip(moved, progress)), "every stream to go on")
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def test_memory_of_a_crowd_is_used_again_by_the_next_one(self):
        backend = self.flood()
        urls = self.services("memory=32M", Slow=backend.url)  # so that windows hardly grow
        used = []
        for _ in range(8):
            crowd = [pair.connect(urls["Slow"], receive_buffer=4096) for _ in range(100)]
            self.stalled(backend, 100)
            used.append(self.memory())
            for client in crowd:
                client.close()
            pair.wait_for(lambda: backend.live == 0, "the end of the crowd")
        # A crowd holds 3 MiB at least; those before the last would show if they left it behind.
        for number, daemon in enumerate(self.both):
            sizes = [memory[number] for memory in used]
            print(f"{daemon.name}: {', '.join(f'{size / MIB:.1f}' for size in sizes)} MiB")
            if not pair.SANITIZER:
                self.assertLess(sizes[-1] - sizes[0], 20 * MIB, daemon.name)

    def test_process_memory_budget_holds(self):
        """With memory=16M, 400 stalled conversations do not take 400 windows, and still all of them move."""
        backend = self.flood()
        urls = self.services("memory=16M", Slow=backend.url)
        base = self.memory()
        readers, refused = [], 0
        for _ in range(400):
            reader = self.connect(urls["Slow"], receive_buffer=4096)
            reader.socket.settimeout(pair.DEADLINE * pair.PATIENCE)
            readers.append(reader)
        pair.wait_for(lambda: all(daemon.load(0.2) < 0.05 for daemon in self.both), "a standstill")
        self.memory_within(base, 48 * MIB)
        for reader in readers:
            try:
                reader.read_exact(64 * KIB)
            except ConnectionResetError:
                refused += 1
        print(f"{refused} of {len(readers)} refused")
        self.assertLess(refused, len(readers) // 2)
        if refused:
            self.both[0].wait_conversation(end="overload")


if __name__ == "__main__":
    unittest.main()
