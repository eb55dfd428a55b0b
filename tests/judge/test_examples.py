"""The checkpoints in examples/, by the command that the README shows."""

import numpy as np
import pytest

from program import ROOT, export
from runtimes import LiteRtCompiledModel, LiteRtInterpreter, OnnxRuntime, relative_error
from saved_models import KerasLayer, TensorFlow, convert

EXAMPLES = ROOT / "examples"
BOUNDS = {"onnx": 1e-4, "tf": 1e-4, "fp32": 1e-4, "fp16": 2e-2}
RUNTIMES = {"onnx": (OnnxRuntime,), "tf": (TensorFlow, KerasLayer)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    arguments = ["--transformer", EXAMPLES / "Transformer.pt", "--gru", EXAMPLES / "GRU.pt"]
    return export(tmp_path_factory.mktemp("examples"), *arguments, "--verify-input", EXAMPLES / "samples.npz").expect(0)


@pytest.mark.parametrize("kind", BOUNDS)
@pytest.mark.parametrize("key", ["transformer", "gru"])
def test_gives_the_logits_of_pytorch(run, key, kind):
    x, y = (np.load(EXAMPLES / "samples.npz")[name] for name in ("X", "y"))
    expected = np.load(EXAMPLES / "expected_logits.npz")[key]
    for runtime in RUNTIMES.get(kind, (LiteRtInterpreter, LiteRtCompiledModel)):
        found = runtime(run.path(key, kind)).run(x, {"output": expected.shape})["output"]
        assert relative_error(found, expected) < BOUNDS[kind]
        assert (found.argmax(-1) == expected.argmax(-1)).all()
        assert (found.argmax(-1) == y).mean() >= 0.8, "trained checkpoints recognise the samples"


@pytest.mark.parametrize("key", ["transformer", "gru"])
def test_tensorflow_converts_it_to_tflite(run, tmp_path, key):
    convert(run.path(key, "tf"), tmp_path / "converted.tflite")
    x, expected = np.load(EXAMPLES / "samples.npz")["X"], np.load(EXAMPLES / "expected_logits.npz")[key]
    found = LiteRtInterpreter(tmp_path / "converted.tflite").run(x, None)["output"]
    assert relative_error(found, expected) < BOUNDS["tf"]


def test_nothing_about_the_transformer_is_assumed_but_the_eps(run):
    assumed = " ".join(run.model("transformer")["assumed"])
    assert "heads" not in assumed
    assert "pooling" not in assumed


def test_real_inputs_were_used(run):
    x = np.load(EXAMPLES / "samples.npz")["X"]
    runs = run.model("gru")["verification"]["files"]["tflite_fp32"]["runs"]
    assert any(judged["input_shape"][1] == x.shape[1] for judged in runs)
