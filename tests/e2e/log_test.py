# SPDX-License-Identifier: Apache-2.0
"""The log: one line for each conversation, true and unforgeable."""

import contextlib
import datetime
import json
import os
import socket
import subprocess
import unittest

import pair
import wire


class Conversations(pair.Case):

    def lines(self, daemon):
        return daemon.find(lambda r: "end" in r.fields and "id" in r.fields)

    def test_one_line_for_each_conversation_with_the_same_id_in_both(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url)
        for number in range(20):
            with both.connect() as client:
                client.exchange(b"x" * (number + 1))
                client.finish()
                client.read_to_end()
        for daemon in both.both:
            daemon.wait_conversation(count=20)
        mine, theirs = (self.lines(daemon) for daemon in both.both)
        self.assertEqual((len(mine), len(theirs)), (20, 20))
        self.assertEqual({r.fields["id"] for r in mine}, {r.fields["id"] for r in theirs})
        self.assertEqual(len({r.fields["id"] for r in mine}), 20)
        self.assertEqual(sorted(int(r.fields["up"]) for r in mine), list(range(1, 21)))

    def test_fields_of_a_conversation(self):
        backend = self.backend(pair.echo)
        both = self.pair(backend.url)
        with both.connect() as client:
            name = "%s:%d" % client.socket.getsockname()
            client.exchange(b"0123456789")
            client.finish()
            client.read_to_end()
        controller, segment = (daemon.wait_conversation() for daemon in both.both)
        for record, server in ((controller, both.link_url), (segment, backend.url)):
            self.assertEqual((record.level, record.subject), ("info", "Orders"))
            self.assertEqual(record.fields["client"], name)
            self.assertEqual(record.fields["server"], server.replace("tcp://", ""))
            self.assertEqual(record.fields["mode"], "one-to-one")
            self.assertEqual((record.fields["up"], record.fields["down"]), ("10", "10"))
            self.assertRegex(record.fields["id"], r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                                                  r"[0-9a-f]{12}$")
            for key in ("open", "total"):
                self.assertRegex(record.fields[key], r"^\d+(\.\d+)?(us|ms|s|min|h)$")

    def test_unix_client_is_named(self):
        both = self.pair("builtin:echo", client="unix")
        with both.connect() as client:
            client.exchange(b"x")
        for daemon in both.both:
            self.assertTrue(daemon.wait_conversation().fields["client"].startswith("unix:"))

    def test_who_ended_first_stands_first(self):
        both = self.pair(self.backend(lambda peer: peer.finish().read_to_end() and None).url)
        with both.connect() as client:
            client.read_to_end()
        for daemon in both.both:
            daemon.wait_conversation(end="server-fin/client-fin")

    def test_segment_ends_show_in_the_log_of_both(self):
        cases = (
            ("client-reset", lambda peer: peer.read_to_end() and None, lambda client: client.reset()),
            ("server-reset", lambda peer: (peer.read(), peer.reset())[1], lambda client: client.send(b"x").read_to_end()),
            ("client-fin/server-fin", pair.echo, lambda client: client.finish().read_to_end()),
        )
        for end, serve, act in cases:
            with self.subTest(end):
                backend = self.backend(serve)
                both = self.pair(backend.url)
                with contextlib.suppress(ConnectionResetError):
                    client = both.connect()
                    pair.wait_for(lambda b=backend: b.accepted, "the backend's connection")
                    act(client)
                    client.close()
                for daemon in both.both:
                    daemon.wait_conversation(end=end)


