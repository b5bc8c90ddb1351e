# SPDX-License-Identifier: Apache-2.0
"""The checks of tests/lint find what they are for, in a small tree of their own."""

import os
import pathlib
import subprocess
import tempfile
import unittest

LINT = pathlib.Path(__file__).resolve().parents[1] / "lint"


class Tree(unittest.TestCase):

    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(dir=os.environ["TMPDIR"]))
        self.write("include/cloudbus/core/base/bytes.h", "#include <array>\n")
        self.write("include/cloudbus/core/flow/window.h", '#include "cloudbus/core/base/bytes.h"\n')
        self.write("include/cloudbus/net/link.h", '#include <event2/event.h>\n#include "cloudbus/core/flow/window.h"\n')
        self.write("include/cloudbus/app/link/peer.h", '#include "cloudbus/net/link.h"\n')
        self.write("include/cloudbus/app/worker/worker.h", '#include "cloudbus/app/link/peer.h"\n')
        self.write("src/app/worker/worker.cc", '#include "cloudbus/app/worker/worker.h"\n')

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def found(self, check):
        """The lines that a check prints; it fails if there are any."""
        done = subprocess.run([LINT / check, self.root], capture_output=True, text=True, check=False)
        self.assertEqual(done.stderr, "")
        self.assertEqual(done.returncode, 1 if done.stdout else 0)
        return done.stdout.splitlines()


class Includes(Tree):

    def test_calls_that_go_down_are_fine(self):
        self.assertEqual(self.found("includes"), [])

    def test_an_upward_include(self):
        self.write("src/core/flow/window.cc", '#include <array>\n#include "cloudbus/net/link.h"\n')
        self.write("src/net/link.cc", '#include "cloudbus/app/link/peer.h"\n')
        self.assertEqual(self.found("includes"),
                         ["src/core/flow/window.cc:2: core includes cloudbus/net/link.h, which is above it",
                          "src/net/link.cc:1: net includes cloudbus/app/link/peer.h, which is above it"])

    def test_a_circle_of_folders(self):
        self.write("src/app/link/peer.cc", '#include "cloudbus/app/roster/roster.h"\n')
        self.write("include/cloudbus/app/roster/roster.h", '\n#include "cloudbus/app/worker/worker.h"\n')
        self.assertEqual(self.found("includes"),
                         ["a circle of folders: app/link -> app/roster -> app/worker -> app/link",
                          "    src/app/link/peer.cc:1: cloudbus/app/roster/roster.h",
                          "    include/cloudbus/app/roster/roster.h:2: cloudbus/app/worker/worker.h",
                          "    include/cloudbus/app/worker/worker.h:1: cloudbus/app/link/peer.h"])

    def test_a_circle_below_core(self):
        self.write("src/core/base/bytes.cc", '#include "cloudbus/core/flow/window.h"\n')
        self.assertEqual(self.found("includes")[0], "a circle of folders: core/base -> core/flow -> core/base")

    def test_what_core_and_net_must_not_include(self):
        self.write("src/core/base/bytes.cc", "#include <event2/event.h>\n#include <sys/socket.h>\n"
                   "#include <openssl/evp.h>\n#include <spdlog/spdlog.h>\n#include <openssl/ssl.h>\n#include <fstream>\n#include <vector>\n")
        self.write("src/net/link.cc", "#include <spdlog/spdlog.h>\n#include <sys/socket.h>\n")
        self.assertEqual([line.rpartition(" ")[2] for line in self.found("includes")],
                         ["event2/event.h", "sys/socket.h", "spdlog/spdlog.h", "openssl/ssl.h", "fstream",
                          "spdlog/spdlog.h"])


def function(lines, head="int Relay::run(int count) const"):
    """A function of so many lines, with braces where a careless reader would stumble."""
    body = ["  if (count > '{') {", '    return "}".size();  // }', "  }"]
    return "\n".join([f"{head} {{", *body, *["  step();"] * (lines - len(body) - 2), "}", ""])


class Sizes(Tree):

    def write_function(self, text):
        self.write("src/app/worker/worker.cc", f"namespace cloudbus {{\nnamespace {{\n{text}}}  // namespace\n}}\n")

    def test_a_function_of_50_lines_is_fine_and_one_of_51_is_not(self):
        self.write_function(function(50) + function(50))
        self.assertEqual(self.found("sizes"), [])
        self.write_function(function(50) + function(51))
        self.assertEqual(self.found("sizes"),
                         ["src/app/worker/worker.cc:53: Relay::run has 51 lines; at most 50 are allowed"])

    def test_constructors_and_members_of_classes_are_functions_too(self):
        self.write_function(function(60, "Relay::Relay(int size)\n    : size_{size}, other_(size)"))
        self.assertEqual(self.found("sizes"),
                         ["src/app/worker/worker.cc:3: Relay::Relay has 61 lines; at most 50 are allowed"])
        member = function(70, "template <class T>\nvoid visit(T with)")
        self.write_function(f"class Relay {{\n public:\n{member}}};\n")
        self.assertEqual(self.found("sizes"),
                         ["src/app/worker/worker.cc:5: visit has 71 lines; at most 50 are allowed"])

    def test_a_long_class_or_table_is_no_function(self):
        self.write_function("class Relay {\n" + "  int size() const { return 1; }\n" * 90 + "};\n" +
                            "constexpr int kTable[] = {\n" + "  1,\n" * 90 + "};\n")
        self.assertEqual(self.found("sizes"), [])

    def test_a_file_of_more_than_400_lines_needs_a_reason(self):
        self.write("src/net/link.cc", "// SPDX\n" + "int a;\n" * 399)
        self.assertEqual(self.found("sizes"), [])
        self.write("src/net/link.cc", "// SPDX\n" + "int a;\n" * 400)
        self.assertEqual(self.found("sizes"),
                         ["src/net/link.cc: 401 lines; more than 400 need a reason in the first 5: // long: ..."])
        self.write("src/net/link.cc", "// SPDX\n// long: a table of every code\n" + "int a;\n" * 400)
        self.assertEqual(self.found("sizes"), [])


if __name__ == "__main__":
    unittest.main()
