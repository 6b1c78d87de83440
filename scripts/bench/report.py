#!/usr/bin/env python3
"""Turns what bench.sh measured into a table, JSON and pictures.

  report.py report RUNS.csv FACTS.csv FOLDER     table to stdout; FOLDER/bench.json, FOLDER/ratios.svg
  report.py engines RUNS.csv                     a table in Markdown of commands of engines, in milliseconds
  report.py waterfall TRACE.json… FILE.svg       a trace in the Chrome trace-event format as a picture; of several, the
                                                 one of median length, which is kept beside the picture

RUNS.csv has a row a run: case, contender, round, microseconds, peak_kib; FACTS.csv rows of kind, contender, value, of.
Rows of one case and round were measured beside each other: ratios and differences are taken within the round, then the
median of those is given. Only the standard library is used.
"""

import collections
import csv
import html
import json
import math
import os
import pathlib
import statistics
import sys

# What the project asks of itself: the most that the median ratio to the floor may be, by case.
GOALS = {
    "run": 1.5,
    "run-host-cgroupns": 1.5,
    "run-idle": 1.7,
    "run-host-cgroupns-idle": 1.7,
    "create-start-delete": 3.0,
    "exec": 1.7,
}
SECCOMP_GOAL = 300  # µs that a profile may add
MEMORY_GOAL = 3 << 10  # KiB
SIZE_GOAL = 4_000_000  # bytes
COLOURS = {"floor": "#8a8f98", "bare": "#c3c7cd", "myrt": "#2f6fde", "runc": "#d9822b", "youki": "#6a9a3b"}


def read(path):
    """{case: {contender: {round: (µs, peak KiB)}}}, in the order of the file, and {(contender, case): how often it hung}."""
    cases, hung = {}, collections.Counter()
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if row["microseconds"] == "hung":
                hung[row["contender"], row["case"]] += 1
                continue
            runs = cases.setdefault(row["case"], {}).setdefault(row["contender"], {})
            runs[int(row["round"])] = (float(row["microseconds"]), int(row["peak_kib"]))
    return cases, hung


def compare(runs, reference, how):
    """The median, over the rounds, of `how` of a run and the reference's run of the same round."""
    return statistics.median(how(value[0], reference[number][0]) for number, value in runs.items() if number in reference)


def summarise(cases):
    rows = []
    for case, contenders in cases.items():
        first = next(iter(contenders.values()))
        for name, runs in contenders.items():
            times = [value[0] for value in runs.values()]
            row = {
                "case": case,
                "contender": name,
                "rounds": len(times),
                "min_us": min(times),
                "median_us": statistics.median(times),
                "mean_us": statistics.fmean(times),
                "peak_kib": max(value[1] for value in runs.values()),
            }
            if not case.startswith("scale"):
                row["ratio"] = compare(runs, first, lambda a, b: a / b)
                if "bare" in contenders:
                    row["ratio_to_bare"] = compare(runs, contenders["bare"], lambda a, b: a / b)
                plain = contenders.get(name.removesuffix("+seccomp"))
                if name.endswith("+seccomp") and plain:
                    row["added_us"] = compare(runs, plain, lambda a, b: a - b)
                    row["added_min_us"] = min(times) - min(value[0] for value in plain.values())
            rows.append(row)
    return rows


def verdict(value, goal):
    return "within" if value <= goal else "ABOVE"


def print_rows(rows):
    head = ("case", "contender", "min µs", "median µs", "to floor", "to bare", "added µs", "peak KiB", "asked of myrt")
    lines = [head]
    for row in rows:
        asked = ""
        if row["contender"] == "myrt" and row["case"] in GOALS:
            asked = f"<= {GOALS[row['case']]}: {verdict(row['ratio'], GOALS[row['case']])}"
        if row["contender"] == "myrt+seccomp" and "added_us" in row:
            asked = f"adds <= {SECCOMP_GOAL}: {verdict(row['added_us'], SECCOMP_GOAL)}"
        lines.append(
            (
                row["case"],
                row["contender"],
                f"{row['min_us']:.0f}",
                f"{row['median_us']:.0f}",
                f"{row['ratio']:.2f}" if "ratio" in row else "",
                f"{row['ratio_to_bare']:.2f}" if "ratio_to_bare" in row else "",
                f"{row['added_us']:.0f}" if "added_us" in row else "",
                str(row["peak_kib"]),
                asked,
            )
        )
    aligned(lines, left=(0, 1, 8))


