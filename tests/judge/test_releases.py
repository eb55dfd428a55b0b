"""Archives as PyTorch 2.5 to 2.12 wrote them: the files in their runtimes give what that release computed."""

import pathlib

import numpy as np
import pytest
from runtimes import run_lite, run_onnx
from test_convert import run

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "fixtures/exported/releases"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.pt2")), ids=lambda path: path.stem)
def test_give_what_that_release_computed(tmp_path, path):
    done = run(tmp_path, "convert", path, "--name", "net", "--to", "onnx,tflite", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    arrays = np.load(path.with_suffix(".npz"))
    inputs = {name[3:]: arrays[name] for name in arrays if name.startswith("in_")}
    if path.stem.startswith("numbers"):  # such have the value that they were exported with
        inputs = {"x": inputs["x"]}
    found = run_onnx(tmp_path / "net.onnx", **inputs)
    lite = run_lite(tmp_path / "net_fp32.tflite", **inputs)
    expected = [arrays[f"out_{i}"] for i in range(sum(name.startswith("out_") for name in arrays))]
    assert len(found) == len(expected)
    for (name, output), array in zip(found.items(), expected, strict=True):
        for each in (output, lite[name]):
            assert each.shape == array.shape, name
            np.testing.assert_allclose(each, array, rtol=1e-4, atol=1e-5, err_msg=name)
