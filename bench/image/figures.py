"""Rounds of two tools that take turns, and what comes out."""
import math
import pathlib
import re
import statistics
import subprocess
import time


class Failed(Exception):
    pass


class Tool:
    """One of the two, under qemu's names."""

    def __init__(self, name, folder):
        self.name, self.folder = name, pathlib.Path(folder)

    def program(self, name):
        return str(self.folder / name)


def timed(words, cwd):
    """Seconds of wall clock, and what it printed."""
    start = time.monotonic()
    result = subprocess.run(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seconds = time.monotonic() - start
    if result.returncode != 0:
        raise Failed(f"{' '.join(map(str, words))}: status {result.returncode}: {result.stdout.strip()[-300:]}")
    return seconds, result.stdout


def peak_memory(words, cwd):
    """The largest resident memory, in MB, of a program that has opened a disk; the program itself counts."""
    process = subprocess.Popen(words, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        process.stdin.write("length\n")
        process.stdin.flush()
        process.stdout.readline()
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e3
    finally:
        process.communicate("quit\n", timeout=60)


class Row:
    def __init__(self, group, name, higher_is_better=False, unit="s"):
        self.group, self.name, self.higher, self.unit = group, name, higher_is_better, unit
        self.rounds = {}

    def take(self, tool, value):
        self.rounds.setdefault(tool, []).append(value)

    def median(self, tool):
        return statistics.median(self.rounds[tool])

    def ratio(self):
        """How many times as good as qemu."""
        ours, theirs = self.median("vireo"), self.median("qemu")
        if min(ours, theirs) <= 0:
            return float("nan")
        return ours / theirs if self.higher else theirs / ours


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def print_table(rows):
    print(f"{'measure':<28} {'vireo':>12} {'qemu':>12} {'times as good':>14}")
    for row in rows:
        print(f"{row.group + ' ' + row.name:<28} {row.median('vireo'):>10.4g} {row.unit:<2}{row.median('qemu'):>9.4g} {row.unit:<2} {row.ratio():>12.2f}")
    for group in dict.fromkeys(row.group for row in rows):
        ratios = [row.ratio() for row in rows if row.group == group and row.unit != "MB"]
        if len(ratios) > 1:
            print(f"{group}: geometric mean {geometric_mean(ratios):.2f}, least {min(ratios):.2f}")
