# SPDX-License-Identifier: Apache-2.0
"""DNS servers on a loopback port: a scripted one with faults, which counts its queries, and NSD, whose zone changes.

Both are told of their records in the same way, with names below the zone and data as tuples:
    server.set("orders", A=["127.0.0.1", "127.0.0.2"], AAAA=["::1"])
    server.set("_orders._tcp", SRV=[(10, 60, 7900, "one")])
    server.set("bus.urn", NAPTR=[(100, 10, "s", "bus+tcp", "", "_orders._tcp")])
    server.set("alias", CNAME="orders")
"""

import collections
import contextlib
import os
import random
import signal
import socket
import struct
import threading
import time

import pair

ZONE = "cloud.test"
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "AAAA": 28, "SRV": 33, "NAPTR": 35, "OPT": 41}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
ANSWER, AUTHORITATIVE, TRUNCATED, RECURSION_DESIRED, RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
QUESTION_NAME = b"\xc0\x0c"  # a pointer to it
# What an answer that must not be believed says. Nobody listens there.
POISON = "127.66.66.66"

Query = collections.namedtuple("Query", "time name type transport id")


def full(name, zone=ZONE):
    """The whole name, in lower case and without a final dot; one that ends with a dot is whole already."""
    name = name.lower()
    if name.endswith("."):
        return name[:-1]
    return f"{name}.{zone}" if name != "@" else zone


def hosts(count):
    """Loopback addresses that only this process uses."""
    return [f"{pair.HOME.rsplit('.', 1)[0]}.{number}" for number in range(1, count + 1)]


def free_port(*addresses):
    """A port that is free at all of these addresses, for TCP and UDP."""
    for _ in range(100):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            port = 0
            for address in addresses:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    probe = stack.enter_context(socket.socket(family, kind))
                    probe.bind((address, port))
                    port = probe.getsockname()[1]
            return port
    raise AssertionError(f"no port is free at all of {addresses}")


# ---- the format of messages (RFC 1035, section 4) --------------------------------------------------------------

def encode_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def encode_text(text):
    data = text.encode()
    return bytes([len(data)]) + data


def encode_data(kind, data, zone):
    if kind == "A":
        return socket.inet_pton(socket.AF_INET, data)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, data)
    if kind in ("CNAME", "NS"):
        return encode_name(full(data, zone))
    if kind == "SRV":
        priority, weight, port, target = data
        return struct.pack("!3H", priority, weight, port) + encode_name(full(target, zone))
    if kind == "NAPTR":
        order, preference, flags, services, regexp, replacement = data
        return (struct.pack("!2H", order, preference) + encode_text(flags) + encode_text(services) +
                encode_text(regexp) + encode_name(full(replacement, zone)))
    raise ValueError(kind)


def encode_record(name, kind, ttl, data):
    """`name` may be encoded already."""
    owner = name if isinstance(name, bytes) else encode_name(name)
    return owner + struct.pack("!HHIH", TYPES[kind], 1, ttl, len(data)) + data


def encode_query(name, kind, number=0, recursive=True):
    return (struct.pack("!6H", number, RECURSION_DESIRED if recursive else 0, 1, 0, 0, 0) + encode_name(name) +
            struct.pack("!2H", TYPES[kind], 1))


class Question:
    """What a query asks."""

    def __init__(self, message):
        self.id, self.flags, questions, _, _, additional = struct.unpack("!6H", message[:12])
        labels, position = [], 12
        while message[position]:
            length = message[position]
            labels.append(message[position + 1:position + 1 + length].decode("ascii", "backslashreplace"))
            position += 1 + length
        kind, = struct.unpack("!H", message[position + 1:position + 3])
        if questions != 1 or len(message) < position + 5:
            raise ValueError("not one question")
        self.name = ".".join(labels).lower()
        self.type = TYPE_NAMES.get(kind, str(kind))
        self.raw = message[12:position + 5]
        # The OPT record of EDNS is the only additional one that resolvers send: RFC 6891, section 6.1.2.
        self.size = max(512, struct.unpack("!H", message[position + 8:position + 10])[0]) if additional else 512
        self.has_edns = bool(additional)


