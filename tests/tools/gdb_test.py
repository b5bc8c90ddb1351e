# SPDX-License-Identifier: Apache-2.0
# timeout: 180
"""tests/tools/gdb.py: ids, a stream and a relay of a controller that stands at a breakpoint."""

import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import pair  # noqa: E402

COMMANDS = ("print *this", "print *(cloudbus::ClientRelay*)this", "print id_", "print (cloudbus::OwnerId)0x2000000000005",
            "print conversation_", "print *session()->find(this->stream_)")


class Printers(pair.Case):

    def setUp(self):
        super().setUp()
        pair.need("gdb")
        known = pair.run(["gdb", "-nx", "-batch", "-ex", "whatis (cloudbus::Relay*)0",
                          os.path.join(pair.BUILD, "controller")], check=False)
        if b"type = cloudbus::Relay *" not in known.stdout:
            raise unittest.SkipTest("the controller was built without -g, or with -g1")

    def test_ids_streams_and_relays(self):
        self.skip_invariants = True  # gdb ends the controller
        segment = self.segment(f"[Orders]\nbind=tcp://{pair.HOME}:0\nserver=builtin:echo\n")
        shown = pathlib.Path(self.folder, "shown")
        gdb = ["gdb", "-nx", "-batch", "-x", str(HERE / "gdb.py"), "-ex", f"set logging file {shown}",
               "-ex", "set logging redirect on", "-ex", "set breakpoint pending off",
               "-ex", "handle SIGPIPE nostop noprint", "-ex", "break cloudbus::Relay::read_ended", "-ex", "run",
               "-ex", "set logging enabled on"]
        for command in COMMANDS:
            gdb += ["-ex", command]
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={segment.address()}\n",
                                     prefix=[*gdb, "-ex", "kill", "--args"], wait=False)
        controller.expected_end = True
        controller.wait_log(lambda r: r.message == "listening", "listening")
        controller.wait_link()
        client = self.connect(controller.address())
        client.exchange(b"x" * 1000)
        client.finish()
        controller.wait_exit()
        lines = [line.partition(" = ")[2] for line in shown.read_text(encoding="utf-8").splitlines() if " = " in line]
        self.assertEqual(len(lines), len(COMMANDS), controller.output() + "\n".join(lines))
        relay, client_relay, number, leg, conversation, stream = lines
        self.assertRegex(conversation, r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        host, port = client.socket.getsockname()
        self.assertRegex(client_relay, rf"^ClientRelay {number} conversation={conversation} client={host}:{port} "
                                       r"peer=\d+ stream=1 stage=\w+ reading=Open writing=Open")
        self.assertTrue(relay.startswith(f"Relay {number} conversation="), relay)
        self.assertEqual(leg, "5 leg 2")
        self.assertRegex(stream, rf"^stream of {number} sent=1000/\d+ sending=Open receiving=Open accepted")


if __name__ == "__main__":
    unittest.main()
