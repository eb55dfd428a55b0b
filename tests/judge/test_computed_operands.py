"""ONNX files whose operands are computed, from open sizes or from elements, and branches of unlike sizes, as files and
programs have them: judged against ONNX Runtime and PyTorch at several sizes."""

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from onnx import helper
from torch import nn

from runtimes import run_onnx
from small_onnx import FLOAT, INT64, drawn, initializer, save_small
from test_convert import run
from test_measured_sizes import check

N = helper.make_node
INITS = {
    "zero": [0], "one": [1], "two": [2], "four": [4], "seven": [7], "eight": [8], "hundred": [100], "first": 0,
    "batch": [1, 2], "half": np.float32(0.5), "ends": np.float32([0, 1]), "wanted": np.float32([8, 8]),
    "ones": np.float32([1, 1]), "double": np.float32(2), "third": np.float32(0.3), "row": np.float32([[1, 2, 3, 4]]),
}
LENGTH = [N("Shape", ["x"], ["s"]), N("Slice", ["s", "zero", "one"], ["n"])]
COUNT = [
    N("Greater", ["x", "half"], ["m"]), N("Cast", ["m"], ["ones_"], to=INT64),
    N("ReduceSum", ["ones_"], ["c"], keepdims=0), N("Unsqueeze", ["c", "zero"], ["k"]),
]
PICKED = [N("Squeeze", ["x", "one"], ["v"]), N("Greater", ["v", "half"], ["m"]), N("Compress", ["v", "m"], ["q"])]
SIZES = [N("Shape", ["x"], ["s"]), N("Slice", ["s", "two", "four"], ["hw"]), N("Cast", ["hw"], ["real"], to=FLOAT)]
TOP = N("TopK", ["x", "k"], ["y", "i"], axis=0)
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def pads(mode):
    return [
        *LENGTH, N("Mod", ["n", "eight"], ["a"]), N("Sub", ["eight", "a"], ["b"]), N("Mod", ["b", "eight"], ["p"]),
        N("Concat", ["zero", "zero", "p", "zero"], ["pads"], axis=0), N("Pad", ["x", "pads"], ["y"], mode=mode),
    ]


