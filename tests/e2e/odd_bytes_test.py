# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
"""Bytes that come in an odd way: urgent ones, and those that descriptors come with."""

import array
import os
import socket
import unittest

import pair


class Urgent(pair.Case):

    def test_an_urgent_byte_stays_among_the_others(self):
        for side in ("client", "server"):
            with self.subTest(side):
                def serve(peer, is_server=side == "server"):
                    if is_server:
                        self.say(peer)
                        return peer.finish().read_to_end() and None
                    return peer.read_to_end()
                backend = self.backend(serve)
                both = self.pair(backend.url)
                with both.connect() as client:
                    if side == "client":
                        self.say(client)
                        client.finish()
                        self.assertEqual(client.read_to_end()[0], "fin")
                        got = backend.outcome()
                        self.assertEqual(got[:2], ("fin", len(self.telnet)))
                    else:
                        self.assertEqual(client.read_exact(len(self.telnet)), self.telnet)

    telnet = b"hello\r\n\xff\xf2world"  # RFC 854, Synch: the urgent byte is the one before the data mark

    def say(self, peer):
        at = self.telnet.index(b"\xff")
        peer.socket.sendall(self.telnet[:at])
        peer.socket.send(self.telnet[at:at + 1], socket.MSG_OOB)
        peer.socket.sendall(self.telnet[at + 1:])


class Descriptors(pair.Case):

    def test_descriptors_are_closed_and_told_and_the_bytes_pass(self):
        backend = self.backend(pair.echo, "unix")
        both = self.pair(backend.url, client="unix")
        with both.connect() as client:
            passed, other = os.pipe()
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [passed]))]
            client.socket.sendmsg([b"here"], rights)
            os.close(passed)
            self.assertEqual(client.read_exact(4), b"here")
            told = both.controller.wait_log(lambda r: "descriptors came" in r.message, "the controller's word")
            self.assertEqual((told.level, told.fields["from"]), ("warning", "client"))
            with self.assertRaises(BrokenPipeError):  # nobody has the other end any more
                os.write(other, b"x")
            os.close(other)


if __name__ == "__main__":
    unittest.main()
