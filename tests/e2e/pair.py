# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: the daemons, scripted clients and backends, real programs, and the invariants.

CLOUDBUS_BUILD names the folder that holds `controller` and `segment`. CLOUDBUS_SANITIZER is set (to `address` or
`thread`) when they were built with sanitizers: deadlines grow, big sizes shrink, memory is not measured.
"""

import collections
import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import queue
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

SANITIZER = os.environ.get("CLOUDBUS_SANITIZER", "")
BUILD = os.environ.get("CLOUDBUS_BUILD", os.path.abspath("."))
PATIENCE = 4 if SANITIZER else 1
DEADLINE = 30
KINDS = ("tcp4", "tcp6", "unix", "abstract")
KIB = 1024
MIB = 1024 * 1024
REPORTS = re.compile("ERROR: (Address|Leak)Sanitizer|runtime error:|WARNING: ThreadSanitizer|"
                     "ThreadSanitizer: reported|Assertion `|terminate called")


def scaled(size, divisor=16):
    """`size`, or a smaller one under a sanitizer."""
    return max(1, size // divisor) if SANITIZER else size


def wait_for(condition, what="the condition", deadline=DEADLINE):
    """Polls until the condition holds, and returns its value."""
    end = time.monotonic() + deadline * PATIENCE
    pause = 0.002
    nothing = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline * PATIENCE} s in vain for {what}")
        nothing.wait(pause)
        pause = min(pause * 1.5, 0.05)


def window(seconds):
    """A stretch of time over which something is measured; not a way to wait for something."""
    threading.Event().wait(seconds)


# ---- addresses -------------------------------------------------------------------------------------------------

# A loopback address of this process's own: a port that is free there stays free, because nobody else dials from it.
HOME = "127.%d.%d.%d" % (random.randint(64, 250), random.randint(0, 255), random.randint(1, 254))


given_ports = set()


def free_port(host=HOME):
    """A port that nobody listens on, for programs that cannot choose one themselves; each time another one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        if port not in given_ports:
            given_ports.add(port)
            return port


def bind_text(kind, folder, name):
    """A `bind` value of one kind; the kernel chooses the port."""
    if kind == "tcp4":
        return "tcp://127.0.0.1:0"
    if kind == "tcp6":
        return "tcp://[::1]:0"
    if kind == "unix":
        return f"unix://{folder}/{name}.sock"
    return f"unix:@{os.path.basename(folder)}-{name}"


def socket_address(url):
    """(family, address) for the socket module."""
    if url.startswith("tcp://["):
        host, port = url[len("tcp://["):].rsplit("]:", 1)
        return socket.AF_INET6, (host, int(port))
    if url.startswith("tcp://"):
        host, port = url[len("tcp://"):].rsplit(":", 1)
        return socket.AF_INET, (host, int(port))
    if url.startswith("unix:@"):
        return socket.AF_UNIX, "\0" + url[len("unix:@"):]
    if url.startswith("unix://"):
        return socket.AF_UNIX, url[len("unix://"):]
    if url.startswith("unix:/"):
        return socket.AF_UNIX, url[len("unix:"):]
    raise ValueError(url)


def host_and_port(url):
    return socket_address(url)[1][:2]


# ---- data ------------------------------------------------------------------------------------------------------

class Pattern:
    """Endless bytes that can be made again: random, with a prime period, so that no shift by a buffer's size fits."""

    PERIOD = 1048583

    def __init__(self, seed=1):
        self.period = random.Random(seed).randbytes(self.PERIOD)

    def chunks(self, size, chunk=256 * KIB):
        chunk = min(chunk, self.PERIOD)
        view = memoryview(self.period + self.period[:chunk])
        offset = 0
        while offset < size:
            step = min(chunk, size - offset)
            start = offset % self.PERIOD
            yield view[start:start + step]
            offset += step

    def bytes(self, size):
        return b"".join(self.chunks(size))

    def sha256(self, size):
        digest = hashlib.sha256()
        for chunk in self.chunks(size):
            digest.update(chunk)
        return digest.hexdigest()


PATTERN = Pattern()
Ending = collections.namedtuple("Ending", "how size sha256")


# ---- sockets ---------------------------------------------------------------------------------------------------