ROWS = ["n", 4]
IMAGE = [1, 2, "h", "w"]
# The shape of x, the nodes, which make y of it, and sizes to judge at.
CASES = {
    "top_of_few": (ROWS, [*LENGTH, N("Concat", ["seven", "n"], ["both"], axis=0),
                          N("ReduceMin", ["both"], ["k"], keepdims=1), TOP], [3, 7, 12]),
    "top_third": (ROWS, [*LENGTH, N("Cast", ["n"], ["r"], to=FLOAT), N("Mul", ["r", "third"], ["t"]),
                         N("Floor", ["t"], ["f"]), N("Cast", ["f"], ["k"], to=INT64), TOP], [4, 10, 21]),
    "top_of_picked": (["n", 1], [*PICKED, N("Shape", ["q"], ["c"]), N("Min", ["c", "four"], ["k"]),
                                 N("TopK", ["q", "k"], ["y", "i"])], [30, 3, 0.0, 5]),
    "pads_zeros": (ROWS, pads("constant"), [5, 8, 13]),
    "pads_mirrored": (ROWS, pads("reflect"), [6, 8, 13]),
    "pads_edges": (ROWS, pads("edge"), [3, 8, 13]),
    "pads_by_count": (ROWS, [*COUNT, N("Concat", ["zero", "zero", "k", "zero"], ["pads"], axis=0),
                             N("Pad", ["x", "pads", "double"], ["y"])], [5, 0.0, 8]),
    "pads_picked": (["n", 1], [*PICKED, N("Shape", ["q"], ["c"]), N("Sub", ["hundred", "c"], ["p"]),
                               N("Concat", ["zero", "p"], ["pads"], axis=0), N("Pad", ["q", "pads"], ["y"])], [30, 0.0, 250]),
    "tiles": (ROWS, [*COUNT, N("Concat", ["k", "two"], ["r"], axis=0), N("Tile", ["x", "r"], ["y"])], [5, 0.0, 8]),
    "one_hot": (ROWS, [*LENGTH, N("ArgMax", ["x"], ["i"], axis=0, keepdims=0), N("OneHot", ["i", "n", "ends"], ["h"]),
                       N("MatMul", ["h", "x"], ["y"])], [1, 3, 8]),
    "one_hot_of_largest": (ROWS, [N("Abs", ["x"], ["a"]), N("Ceil", ["a"], ["r"]), N("Cast", ["r"], ["i"], to=INT64),
                                  N("ReduceMax", ["i"], ["l"], keepdims=0), N("Unsqueeze", ["l", "zero"], ["l1"]),
                                  N("Add", ["l1", "one"], ["d"]), N("OneHot", ["i", "d", "ends"], ["y"])], [5, 2]),
    "halves": (ROWS, [*LENGTH, N("Div", ["n", "two"], ["a"]), N("Sub", ["n", "a"], ["b"]),
                      N("Concat", ["a", "b"], ["parts"], axis=0), N("Split", ["x", "parts"], ["y", "z"], axis=0)], [2, 3, 8]),
    "first_part": (ROWS, [*LENGTH, *COUNT, N("Min", ["k", "n"], ["a"]), N("Sub", ["n", "a"], ["b"]),
                          N("Concat", ["a", "b"], ["parts"], axis=0), N("Split", ["x", "parts"], ["z", "y"], axis=0)],
                   [3, 0.0, 8]),
    "doubled": (IMAGE, [*SIZES, N("Mul", ["real", "double"], ["r"]), N("Floor", ["r"], ["f"]),
                        N("Cast", ["f"], ["t"], to=INT64), N("Concat", ["batch", "t"], ["size"], axis=0),
                        N("AveragePool", ["x"], ["p"], kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER"),
                        N("Resize", ["p", "", "", "size"], ["u"], **NEAREST),
                        N("Concat", ["u", "u"], ["y"], axis=1)], [(4, 4), (3, 8)]),
    "scaled_to": (IMAGE, [*SIZES, N("Div", ["wanted", "real"], ["t"]), N("Concat", ["ones", "t"], ["scales"], axis=0),
                          N("Resize", ["x", "", "scales"], ["y"], mode="linear")], [(4, 4), (8, 2), (16, 8)]),
    "scaled_by_elements": (IMAGE, [N("ReduceMax", ["x"], ["m"], keepdims=0), N("Greater", ["m", "half"], ["g"]),
                                   N("Cast", ["g"], ["f"], to=FLOAT), N("Add", ["f", "ones"], ["s"]),
                                   N("Concat", ["ones", "s"], ["scales"], axis=0),
                                   N("Resize", ["x", "", "scales"], ["y"], **NEAREST)], [(4, 4), (3, 8), (1, 1)]),
    "nothing_of_known_size": (ROWS, [N("Slice", ["x", "zero", "zero", "one"], ["none"]), N("Concat", ["none", "x"], ["y"], axis=1)],
                              [3, 8]),
    "distinct_rows": (ROWS, [N("Round", ["x"], ["r"]), N("Clip", ["r", "", "half"], ["t"]),
                             N("Unique", ["t"], ["y", "i", "j", "c"], axis=0)], [9, 1, 30]),
}


def numbers_of(shape, size):
    """Of that size; a size with a point is of zeros, of which nothing is picked."""
    sizes = (*shape[:2], *size) if isinstance(size, tuple) else (int(size) or 6, *shape[1:])
    return drawn(sizes, zeros=isinstance(size, float))


@pytest.mark.parametrize("name", CASES)
def test_of_onnx_files_agree_with_onnx_runtime(tmp_path, name):
    shape, nodes, sizes = CASES[name]
    source = save_small(tmp_path / "net.onnx", shape, nodes, INITS, opset=17)
    done = run(tmp_path, "convert", "net.onnx", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    lite = Interpreter(model_path=str(tmp_path / "out/net_fp32.tflite"), num_threads=1).get_signature_runner()
    for size in sizes:
        x = numbers_of(shape, size)
        expected = source.run(["y"], {"x": x})[0]
        for found in (lite(x=x)["y"], run_onnx(tmp_path / "out/net.onnx", x=x)["y"]):
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_an_error_names_the_axis_that_has_to_be_a_number(tmp_path):
    nodes = [N("NonMaxSuppression", ["boxes", "scores", "two", "half_", "half_"], ["y"])]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("boxes", FLOAT, ["batch", "n", 4]),
                       helper.make_tensor_value_info("scores", FLOAT, ["batch", 2, "n"])],
        [helper.make_tensor_value_info("y", INT64, ["k", 3])],
        [initializer("two", [2]), initializer("half_", np.float32([0.5]))])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "net.onnx")
    refused = run(tmp_path, "convert", "net.onnx", "-o", "out", "--to", "tflite")
    assert refused.returncode != 0
    assert "axis 0 of input 'boxes'" in refused.stderr
    fixed = run(tmp_path, "convert", "net.onnx", "-o", "out", "--to", "tflite", "--input-shape", "boxes=2,n,4",
                "--input-shape", "scores=2,2,n")
    assert fixed.returncode == 0, fixed.stderr


