# SPDX-License-Identifier: Apache-2.0
"""nginx and curl through the pair."""

import hashlib
import os
import subprocess
import unittest

import pair
from pair import MIB, PATTERN, scaled

GIGABYTE = 1024 * MIB

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    log_format line '$connection $request_uri $status';
    access_log {folder}/access.log line;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    keepalive_requests 1000000;
    sendfile on;
    server {{
        listen {tcp};
        listen unix:{folder}/nginx.sock;
        root {folder}/www;
        dav_methods PUT DELETE;
    }}
}}
"""


class Http(pair.Case):

    def setUp(self):
        super().setUp()
        pair.need("nginx", "curl")
        address = f"{pair.HOME}:{pair.free_port()}"
        os.mkdir(f"{self.folder}/www")
        with open(f"{self.folder}/nginx.conf", "w", encoding="ascii") as file:
            file.write(NGINX.format(folder=self.folder, tcp=address))
        with open(f"{self.folder}/www/small", "wb") as file:
            file.write(PATTERN.bytes(1532))
        self.nginx = pair.Program(["nginx", "-p", self.folder, "-e", "stderr", "-c", f"{self.folder}/nginx.conf"],
                                  self.folder, "nginx")
        self.addCleanup(self.nginx.stop)
        self.tcp = f"tcp://{address}"
        self.unix = f"unix://{self.folder}/nginx.sock"
        self.nginx.wait_until(lambda: self.nginx.accepts(self.tcp), "listening")

    def tearDown(self):
        self.nginx.stop()
        super().tearDown()

    def http(self, url):
        host, port = pair.host_and_port(url)
        return f"http://{host}:{port}"

    def requests(self):
        """(connection, uri, status) of each request that nginx logged."""
        with open(f"{self.folder}/access.log", encoding="ascii") as file:
            return [line.split() for line in file]

    def curl(self, *arguments):
        return pair.run(["curl", "--silent", "--show-error", "--fail", "--http1.1", *arguments]).stdout

    def test_keep_alive_is_one_connection_from_end_to_end(self):
        both = self.pair(self.tcp)
        output = self.curl("--write-out", "%{num_connects} %{size_download}\\n", "--output", "/dev/null",
                           f"{self.http(both.url)}/small?[1-200]")
        lines = output.split(b"\n")[:200]
        self.assertEqual(lines, [b"1 1532"] + [b"0 1532"] * 199)
        requests = pair.wait_for(lambda: len(self.requests()) == 200 and self.requests(), "200 requests in the log")
        self.assertEqual(len({connection for connection, _, _ in requests}), 1)
        for daemon in both.both:
            daemon.wait_conversation()
            self.assertEqual(len(daemon.find(lambda r: "end" in r.fields)), 1)

    def test_connection_for_each_request(self):
        both = self.pair(self.tcp)
        output = self.curl("--header", "Connection: close", "--write-out", "%{num_connects} %{size_download}\\n",
                           "--output", "/dev/null", f"{self.http(both.url)}/small?[1-200]")
        self.assertEqual(output.split(b"\n")[:200], [b"1 1532"] * 200)
        requests = pair.wait_for(lambda: len(self.requests()) == 200 and self.requests(), "200 requests in the log")
        self.assertEqual(len({connection for connection, _, _ in requests}), 200)
        for daemon in both.both:
            daemon.wait_conversation(count=200)

    def test_parallel_requests(self):
        both = self.pair(self.tcp)
        output = self.curl("--parallel", "--parallel-max", "50", "--write-out", "%{http_code} %{size_download}\\n",
                           "--output", "/dev/null", f"{self.http(both.url)}/small?[1-500]")
        self.assertEqual(output.count(b"200 1532\n"), 500)

    def test_one_gigabyte_down_arrives_as_it_was(self):
        self.download(self.pair(self.tcp))

    def test_one_gigabyte_down_over_unix_sockets(self):
        self.download(self.pair(self.unix, link="unix"))

    def download(self, both):
        size = scaled(GIGABYTE)
        with open(f"{self.folder}/www/large", "wb") as file:
            for chunk in PATTERN.chunks(size, 4 * MIB):
                file.write(chunk)
        digest, count = hashlib.sha256(), 0
        with subprocess.Popen(["curl", "--silent", "--show-error", "--fail", f"{self.http(both.url)}/large"],
                              stdout=subprocess.PIPE) as curl:
            while chunk := curl.stdout.read(MIB):
                digest.update(chunk)
                count += len(chunk)
        self.assertEqual(curl.returncode, 0)
        self.assertEqual((count, digest.hexdigest()), (size, PATTERN.sha256(size)))

    def test_one_gigabyte_up_arrives_as_it_was(self):
        size = scaled(GIGABYTE)
        both = self.pair(self.tcp)
        with subprocess.Popen(["curl", "--silent", "--show-error", "--fail", "--upload-file", "-", "--header",
                               "Transfer-Encoding:", "--header", f"Content-Length: {size}",
                               f"{self.http(both.url)}/uploaded"], stdin=subprocess.PIPE) as curl:
            for chunk in PATTERN.chunks(size, MIB):
                curl.stdin.write(chunk)
            curl.stdin.close()
            self.assertEqual(curl.wait(), 0)
        digest = hashlib.sha256()
        with open(f"{self.folder}/www/uploaded", "rb") as file:
            while chunk := file.read(4 * MIB):
                digest.update(chunk)
            count = file.tell()
        self.assertEqual((count, digest.hexdigest()), (size, PATTERN.sha256(size)))

    def test_client_over_a_unix_socket(self):
        both = self.pair(self.unix, client="unix", link="abstract")
        path = pair.socket_address(both.url)[1]
        output = self.curl("--unix-socket", path, "http://localhost/small")
        self.assertEqual(output, PATTERN.bytes(1532))

    def test_interrupted_download_can_be_continued(self):
        size = 3 * MIB
        with open(f"{self.folder}/www/part", "wb") as file:
            file.write(PATTERN.bytes(size))
        both = self.pair(self.tcp)
        first = self.curl("--range", f"0-{size // 2 - 1}", f"{self.http(both.url)}/part")
        rest = self.curl("--range", f"{size // 2}-", f"{self.http(both.url)}/part")
        self.assertEqual(first + rest, PATTERN.bytes(size))

    def test_nginx_that_is_gone_gives_curl_a_reset(self):
        both = self.pair(self.tcp)
        self.nginx.stop()
        result = pair.run(["curl", "--silent", "--show-error", f"{self.http(both.url)}/small"], check=False)
        # 7 if the reset comes before curl knows that it is connected.
        self.assertIn(result.returncode, (7, 56), result.stderr)


if __name__ == "__main__":
    unittest.main()