class Peer:
    """One end of a connection, with the ways to end it by name."""

    def __init__(self, sock):
        self.socket = sock
        self.socket.settimeout(DEADLINE * PATIENCE)
        self.ended = None

    def send(self, data):
        self.socket.sendall(data)
        return self

    def send_pattern(self, size, pattern=PATTERN):
        for chunk in pattern.chunks(size):
            self.socket.sendall(chunk)
        return self

    def read(self, limit=256 * KIB):
        return self.socket.recv(limit)

    def read_exact(self, size):
        parts = []
        while size > 0:
            part = self.socket.recv(min(size, 256 * KIB))
            if not part:
                raise AssertionError(f"the end came {size} bytes early")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read_line(self):
        line = b""
        while not line.endswith(b"\n"):
            line += self.read_exact(1)
        return line

    def receive(self, limit=256 * KIB):
        """What comes next; nothing at the end, and `ended` then says how it ended: 'fin' or 'reset'."""
        try:
            data = self.socket.recv(limit)
        except (ConnectionResetError, BrokenPipeError):
            self.ended = "reset"
            return b""
        if not data:
            self.ended = "fin"
        return data

    def read_rest(self):
        """All bytes until the end, however it comes."""
        return b"".join(iter(self.receive, b""))

    def read_to_end(self):
        """Reads all there is; how it ended, the number of bytes and their hash."""
        digest, size = hashlib.sha256(), 0
        while data := self.receive():
            digest.update(data)
            size += len(data)
        return Ending(self.ended, size, digest.hexdigest())

    def exchange(self, data):
        """Sends the bytes and reads as many back."""
        self.send(data)
        return self.read_exact(len(data))

    def readable(self, seconds):
        return bool(select.select([self.socket], [], [], seconds)[0])

    def wait_broken(self):
        """Waits for a reset, even after the other side's FIN; whether it came."""
        poll = select.poll()
        poll.register(self.socket, 0)
        return bool(poll.poll(DEADLINE * PATIENCE * 1000))

    def finish(self):
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def reset(self):
        """Closes with an RST instead of a FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(url, receive_buffer=None, source=None, timeout=None):
    family, address = socket_address(url)
    sock = socket.socket(family, socket.SOCK_STREAM)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source:
        sock.bind(source)
    sock.settimeout((timeout or DEADLINE) * PATIENCE)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return Peer(sock)


# ---- scripted backends -----------------------------------------------------------------------------------------

class Backend:
    """A listener whose connections are each served by `serve(peer)` in a thread; at `url`, if there is one."""

    def __init__(self, serve, kind="tcp4", folder=None, name="backend", receive_buffer=None, backlog=4096, url=None):
        family, address = socket_address(url or bind_text(kind, folder, name))
        self.serve = serve
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if url:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.bind(address)
        self.socket.listen(backlog)
        self.url = url_of(self.socket)
        self.accepted = 0
        self.failures = []
        self.closing = False
        self.lock = threading.Lock()
        self.peers = set()
        self.outcomes = queue.Queue()
        self.accepter = threading.Thread(target=self._accept, daemon=True)
        self.accepter.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock)
            with self.lock:
                self.accepted += 1
                self.peers.add(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        try:
            outcome = self.serve(peer)
            if outcome is not None:
                self.outcomes.put(outcome)
        except OSError as error:
            self.outcomes.put(error)
        except Exception as error:  # pylint: disable=broad-except
            if not self.closing:
                self.failures.append(repr(error))
        finally:
            with self.lock:
                self.peers.discard(peer)
            peer.close()

    def outcome(self):
        """What the next `serve` that ended returned, or the OSError that ended it."""
        try:
            return self.outcomes.get(timeout=DEADLINE * PATIENCE)
        except queue.Empty:
            raise AssertionError("no connection of the backend has ended") from None

    @property
    def live(self):
        with self.lock:
            return len(self.peers)

    def close(self):
        if self.closing:
            return
        self.closing = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with self.lock:
            peers = list(self.peers)
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.socket.shutdown(socket.SHUT_RDWR)
        name = socket_address(self.url)[1]
        if isinstance(name, str) and name.startswith("/"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def url_of(sock):
    name = sock.getsockname()
    if sock.family == socket.AF_INET:
        return f"tcp://{name[0]}:{name[1]}"
    if sock.family == socket.AF_INET6:
        return f"tcp://[{name[0]}]:{name[1]}"
    if isinstance(name, bytes):
        return "unix:@" + name[1:].decode()
    return "unix:@" + name[1:] if name.startswith("\0") else f"unix://{name}"


def echo(peer):
    """Gives back what comes, and ends when the other side has."""
    while True:
        data = peer.read()
        if not data:
            peer.finish()
            return
        peer.send(data)


def hold(peer):
    """Keeps the connection open, silent, until the other side ends it; says how it ended."""
    return peer.read_to_end()


class Swallowing:
    """A listener that is never accepted from and whose backlog is full: whoever dials it waits."""

    def __init__(self, kind="tcp4", folder=None, url=None):
        family, address = socket_address(url or bind_text(kind, folder, "swallow"))
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.bind(address)
        self.socket.listen(0)
        self.url = url_of(self.socket)
        self.fillers = []
        address = socket_address(self.url)[1]
        while True:
            filler = socket.socket(family, socket.SOCK_STREAM)
            filler.setblocking(False)
            self.fillers.append(filler)
            result = filler.connect_ex(address)
            if result == errno.EAGAIN:
                return
            if result == errno.EINPROGRESS and not select.select([], [filler], [], 0.2)[1]:
                return

    def accept_last(self):
        """Makes room, and takes the connection that waits: the kernel of the other side tries again after a second."""
        fillers = {filler.getsockname() for filler in self.fillers}
        while True:
            self.socket.settimeout(DEADLINE * PATIENCE)
            accepted, other = self.socket.accept()
            if other not in fillers:
                return Peer(accepted)
            accepted.close()

    def close(self):
        for filler in self.fillers:
            filler.close()
        self.socket.close()


# ---- programs --------------------------------------------------------------------------------------------------

LIBC = ctypes.CDLL(None, use_errno=True)


# Whatever the tests start dies with them, even when they are killed.
def die_with_parent(sig):
    def prepare():
        LIBC.prctl(1, sig)
    return prepare


class Program:
    """A real server in the foreground, ended by its id."""

    def __init__(self, argv, folder, name, user=None, sig=signal.SIGTERM):
        self.name = name
        self.log = os.path.join(folder, name + ".log")
        self.sig = sig
        if user:
            argv = ["setpriv", f"--reuid={user}", f"--regid={group_of(user)}", "--clear-groups",
                    "--pdeathsig=KILL"] + argv
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                                            preexec_fn=die_with_parent(signal.SIGKILL))

    def output(self):
        with open(self.log, "rb") as log:
            return log.read().decode("utf-8", "backslashreplace")

    def wait_until(self, condition, what):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended: {self.output()}")
            return condition()
        wait_for(ready, f"{self.name}: {what}", 60)

    def accepts(self, url):
        try:
            connect(url).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(self.sig)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def group_of(user):
    import grp
    import pwd
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


def unprivileged_user(*names):
    """The first of these users that exists, if we are root; None otherwise."""
    import pwd
    if os.geteuid() != 0:
        return None
    for name in names + ("nobody",):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return None


def run(argv, deadline=120, data=None, check=True, **more):
    """Runs a client program to its end."""
    result = subprocess.run(argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            timeout=deadline * PATIENCE, check=False, **more)
    if check and result.returncode != 0:
        raise AssertionError(f"{argv} ended with {result.returncode}: {result.stdout[-2000:]!r} "
                             f"{result.stderr[-2000:]!r}")
    return result


def need(*programs):
    """Skips the test when a program is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            raise unittest.SkipTest(f"{program} is not installed")