class Forgery(pair.Case):
    """Nobody outside may make a line of the log, or a field in it."""

    forged = "info Orders client=6.6.6.6:6 end=client-fin/server-fin"

    def check(self, daemon, needle):
        """All that mentions the needle is one line that begins as ours do, and has no forged fields."""
        record = daemon.wait_log(lambda r: needle in r.line, needle)
        for line in daemon.lines:
            self.assertNotEqual(line, self.forged)
            self.assertFalse(line.startswith(self.forged), line)
            self.assertTrue(line.isprintable(), repr(line))
            self.assertIn(pair.Record(line).level, pair.LEVELS)
        self.assertNotEqual(record.fields.get("client"), "6.6.6.6:6", record.line)
        return record

    def shared(self):
        return self.segment("[Cloudbus]\nbind=tcp://127.0.0.1:0\n[One]\nserver=builtin:echo\n")

    def test_service_name_in_open_with_a_newline(self):
        segment = self.shared()
        raw = self.keep(wire.RawPeer.dial(segment.listening()[0].fields["address"]))
        raw.send(wire.open_frame(1, name=b"needle\n" + self.forged.encode()))
        self.assertEqual(wire.reset_code(raw.wait(wire.RESET, 1)), "unknown-service")
        self.check(segment, "needle")

    def test_client_address_in_open_with_a_newline_or_fields(self):
        segment = self.shared()
        raw = self.keep(wire.RawPeer.dial(segment.listening()[0].fields["address"]))
        for stream, client in enumerate((b"needle1\n" + self.forged.encode(), b"needle2 end=forged x=\"",
                                         b"needle3\x1b[31m\x00\xff\xfe\r\n", b"needle4\xe2\x80\xa8" b"x", b""), 1):
            raw.open(stream, name=b"One", client=client)
            raw.send(wire.data(stream, b"x", fin=True))
        ends = segment.wait_conversation(count=5)
        for number, record in enumerate(ends[:4], 1):
            self.check(segment, f"needle{number}")
            self.assertEqual(record.fields["end"], "client-fin/server-fin")

    def test_every_byte_in_a_service_name(self):
        segment = self.shared()
        raw = self.keep(wire.RawPeer.dial(segment.listening()[0].fields["address"]))
        for value in range(256):
            raw.send(wire.open_frame(value + 1, name=b"needle-%d-" % value + bytes([value]) + b"-end"))
        raw.wait(wire.RESET, 256)
        for value in range(256):
            self.check(segment, f"needle-{value}-")

    def test_software_and_close_reason_of_the_peer(self):
        segment = self.shared()
        url = segment.listening()[0].fields["address"]
        raw = self.keep(wire.RawPeer.dial(url, greet=False))
        payload = (wire.field(1, b"\0\4\0\0", True) + wire.field(2, bytes(8), True) +
                   wire.field(4, b"needle1\n" + self.forged.encode()[:50]))
        raw.send(wire.preface(wire.CONTROLLER) + wire.frame(wire.HELLO, 0, payload)).read_greeting()
        raw.send(wire.close(2, b"needle2\n" + self.forged.encode()))
        raw.wait_closed()
        self.check(segment, "needle2")

    def test_path_of_a_unix_client(self):
        both = self.pair("builtin:echo", client="unix")
        path = f"{self.folder}/needle\n{self.forged}"[:107]
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(path.replace("/server-fin", ""))
            client.connect(pair.socket_address(both.url)[1])
            pair.Peer(client).exchange(b"x")
        for daemon in both.both:
            daemon.wait_conversation()
            if any("needle" in line for line in daemon.lines):
                self.check(daemon, "needle")
            for line in daemon.lines:
                self.assertIn(pair.Record(line).level, pair.LEVELS)

    def test_reason_of_a_segment_in_close(self):
        raw = self.keep(wire.RawSegment())
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={raw.url}\n")
        peer = self.keep(raw.accept())
        peer.send(wire.close(10, b"needle\n" + self.forged.encode()))
        self.check(controller, "needle")
        self.skip_invariants = True

    def test_section_name_of_a_service(self):
        segment = self.segment("[needle client=6.6.6.6:6 x=y]\nbind=tcp://127.0.0.1:0\nserver=builtin:echo\n")
        record = self.check(segment, "needle")
        self.assertEqual(record.subject, "needle client=6.6.6.6:6 x=y")


