# SPDX-License-Identifier: Apache-2.0
"""Clients, links and backends over TCP with IPv4 and IPv6, Unix sockets by path and abstract ones."""

import grp
import os
import pwd
import socket
import stat
import threading
import unittest

import pair
import wire
from pair import KINDS, KIB, MIB, PATTERN, scaled


class Matrix(pair.Case):
    """Every kind of client over every kind of link to every kind of backend."""

    def cross(self, link, backend):
        """A service with a bind of each kind; an echo with a half-close at its end through each."""
        size = scaled(4 * MIB)
        server = self.backend(pair.echo, backend)
        more = "".join(f"bind={pair.bind_text(kind, self.folder, 'client')}\n" for kind in KINDS[1:])
        both = self.pair(server.url, KINDS[0], link, controller=more)
        expected = pair.Ending("fin", size, PATTERN.sha256(size))
        for number, kind in enumerate(KINDS):
            with self.subTest(client=kind, link=link, backend=backend):
                with self.connect(both.controller.address(both.service, number)) as peer:
                    sender = threading.Thread(target=lambda p=peer: p.send_pattern(size).finish())
                    sender.start()
                    self.assertEqual(peer.read_to_end(), expected)
                    sender.join()
        for daemon in both.both:
            daemon.wait_conversation(end="client-fin/server-fin", up=str(size), down=str(size), count=len(KINDS))


def _matrix():
    for link in KINDS:
        for backend in KINDS:
            def test(self, kinds=(link, backend)):
                self.cross(*kinds)
            setattr(Matrix, f"test_any_client_link_{link}_backend_{backend}", test)


_matrix()


