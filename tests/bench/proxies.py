# SPDX-License-Identifier: Apache-2.0
"""What is compared: pairs of proxies in front of the same servers, each started for one workload and stopped after it."""

import collections
import contextlib
import os
import re
import shutil
import tempfile

from processes import Failure, Process, accepts, first_line, free_ports, program, wait_for

STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


class Pair:
    """Two proxies in a row. `addresses` tells where each service is to be had."""

    descriptors = 2  # for each conversation, in one of the two processes

    def __init__(self, options):
        self.options = options
        self.folder = None
        self.processes = []
        self.servers = None
        self.addresses = {}

    def start(self, servers):
        self.folder = tempfile.mkdtemp(prefix="compare-")
        self.servers = servers
        try:
            self.launch(servers.addresses)
            with self.near():
                self.wait_listening(self.addresses)
        except BaseException:
            self.stop()
            raise
        return self

    def launch(self, servers):
        raise NotImplementedError

    # Where the two sides are: networks of their own where there is a wide area between them.

    def near(self):
        return self.options.wide.near.inside() if self.options.wide else contextlib.nullcontext()

    def far(self):
        return self.options.wide.far.inside() if self.options.wide else contextlib.nullcontext()

    def wait_listening(self, addresses):
        """One stands for all: what knocks at iperf3's would be taken for a test."""
        address = addresses.get("Web") or list(addresses.values())[-1]
        wait_for(lambda: self.check() and accepts(address), f"{self.name} to listen at {address}")
        for process in self.processes:
            process.is_there()

    def stop(self):
        for process in reversed(self.processes):
            process.stop()
        self.processes.clear()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def __str__(self):
        return ", ".join(f"{process.name} is process {process.pid}" for process in self.processes) or "no process"

    def check(self):
        return all(process.check() for process in self.processes)

    def explain(self):
        """What it has logged of conversations that did not end well, for a message."""
        return ""

    def cpu(self):
        return sum(process.cpu() for process in self.processes)

    def resident(self):
        return sum(process.resident() for process in self.processes)

    def private(self):
        return sum(process.private() for process in self.processes)

    # -- for those who make configurations

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def run(self, name, command):
        self.processes.append(Process(name, command, self.folder))
        return self.processes[-1]

    def fronts(self, services):
        """Where clients find each service."""
        host = self.options.host
        return {name: (host, port) for name, port in zip(services, free_ports(host, len(services)))}

    def links(self, services):
        """The inner hop of each service."""
        if self.options.link == "unix":
            return {name: ("unix", os.path.join(self.folder, name)) for name in services}
        host = self.options.between
        return {name: (host, port) for name, port in zip(services, free_ports(host, len(services)))}


def joined(address):
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Cloudbus(Pair):
    """A controller and a segment: one thread each, one link, the log at its default level into a file."""

    name = "cloudbus"
    descriptors = 1  # the links are shared
    GOOD_ENDS = ("client-fin/server-fin", "server-fin/client-fin", "client-reset")
    common = ""  # more of each daemon
    keys = ""    # more of each service
    count = 1    # of links to each segment
    programs = "binaries"  # the option that names their folder

    @classmethod
    def version(cls, options):
        return first_line(os.path.join(getattr(options, cls.programs), "controller"), "-V") + ", logging to a file"

    def launch(self, servers):
        with self.far():
            link = self.segment("segment", servers)
        with self.near():
            self.controller([link], {name: "" for name in servers})

    def segment(self, name, servers):
        """Starts a segment; returns where it is to be had."""
        bind = f"unix://{self.folder}/{name}.sock" if self.options.link == "unix" else f"tcp://{self.options.between}:0"
        text = f"[Cloudbus]\n{self.common}bind = {bind}\n"
        for service, address in servers.items():
            text += f"[{service}]\nserver = tcp://{joined(address)}\n{self.keys}"
        return re.search(r" address=(\S+)", self.daemon("segment", name, text).wait_said(" listening ")).group(1)

    def controller(self, links, services):
        """Starts the controller; `services` has further keys of each."""
        self.addresses = self.fronts(services)
        targets = "".join(f"server = {link}\n" for link in links)
        text = f"[Cloudbus]\n{self.common}"
        for service, keys in services.items():
            text += f"[{service}]\nbind = tcp://{joined(self.addresses[service])}\n{targets}links = {self.count}\n"
            text += self.keys + keys
        controller = self.daemon("controller", "controller", text)
        for link in links:
            controller.wait_said(f"info link up segment={link} ", self.count)
        return controller

    def explain(self):
        ends = collections.Counter(f"{process.name}: {end}" for process in self.processes
                                   for end in re.findall(r" end=(\S+)", process.said()))
        bad = [f"{count} times {end}" for end, count in ends.items() if not end.endswith(self.GOOD_ENDS)]
        return "; the logs say " + (", ".join(bad) or "nothing")

    def daemon(self, role, name, text):
        path = self.write(name + ".ini", text)
        process = self.run(name, [os.path.join(getattr(self.options, self.programs), role), "-f", path])
        process.wait_said("ready")
        process.is_there()
        return process


