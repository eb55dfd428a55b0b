"""ONNX's node tests: what taper reads of them, evaluates as they expect, and runs as TFLite.

The program `taper_onnx_cases` (tests/tools) runs all cases of the package onnx. What each gives is committed in
tests/onnx_nodes/results.txt; with TAPER_UPDATE_ONNX_NODES=1 the table is written anew.
"""

import collections
import os
import pathlib
import re
import time

import onnx
import pytest

from onnx_cases import run_cases
from program import ROOT

CASES = pathlib.Path(onnx.__file__).parent / "backend/test/data/node"
TABLE = ROOT / "tests/onnx_nodes/results.txt"
EVALUATED_BAR = 1100
TFLITE_BAR = 900
TIME_BAR = 90  # seconds


def passed(rows, column):
    """Names of the cases with "ok" in a column."""
    return {name for name, *columns in rows if columns[column] == "ok"}


def kind_of(reason):
    """A reason without what differs from case to case: names and numbers."""
    reason = reason.split(" / in ")[0].split("; in ")[0]
    reason = re.sub(r"'[^']*'", "'..'", reason)
    reason = re.sub(r"\[[^\]]*\]", "[..]", reason)
    return re.sub(r"-?\d[\d.e+-]*", "N", reason)[:140]


def summary(rows, column):
    """Lines that count the reasons in a column, the most frequent first."""
    counts = collections.Counter(kind_of(row[column + 1]) for row in rows if row[column + 1] != "ok")
    return [f"#   {count:4} {reason}" for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def write_table(rows):
    """Writes the committed table."""
    lines = [
        "# ONNX's node tests (onnx 1.20.1) in taper: case, evaluated, as TFLite in LiteRT, inputs given as constants.",
        "# Written by tests/judge/test_onnx_nodes.py with TAPER_UPDATE_ONNX_NODES=1.",
        f"# {len(rows)} cases, {len(passed(rows, 0))} evaluated, {len(passed(rows, 1))} as TFLite.",
        "# Why cases are not evaluated:",
        *summary(rows, 0),
        "# Why evaluated cases do not run as TFLite:",
        *summary([row for row in rows if row[1] == "ok"], 1),
    ]
    for name, *columns in rows:
        short = [column if column == "ok" else kind_of(column) for column in columns[:2]]
        lines.append("\t".join([name, *short, *columns[2:]]).rstrip())
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_table():
    """The committed rows."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def run():
    """The rows of a run, and how long it took."""
    start = time.monotonic()
    rows, total = run_cases(CASES, "tflite")
    assert total.startswith("total\t")
    if os.environ.get("TAPER_UPDATE_ONNX_NODES"):
        write_table(rows)
    return rows, time.monotonic() - start


def test_meets_the_bars(run):
    rows, seconds = run
    assert len(rows) == 1653
    assert len(passed(rows, 0)) >= EVALUATED_BAR
    assert len(passed(rows, 1)) >= TFLITE_BAR
    assert seconds < TIME_BAR


@pytest.mark.parametrize("column", [0, 1], ids=["evaluated", "tflite"])
def test_nothing_that_worked_fails(run, column):
    rows, _ = run
    lost = passed(read_table(), column) - passed(rows, column)
    reasons = {row[0]: row[column + 1] for row in rows if row[0] in lost}
    assert not lost, f"{len(lost)} cases fell: {reasons}"


def test_nothing_crashes(run):
    rows, _ = run
    assert not [row for row in rows if "crashes" in row[1:3] or "takes too long" in row[1:3]]
