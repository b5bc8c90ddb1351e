# SPDX-License-Identifier: Apache-2.0
"""Configuration files, flags and what the programs say about them."""

import contextlib
import os
import re
import socket
import subprocess
import unittest

import pair

GOOD = {
    "controller": "[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://127.0.0.1:9\n",
    "segment": "[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://127.0.0.1:9\n",
}
ROLES = tuple(GOOD)


class Config(pair.Case):

    def write(self, text, name="test.ini"):
        path = f"{self.folder}/{name}"
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        return path

    def program(self, role, *arguments):
        return subprocess.run([os.path.join(pair.BUILD, role), *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=pair.DEADLINE * pair.PATIENCE,
                              check=False, cwd=self.folder, encoding="utf-8", errors="backslashreplace")

    def errors(self, role, text):
        """{line: message} of the errors in a file; it must be refused with -t and without, in the same words."""
        path = self.write(text)
        checked = self.program(role, "-f", path, "-t")
        started = self.program(role, "-f", path)
        self.assertEqual((checked.returncode, started.returncode), (1, os.EX_CONFIG), checked.stderr + started.stderr)
        found = {}
        for result in (checked, started):
            lines = [re.match(re.escape(path) + r":(\d+): (.+)", line) for line in result.stderr.splitlines()]
            found[result is checked] = {int(match.group(1)): match.group(2) for match in lines if match}
        self.assertEqual(found[True], found[False])
        return found[True]

    def accepted(self, role, text):
        path = self.write(text)
        result = self.program(role, "-f", path, "-t")
        self.assertEqual(result.returncode, 0, result.stderr + result.stdout)
        self.assertIn("ok", (result.stdout + result.stderr).lower())
        return path

    # -- errors

    def test_all_errors_are_reported_in_one_run_with_their_lines(self):
        text = """[Cloudbus]
threads=65
log_level=loud
log_format=xml
drain_timeout=soon
memory=1K
socket_mode=999
colour=blue

[Orders]
bind=tcp://127.0.0.1:70000
bind=tcp://host.example:80
bind=http://127.0.0.1:80
bind=tcp://127.0.0.1:0
server=tcp://127.0.0.1:9
mode=simplex
balance=fair
connect_timeout=-1
idle_timeout=1 fortnight
half_close_timeout=x
socket_mode=abc
frobnicate=yes
a line without an equals sign
"""
        for role in ROLES:
            with self.subTest(role):
                found = self.errors(role, text)
                wrong = set(range(2, 9)) | {11, 12, 13} | set(range(16, 24))
                self.assertEqual(set(found), wrong, found)

    def test_each_error_names_what_is_wrong_and_what_is_allowed(self):
        service = "[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://127.0.0.1:9\n"
        cases = (
            ("[Cloudbus]\nthreads=0\n" + service, 2, ("threads", "64", "auto")),
            ("[Cloudbus]\nlog_level=loud\n" + service, 2, ("loud", "debug", "warning")),
            ("[Cloudbus]\nlog_format=xml\n" + service, 2, ("xml", "text", "json")),
            ("[Cloudbus]\nmemory=15M\n" + service, 2, ("16M",)),
            (service + "socket_mode=0888\n", 4, ("0888", "octal")),
            (service + "colour=blue\n", 4, ("colour", "bind", "server", "connect_timeout")),
            (service + "mode=simplex\n", 4, ("simplex", "half duplex", "full duplex", "balance")),
            (service + "balance=fair\n", 4, ("fair", "round robin", "least connections", "random", "hash", "first")),
            (service + "server=unix:@two\nserver=tcp://127.0.0.1:9\n", 5, ("server", "3", "once")),
            (service + "server=unix:@two\nbackend=tcp://127.0.0.1:x\n", 5, ("port",)),
            ("[Orders]\nbind=tcp://127.0.0.1:99999\nserver=tcp://127.0.0.1:9\n", 2, ("port", "65535")),
            ("[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://127.0.0.1:0\n", 3, ("port",)),
            ("[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://-_.example..:9\n", 3, ("dots",)),
            ("[Orders]\nbind=tcp://name.example:9\nserver=tcp://127.0.0.1:9\n", 2, ("name.example", "numeric")),
            ("[Orders]\nbind=tcp://127.0.0.1:0\nserver=srv:\n", 3, ("srv:_orders._tcp.example",)),
            ("[Orders]\nbind=tcp://127.0.0.1:0\nserver=urn:orders\n", 3, ("urn:bus:orders",)),
            (service + "refresh=never\n", 4, ("never", "lazy", "immediate")),
            ("[Orders]\nbind=tcp://[::1:0\nserver=tcp://127.0.0.1:9\n", 2, ("tcp://[::1]:80",)),
            ("[Orders]\nbind=tcp://::1:80\nserver=tcp://127.0.0.1:9\n", 2, ("brackets", "tcp://[::1]:80")),
            ("[Orders]\nbind=unix:relative.sock\nserver=tcp://127.0.0.1:9\n", 2, ("absolute", "unix:///run/app.sock")),
            (f"[Orders]\nbind=unix:///{'x' * 120}\nserver=tcp://127.0.0.1:9\n", 2, ("107",)),
            ("[Orders]\nbind=builtin:echo\nserver=tcp://127.0.0.1:9\n", 2, ("builtin",)),
            ("[Orders]\nbind=\nserver=tcp://127.0.0.1:9\n", 2, ("bind",)),
            ("bind=tcp://127.0.0.1:0\n" + service, 1, ("section",)),
            ("[Broken\n" + service, 1, ("]",)),
            (service + "connect_timeout=1 s\nconnect_timeout=2 s\n", 5, ("connect_timeout", "4")),
            (service + "\n[Other]\nbind=unix:@same\nserver=tcp://127.0.0.1:9\n\n[Third]\nbind=unix:@same\n"
             "server=tcp://127.0.0.1:9\n", 10, ("unix:@same", "6")),
            (service + "\n[Orders]\nbind=unix:@x\nserver=tcp://127.0.0.1:9\n", 5, ("Orders", "1")),
        )
        for role in ROLES:
            for text, line, words in cases:
                with self.subTest(role=role, text=text):
                    found = self.errors(role, text)
                    self.assertEqual(list(found), [line], found)
                    for word in words:
                        self.assertIn(word, found[line])

    def test_missing_server_and_bind_are_errors_of_the_section(self):
        for role in ROLES:
            with self.subTest(role):
                self.assertEqual(list(self.errors(role, "\n[Orders]\nbind=tcp://127.0.0.1:0\n")), [2])
                self.assertEqual(list(self.errors(role, "\n[Orders]\nserver=tcp://127.0.0.1:9\n")), [2])

    def test_keys_of_the_other_role_are_errors(self):
        for key in ("service=Other", "links=2", "fanout=1", "quorum=1", "lag_limit=1M", "mode=publish"):
            self.assertEqual(list(self.errors("segment", GOOD["segment"] + key + "\n")), [4])
        self.assertEqual(list(self.errors("controller", "[Cloudbus]\nbind=tcp://127.0.0.1:0\n" + GOOD["controller"])),
                         [2])
        self.assertEqual(list(self.errors("controller", "[O]\nbind=tcp://127.0.0.1:0\nserver=builtin:echo\n")), [3])

    def test_modes_and_limits_that_do_not_fit_the_servers_are_errors_at_their_lines(self):
        three = "server=tcp://127.0.0.1:10\nserver=unix:@three\n"
        for lines, wrong in (("fanout=4\nquorum=4\n", {4: "1 to 3, or all", 5: "1 to 3"}),
                             ("fanout=2\nquorum=3\n", {5: "1 to 2"}),
                             ("fanout=0\nquorum=x\nlag_limit=1K\n", {4: "or all", 5: "1 to", 6: "64K to 1G"}),
                             ("mode=balance\nfanout=2\nquorum=2\n", {5: "allowed is 1", 6: "allowed is 1"})):
            with self.subTest(lines):
                found = self.errors("controller", GOOD["controller"] + lines + three)
                self.assertEqual(list(found), list(wrong), found)
                for line, text in wrong.items():
                    self.assertIn(text, found[line])
        for key in ("fanout=2", "quorum=2"):
            self.assertEqual(list(self.errors("controller", GOOD["controller"] + key + "\n")), [4])
        for mode in ("half duplex", "full duplex", "publish"):
            found = self.errors("segment", GOOD["segment"] + f"mode={mode}\n" + three)
            self.assertEqual(list(found), [4])
            self.assertIn("controller", found[4])

    def test_keys_of_later_versions_are_not_accepted(self):
        for key in ("max_clients=1", "bandwidth=1M", "tls=on", "proxy_protocol=send"):
            with self.subTest(key):
                self.assertEqual(list(self.errors("controller", GOOD["controller"] + key + "\n")), [4])

    def test_line_that_is_too_long_is_an_error(self):
        for length in (4097, 20000, 200000):
            with self.subTest(length):
                self.assertIn(4, self.errors("segment", GOOD["segment"] + "idle_timeout=" + "1" * length + "\n"))

    def test_long_section_names_are_told_apart_or_refused(self):
        for length in (40, 60, 120, 300):
            one, two = "n" * length + "1", "n" * length + "2"
            path = self.write(f"[{one}]\nbind=unix:@1\nserver=builtin:echo\n[{two}]\nbind=unix:@2\nserver=builtin:echo\n")
            result = self.program("segment", "-f", path, "-T")
            if result.returncode == 0:
                self.assertIn(f"[{one}]", result.stdout)
                self.assertIn(f"[{two}]", result.stdout)
            else:
                self.assertIn(f"{path}:1:", result.stderr)

    def test_null_and_control_bytes_are_no_crash(self):
        for text in ("\0\0\0", "[Orders]\nbind=tcp://127.0.0.1:0\0\n", "[\x01\x02]\n\x7f=\n", "=\n", "[]\n", "]\n", "\n=x",
                     "[Orders]\nserver\n"):
            with self.subTest(text):
                result = self.program("segment", "-f", self.write(text), "-t")
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn("test.ini", result.stderr)

    def test_missing_file_is_an_error(self):
        for role in ROLES:
            for more, code in (((), os.EX_CONFIG), (("-t",), 1), (("-T",), 1)):
                result = self.program(role, "-f", f"{self.folder}/absent.ini", *more)
                self.assertEqual(result.returncode, code)
            self.assertIn(f"{self.folder}/absent.ini: cannot read", result.stderr)

    def test_folder_as_a_file_is_an_error(self):
        result = self.program("segment", "-f", self.folder)
        self.assertEqual(result.returncode, os.EX_CONFIG)
        self.assertIn(self.folder, result.stderr)

    def test_empty_file_is_an_error(self):
        for role in ROLES:
            self.assertEqual(self.program(role, "-f", self.write(""), "-t").returncode, 1)

    # -- what is accepted

    def test_file_of_the_original_runs_unchanged(self):
        server = self.backend(pair.echo)
        host, port = pair.host_and_port(server.url)
        link = f"{self.folder}/link.sock"
        segment = self.segment(f"[Cloudbus]\n\n[Orders]\nbind=unix://{link}\nserver=tcp://{host}:{port}\n"
                               "mode=full duplex\n")
        controller = self.controller(f"[Cloudbus]\n\n[Orders]\nbind=tcp://127.0.0.1:0\nserver=unix://{link}\n"
                                     "mode=half duplex\n")
        controller.wait_link()
        self.links(controller, segment)
        controller.base = controller.descriptors() - 1
        with self.connect(controller.address()) as client:
            self.assertEqual(client.exchange(b"hello"), b"hello")

    def test_words_and_keys_are_read_without_regard_to_case_and_spaces(self):
        for text in ("[CLOUDBUS]\nLog_Level = INFO\n; a comment\n# another\n[Orders]\nBIND = tcp://127.0.0.1:0\n"
                     "Backend = tcp://127.0.0.1:9\nMode = Half-Duplex\n",
                     "[cloudbus]\r\nthreads=AUTO\r\n[Orders]\r\nbind=tcp://[::1]:0\r\nserver=unix:/run/x\r\n"
                     "mode=full_duplex\r\n",
                     "\ufeff[Orders]\nbind=unix:@name\nserver=unix:@other\nconnect_timeout=300 ms\nidle_timeout=2h\n"
                     "half_close_timeout=5 min\nsocket_mode=0600\n",
                     "[Cloudbus]\nmemory=1G\ndrain_timeout=3\nlog_format=JSON\npid_file=/run/x.pid\n"
                     "[Orders]\nbind=tcp://127.0.0.1:0\nserver=tcp://[::1]:9 ; comment\n"):
            for role in ROLES:
                with self.subTest(role=role, text=text):
                    self.accepted(role, text)

    def test_effective_configuration_can_be_read_back_and_says_the_same(self):
        text = ("[Cloudbus]\nthreads=2\nmemory=64M\n[Orders]\nbind=tcp://127.0.0.1:8080\nbind=unix:@x\n"
                "server=tcp://[::1]:9\nconnect_timeout=300 ms\nidle_timeout=1 h\n")
        for role in ROLES:
            with self.subTest(role):
                first = self.program(role, "-f", self.write(text), "-T")
                self.assertEqual(first.returncode, 0, first.stderr)
                for word in ("bind=tcp://127.0.0.1:8080", "bind=unix:@x", "server=tcp://[::1]:9", "half_close_timeout",
                             "drain_timeout"):
                    self.assertIn(word, first.stdout.replace(" = ", "="))
                second = self.program(role, "-f", self.write(first.stdout, "second.ini"), "-T")
                self.assertEqual(second.returncode, 0, second.stderr)
                self.assertEqual(second.stdout, first.stdout)

    def test_several_servers_have_the_mode_of_their_role(self):
        more = "server=unix:@two\nserver=unix:@three\n"
        for role, lines, effective in (
                ("controller", "",
                 ("mode=half duplex", "balance=round robin", "fanout=all", "quorum=1", "lag_limit=16M")),
                ("controller", more,
                 ("mode=half duplex", "balance=round robin", "fanout=all", "quorum=1", "lag_limit=16M")),
                ("controller", more + "mode=Full-Duplex\nfanout=2\nbalance=hash\nquorum=2\nlag limit=1m\n",
                 ("mode=full duplex", "balance=hash", "fanout=2", "quorum=2", "lag_limit=1M")),
                ("controller", "mode=publish\n",
                 ("mode=publish", "balance=round robin", "fanout=all", "quorum=1", "lag_limit=16M")),
                ("controller", more + "mode=balance\n", ("mode=balance", "balance=round robin")),
                ("segment", "mode=half duplex\n", ("mode=half duplex", "balance=round robin")),
                ("segment", more + "balance=Least_Connections\n", ("mode=balance", "balance=least connections"))):
            with self.subTest(role=role, lines=lines):
                first = self.program(role, "-f", self.write(GOOD[role] + lines), "-T")
                self.assertEqual(first.returncode, 0, first.stderr)
                keys = ("mode", "balance", "fanout", "quorum", "lag_limit")
                found = tuple(line for line in first.stdout.splitlines() if line.split("=")[0] in keys)
                self.assertEqual(found, effective)
                self.assertEqual(first.stdout.count("server="), 1 + lines.count("server="))
                second = self.program(role, "-f", self.write(first.stdout, "second.ini"), "-T")
                self.assertEqual(second.stdout, first.stdout, second.stderr)

    # -- flags

    def test_help_and_version(self):
        for role in ROLES:
            text = self.program(role, "-h")
            self.assertEqual((text.returncode, text.stderr), (0, ""))
            self.assertEqual(self.program(role, "--help").stdout, text.stdout)
            for flag in ("-f, --file", "-t, --check", "-T, --print", "-l, --log-level", "-p, --pid-file",
                         "-v, --verbose", "-V, --version", "-h, --help"):
                self.assertIn(flag, text.stdout)
            version = self.program(role, "-V")
            self.assertEqual((version.returncode, version.stderr), (0, ""))
            self.assertRegex(version.stdout, role + r".*\d+\.\d+")

    def test_bad_usage_exits_78_with_a_message(self):
        good = self.write(GOOD["segment"])
        for arguments in (["-x"], ["-f"], ["-f", good, "-l", "loud"], ["-f", good, "extra"], ["-t", "-f", good, "more"]):
            with self.subTest(arguments):
                result = self.program("segment", *arguments)
                self.assertEqual(result.returncode, os.EX_CONFIG)
                self.assertTrue(result.stderr)

    def test_check_starts_nothing(self):
        path = f"{self.folder}/s.sock"
        self.accepted("segment", f"[Cloudbus]\npid_file={self.folder}/pid\n[Orders]\nbind=unix://{path}\n"
                                 "server=builtin:echo\n")
        self.assertFalse(os.path.exists(path) or os.path.exists(f"{self.folder}/pid"))

    def test_pid_file_is_written_and_removed(self):
        path = f"{self.folder}/pid"
        for name, text, args in (("key", f"[Cloudbus]\npid_file={path}\n", ()), ("flag", "", ("-p", path)),
                                 ("both", "[Cloudbus]\npid_file=/nonexistent/pid\n", ("-p", path))):
            with self.subTest(name):
                daemon = self.segment(text + GOOD["segment"], name=name, args=args)
                with open(path, encoding="ascii") as file:
                    self.assertEqual(int(file.read()), daemon.pid)
                daemon.stop()
                self.assertFalse(os.path.exists(path))

    def test_pid_file_that_cannot_be_written_is_an_error(self):
        daemon = self.segment("[Cloudbus]\npid_file=/nonexistent/pid\n" + GOOD["segment"], wait=False)
        self.assertEqual(daemon.wait_exit(), os.EX_TEMPFAIL)
        self.assertIn("/nonexistent/pid", daemon.output())

    def test_pid_file_that_is_a_pipe_is_an_error_and_nothing_to_wait_for(self):
        path = f"{self.folder}/pid"
        os.mkfifo(path)
        daemon = self.segment(f"[Cloudbus]\npid_file={path}\n" + GOOD["segment"], wait=False)
        self.assertEqual(daemon.wait_exit(), os.EX_TEMPFAIL)
        running = self.segment("[Cloudbus]\n" + GOOD["segment"], name="running")
        running.reload(f"[Cloudbus]\npid_file={path}\n" + GOOD["segment"], refused=True)

    def test_readiness_is_told_to_the_service_manager(self):
        path = f"{self.folder}/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(pair.DEADLINE * pair.PATIENCE)
            daemon = pair.Daemon("segment", GOOD["segment"], self.folder)
            daemon._environment = lambda: dict(os.environ, NOTIFY_SOCKET=path)  # pylint: disable=protected-access
            self.daemons.append(daemon)
            daemon.start()
            self.assertIn(b"READY=1", manager.recv(4096))
            daemon.stop()
            self.assertIn(b"STOPPING=1", manager.recv(4096))

    def test_service_manager_that_does_not_read_stops_nobody(self):
        path = f"{self.folder}/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            manager.bind(path)
            manager.settimeout(pair.DEADLINE * pair.PATIENCE)
            other.setblocking(False)
            waiting = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    other.sendto(b"x", path)
                    waiting += 1
            daemon = self.segment(GOOD["segment"], env={"NOTIFY_SOCKET": path})
            daemon.reload()
            self.assertEqual([manager.recv(4096) for _ in range(waiting)], [b"x"] * waiting)
            for message in (b"READY=1", b"RELOADING=1", b"READY=1"):
                self.assertTrue(manager.recv(4096).startswith(message))


if __name__ == "__main__":
    unittest.main()
