#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What `make install` and `make uninstall` do, in a folder of their own."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import pair
import wide_area

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CLOUDBUS_BUILD", "."))
UNITS = ("cloudbus-controller.service", "cloudbus-segment.service")


def make(*arguments):
    done = subprocess.run(["make", "-C", BUILD, "-s", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"make {' '.join(map(str, arguments))}:\n{done.stdout}")
    return done.stdout


def directory(variable):
    """A folder that configure chose, for instance bindir."""
    values = dict(re.findall(r"^(\w+) = (.*)$", (BUILD / "Makefile").read_text(), re.MULTILINE))

    def value(match):
        return re.sub(r"\$[{(](\w+)[)}]", value, values[match[1]])

    return value([None, variable])


class Install(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        make("install", f"DESTDIR={self.root}")

    def installed(self, variable, *names):
        return self.root.joinpath(directory(variable).lstrip("/"), *names)

    def files(self):
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir())

    def test_programs_say_their_version(self):
        version = re.search(r"AC_INIT\(\[cloudbus\], \[(.+)\]\)", (SOURCE / "configure.ac").read_text())[1]
        for name in ("controller", "segment"):
            done = subprocess.run([self.installed("bindir", name), "-V"], stdout=subprocess.PIPE, text=True, check=True)
            self.assertIn(version, done.stdout)

    def test_samples_are_valid(self):
        for name in ("controller", "segment"):
            done = subprocess.run([self.installed("bindir", name), "-t", "-f",
                                   self.installed("sysconfdir", "cloudbus", f"{name}.ini")],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_samples_are_a_working_echo_pair(self):
        """As README shows it, in a network where the samples' ports are free."""
        if os.geteuid() != 0 or not shutil.which("ip"):
            self.skipTest("network namespaces are root's")
        name = f"cloudbus-{os.getpid()}-0-near"
        try:
            network = wide_area.Namespace(name, "127.0.0.1")
        except OSError as error:
            self.skipTest(str(error))
        self.addCleanup(network.delete)
        network.run(["ip", "link", "set", "lo", "up"])
        shown = re.search(r"^    segment &\n    controller &\n    (exec 3.*)$", (SOURCE / "README.md").read_text(), re.MULTILINE)
        logs = []
        for program in ("segment", "controller"):
            log = self.root / f"{program}.log"
            logs.append(log)
            with open(log, "wb") as file:
                process = network.popen([self.installed("bindir", program), "-f",
                                         self.installed("sysconfdir", "cloudbus", f"{program}.ini")],
                                        stdin=subprocess.DEVNULL, stderr=file, preexec_fn=pair.die_with_parent(9))
            self.addCleanup(process.wait)
            self.addCleanup(process.terminate)
            pair.wait_for(lambda path=log: " ready" in path.read_text(), f"the {program}")
        done = network.run(["bash", "-c", shown[1]])
        self.assertEqual(done.stdout, b"hello\n")
        for log in logs:
            pair.wait_for(lambda path=log: "end=client-fin/server-fin" in path.read_text(), "the conversation's line")

    def test_manual_pages_are_there(self):
        for page in ("man8/controller.8", "man8/segment.8", "man5/cloudbus.ini.5", "man7/cloudbus-protocol.7"):
            self.assertTrue(self.installed("mandir", page).is_file(), page)

    def test_files_are_readable_by_everybody(self):
        for name in self.files():
            self.assertEqual((self.root / name).stat().st_mode & 0o444, 0o444, name)

    def test_units_name_the_installed_programs_and_files(self):
        for unit, name in zip(UNITS, ("controller", "segment")):
            text = self.installed("systemdsystemunitdir", unit).read_text()
            self.assertIn(f"\nExecStart={directory('bindir')}/{name} -f {directory('sysconfdir')}/cloudbus/{name}.ini\n",
                          text)
            # A reload checks the file first: with a mistake in it the signal is not sent, and the reload fails.
            check = f"{directory('bindir')}/{name} -t -f {directory('sysconfdir')}/cloudbus/{name}.ini"
            self.assertIn(f"\nExecReload={check}\nExecReload=kill -HUP $MAINPID\n", text)
            self.assertNotRegex(text, r"@\w+@")

    def test_units_start_again_for_ever_but_not_with_a_wrong_file(self):
        for unit in UNITS:
            text = self.installed("systemdsystemunitdir", unit).read_text()
            for line in ("Type=notify", "Restart=on-failure", "StartLimitIntervalSec=0",
                         f"RestartPreventExitStatus={os.EX_CONFIG}"):
                self.assertIn(f"\n{line}\n", text)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not here")
    def test_units_are_valid_and_hardened(self):
        for unit in UNITS:
            path = self.installed("systemdsystemunitdir", unit)
            # The programs are not where the unit will look for them.
            path.write_text(re.sub("^(ExecStart|ExecReload)=/", rf"\1={self.root}/", path.read_text(), flags=re.MULTILINE))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertNotIn(unit, done.stdout)
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", path.with_suffix(".socket")],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertNotIn("cloudbus-", done.stdout)
            done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", path],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_second_install_keeps_the_users_files(self):
        edited, removed = (self.installed("sysconfdir", "cloudbus", name) for name in ("controller.ini", "segment.ini"))
        edited.write_text("[Mine]\n")
        removed.unlink()
        make("install", f"DESTDIR={self.root}")
        self.assertEqual(edited.read_text(), "[Mine]\n")
        self.assertTrue(removed.is_file())

    def test_uninstall_leaves_nothing_but_edited_files(self):
        edited = self.installed("sysconfdir", "cloudbus", "controller.ini")
        edited.write_text("[Mine]\n")
        make("uninstall", f"DESTDIR={self.root}")
        self.assertEqual(self.files(), [str(edited.relative_to(self.root))])

    def test_uninstall_of_untouched_files_leaves_nothing(self):
        make("uninstall", f"DESTDIR={self.root}")
        self.assertEqual(self.files(), [])


class Documents(unittest.TestCase):
    """What a user copies from README, the man pages and etc."""

    DOCUMENTS = ("README.md", "man/cloudbus.ini.5", "man/controller.8", "man/segment.8")

    def test_no_example_makes_a_loop(self):
        """Both files of an example may be tried on one host: the segment's server is no controller's bind."""
        for name in self.DOCUMENTS:
            lines = re.findall(r"^ *(bind|server) = tcp://(?:127\.0\.0\.1|localhost):(\d+)", (SOURCE / name).read_text(),
                               re.MULTILINE)
            binds = {port for key, port in lines if key == "bind"} - {"7900"}
            servers = {port for key, port in lines if key == "server"} - {"7900"}
            self.assertTrue(binds | servers or name.endswith("segment.8"), name)
            self.assertFalse(binds & servers, f"{name}: {binds & servers}")

    def test_packages_of_the_build_are_those_of_bootstrap(self):
        wanted = re.search(r"^demo_packages=\((.*?)\)", (SOURCE / "bootstrap").read_text(), re.DOTALL | re.MULTILINE)[1]
        named = re.search(r"^    apt install (.*?)\n\n", (SOURCE / "README.md").read_text(), re.DOTALL | re.MULTILINE)[1]
        self.assertEqual(set(named.replace("\\\n", " ").split()), set(wanted.split()) - {"python3"})

    def test_probes_of_the_examples_are_no_silent_connections(self):
        kubernetes = (SOURCE / "etc/kubernetes/orders.yaml").read_text()
        self.assertNotIn("tcpSocket", kubernetes)
        self.assertIn("pg_isready", kubernetes)
        for check in json.loads((SOURCE / "etc/consul/cloudbus-orders.json").read_text())["service"]["checks"]:
            self.assertIn("args", check)
            self.assertNotIn("tcp", check)


class Lists(unittest.TestCase):
    def test_makefile_names_every_file(self):
        """A test that is in no list would not be run, and a header in none would be missing from the release."""
        text = (SOURCE / "Makefile.am").read_text()
        named = set(re.findall(r"[\w./-]+", text))
        files = [path for folder in ("include", "src", "tests", "man", "doc", "etc")
                 for path in (SOURCE / folder).rglob("*")
                 if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")]
        self.assertGreater(len(files), 10)
        self.assertEqual([], sorted(name for path in files
                                    if (name := str(path.relative_to(SOURCE))) not in named))


if __name__ == "__main__":
    unittest.main()