def listens(path):
    """Its file is there a moment before a Unix socket listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


class Form(pair.Case):

    def test_text_lines_have_a_timestamp_level_and_subject(self):
        both = self.pair("builtin:echo")
        with both.connect() as client:
            client.exchange(b"x")
        both.controller.wait_conversation()
        for record in both.controller.records:
            self.assertIn(record.level, pair.LEVELS)
            self.assertTrue(record.subject)
            self.assertRegex(record.time, r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d{3,6}(Z|[+-]\d\d:?\d\d)?$")
            stamp = datetime.datetime.fromisoformat(record.time.replace("Z", "+00:00").replace(",", "."))
            now = datetime.datetime.now(stamp.tzinfo)
            self.assertLess(abs((now - stamp).total_seconds()), 600)

    def test_no_timestamp_when_standard_error_is_the_journal(self):
        """systemd names the journal's stream in JOURNAL_STREAM as device:inode; the journal stamps lines itself."""
        read, write = os.pipe()
        status = os.fstat(write)
        file = f"{self.folder}/s.ini"
        with open(file, "w", encoding="ascii") as out:
            out.write("[S]\nbind=tcp://127.0.0.1:0\nserver=builtin:echo\n")
        env = dict(os.environ, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")
        with subprocess.Popen([os.path.join(pair.BUILD, "segment"), "-f", file], stderr=write, env=env) as process:
            os.close(write)
            with os.fdopen(read, encoding="utf-8") as lines:
                text = ""
                while "ready" not in text:
                    line = lines.readline()
                    self.assertTrue(line, text)
                    text += line
                process.terminate()
                text += lines.read()
        self.assertEqual(process.returncode, 0)
        for line in text.splitlines():
            self.assertRegex(line, r"^(<7>debug|<6>info|<4>warning|<3>error) ")

    def test_a_journal_that_is_somebody_elses_is_none(self):
        """A service's child inherits JOURNAL_STREAM, whatever its own standard error is."""
        segment = self.segment("[S]\nbind=tcp://127.0.0.1:0\nserver=builtin:echo\n", env={"JOURNAL_STREAM": "1:2"})
        self.assertRegex(segment.lines[0], r"^\d{4}-\d\d-\d\dT")

    def test_trace_has_frames(self):
        both = self.pair("builtin:echo", controller_global="log_level=trace", segment_global="log_level=trace")
        with both.connect() as client:
            client.exchange(b"12345")
            client.finish()
            client.read_to_end()
        for daemon in both.both:
            daemon.wait_conversation()
            frames = [(r.message, r.fields.get("len"), r.fields.get("fin"))
                      for r in daemon.find(lambda r: r.level == "trace" and r.fields.get("stream") == "1")]
            way = ("sent", "received") if daemon is both.controller else ("received", "sent")
            self.assertEqual([frame for frame in frames if frame[0].endswith("OPEN")][0][0], f"{way[0]} OPEN")
            for direction in way:
                self.assertIn((f"{direction} DATA", "5", None), frames)
                self.assertIn((f"{direction} DATA", "0", "yes"), frames)

    def test_json_lines_parse(self):
        both = self.pair("builtin:echo", controller_global="log_format=json", segment_global="log_format=json",
                         controller_args={"log_format": "json"}, segment_args={"log_format": "json"},
                         service='A "quoted" \\ name')
        with both.connect() as client:
            client.exchange(b"0123456789")
        for daemon in both.both:
            record = daemon.wait_conversation()
            for line in daemon.lines:
                fields = json.loads(line)
                self.assertIn(fields["level"], pair.LEVELS)
                self.assertTrue(fields["time"] and fields["subject"] is not None)
            fields = json.loads(record.line)
            self.assertEqual(fields["subject"], 'A "quoted" \\ name')
            self.assertEqual(int(fields["up"]), 10)
            datetime.datetime.fromisoformat(fields["time"].replace("Z", "+00:00"))

    def test_json_is_valid_whatever_the_peer_says(self):
        segment = self.segment("[Cloudbus]\nlog_format=json\nbind=tcp://127.0.0.1:0\n[One]\nserver=builtin:echo\n",
                               log_format="json")
        raw = self.keep(wire.RawPeer.dial(segment.listening()[0].fields["address"]))
        for value in range(256):
            raw.send(wire.open_frame(value + 1, name=b"needle-%d-" % value + bytes([value]) + b"-end"))
        raw.wait(wire.RESET, 256)
        segment.wait_log(lambda r: "needle-255-" in r.line, "the last one")
        for line in segment.lines:
            json.loads(line)

    def test_levels(self):
        for level, warns, informs, debugs in (("off", False, False, False), ("error", False, False, False),
                                              ("warning", True, False, False), ("info", True, True, False),
                                              ("debug", True, True, True)):
            with self.subTest(level):
                path = f"{self.folder}/{level}.sock"
                # Nobody is at the segment's address: a warning at first, then debug lines.
                daemon = self.controller(
                    f"[Cloudbus]\nlog_level={level}\n[S]\nbind=unix://{path}\nconnect_timeout=1 s\n"
                    f"server=unix://{self.folder}/absent\n", name=level, wait=False)
                pair.wait_for(lambda p=path: listens(p), "listening")
                with self.connect(f"unix://{path}") as client:
                    self.assertEqual(client.read_to_end().size, 0)
                daemon.stop()
                for name, wanted in (("warning", warns), ("info", informs), ("debug", debugs)):
                    self.assertEqual(any(r.level == name for r in daemon.records), wanted, name)

    def test_flags_beat_the_file(self):
        daemon = self.segment("[Cloudbus]\nlog_level=error\n[S]\nbind=tcp://127.0.0.1:0\nserver=builtin:echo\n",
                              args=["-l", "info"])
        self.assertTrue(daemon.records)


if __name__ == "__main__":
    unittest.main()
