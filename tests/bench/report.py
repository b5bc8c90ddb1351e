# SPDX-License-Identifier: Apache-2.0
"""Medians of what the rounds gave, as tables for people. A ratio is taken within a round, then its median."""

import statistics
import sys


def median(rounds, key):
    return statistics.median(figures[key] for figures in rounds)


def ratio(results, key, ours, other):
    """(median, least, greatest) of `ours` to `other` in the same round, or None."""
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


def rows_of(results, names, of, figures):
    """A row for each (title, key, scale): the medians of all, and the ratio `of` one to another."""
    for title, key, scale in figures:
        cells = [shown(median(results[name], key) * scale) if name in results and key in results[name][0] else "-"
                 for name in names]
        if any(cell != "-" for cell in cells):
            yield [title] + cells + [shown_ratio(ratio(results, key, *of))]


def figures_of(workload, unit, amount):
    if workload == "idle":
        return (("idle: memory for each, bytes", "each", 1), ("idle: memory before them, MB", "base", 1e-6),
                ("idle: processor, percent", "load", 100), ("idle: a newcomer's wait, median, ms", "median", 1),
                ("idle: a newcomer's wait, p99, ms", "p99", 1))
    rate = (f"{workload}: {unit}", "rate", 1)
    wait = (f"{workload}: median latency, us", "median", 1)
    if unit == "conversations/s":
        return wait, (f"{workload}: p99 latency, us", "p99", 1)
    span, scale = ("s", 1e-6) if unit == "Gbit/s" else ("us", 1)
    cpu = (f"{workload}: CPU for each {amount}, {span}", "cpu_each", scale)
    front = (f"{workload}: the controller's CPU for each {amount}, {span}", "controller_each", scale)
    return (wait, cpu) if workload == "one" else (rate, front, cpu)


class Table:
    """Some workloads of a run; `of` names the one and the other of the ratio."""

    def __init__(self, mark, *of):
        self.of = of
        self.begin, self.end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"

    def workloads(self, report):
        return {name: entry for name, entry in report["workloads"].items() if self.of[0] in entry["rounds"]}

    def names(self, report):
        return report["pairs"] if self.of[0] in report["pairs"] else list(reversed(self.of))

    def render(self, report, markdown):
        names, rows = self.names(report), []
        for workload, entry in self.workloads(report).items():
            figures = figures_of(workload, entry["unit"], entry["amount"])
            rows += rows_of(entry["rounds"], names, self.of, figures)
        ratio_title = "/".join(self.of) + (" (least to greatest)" if markdown else "")
        return "\n".join(lines_of([[""] + names + [ratio_title]] + rows, markdown))

    def summary(self, report):
        """What was compared, in a few lines of Markdown, and the table."""
        machine = "{cores} cores, {system}, kernel {kernel}".format(**report["machine"])
        names = [name for name in report["versions"] if name in self.names(report)] or ["cloudbus"]
        compared = ", ".join(f"{name} ({report['versions'][name]})" for name in names)
        return (f"Machine: {machine}.\nCompared: {compared}.\n{report['rounds']} rounds of {report['seconds']} s, clients "
                f"over {report['client']}, links over {report['link']}.\n\n{self.render(report, True)}")

    def put_into(self, text, report):
        """The text with what stands between its two marks replaced, or None."""
        if text.count(self.begin) != 1 or text.count(self.end) != 1:
            return None
        before, rest = text.split(self.begin)
        return f"{before}{self.begin}\n{self.summary(report)}\n{self.end}{rest.split(self.end)[1]}"


TABLES = (Table("compare", "cloudbus", "haproxy"), Table("fan-out", "3 legs", "1 leg"))


def tables_of(report):
    return [table for table in TABLES if table.workloads(report)]


def put_into(path, report):
    """Replaces those tables of a file for which there are figures; returns an exit status."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for table in tables_of(report):
        text = table.put_into(text, report)
        if text is None:
            print(f"compare: {path} has not one {table.begin} and one {table.end}", file=sys.stderr)
            return 1
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return 0


def render(report, markdown):
    """The tables of a run."""
    return "\n\n".join(table.render(report, markdown) for table in tables_of(report))
