"""What the benchmarks share: the models, processes measured from outside, tables with bars.

Imports nothing big: on Linux a child's peak memory counts what its parent held when it was started.
"""

import argparse
import dataclasses
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Default sizes of the two families with flags of their own; the definitions are those the tests use.
MAKE_MODELS = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from models import MediaPipeGRU, SignTransformer
torch.manual_seed(0)
torch.save(SignTransformer().eval().state_dict(), sys.argv[2] + "/Transformer.pt")
torch.save(MediaPipeGRU().eval().state_dict(), sys.argv[2] + "/GRU.pt")
"""


def make_models(folder):
    """Writes Transformer.pt and GRU.pt with seeded weights."""
    fixtures = str(ROOT / "tests/fixtures")
    subprocess.run([sys.executable, "-c", MAKE_MODELS, fixtures, str(folder)], check=True)


@dataclasses.dataclass
class Cost:
    """What a process took: wall time in seconds, peak resident memory in bytes."""

    seconds: float
    memory: int


def measure(command, cwd):
    """Runs a command to its end; a failure ends the benchmark."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit status {process.returncode}\n{said.decode(errors='replace')}")
    return Cost(seconds, usage.ru_maxrss * 1024)


def arguments_of(prog, rounds):
    """The command line that all benchmarks take: the program that is measured, --rounds and --check."""
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def median(values):
    """The median of anything iterable."""
    return statistics.median(list(values))


@dataclasses.dataclass
class Bar:
    """A promise: `value` is at most `limit` (or at least, for `at_least`)."""

    promise: str
    value: float
    limit: float
    at_least: bool = False
    unit: str = "x"

    @property
    def holds(self):
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def print_table(rows):
    """Prints rows of texts: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  " + "   ".join(cells).rstrip())
    print()


def print_bars(bars):
    """Prints each promise with what was measured; returns whether all hold."""
    width = max(len(bar.promise) for bar in bars)
    for bar in bars:
        relation = "at least" if bar.at_least else "at most"
        mark = "PASS" if bar.holds else "FAIL"
        promise = bar.promise.ljust(width)
        print(f"  {mark}  {promise}   {bar.value:6.3f} {bar.unit}, {relation} {bar.limit:g} {bar.unit}")
    print()
    return all(bar.holds for bar in bars)


def warn_if_busy():
    """Says so where other work would be measured too."""
    load = os.getloadavg()[0]
    if load > 0.5:
        said = f"The machine is busy (load {load:.1f}): figures, above all those on two threads, mean little.\n"
        print(said, file=sys.stderr)


def machine():
    """One line about where this runs."""
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
