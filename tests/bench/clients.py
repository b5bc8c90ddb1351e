# SPDX-License-Identifier: Apache-2.0
"""The programs that load a pair, wrk and iperf3: they run beside us, and what they tell is checked."""

import json
import os
import signal
import subprocess

from processes import DEADLINE, Failure, end_with_parent, program, wait_for

WRK_SCRIPT = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"microseconds":%d,"median":%.3f,"p99":%.3f,"errors":{"connect":%d,"read":%d,"write":%d,' ..
    '"status":%d,"timeout":%d}}\\n', summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"""


class Client:
    """A program that runs until it ends by itself, or until the end of the `with`."""

    def __init__(self, pair, command, seconds):
        self.pair, self.command, self.seconds = pair, command, seconds
        self._process = None

    def __enter__(self):
        self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
                                         preexec_fn=end_with_parent)
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()

    def is_running(self):
        return self._process.poll() is None

    def pause(self):
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self._process.send_signal(signal.SIGCONT)

    def interrupt(self):
        """Tells it to end now, with its figures."""
        self._process.send_signal(signal.SIGINT)

    def wait(self):
        """What it said, once it has ended."""
        try:
            return self._process.communicate(timeout=self.seconds + DEADLINE)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{self.command[0]} did not end in time") from error

    def run(self):
        with self:
            return self.figures()

    def figures(self):
        raise NotImplementedError


class Wrk(Client):
    """wrk with one thread."""

    TIMEOUT = 60  # seconds for an answer

    def __init__(self, pair, options, clients, seconds, close=False):
        host, port = pair.addresses["Web"]
        script = os.path.join(options.folder, "wrk.lua")
        with open(script, "w", encoding="utf-8") as file:
            file.write(WRK_SCRIPT)
        command = [program("wrk"), "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", f"{self.TIMEOUT}s"]
        command += ["-s", script]
        command += ["-H", "Connection: close"] if close else []
        url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        super().__init__(pair, command + [url], seconds)

    def figures(self):
        """The rate is in requests a second, the latencies in microseconds."""
        output, errors = self.wait()
        lines = [line for line in output.split("\n") if line.startswith("RESULT ")]
        if not lines:
            raise Failure(f"wrk failed through {self.pair.name}: {errors.strip() or output.strip()}")
        said = json.loads(lines[0][len("RESULT "):])
        if any(said["errors"].values()) or not said["requests"]:
            raise Failure(f"wrk met errors through {self.pair.name}: {said['errors']}, {said['requests']} requests"
                          f"{self.pair.explain()}")
        return {"rate": said["requests"] * 1e6 / said["microseconds"], "count": said["requests"],
                "median": said["median"], "p99": said["p99"]}


class Iperf3(Client):
    """iperf3 with several streams, from client to server or the other way."""

    def __init__(self, pair, streams, seconds, reverse=False):
        host, port = pair.addresses["Bulk"]
        self.streams = streams
        command = [program("iperf3"), "-c", host, "-p", str(port), "-t", str(seconds), "-P", str(streams), "-i", "0.5",
                   "-J"]
        super().__init__(pair, command + (["-R"] if reverse else []), seconds)
        self._ended = pair.servers.tests_begun()

    def wait_flowing(self):
        """Until the server has all streams."""
        wait_for(lambda: self.is_running() is False or self.pair.servers.streams_begun() >= self.streams,
                 f"iperf3's {self.streams} streams through {self.pair.name}")

    def figures(self):
        """The rate is in gigabits a second, and `deviation` that of the stream farthest from the mean, as a part of it.

        `intervals` has the end of each half second, and the rate in it.
        """
        output, errors = self.wait()
        try:
            said = json.loads(output)
        except ValueError as error:
            raise Failure(f"iperf3 failed through {self.pair.name}: {errors.strip()}") from error
        if "error" in said:
            raise Failure(f"iperf3 failed through {self.pair.name}: {said['error']}{self.pair.explain()}")
        received = said["end"]["sum_received"]
        if received["bytes"] == 0:
            raise Failure(f"iperf3 received nothing through {self.pair.name}")
        self.pair.servers.wait_bulk(self._ended)
        shares = [stream["receiver"]["bytes"] * self.streams / received["bytes"] for stream in said["end"]["streams"]]
        return {"rate": received["bits_per_second"] / 1e9, "count": received["bytes"] / 1e9,
                "deviation": max(abs(share - 1) for share in shares),
                "intervals": [(interval["sum"]["end"], interval["sum"]["bits_per_second"] / 1e9)
                              for interval in said["intervals"]]}
