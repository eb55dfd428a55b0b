"""Converts saved networks and compares what the files compute with PyTorch.

    python tests/zoo/judge.py [--update] [NAME...]     judges all networks, or those named, and prints what fails;
                                                       --update writes results.md

Results are by network and form, then by judge: "ok", or why not.
"""

import argparse
import concurrent.futures
import faulthandler
import hashlib
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
TAPER = pathlib.Path(os.environ.get("TAPER_PROGRAM", ROOT / "build/release/bin/taper")).resolve()
TABLE = ROOT / "tests/zoo/results.md"
# With their tolerances; `verified` is what the program itself says of its TFLite files, by LiteRT's compiled models.
JUDGES = {"litert": 1e-3, "litert_fp16": 5e-2, "onnxruntime": 1e-3, "tensorflow": 1e-3, "verified": None}
SUFFIXES = {"pt2": ".pt2", "dynamic": ".pt2", "traced": ".pt", "scripted": ".pt"}
SIGNATURE = "serving_default"
WORKERS = 2
TIME_LIMIT = 60  # seconds for one conversion
NETWORK_TIME_LIMIT = 600  # for all that is done with a network: a runtime that never ends is stopped, and seen where


def sources():
    """The scripts that make the zoo."""
    folder = ROOT / "tests/zoo"
    return [folder / "zoo.py", folder / "make_zoo.py", *sorted((folder / "networks").glob("*.py"))]


def saved_networks(folder=ROOT / "build/zoo"):
    """The folder of the saved networks, made once for each content of the scripts."""
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources())).hexdigest()[:12]
    place = folder / key
    if not (place / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        names = subprocess.run(
            [sys.executable, "-c", "import zoo; print(*zoo.load())"],
            cwd=ROOT / "tests/zoo", check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        makers = [
            subprocess.Popen([sys.executable, ROOT / "tests/zoo/make_zoo.py", place, *names[part::WORKERS]])
            for part in range(WORKERS)
        ]
        assert all(maker.wait() == 0 for maker in makers), "make_zoo.py failed"
        (place / "complete").touch()
    return place


# ------------------------------------------------------------------------------------------------------------ runtimes


class LiteRt:
    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415  (only workers need the runtimes)

        self.runner = Interpreter(model_path=str(path), num_threads=1).get_signature_runner(SIGNATURE)

    def run(self, inputs):
        return self.runner(**inputs)


class OnnxRuntime:
    def __init__(self, path):
        import onnxruntime  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, inputs):
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, inputs), strict=True))


class TensorFlow:
    def __init__(self, path):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf  # noqa: PLC0415

        self.constant = tf.constant
        self.module = tf.saved_model.load(str(path))
        self.signature = self.module.signatures[SIGNATURE]

    def run(self, inputs):
        found = self.signature(**{name: self.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in found.items()}


RUNTIMES = {
    "litert": (LiteRt, "net_fp32.tflite"),
    "litert_fp16": (LiteRt, "net_fp16.tflite"),
    "onnxruntime": (OnnxRuntime, "net.onnx"),
    "tensorflow": (TensorFlow, "net_tf"),
}


# --------------------------------------------------------------------------------------------------------- comparisons


class Look:
    """Inputs, and PyTorch's outputs for them."""

    def __init__(self, arrays, number):
        def part(kind):
            start = f"{number}/{kind}/"
            return {name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)}

        self.inputs, self.outputs = part("in"), part("out")


def difference(judge, found, expected):
    """Why `found` is not `expected`; empty if it is."""
    if found.shape != expected.shape:
        return f"shape {list(found.shape)}, expected {list(expected.shape)}"
    if expected.dtype.kind != "f":
        # In half precision another one of two close values may be the largest.
        same = judge == "litert_fp16" or np.array_equal(found, expected)
        return "" if same else "other integers"
    if not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        return "not finite"
    finite = np.isfinite(expected)
    if not finite.any():
        return ""
    found, expected = found[finite].astype(np.float64), expected[finite].astype(np.float64)
    spread = expected.max() - expected.min() or max(abs(expected.max()), 1e-6)
    error = np.abs(found - expected).max() / spread
    return "" if error < JUDGES[judge] else f"error {error:.1e}"


def verdict(judge, path, looks):
    """What one runtime says of one file."""
    try:
        runtime = RUNTIMES[judge][0](path)
        for number, look in enumerate(looks):
            found = runtime.run(look.inputs)
            if set(found) != set(look.outputs):
                return f"outputs {sorted(found)}, expected {sorted(look.outputs)}"
            for name, expected in look.outputs.items():
                if problem := difference(judge, np.asarray(found[name]), expected):
                    return f"look {number}, {name}: {problem}"
    except Exception as problem:  # noqa: BLE001  (runtimes raise all kinds)
        return f"{type(problem).__name__}: {problem}"
    return "ok"


