# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
"""A controller that listens at what its own segment has for a server: each client would make another one for ever."""

import time
import unittest

import pair


class Loops(pair.Case):

    def looped(self, bind, server=None, client=None):
        """A pair in which the segment's server is the controller's bind."""
        segment = self.segment(f"[Cloudbus]\nbind=tcp://127.0.0.1:0\n[Orders]\nserver={server or bind}\n")
        link = segment.listening()[0].fields["address"]
        controller = self.controller(f"[Orders]\nbind={bind}\nserver={link}\n")
        controller.wait_link()
        self.links(controller, segment)
        start = time.monotonic()
        with self.connect(client or server or bind) as user:
            end = "fin" if bind.startswith("unix:") else "reset"
            self.assertEqual(user.read_to_end()[:2], (end, 0))
        self.assertLess(time.monotonic() - start, 2 * pair.PATIENCE)
        controller.wait_conversation(end="loop")
        told = segment.wait_log(lambda r: "leads back here" in r.message, "the segment's word")
        self.assertEqual((told.level, told.fields["asked_for"], told.fields["code"]), ("warning", "Orders", "loop"))
        # The client, and the connection that came back: no more.
        self.assertLessEqual(len(controller.find(lambda r: "end" in r.fields and "id" in r.fields)), 2)
        return told

    def test_over_tcp(self):
        told = self.looped(f"tcp://127.0.0.1:{pair.free_port()}")
        self.assertEqual(told.fields["dialled_for"], "Orders")

    def test_over_a_bind_to_all_addresses(self):
        port = pair.free_port()
        self.looped(f"tcp://[::]:{port}", f"tcp://[::1]:{port}")

    def test_over_a_unix_socket(self):
        self.looped(f"unix://{self.folder}/loop.sock")

    def test_a_name_that_leads_back(self):
        port = pair.free_port()
        self.looped(f"tcp://127.0.0.1:{port}", f"tcp://localhost:{port}", f"tcp://127.0.0.1:{port}")

    def test_other_clients_of_the_same_host_are_none(self):
        both = self.pair(self.backend(pair.echo).url)
        for _ in range(200):
            with both.connect() as client:
                self.assertEqual(client.exchange(b"x"), b"x")


if __name__ == "__main__":
    unittest.main()