def aligned(lines, left):
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for number, line in enumerate(lines):
        cells = (cell.ljust(width) if i in left else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths)))
        print("  ".join(cells).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def print_facts(facts, rows):
    print()
    peaks = collections.defaultdict(int)
    for row in rows:
        if row["contender"] not in ("floor", "bare"):
            name = row["contender"].removesuffix("+seccomp")
            peaks[name] = max(peaks[name], row["peak_kib"])
    for name, peak in peaks.items():
        goal = f"  (asked: under {MEMORY_GOAL}: {verdict(peak, MEMORY_GOAL)})" if name == "myrt" else ""
        print(f"{name}: peak resident memory of its largest process, all cases: {peak} KiB{goal}")
    for row in rows:
        if "added_us" in row:
            print(
                f"{row['contender']}, {row['case']}: adds {row['added_us']:.0f} µs by the median of differences,"
                f" {row['added_min_us']:.0f} µs between the minima"
            )
    said = {
        "load": lambda name, value, of: f"{name}: load average {value / of:.2f} on {os.cpu_count()} processors when it began"
        + (": TOO BUSY for figures to be believed" if value / of > os.cpu_count() / 2 else ""),
        "size": lambda name, value, _: f"{name}: {value} bytes on disk"
        + (f"  (asked: under {SIZE_GOAL}: {verdict(value, SIZE_GOAL)})" if name == "myrt" else ""),
        "small": lambda name, value, of: f"{name}: {value} of {of} containers with a memory limit of 2 MiB started",
        "kernel": lambda name, value, of: f"{name}: {value} KiB of the kernel's memory a container, at {of} containers",
    }
    for fact in facts:
        print(said[fact["kind"]](fact["contender"], fact["value"], fact["of"]))


class Picture:
    """An SVG: rectangles, lines and texts, no more."""

    def __init__(self, width, height, title):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            f' font-family="sans-serif" font-size="12"><title>{html.escape(title)}</title>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]
        self.text(16, 24, title, size=15)

    def text(self, x, y, words, anchor="start", colour="#222222", size=12):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{html.escape(words)}</text>'
        )

    def bar(self, x, y, width, height, colour, hover):
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" fill="{colour}">'
            f"<title>{html.escape(hover)}</title></rect>"
        )

    def line(self, x1, y1, x2, y2, colour="#dddddd"):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>')

    def save(self, path):
        pathlib.Path(path).write_text("\n".join(self.parts) + "\n</svg>\n")
        print(f"picture: {path}")


def draw_ratios(rows, path):
    """Bars from 1 (the floor) to each contender's ratio, on a logarithmic scale, grouped by case."""
    rows = [row for row in rows if "ratio" in row and row["contender"] not in ("floor", "bare")]
    if not rows:
        return
    left, right, top, step = 190, 920, 70, 18
    groups = {}
    for row in rows:
        groups.setdefault(row["case"], []).append(row)
    height = top + sum(len(group) * step + 14 for group in groups.values()) + 20
    most = math.ceil(math.log2(max(2, *(row["ratio"] for row in rows))))
    scale = (right - left - 60) / most
    picture = Picture(right, height, "Times of whole commands, as multiples of the floor (median of rounds)")
    for power in range(most + 1):
        x = left + power * scale
        picture.line(x, top - 12, x, height - 20)
        picture.text(x, top - 18, f"{2**power}×", anchor="middle", colour="#666666")
    y = top
    for case, group in groups.items():
        picture.text(16, y + 12, case)
        for row in group:
            name = row["contender"]
            length = max(0, math.log2(max(row["ratio"], 1))) * scale
            colour = COLOURS.get(name.split("+")[0], "#999999")
            picture.bar(left, y, length, step - 4, colour, f"{case}, {name}: median {row['median_us']:.0f} µs")
            picture.text(left + length + 6, y + 11, f"{name} {row['ratio']:.2f}")
            y += step
        y += 14
    picture.save(path)


def report(runs, facts, folder):
    folder = pathlib.Path(folder)
    cases, hung = read(runs)
    rows = summarise(cases)
    with open(facts, newline="") as file:
        known = [
            {"kind": kind, "contender": name, "value": int(value), "of": int(of)} for kind, name, value, of in csv.reader(file)
        ]
    print_rows(rows)
    print_facts(known, rows)
    for (name, case), times in hung.items():
        print(f"{name}: hung {times} times in {case}; each was killed after 10 s and taken once more")
    (folder / "bench.json").write_text(json.dumps({"rows": rows, "facts": known}, indent=1) + "\n")
    draw_ratios(rows, folder / "ratios.svg")
    print(f"numbers: {runs}, {folder / 'bench.json'}")