# ---------------------------------------------------------------------------------------------------------- conversion


def shape_text(about, name, look, form):
    """The shape of an input as --input-shape takes it."""
    sizes = [size if form == "scripted" else about["sizes"].get(size, [size])[0] for size in about["inputs"][name]]
    return ",".join(str(size) for size in sizes) or ","


def arguments(about, form, looks):
    """The flags that a form needs."""
    flags = []
    for name, shape in about["inputs"].items():
        if form in ("traced", "scripted"):
            flags += ["--input-shape", f"{name}={shape_text(about, name, 0, form)}"]
            flags += ["--input-dtype", f"{name}={looks[0].inputs[name].dtype}"]
        elif form == "dynamic":
            for axis, size in enumerate(shape):
                if size in about["frozen"]:
                    flags += ["--dynamic", f"{name}:{axis}"]
    return flags


def problem_of(command):
    """What a command that fails says; empty if it succeeds."""
    run = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    if run.returncode == 0:
        return ""
    return " ".join((run.stderr + run.stdout).split()) or f"exit status {run.returncode}"


def judge_form(folder, form):
    """Converts one saved form; returns the verdicts of all judges."""
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    with np.load(folder / "looks.npz") as arrays:
        looks = [Look(arrays, number) for number in (0, 1) if number == 0 or form in ("dynamic", "scripted")]
        looks = [look for look in looks if look.inputs]
    with tempfile.TemporaryDirectory() as scratch:
        command = [TAPER, "convert", folder / (form + SUFFIXES[form]), "--name", "net", "--quiet",
                   *arguments(about, form, looks)]  # fmt: skip
        if said := problem_of([*command, "-o", scratch, "--no-verify"]):
            return dict.fromkeys(JUDGES, said)
        verdicts = {judge: verdict(judge, pathlib.Path(scratch) / file, looks) for judge, (_, file) in RUNTIMES.items()}
        said = problem_of([*command, "-o", f"{scratch}/verified", "--to", "tflite"])
        return verdicts | {"verified": said or "ok"}


def judge_network(folder):
    """The verdicts by form."""
    faulthandler.dump_traceback_later(NETWORK_TIME_LIMIT, exit=True)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    results = {}
    for form in about["forms"]:
        try:
            results[form] = judge_form(folder, form)
        except subprocess.TimeoutExpired:
            results[form] = dict.fromkeys(JUDGES, f"more than {TIME_LIMIT} s")
    faulthandler.cancel_dump_traceback_later()
    return results


def judge_all(names=()):
    """The verdicts of all networks, or those named, by network and form."""
    place = saved_networks()
    folders = [path.parent for path in sorted(place.glob("*/about.json")) if not names or path.parent.name in names]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
        return dict(zip([folder.name for folder in folders], pool.map(judge_network, folders), strict=True))


# --------------------------------------------------------------------------------------------------------------- table

HEAD = """# The zoo

What `taper convert` makes of the networks in `tests/zoo/networks`, judged by LiteRT (float32 and float16), ONNX Runtime
and TensorFlow against PyTorch, and by `taper convert` itself: `ok`, or `-`.

Written by `python tests/zoo/judge.py --update`; a test refuses a fall.

"""


def table_of(results):
    """results.md."""
    rows = [["network", "form", *JUDGES]]
    rows.append(["---"] * len(rows[0]))
    counts = dict.fromkeys(JUDGES, 0)
    total = 0
    for name, forms in results.items():
        for form, verdicts in forms.items():
            rows.append([name, form, *("ok" if verdicts[judge] == "ok" else "-" for judge in JUDGES)])
            total += 1
            for judge in JUDGES:
                counts[judge] += verdicts[judge] == "ok"
    summary = ", ".join(f"{judge} {count}" for judge, count in counts.items())
    lines = [f"{len(results)} networks in {total} forms: {summary}.", ""]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return HEAD + "\n".join(lines) + "\n"


def committed():
    """What results.md says: whether a judge accepts, by (network, form, judge)."""
    entries = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 2 + len(JUDGES) and cells[0] not in ("network", "---"):
            for judge, cell in zip(JUDGES, cells[2:], strict=True):
                entries[cells[0], cells[1], judge] = cell == "ok"
    return entries


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    results = judge_all(options.names)
    for name, forms in results.items():
        for form, verdicts in forms.items():
            for reason in sorted(set(verdicts.values()) - {"ok"}):
                judges = [judge for judge in JUDGES if verdicts[judge] == reason]
                print(f"{name} {form} ({', '.join(judges)}): {re.sub(r'/tmp/[^ ]*/', '', reason)[:600]}")
    print(table_of(results).split("\n")[5])
    if options.update and not options.names:
        TABLE.write_text(table_of(results), encoding="utf-8")


if __name__ == "__main__":
    main()