class SocketFiles(pair.Case):

    def mode(self, path):
        return stat.S_IMODE(os.stat(path).st_mode)

    def start(self, path, more="", **options):
        return self.segment(f"[Files]\nbind=unix://{path}\nserver=builtin:echo\n{more}\n", **options)

    def refused(self, path):
        """Starts a daemon that cannot bind, and returns what it says."""
        daemon = self.start(path, wait=False, name="second")
        self.assertEqual(daemon.wait_exit(), os.EX_TEMPFAIL)
        return daemon.output()

    def test_socket_file_has_mode_0660_by_default(self):
        path = f"{self.folder}/s.sock"
        self.start(path)
        self.assertEqual(self.mode(path), 0o660)

    def test_socket_mode_of_a_service_beats_that_of_the_daemon(self):
        one, two = f"{self.folder}/1.sock", f"{self.folder}/2.sock"
        self.segment(f"[Cloudbus]\nsocket_mode=0600\n[One]\nbind=unix://{one}\nserver=builtin:echo\n"
                     f"[Two]\nbind=unix://{two}\nserver=builtin:echo\nsocket_mode=0666\n")
        self.assertEqual((self.mode(one), self.mode(two)), (0o600, 0o666))

    @unittest.skipUnless(os.geteuid() == 0, "only root may give a file to any group")
    def test_socket_group_of_a_service_beats_that_of_the_daemon(self):
        one, two = f"{self.folder}/1.sock", f"{self.folder}/2.sock"
        name = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
        text = (f"[Cloudbus]\nsocket_group={name}\n[One]\nbind=unix://{one}\nserver=builtin:echo\n"
                f"[Two]\nbind=unix://{two}\nserver=builtin:echo\nsocket_group=54321\nsocket_mode=0620\n")
        daemon = self.segment(text)
        self.assertEqual((grp.getgrgid(os.stat(one).st_gid).gr_name, os.stat(two).st_gid), (name, 54321))
        self.assertEqual((self.mode(one), self.mode(two)), (0o660, 0o620))
        daemon.reload(text.replace("54321", "54322").replace(f"socket_group={name}\n", ""))
        self.assertEqual((os.stat(one).st_gid, os.stat(two).st_gid), (os.getegid(), 54322))
        self.assertEqual((self.mode(one), self.mode(two)), (0o660, 0o620))

    def test_socket_group_that_the_host_does_not_know_is_no_mistake_of_the_file(self):
        path = f"{self.folder}/s.sock"
        text = f"[Files]\nbind=unix://{path}\nbind=tcp://127.0.0.1:0\nserver=builtin:echo\n"
        daemon = self.segment(text + "socket_group=no such group\n")
        warning = daemon.wait_log(lambda r: r.level == "warning", "the warning")
        self.assertIn('no group "no such group"', warning.fields["error"])
        self.assertFalse(os.path.exists(path))
        daemon.base += 1
        daemon.reload(text)
        daemon.wait_log(lambda r: r.message == "listening" and path in r.line, "the socket")
        daemon.base = daemon._base()  # pylint: disable=protected-access

    @unittest.skipUnless(os.geteuid() == 0, "root starts the daemon as somebody else")
    def test_socket_group_of_which_the_daemon_is_no_member_is_told(self):
        folder = f"{self.folder}/shared"
        os.mkdir(folder)
        os.chmod(folder, 0o777)
        os.chmod(self.folder, 0o777)
        user = pwd.getpwnam("nobody")
        member = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--groups=54321", "--pdeathsig=KILL",
                  "--bounding-set=-all", "--inh-caps=-all"]
        text = f"[Files]\nbind=unix://{folder}/s.sock\nserver=builtin:echo\nsocket_group="
        daemon = self.segment(text + "54321\n", prefix=member)
        self.assertEqual(os.stat(f"{folder}/s.sock").st_gid, 54321)
        self.assertEqual(self.mode(f"{folder}/s.sock"), 0o660)
        mark = daemon.mark()
        daemon.reload(text + "54322\n")
        warning = daemon.wait_log(lambda r: r.level == "warning", "the warning", mark)
        self.assertIn("member", warning.fields["error"])
        self.assertEqual(os.stat(f"{folder}/s.sock").st_gid, 54321)
        daemon.stop()
        other = self.segment(text + "54322\n", prefix=member, wait=False, name="other")
        self.assertEqual(other.wait_exit(), os.EX_TEMPFAIL)
        self.assertIn("member", other.output())
        self.assertFalse(os.path.exists(f"{folder}/s.sock"))

    def test_socket_mode_does_not_depend_on_the_umask(self):
        path = f"{self.folder}/s.sock"
        old = os.umask(0o177)
        try:
            self.start(path, "socket_mode=0666")
        finally:
            os.umask(old)
        self.assertEqual(self.mode(path), 0o666)

    def test_socket_file_is_removed_at_exit(self):
        path = f"{self.folder}/s.sock"
        daemon = self.start(path)
        self.assertTrue(os.path.exists(path))
        daemon.stop()
        self.assertFalse(os.path.exists(path))

    def test_socket_file_that_somebody_replaced_is_not_removed_at_exit(self):
        path = f"{self.folder}/s.sock"
        daemon = self.start(path)
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            daemon.stop()
            self.assertTrue(os.path.exists(path))

    def test_stale_socket_file_of_a_killed_daemon_is_replaced(self):
        path = f"{self.folder}/s.sock"
        self.start(path).kill()
        self.assertTrue(os.path.exists(path))
        self.start(path, name="second")
        self.keep(wire.RawPeer.dial(f"unix://{path}")).open(1)

    def test_live_socket_is_refused_and_left_alone(self):
        path = f"{self.folder}/s.sock"
        first = self.start(path)
        output = self.refused(path)
        self.assertIn(path, output)
        self.assertRegex(output, "(?i)in use")
        self.assertTrue(first.alive)
        self.keep(wire.RawPeer.dial(f"unix://{path}")).open(1)

    def test_live_socket_with_a_full_backlog_is_refused_and_left_alone(self):
        busy = pair.Swallowing("unix", self.folder)
        self.keep(busy)
        path = pair.socket_address(busy.url)[1]
        inode = os.stat(path).st_ino
        self.refused(path)
        self.assertEqual(os.stat(path).st_ino, inode)

    def test_regular_file_is_never_removed(self):
        path = f"{self.folder}/precious"
        with open(path, "w", encoding="ascii") as file:
            file.write("keep me")
        self.assertIn(path, self.refused(path))
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), "keep me")

    def test_folder_and_fifo_and_symbolic_link_are_never_removed(self):
        folder, fifo, link = (f"{self.folder}/{name}" for name in ("folder", "fifo", "link"))
        os.mkdir(folder)
        os.mkfifo(fifo)
        os.symlink("/nonexistent/target", link)
        for path in (folder, fifo, link):
            self.refused(path)
            self.assertTrue(os.path.lexists(path))

    def test_missing_folder_is_an_error_and_is_not_made(self):
        path = f"{self.folder}/absent/s.sock"
        self.assertIn(path, self.refused(path))
        self.assertFalse(os.path.exists(f"{self.folder}/absent"))

    def test_message_for_a_missing_folder_says_who_makes_it(self):
        self.assertIn(f"the folder {self.folder}/absent does not exist; make it first",
                      self.refused(f"{self.folder}/absent/s.sock"))

    @unittest.skipIf(os.path.exists("/run/cloudbus"), "somebody has made it")
    def test_message_for_run_cloudbus_names_systemd(self):
        self.assertIn("systemd makes it when it starts one of the two units", self.refused("/run/cloudbus/s.sock"))

    def test_port_in_use_is_an_error_with_file_and_line(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            daemon = self.segment(f"[Files]\nbind=tcp://127.0.0.1:{port}\nserver=builtin:echo\n", wait=False)
            self.assertEqual(daemon.wait_exit(), os.EX_TEMPFAIL)
            self.assertIn(f"127.0.0.1:{port}", daemon.output())

    def test_abstract_name_in_use_is_an_error(self):
        name = f"unix:@{os.path.basename(self.folder)}"
        first = self.segment(f"[Files]\nbind={name}\nserver=builtin:echo\n")
        second = self.segment(f"[Files]\nbind={name}\nserver=builtin:echo\n", wait=False, name="second")
        self.assertEqual(second.wait_exit(), os.EX_TEMPFAIL)
        self.assertIn(name, second.output())
        self.assertTrue(first.alive)


class Builtins(pair.Case):

    def test_echo_gives_back_everything_and_ends_after_the_client(self):
        size = scaled(16 * MIB)
        both = self.pair("builtin:echo")
        with both.connect() as client:
            self.assertEqual(client.exchange(b"hello"), b"hello")
            sender = threading.Thread(target=lambda: client.send_pattern(size).finish())
            sender.start()
            self.assertEqual(client.read_to_end(), pair.Ending("fin", size, PATTERN.sha256(size)))
            sender.join()
        for daemon in both.both:
            line = daemon.wait_conversation(end="client-fin/server-fin")
            self.assertEqual(line.fields["up"], str(size + 5))

    def test_echo_holds_back_a_client_that_does_not_read(self):
        both = self.pair("builtin:echo")
        client = both.connect()
        client.socket.setblocking(False)
        sent = 0
        block = bytes(64 * KIB)
        quiet = 0
        while quiet < 20 and sent < 256 * MIB:
            try:
                sent += client.socket.send(block)
                quiet = 0
            except BlockingIOError:
                quiet += 1
                pair.window(0.02)
        self.assertLess(sent, 64 * MIB, "the client is held back")

    def test_discard_takes_everything_and_says_nothing(self):
        size = scaled(64 * MIB)
        both = self.pair("builtin:discard")
        with both.connect() as client:
            client.send_pattern(size).finish()
            self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        for daemon in both.both:
            daemon.wait_conversation(end="client-fin/server-fin", up=str(size), down="0")

    def test_client_reset_ends_a_builtin_too(self):
        both = self.pair("builtin:echo")
        client = both.connect()
        client.exchange(b"hello")
        client.reset()
        for daemon in both.both:
            daemon.wait_conversation(end="client-reset")


class Binds(pair.Case):

    def test_service_with_all_kinds_of_binds_at_once(self):
        segment = self.segment("[Orders]\nserver=builtin:echo\n" + "".join(
            f"bind={pair.bind_text(kind, self.folder, 'link')}\n" for kind in KINDS))
        text = "".join(f"bind={pair.bind_text(kind, self.folder, 'client')}\n" for kind in KINDS)
        controller = self.controller(f"[Orders]\n{text}server={segment.address('Orders', 3)}\n")
        controller.wait_link()
        self.links(controller, segment)
        controller.base = controller.descriptors() - 1
        for number in range(4):
            with self.connect(controller.address("Orders", number)) as client:
                self.assertEqual(client.exchange(b"hello"), b"hello")

    def test_fourteen_services_have_fourteen_backends(self):
        backends = [self.backend(lambda peer, n=n: peer.send(b"%d\n" % n).finish().read_to_end() and None)
                    for n in range(14)]
        segment = self.segment("[Cloudbus]\nbind=tcp://127.0.0.1:0\n" + "".join(
            f"[S{n}]\nserver={backend.url}\n" for n, backend in enumerate(backends)))
        address = segment.listening()[0].fields["address"]
        controller = self.controller("".join(f"[S{n}]\nbind=tcp://127.0.0.1:0\nserver={address}\n"
                                             for n in range(14)))
        controller.wait_link()
        self.links(controller, segment)
        for n in range(14):
            with self.connect(controller.address(f"S{n}")) as client:
                self.assertEqual(client.read_line(), b"%d\n" % n)


if __name__ == "__main__":
    unittest.main()
