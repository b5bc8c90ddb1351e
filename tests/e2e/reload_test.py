# SPDX-License-Identifier: Apache-2.0
# sanitizers: yes
"""SIGHUP: the file is read again, and what is different is done; what is not touched does not notice."""

import os
import shutil
import signal
import socket
import unittest

import dns
import pair
from pair import HOME


def counts(record):
    return tuple(int(record.fields[key]) for key in ("added", "removed", "changed", "unchanged"))


def named(name):
    """A server that says its name first, then echoes."""
    def serve(peer):
        peer.send(name.encode() + b"\n")
        pair.echo(peer)
    return serve


def section(name, bind, *servers, **keys):
    lines = [f"[{name}]"]
    lines += [f"bind={bind}"] if bind else []
    lines += [f"server={server}" for server in servers]
    return "\n".join(lines + [f"{key}={value}" for key, value in keys.items()]) + "\n"


class Reload(pair.Case):

    @staticmethod
    def bind():
        return f"tcp://{HOME}:{pair.free_port()}"

    def site(self, *names, **keys):
        """A segment with a service for each name, at one bind; each server says the name of its service first."""
        text = "[Cloudbus]\nbind=tcp://127.0.0.1:0\ndrain_timeout=20 s\n"
        for name in names:
            text += section(name, None, self.backend(named(name)).url, **keys)
        segment = self.segment(text)
        return segment, segment.address()

    def greeting(self, url):
        with self.connect(url) as client:
            return client.read_line().decode().strip()

    def lasting(self, url, name):
        """A client that stays, and has been greeted."""
        client = self.connect(url)
        self.assertEqual(client.read_line().decode().strip(), name)
        return client

    def assert_going_on(self, client):
        self.assertEqual(client.exchange(b"still there"), b"still there")

    def refused(self, url):
        with self.assertRaises((ConnectionRefusedError, FileNotFoundError)):
            pair.connect(url).close()


class Services(Reload):

    def test_the_same_file_changes_nothing(self):
        segment, link = self.site("A", "B")
        a, b = self.bind(), self.bind()
        text = section("A", a, link) + section("B", b, link)
        controller = self.controller(text)
        self.links(controller, segment)
        client = self.lasting(a, "A")
        for daemon in (controller, segment):
            mark = daemon.mark()
            self.assertEqual(counts(daemon.reload()), (0, 0, 0, 2))
            self.assertEqual(counts(daemon.reload("; a comment\n\n" + daemon.text)), (0, 0, 0, 2))
            self.assertEqual([r.message for r in daemon.find(lambda r: True, mark)], ["reloaded", "reloaded"])
        self.assert_going_on(client)

    def test_services_come_and_go(self):
        segment, link = self.site("A", "B", "C")
        a, b, c = self.bind(), self.bind(), self.bind()
        controller = self.controller(section("A", a, link) + section("B", b, link))
        self.links(controller, segment)
        one, other = self.lasting(a, "A"), self.lasting(b, "B")
        record = controller.reload(section("A", a, link) + section("C", c, link))
        self.assertEqual(counts(record), (1, 1, 0, 1))
        self.assertEqual(self.greeting(c), "C")
        self.refused(b)
        self.assert_going_on(one)
        self.assert_going_on(other)
        other.finish()
        self.assertEqual(other.read_to_end().how, "fin")
        # It comes back.
        self.assertEqual(counts(controller.reload(section("A", a, link) + section("B", b, link))), (1, 1, 0, 1))
        self.assertEqual(self.greeting(b), "B")
        self.assert_going_on(one)

    def test_conversations_of_a_removed_service_have_as_long_as_a_drain(self):
        for role in ("controller", "segment"):
            with self.subTest(role=role):
                segment, link = self.site("A", "B")
                a, b = self.bind(), self.bind()
                controller = self.controller("[Cloudbus]\ndrain_timeout=20 s\n" + section("A", a, link) +
                                             section("B", b, link))
                self.links(controller, segment)
                one, other = self.lasting(a, "A"), self.lasting(b, "B")
                daemon = {"controller": controller, "segment": segment}[role]
                text = daemon.text.replace("drain_timeout=20 s", "drain_timeout=700 ms")
                daemon.reload(text[:text.index("[B]")])
                daemon.wait_log(lambda r: r.subject == "B" and "go on" in r.message, "what goes on")
                self.assert_going_on(other)
                self.assertEqual(other.read_to_end().how, "reset")
                self.assertEqual(daemon.wait_conversation().subject, "B")
                daemon.wait_conversation(end="drain-timeout")
                self.assert_going_on(one)

    def test_a_removed_service_of_a_segment_is_unknown_and_comes_back(self):
        segment, link = self.site("A", "B")
        a, b = self.bind(), self.bind()
        controller = self.controller(section("A", a, link) + section("B", b, link))
        self.links(controller, segment)
        text = segment.text
        segment.reload(text[:text.index("[B]")])
        self.assertEqual(self.refusal(b), ("reset", 0))
        controller.wait_conversation(end="unknown-service")
        self.assertEqual(self.greeting(a), "A")
        segment.reload(text)
        self.assertEqual(self.greeting(b), "B")

    def test_a_burst_of_signals_ends_with_the_last_file(self):
        segment, link = self.site("A", "B")
        a, b = self.bind(), self.bind()
        controller = self.controller(section("A", a, link))
        self.links(controller, segment)
        for _ in range(100):
            controller.signal(signal.SIGHUP)
        controller.reload(section("A", a, link) + section("B", b, link))
        pair.wait_for(lambda: controller.find(lambda r: r.message == "listening" and r.subject == "B"), "the new bind")
        self.assertEqual(self.greeting(b), "B")

    def test_a_daemon_that_drains_reads_no_file(self):
        segment, link = self.site("A")
        a = self.bind()
        controller = self.controller("[Cloudbus]\ndrain_timeout=20 s\n" + section("A", a, link))
        self.links(controller, segment)
        client = self.lasting(a, "A")
        controller.terminate()
        controller.wait_log(lambda r: r.message == "drains", "the drain")
        controller.signal(signal.SIGHUP)
        controller.wait_log(lambda r: "does not read its file again" in r.message, "the refusal")
        self.assert_going_on(client)
        client.finish()
        self.assertEqual(controller.wait_exit(), 0)