# ---- the scripted server ---------------------------------------------------------------------------------------

class Scripted:
    """Answers as a resolver that knows one zone, but for the faults that it is told of.

    fail("orders", "silence") makes it silent for one name, fail("orders", "silence", "AAAA") for one type, and
    fail(None, "silence") for all; heal() ends that. The faults are the methods fault_*.
    """

    def __init__(self, host=None, port=None, zone=ZONE, negative_ttl=1):
        self.zone = zone
        self.negative_ttl = negative_ttl
        self.records = {}
        self.faults = {}
        self.asked = []
        self.held = []
        self.is_rotating = False
        self.failures = []
        self.lock = threading.RLock()
        host = host or pair.HOME
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.port = port or free_port(host)
        where = socket.getaddrinfo(host, self.port)[0][4]  # with the number of a zone
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind(where)
        self.tcp = socket.socket(family, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(where)
        self.tcp.listen(64)
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.closing = False
        for loop in (self._serve_udp, self._accept):
            threading.Thread(target=loop, daemon=True).start()

    # -- what it knows

    def set(self, name, ttl=1, **records):
        """All the records of a name; what it had before is forgotten."""
        data = {kind: [value] if isinstance(value, str) else list(value) for kind, value in records.items()}
        with self.lock:
            self.records[full(name, self.zone)] = (ttl, data)

    def remove(self, name):
        with self.lock:
            self.records.pop(full(name, self.zone), None)

    def fail(self, name, fault, kind=None):
        with self.lock:
            self.faults[name and full(name, self.zone), kind] = getattr(self, "fault_" + fault.replace(" ", "_"))

    def heal(self, name=None, kind=None):
        with self.lock:
            self.faults.pop((name and full(name, self.zone), kind), None)

    # -- what it was asked

    def queries(self, name=None, kind=None, since=0):
        """The queries so far, or those after the first `since`."""
        with self.lock:
            return [query for query in self.asked[since:]
                    if (name is None or query.name == full(name, self.zone)) and kind in (None, query.type)]

    def starts(self, name, kind):
        """When each query was sent first. One that is sent again has its id."""
        first = {}
        for query in self.queries(name, kind):
            first.setdefault(query.id, query.time)
        return list(first.values())

    def mark(self):
        with self.lock:
            return len(self.asked)

    def wait_asked(self, name=None, kind=None, count=1, since=0):
        """Waits for so many queries."""
        return pair.wait_for(lambda: (found := self.queries(name, kind, since))[count - 1:] and found,
                             f"{count} queries for {name} {kind or ''}")

    def wait_renewed(self, name, times=1):
        """Waits until the answer for a name was given, taken and asked for again."""
        mark = self.mark()
        for kind in ("A", "AAAA"):
            self.wait_asked(name, kind, times + 1, since=mark)

    # -- its answers

    def message(self, question, code=NOERROR, answers=(), authority=(), flags=0, number=None, raw=None, edns=True):
        edns = edns and question.has_edns
        additional = b"\0" + struct.pack("!HHIH", TYPES["OPT"], 1232, 0, 0) if edns else b""
        flags |= ANSWER | RECURSION_DESIRED | RECURSION_AVAILABLE | code
        return (struct.pack("!6H", question.id if number is None else number, flags, 1, len(answers), len(authority),
                            1 if edns else 0) +
                (raw or question.raw) + b"".join(answers) + b"".join(authority) + additional)

    def start_of_authority(self):
        data = (encode_name("ns." + self.zone) + encode_name("root." + self.zone) +
                struct.pack("!5I", 1, 3600, 600, 86400, self.negative_ttl))
        return encode_record(self.zone, "SOA", self.negative_ttl, data)

    def answer(self, question):
        """The right answer, of any length."""
        answers, name, seen = [], question.name, set()
        while True:
            ttl, records = self.records.get(name, (0, None))
            if records is None and not answers:
                return self.message(question, NXDOMAIN, authority=[self.start_of_authority()])
            if not records or "CNAME" not in records or question.type == "CNAME" or name in seen:
                break
            seen.add(name)
            answers.append(encode_record(name, "CNAME", ttl, encode_data("CNAME", records["CNAME"][0], self.zone)))
            name = full(records["CNAME"][0], self.zone)
        found = list((records or {}).get(question.type, [])) if name not in seen else []
        if self.is_rotating and found:
            turn = len(self.asked) % len(found)
            found = found[turn:] + found[:turn]
        owner = QUESTION_NAME if name == question.name else name
        answers += [encode_record(owner, question.type, ttl, encode_data(question.type, data, self.zone))
                    for data in found]
        return self.message(question, answers=answers, authority=[] if found else [self.start_of_authority()])

    def messages(self, data, transport, respond):
        """What is sent back for a query: any number of messages, now or later."""
        question = Question(data)
        with self.lock:
            self.asked.append(Query(time.monotonic(), question.name, question.type, transport, question.id))
            for key in ((question.name, question.type), (question.name, None), (None, question.type), (None, None)):
                if fault := self.faults.get(key):
                    return fault(question, transport, respond)
            return [self.fitting(question, transport)]

    def fitting(self, question, transport):
        answer = self.answer(question)
        if transport == "udp" and len(answer) > question.size:
            return self.message(question, flags=TRUNCATED)
        return answer

    def poisoned(self, question, number=None, raw=None):
        data = {"A": POISON, "AAAA": "::ffff:" + POISON}.get(question.type)
        answers = [encode_record(question.name, question.type, 3600, encode_data(question.type, data, self.zone))] \
            if data else []
        return self.message(question, answers=answers, number=number, raw=raw)

    # -- faults: each gives the messages that are sent instead

    def fault_silence(self, *_):
        return []

    def fault_hold(self, question, transport, respond):
        """Answers when it is released."""
        self.held.append((question, transport, respond))
        return []

    def release(self):
        """Ends `hold` for all names, and answers what was asked."""
        with self.lock:
            self.faults = {key: fault for key, fault in self.faults.items() if fault != self.fault_hold}
            held, self.held = self.held, []
            for question, transport, respond in held:
                respond(self.fitting(question, transport))

    def fault_servfail(self, question, *_):
        return [self.message(question, SERVFAIL)]

    def fault_refused(self, question, *_):
        return [self.message(question, REFUSED)]

    def fault_formerr(self, question, *_):
        """As an old server that does not know EDNS: RFC 6891, section 7."""
        return [self.message(question, FORMERR, edns=False)] if question.has_edns else [self.answer(question)]

    def fault_notimp(self, question, *_):
        return [self.message(question, NOTIMP)]

    def fault_nxdomain(self, question, *_):
        return [self.message(question, NXDOMAIN, authority=[self.start_of_authority()])]

    def fault_wrong_id(self, question, *_):
        return [self.poisoned(question, number=question.id ^ 0x5555)]

    def fault_wrong_question(self, question, *_):
        return [self.poisoned(question, raw=encode_name("else." + self.zone) + question.raw[-4:])]

    def fault_lies_first(self, question, transport, _):
        """What must not be believed, and then the answer."""
        return (self.fault_wrong_id(question) + self.fault_wrong_question(question) +
                [self.fitting(question, transport)])

    def fault_garbage(self, question, *_):
        head = struct.pack("!2H", question.id, ANSWER)
        count = struct.pack("!6H", question.id, ANSWER, 1, 0xFFFF, 0xFFFF, 0xFFFF)
        record = struct.pack("!HHI", TYPES.get(question.type, 1), 1, 60)
        return [b"", b"x", head, random.randbytes(40), head + random.randbytes(200), count + question.raw,
                # A name that points to itself; data that is longer than the message.
                struct.pack("!6H", question.id, ANSWER, 1, 1, 0, 0) + question.raw +
                struct.pack("!H", 0xC000 | 12 + len(question.raw)) + record + b"\0\x04\x7f\0\0\x01",
                struct.pack("!6H", question.id, ANSWER, 1, 1, 0, 0) + question.raw +
                b"\xc0\x0c" + record + b"\xff\xff\x7f\0\0\x01"]

    def fault_truncated(self, question, transport, _):
        return [self.message(question, flags=TRUNCATED) if transport == "udp" else self.answer(question)]

    def fault_truncated_and_silent(self, question, transport, _):
        return [self.message(question, flags=TRUNCATED)] if transport == "udp" else []

    def fault_truncated_and_closed(self, question, transport, _):
        return [self.message(question, flags=TRUNCATED)] if transport == "udp" else None

    # -- its sockets

    def _serve_udp(self):
        while not self.closing:
            try:
                data, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if self.closing:
                return
            self._respond(data, "udp", lambda message, peer=peer: self.udp.sendto(message, peer))

    def _accept(self):
        while not self.closing:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_tcp, args=(sock,), daemon=True).start()

    def _serve_tcp(self, sock):
        peer = pair.Peer(sock)
        with peer, contextlib.suppress(OSError, AssertionError):
            size, = struct.unpack("!H", peer.read_exact(2))
            is_kept = self._respond(peer.read_exact(size), "tcp",
                                    lambda message: peer.send(struct.pack("!H", len(message)) + message))
            if is_kept:
                peer.read_to_end()

    def _respond(self, data, transport, respond):
        """False if the connection is to be closed at once."""
        try:
            messages = self.messages(data, transport, respond)
            for message in messages or []:
                respond(message)
            return messages is not None
        except OSError:
            return False
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append(repr(error))
            return False

    def close(self):
        self.closing = True
        for sock in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


