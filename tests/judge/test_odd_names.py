"""Names of inputs and outputs that TensorFlow doesn't take: the SavedModel has others, ONNX and TFLite files keep them."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime import InferenceSession

from program import TAPER, TIME_LIMIT, plain_environment
from saved_models import tf


def run(folder, *arguments, **environment):
    command = [TAPER, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=plain_environment() | environment, capture_output=True, text=True,
                          timeout=TIME_LIMIT, check=False)  # fmt: skip


def save(path, inputs, outputs):
    """Output i is input i, or the last one, plus i."""
    info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])  # noqa: E731
    nodes, numbers = [], []
    for i, output in enumerate(outputs):
        numbers.append(helper.make_tensor(f"number{i}", TensorProto.FLOAT, [], [i + 1]))
        nodes.append(helper.make_node("Add", [inputs[min(i, len(inputs) - 1)], f"number{i}"], [output]))
    graph = helper.make_graph(nodes, "net", list(map(info, inputs)), list(map(info, outputs)), numbers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


CASES = [
    # inputs, outputs, inputs of the SavedModel
    (["input_1:0"], ["Identity:0"], ["input_1:0"]),
    (["/x"], ["_y"], ["/x"]),
    (["in"], ["out"], ["in_"]),
    (["self", "while", "True"], ["a", "b", "c"], ["self_", "while_", "True_"]),
    (["x"], ["ü"], ["x"]),
    (["ü"], ["日本"], ["_"]),
    (["x"], ["Y", "y"], ["x"]),
    (["Y", "y"], ["z", "Z"], ["Y", "y"]),
    (["x:0", "x_0"], ["y", "lambda"], ["x:0", "x_0_1"]),
]


class TestSavedModels:
    @pytest.mark.parametrize("inputs,outputs,spelled", CASES, ids=str)
    def test_have_names_that_tensorflow_takes(self, tmp_path, inputs, outputs, spelled):
        save(tmp_path / "net.onnx", inputs, outputs)
        done = run(tmp_path, "convert", "net.onnx", "-o", "out")
        assert done.returncode == 0, done.stderr
        for name, other in zip(inputs, spelled, strict=True):
            note = f"the input '{name}' is called '{other}' here"
            assert (note in done.stdout + done.stderr) == (name != other)
        arrays = [np.arange(6, dtype=np.float32).reshape(2, 3) + 10 * i for i in range(len(inputs))]
        expected = [arrays[min(i, len(inputs) - 1)] + i + 1 for i in range(len(outputs))]
        model = tf.saved_model.load(str(tmp_path / "out" / "net_tf"))
        results = model.signatures["serving_default"](**dict(zip(spelled, map(tf.constant, arrays), strict=True)))
        for name, value in zip(outputs, expected, strict=True):
            np.testing.assert_array_equal(results[name], value)
        session = InferenceSession(str(tmp_path / "out" / "net.onnx"))
        for value, result in zip(expected, session.run(outputs, dict(zip(inputs, arrays, strict=True))), strict=True):
            np.testing.assert_array_equal(result, value)

    @pytest.mark.parametrize("inputs,outputs,spelled", CASES, ids=str)
    def test_are_read_back_where_tensorflow_is_not_there(self, tmp_path, inputs, outputs, spelled):
        save(tmp_path / "net.onnx", inputs, outputs)
        done = run(tmp_path, "convert", "net.onnx", "-o", "out", "--to", "savedmodel", TAPER_TENSORFLOW="/nonexistent")
        assert done.returncode == 0, done.stderr
        shown = run(tmp_path, "inspect", "--graph", "out/net_tf")
        assert shown.returncode == 0, shown.stderr
        for name in filter(str.isascii, outputs):  # others are shown as bytes
            assert name in shown.stdout