class Refused(Reload):

    def test_a_bad_file_changes_nothing_and_every_error_is_told(self):
        segment, link = self.site("A")
        a = self.bind()
        good = section("A", a, link)
        controller = self.controller(good)
        self.links(controller, segment)
        client = self.lasting(a, "A")
        mark = controller.mark()
        record = controller.reload("nonsense\n[A]\nsever=x\nbind=tcp://127.0.0.1:1\n", refused=True)
        errors = [r for r in controller.find(lambda r: r.level == "error", mark) if r is not record]
        self.assertEqual(int(record.fields["errors"]), len(errors))
        self.assertGreater(len(errors), 1)
        for error in errors:
            self.assertIn(controller.file + ":", error.line)
        self.assert_going_on(client)
        self.assertEqual(self.greeting(a), "A")
        os.unlink(controller.file)
        controller.reload(refused=True)
        self.assertEqual(self.greeting(a), "A")
        self.assertEqual(counts(controller.reload(good)), (0, 0, 0, 1))

    def test_a_bind_that_cannot_be_had_refuses_all_of_it(self):
        segment, link = self.site("A", "B", "C")
        a, b, c = self.bind(), self.bind(), self.bind()
        controller = self.controller(section("A", a, link))
        self.links(controller, segment)
        with socket.create_server((HOME, int(c.rsplit(":", 1)[1]))):
            mark = controller.mark()
            controller.reload(section("B", b, link) + section("C", c, link), refused=True)
            error = controller.wait_log(lambda r: "cannot listen" in r.line, "the error", mark)
            self.assertIn(f"{controller.file}:5: {c}", error.line)
            self.assertEqual(self.greeting(a), "A")
            self.refused(b)
        self.assertEqual(counts(controller.reload()), (2, 1, 0, 0))
        self.assertEqual(self.greeting(b), "B")
        self.assertEqual(self.greeting(c), "C")

    def test_a_socket_that_made_way_is_open_again_after_a_refusal(self):
        segment, link = self.site("A", "B")
        wide = f"tcp://0.0.0.0:{pair.free_port('0.0.0.0')}"
        narrow, b = wide.replace("0.0.0.0", "127.0.0.1"), self.bind()
        controller = self.controller(section("A", wide, link))
        self.links(controller, segment)
        with socket.create_server((HOME, int(b.rsplit(":", 1)[1]))):
            controller.reload(section("A", narrow, link) + section("B", b, link), refused=True)
        self.assertEqual(self.greeting(narrow), "A")
        controller.reload()
        self.assertEqual(self.greeting(narrow), "A")
        self.assertEqual(self.greeting(b), "B")

    def test_a_pid_file_that_cannot_be_written_refuses_all_of_it(self):
        segment, link = self.site("A", "B")
        a, b = self.bind(), self.bind()
        first, second = os.path.join(self.folder, "first.pid"), os.path.join(self.folder, "second.pid")
        services = section("A", a, link)
        controller = self.controller(f"[Cloudbus]\npid_file={first}\n" + services)
        self.links(controller, segment)
        bad = f"[Cloudbus]\npid_file={self.folder}/none/x\n" + services + section("B", b, link)
        controller.reload(bad, refused=True)
        self.assertTrue(os.path.exists(first))
        self.refused(b)
        controller.reload(f"[Cloudbus]\npid_file={second}\n" + services)
        self.assertFalse(os.path.exists(first))
        with open(second, encoding="ascii") as file:
            self.assertEqual(int(file.read()), controller.pid)


