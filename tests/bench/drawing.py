# SPDX-License-Identifier: Apache-2.0
"""The curves of growth, drawn with gnuplot."""

import subprocess

from growth import CURVES
from processes import DEADLINE, Failure, program
from report import median

COLOURS = {"cloudbus": "#1f6fb4", "haproxy": "#d9772b", "nginx": "#3a9b57"}
OTHERS = "#777777"
GENERAL = """
set terminal svg size 960,400 font "sans-serif,13" background "#ffffff"
set multiplot layout 1,2
set border 3 lc "#666666"
set tics nomirror tc "#333333"
set grid ytics lc "#cccccc"
set key top center horizontal samplen 2
set yrange [0:*]
set ylabel "processor time for each request, µs"
set lmargin 9
"""


def points_of(found, pair, workloads):
    """(value, microseconds) of each workload that the run has."""
    for value, workload in workloads.items():
        rounds = found["workloads"].get(workload, {}).get("rounds", {}).get(pair)
        if rounds and "cpu_each" in rounds[0]:
            yield value, median(rounds, "cpu_each")


def script_of(found):
    text, is_empty = GENERAL, True
    for axis, workloads in CURVES.values():
        lines = {pair: list(points_of(found, pair, workloads)) for pair in found["pairs"]}
        lines = {pair: points for pair, points in lines.items() if points}
        # Values stand at equal distances, nought among them.
        places = {value: place for place, value in enumerate(workloads)}
        tics = ", ".join(f'"{value:,}" {place}' for value, place in places.items())
        text += f'set xlabel "{axis}"\nset xtics ({tics})\nset xrange [-0.2:{len(places) - 0.8}]\n'
        if not lines:
            continue
        is_empty = False
        for number, points in enumerate(lines.values()):
            rows = "\n".join(f"{places[value]} {time:.3f}" for value, time in points)
            text += f"$line{number} << EOD\n{rows}\nEOD\n"
        text += "plot " + ", ".join(
            f'$line{number} with linespoints lw 2 pt 7 ps 0.6 lc "{COLOURS.get(pair, OTHERS)}" title "{pair}"'
            for number, pair in enumerate(lines)) + "\n"
    if is_empty:
        raise Failure("there is nothing to draw: no workload of growth was measured")
    return text + "unset multiplot\n"


def draw(found, path):
    try:
        result = subprocess.run([program("gnuplot")], input=script_of(found), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, check=False, encoding="utf-8", timeout=DEADLINE)
    except subprocess.TimeoutExpired as error:
        raise Failure("gnuplot did not end in time") from error
    if result.returncode:
        raise Failure(f"gnuplot failed: {result.stderr.strip()}")
    head, rest = result.stdout.split("\n", 1)  # the XML declaration is the first line
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{head}\n<!-- SPDX-License-Identifier: Apache-2.0 -->\n{rest.rstrip()}\n")
