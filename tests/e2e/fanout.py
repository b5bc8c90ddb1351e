# SPDX-License-Identifier: Apache-2.0
"""What the tests with several servers share: a controller in front of many segments, and backends to play."""

import contextlib
import hashlib
import random
import select
import signal
import socket
import threading

import pair

MODES = ("half duplex", "full duplex", "publish")


def word(mode):
    """The mode as the log writes it."""
    return mode.replace(" ", "-")


def refusing():
    """An address where nobody listens."""
    return f"tcp://{pair.HOME}:{pair.free_port()}"


def ending_of(data, how="fin"):
    """What Peer.read_to_end() returns for these bytes."""
    return pair.Ending(how, len(data), hashlib.sha256(data).hexdigest())


def number_server(number):
    """A backend that says its number and ends."""
    return lambda peer: peer.send(b"%d " % number).finish().read_to_end() and None


class Stage:
    """A backend that the test plays itself: it accepts each connection when it wants it."""

    def __init__(self, kind="tcp4", folder=None, name="stage", receive_buffer=None):
        family, address = pair.socket_address(pair.bind_text(kind, folder, name))
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.bind(address)
        self.socket.listen(64)
        self.socket.settimeout(pair.DEADLINE * pair.PATIENCE)
        self.url = pair.url_of(self.socket)
        self.peers = []

    def accept(self):
        sock, _ = self.socket.accept()
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peers.append(pair.Peer(sock))
        return self.peers[-1]

    def has_caller(self, seconds=0):
        """Whether somebody has dialled who is not accepted yet."""
        return bool(select.select([self.socket], [], [], seconds)[0])

    def close(self):
        for peer in self.peers:
            peer.close()
        self.socket.close()
        self.peers = []


class Intake:
    """Reads a connection to its end in a thread, and tells how far it is."""

    def __init__(self, peer):
        self.peer = peer
        self.size = 0
        self.digest = hashlib.sha256()
        self.ending = None
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while data := self.peer.receive():
                self.digest.update(data)
                with self.changed:
                    self.size += len(data)
                    self.changed.notify_all()
            how = self.peer.ended
        except OSError as error:
            how = repr(error)
        with self.changed:
            self.ending = pair.Ending(how, self.size, self.digest.hexdigest())
            self.changed.notify_all()

    def wait(self, size):
        """Waits until so many bytes came, or the end."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.size >= size or self.ending, pair.DEADLINE * pair.PATIENCE):
                raise AssertionError(f"{self.size} bytes of {size} came")

    def end(self):
        """How it ended, as pair.Peer.read_to_end() tells it."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.ending, pair.DEADLINE * pair.PATIENCE):
                raise AssertionError(f"no end after {self.size} bytes")
            return self.ending


class Drip:
    """A way to a segment that hands on a few bytes at a time: frames arrive in pieces."""

    def __init__(self, url, most=999):
        self.far = url
        self.most = most
        self.sockets = [socket.create_server(("127.0.0.1", 0))]
        self.url = pair.url_of(self.sockets[0])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near = self.sockets[0].accept()[0]
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far = pair.connect(self.far).socket
                far.settimeout(None)
                self.sockets += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(random.randint(1, self.most)):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self):
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Resumed:
    """What was stopped goes on when this is closed."""

    def __init__(self, send_signal):
        self.send_signal = send_signal

    def close(self):
        self.send_signal(signal.SIGCONT)


