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
    if found is None:
        return "-"
    return "{} ({} to {})".format(*(f"{value:.2f}" if value >= 0.1 else f"{value:.2g}" for value in found))


def lines_of(text_rows, markdown):
    if markdown:
        head, *rest = text_rows
        return ["| " + " | ".join(row) + " |" for row in [head, ["---"] + ["---:"] * (len(head) - 1)] + rest]
    widths = [max(len(row[i]) for row in text_rows) for i in range(len(text_rows[0]))]
    return ["  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
            for row in text_rows]


# Which of the compared a ratio is of, where both were measured: the figures of the first by those of the second.
RATIOS = (("cloudbus", "before"), ("cloudbus", "haproxy"), ("cloudbus", "nginx"), ("threads-2", "cloudbus"),
          ("resume-off", "cloudbus"), ("3 legs", "1 leg"))
OF_DIRECT = (("cloudbus", "direct"), ("links-4", "direct"))  # over a wide area
TITLES = ("requests and bulk", "latency beside bulk", "wide area", "growth", "services, threads and fairness", "fan-out")


def rows_of(name, entry, pairs, ratios):
    """A row for each of the workload's figures: the medians of all, and the ratios."""
    results = entry["rounds"]
    for title, key, scale in entry["rows"]:
        cells = [shown(median(results[pair], key) * scale) if pair in results and key in results[pair][0] else "-"
                 for pair in pairs]
        if any(cell != "-" for cell in cells):
            yield [f"{name}: {title}"] + cells + [shown_ratio(ratio(results, key, *of)) for of in ratios]


class Table:
    """Some workloads of a run, put into a file between two marks."""

    def __init__(self, title, report):
        self.title, self.report = title, report
        self.workloads = {name: entry for name, entry in report["workloads"].items() if entry["table"] == title}
        measured = {pair: None for entry in self.workloads.values() for pair in entry["rounds"]}
        self.pairs = [pair for pair in report["pairs"] if pair in measured]
        self.pairs += [pair for pair in measured if pair not in self.pairs]
        ratios = RATIOS + (OF_DIRECT if title == "wide area" else ())
        self.ratios = [of for of in ratios if set(of) <= set(self.pairs)]
        self.begin, self.end = f"<!-- {title}: begin -->", f"<!-- {title}: end -->"

    def render(self, markdown):
        ratios = ["/".join(of) + (" (least to greatest)" if markdown else "") for of in self.ratios]
        rows = [row for name, entry in self.workloads.items() for row in rows_of(name, entry, self.pairs, self.ratios)]
        return "\n".join(lines_of([["" if markdown else self.title] + self.pairs + ratios] + rows, markdown))

    def summary(self):
        """What was compared, in a few lines of Markdown, and the table."""
        report = self.report
        machine = "{cores} cores, {system}, kernel {kernel}, TCP with {congestion}".format(**report["machine"])
        names = [name for name in report["versions"] if name in self.pairs] or ["cloudbus"]
        compared = ", ".join(f"{name} ({report['versions'][name]})" for name in names)
        return (f"Machine: {machine}.\nCompared: {compared}.\n{report['rounds']} rounds of {report['seconds']} s, clients "
                f"over {report['client']}, links over {report['link']}.\n\n{self.render(True)}")

    def put_into(self, text):
        """The text with what stands between its two marks replaced, or None."""
        if text.count(self.begin) != 1 or text.count(self.end) != 1:
            return None
        before, rest = text.split(self.begin)
        return f"{before}{self.begin}\n{self.summary()}\n{self.end}{rest.split(self.end)[1]}"


def tables_of(report):
    return [table for table in (Table(title, report) for title in TITLES) if table.workloads]


def put_into(path, report):
    """Replaces those tables of a file for which there are figures; returns an exit status."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for table in tables_of(report):
        text = table.put_into(text)
        if text is None:
            print(f"compare: {path} has not one {table.begin} and one {table.end}", file=sys.stderr)
            return 1
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return 0


def render(report, markdown):
    """The tables of a run."""
    return "\n\n".join(table.render(markdown) for table in tables_of(report))