class Binds(Reload):

    def test_a_bind_that_moves_to_another_service_keeps_its_listener(self):
        segment, link = self.site("A", "B")
        a, b = self.bind(), self.bind()
        controller = self.controller(section("A", a, link) + section("B", b, link))
        self.links(controller, segment)
        before = self.listeners(controller)
        client = self.lasting(a, "A")
        self.assertEqual(counts(controller.reload(section("A", b, link) + section("B", a, link))), (0, 0, 2, 0))
        self.assertEqual(self.listeners(controller), before)
        self.assertEqual(self.greeting(a), "B")
        self.assertEqual(self.greeting(b), "A")
        self.assert_going_on(client)

    @staticmethod
    def listeners(daemon):
        found = set()
        for number in os.listdir(f"/proc/{daemon.pid}/fd"):
            found.add(os.readlink(f"/proc/{daemon.pid}/fd/{number}"))
        listening = {f"socket:[{os.fstat(sock.fileno()).st_ino}]" for sock in pair.sockets_of(daemon.pid)
                     if pair.is_listening(sock)}
        return found & listening

    def test_binds_that_overlap_are_exchanged(self):
        segment, link = self.site("A")
        wide = f"tcp://0.0.0.0:{pair.free_port()}"
        narrow = wide.replace("0.0.0.0", "127.0.0.1")
        controller = self.controller(section("A", wide, link))
        self.links(controller, segment)
        client = self.lasting(narrow, "A")
        for bind in (narrow, wide, narrow):
            controller.reload(section("A", bind, link))
            self.assertEqual(self.greeting(narrow), "A")
        self.assert_going_on(client)

    def test_unix_sockets_come_and_go_with_their_files(self):
        segment, link = self.site("A")
        one, other = (f"unix://{self.folder}/{name}.sock" for name in ("one", "other"))
        controller = self.controller(section("A", one, link, socket_mode="0600"))
        self.links(controller, segment)
        inode = os.stat(f"{self.folder}/one.sock").st_ino
        controller.reload(section("A", one, link, socket_mode="0622"))
        self.assertEqual(os.stat(f"{self.folder}/one.sock").st_ino, inode)
        self.assertEqual(os.stat(f"{self.folder}/one.sock").st_mode & 0o777, 0o622)
        controller.reload(section("A", other, link))
        self.assertFalse(os.path.exists(f"{self.folder}/one.sock"))
        self.assertEqual(self.greeting(other), "A")

    def test_a_link_whose_bind_is_no_more_is_drained(self):
        server = self.backend(named("A")).url
        one, other = self.bind(), self.bind()
        segment = self.segment(section("A", one, server))
        a = self.bind()
        controller = self.controller(section("A", a, one, other))
        self.links(controller, segment)
        client = self.lasting(a, "A")
        mark = segment.mark()
        segment.reload(section("A", other, server))
        controller.wait_log(lambda r: "is draining" in r.message, "the drain")
        controller.wait_log(lambda r: r.message == "up" and r.fields["segment"] == other, "the other link")
        self.assert_going_on(client)
        self.assertEqual(self.greeting(a), "A")
        client.finish()
        client.read_to_end()
        segment.wait_log(lambda r: r.subject == "link" and r.message == "down", "its end", mark)

    def test_whoever_has_connected_to_a_bind_that_goes_is_served(self):
        segment, link = self.site("A")
        a, b = self.bind(), self.bind()
        controller = self.controller(section("A", a, link, connect_timeout="60 s"))
        self.links(controller, segment)
        # While it does not run, clients queue at its socket.
        controller.signal(signal.SIGSTOP)
        clients = [self.connect(a) for _ in range(20)]
        with open(controller.file, "w", encoding="utf-8") as file:
            file.write(section("A", b, link, connect_timeout="60 s"))
        controller.signal(signal.SIGHUP)
        controller.signal(signal.SIGCONT)
        controller.wait_log(lambda r: r.message == "reloaded", "the reload")
        for client in clients:
            self.assertEqual(client.read_line().decode().strip(), "A")
        self.refused(a)
        self.assertEqual(self.greeting(b), "A")
        controller.base = controller._base()  # pylint: disable=protected-access


