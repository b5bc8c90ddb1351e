# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL with psql and pgbench through the pair."""

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import pair
from cutter import Cutter
from pair import scaled


def postgres_folder():
    """Where initdb and postgres are: beside psql, or where Debian puts them."""
    found = shutil.which("postgres")
    if found:
        return os.path.dirname(found)
    versions = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"),
                      key=lambda path: float(path.split("/")[4]))
    return os.path.dirname(versions[-1]) if versions else None


class Postgres(pair.Case):

    @classmethod
    def setUpClass(cls):
        pair.need("psql", "pgbench")
        binaries = postgres_folder()
        if binaries is None:
            raise unittest.SkipTest("the PostgreSQL server is not installed")
        cls.user = pair.unprivileged_user("postgres")
        cls.home = tempfile.mkdtemp(prefix="cloudbus-postgres-")
        cls.addClassCleanup(shutil.rmtree, cls.home, ignore_errors=True)
        if cls.user:
            shutil.chown(cls.home, cls.user)
        cls.port = pair.free_port()
        as_user = ["setpriv", f"--reuid={cls.user}", f"--regid={pair.group_of(cls.user)}", "--clear-groups"] \
            if cls.user else []
        pair.run(as_user + [f"{binaries}/initdb", "--no-sync", "--auth=trust", "--username=tester", "--encoding=UTF8",
                            "--locale=C", f"--pgdata={cls.home}/data"], cwd=cls.home)
        cls.server = pair.Program(
            [f"{binaries}/postgres", "-D", f"{cls.home}/data", "-p", str(cls.port), "-c",
             f"listen_addresses={pair.HOME}", "-c", f"unix_socket_directories={cls.home}", "-c", "fsync=off", "-c",
             "max_connections=100", "-c", "ssl=off"], cls.home, "postgres", cls.user, signal.SIGINT)
        cls.addClassCleanup(cls.server.stop)
        cls.tcp = f"tcp://{pair.HOME}:{cls.port}"
        cls.unix = f"unix://{cls.home}/.s.PGSQL.{cls.port}"
        cls.server.wait_until(lambda: b"1" in cls.psql(pair.HOME, cls.port, "select 1", check=False).stdout,
                              "answering")

    @staticmethod
    def psql(host, port, sql, check=True):
        return pair.run(["psql", f"host={host} port={port} user=tester dbname=postgres connect_timeout=30",
                         "--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"],
                        data=sql.encode(), check=check)

    def query(self, both, sql):
        host, port = pair.host_and_port(both.url)
        return self.psql(host, port, sql).stdout.decode().strip()

    def test_queries(self):
        both = self.pair(self.tcp)
        self.assertEqual(self.query(both, "create temporary table t (n int); insert into t select generate_series(1, "
                                          "1000); select sum(n) from t;").split()[-1], "500500")
        for daemon in both.both:
            daemon.wait_conversation()

    def test_error_and_notice_arrive(self):
        both = self.pair(self.tcp)
        host, port = pair.host_and_port(both.url)
        result = self.psql(host, port, "select 1/0", check=False)
        self.assertEqual(result.returncode, 3)
        self.assertIn(b"division by zero", result.stderr)

    def test_big_result_is_the_same_as_without_the_pair(self):
        both = self.pair(self.tcp)
        sql = f"select n, md5(n::text) from generate_series(1, {scaled(500000)}) n"
        direct = self.psql(pair.HOME, self.port, sql).stdout
        host, port = pair.host_and_port(both.url)
        through = self.psql(host, port, sql).stdout
        self.assertEqual(len(through), len(direct))
        self.assertTrue(through == direct)

    def test_big_upload_with_copy(self):
        both = self.pair(self.tcp)
        rows = scaled(300000)
        sql = "create temporary table t (n bigint, s text);\ncopy t from stdin;\n" + "".join(
            f"{n}\tvalue {n}\n" for n in range(rows)) + "\\.\nselect count(*), sum(n), sum(length(s)) from t;\n"
        length = sum(len(f"value {n}") for n in range(rows))
        self.assertEqual(self.query(both, sql).split()[-1], f"{rows}|{rows * (rows - 1) // 2}|{length}")

    def test_large_object_in_both_directions(self):
        both = self.pair(self.tcp)
        size = scaled(16 * pair.MIB)
        self.assertEqual(self.query(both, f"select md5(repeat('0123456789abcdef', {size // 16}))"),
                         self.query(both, f"select md5('{'0123456789abcdef' * (size // 16)}')"))

    def bench(self, both, *more):
        host, port = (os.path.dirname(pair.socket_address(both.url)[1]), self.port) \
            if both.url.startswith("unix") else pair.host_and_port(both.url)
        end = ["-h", host, "-p", str(port), "-U", "tester"]
        pair.run(["pgbench", *end, "--initialize", "--quiet", "--scale=1", "postgres"])
        result = pair.run(["pgbench", *end, "--client=8", "--jobs=2", "--time=3", *more, "postgres"])
        output = result.stdout.decode()
        self.assertRegex(output, r"number of failed transactions: 0 ")
        self.assertGreater(float(output.split("tps = ")[1].split()[0]), 1)

    def test_pgbench_with_eight_clients(self):
        both = self.pair(self.tcp)
        self.bench(both)

    def test_pgbench_with_a_connection_for_each_transaction(self):
        both = self.pair(self.tcp)
        self.bench(both, "--connect", "--select-only")

    def test_everything_over_unix_sockets(self):
        both = self.pair(self.unix, link="unix", controller=f"bind=unix://{self.folder}/.s.PGSQL.{self.port}")
        self.assertEqual(self.query_unix("select 6 * 7"), "42")
        both.url = f"unix://{self.folder}/.s.PGSQL.{self.port}"
        self.bench(both)

    def query_unix(self, sql):
        return self.psql(self.folder, self.port, sql).stdout.decode().strip()

    def test_cancel_request_reaches_the_server(self):
        both = self.pair(self.tcp)
        host, port = pair.host_and_port(both.url)
        result = self.psql(host, port, "set statement_timeout = 200; select pg_sleep(60)", check=False)
        self.assertIn(b"statement timeout", result.stderr)

    def test_notification_arrives_at_a_silent_listener(self):
        both = self.pair(self.tcp)
        self.assertIn("Asynchronous notification", self.query(both, "listen news; notify news, 'hello'; select 1;"))

    def test_open_transaction_goes_on_after_the_link_broke(self):
        segment = self.segment(f"[Orders]\nbind=tcp://{pair.HOME}:0\nserver={self.tcp}\n")
        cutter = Cutter(segment.address())
        self.addCleanup(cutter.close)
        controller = self.controller(f"[Orders]\nbind=tcp://127.0.0.1:0\nserver={cutter.url}\n")
        controller.wait_link()
        self.links(controller, segment)
        host, port = pair.host_and_port(controller.address())
        process = subprocess.Popen(["psql", f"host={host} port={port} user=tester dbname=postgres", "--no-psqlrc",
                                    "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)

        def ask(sql):
            process.stdin.write(sql.encode() + b"\n")
            process.stdin.flush()
            return process.stdout.readline().decode().strip()
        self.assertEqual(ask("begin;"), "BEGIN")
        self.assertEqual(ask("create temporary table kept (n int) on commit drop;"), "CREATE TABLE")
        for number in range(3):
            mark = controller.mark()
            pair.wait_for(cutter.cut, "a link to cut")
            self.assertEqual(ask(f"insert into kept values ({number});"), "INSERT 0 1")
            controller.wait_log(lambda r: r.message.startswith("resumed"), "resumed", mark)
        self.assertEqual(ask("select sum(n) from kept;"), "3")
        self.assertEqual(ask("commit;"), "COMMIT")
        process.stdin.close()
        self.assertEqual(process.wait(30), 0)


if __name__ == "__main__":
    unittest.main()
