# SPDX-License-Identifier: Apache-2.0
"""nginx, Redis and netcat as the several servers and the client of each mode."""

import collections
import os
import subprocess
import unittest

import fanout
import pair
from pair import MIB, PATTERN, scaled

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    {servers}
}}
"""
NGINX_SERVER = "server {{ listen {address}; root {folder}/www{number}; }}"


class Programs(fanout.Case):
    def nginx(self, count):
        """An nginx with `count` addresses that each have their own files."""
        pair.need("nginx", "curl")
        addresses = [f"{pair.HOME}:{pair.free_port()}" for _ in range(count)]
        servers = [NGINX_SERVER.format(address=address, folder=self.folder, number=number)
                   for number, address in enumerate(addresses)]
        with open(f"{self.folder}/nginx.conf", "w", encoding="ascii") as file:
            file.write(NGINX.format(folder=self.folder, servers="\n".join(servers)))
        for number in range(count):
            www = f"{self.folder}/www{number}"
            os.mkdir(www)
            with open(f"{www}/small", "wb") as file:
                file.write(b"from %d\n" % number)
            with open(f"{www}/large", "wb") as file:
                file.write(pair.Pattern(number).bytes(scaled(8 * MIB)))
        nginx = pair.Program(["nginx", "-p", self.folder, "-e", "stderr", "-c", f"{self.folder}/nginx.conf"],
                             self.folder, "nginx")
        self.addCleanup(nginx.stop)
        urls = [f"tcp://{address}" for address in addresses]
        nginx.wait_until(lambda: all(nginx.accepts(url) for url in urls), "listening")
        return urls

    def curl(self, *arguments):
        return pair.run(["curl", "--silent", "--show-error", "--fail", "--http1.1", *arguments]).stdout

    def http(self, url):
        host, port = pair.host_and_port(url)
        return f"http://{host}:{port}"

    def test_nginx_replicas_race_for_each_request(self):
        urls = self.nginx(3)
        fan = self.fan(urls, "mode=half duplex")
        requests = scaled(200)
        output = self.curl("--header", "Connection: close", f"{self.http(fan.url)}/small?[1-{requests}]")
        lines = collections.Counter(output.splitlines())
        self.assertEqual(sum(lines.values()), requests)
        self.assertLessEqual(set(lines), {b"from 0", b"from 1", b"from 2"})
        fan.controller.wait_conversation(count=requests, mode="half-duplex", legs="3")

    def test_nginx_replicas_race_for_a_connection_with_many_requests(self):
        urls = self.nginx(12)
        fan = self.fan(urls, "mode=half duplex")
        output = self.curl(f"{self.http(fan.url)}/small?[1-100]")
        # The first answer decides for the connection.
        self.assertEqual(len(set(output.splitlines())), 1)
        self.assertEqual(len(output.splitlines()), 100)

    def test_nginx_replicas_race_for_a_large_file(self):
        urls = self.nginx(3)
        fan = self.fan(urls, "mode=half duplex")
        possible = {pair.Pattern(number).bytes(scaled(8 * MIB)) for number in range(3)}
        for _ in range(10):
            self.assertTrue(self.curl(f"{self.http(fan.url)}/large") in possible, "a mixture of files")

    def redises(self, mode, count=3, text=""):
        pair.need("redis-server", "redis-cli")
        self.direct = [self.redis(name=f"redis{number}")[1] for number in range(count)]
        return self.fan(self.direct, f"mode={mode}\n{text}")

    def cli(self, url, *arguments, **more):
        host, port = pair.host_and_port(url)
        return pair.run(["redis-cli", "-h", host, "-p", str(port), *arguments], **more).stdout

    def test_redis_publish_writes_to_every_server(self):
        fan = self.redises("publish")
        count = scaled(5000, 20)
        with fan.connect() as client:
            for number in range(count):
                client.send(b"RPUSH list value-%d\r\n" % number)
            client.send(b"SET done yes\r\nQUIT\r\n")
            self.assertEqual(client.read_to_end()[:2], ("fin", 0))
        expected = "".join(f"value-{number}\n" for number in range(count)).encode()
        for url in self.direct:
            self.assertEqual(self.cli(url, "get", "done"), b"yes\n")
            self.assertTrue(self.cli(url, "lrange", "list", "0", "-1") == expected)

    def test_redis_takes_the_first_answer_and_writes_to_all_with_a_full_quorum(self):
        fan = self.redises("half duplex", text="quorum=3")
        for number in range(scaled(50, 5)):
            with fan.connect() as client:
                client.send(b"SET key-%d value\r\n" % number)
                self.assertEqual(client.read_exact(5), b"+OK\r\n")
        count = b"%d\n" % scaled(50, 5)
        for url in self.direct:
            pair.wait_for(lambda u=url: self.cli(u, "dbsize") == count, f"the last write: {self.cli(url, 'dbsize')}")

    def test_redis_answers_of_all_are_merged(self):
        fan = self.redises("full duplex", count=12)
        with fan.connect() as client:
            for _ in range(20):
                client.send(b"PING\r\n")
                self.assertEqual(client.read_exact(12 * 7), b"+PONG\r\n" * 12)
            client.finish()
            self.assertEqual(client.read_to_end()[:2], ("fin", 0))

    def test_netcat_sends_to_all(self):
        pair.need("nc")
        fan, backends = self.served("publish", lambda _: pair.hold)
        host, port = pair.host_and_port(fan.url)
        data = PATTERN.bytes(MIB)
        subprocess.run(["nc", "-N", host, str(port)], input=data, stdout=subprocess.DEVNULL, check=True,
                       timeout=pair.DEADLINE * pair.PATIENCE)
        for backend in backends:
            self.assertEqual(backend.outcome(), pair.Ending("fin", MIB, PATTERN.sha256(MIB)))


if __name__ == "__main__":
    unittest.main()
