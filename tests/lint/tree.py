# SPDX-License-Identifier: Apache-2.0
"""What the checks of the sources share: which files there are, and who includes whom."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


def cpp_files(root, *folders):
    """The C++ files below these folders of the tree, in order."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*") if path.suffix in (".cc", ".h"))


def includes(path):
    """(number of the line, name, whether it stands in quotation marks) of each include of a file."""
    text = path.read_text(encoding="utf-8")
    return [(text.count("\n", 0, match.start(2)) + 1, match[2], match[1] == '"') for match in INCLUDE.finditer(text)]


def own_header(root, name):
    """The file of the tree that a name in an include stands for, or None."""
    path = root / "include" / name
    return path if path.is_file() else None


def with_headers(root, path, known):
    """A source and all headers of the tree that it includes, by whatever way; `known` keeps what was found out."""
    found, waiting = {path}, [path]
    while waiting:
        one = waiting.pop()
        if one not in known:
            known[one] = [header for _, name, _ in includes(one) if (header := own_header(root, name))]
        fresh = set(known[one]) - found
        found |= fresh
        waiting += fresh
    return sorted(found)