# ---- NSD -------------------------------------------------------------------------------------------------------

CONFIGURATION = """
server:
  ip-address: {host}@{port}
  username: ""
  zonesdir: "{folder}"
  xfrdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  zonelistfile: "{folder}/zone.list"
  xfrdfile: "{folder}/xfrd.state"
  server-count: 1
  tcp-timeout: 1
  round-robin: yes
remote-control:
  control-enable: no
zone:
  name: "{zone}"
  zonefile: "zone"
"""


def zone_text(kind, data, zone):
    """A record's data as in a zone file."""
    if kind == "CNAME":
        return full(data, zone) + "."
    if kind == "SRV":
        return "{} {} {} {}".format(*data[:3], full(data[3], zone) + ".")
    if kind == "NAPTR":
        quoted = ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in data[2:5]]
        return " ".join([str(data[0]), str(data[1]), *quoted, full(data[5], zone) + "."])
    return data


class Nsd:
    """A real server with one zone. It rotates its answers, and sends long ones by TCP."""

    def __init__(self, case, zone=ZONE, host=None):
        pair.need("nsd")
        self.zone = zone
        self.host = host or pair.HOME
        self.port = free_port(self.host)
        self.address = f"{self.host}:{self.port}"
        self.folder = os.path.join(case.folder, "nsd")
        self.records = {}
        self.serial = 0
        self.program = None
        os.makedirs(self.folder, exist_ok=True)
        with open(f"{self.folder}/nsd.conf", "w", encoding="ascii") as file:
            file.write(CONFIGURATION.format(host=self.host, port=self.port, folder=self.folder, zone=zone))
        self._write()
        case.addCleanup(self.stop)
        self.start()

    def start(self):
        self.program = pair.Program(["nsd", "-d", "-c", f"{self.folder}/nsd.conf"], self.folder, "nsd")
        self.program.wait_until(self._is_current, "answers")

    def stop(self):
        self.program.stop()

    def set(self, name, ttl=1, **records):
        """All the records of a name. Returns when they are served."""
        self.update({name: (ttl, records)})

    def remove(self, name):
        self.update({name: None})

    def update(self, changes):
        """Several names at once: {name: (ttl, {type: data}) or None}."""
        for name, what in changes.items():
            if what is None:
                self.records.pop(name, None)
            else:
                self.records[name] = what
        self._write()
        self.program.process.send_signal(signal.SIGHUP)
        self.program.wait_until(self._is_current, f"the zone's version {self.serial}")

    def _write(self):
        self.serial += 1
        lines = [f"$ORIGIN {self.zone}.", f"@ 1 SOA ns root {self.serial} 3600 600 86400 1", "@ 1 NS ns",
                 f"ns 1 A {self.host}"]
        for name, (ttl, records) in self.records.items():
            for kind, values in records.items():
                lines += [f"{name} {ttl} {kind} {zone_text(kind, data, self.zone)}"
                          for data in ([values] if isinstance(values, str) else values)]
        with open(f"{self.folder}/zone.new", "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        os.rename(f"{self.folder}/zone.new", f"{self.folder}/zone")

    def _is_current(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            sock.settimeout(0.2)
            sock.connect((self.host, self.port))
            sock.send(encode_query(self.zone, "SOA"))
            answer = sock.recv(4096)
            _, flags, _, answers, _, _ = struct.unpack("!6H", answer[:12])
            serial = struct.pack("!5I", self.serial, 3600, 600, 86400, 1)
            return flags & 0xF == NOERROR and answers == 1 and serial in answer
        return False


# ---- tests with names ------------------------------------------------------------------------------------------

def say(name):
    """A backend that says its name and then gives back what comes."""
    return lambda peer: pair.echo(peer.send(name.encode() + b"\n"))


class Site:
    """A segment at an address of its own with a backend of its own, both with one name."""

    def __init__(self, case, name, host, port):
        self.case = case
        self.name = name
        self.host = host
        self.port = port
        self.address = f"tcp://{host}:{port}"
        self.backend = case.backend(say(name))
        self.segment = None
        self.start()

    def start(self):
        self.segment = self.case.segment(
            f"[Cloudbus]\nbind={self.address}\n[Orders]\nserver={self.backend.url}\n", name=self.name)
        return self

    @property
    def count(self):
        return self.backend.accepted


class Case(pair.Case):
    """Tests in which every daemon asks self.dns."""

    def setUp(self):
        super().setUp()
        self.dns = self.make_dns()

    def make_dns(self):
        return self.keep(Scripted())

    def tearDown(self):
        super().tearDown()
        if isinstance(self.dns, Scripted):
            self.assertEqual(self.dns.failures, [])

    def daemon(self, role, text, **more):
        """The text may have a [Cloudbus] at its start. The search domain is known, whatever the machine has."""
        section = "[Cloudbus]\n"
        if "nameservers" not in text:
            text = f"{section}nameservers={self.dns.address}\n{text.removeprefix(section)}"
        more["env"] = {"LOCALDOMAIN": "search.test", "RES_OPTIONS": "ndots:1", **(more.get("env") or {})}
        return super().daemon(role, text, **more)

    def fleet(self, count):
        """Segments at one port of several addresses; their names are a, b, c, ..."""
        addresses = hosts(count)
        port = free_port(*addresses)
        self.port = port
        return [Site(self, chr(ord("a") + number), host, port) for number, host in enumerate(addresses)]

    def front(self, server, sites=(), **more):
        """A controller of one service, with a link to each of the sites."""
        text = "".join(f"{key}={value}\n" for key, value in more.items())
        servers = "".join(f"server={one}\n" for one in ([server] if isinstance(server, str) else server))
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\n{servers}{text}")
        if sites:
            controller.wait_link(count=len(sites))
        for site in sites:
            self.links(controller, site.segment)
        return controller

    def greeting(self, url):
        """Who serves a new client."""
        with self.connect(url) as client:
            return client.read_line().strip().decode()

    def names_of(self, url, count):
        return collections.Counter(self.greeting(url) for _ in range(count))


def about(record, *words, **fields):
    """Whether a record has these words in this order, and these fields."""
    position = 0
    for word in words:
        position = record.line.find(word, position)
        if position < 0:
            return False
    return all(record.fields.get(key) == value for key, value in fields.items())
