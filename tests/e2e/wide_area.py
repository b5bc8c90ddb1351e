# SPDX-License-Identifier: Apache-2.0
"""Two network namespaces of this process's own, and a link over a wide area between them (tests/tools/wan_link.cc)."""

import contextlib
import ctypes
import itertools
import os
import re
import select
import signal
import subprocess
import unittest

import pair

NEAR, FAR = "10.77.0.1", "10.77.0.2"
CLONE_NEWNET = 0x40000000
NAMES = re.compile(r"cloudbus-(\d+)-\d+-(near|far)")
NUMBERS = itertools.count()


def need():
    """Skips the test where namespaces or TUN devices cannot be made."""
    pair.need("ip")
    if os.geteuid() != 0:
        raise unittest.SkipTest("network namespaces are root's")
    if not os.access(os.path.join(pair.BUILD, "wan_link"), os.X_OK):
        raise unittest.SkipTest("wan_link is not built")
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        raise unittest.SkipTest(f"there are no TUN devices: {error}") from None


def _ip(*arguments):
    result = subprocess.run(["ip", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                            timeout=pair.DEADLINE * pair.PATIENCE)
    if result.returncode != 0:
        raise OSError(f"ip {' '.join(arguments)}: {result.stdout.decode(errors='replace').strip()}")
    return result.stdout.decode()


def _remove_left_ones():
    """Those of processes that were killed."""
    for name in _ip("netns", "list").split():
        match = NAMES.fullmatch(name)
        if match and not os.path.exists(f"/proc/{match[1]}"):
            with contextlib.suppress(OSError):
                _ip("netns", "delete", name)


class Namespace:
    """A network of its own, with `address` on the link."""

    def __init__(self, name, address):
        self.name = name
        self.address = address
        self.prefix = ["ip", "netns", "exec", name]  # before a command that shall run in it
        _ip("netns", "add", name)

    def popen(self, argv, **more):
        return subprocess.Popen(self.prefix + argv, **more)

    def run(self, argv, **more):
        return pair.run(self.prefix + argv, **more)

    @contextlib.contextmanager
    def inside(self):
        """The sockets that this thread makes meanwhile are the namespace's, and stay so."""
        home, there = (os.open(path, os.O_RDONLY) for path in ("/proc/thread-self/ns/net", f"/run/netns/{self.name}"))
        try:
            _enter(there)
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(home)
            os.close(there)

    def delete(self):
        _ip("netns", "delete", self.name)


def _enter(descriptor):
    if pair.LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


class WideArea:
    """`with WideArea(delay_ms=7) as wide`: `wide.near` and `wide.far` are joined by a link with these properties.

    They are the options of wan_link. Skips the test where such a thing cannot be made.
    """

    def __init__(self, **options):
        self.options = [word for name, value in options.items()
                        for word in (f"--{name.replace('_', '-')}", str(value))]
        self.near = self.far = self.link = None
        self.cleanup = contextlib.ExitStack()

    def __enter__(self):
        need()
        with contextlib.ExitStack() as stack:
            _remove_left_ones()
            number = next(NUMBERS)
            self.near = self._namespace(stack, f"cloudbus-{os.getpid()}-{number}-near", NEAR)
            self.far = self._namespace(stack, f"cloudbus-{os.getpid()}-{number}-far", FAR)
            self._start_link(stack)
            self.cleanup = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.cleanup.close()

    @staticmethod
    def _namespace(stack, name, address):
        try:
            namespace = Namespace(name, address)
        except OSError as error:
            raise unittest.SkipTest(f"there are no network namespaces: {error}") from None
        stack.callback(namespace.delete)
        namespace.run(["ip", "link", "set", "lo", "up"])
        return namespace

    def _start_link(self, stack):
        argv = [os.path.join(pair.BUILD, "wan_link"), *self.options, self.near.name, self.far.name]
        self.link = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     preexec_fn=pair.die_with_parent(signal.SIGKILL))
        stack.callback(self._stop_link)
        self._expect(b"ready\n")

    def _stop_link(self):
        if self.link.poll() is None:
            self.link.terminate()
            try:
                self.link.wait(pair.DEADLINE)
            except subprocess.TimeoutExpired:
                self.link.kill()
                self.link.wait()
        self.link.stdout.close()
        self.link.stderr.close()

    def _expect(self, line):
        if not select.select([self.link.stdout], [], [], pair.DEADLINE * pair.PATIENCE)[0]:
            raise AssertionError(f"wan_link does not say {line}")
        said = self.link.stdout.readline()
        if said != line:
            raise AssertionError(f"wan_link says {said or self.link.stderr.read()}, not {line}")

    def black_hole(self, is_black):
        """Drops all packets in silence, those under way too, or no more."""
        self.link.send_signal(signal.SIGUSR1 if is_black else signal.SIGUSR2)
        self._expect(b"black hole\n" if is_black else b"open\n")