class Fan:
    """A controller in front of several segments, each with a server of its own, and the links between them."""

    def __init__(self, case, servers, controller="", segment="", service="Orders", client="tcp4",
                 controller_global="", segment_global=""):
        self.case = case
        self.service = service
        self.client = client
        self.controller_text = controller
        self.controller_global = controller_global
        self.threads = pair.threads_of(controller_global)
        # At an address of our own, so that the port of a segment that is down stays free.
        self.segments = [case.segment(
            f"[Cloudbus]\n{segment_global}\n[{service}]\nbind=tcp://{pair.HOME}:0\nserver={server}\n{segment}\n",
            name=f"segment{len(case.daemons)}") for server in servers]
        self.addresses = [segment.address(service) for segment in self.segments]
        # As the log names them.
        self.names = [address.removeprefix("tcp://") for address in self.addresses]
        self.controller = self.front(controller)
        self.url = self.controller.address(service)

    def front(self, controller=None, addresses=None):
        """One more controller for the same segments: with another text, or the addresses in another order."""
        controller = self.controller_text if controller is None else controller
        number = len(self.case.daemons)
        client_bind = pair.bind_text(self.client, self.case.folder, f"client{number}")
        servers = "".join(f"server={address}\n" for address in addresses or self.addresses)
        daemon = self.case.controller(f"[Cloudbus]\n{self.controller_global}\n[{self.service}]\n"
                                      f"bind={client_bind}\n{servers}{controller}\n", name=f"controller{number}")
        mine = [segment for segment, address in zip(self.segments, self.addresses)
                if segment.alive and address in (addresses or self.addresses)]
        if mine:
            daemon.wait_link(count=self.threads * len(mine))
        for segment in mine:
            self.case.links(daemon, segment, self.threads)
        return daemon

    def drip(self):
        """From here on the client is at a controller whose links hand on a few bytes at a time."""
        drips = [Drip(address) for address in self.addresses]
        for drip in drips:
            self.case.addCleanup(drip.close)
        self.controller = self.front(addresses=[drip.url for drip in drips])
        self.controller.wait_link(count=self.threads * len(drips))
        for segment in self.segments:
            self.case.links(self.controller, segment, self.threads)
        self.url = self.controller.address(self.service)

    def connect(self, **more):
        return self.case.connect(self.url, **more)

    def refusal(self):
        return self.case.refusal(self.url)

    def lose(self, *numbers):
        """Kills segments, and waits until the controller knows."""
        for number in numbers:
            mark = self.controller.mark()
            self.segments[number].kill()
            self.wait_lost(mark)

    def wait_lost(self, mark):
        self.controller.wait_log(lambda r: r.subject == "link" and r.message == "lost", "loss of the link", mark,
                                 count=self.threads)

    def revive(self, number):
        """A successor of a segment that is down, at the same address and ready for clients."""
        mark = self.controller.mark()
        gone = self.segments[number]
        self.segments[number] = self.case.segment(gone.frozen_text(), name=f"segment{len(self.case.daemons)}")
        self.segments[number].base = gone.base
        self.controller.wait_link(mark, count=self.threads)
        self.case.edges = [edge for edge in self.case.edges if edge[1] is not gone]
        self.case.links(self.controller, self.segments[number], self.threads)

    def ends(self, record):
        """How the legs of a conversation of the log ended: [(number of the server, word)], as they were begun."""
        found = []
        for part in record.fields["ends"].split():
            name, _, word = part.rpartition("=")
            found.append((self.names.index(name), word))
        return found


class Case(pair.Case):
    """A test with one client and several servers."""

    def stage(self, kind="tcp4", **more):
        return self.keep(Stage(kind, self.folder, name=f"stage-{len(self.open)}", **more))

    def fan(self, servers, controller="", **more):
        """A segment in front of each server, and a controller in front of all the segments."""
        return Fan(self, servers, controller, **more)

    def played(self, mode, count=3, text="", **more):
        """A fan, and the backends that the test plays."""
        stages = [self.stage() for _ in range(count)]
        return self.fan([stage.url for stage in stages], f"mode={mode}\n{text}", **more), stages

    def served(self, mode, serve, count=3, text="", **more):
        """A fan, and backends with the scripts that `serve(number)` makes."""
        backends = [self.backend(serve(number)) for number in range(count)]
        return self.fan([backend.url for backend in backends], f"mode={mode}\n{text}", **more), backends

    def numbered(self, mode, count=3, text="", **more):
        """A fan of servers that say their number and end: a client hears who was asked."""
        return self.served(mode, number_server, count, text, **more)[0]

    def asked(self, url, **more):
        """The numbers of the servers that a client meets."""
        with pair.connect(url, **more) as client:
            client.finish()
            answer = b""
            while data := client.read():
                answer += data
            return tuple(sorted(int(number) for number in answer.split()))

    def stop(self, daemon):
        """Stops a daemon until the end of the test, or earlier."""
        daemon.signal(signal.SIGSTOP)
        return self.keep(Resumed(daemon.signal))

    def meet(self, stages):
        """The connection of the client to each backend."""
        return [stage.accept() for stage in stages]

    def all_read(self, legs, data):
        for leg in legs:
            self.assertEqual(leg.read_exact(len(data)), data)

    def all_end(self, legs, how, size=0):
        for leg in legs:
            self.assertEqual(leg.read_to_end()[:2], (how, size))

    def works(self, mode, client, legs):
        """A conversation over these legs from its first byte to its clean end."""
        client.send(b"request").finish()
        self.all_end(legs, "fin", 7)
        if mode == "half duplex":
            legs[0].send(b"answer").finish()
            self.assertEqual(client.read_to_end()[:2], ("fin", 6))
            for leg in legs[1:]:
                self.assertTrue(leg.wait_broken(), "a loser is reset")
            return
        for leg in legs:
            leg.send(b"answer").finish()
        self.assertEqual(client.read_to_end()[:2], ("fin", 6 * len(legs) if mode == "full duplex" else 0))
