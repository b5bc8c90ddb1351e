# SPDX-License-Identifier: Apache-2.0
"""Signals that an operator may send by habit: none of them ends or stops a daemon by accident."""

import signal
import unittest

import pair

SEGMENT = "[Orders]\nbind=tcp://127.0.0.1:0\nserver=builtin:echo\n"
HABITS = (signal.SIGUSR1, signal.SIGUSR2)


def state(daemon):
    """R, S, T, ...: proc(5)."""
    with open(f"/proc/{daemon.pid}/stat", encoding="ascii") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0]


class Signals(pair.Case):

    def test_sigusr1_and_sigusr2_are_logged_and_change_nothing(self):
        both = self.pair("builtin:echo")
        client = both.connect()
        for daemon in both.both:
            for sig in HABITS:
                mark = daemon.mark()
                daemon.signal(sig)
                record = daemon.wait_log(lambda r: "signal" in r.fields, "the signal", mark)
                self.assertEqual(record.fields["signal"], sig.name)
        self.assertEqual(client.exchange(b"hello"), b"hello")

    def test_signals_of_a_terminal_do_not_stop_a_daemon(self):
        both = self.pair("builtin:echo")
        client = both.connect()
        for daemon in both.both:
            for sig in (signal.SIGTTIN, signal.SIGTTOU):
                daemon.signal(sig)
            self.assertEqual(client.exchange(b"hello"), b"hello")
            self.assertNotEqual(state(daemon), "T")

    def test_signals_during_the_start_are_answered_after_it(self):
        """A service with many sections takes long to read and apply; a signal may come at any moment of that."""
        many = "".join(f"[S{number}]\nbind=unix:@{pair.HOME}-{number}\nserver=builtin:echo\n" for number in range(500))
        for sig in HABITS + (signal.SIGHUP,):
            daemon = self.segment(many, name=f"early-{sig.name}", wait=False)
            daemon.wait_log(lambda r: True, "its first line")
            daemon.signal(sig)
            daemon.wait_log(lambda r: "ready" in r.message, "ready")
            answer = "reloaded" if sig == signal.SIGHUP else "a signal changes nothing here"
            daemon.wait_log(lambda r, a=answer: r.message == a, "the answer")
            daemon.stop()

    def test_signals_that_were_blocked_at_the_start_are_answered(self):
        """Some supervisors block signals and forget to unblock them for their children."""
        blocked = HABITS + (signal.SIGHUP, signal.SIGTERM)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            daemon = self.segment(SEGMENT)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        daemon.signal(signal.SIGUSR1)
        daemon.wait_log(lambda r: r.fields.get("signal") == "SIGUSR1", "the signal")
        daemon.reload()
        daemon.stop()


if __name__ == "__main__":
    unittest.main()
