"""Sizes that elements decide: entries that masks pick, and numbers of tensors that become sizes."""

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

from runtimes import run_onnx
from test_convert import run

torch.manual_seed(0)
X = torch.randn(4, 6, 8)
NONE, SOME, ALL = torch.zeros(4, 6, dtype=torch.bool), torch.rand(4, 6) > 0.5, torch.ones(4, 6, dtype=torch.bool)
IDS = torch.randint(0, 9, (3, 7))


class Experts(nn.Module):
    """A mixture of experts as its publishers write it: each computes the tokens that chose it."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(8, 3)
        self.experts = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])

    def forward(self, x):
        x = x.reshape(-1, 8)
        weights, chosen = torch.topk(self.gate(x).softmax(-1), 2)
        out = torch.zeros_like(x)
        mask = nn.functional.one_hot(chosen, 3).permute(2, 1, 0)
        for number, expert in enumerate(self.experts):
            place, token = torch.where(mask[number])
            out.index_add_(0, token, expert(x[token]) * weights[token, place, None])
        return out


class Net(nn.Module):
    """A function of tensors, which may use a linear layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.linear = nn.Linear(8, 5)
        self.square = nn.Linear(8, 8)

    def forward(self, *given):
        return self.function(self, *given)


def size(number, least, most):
    number = number.item()
    if torch.compiler.is_exporting():
        torch._check(number >= least)
        torch._check(number <= most)
    return number


def put(net, x, mask):
    y = torch.zeros_like(x)
    y[mask] = net.square(x[mask])
    return y


def doubled(net, x, mask):
    y = x.clone()
    y[mask] = y[mask] * 2 + 1
    return y


def regulated(net, x, durations):
    return net.linear(torch.repeat_interleave(x[0], durations, dim=0))


