# SPDX-License-Identifier: Apache-2.0
"""The log when nobody reads it, or when there is no room for it: what passes is not held up, and the loss is told."""

import os
import select
import subprocess
import unittest

import pair

CONVERSATIONS = 3000


class Stuck(pair.Case):

    def start(self, role, text, stderr):
        """A daemon whose standard error is this. It is not one of the case's, which read logs from files."""
        file = os.path.join(self.folder, role + ".ini")
        with open(file, "w", encoding="utf-8") as config:
            config.write(text)
        process = subprocess.Popen([os.path.join(pair.BUILD, role), "-f", file], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=stderr,
                                   preexec_fn=pair.die_with_parent(pair.signal.SIGKILL))

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
        self.addCleanup(end)
        return process

    def both(self, stderr, level="info"):
        """A pair whose logs go there, and the address for clients; it serves."""
        client, link = (f"tcp://127.0.0.1:{pair.free_port()}" for _ in range(2))
        segment = self.start("segment", f"[Cloudbus]\nlog_level={level}\nbind={link}\n[Orders]\nserver=builtin:echo\n", stderr)
        controller = self.start("controller", f"[Cloudbus]\nlog_level={level}\n[Orders]\nbind={client}\nserver={link}\n",
                                stderr)
        pair.wait_for(lambda: self.serves(client), "the pair to serve")
        return (segment, controller), client

    def serves(self, url):
        try:
            with pair.connect(url) as client:
                return client.exchange(b"x") == b"x"
        except OSError:
            return False

    def converse(self, url, count):
        for _ in range(count):
            with pair.connect(url) as client:
                self.assertEqual(client.exchange(b"x"), b"x")

    def end(self, processes):
        for process in reversed(processes):
            process.terminate()
            self.assertEqual(process.wait(pair.DEADLINE * pair.PATIENCE), 0)

    def test_a_pipe_that_nobody_reads(self):
        reader, writer = os.pipe()
        processes, url = self.both(writer)
        os.close(writer)
        self.converse(url, CONVERSATIONS)
        self.end(processes)
        os.close(reader)

    def test_a_pipe_that_is_read_late_says_how_many_lines_were_lost(self):
        reader, writer = os.pipe()
        processes, url = self.both(writer, "debug")
        os.close(writer)
        self.converse(url, CONVERSATIONS)  # more than a pipe and the buffer of 1 MiB hold
        read = []

        def is_told():
            if select.select([reader], [], [], 0)[0]:
                read.append(os.read(reader, 1 << 20))
            self.converse(url, 1)
            return b"lines were lost" in b"".join(read[-2:])
        pair.wait_for(is_told, "the word about lines that were lost")
        text = b"".join(read)
        told = [line for line in text.split(b"\n") if b"lines were lost" in line]
        self.assertRegex(told[0], rb"warning log .*lines were lost lines=[1-9]")
        for line in text.split(b"\n")[:-1]:
            self.assertRegex(line, rb"^\d{4}-\d\d-\d\dT[0-9:.]+Z (debug|info|warning) ", "a whole line")
        self.end(processes)
        os.close(reader)

    def test_a_disk_that_is_full(self):
        with open("/dev/full", "wb") as full:
            processes, url = self.both(full)
        self.converse(url, 200)
        self.end(processes)

    def test_the_flags_of_the_file_that_others_have_too_stay(self):
        """A shell whose terminal or pipe became non-blocking would lose what its next command says."""
        reader, writer = os.pipe()
        processes, url = self.both(writer)
        self.converse(url, 10)
        self.assertTrue(os.get_blocking(writer))
        self.end(processes)
        os.close(writer)
        os.close(reader)


class Probes(pair.Case):

    def test_who_connects_to_a_link_port_and_says_nothing_is_no_warning(self):
        segment = self.segment("[Cloudbus]\nlog_level=debug\nbind=tcp://127.0.0.1:0\n[Orders]\nserver=builtin:echo\n")
        url = segment.listening()[0].fields["address"]
        for number in range(20):
            with pair.connect(url) as probe:
                probe.reset() if number % 2 else probe.close()
        segment.wait_log(lambda r: "as a probe does" in r.message, "the probes", count=20)
        self.assertFalse(segment.find(lambda r: r.level == "warning"))

    def test_who_says_the_wrong_thing_is_one(self):
        segment = self.segment("[Cloudbus]\nbind=tcp://127.0.0.1:0\n[Orders]\nserver=builtin:echo\n")
        with pair.connect(segment.listening()[0].fields["address"]) as browser:
            browser.send(b"GET / HTTP/1.1\r\n\r\n")
            browser.read_to_end()
        segment.wait_log(lambda r: r.level == "warning" and r.message == "refused", "the warning")


if __name__ == "__main__":
    unittest.main()
