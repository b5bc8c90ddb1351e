# SPDX-License-Identifier: Apache-2.0
"""Medians of what the rounds gave, as tables for people. A ratio is taken within a round, then its median."""

import statistics
import sys

OURS, OTHER = "cloudbus", "haproxy"


def median(rounds, key):
    return statistics.median(figures[key] for figures in rounds)


def ratio(results, key, ours=OURS, other=OTHER):
    """(median, least, greatest) of ours to theirs in the same round, or None."""
    pairs = [(a[key], b[key]) for a, b in zip(results.get(ours, []), results.get(other, [])) if a.get(key) and b.get(key)]
    if not pairs:
        return None
    ratios = [a / b for a, b in pairs]
    return statistics.median(ratios), min(ratios), max(ratios)


def shown(value):
    if value >= 10_000:
        return f"{value / 1000:,.1f}k"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def shown_ratio(found):
    return "-" if found is None else f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})"


def lines_of(text_rows, markdown):
    if markdown:
        head, *rest = text_rows
        return ["| " + " | ".join(row) + " |" for row in [head, ["---"] + ["---:"] * (len(head) - 1)] + rest]
    widths = [max(len(row[i]) for row in text_rows) for i in range(len(text_rows[0]))]
    return ["  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
            for row in text_rows]


def table(head, rows, markdown):
    return "\n".join(lines_of([head] + rows, markdown))


def rows_of(results, names, figures):
    """A row for each (title, key, scale): the medians of all, and the ratio of ours to HAProxy's."""
    for title, key, scale in figures:
        cells = [shown(median(results[name], key) * scale) if name in results and key in results[name][0] else "-"
                 for name in names]
        if any(cell != "-" for cell in cells):
            yield [title] + cells + [shown_ratio(ratio(results, key))]


def figures_of(workload, unit, amount):
    if workload == "idle":
        return (("idle: memory for each, bytes", "each", 1), ("idle: memory before them, MB", "base", 1e-6),
                ("idle: processor, percent", "load", 100), ("idle: a newcomer's wait, median, ms", "median", 1),
                ("idle: a newcomer's wait, p99, ms", "p99", 1))
    rate = (f"{workload}: {unit}", "rate", 1)
    cpu = (f"{workload}: CPU for each {amount}, us", "cpu_each", 1)
    if unit == "Gbit/s":
        cpu = (f"{workload}: CPU for each {amount}, s", "cpu_each", 1e-6)
    wait = (f"{workload}: median latency, us", "median", 1)
    return (wait, cpu) if workload == "one" else (rate, cpu)


BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"


def summary(report):
    """What was compared, in a few lines of Markdown, and the table."""
    machine = "{cores} cores, {system}, kernel {kernel}".format(**report["machine"])
    others = ", ".join(f"{name} ({text})" for name, text in report["versions"].items() if name in report["pairs"])
    return (f"Machine: {machine}.\nCompared: {others}.\n{report['rounds']} rounds of {report['seconds']} s, clients over "
            f"{report['client']}, links over {report['link']}.\n\n{render(report, True)}")


def put_into(path, report):
    """Replaces what stands between the two marks of a file; returns an exit status."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        print(f"compare: {path} has not one {BEGIN} and one {END}", file=sys.stderr)
        return 1
    before, rest = text.split(BEGIN)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{summary(report)}\n{END}{rest.split(END)[1]}")
    return 0


def render(report, markdown):
    """The whole table of a run."""
    names = report["pairs"]
    rows = []
    for workload, entry in report["workloads"].items():
        rows += rows_of(entry["rounds"], names, figures_of(workload, entry["unit"], entry["amount"]))
    ratio_title = f"{OURS}/{OTHER}" + (" (least to greatest)" if markdown else "")
    return table([""] + names + [ratio_title], rows, markdown)