MASKS = [(X, SOME), (X, ALL)]
EMPTY = [*MASKS, (X, NONE)]
NUMBERS = [(X, torch.tensor(3)), (X, torch.tensor(1)), (X, torch.tensor(5))]
# What is computed, and tensors to compute it of: the first ones are what it is exported with.
CASES = {
    "entries": (lambda net, x, mask: x[mask], EMPTY),
    "linear": (lambda net, x, mask: net.linear(x[mask]), EMPTY),
    "put_back": (put, EMPTY),
    "changed": (doubled, EMPTY),
    "mean": (lambda net, x, mask: x[mask].mean(0), MASKS),
    "softmax": (lambda net, x, mask: x[mask].softmax(0), MASKS),
    "sums": (lambda net, x, mask: x[mask].cumsum(0), MASKS),
    "products": (lambda net, x, mask: x[mask] @ x[mask].T, MASKS),
    "halves": (lambda net, x, mask: torch.cat([x[mask], x[~mask]]), EMPTY),
    "heads": (lambda net, x, mask: x[mask].view(-1, 2, 4).sum(1), MASKS),
    "sorted": (lambda net, x, mask: x[mask][:, 0].sort()[0], MASKS),
    "scattered": (lambda net, x, mask: x.masked_scatter(mask[..., None].expand(4, 6, 8), x[mask] * 2), EMPTY),
    "selected": (lambda net, x, mask: torch.masked_select(x, mask[..., None]), EMPTY),
    "places": (lambda net, x, mask: torch.nonzero(x > 0), [(X, SOME), (-X, SOME)]),
    "places_by_axis": (lambda net, x, mask: torch.where(mask), EMPTY),
    "columns": (lambda net, x, mask: x[:, mask[0]], MASKS),
    "boxes": (lambda net, x, mask: x[x[..., 0] > 0.2][:, 1:5], MASKS),
    "experts": (None, [(X,), (2 * X + 1,)]),
    "distinct": (lambda net, ids: torch.unique(ids, return_inverse=True, return_counts=True), [(IDS,), (IDS // 3,)]),
    "runs": (lambda net, ids: torch.unique_consecutive(ids, return_inverse=True, return_counts=True),
             [(IDS,), (IDS // 3,)]),
    "distinct_rows": (lambda net, ids: torch.unique(ids % 2, dim=1, return_inverse=True, return_counts=True),
                      [(IDS,), (IDS // 3,)]),
    "runs_of_rows": (lambda net, ids: torch.unique_consecutive(ids[:, :2] // 5, dim=0), [(IDS,), (IDS * 0,)]),
    "neighbours": (lambda net, x, mask: torch.nonzero(mask[0])[1:] - torch.nonzero(mask[0])[:-1], EMPTY),
    "counts": (lambda net, ids: torch.bincount(ids.flatten(), minlength=4), [(IDS,), (IDS // 4,)]),
    "head": (lambda net, x, n: x[:, : size(n, 0, 6)].sum(1), NUMBERS),
    "tail": (lambda net, x, n: x[:, size(n, 0, 6) :] * 2, NUMBERS),
    "filled": (lambda net, x, n: torch.cat([x, torch.ones(4, size(n, 0, 9), 8)], 1), NUMBERS),
    "copies": (lambda net, x, n: x[0].expand(size(n, 1, 9), 6, 8), NUMBERS),
    "repeats": (lambda net, x, n: x[0].repeat(size(n, 1, 9), 1), NUMBERS),
    "padded": (lambda net, x, n: nn.functional.pad(x, (0, size(n, 0, 5))), NUMBERS),
    "resized": (lambda net, x, n: nn.functional.interpolate(x, size=size(n, 1, 50)), NUMBERS),
    "lengths": (lambda net, x, n: torch.arange(size(n.max(), 1, 99)) < n[:, None],
                [(X, torch.tensor([3, 1, 6, 2])), (X, torch.tensor([1, 1, 2, 2]))]),
    "regulated": (regulated, [(X, torch.tensor([1, 0, 2, 3, 1, 1])), (X, torch.tensor([0, 0, 0, 1, 0, 0]))]),
    "branches": (lambda net, x, n: torch.cond(n > 2, lambda x: x[x > 0].sum(), lambda x: x.sum(), (x,)), NUMBERS),
}


def module_of(name):
    torch.manual_seed(1)
    return Experts().eval() if name == "experts" else Net(CASES[name][0]).eval()


def check(folder, module, given, names):
    """The files against PyTorch, of all given tensors, one after the other in one runtime."""
    runner = Interpreter(model_path=str(folder / "net_fp32.tflite"), num_threads=1).get_signature_runner()
    for tensors in given:
        expected = module(*tensors)
        expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
        named = dict(zip(names, (tensor.numpy() for tensor in tensors), strict=True))
        named = {key: value for key, value in named.items() if key in runner.get_input_details()}
        for found in (runner(**named), run_onnx(folder / "net.onnx", **named)):
            values = [found[key] for key in sorted(found)]
            for one, other in zip(values, expected, strict=True):
                np.testing.assert_allclose(one, other.detach().numpy(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_of_exported_programs_agree_with_pytorch(tmp_path, name):
    module, given = module_of(name), CASES[name][1]
    program = torch.export.export(module, given[0])
    torch.export.save(program, tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", module, given, [name for name in program.graph_signature.user_inputs])


TRACED = {
    # Traces keep the numbers that Python had.
    **{name: case for name, case in CASES.items() if case[1] is not NUMBERS and name != "lengths"},
    "classes": (lambda net, ids: nn.functional.one_hot(ids), [(IDS,), (IDS // 4,)]),
    "scaled": (lambda net, x, mask: x[mask] * x[0, 0], EMPTY),
    "in_place": (lambda net, x, mask: x[mask].mul_(2).add_(1), EMPTY),
}


@pytest.mark.parametrize("name", TRACED)
def test_of_traces_agree_with_pytorch(tmp_path, name):
    torch.manual_seed(1)
    function, given = TRACED[name]
    module = Experts().eval() if function is None else Net(function).eval()
    torch.jit.trace(module, given[0]).save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    names = [value.name for value in onnx.load(tmp_path / "out/net.onnx").graph.input]
    check(tmp_path / "out", module, given, names)


class Changes(nn.Module):
    """Entries that a mask picked, written to afterwards."""

    def forward(self, x, mask):
        y = x[mask]
        y[0] = 7.0
        y[:, 1:3] += 1
        return y, y.sum(0)


def test_of_scripts_write_to_picked_entries(tmp_path):
    module = Changes()
    torch.jit.script(module).save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "-o", "out", "--quantize", "fp32",
               "--input-shape", "x=4,6,8", "--input-shape", "mask=4,6", "--input-dtype", "mask=bool")
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", module, MASKS, ["x", "mask"])


def test_of_onnx_files_of_the_older_exporter_agree_with_pytorch(tmp_path):
    module = module_of("put_back")
    torch.onnx.export(module, MASKS[0], tmp_path / "net.onnx", dynamo=False, opset_version=17,
                      input_names=["x", "mask"])
    done = run(tmp_path, "convert", "net.onnx", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", module, EMPTY, ["x", "mask"])


def boxes_of(count):
    torch.manual_seed(count)
    corner, size = torch.rand(count, 2) * 20, torch.rand(count, 2) * 10
    return torch.cat([corner, corner + size], 1), torch.rand(count)


def suppressed(boxes, scores, threshold):
    """What torchvision's nms gives."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept = []
    for i in scores.argsort(descending=True).tolist():
        common = (torch.minimum(boxes[i, 2:], boxes[kept, 2:]) - torch.maximum(boxes[i, :2], boxes[kept, :2])).clamp(0)
        overlap = common.prod(1) / (area[i] + area[kept] - common.prod(1))
        if not (overlap > threshold).any():
            kept.append(i)
    return torch.tensor(kept)


def test_non_max_suppression_of_torchvision(tmp_path):
    """torchvision itself isn't needed: its operator is declared as it is there."""
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", suppressed, "CPU")

    def sizes(boxes, scores, threshold):
        return boxes.new_empty([torch.library.get_ctx().new_dynamic_size()], dtype=torch.long)

    torch.library.register_fake("torchvision::nms", sizes, lib=library)

    class Detector(nn.Module):
        def forward(self, boxes, scores):
            kept = torch.ops.torchvision.nms(boxes, scores, 0.3)
            return boxes[kept], scores[kept]

    count = torch.export.Dim("count", min=2, max=200)
    program = torch.export.export(Detector(), boxes_of(50), dynamic_shapes=[{0: count}, {0: count}])
    torch.export.save(program, tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", Detector(), [boxes_of(50), boxes_of(9)], ["boxes", "scores"])