class Servers(Reload):

    def test_a_controllers_server_is_another_one(self):
        one, first = self.site("A")
        other, second = self.site("A")
        a = self.bind()
        controller = self.controller(section("A", a, first))
        self.links(controller, one)
        client = self.lasting(a, "A")
        controller.reload(section("A", a, second))
        self.assertEqual(self.greeting(a), "A")
        other.wait_conversation()
        self.assert_going_on(client)
        client.finish()
        client.read_to_end()
        one.wait_log(lambda r: r.subject == "link" and r.message == "down", "the end of the old link")
        self.links(controller, one, 0)
        self.links(controller, other)

    def test_a_client_that_waits_for_a_server_gets_the_new_one(self):
        segment, link = self.site("A")
        a = self.bind()
        controller = self.controller(section("A", a, self.bind(), connect_timeout="60 s"))
        client = self.connect(a)
        client.send(b"early")
        controller.wait_log(lambda r: "cannot be made" in r.message, "the failure")
        controller.reload(section("A", a, link, connect_timeout="60 s"))
        self.links(controller, segment)
        self.assertEqual(client.read_line().decode().strip(), "A")
        self.assertEqual(client.read_exact(5), b"early")

    def test_a_segments_servers_and_its_balance_change(self):
        backends = {name: self.backend(named(name)) for name in "abcd"}
        link, a = self.bind(), self.bind()

        def text(names, **keys):
            return section("A", link, *(backends[name].url for name in names), **keys)
        segment = self.segment(text("ab"))
        controller = self.controller(section("A", a, link))
        self.links(controller, segment)
        self.assertEqual(sorted(self.greeting(a) for _ in range(4)), ["a", "a", "b", "b"])
        segment.reload(text("bcd"))
        self.assertEqual(sorted(self.greeting(a) for _ in range(6)), list("bbccdd"))
        segment.reload(text("dc", balance="first"))
        self.assertEqual([self.greeting(a) for _ in range(4)], list("dddd"))
        segment.reload(text("c"))
        self.assertEqual([self.greeting(a) for _ in range(2)], list("cc"))

    def test_least_connections_counts_right_across_reloads(self):
        backends = {name: self.backend(named(name)) for name in "abc"}
        link, a = self.bind(), self.bind()

        def text(names):
            return section("A", link, *(backends[name].url for name in names), balance="least connections")
        segment = self.segment(text("ab"))
        controller = self.controller(section("A", a, link))
        self.links(controller, segment)

        def stay(count):
            found = []
            for _ in range(count):
                client = self.connect(a)
                found.append((client.read_line().decode().strip(), client))
            return found
        clients = stay(4)
        self.assertEqual(sorted(name for name, _ in clients), list("aabb"))
        segment.reload(text("bc"))
        more = stay(2)
        self.assertEqual([name for name, _ in more], list("cc"), "b has two already")
        for name, client in clients + more:
            client.finish()
            client.read_to_end()
        segment.wait_conversation(count=6)
        segment.reload(text("abc"))
        self.assertEqual(sorted(name for name, _ in stay(3)), list("abc"), "nobody has any")

    def test_a_mode_is_another_one(self):
        sites = [self.site("A") for _ in range(3)]
        a = self.bind()
        links = [link for _, link in sites]
        controller = self.controller(section("A", a, *links, mode="full duplex"))
        for segment, _ in sites:
            self.links(controller, segment)
        controller.wait_link(count=3)
        merged = self.connect(a)
        self.assertEqual([merged.read_line() for _ in range(3)], [b"A\n"] * 3)
        controller.reload(section("A", a, *links, mode="balance"))
        self.assertEqual(self.greeting(a), "A")
        controller.wait_conversation(mode="balance")
        controller.reload(section("A", a, *links, mode="half duplex"))
        self.assertEqual(self.greeting(a), "A")
        controller.wait_conversation(mode="half-duplex")
        merged.send(b"x")
        self.assertEqual(merged.read_exact(3), b"xxx", "it goes on as it began")

    def test_links_are_more_and_fewer(self):
        segment, link = self.site("A")
        a = self.bind()
        controller = self.controller(section("A", a, link))
        self.links(controller, segment)
        client = self.lasting(a, "A")
        controller.reload(section("A", a, link, links=4))
        pair.wait_for(lambda: segment.connected() == 1 + 4, "four links")
        controller.reload(section("A", a, link, links=2))
        self.links(controller, segment, 2)
        pair.wait_for(lambda: segment.connected() == 1 + 2, "two links")
        self.assert_going_on(client)

    def test_timeouts_are_for_new_conversations(self):
        segment, link = self.site("A")
        a = self.bind()
        controller = self.controller(section("A", a, link))
        self.links(controller, segment)
        old = self.lasting(a, "A")
        controller.reload(section("A", a, link, idle_timeout="300 ms"))
        new = self.lasting(a, "A")
        self.assertEqual(new.read_to_end().how, "reset")
        controller.wait_conversation(end="idle-timeout")
        self.assert_going_on(old)

    def test_health_checks_begin_and_end(self):
        backend = self.backend(named("A"))
        link, a = self.bind(), self.bind()
        segment = self.segment(section("A", link, backend.url))
        controller = self.controller(section("A", a, link))
        self.links(controller, segment)
        segment.reload(section("A", link, backend.url, health="tcp 100 ms"))
        pair.wait_for(lambda: backend.accepted >= 3, "checks")
        segment.reload(section("A", link, backend.url))
        self.assertEqual(self.greeting(a), "A")
        seen = backend.accepted
        pair.window(0.5)
        self.assertEqual(backend.accepted, seen)