class CloudbusBefore(Cloudbus):
    """The same with the programs of another build: what a change costs."""

    name = "before"
    programs = "binaries_before"


class Haproxy(Pair):
    """Two HAProxy in TCP mode: one thread each, many connections allowed, no log, everything else left alone."""

    name = "haproxy"
    GENERAL = """
global
    nbthread 1
    maxconn {maxconn}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
"""

    @staticmethod
    def version(_):
        return first_line(program("haproxy"), "-v").split(" - ")[0] + ", TCP mode, nbthread 1, not logging"

    def launch(self, servers):
        with self.far():
            links = self.links(servers)
            self.proxy("haproxy-server-side", links, servers)
            self.wait_listening(links)
        with self.near():
            self.addresses = self.fronts(servers)
            self.proxy("haproxy-client-side", self.addresses, links)

    def proxy(self, name, binds, targets):
        text = self.GENERAL.format(maxconn=min(100_000, (self.options.limit - 100 - len(binds)) // 2))
        for service, bind in binds.items():
            text += f"listen {service}\n    bind {self.place(bind)}\n    server next {self.place(targets[service])}\n"
        self.run(name, [program("haproxy"), "-db", "-f", self.write(name + ".cfg", text)])

    @staticmethod
    def place(address):
        return f"unix@{address[1]}" if address[0] == "unix" else joined(address)


class Nginx(Pair):
    """Two nginx that pass streams on: one worker each, no log."""

    name = "nginx"
    GENERAL = """
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile {limit};
pid {folder}/{name}.pid;
error_log stderr;
events {{ worker_connections {limit}; }}
stream {{
    tcp_nodelay on;
    proxy_timeout 1h;
"""

    @staticmethod
    def version(_):
        if not os.path.exists(STREAM_MODULE):
            raise Failure("nginx has no stream module; on Debian: apt install libnginx-mod-stream")
        return first_line(program("nginx"), "-v") + ", stream module, 1 worker, not logging"

    def launch(self, servers):
        with self.far():
            links = self.links(servers)
            self.proxy("nginx-server-side", links, servers)
            self.wait_listening(links)
        with self.near():
            self.addresses = self.fronts(servers)
            self.proxy("nginx-client-side", self.addresses, links)

    def proxy(self, name, binds, targets):
        # As root, nginx would give its worker to a user who may not enter the folder of the links.
        text = "user root;" if os.geteuid() == 0 else ""
        text += self.GENERAL.format(module=STREAM_MODULE, limit=self.options.limit, folder=self.folder, name=name)
        for service, bind in binds.items():
            text += f"    server {{ listen {self.place(bind)}; proxy_pass {self.place(targets[service])}; }}\n"
        path = self.write(name + ".conf", text + "}\n")
        self.run(name, [program("nginx"), "-p", self.folder, "-e", "stderr", "-c", path])

    @staticmethod
    def place(address):
        return f"unix:{address[1]}" if address[0] == "unix" else joined(address)


class Direct(Pair):
    """No proxy at all: what the machine, the clients and the servers can do."""

    name = "direct"
    descriptors = 1

    @staticmethod
    def version(_):
        return "no proxy"

    def launch(self, servers):
        self.addresses = dict(servers)


class CloudbusWithoutResume(Cloudbus):
    """The same, where nothing is kept for another link."""

    name = "resume-off"
    keys = "resume = 0\n"


class CloudbusWithThreads(Cloudbus):
    """The same with two threads each, and so two links."""

    name = "threads-2"
    common = "threads = 2\n"


class CloudbusWithLinks(Cloudbus):
    """The same with four links."""

    name = "links-4"
    count = 4


PAIRS = {pair.name: pair for pair in (Cloudbus, CloudbusBefore, CloudbusWithThreads, CloudbusWithLinks, CloudbusWithoutResume, Haproxy,
                                      Nginx, Direct)}