def length(steps):
    return max(e["ts"] + e["dur"] for e in steps) - min(e["ts"] for e in steps)


def waterfall(*files):
    """One row a step, in the order of their beginnings, under one heading a thread; times run to the right."""
    *traces, path = files
    found = []
    for trace in traces:
        text = pathlib.Path(trace).read_text()
        events = json.loads(text)
        events = events["traceEvents"] if isinstance(events, dict) else events
        steps = sorted((e for e in events if e.get("ph") == "X"), key=lambda e: (e["ts"], -e["dur"]))
        if not steps:
            sys.exit(f"{trace}: no complete events (ph X) in it")
        found.append((length(steps), text, events, steps))
    found.sort(key=lambda one: one[0])
    _, text, events, steps = found[len(found) // 2]
    if len(traces) > 1:
        kept = pathlib.Path(path).with_name("trace.json")
        kept.write_text(text)
        print(f"trace: {kept}")
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e.get("ph") == "M" and e["name"] == "thread_name"}
    begin = min(e["ts"] for e in steps)
    end = begin + length(steps)
    left, right, top, step = 230, 1180, 70, 17
    rows = collections.OrderedDict()
    for event in steps:
        rows.setdefault((event["pid"], event["tid"]), []).append(event)
    height = top + sum(len(group) * step + 34 for group in rows.values()) + 10
    scale = (right - left - 90) / max(end - begin, 1)
    picture = Picture(right, height, f"One container start, step by step: {end - begin:.0f} µs")
    unit = 10 ** math.floor(math.log10(max(end - begin, 10)))
    unit = next(u for u in (unit / 5, unit / 2, unit, unit * 2) if (end - begin) / u <= 10)
    for mark in range(int((end - begin) / unit) + 1):
        x = left + mark * unit * scale
        picture.line(x, top - 12, x, height - 10)
        picture.text(x, top - 18, f"{mark * unit:.0f} µs", anchor="middle", colour="#666666")
    palette = ("#2f6fde", "#d9822b", "#6a9a3b", "#8a5fb5")
    y = top
    for number, (thread, group) in enumerate(rows.items()):
        picture.text(16, y + 12, names.get(thread, f"process {thread[0]}, thread {thread[1]}"), size=13)
        y += 20
        for event in group:
            x = left + (event["ts"] - begin) * scale
            hover = f"{event['name']}: {event['dur']:.0f} µs from {event['ts'] - begin:.0f} µs"
            picture.text(30, y + 11, event["name"][:34], colour="#444444")
            picture.bar(x, y, event["dur"] * scale, step - 4, palette[number % len(palette)], hover)
            picture.text(x + max(event["dur"] * scale, 1) + 4, y + 11, f"{event['dur']:.0f}", colour="#666666", size=11)
            y += step
        y += 14
    picture.save(path)


def engines(runs):
    """A row a case, two columns a runtime: min/median, and the median of the ratios to the first runtime."""
    cases, hung = read(runs)
    names = list(dict.fromkeys(name for contenders in cases.values() for name in contenders))
    print("| case | rounds |" + "".join(f" {name} | |" for name in names))
    print("|---|---|" + "---|---|" * len(names))
    for case, contenders in cases.items():
        rows = {row["contender"]: row for row in summarise({case: contenders})}
        cells = [case, str(next(iter(rows.values()))["rounds"])]
        for name in names:
            row = rows.get(name)
            if not row:
                cells += ["", ""]
                continue
            cells += [f"{row['min_us'] / 1000:.0f}/{row['median_us'] / 1000:.0f} ms", f"{row['ratio']:.2f}"]
        print("| " + " | ".join(cells) + " |")
    for (name, case), times in hung.items():
        print(f"{name}, {case}: {times} runs hung")


match sys.argv[1:]:
    case ["report", runs, facts, folder]:
        report(runs, facts, folder)
    case ["engines", runs]:
        engines(runs)
    case ["waterfall", _, _, *_]:
        waterfall(*sys.argv[2:])
    case _:
        sys.exit(__doc__)
