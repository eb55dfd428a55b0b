"""Measures files of integers against float32; see bench/quantised."""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from common import ROOT, Bar, arguments_of, machine, print_bars, print_table, warn_if_busy
from latency import FRAMES, MODELS, litert, race

SCHEMES = ("fp32", "fp16", "dynamic", "w8", "w4", "int8", "int16x8")
EXAMPLES = ROOT / "examples"


def export(program, folder):
    """Writes all files of the example models; returns the results."""
    command = [program, "--transformer", EXAMPLES / "Transformer.pt", "--gru", EXAMPLES / "GRU.pt", "--quiet"]
    command += ["--to", "tflite", "--quantize", ",".join(SCHEMES), "--calibration", EXAMPLES / "samples.npz"]
    command += ["--output-dir", folder]
    subprocess.run(command, check=True)
    return json.loads((folder / "export_results.json").read_text())


def share(results, key, scheme):
    """The size of a file in percent of the float32 one."""
    sizes = results[key]["bytes"]
    return 100 * sizes[f"tflite_{scheme}"] / sizes["tflite_fp32"]


def bars_of(results, times):
    """What the files promise; `times` are milliseconds by model and scheme."""
    gru = times["gru"]
    bars = [
        Bar("GRU dynamic faster than float32 by", gru["fp32"] / gru["dynamic"], 2.5, at_least=True),
        Bar("GRU dynamic: share of the float32 file", share(results, "gru", "dynamic"), 30, unit="%"),
        Bar("transformer dynamic: share of the float32 file", share(results, "transformer", "dynamic"), 27, unit="%"),
    ]
    for key in MODELS:
        slowest = max(results[key]["seconds"][f"tflite_{scheme}"] for scheme in SCHEMES)
        bars.append(Bar(f"{key}: making any of its files", slowest, 1, unit="s"))
    return bars


def main():
    arguments = arguments_of("bench/quantised", 9)

    warn_if_busy()
    x = np.load(EXAMPLES / "samples.npz")["X"][:1].repeat(FRAMES // 60, axis=1)
    times = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        results = export(arguments.program.resolve(), folder)
        for key, (stem, _) in MODELS.items():
            calls = {scheme: litert(folder / f"{stem}_{scheme}.tflite", 1, x) for scheme in SCHEMES}
            times[key] = race(calls, arguments.rounds)

    print(f"Example models, input [1, {FRAMES}, 178], one thread, medians of {arguments.rounds} rounds taken in turns")
    print(f"{machine()}\n")
    for key in MODELS:
        rows = [(key, "size", "of float32", "time", "faster by", "relative error")]
        for scheme in SCHEMES:
            size = results[key]["bytes"][f"tflite_{scheme}"]
            error = results[key]["verification"]["files"][f"tflite_{scheme}"]["relative_error"]
            rows.append((scheme, f"{size / 1e3:.0f} KB", f"{share(results, key, scheme):.1f} %",
                         f"{times[key][scheme]:.2f} ms", f"{times[key]['fp32'] / times[key][scheme]:.2f}",
                         f"{error:.1e}"))  # fmt: skip
        print_table(rows)
    good = print_bars(bars_of(results, times))
    return 0 if good or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
