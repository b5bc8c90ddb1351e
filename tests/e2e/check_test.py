# SPDX-License-Identifier: Apache-2.0
"""What -t finds of the machine and the moment, and zones of link-local addresses."""

import itertools
import os
import re
import socket
import subprocess
import unittest
import unittest.mock

import pair
import wide_area

NUMBERS = itertools.count()


class Check(pair.Case):
    """Warnings of -t: the exit status stays 0."""

    def check(self, role, text, *arguments, user=None):
        """The warnings for a file, by line."""
        path = text if text.startswith("/") else f"{self.folder}/check{next(NUMBERS)}.ini"
        if path != text:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        command = [os.path.join(pair.BUILD, role), "-t", "-f", path, *arguments]
        if user:
            command = ["setpriv", f"--reuid={user}", f"--regid={pair.group_of(user)}", "--clear-groups", *command]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False, timeout=pair.DEADLINE * pair.PATIENCE, cwd=self.folder, encoding="utf-8")
        self.assertEqual((done.returncode, done.stdout), (0, f"{path}: ok\n"), done.stderr)
        found = {}
        for line in done.stderr.splitlines():
            match = re.fullmatch(re.escape(path) + r":(\d+:)? warning: (.*)", line)
            self.assertTrue(match, line)
            found[int((match[1] or "0:")[:-1])] = match[2]
        return found

    def segment_text(self, *binds, more=""):
        return f"[Cloudbus]\n{more}" + "".join(f"bind={bind}\n" for bind in binds) + "[Echo]\nserver=builtin:echo\n"

    def test_folders_and_files_in_the_way_are_warnings(self):
        plain = f"{self.folder}/plain"
        with open(plain, "w", encoding="ascii"):
            pass
        found = self.check("segment", self.segment_text(
            "unix:///nonexistent/a.sock", f"unix://{plain}", f"unix://{plain}/b.sock", f"unix://{self.folder}/good.sock",
            more="pid_file=/nonexistent/pid\n"))
        self.assertEqual(set(found), {0, 3, 4, 5}, found)
        self.assertIn("pid_file: the folder /nonexistent does not exist", found[0])
        self.assertIn("bind: unix:///nonexistent/a.sock: the folder /nonexistent does not exist", found[3])
        self.assertIn("a file at this path that is no socket", found[4])
        self.assertIn("is no folder", found[5])
        self.assertFalse(os.path.exists(f"{self.folder}/good.sock"))

    def test_folder_and_port_that_the_user_may_not_use_are_warnings(self):
        user = pair.unprivileged_user()
        if not user:
            self.skipTest("needs root, to be another user")
        os.chmod(self.folder, 0o755)
        text = self.segment_text(f"unix://{self.folder}/a.sock", "tcp://127.0.0.1:1")
        found = self.check("segment", text, user=user)
        self.assertIn("cannot make a file in the folder", found[2])
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            if int(file.read()) > 1:
                self.assertIn("no right to the port 1", found[3])
        self.assertEqual(self.check("segment", text), {})

    def test_address_that_is_not_here_is_a_warning(self):
        found = self.check("segment", self.segment_text("tcp://192.0.2.1:7900", "tcp://[fe80::1%nowhere0]:80"))
        self.assertIn("does not have the address", found[2])
        self.assertIn("there is no interface nowhere0", found[3])

    def test_address_that_another_process_has_is_a_warning(self):
        for kind in pair.KINDS:
            with self.subTest(kind):
                other = self.backend(pair.echo, kind)
                found = self.check("segment", self.segment_text(other.url))
                self.assertIn(f"bind: {other.url}: the address is in use", found[2])
                other.close()

    def test_address_of_the_daemon_of_this_file_is_no_warning(self):
        port = pair.free_port()
        binds = (f"tcp://{pair.HOME}:{port}", "tcp://[::1]:0", f"unix://{self.folder}/x.sock",
                 f"unix:@{os.path.basename(self.folder)}-x")
        daemon = self.segment(self.segment_text(*binds), name="mine")
        self.assertEqual(self.check("segment", daemon.file), {})
        # The daemon's file is known from its command line, wherever that is relative to.
        os.symlink(daemon.file, f"{self.folder}/link.ini")
        self.assertEqual(self.check("segment", f"{self.folder}/link.ini"), {})
        user = pair.unprivileged_user()
        if user:
            os.chmod(self.folder, 0o755)
            self.assertFalse([text for text in self.check("segment", daemon.file, user=user).values() if "in use" in text])

    def test_address_of_the_daemon_of_another_file_is_a_warning(self):
        port = pair.free_port()
        bind = f"tcp://{pair.HOME}:{port}"
        daemon = self.segment(self.segment_text(bind), name="mine")
        self.assertIn("in use", self.check("segment", self.segment_text(bind))[2])
        # Its pid file says that it may be this one after all.
        pid_file = f"{self.folder}/pid"
        with open(pid_file, "w", encoding="ascii") as file:
            file.write(f"{daemon.pid}\n")
        self.assertEqual(self.check("segment", self.segment_text(bind, more=f"pid_file={pid_file}\n")), {})
        self.assertIn("in use", self.check("controller", f"[A]\nbind={bind}\nserver=unix:@x\n", "-p", pid_file)[2])

    def test_new_address_that_a_stranger_has_is_a_warning_while_the_daemon_runs(self):
        port = pair.free_port()
        text = self.segment_text(f"tcp://{pair.HOME}:{port}")
        daemon = self.segment(text, name="mine")
        stranger = self.backend(pair.echo)
        with open(daemon.file, "w", encoding="utf-8") as file:
            file.write(text + f"bind={stranger.url}\n")
        self.assertEqual(list(self.check("segment", daemon.file)), [5])

    def test_nobody_is_connected_to(self):
        for kind in pair.KINDS:
            with self.subTest(kind):
                other = self.backend(pair.echo, kind)
                self.check("segment", self.segment_text(other.url))
                other.close()
                self.assertEqual(other.accepted, 0)


