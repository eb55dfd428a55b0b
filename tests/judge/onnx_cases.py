"""Cases in the layout of ONNX's node tests, and the program `taper_onnx_cases` (tests/tools), which runs them."""

import importlib.util
import os
import pathlib
import subprocess

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import ai_edge_litert
from program import ROOT

PROGRAM = pathlib.Path(os.environ.get("TAPER_ONNX_CASES", ROOT / "build/release/bin/taper_onnx_cases")).resolve()
LITERT = pathlib.Path(ai_edge_litert.__path__[0]) / "libLiteRt.so"
ONNXRUNTIME = pathlib.Path(importlib.util.find_spec("onnxruntime").submodule_search_locations[0]) / "capi"
TENSORFLOW = importlib.util.find_spec("tensorflow").submodule_search_locations[0]


def save_case(folder, model, inputs, outputs):
    """The model, and arrays that it is given and has to give."""
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    for kind, arrays in (("input", inputs), ("output", outputs)):
        for i, array in enumerate(arrays):
            (data / f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(array)).SerializeToString())


def need_program():
    """Skips, or fails where judges are required, if the program is not built."""
    if not os.access(PROGRAM, os.X_OK):
        assert "TAPER_REQUIRE_JUDGES" not in os.environ, f"{PROGRAM} is missing"
        pytest.skip(f"{PROGRAM} is missing: build the target taper_onnx_cases")


def run_cases(folder, *formats, timeout=600):
    """The columns of each case of a folder (its name first), and the line of totals."""
    need_program()
    done = subprocess.run(
        [PROGRAM, folder, *(f"--{name}" for name in formats)],
        env={**os.environ, "TAPER_LITERT": str(LITERT), "TAPER_ONNXRUNTIME": str(ONNXRUNTIME), "TAPER_TENSORFLOW": TENSORFLOW},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, total = done.stdout.splitlines()
    return [line.split("\t") for line in lines], total
