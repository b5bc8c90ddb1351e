# SPDX-License-Identifier: Apache-2.0
"""A relay between a controller and a segment that cuts links on demand, and may be slow."""

import select
import socket
import threading
import time

import pair


class Cutter:
    """Passes on what comes; cut() resets all links, at any byte. At `url` for the controller, to `target`.

    With `rate` a link carries so many bytes a second, both ways together, and little waits in it."""

    PIECE = 65536        # bytes that are passed on at once
    SLOW_PIECE = 8192    # on a link that has a rate

    def __init__(self, target=None, kind="tcp4", folder=None, url=None, rate=None):
        family, address = pair.socket_address(url or pair.bind_text(kind, folder, "cutter"))
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.bind(address if url or kind != "tcp4" else (pair.HOME, 0))
        self.rate = rate
        if rate:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.SLOW_PIECE)
        self.socket.listen(64)
        self.url = pair.url_of(self.socket)
        self.target = target
        self.lock = threading.Lock()
        self.links = set()
        self.made = 0        # links
        self.passed = 0      # bytes
        self.budget = None   # bytes that pass before the next cut
        self.refusing = False
        self.swallowed = {}  # by link: "up", toward the target, "down" or "both"
        self.closing = False
        self.recorded = None  # with a list: what the controller sent, one entry for each link
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.socket.accept()
            except OSError:
                return
            if self.refusing:
                self._reset(near)
                continue
            try:
                far = pair.connect(self.target, receive_buffer=self.SLOW_PIECE if self.rate else None).socket
            except OSError:
                self._reset(near)
                continue
            far.settimeout(None)
            if near.family != socket.AF_UNIX:
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = (near, far)
            with self.lock:
                self.links.add(link)
                self.made += 1
            if self.recorded is not None:
                self.recorded.append(b"")
            threading.Thread(target=self._pass, args=(link, len(self.recorded or ()) - 1), daemon=True).start()

    @staticmethod
    def _reset(sock):
        try:
            pair.Peer(sock).reset()
        except OSError:
            pass

    def _pass(self, link, number):
        near, far = link
        others = {near: far, far: near}
        piece = self.SLOW_PIECE if self.rate else self.PIECE
        free_at = time.monotonic()
        try:
            while True:
                for sock in select.select(list(link), [], [])[0]:
                    data = sock.recv(piece)
                    if not data:
                        return
                    if self.swallowed.get(link) in ("both", "up" if sock is near else "down"):
                        continue
                    if self.rate:
                        free_at = max(free_at, time.monotonic()) + len(data) / self.rate
                        time.sleep(max(0, free_at - time.monotonic()))
                    if sock is near and self.recorded is not None:
                        self.recorded[number] += data
                    if self.budget is not None and len(data) >= self.budget:
                        data, self.budget = data[:self.budget], None
                        others[sock].sendall(data)
                        return
                    others[sock].sendall(data)
                    self.passed += len(data)
                    if self.budget is not None:
                        self.budget -= len(data)
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.links.discard(link)
                self.swallowed.pop(link, None)
            self._reset(near)
            self._reset(far)

    def cut(self):
        """Resets all links; how many."""
        with self.lock:
            links = list(self.links)
        for near, far in links:
            for sock in (near, far):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        return len(links)

    def swallow(self, way):
        """The links that are there pass nothing on any more, this way or "both", and are not closed. Later ones do."""
        with self.lock:
            self.swallowed.update({link: way for link in self.links})

    def cut_after(self, size):
        """The link that carries the byte after so many is cut there."""
        self.budget = size

    def refuse(self, refusing=True):
        self.refusing = refusing

    def close(self):
        self.closing = True
        self.socket.close()
        self.cut()
