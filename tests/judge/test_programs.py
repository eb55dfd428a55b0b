"""Small programs of the kinds that networks hold: what LiteRT, ONNX Runtime and TensorFlow compute is PyTorch's."""

import os
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.export import Dim

from runtimes import assert_files_agree, run_lite, run_onnx
from test_convert import run


class Case(NamedTuple):
    function: Any
    given: tuple  # shapes of the inputs x, y, z
    others: tuple = ()  # further lists of shapes
    open: Any = None  # the axes of each input that are open


class Function(torch.nn.Module):
    """A function of one to three tensors as a program."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, y=None, z=None):
        return self.function(*[tensor for tensor in (x, y, z) if tensor is not None])


def upsampled(x):
    """RAFT's convex upsampling: each pixel of the result is a mean of nine, with weights of its own."""
    b, _, h, w = x.shape
    weights = x[:, :81].view(b, 1, 9, 3, 3, h, w).softmax(2)
    patches = F.unfold(x[:, 81:83], (3, 3), padding=1).view(b, 2, 9, 1, 1, h, w)
    return (weights * patches).sum(2).permute(0, 1, 4, 2, 5, 3).reshape(b, 2, 3 * h, 3 * w)


def relative_shift(x):
    """Transformer-XL's and Conformer's: row i of the scores moves by i."""
    b, t, _ = x.shape
    scores = F.pad(x @ torch.linspace(-1, 1, 4 * 39).view(4, 39)[:, : 2 * t - 1], (1, 0))
    return scores.view(b, 2 * t, t)[:, 1:].view(b, t, 2 * t - 1)[..., :t]


def blocks_around(x):
    """LongT5's: each block beside the one before and the one behind it."""
    blocks = x.shape[1] - x.shape[1] * 3 // 4
    padded = F.pad(x[:, :blocks], (0, 0, 1, 1))
    return torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], 2)


def modulated(x, y):
    """StyleGAN2's convolution: weights of each sample's own, the samples as groups."""
    b, c, h, w = x.shape
    weights = torch.linspace(-1, 1, 4 * 3 * 9).view(1, 4, 3, 3, 3) * y.view(b, 1, c, 1, 1)
    x = F.conv2d(x.reshape(1, b * c, h, w), weights.reshape(-1, c, 3, 3), padding=1, stride=(2, 1), groups=b)
    return x.view(b, -1, *x.shape[2:])


def modulated_and_larger(x, y):
    b, c, h, w = x.shape
    weights = torch.linspace(-1, 1, 4 * 3 * 9).view(1, 3, 4, 3, 3) * y.view(b, c, 1, 1, 1)
    x = F.conv_transpose2d(
        x.reshape(1, b * c, h, w), weights.reshape(-1, 4, 3, 3), stride=2, padding=1, output_padding=1, groups=b)
    return x.view(b, 4, *x.shape[2:])


def normalised(x):
    """Points in -1..1 by a tensor that is made of sizes."""
    h, w = x.shape[2:]
    return x.mean((2, 3)) / torch.tensor([w * 8 - 3.5, h * 8 - 3.5, 2.0])