# ---- the log ---------------------------------------------------------------------------------------------------

LEVELS = ("trace", "debug", "info", "warning", "error")
_TOKEN = re.compile(r'(?:([A-Za-z_][\w.-]*)=)?("(?:[^"\\]|\\.)*"|\S*)(?:\s+|$)')


def unquote(text):
    if not text.startswith('"'):
        return text
    simple = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}

    def plain(match):
        code = match.group(1)
        return chr(int(code[1:], 16)) if code[0] == "x" else simple.get(code, code)
    return re.sub(r"\\(x[0-9a-fA-F]{2}|.)", plain, text[1:-1])


class Record:
    """One line of the text log: time, level, subject, message (the words), fields."""

    def __init__(self, line):
        self.line = line
        self.time = self.level = self.subject = None
        self.fields = {}
        words = []
        position = 0
        while position < len(line):
            match = _TOKEN.match(line, position)
            if not match or match.end() == position:
                break
            position = match.end()
            key, value = match.group(1), unquote(match.group(2))
            if self.level is None:
                if key is None and value in LEVELS:
                    self.level = value
                else:
                    self.time = (self.time + " " if self.time else "") + match.group(2)
            elif self.subject is None:
                self.subject = value if key is None else match.group(0).strip()
            elif key is None:
                words.append(value)
            else:
                self.fields[key] = value
        self.message = " ".join(words)

    def __repr__(self):
        return self.line


