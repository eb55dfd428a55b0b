"""Places whose sign only the running program tells, and sizes that come of rounded arithmetic: judged against ONNX
Runtime and PyTorch, where they are negative, rounded or none."""

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper
from torch import nn

from runtimes import run_onnx
from small_onnx import FLOAT, INT64, drawn, save_small
from test_convert import run
from test_measured_sizes import check

N = helper.make_node
INITS = {
    "zero": [0], "one": [1], "two": [2], "three": [3], "five": [5], "eight": [8], "big": [2**31 - 1], "first": 0,
    "f07": np.float32([0.7]), "f10": np.float32([10]), "f49": np.float32([49]), "minus2": np.float32([-2]),
    "nothing": np.float32([0]), "images": np.float32([1, 1]), "f15": np.float32([1.5]),
}
LENGTH = [N("Shape", ["x"], ["s"], start=0, end=1), N("Cast", ["s"], ["r"], to=FLOAT)]
WIDTH = [N("Shape", ["x"], ["t_"], start=1, end=2), N("Cast", ["t_"], ["t"], to=FLOAT)]
COUNT = [N("Greater", ["x", "nothing"], ["m"]), N("Compress", ["x", "m"], ["q"], axis=0), N("Shape", ["q"], ["k"])]


def filled(*nodes):
    """A vector as long as the nodes say in `n`."""
    return [*LENGTH, *nodes, N("ConstantOfShape", ["n"], ["y"])]


def padded(*nodes):
    return [*LENGTH, *nodes, N("Concat", ["zero", "p"], ["pads"], axis=0), N("Pad", ["x", "pads"], ["y"])]


def halved(**how):
    """Images of half the size, of which one entry alone takes the first (pytorch_half_pixel)."""
    return [N("Shape", ["x"], ["images_"], end=2), N("Shape", ["x"], ["s"], start=2), N("Div", ["s", "two"], ["half"]),
            N("Concat", ["images_", "half"], ["sizes"], axis=0),
            N("Resize", ["x", "", "", "sizes"], ["y"], coordinate_transformation_mode="pytorch_half_pixel", **how)]


# The shape of x, the nodes, which make y of it, and sizes to judge at: 0.0 is of zeros, of which none are counted.
CASES = {
    "last_of_count": (["a"], [*COUNT, N("Neg", ["k"], ["b"]), N("Slice", ["x", "b", "big"], ["y"])], [6, 0.0]),
    "without_last_of_count": (["a"], [*COUNT, N("Neg", ["k"], ["b"]), N("Slice", ["x", "zero", "b"], ["y"])], [6, 0.0]),
    "from_count_less_some": (["a"], [*COUNT, N("Sub", ["k", "three"], ["b"]), N("Slice", ["x", "b", "big"], ["y"])],
                             [3, 9, 30, 0.0]),
    "scaled_twice": (["a"], filled(N("Mul", ["r", "f07"], ["u"]), N("Mul", ["u", "f10"], ["v"]),
                                   N("Cast", ["v"], ["n"], to=INT64)), [3, 9, 18]),
    "divided_and_scaled": (["a"], filled(N("Div", ["r", "f49"], ["u"]), N("Mul", ["u", "f49"], ["v"]),
                                         N("Cast", ["v"], ["n"], to=INT64)), [27, 49, 54]),
    "divided_by_a_size": (["a", "b"], filled(*WIDTH, N("Div", ["r", "t"], ["u"]), N("Mul", ["u", "t"], ["v"]),
                                             N("Floor", ["v"], ["w"]), N("Cast", ["w"], ["n"], to=INT64)),
                          [(31, 7), (7, 31), (6, 3)]),
    "cast_to_bool": (["a"], filled(N("Cast", ["s"], ["u"], to=TensorProto.BOOL), N("Cast", ["u"], ["n"], to=INT64)), [3]),
    "cast_to_bytes": (["a"], filled(N("Cast", ["s"], ["u"], to=TensorProto.UINT8), N("Cast", ["u"], ["n"], to=INT64)),
                      [3, 300]),
    "divided_by_less_than_nothing": (["a"], filled(N("Div", ["r", "minus2"], ["u"]), N("Cast", ["u"], ["v"], to=INT64),
                                                   N("Add", ["s", "v"], ["n"])), [3, 4, 9]),
    "reduced_over_no_axes": (["a", "b"], [N("Shape", ["x"], ["s"]), N("ReduceSum", ["s"], ["n"], noop_with_empty_axes=1),
                                          N("ConstantOfShape", ["n"], ["y"])], [(2, 3), (4, 1)]),
    "pads_cut_off": (["a"], padded(N("Sub", ["s", "eight"], ["d"]), N("Div", ["d", "two"], ["p"])), [7, 8, 13]),
    "pads_at_most": (["a"], padded(N("Sub", ["s", "five"], ["d"]), N("Min", ["d", "three"], ["p"])), [4, 6, 12]),
    "parts_of_count": (["a"], [*COUNT, N("Shape", ["x"], ["s"]), N("Sub", ["s", "k"], ["rest"]),
                               N("Concat", ["k", "rest"], ["parts"], axis=0),
                               N("Split", ["x", "parts"], ["left", "right"], axis=0),
                               N("Concat", ["right", "left"], ["y"], axis=0)], [6, 0.0]),
    "scales_that_are_numbers": (
        [1, 2, "a", "b"], [N("Shape", ["x"], ["s"], start=2, end=3), N("Cast", ["s"], ["r"], to=FLOAT),
                           N("Div", ["r", "r"], ["u"]), N("Mul", ["u", "f15"], ["v"]),
                           N("Concat", ["images", "v", "v"], ["scales"], axis=0),
                           N("Resize", ["x", "", "scales"], ["y"], mode="linear")],
        [(1, 2, 5, 7), (1, 2, 4, 6), (1, 2, 3, 1)]),
    "halved_images": ([1, 2, "a", "b"], halved(mode="linear"), [(1, 2, 9, 8), (1, 2, 3, 8), (1, 2, 2, 3)]),
    "halved_cubic_images": ([1, 2, "a", "b"], halved(mode="cubic"), [(1, 2, 9, 8), (1, 2, 3, 8), (1, 2, 2, 3)]),
}