# ------------------------------------------------------------------------------------------------------------- branches


class Detections(nn.Module):
    """What detectors do where nothing was found."""

    def forward(self, x):
        kept = x[x[:, 0] > 0]
        if kept.numel() == 0:
            boxes = torch.zeros((0, 4))
            scores = torch.zeros((0,))
        else:
            boxes = kept[:, :4] * 2
            scores = kept[:, 4].sigmoid()
        return boxes, scores, torch.cat([boxes, scores[:, None]], 1)


class OneAtLeast(nn.Module):
    def forward(self, x):
        kept = x[x[:, 0] > 0]
        if kept.shape[0] == 0:
            return x.new_zeros(1, 8)
        return kept * 2


class Few(nn.Module):
    """The entries that a mask picked before, or the first of them."""

    def forward(self, x):
        kept = x[x[:, 0] > 0]
        if kept.shape[0] > 3:
            kept = kept[:3]
        return kept


class Nested(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            if x[0, 0] > 1:
                y = x[:1]
            else:
                y = x[:4]
        else:
            y = x[:0]
        return y * 2


SCRIPTS = [Detections, OneAtLeast, Few, Nested]
ENTRIES = torch.randn(9, 8, generator=torch.Generator().manual_seed(1))
NOTHING = torch.cat([-ENTRIES[:, :1].abs(), ENTRIES[:, 1:]], 1)
GIVEN = [(ENTRIES,), (NOTHING,), (ENTRIES.abs(),), (-ENTRIES.abs(),), (ENTRIES.abs() + 2,)]


@pytest.mark.parametrize("kind", SCRIPTS)
def test_branches_of_unlike_sizes_agree_with_pytorch(tmp_path, kind):
    module = kind()
    torch.jit.script(module).save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "-o", "out", "--quantize", "fp32", "--input-shape", "x=9,8")
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", module, GIVEN, ["x"])


def test_branches_of_onnx_files_agree_with_pytorch(tmp_path):
    module = torch.jit.script(Detections())
    torch.onnx.export(module, GIVEN[0], tmp_path / "net.onnx", dynamo=False, opset_version=17, input_names=["x"],
                      output_names=["boxes", "classes", "rows"], dynamic_axes={"x": {0: "n"}})
    done = run(tmp_path, "convert", "net.onnx", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", module, GIVEN[:2], ["x"])
