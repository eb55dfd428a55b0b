"""Programs at the edges of what they take: rows without scores, nothing picked, shifts to the left, boxes that tie."""

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn
from torch.nn import functional

from runtimes import run_onnx
from test_convert import run

torch.manual_seed(0)
AUTO = torch.export.Dim.AUTO


class Function(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *given):
        return self.function(*given)


def attended(x, mask):
    return functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)


def picked_twice(x, columns):
    rows = x[x.sum(1) > -100]
    both = rows[:, columns > -100]
    return both.reshape(-1) * 2, both.mean(1, keepdim=True).expand(both.shape)


def moments_of_picked(x):
    picked = x[x[:, 0] > 0]
    return picked.mean(0), picked.std(0), picked.var()


def padded_again(x):
    picked = x[x[:, 0] > 0]
    return functional.pad(picked, (0, 0, 0, x.shape[0] - picked.shape[0]), value=3.0)


X = torch.randn(2, 7, 4)
NO_SCORES = torch.zeros(2, 1, 7).index_fill(0, torch.tensor([1]), -torch.inf)
# What is computed, sizes that are open, and tensors to compute it of: the first ones are what it is exported with.
CASES = {
    "attention": (attended, None, [(X, torch.zeros(2, 1, 7)), (X, NO_SCORES)]),
    "roll": (lambda x: torch.roll(x, -(x.size(1) // 2), 1), ({1: AUTO},), [(X,), (X[:, :4],), (X[:, :3],)]),
    "two_counts": (picked_twice, None, [(torch.randn(5, 4), torch.randn(4))]),
    "padded": (padded_again, ({0: AUTO},), [(X[0],), (-X[0].abs(),), (X[0].abs(),), (X[0][:4],)]),
    "moments": (moments_of_picked, None, [(X[0],), (-X[0].abs(),), (X[0].abs() * torch.eye(7)[:, :1],)]),
}


@pytest.mark.parametrize("name", CASES)
def test_agree_with_pytorch(tmp_path, name):
    function, sizes, given = CASES[name]
    module = Function(function)
    program = torch.export.export(module, given[0], dynamic_shapes=None if sizes is None else (sizes,))
    torch.export.save(program, tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    runner = Interpreter(model_path=str(tmp_path / "out/net_fp32.tflite"), num_threads=1).get_signature_runner()
    for tensors in given:
        expected = module(*tensors)
        expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
        named = dict(zip(program.graph_signature.user_inputs, (each.numpy() for each in tensors), strict=True))
        for found in (runner(**named), run_onnx(tmp_path / "out/net.onnx", **named)):
            values = [found[key] for key in sorted(found)]
            for one, other in zip(values, expected, strict=True):
                np.testing.assert_allclose(one, other.numpy(), atol=1e-5, rtol=1e-5)


def test_encoders_with_rows_that_are_ruled_out_verify_at_open_sizes(tmp_path):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    module = Function(lambda x, padding: layer(x, src_key_padding_mask=padding))
    module.layer = layer
    given = (torch.randn(3, 7, 8), torch.zeros(3, 7, dtype=torch.bool))
    program = torch.export.export(module, given, dynamic_shapes=(({0: AUTO, 1: AUTO}, {0: AUTO, 1: AUTO}),))
    torch.export.save(program, tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("groups", [2, 8])
def test_convolutions_of_one_axis_with_holes_and_groups(tmp_path, groups):
    module = nn.Conv1d(8, 8, 3, dilation=2, groups=groups)
    torch.export.save(torch.export.export(module, (torch.randn(1, 8, 9),)), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out")
    assert done.returncode == 0, done.stderr


class Guarded(nn.Module):
    """A branch on how many entries were picked."""

    def forward(self, x):
        picked = x[x[:, 0] > 0]
        if picked.shape[0] == 0:
            return torch.zeros(4)
        return picked.max(0)[0]


def test_branches_on_counts_are_taken_when_the_file_runs(tmp_path):
    module = torch.jit.script(Guarded())
    module.save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "-o", "out", "--quantize", "fp32", "--input-shape", "x=7,4")
    assert done.returncode == 0, done.stderr
    runner = Interpreter(model_path=str(tmp_path / "out/net_fp32.tflite"), num_threads=1).get_signature_runner()
    for x in (X[0], -X[0].abs(), X[0].abs()):
        for found in (runner(x=x.numpy()), run_onnx(tmp_path / "out/net.onnx", x=x.numpy())):
            np.testing.assert_allclose(found["output"], module(x).numpy(), atol=1e-6)


def test_boxes_whose_overlap_is_the_threshold_stay(tmp_path):
    helper, types = onnx.helper, onnx.TensorProto
    limits = [onnx.numpy_helper.from_array(np.array([5]), "most"),
              onnx.numpy_helper.from_array(np.array([0.5], np.float32), "overlap")]
    graph = helper.make_graph(
        [helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap"], ["kept"])], "boxes",
        [helper.make_tensor_value_info("boxes", types.FLOAT, [1, 3, 4]),
         helper.make_tensor_value_info("scores", types.FLOAT, [1, 1, 3])],
        [helper.make_tensor_value_info("kept", types.INT64, [None, 3])], limits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "net.onnx")
    done = run(tmp_path, "convert", "net.onnx", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    runner = Interpreter(model_path=str(tmp_path / "out/net_fp32.tflite"), num_threads=1).get_signature_runner()
    boxes = np.array([[[0, 0, 2, 2], [0, 0, 2, 1], [0, 0, 2, 1.5]]], np.float32)
    scores = np.array([[[0.9, 0.8, 0.7]]], np.float32)
    expected = run_onnx(tmp_path / "net.onnx", boxes=boxes, scores=scores)["kept"]
    assert len(expected) == 2
    np.testing.assert_array_equal(runner(boxes=boxes, scores=scores)["kept"], expected)
