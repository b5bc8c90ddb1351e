# SPDX-License-Identifier: Apache-2.0
"""Redis with redis-benchmark and redis-cli through the pair."""

import hashlib
import subprocess
import unittest

import pair
from pair import MIB, PATTERN, scaled


class Redis(pair.Case):

    def setUp(self):
        super().setUp()
        pair.need("redis-server", "redis-cli", "redis-benchmark")
        self.server, self.tcp = self.redis("--unixsocket", f"{self.folder}/redis.sock",
                                           "--client-output-buffer-limit", "pubsub 0 0 0")
        self.unix = f"unix://{self.folder}/redis.sock"

    def tearDown(self):
        self.server.stop()
        super().tearDown()

    def at(self, both):
        if both.url.startswith("unix"):
            return ["-s", pair.socket_address(both.url)[1]]
        host, port = pair.host_and_port(both.url)
        return ["-h", host, "-p", str(port)]

    def bench(self, both, *more):
        result = pair.run(["redis-benchmark", *self.at(both), "--csv", *more])
        lines = result.stdout.decode().splitlines()
        rows = [line for line in lines if line.startswith('"') and not line.startswith('"test"')]
        self.assertNotIn(b"Error", result.stderr)
        return rows

    def test_benchmark_with_fifty_clients(self):
        both = self.pair(self.tcp)
        rows = self.bench(both, "-c", "50", "-n", str(scaled(50000)), "-t", "set,get,incr,lpush,mset")
        self.assertEqual(len(rows), 5)

    def test_benchmark_with_pipelining(self):
        both = self.pair(self.tcp)
        rows = self.bench(both, "-c", "50", "-n", str(scaled(200000)), "-P", "16", "-t", "set,get", "-d", "512")
        self.assertEqual(len(rows), 2)

    def test_benchmark_with_a_connection_for_each_request(self):
        both = self.pair(self.tcp)
        self.assertEqual(len(self.bench(both, "-c", "20", "-k", "0", "-n", str(scaled(5000)), "-t", "get")), 1)

    def test_benchmark_over_unix_sockets(self):
        both = self.pair(self.unix, client="unix", link="unix")
        self.assertEqual(len(self.bench(both, "-c", "50", "-n", str(scaled(50000)), "-P", "16", "-t", "set,get")), 2)

    def test_large_value_in_both_directions(self):
        size = scaled(64 * MIB)
        both = self.pair(self.tcp)
        value = PATTERN.bytes(size)
        self.assertEqual(pair.run(["redis-cli", *self.at(both), "-x", "set", "large"], data=value).stdout, b"OK\n")
        answer = pair.run(["redis-cli", *self.at(both), "get", "large"]).stdout
        self.assertEqual(len(answer), size + 1)
        self.assertEqual(hashlib.sha256(answer[:-1]).hexdigest(), PATTERN.sha256(size))

    def test_deep_pipeline_without_reading(self):
        both = self.pair(self.tcp)
        client = both.connect()
        count = scaled(20000)
        client.send(b"PING\r\n" * count)
        self.assertEqual(client.read_exact(7 * count), b"+PONG\r\n" * count)

    def test_published_messages_reach_every_subscriber_in_order(self):
        both = self.pair(self.tcp)
        subscribers = [both.connect() for _ in range(20)]
        for subscriber in subscribers:
            subscriber.send(b"SUBSCRIBE news\r\n")
            self.assertEqual(subscriber.read_exact(33), b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")
        count = scaled(1000)
        with subprocess.Popen(["redis-cli", *self.at(both)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cli:
            out, _ = cli.communicate("".join(f"publish news message-{n}\n" for n in range(count)).encode(),
                                     pair.DEADLINE * pair.PATIENCE)
        self.assertEqual(out.split(), [b"20"] * count)
        expected = b"".join(b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$%d\r\nmessage-%d\r\n" % (8 + len(str(n)), n)
                            for n in range(count))
        for subscriber in subscribers:
            self.assertEqual(subscriber.read_exact(len(expected)), expected)

    def test_blocking_pop_waits_until_somebody_pushes(self):
        both = self.pair(self.tcp)
        waiting, pushing = both.connect(), both.connect()
        waiting.send(b"BLPOP queue 0\r\n")
        pushing.send(b"RPUSH queue hello\r\n")
        self.assertEqual(pushing.read_exact(4), b":1\r\n")
        self.assertEqual(waiting.read_exact(26), b"*2\r\n$5\r\nqueue\r\n$5\r\nhello\r\n")

    def test_killed_connection_ends_at_the_client(self):
        both = self.pair(self.tcp)
        client = both.connect()
        self.assertEqual(client.send(b"PING\r\n").read_exact(7), b"+PONG\r\n")
        pair.run(["redis-cli", *self.at(both), "client", "kill", "type", "normal", "skipme", "yes"])
        self.assertIn(client.read_to_end().how, ("fin", "reset"))


if __name__ == "__main__":
    unittest.main()
