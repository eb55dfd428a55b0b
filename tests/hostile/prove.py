#!/usr/bin/env python3
"""Proves what the manifest says: loads each file with PyTorch as if it were trusted, and looks for the canary.

    prove.py FOLDER

FOLDER was made by make_hostile.py. The payloads do nothing but make a file; still, this is the one program here that
lets them run, so it is no part of the tests. A payload without `proof` may need a package or a program that is not
installed, or another moment.
"""

import json
import pathlib
import shutil
import sys
import tempfile
import time

import forked
import numpy
import torch
from attacks.record import CANARY


def load(path):
    """Loads a file as its user would who trusts it."""
    try:
        if path.suffix in (".npy", ".npz"):
            loaded = numpy.load(path, allow_pickle=True)
            found = [loaded[name] for name in loaded.files] if hasattr(loaded, "files") else loaded
            return "loaded", str(type(found))
        return "loaded", str(type(torch.load(path, map_location="cpu", weights_only=False)))
    finally:
        _wait_for_canary()


def _wait_for_canary(seconds=0.5):
    """What was started may not be done."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not pathlib.Path(CANARY).exists():
        time.sleep(0.01)


def prove(record, path, scratch):
    """Whether the canary was left; and what loading said."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    outcome = forked.call(load, path, scratch)
    return (scratch / CANARY).exists(), f"{outcome.verdict} {outcome.detail}"


def main(folder):
    folder = pathlib.Path(folder).resolve()
    records = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    wrong = proven = 0
    with tempfile.TemporaryDirectory() as work:
        for record in records:
            claims = bool(record["runs"]) or record["proof"]
            if record["program"] == "config" or not (claims or record["group"] in ("wrappers", "positions", "opcodes")):
                continue
            ran, said = prove(record, folder / record["name"], pathlib.Path(work) / "scratch")
            proven += ran
            if ran != record["proof"]:
                wrong += record["proof"] or not record["runs"]
                print(f"{record['name']}: {'ran' if ran else 'did not run'}: {said}", flush=True)
    print(f"{proven} files ran their payload; {wrong} claims are wrong")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