# ---- the daemons -----------------------------------------------------------------------------------------------

PIDFD_GETFD = 438  # the number of the system call; pidfd_getfd(2)
TCP_CLOSE = 7  # a state of TCP_INFO


def sockets_of(pid):
    """The sockets of a process of ours, one after the other, as descriptors of our own that are closed again.

    The tables in /proc/net have them too, but are slow to read, and may miss one while others come and go.
    """
    process = os.pidfd_open(pid)
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if not os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:["):
                    continue
                own = LIBC.syscall(PIDFD_GETFD, process, int(number), 0)
                if own >= 0:
                    with socket.socket(fileno=own) as found:
                        yield found
    finally:
        os.close(process)


def tcp_state(sock):
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def is_listening(sock):
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def is_connected(sock):
    """TCP, or a Unix socket that was accepted: it carries the listener's name."""
    if sock.type != socket.SOCK_STREAM or is_listening(sock):
        return False
    return bool(sock.getsockname()) if sock.family == socket.AF_UNIX else tcp_state(sock) != TCP_CLOSE


def asks_dns(sock):
    return sock.type == socket.SOCK_DGRAM and sock.family != socket.AF_UNIX


def queued(sock, request=termios.FIONREAD):
    """Bytes in a socket that were not read; with TIOCOUTQ, those that were not sent and acknowledged."""
    return struct.unpack("i", fcntl.ioctl(sock, request, b"\0" * 4))[0]


class Daemon:
    """A controller or a segment, its log and what it uses."""

    def __init__(self, role, text, folder, name=None, args=(), limit=None, env=None, log_format="text",
                 prefix=(), passed=()):
        self.role = role
        self.text = text
        self.folder = folder
        self.name = name or role
        self.args = list(args)
        self.limit = limit
        self.prefix = list(prefix)
        self.passed = list(passed)  # sockets, each with the name under which systemd would pass it
        self.env = env
        self.log_format = log_format
        self.file = os.path.join(folder, self.name + ".ini")
        self.log = os.path.join(folder, self.name + ".log")
        self.log_position = 0
        self._lines = []
        self._records = []
        self.lock = threading.RLock()
        self.process = None
        self.base = None
        self.expected_end = False

    # -- life

    def start(self, wait=True):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(self.text)
        argv = [os.path.join(BUILD, self.role), "-f", self.file] + self.args
        if self.limit:
            argv = ["prlimit", f"--nofile={self.limit}:{self.limit}"] + argv
        argv = self.prefix + argv
        if self.passed:  # only the process itself knows its number
            argv = ["sh", "-c", 'export LISTEN_PID=${LISTEN_PID-$$}; exec "$@"', "sh", *argv]
        # A file, not a pipe: a daemon in a flood of log lines shall not wait for the test to read them.
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                                            cwd=self.folder, env=self._environment(),
                                            close_fds=not self.passed, preexec_fn=self._prepare)
        self.expected_end = False
        if wait:
            self.wait_log(lambda r: r.subject == self.role and "ready" in r.message, "ready")
            self.base = self._base()
        return self

    def _prepare(self):
        """In the child. What Python opened is closed by exec, also without close_fds."""
        die_with_parent(signal.SIGKILL)()
        first = 100 + len(self.passed)  # what is passed may stand where others go
        copies = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, first) for _, sock in self.passed]
        for number, copy in enumerate(copies):
            os.dup2(copy, 3 + number)

    def _environment(self):
        env = dict(os.environ)
        if self.passed:
            env.update(LISTEN_FDS=str(len(self.passed)), LISTEN_FDNAMES=":".join(name for name, _ in self.passed))
        env.pop("NOTIFY_SOCKET", None)
        env.pop("JOURNAL_STREAM", None)
        env.update(self.env or {})
        return env

    @property
    def lines(self):
        """The log so far, whole lines."""
        with self.lock:
            self._read_log()
            return self._lines

    @property
    def records(self):
        """The same, parsed."""
        with self.lock:
            self._read_log()
            for line in self._lines[len(self._records):]:
                self._records.append(self._parse(line))
            return self._records

    def _read_log(self):
        with contextlib.suppress(FileNotFoundError), open(self.log, "rb") as log:
            log.seek(self.log_position)
            data = log.read()
            end = data.rfind(b"\n") + 1
            self.log_position += end
            self._lines += data[:end].decode("utf-8", "backslashreplace").split("\n")[:-1]

    def _parse(self, line):
        if self.log_format == "json":
            record = Record("")
            record.line = line
            with contextlib.suppress(ValueError):
                fields = json.loads(line)
                record.time, record.level = fields.pop("time", None), fields.pop("level", None)
                record.subject, record.message = fields.pop("subject", None), fields.pop("message", "")
                record.fields = fields
            return record
        return Record(line)

    def signal(self, sig):
        self.process.send_signal(sig)

    def reload(self, text=None, refused=False):
        """Has it read its file again, with `text` as its content; returns what the log says of it."""
        if text is not None:
            self.text = text
            # Replaced, not written: it may be read at any time.
            with open(self.file + ".new", "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(self.file + ".new", self.file)
        mark = self.mark()
        self.signal(signal.SIGHUP)
        message = "reload refused" if refused else "reloaded"
        record = self.wait_log(lambda r: r.subject == self.role and r.message.startswith("reload"), "reload", mark)
        if not record.message.startswith(message):
            raise AssertionError(f"{self.name} did not say '{message}':\n{self.output()}")
        self.base = self._base()
        return record

    def kill(self):
        """Ends it as a crash would."""
        self.expected_end = True
        self.process.kill()
        self.process.wait()

    def terminate(self):
        self.expected_end = True
        self.process.send_signal(signal.SIGTERM)

    def wait_exit(self, deadline=DEADLINE):
        """The exit code, once it has ended."""
        self.expected_end = True
        try:
            code = self.process.wait(deadline * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end:\n{self.output()}") from None
        return code

    def stop(self, deadline=DEADLINE):
        """SIGTERM and a clean end."""
        if not self.alive:
            return
        self.terminate()
        code = self.wait_exit(deadline)
        if code != 0:
            raise AssertionError(f"{self.name} ended with {code}:\n{self.output()}")

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def frozen_text(self):
        """The configuration with the ports that the kernel chose, for a successor at the same addresses."""
        text = self.text
        for record in self.listening():
            address = record.fields["address"]
            if address.startswith("tcp://"):
                text = text.replace(address.rsplit(":", 1)[0] + ":0\n", address + "\n", 1)
        return text

    # -- log

    def output(self, last=30):
        return "\n".join(f"  {self.name}: {line}" for line in self.lines[-last:])

    def check_alive(self):
        if not self.alive and not self.expected_end:
            raise AssertionError(f"{self.name} died with {self.process.returncode}:\n{self.output(100)}")

    def find(self, match, since=0):
        return [record for record in self.records[since:] if match(record)]

    def mark(self):
        """Where the log is now, for `since`."""
        return len(self.records)

    def wait_log(self, match, what, since=0, deadline=DEADLINE, count=1):
        """Waits for `count` records that match, and returns them (the one, if one)."""
        found = []
        position = since

        def enough():
            nonlocal position
            alive = self.alive
            records = self.records
            found.extend(record for record in records[position:] if match(record))
            position = max(position, len(records))
            return len(found) >= count or not alive
        with contextlib.suppress(AssertionError):
            wait_for(enough, what, deadline)
        if len(found) < count:
            raise AssertionError(f"{self.name} logged no {what} ({len(found)} of {count}):\n{self.output()}")
        return found[0] if count == 1 else found

    def listening(self):
        return self.find(lambda r: r.message == "listening")

    def address(self, subject=None, number=0):
        """The address that a service listens on; `subject` as in the log, the first bind if None."""
        found = [r for r in self.listening() if subject is None or r.subject == subject]
        if len(found) <= number:
            raise AssertionError(f"{self.name} has no bind {number} of {subject}:\n{self.output()}")
        return found[number].fields["address"]

    def wait_link(self, since=0, count=1):
        return self.wait_log(lambda r: r.subject == "link" and re.search(r"\bup\b", r.message), "link up", since,
                             count=count)

    def wait_conversation(self, since=0, count=1, service=None, **fields):
        """Waits for conversation lines with these fields, of this service."""
        def match(record):
            return "end" in record.fields and "id" in record.fields and service in (None, record.subject) and all(
                record.fields.get(key) == value for key, value in fields.items())
        return self.wait_log(match, f"conversation {fields}", since, count=count)

    # -- what it uses

    def status(self, key):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
        raise KeyError(key)

    def rss(self):
        """Resident bytes."""
        return self.status("VmRSS") * KIB

    def cpu(self):
        """Seconds of CPU used, by all threads."""
        total = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{self.pid}/task/{task}/schedstat", encoding="ascii") as stat:
                    total += int(stat.read().split()[0])
        return total / 1e9

    def load(self, seconds):
        """The share of one CPU that it uses over a window."""
        cpu, start = self.cpu(), time.monotonic()
        window(seconds)
        return (self.cpu() - cpu) / (time.monotonic() - start)

    def descriptors(self):
        """Without those with which it asks DNS: they are open while it waits for an answer."""
        return len(os.listdir(f"/proc/{self.pid}/fd")) - self.resolving()

    def resolving(self):
        """Its UDP sockets."""
        return sum(asks_dns(sock) for sock in sockets_of(self.pid))

    def connected(self):
        return sum(is_connected(sock) for sock in sockets_of(self.pid))

    def wait_connected(self, count):
        wait_for(lambda: self.connected() == count, f"{count} connected sockets of {self.name}")

    def unread(self, url):
        """Bytes that wait in its TCP sockets that are connected to an address."""
        found = 0
        for sock in sockets_of(self.pid):
            with contextlib.suppress(OSError):
                if sock.family != socket.AF_UNIX and sock.getpeername()[1] == host_and_port(url)[1]:
                    found += queued(sock)
        return found

    def _base(self):
        """What it holds without connections: the least of several looks, since what comes and goes only adds."""
        looks = [self._lasting()]
        while len(looks) < 6:
            window(0.001)
            looks.append(self._lasting())
        return min(looks)

    def _lasting(self):
        """Each descriptor is looked at once: one that asks DNS, or that was refused, may be closed at any time."""
        found = sum(is_listening(sock) or sock.family == socket.AF_UNIX and not is_connected(sock)
                    for sock in sockets_of(self.pid))
        for number in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found += not os.readlink(f"/proc/{self.pid}/fd/{number}").startswith("socket:[")
        return found


class Case(unittest.TestCase):
    """A test with daemons. After it all descriptors are back, nothing spins, and SIGTERM ends them with 0."""

    maxDiff = 2000
    idle_load = 0.04

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="cloudbus-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        os.chmod(self.folder, 0o755)
        self.daemons = []
        self.edges = []
        self.open = []
        self.skip_invariants = False

    # -- starting things

    def daemon(self, role, text, name=None, wait=True, **more):
        name = name or role
        names = {daemon.name for daemon in self.daemons}
        if name in names:
            name = f"{name}-{len(self.daemons)}"
        daemon = Daemon(role, text, self.folder, name, **more)
        self.daemons.append(daemon)
        return daemon.start(wait)

    def segment(self, text, **more):
        return self.daemon("segment", text, **more)

    def controller(self, text, **more):
        return self.daemon("controller", text, **more)

    def links(self, controller, segment, count=1):
        """Tells the invariants that a controller holds links to a segment."""
        self.edges = [edge for edge in self.edges if edge[:2] != (controller, segment)]
        self.edges.append((controller, segment, count))

    def backend(self, serve, kind="tcp4", **more):
        backend = Backend(serve, kind, self.folder, name=f"backend-{len(self.open)}", **more)
        self.open.append(backend)
        return backend

    def crowd_server(self):
        """The echo server in its own process, for its own descriptors."""
        return self.echo_process()[0]

    def echo_process(self):
        """The same: its address, and the process."""
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "crowd.py")
        process = subprocess.Popen([sys.executable, path, HOME], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def end():
            process.stdin.close()
            process.wait(DEADLINE)
            process.stdout.close()
        self.addCleanup(end)
        return f"tcp://{HOME}:{int(process.stdout.readline())}", process

    def redis(self, *options, name="redis"):
        """A Redis that listens, and its address."""
        port = free_port()
        server = Program(["redis-server", "--port", str(port), "--bind", HOME, "--save", "", "--appendonly", "no",
                          "--protected-mode", "no", *options], self.folder, name)
        self.addCleanup(server.stop)
        url = f"tcp://{HOME}:{port}"
        server.wait_until(lambda: server.accepts(url), "listening")
        return server, url

    def connect(self, url, **more):
        peer = connect(url, **more)
        self.open.append(peer)
        return peer

    def refusal(self, url):
        """How a client that cannot be served ends: ("reset", 0), maybe before connect() returns."""
        try:
            with self.connect(url) as client:
                return client.read_to_end()[:2]
        except ConnectionResetError:
            return ("reset", 0)

    def keep(self, thing):
        """Something with close() that is closed before the invariants are looked at."""
        self.open.append(thing)
        return thing

    def pair(self, server, client="tcp4", link="tcp4", service="Orders", controller="", segment="",
             controller_global="", segment_global="", links=1, **more):
        """A segment in front of `server`, a controller in front of the segment, and the link between them."""
        return Pair(self, server, client, link, service, controller, segment, controller_global, segment_global,
                    links, **more)

    # -- what must hold after every test

    def tearDown(self):
        problems = []
        try:
            for thing in self.open:
                with contextlib.suppress(OSError):
                    thing.close()
            self._check(problems)
        finally:
            for daemon in self.daemons:
                if daemon.alive:
                    daemon.expected_end = True
                    daemon.process.kill()
                    daemon.process.wait()
            for daemon in self.daemons:
                daemon.lines  # pylint: disable=pointless-statement  # what it said last, before the folder goes
            shutil.rmtree(self.folder, ignore_errors=True)
        for backend in self.open:
            if isinstance(backend, Backend):
                problems += backend.failures
        for daemon in self.daemons:
            found = [line for line in daemon.lines if REPORTS.search(line)]
            if found:
                problems.append(f"{daemon.name}: {found[0]}\n{daemon.output(100)}")
        if problems:
            self.fail("\n".join(problems))

    def _check(self, problems):
        for daemon in self.daemons:
            try:
                daemon.check_alive()
            except AssertionError as error:
                problems.append(str(error))
        if problems or self._failed_already():
            for daemon in self.daemons:
                print(daemon.output(), flush=True)
            if self._failed_already():
                return
        for check in (self._descriptors_back, self._nothing_spins, self._clean_end):
            try:
                if not self.skip_invariants:
                    check()
            except AssertionError as error:
                problems.append(str(error))
                return

    def _failed_already(self):
        found = self._outcome.result.failures + self._outcome.result.errors
        return any(self in (test, getattr(test, "test_case", None)) for test, _ in found)

    def _expected(self, daemon):
        low = high = 0
        for controller, segment, count in self.edges:
            if daemon in (controller, segment) and controller.alive:
                other = segment if daemon is controller else controller
                high += count
                low += count if other.alive else 0
        return daemon.base + low, daemon.base + high

    def _balanced(self, daemon):
        if not daemon.alive:
            return daemon.expected_end
        low, high = self._expected(daemon)
        return low <= daemon.descriptors() <= high

    def _descriptors_back(self):
        for daemon in self.daemons:
            if not daemon.alive or daemon.base is None:
                continue
            try:
                wait_for(lambda d=daemon: self._balanced(d), "descriptors", 15)
            except AssertionError:
                low, high = self._expected(daemon)
                listing = run(["ls", "-l", f"/proc/{daemon.pid}/fd"], check=False).stdout.decode()
                raise AssertionError(f"{daemon.name} holds {daemon.descriptors()} descriptors, not {low} to {high}:\n"
                                     f"{listing}\n{daemon.output()}") from None

    def _nothing_spins(self):
        alive = [daemon for daemon in self.daemons if daemon.alive]
        if not alive:
            return
        busy = {}
        end = time.monotonic() + 10 * PATIENCE
        while time.monotonic() < end:
            before = [(daemon, daemon.cpu()) for daemon in alive]
            start = time.monotonic()
            window(0.15)
            seconds = time.monotonic() - start
            busy = {daemon.name: (daemon.cpu() - cpu) / seconds for daemon, cpu in before}
            if all(load < self.idle_load for load in busy.values()):
                return
        raise AssertionError(f"busy without an event: {busy}")

    def _clean_end(self):
        alive = [daemon for daemon in self.daemons if daemon.alive]
        for daemon in alive:
            daemon.terminate()
        for daemon in alive:
            code = daemon.wait_exit(10)
            if code != 0:
                raise AssertionError(f"{daemon.name} ended with {code} after SIGTERM:\n{daemon.output(100)}")


def threads_of(text):
    """How many workers a daemon has. Each of a controller's has links of its own."""
    threads = [int(line.split("=")[1]) for line in text.splitlines() if line.startswith("threads=")]
    return threads[0] if threads else 1


class Pair:
    """A controller and a segment with one service between a client and a server."""

    def __init__(self, case, server, client, link, service, controller, segment, controller_global, segment_global,
                 links, controller_args=None, segment_args=None, link_bind=None):
        self.case = case
        self.service = service
        number = len(case.daemons)
        link_bind = link_bind or bind_text(link, case.folder, f"link{number}")
        self.segment = case.segment(
            f"[Cloudbus]\n{segment_global}\n[{service}]\nbind={link_bind}\nserver={server}\n{segment}\n",
            name=f"segment{number}", **(segment_args or {}))
        self.link_url = self.segment.address(service)
        client_bind = bind_text(client, case.folder, f"client{number}")
        more = f"links={links}\n" if links != 1 else ""
        self.controller = case.controller(
            f"[Cloudbus]\n{controller_global}\n[{service}]\nbind={client_bind}\nserver={self.link_url}\n"
            f"{more}{controller}\n", name=f"controller{number}", **(controller_args or {}))
        links *= threads_of(controller_global)
        self.controller.wait_link(count=links)
        if link in ("unix", "abstract"):
            self.controller.base = self.controller.descriptors() - links
        case.links(self.controller, self.segment, links)
        self.url = self.controller.address(service)

    def connect(self, **more):
        return self.case.connect(self.url, **more)

    def refusal(self):
        return self.case.refusal(self.url)

    @property
    def both(self):
        return self.controller, self.segment

    def wait_connected(self, count):
        for daemon in self.both:
            daemon.wait_connected(count)


class Load:
    """Clients that come one after the other in each of some threads, until the end of the `with`.

    Each gets the server's name, if it says one, and an echo. `failures` holds what went wrong, `seconds` how long each
    took, `served` how many each server has had.
    """

    def __init__(self, url, threads=4, size=64, has_names=True):
        self.url = url
        self.size = size
        self.has_names = has_names
        self.failures = []
        self.seconds = []
        self.served = collections.Counter()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def visit(self):
        """One client; the name of its server."""
        data = random.randbytes(self.size)
        start = time.monotonic()
        with connect(self.url) as client:
            client.send(data)
            name = client.read_line().strip().decode() if self.has_names else ""
            if client.read_exact(self.size) != data:
                raise AssertionError("the echo differs")
            seconds = time.monotonic() - start
            client.finish()
            if client.read():
                raise AssertionError("more came than was sent")
        with self.lock:
            self.seconds.append(seconds)
            self.served[name] += 1
        return name

    def _run(self):
        while not self.stopping.is_set():
            try:
                self.visit()
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))

    @property
    def count(self):
        return len(self.seconds)

    def wait_more(self, count):
        """Waits until so many more clients were served."""
        end = self.count + count
        wait_for(lambda: self.count >= end or self.failures, f"{count} more clients")
        self.check()

    def check(self):
        if self.failures:
            raise AssertionError(f"{len(self.failures)} clients failed, {self.count} did not: {self.failures[:3]}")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        if kind is None:
            self.check()


def seconds(text):
    """A duration as the log writes it: "1.2ms" or "3.402s"."""
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


def best_of(attempts, measure, bound):
    """The least of some measurements, as the machine has other work: as few as are needed to be within the bound."""
    least = measure()
    while least > bound and attempts > 1:
        attempts -= 1
        least = min(least, measure())
    return least


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def round_trips(peer, count, size=64, spacing=None):
    """Seconds that each of `count` echoes took."""
    data = os.urandom(size)
    times = []
    for _ in range(count):
        start = time.monotonic()
        if peer.exchange(data) != data:
            raise AssertionError("the echo differs")
        times.append(time.monotonic() - start)
        if spacing:
            window(spacing)
    return times
