"""Loops of ONNX that a computed condition ends, with stacked results: as many as there were turns."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from runtimes import run_lite, run_onnx
from small_onnx import initializer
from test_convert import run

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def tensor(name, dtype, shape):
    return helper.make_tensor_value_info(name, dtype, shape)


def summing_until(limit, bound):
    """y: the sums x, 2 x, ... until the largest is at least `bound`, or `limit` turns are over (none: no limit)."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["sum", "x"], ["next"]),
            helper.make_node("ReduceMax", ["next"], ["most"], keepdims=0),
            helper.make_node("Less", ["most", "bound"], ["go_on"]),
            helper.make_node("Mul", ["next", "two"], ["each"]),
        ],
        "body",
        [tensor("i", INT64, []), tensor("go", BOOL, []), tensor("sum", FLOAT, [None, 3])],
        [tensor("go_on", BOOL, []), tensor("next", FLOAT, [None, 3]), tensor("each", FLOAT, [None, 3])],
    )
    constants = [initializer("bound", np.float32(bound)), initializer("two", np.float32(2))]
    if limit is not None:
        constants.append(initializer("limit", limit))
    nodes = [
        helper.make_node("Mul", ["x", "zero"], ["start"]),
        helper.make_node("Loop", ["limit" if limit is not None else "", "", "start"], ["last", "y"], body=body),
    ]
    graph = helper.make_graph(
        nodes, "net", [tensor("x", FLOAT, ["B", 3])],
        [tensor("last", FLOAT, ["B", 3]), tensor("y", FLOAT, None)],
        [*constants, initializer("zero", np.float32(0))],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("limit", [None, 7, 2**62])
def test_stack_what_their_turns_give(tmp_path, limit):
    onnx.save(summing_until(limit, 6), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    done = run(tmp_path, "convert", "net.onnx", "-o", "out", "--to", "onnx,tflite", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    for largest, batch in ((1.0, 1), (2.0, 2), (9.0, 4)):
        x = np.linspace(0.1, largest, 3 * batch, dtype=np.float32).reshape(batch, 3)
        last, stacked = session.run(None, {"x": x})
        for found in (run_lite(tmp_path / "out/net_fp32.tflite", x=x), run_onnx(str(tmp_path / "out/net.onnx"), x=x)):
            assert found["y"].shape == stacked.shape
            np.testing.assert_allclose(found["y"], stacked, rtol=1e-6)
            np.testing.assert_allclose(found["last"], last, rtol=1e-6)


def test_sequences_as_inputs_are_refused_with_a_way_out(tmp_path):
    entry = helper.make_tensor_type_proto(FLOAT, [2])
    graph = helper.make_graph(
        [helper.make_node("ConcatFromSequence", ["xs"], ["y"], axis=0)], "net",
        [helper.make_value_info("xs", helper.make_sequence_type_proto(entry))], [tensor("y", FLOAT, None)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "net.onnx")
    done = run(tmp_path, "convert", "net.onnx", "-o", "out", "--to", "onnx")
    assert done.returncode != 0
    assert "input 'xs' is a sequence, expected a tensor" in done.stderr
    assert "each entry as an input of its own" in done.stderr


def test_no_turn_stacks_nothing(tmp_path):
    model = summing_until(None, 6)
    model.graph.node[1].input[0] = "turns"
    model.graph.input.append(tensor("turns", INT64, []))
    onnx.save(model, tmp_path / "net.onnx")
    done = run(tmp_path, "convert", "net.onnx", "-o", "out", "--to", "onnx,tflite", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    x = np.ones((2, 3), np.float32)
    for turns, entries in ((0, 0), (-3, 0), (2, 2), (50, 6)):
        feeds = {"x": x, "turns": np.array(turns, np.int64)}
        lite, onnx_file = str(tmp_path / "out/net_fp32.tflite"), str(tmp_path / "out/net.onnx")
        for found in (run_lite(lite, **feeds), run_onnx(onnx_file, **feeds)):
            assert found["y"].shape == (entries, 2, 3)
