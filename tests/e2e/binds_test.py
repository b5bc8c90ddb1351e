# SPDX-License-Identifier: Apache-2.0
"""Addresses that cannot be had at the start: the others serve, and the late ones are taken when they can be had."""

import os
import shutil
import socket
import sys
import time
import unittest

import pair

ROLES = ("controller", "segment")


def is_late(record):
    return record.level == "warning" and record.message.startswith("cannot listen yet")


class Binds(pair.Case):

    def occupy(self, address=None):
        """A listener of somebody else, and its URL."""
        other = self.keep(socket.socket(socket.AF_INET))
        other.bind(address or (pair.HOME, 0))
        other.listen()
        return other, pair.url_of(other)

    def text(self, *binds, more=""):
        lines = "".join(f"[Service {number}]\nbind={bind}\nserver=tcp://{pair.HOME}:9\n{more}\n"
                        for number, bind in enumerate(binds))
        return "[Cloudbus]\n" + lines

    def wait_listening(self, daemon, url, count=1):
        daemon.wait_log(lambda r: r.message == "listening" and r.fields["address"] == url, f"{url}", count=count)

    def test_address_in_use_is_tried_again_while_the_others_serve(self):
        for role in ROLES:
            other, url = self.occupy()
            daemon = self.daemon(role, self.text("tcp://127.0.0.1:0", url))
            warning = daemon.wait_log(is_late, "the warning")
            self.assertEqual(warning.fields["address"], url)
            self.assertEqual(warning.fields["at"], f"{daemon.file}:7")
            self.assertIn("in use", warning.fields["error"])
            pair.connect(daemon.address("Service 0")).close()
            pair.window(0.4)  # several tries
            self.assertEqual(len(daemon.find(is_late)), 1)
            other.close()
            self.wait_listening(daemon, url)
            daemon.base += 1
            pair.connect(url).close()

    def test_first_tries_are_soon(self):
        other, url = self.occupy()
        daemon = self.segment(self.text("tcp://127.0.0.1:0", url))
        daemon.base += 1
        start = time.monotonic()
        other.close()
        self.wait_listening(daemon, url)
        self.assertLess(time.monotonic() - start, 2.0 * pair.PATIENCE)

    def test_socket_path_in_use_is_taken_over_when_it_is_free(self):
        path = f"{self.folder}/s.sock"
        first = self.segment(self.text(f"unix://{path}"), name="first")
        second = self.segment(self.text("tcp://127.0.0.1:0", f"unix://{path}"), name="second")
        second.base += 1
        second.wait_log(is_late, "the warning")
        first.stop()
        self.wait_listening(second, f"unix://{path}")
        self.assertTrue(os.path.exists(path))
        pair.connect(f"unix://{path}").close()

    def test_folder_that_is_made_later_is_used_then(self):
        folder = f"{self.folder}/late"
        daemon = self.segment(self.text("tcp://127.0.0.1:0", f"unix://{folder}/s.sock"))
        daemon.base += 1
        daemon.wait_log(is_late, "the warning")
        os.mkdir(folder)
        self.wait_listening(daemon, f"unix://{folder}/s.sock")

    def test_without_any_address_it_ends_with_75(self):
        for role in ROLES:
            _, url = self.occupy()
            daemon = self.daemon(role, self.text(url), wait=False)
            self.assertEqual(daemon.wait_exit(), os.EX_TEMPFAIL)
            self.assertIn(f"{daemon.file}:3: {url}: ", daemon.output())

    def test_it_is_ready_when_what_can_be_bound_is_bound(self):
        path = f"{self.folder}/notify"
        _, url = self.occupy()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(pair.DEADLINE * pair.PATIENCE)
            self.segment(self.text("tcp://127.0.0.1:0", url), env={"NOTIFY_SOCKET": path})
            self.assertEqual(manager.recv(4096), b"READY=1")

    def test_reload_with_an_address_in_use_is_refused(self):
        _, url = self.occupy()
        daemon = self.segment(self.text("unix:@" + os.path.basename(self.folder)))
        before = daemon.text
        daemon.reload(self.text("unix:@" + os.path.basename(self.folder), url), refused=True)
        daemon.reload(before)

    def test_reload_leaves_a_late_bind_and_takes_its_changes(self):
        path = f"{self.folder}/s.sock"
        first = self.segment(self.text(f"unix://{path}"), name="first")
        second = self.segment(self.text("tcp://127.0.0.1:0", f"unix://{path}"), name="second")
        second.wait_log(is_late, "the warning")
        second.reload(self.text("tcp://127.0.0.1:0", f"unix://{path}", more="socket_mode=0600"))
        second.base += 1
        first.stop()
        self.wait_listening(second, f"unix://{path}")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    def test_late_bind_that_a_reload_removes_is_not_tried_again(self):
        other, url = self.occupy()
        third = self.occupy()[0].getsockname()
        daemon = self.segment(self.text("tcp://127.0.0.1:0", url, "tcp://%s:%d" % third))
        daemon.wait_log(is_late, "the warnings", count=2)
        daemon.reload(self.text("tcp://127.0.0.1:0", "tcp://%s:%d" % third))
        other.close()
        self.open[-1].close()
        daemon.base += 1
        self.wait_listening(daemon, "tcp://%s:%d" % third)
        self.assertEqual([r.fields["address"] for r in daemon.listening() if r.fields["address"] == url], [])


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare") and shutil.which("ip"), "needs root and iproute2")
class AbsentAddresses(pair.Case):
    """In a network namespace of the daemon's own."""

    # As long as nothing is up there, any address may be bound.
    prefix = ("unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")

    def inside(self, daemon, *argv):
        return pair.run(["nsenter", f"--target={daemon.pid}", "--net", *argv])

    def test_address_that_the_host_does_not_have_yet_is_bound_with_a_warning(self):
        script = ("import socket, sys\n"
                  "with socket.create_connection((sys.argv[1], 7000), 10) as client:\n"
                  "    print(client.getpeername()[1])\n")
        for number, (address, bind) in enumerate((("192.0.2.1", "tcp://192.0.2.1:7000"),
                                                  ("2001:db8::1", "tcp://[2001:db8::1]:7000"))):
            daemon = self.segment(f"[Orders]\nbind={bind}\nserver=builtin:echo\n", name=f"segment{number}",
                                  prefix=self.prefix)
            warning = daemon.wait_log(lambda r: r.level == "warning", "the warning")
            self.assertEqual((warning.subject, warning.fields["address"]), ("Orders", bind))
            self.assertIn("does not have", warning.message)
            self.inside(daemon, "ip", "address", "add", address, "dev", "lo", *(["nodad"] if ":" in address else []))
            served = self.inside(daemon, sys.executable, "-c", script, address)
            self.assertEqual(served.stdout.strip(), b"7000")

    def test_reload_takes_such_an_address_too(self):
        daemon = self.segment("[Orders]\nbind=unix:@orders\nserver=builtin:echo\n", prefix=self.prefix)
        daemon.reload("[Orders]\nbind=unix:@orders\nbind=tcp://192.0.2.1:7000\nserver=builtin:echo\n")
        daemon.wait_log(lambda r: r.level == "warning" and "does not have" in r.message, "the warning")


if __name__ == "__main__":
    unittest.main()