# Real numbers that TFLite and TensorFlow round otherwise, which the verification tells.
FOR_ONNX = {"scaled_twice", "divided_and_scaled", "cast_to_bool"}


def numbers_of(size):
    """Of that size; a size with a point is of zeros, of which none are counted."""
    return drawn(size if isinstance(size, tuple) else (int(size) or 6,), zeros=isinstance(size, float))


@pytest.mark.parametrize("name", CASES)
def test_of_onnx_files_agree_with_onnx_runtime(tmp_path, name):
    shape, nodes, sizes = CASES[name]
    source = save_small(tmp_path / "net.onnx", shape, nodes, INITS, opset=18)
    if name in FOR_ONNX:
        done = run(tmp_path, "convert", "net.onnx", "-o", "out", "--to", "onnx", "--no-verify")
        assert done.returncode == 0, done.stderr
        for size in sizes:
            x = numbers_of(size)
            assert run_onnx(tmp_path / "out/net.onnx", x=x)["y"].shape == source.run(["y"], {"x": x})[0].shape, size
        return
    done = run(tmp_path, "convert", "net.onnx", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    lite = Interpreter(model_path=str(tmp_path / "out/net_fp32.tflite"), num_threads=1).get_signature_runner()
    for size in sizes:
        x = numbers_of(size)
        expected = source.run(["y"], {"x": x})[0]
        inputs = {"x": x} if lite.get_input_details() else {}
        for found in (lite(**inputs)["y"], run_onnx(tmp_path / "out/net.onnx", x=x)["y"]):
            assert found.shape == expected.shape, size
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


class LastOfCount(nn.Module):
    def forward(self, x):
        n = x[x > 0].shape[0]
        return x[-n:], x[:-n]


class FromCountLessSome(nn.Module):
    def forward(self, x):
        return x[x[x > 0].shape[0] - 3 :]


class LastFive(nn.Module):
    def forward(self, x):
        return x[x.shape[0] - 5 :], x[: x.shape[0] - 5]


class OfCount(nn.Module):
    def forward(self, x):
        return x[x[x > 0].shape[0] - 1] * 2


class Written(nn.Module):
    def forward(self, x):
        y = x.clone()
        y[x.shape[0] - 5 :] = 0.5
        return y


GIVEN = [torch.tensor([1.0, -1, 2, -3, 5, 4]), torch.tensor([-1.0, -1, -2, -3]), torch.tensor([1.0, 1, 1]),
         torch.tensor([-1.0, 1, 2, -4, -5, 6, 7, -8, -9, 1, 2])]


@pytest.mark.parametrize("kind", [LastOfCount, FromCountLessSome, LastFive, OfCount, Written])
def test_of_scripts_agree_with_pytorch(tmp_path, kind):
    module = torch.jit.script(kind())
    module.save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "-o", "out", "--quantize", "fp32", "--input-shape", "x=n")
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", module, [(x,) for x in GIVEN], ["x"])


def test_a_number_has_no_parts_along_an_axis(tmp_path):
    class Runs(nn.Module):
        def forward(self, x):
            return torch.unique_consecutive(x.sum(), dim=0)

    torch.jit.script(Runs()).save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "-o", "out", "--input-shape", "x=4")
    assert done.returncode == 1
    assert "an axis of a number" in done.stderr


def branches(name, first):
    def graph(nodes, out):
        return helper.make_graph(nodes, "of_" + out, [], [helper.make_tensor_value_info(out, FLOAT, None)])

    def one(op, out):
        operands = ["x", "zero", "one"] if op == "Slice" else ["x"]
        return graph([N(op, operands, [out])], out)

    return graph([N("Greater", ["most", "nothing_"], [name + "_c"]),
                  N("If", [name + "_c"], [name], then_branch=one(first, name + "_t"), else_branch=one("Exp", name + "_e"))],
                 name)


@pytest.mark.parametrize("first, code", [("Slice", 1), ("Neg", 0)])
def test_branches_that_both_branch_into_unlike_sizes_are_refused_for_tflite(tmp_path, first, code):
    nodes = [N("ReduceSum", ["x"], ["sum"], keepdims=0), N("ReduceMax", ["x"], ["most"], keepdims=0),
             N("Greater", ["sum", "nothing_"], ["c"]),
             N("If", ["c"], ["y"], then_branch=branches("p", first), else_branch=branches("q", first))]
    numbers = {"nothing_": np.float32(0), "zero": [0], "one": [1]}
    save_small(tmp_path / "net.onnx", ["n"], nodes, numbers, opset=18)
    done = run(tmp_path, "convert", "net.onnx", "-o", "out", "--to", "tflite", "--quantize", "fp32")
    assert done.returncode == code, done.stderr
    if code:
        assert "branch again into results of unlike sizes" in done.stderr
        assert run(tmp_path, "convert", "net.onnx", "-o", "other", "--to", "onnx").returncode == 0
