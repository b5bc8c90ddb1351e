# SPDX-License-Identifier: Apache-2.0
# exclusive: no
"""keepalive: who vanishes in silence is found, and who lives and does not read is left alone."""

import os
import signal
import threading
import time
import unittest

import pair
import wide_area
from pair import KIB

KEEPALIVE = "keepalive=1 s interval 1 s count 2"  # 3 s in all


class Keepalive(pair.Case):

    def over(self, wide, server, controller="", more=""):
        """A pair in the near network, with its clients and servers in the far one."""
        link = f"unix://{self.folder}/link.sock"
        prefix = wide.near.prefix
        segment = self.segment(f"[Cloudbus]\nbind={link}\n[Orders]\nserver={server}\n{more}\n", prefix=prefix)
        port = pair.free_port()
        controller = self.controller(f"[Orders]\nbind=tcp://{wide.near.address}:{port}\nserver={link}\n{controller}\n",
                                     prefix=prefix)
        controller.wait_link()
        self.near = [controller, segment]
        return controller, f"tcp://{wide.near.address}:{port}"

    def end(self, controller):
        """While their network is there."""
        controller.wait_conversation()
        for daemon in self.near:
            daemon.stop()

    def vanished(self, says):
        """A client that has said something, or is being sent to, and then its network swallows all."""
        with wide_area.WideArea(delay_ms=1) as wide:
            backend = self.backend(says)
            unix = self.backend(says, "unix")
            backend.close()
            controller, url = self.over(wide, unix.url, KEEPALIVE)
            with wide.far.inside():
                client = pair.connect(url)
            client.send(b"x")
            self.assertEqual(client.read_exact(1), b"x")
            start = time.monotonic()
            os.kill(wide.link.pid, signal.SIGSTOP)
            controller.wait_conversation(end="client-reset")
            took = time.monotonic() - start
            os.kill(wide.link.pid, signal.SIGCONT)
            self.assertGreater(took, 1.5)
            self.assertLess(took, 20 * pair.PATIENCE)
            client.close()
            self.end(controller)

    def test_an_idle_client_that_vanishes_is_found(self):
        self.vanished(lambda peer: (peer.send(peer.read_exact(1)), peer.read_to_end())[1])

    def test_a_client_that_vanishes_before_it_has_acknowledged_is_found(self):
        def flood(peer):
            peer.send(peer.read_exact(1))
            while True:
                time.sleep(0.05)
                peer.send(bytes(KIB))
        self.vanished(flood)

    def test_a_client_that_does_not_read_for_longer_lives(self):
        with wide_area.WideArea(delay_ms=1) as wide:
            backend = self.backend(lambda peer: peer.send_pattern(8 << 20).finish().read_to_end(), "unix")
            controller, url = self.over(wide, backend.url, KEEPALIVE)
            with wide.far.inside():
                client = pair.connect(url, receive_buffer=4096)
            threading.Event().wait(8)  # more than twice what a peer that is gone has
            self.assertEqual(len(client.read_exact(8 << 20)), 8 << 20)
            client.close()
            self.end(controller)


if __name__ == "__main__":
    unittest.main()