class Zones(pair.Case):
    """Link-local addresses, in a network namespace of the test's own."""

    def setUp(self):
        super().setUp()
        pair.need("ip")
        if os.geteuid() != 0:
            self.skipTest("network namespaces are root's")
        name = f"cloudbus-{os.getpid()}-{next(NUMBERS)}-near"
        try:
            self.network = wide_area.Namespace(name, "fe80::1%zone0")
        except OSError as error:
            self.skipTest(str(error))
        self.addCleanup(self.network.delete)

    def add_interface(self):
        for words in ("link add zone0 type veth peer name zone1", "link set lo up", "link set zone1 up",
                      "link set zone0 addrgenmode none", "link set zone0 up", "addr add fe80::1/64 dev zone0 nodad"):
            self.network.run(["ip", *words.split()])

    def exchange(self, url):
        """An echo; the client's port."""
        with self.network.inside(), self.with_zones(), pair.connect(url) as client:
            self.assertEqual(client.exchange(b"hello"), b"hello")
            name = client.socket.getsockname()
            return name[1] if isinstance(name, tuple) else 0

    @staticmethod
    def with_zones():
        """Python takes the number of a zone from the address only when it is resolved."""
        plain = pair.socket_address

        def resolved(url):
            family, address = plain(url)
            if "%" in url:
                address = socket.getaddrinfo(*address, family, socket.SOCK_STREAM)[0][4]
            return family, address
        return unittest.mock.patch.object(pair, "socket_address", resolved)

    def test_binds_and_servers_with_zones_are_served_and_named_in_the_log(self):
        self.add_interface()
        inside = {"prefix": self.network.prefix}
        segment = self.segment("[Cloudbus]\nbind=tcp://[fe80::1%zone0]:0\n[Echo]\nserver=builtin:echo\n", **inside)
        link = segment.address()
        self.assertRegex(link, r"^tcp://\[fe80::1%zone0\]:[1-9]\d*$")
        controller = self.controller(f"[Echo]\nbind=tcp://[fe80::1%zone0]:0\nserver={link}\n", **inside)
        controller.wait_link()
        self.links(controller, segment)
        port = self.exchange(controller.address())
        for daemon in (controller, segment):
            daemon.wait_log(lambda r: r.fields.get("client") == f"[fe80::1%zone0]:{port}" and "end" in r.fields, "its line")

    def test_interface_that_appears_later_is_used(self):
        inside = {"prefix": self.network.prefix}
        segment = self.segment("[Cloudbus]\nbind=unix:@zones\n[Echo]\nserver=tcp://[fe80::1%zone0]:7\n", **inside)
        controller = self.controller("[Echo]\nbind=unix:@clients\nserver=unix:@zones\n", **inside)
        controller.wait_link()
        controller.base = controller.descriptors() - 1
        self.links(controller, segment)
        with self.network.inside():
            client = pair.connect("unix:@clients")
        with client:
            self.assertEqual(client.read_rest(), b"")
        controller.wait_conversation(end="connect-failed")
        self.add_interface()
        with self.network.inside(), self.with_zones():
            self.keep(pair.Backend(pair.echo, url="tcp://[fe80::1%zone0]:7"))
        self.exchange("unix:@clients")

    def test_check_warns_of_a_missing_interface_until_it_is_there(self):
        path = f"{self.folder}/zones.ini"
        with open(path, "w", encoding="ascii") as file:
            file.write("[A]\nbind=tcp://[fe80::1%zone0]:80\nserver=tcp://[fe80::2%zone0]:80\n")
        argv = [os.path.join(pair.BUILD, "controller"), "-t", "-f", path]
        before = self.network.run(argv)
        self.assertEqual(re.findall(r":(\d): warning: .* there is no interface zone0", before.stderr.decode()), ["2", "3"])
        self.add_interface()
        self.assertEqual(self.network.run(argv).stderr, b"")


if __name__ == "__main__":
    unittest.main()