class Global(Reload):

    def test_the_log_changes_its_level_and_its_form(self):
        segment, link = self.site("A")
        a = self.bind()
        controller = self.controller(section("A", a, link))
        self.links(controller, segment)
        controller.reload("[Cloudbus]\nlog_level=debug\n" + section("A", a, link))
        self.greeting(a)
        controller.wait_log(lambda r: r.level == "debug", "a line of debugging")
        with open(controller.file, "w", encoding="utf-8") as file:
            file.write("[Cloudbus]\nlog_format=json\n" + section("A", a, link))
        controller.signal(signal.SIGHUP)
        pair.wait_for(lambda: any(line.startswith("{") and '"reloaded"' in line for line in controller.lines), "JSON")

    def test_what_the_command_line_sets_wins_again(self):
        segment, link = self.site("A")
        a = self.bind()
        pid_file = os.path.join(self.folder, "cb.pid")
        controller = self.controller(section("A", a, link), args=["-l", "debug", "-p", pid_file])
        self.links(controller, segment)
        controller.reload(f"[Cloudbus]\nlog_level=error\npid_file={self.folder}/other\n" + section("A", a, link))
        mark = controller.mark()
        self.greeting(a)
        controller.wait_log(lambda r: r.level == "debug", "a line of debugging", mark)
        self.assertTrue(os.path.exists(pid_file))
        self.assertFalse(os.path.exists(f"{self.folder}/other"))

    def test_threads_need_a_restart_and_the_log_says_so(self):
        segment, link = self.site("A")
        a = self.bind()
        controller = self.controller(section("A", a, link))
        self.links(controller, segment)
        mark = controller.mark()
        controller.reload("[Cloudbus]\nthreads=3\n" + section("A", a, link))
        record = controller.wait_log(lambda r: "needs a restart" in r.message, "the warning", mark)
        self.assertEqual(record.fields["key"], "threads")

    def test_every_thread_takes_the_change(self):
        segment, link = self.site("A", "B")
        a, b = self.bind(), self.bind()
        controller = self.controller("[Cloudbus]\nthreads=3\n" + section("A", a, link))
        self.links(controller, segment, 3)
        controller.wait_link(count=3)
        controller.reload("[Cloudbus]\nthreads=3\n" + section("A", a, link) + section("B", b, link))
        self.assertEqual([self.greeting(b) for _ in range(9)], ["B"] * 9)
        controller.reload("[Cloudbus]\nthreads=3\n" + section("B", b, link))
        self.refused(a)
        self.assertEqual([self.greeting(b) for _ in range(9)], ["B"] * 9)

    def test_included_files_are_read_again(self):
        segment, link = self.site("A", "B")
        a, b = self.bind(), self.bind()
        folder = os.path.join(self.folder, "conf.d")
        os.mkdir(folder)

        def write(name, text):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        write("a.ini", section("A", a, "${LINK}"))
        controller = self.controller("include = conf.d/*.ini\n", env={"LINK": link})
        self.links(controller, segment)
        self.assertEqual(self.greeting(a), "A")
        write("b.ini", section("B", b, "${LINK}"))
        self.assertEqual(counts(controller.reload()), (1, 0, 0, 1))
        self.assertEqual(self.greeting(b), "B")
        write("b.ini", section("B", b, "${NOWHERE}"))
        mark = controller.mark()
        controller.reload(refused=True)
        error = controller.wait_log(lambda r: "NOWHERE" in r.line, "the error", mark)
        self.assertIn(os.path.join(folder, "b.ini") + ":3: server:", error.line)
        shutil.rmtree(folder)
        self.assertEqual(self.greeting(b), "B")

    def test_the_service_manager_is_told_of_every_reload(self):
        segment, link = self.site("A")
        a = self.bind()
        path = os.path.join(self.folder, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(pair.DEADLINE)
            controller = self.controller(section("A", a, link), env={"NOTIFY_SOCKET": path})
            self.links(controller, segment)
            self.assertEqual(manager.recv(4096), b"READY=1")
            for text, refused in ((None, False), ("nonsense\n", True), (section("A", a, link), False)):
                controller.reload(text, refused)
                lines = manager.recv(4096).decode().split("\n")
                self.assertEqual(lines[0], "RELOADING=1")
                self.assertGreater(int(lines[1].removeprefix("MONOTONIC_USEC=")), 0)
                self.assertEqual(manager.recv(4096), b"READY=1")


class Names(dns.Case):

    def test_a_reload_that_changes_no_server_asks_no_dns(self):
        sites = self.fleet(1)
        self.dns.set("all", ttl=600, A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        url = controller.address()
        client = self.connect(url)
        client.read_line()
        mark = self.dns.mark()
        text = controller.frozen_text()
        controller.reload(text)
        controller.reload(text + "idle_timeout=60 s\n")
        self.assertEqual(client.exchange(b"x"), b"x")
        self.assertEqual(self.dns.queries(since=mark), [])

    def test_a_name_that_is_named_no_more_is_asked_no_more(self):
        sites = self.fleet(1)
        self.dns.set("all", ttl=1, A=[site.host for site in sites])
        self.dns.set("other", ttl=1, A=[site.host for site in sites])
        controller = self.front(f"tcp://all.{dns.ZONE}:{self.port}", sites)
        text = controller.frozen_text()
        controller.reload(text.replace(f"all.{dns.ZONE}", f"other.{dns.ZONE}"))
        self.dns.wait_asked("other", "A", count=2)
        mark = self.dns.mark()
        self.dns.wait_asked("other", "A", count=3, since=mark)
        self.assertEqual(self.dns.queries("all", since=mark), [])
        self.assertEqual(self.connect(controller.address()).read_line(), b"a\n")


if __name__ == "__main__":
    unittest.main()