SAMPLES = torch.tensor([0.1, 0.9, 0.5, 0.3, 0.7, 0.2, 0.95, 0.0, 0.6, 0.4, 0.25, 0.8]).view(2, 3, 2)
SAMPLES_OF_THREE = torch.tensor([0.1, 0.9, 0.5, 0.3, 0.7, 0.2, 0.95, 0.0, 0.6] * 2).view(2, 3, 3)
MANY = (2, 1, 3, 2, 2, 2, 3)
CASES = {
    "convex upsampling": Case(upsampled, ((1, 83, 4, 5),)),
    "convex upsampling of open sizes": Case(
        upsampled, ((2, 83, 4, 5),), (((1, 83, 7, 6),),), ({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)),
    "softmax over many axes": Case(lambda x: (x.softmax(-1), x.softmax(2), x.log_softmax(0)), (MANY,)),
    "joined and cut along one of many axes": Case(
        lambda x: (torch.cat([x, x * 2, x[:, :, :1]], 2), *(x * 2).chunk(3, -1), torch.stack([x, x + 1], 3)[..., 0]),
        (MANY,)),
    "products of many matrices": Case(
        lambda x: (x @ x.mT, x @ x[:, :, :1, :, :1].mT, x[:, :, :1, :, :1] @ x[:, :, :, :1].mT,
                   x @ torch.linspace(0, 1, 6).view(3, 2), F.linear(x, torch.linspace(0, 1, 6).view(2, 3), x[0, 0, 0, 0, 0, :, 0])),
        (MANY,)),
    "products of many matrices in an open batch": Case(
        lambda x: (x @ x.mT, x @ x[:, :, :1].mT, F.linear(x, torch.linspace(0, 1, 6).view(2, 3))),
        (MANY,), (((3, 1, 3, 4, 2, 2, 3),),), ({0: Dim.AUTO, 3: Dim.AUTO},)),
    "many axes padded": Case(
        lambda x: (F.pad(x, (1, 0, 0, 0, 2, 1)), F.pad(x, (1, 2) * 7, value=3.0), F.pad(x, (-1, 1, 0, 0, 0, 0, 1, 0))),
        (MANY,)),
    "places along one of eight axes": Case(lambda x: (x.argmax(2), x.max(3)[1]), ((2, 1, 2, 3, 2, 2, 2, 3),)),
    "values that are joined along a new axis, the eighth": Case(
        lambda x: torch.stack([x, x + 1], 2), (MANY,), (((3, 1, 3, 4, 2, 2, 3),),), ({0: Dim.AUTO, 3: Dim.AUTO},)),
    "relative shift": Case(relative_shift, ((2, 5, 4),), (((3, 8, 4),),), ({0: Dim.AUTO, 1: Dim.AUTO},)),
    "blocks beside blocks": Case(blocks_around, ((2, 9, 4),), (((2, 14, 4),),), ({1: Dim.AUTO},)),
    "a range of whole floats": Case(
        lambda x: x * torch.arange(x.shape[1], -x.shape[1], -1.0)[: x.shape[1]] + torch.arange(0, x.shape[1], 2.0).sum(),
        ((2, 6),), (((2, 9),),), ({1: Dim.AUTO},)),
    "a range of quarters of a step": Case(
        lambda x: (torch.arange(0, x.shape[1], 0.25) * x.sum(), torch.arange(x.shape[1], 0.5, -1.5) + x.sum(),
                   torch.arange(0.5, x.shape[1], dtype=torch.float64).float() - x.sum()),
        ((2, 6),), (((2, 9),), ((2, 4),)), ({1: Dim.AUTO},)),
    "windows that samples place": Case(
        lambda x: (*F.fractional_max_pool2d(x, (2, 3), (4, 5), return_indices=True, _random_samples=SAMPLES),
                   F.fractional_max_pool2d(x[1], 3, (6, 1), _random_samples=SAMPLES[:1]),
                   *F.fractional_max_pool3d(x.view(2, 3, 4, 4, 5), (2, 1, 2), (2, 3, 3), return_indices=True,
                                            _random_samples=SAMPLES_OF_THREE)),
        ((2, 3, 8, 10),)),
    "a norm across maps that is computed in place": Case(torch.nn.CrossMapLRN2d(5, alpha=0.5), ((2, 7, 4, 5),)),
    "a mask that leaves nothing": Case(
        lambda x, y: ((x @ x.mT) + torch.where(y > 2, 0.0, -1e9)[:, None]).softmax(-1) @ x,
        ((2, 5, 4), (2, 5)), (((2, 6, 4), (2, 6)),), ({1: Dim.AUTO}, {1: Dim.AUTO})),
    "a tensor of sizes": Case(normalised, ((2, 3, 8, 10),), (((2, 3, 9, 13),),), ({2: Dim.AUTO, 3: Dim.AUTO},)),
    "a modulated convolution": Case(
        modulated, ((2, 3, 8, 8), (2, 3)), (((4, 3, 8, 8), (4, 3)),), ({0: Dim.AUTO}, {0: Dim.AUTO})),
    "a modulated transposed convolution": Case(
        modulated_and_larger, ((2, 3, 8, 8), (2, 3)), (((4, 3, 8, 8), (4, 3)),), ({0: Dim.AUTO}, {0: Dim.AUTO})),
    "differences with what stands before and after": Case(
        lambda x, y: (x.diff(dim=1, prepend=x[:, :1]), x.diff(2, 1, prepend=y, append=y), x.diff(append=x[..., :2])),
        ((2, 6, 4), (2, 3, 4)), (((2, 8, 4), (2, 3, 4)),), ({1: Dim.AUTO}, None)),
}


def randoms(shapes):
    return tuple(torch.randn(shape) for shape in shapes)


def flat(results):
    return list(results) if isinstance(results, tuple) else [results]


def converted(folder, model, given, open_axes=None, *arguments):
    """Exports and converts to all formats, which taper verifies itself, in TensorFlow too where it is installed."""
    shapes = None if open_axes is None else tuple(open_axes)
    torch.export.save(torch.export.export(model.eval(), given, dynamic_shapes=shapes), folder / "net.pt2")
    tensorflow = os.environ.get("TAPER_TENSORFLOW")
    environment = {"TAPER_TENSORFLOW": tensorflow} if tensorflow else {}
    done = run(folder, "convert", "net.pt2", *arguments, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def compare(folder, model, given, atol=1e-5):
    named = dict(zip("xyz", [tensor.numpy() for tensor in given], strict=False))
    assert_files_agree(folder, named, flat(model(*given)), rtol=1e-4, atol=atol)


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_pytorch(tmp_path, name):
    torch.manual_seed(0)
    case = CASES[name]
    model, given = Function(case.function), randoms(case.given)
    axes = None if case.open is None else (*case.open, *[None] * (3 - len(case.open)))[: len(given)]
    converted(tmp_path, model, given, axes)
    for shapes in (case.given, *case.others):
        compare(tmp_path, model, randoms(shapes))


class Masked(torch.nn.Module):
    """Has an argument with the name of a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.tensor([0.0, 1, 0, 1]))

    def forward(self, x, mask):
        return x * self.mask + mask


def test_arguments_may_be_called_as_buffers_are(tmp_path):
    model, given = Masked(), randoms([(2, 4)] * 2)
    converted(tmp_path, model, given)
    named = {"x": given[0].numpy(), "mask": given[1].numpy()}
    for found in (run_lite(tmp_path / "net_fp32.tflite", **named), run_onnx(tmp_path / "net.onnx", **named)):
        np.testing.assert_allclose(found["output"], model(*given).numpy(), rtol=1e-6)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_places_may_lie_anywhere(tmp_path, mode, padding):
    torch.manual_seed(0)
    model = Function(lambda x, y: F.grid_sample(x, y, mode=mode, padding_mode=padding, align_corners=True))
    x, y = torch.randn(1, 2, 4, 4), torch.rand(1, 2, 3, 2) * 2 - 1
    converted(tmp_path, model, (x, y), None, "--to", "tflite,savedmodel")
    y[0, 0, 0], y[0, 1, 1] = 1e6, -1e20
    expected = model(x, y).numpy()
    found = run_lite(tmp_path / "net_fp32.tflite", x=x.numpy(), y=y.numpy())["output"]
    if padding != "reflection":  # of a large number float32 does not tell where in the image it lies
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    y[0, 0, 1, 0], y[0, 1, 2] = float("nan"), float("inf")
    expected = model(x, y).numpy()
    found = run_lite(tmp_path / "net_fp32.tflite", x=x.numpy(), y=y.numpy())["output"]
    whole = [(0, 2), (1, 0)]
    for row, column in whole:
        np.testing.assert_allclose(found[..., row, column], expected[..., row, column], rtol=1e-4, atol=1e-5)


class Patches(torch.nn.Module):
    """Cuts images into patches twice: one that is too small leaves nothing."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 4, 4, 4), torch.nn.Conv2d(4, 4, 2, 2)

    def forward(self, x):
        return self.second(self.first(x).relu()).flatten(2).softmax(1)


def test_sizes_that_nobody_said_are_large_enough_for_the_network(tmp_path):
    torch.manual_seed(0)
    model = Patches().eval()
    torch.jit.save(torch.jit.trace(model, torch.randn(1, 3, 16, 24)), tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--input-shape", "x=B,3,H,W")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " alone" not in done.stdout + done.stderr  # nor verified at one size
    for shape in ((1, 3, 16, 24), (2, 3, 32, 8)):
        compare(tmp_path, model, (torch.randn(shape),))


class SameForBoth(torch.nn.Module):
    """One branch gives one tensor for two results, which LiteRT's IF does not take."""

    def forward(self, x):
        if bool(x.sum() > 0):
            a = x * 2
            b = a
        elif bool(x.sum() > -1):
            a = x
            b = x
        else:
            a = x + 1
            b = x - 1
        return a * 3, b


def task(x, scale: float):
    return x.cumsum(1) * scale


class Forked(torch.nn.Module):
    """Tasks that run beside one another."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(2, 2)

    def forward(self, x):
        first, second = torch.jit.fork(self.net, x), torch.jit.fork(task, x, 0.5)
        x = x * 2
        return torch.jit.wait(second) - x, torch.jit.wait(first)


@pytest.mark.parametrize("module", [SameForBoth(), Forked()], ids=lambda module: type(module).__name__)
@pytest.mark.parametrize("shape", ["x=T,2", "x=3,2"])
def test_branches_and_forks_agree_with_pytorch(tmp_path, module, shape):
    program = torch.jit.script(module.eval())
    torch.jit.save(program, tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--input-shape", shape)
    assert done.returncode == 0, done.stdout + done.stderr
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]])
    for given in (x, -x, x * -0.01, *([torch.cat([x, x - 0.5])] if "T" in shape else [])):
        compare(tmp_path, program, (given,))


class HandsOn(torch.nn.Module):
    """A recurrence of second order: what was new is old in the next step, over all entries of an open axis."""

    def forward(self, x):
        new, old = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0])
        results = []
        for i, entry in enumerate(x.unbind(1)):
            value = entry + 0.6 * new - 0.3 * old + i
            old = new
            new = value
            results.append(value)
        return torch.stack(results, 1) + old.unsqueeze(1)


class Rotates(torch.nn.Module):
    """States that take one another's places in each step."""

    def forward(self, x):
        a, b, c = x[:, 0], x[:, 0] + 1.0, x[:, 0] + 2
        new, old = x[:, 0], x[:, 0] * 0.0
        for t in range(x.size(1)):
            a, b, c = c, a, b
            old = new
            new = torch.tanh(new + t)
        return a, b, c, new, old


class Solver(torch.nn.Module):
    """Euler's method: a list that begins with the first state, grows in a loop over an open axis, and is turned around."""

    def forward(self, x):
        y = x[:, 0]
        states = [y]
        for t in range(x.size(1) - 1):
            y = y + 0.1 * torch.tanh(y + x[:, t + 1])
            states.append(y)
        states.append(y * 2)
        states.reverse()
        return torch.stack(states, 1)


class Positions(torch.nn.Module):
    """wav2vec's convolution for positions: one entry too many, which is cut off, of a length that strides divide."""

    def __init__(self):
        super().__init__()
        self.shorter = torch.nn.Sequential(torch.nn.Conv1d(1, 4, 10, stride=5), torch.nn.Conv1d(4, 4, 3, stride=2))
        self.around = torch.nn.Conv1d(4, 4, 4, padding=2)

    def forward(self, x):
        x = self.shorter(x)
        return x + self.around(x)[:, :, :-1]


@pytest.mark.parametrize(
    ("model", "shape", "lengths"),
    [
        (torch.jit.script(HandsOn()), "x=B,T,3", (1, 2, 7)),
        (torch.jit.script(Rotates()), "x=B,T,3", (1, 2, 7)),
        (torch.jit.script(Solver()), "x=B,T,3", (1, 2, 7)),
        (Positions(), "x=B,1,T", (200, 333)),
    ],
    ids=["states that are handed on", "states that rotate", "states from the first on", "positions"],
)
def test_scripts_agree_with_pytorch(tmp_path, model, shape, lengths):
    torch.manual_seed(0)
    model = model.eval()
    if isinstance(model, Positions):
        torch.jit.trace(model, torch.randn(2, 1, 400)).save(tmp_path / "net.pt")
    else:
        model.save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--input-shape", shape)
    assert done.returncode == 0, done.stdout + done.stderr
    for length in lengths:
        given = torch.randn(2, length, 3) if shape.endswith("3") else torch.randn(2, 1, length)
        compare(tmp_path, model, (given,))


def test_axes_are_exchanged_in_place(tmp_path):
    model = Function(lambda x: x.clone().transpose_(0, 1) + x.t())
    converted(tmp_path, model, randoms(((3, 4),)))
    compare(tmp_path, model, randoms(((3, 4),)))
