"""Whole modules of torch.nn whose arguments leave the usual path, saved by torch.save(model): judged against PyTorch."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from runtimes import run_lite, run_onnx
from test_convert import run

torch.manual_seed(0)
IMAGE = torch.randn(2, 4, 9, 8)
SMALL = torch.randn(1, 4, 7, 10)
NO_NUMBERS = torch.tensor([[float("nan"), -3.0, 0.2, 5.0]])


def with_statistics_of_the_input():
    norm = nn.InstanceNorm2d(4, track_running_stats=True, affine=True)
    norm.running_mean += 3
    norm.track_running_stats = False
    return norm


def normed(dim):
    return nn.utils.weight_norm(nn.Conv2d(4, 3, 3), dim=dim)


def pruned_and_trained_on():
    """Attention takes the weight that pruning left; what training made of the original since then is not in it."""
    layer = nn.TransformerDecoderLayer(4, 2, 8, batch_first=True)
    prune.l1_unstructured(layer.self_attn.out_proj, "weight", 0.5)
    prune.l1_unstructured(layer.linear1, "weight", 0.5)
    with torch.no_grad():
        layer.self_attn.out_proj.weight_orig *= 3
        layer.linear1.weight_orig *= 3
    return layer


# The module, its --input-shape, and inputs: of each tensor in turn.
CASES = {
    "cosine_of_one_row": (nn.CosineSimilarity(0), {"x1": "B,4", "x2": "1,4"},
                          [(torch.randn(3, 4), torch.randn(1, 4)), (torch.randn(5, 4), torch.randn(1, 4))]),
    "cosine_of_one_column": (nn.CosineSimilarity(1), {"x1": "B,4", "x2": "B,1"}, [(torch.randn(3, 4), torch.randn(3, 1))]),
    "bags_of_a_matrix": (nn.EmbeddingBag(9, 3, include_last_offset=True), {"input": "B,4"}, [(torch.arange(8).reshape(2, 4),)]),
    "largest_of_windows": (nn.LPPool2d(float("inf"), 2), {"input": "B,4,H,W"}, [(IMAGE,), (SMALL,)]),
    "smallest_of_windows": (nn.LPPool2d(-float("inf"), 2, stride=1), {"input": "B,4,H,W"}, [(IMAGE,), (SMALL,)]),
    "instance_norm": (with_statistics_of_the_input(), {"input": "B,4,H,W"}, [(IMAGE,), (SMALL,)]),
    "threshold": (nn.Threshold(1, 2), {"input": "B,4"}, [(NO_NUMBERS,)]),
    "hard_shrink": (nn.Hardshrink(), {"input": "B,4"}, [(NO_NUMBERS,)]),
    "kept_random_windows": (nn.FractionalMaxPool2d(2, output_ratio=0.5, _random_samples=torch.rand(2, 4, 2)),
                            {"input": "2,4,9,8"}, [(IMAGE,)]),
    "recomputed_half": (nn.Upsample(scale_factor=0.5, mode="bilinear", recompute_scale_factor=True),
                        {"input": "B,4,H,W"}, [(IMAGE,), (SMALL,)]),
    "recomputed_decimal": (nn.Upsample(scale_factor=1.7, mode="bilinear", recompute_scale_factor=True),
                           {"input": "B,4,H,W"}, [(IMAGE,), (SMALL,)]),
    "area": (nn.Upsample(scale_factor=0.5, mode="area"), {"input": "B,4,H,W"}, [(IMAGE,), (SMALL,)]),
    "one_more_than_strides": (nn.ConvTranspose2d(4, 3, 3, dilation=2, output_padding=1), {"input": "B,4,H,W"}, [(IMAGE,), (SMALL,)]),
    "more_than_strides": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, dilation=3, output_padding=2, groups=2),
                          {"input": "B,4,H,W"}, [(IMAGE,), (SMALL,)]),
    "more_than_strides_in_1d": (nn.ConvTranspose1d(4, 3, 3, stride=(2,), dilation=3, output_padding=2), {"input": "B,4,L"},
                                [(IMAGE[:, :, :, 0],), (SMALL[:, :, 0],)]),
    "reflection_that_crops": (nn.ReflectionPad2d((2, -1, 0, 0)), {"input": "B,4,H,W"}, [(IMAGE,), (SMALL,)]),
    "circle_that_crops": (nn.CircularPad2d((-2, 3, 0, 0)), {"input": "B,4,9,W"}, [(IMAGE,)]),
    "weight_norm_from_the_end": (normed(-2), {"input": "B,4,H,W"}, [(IMAGE,)]),
    "pruned_and_trained_on": (pruned_and_trained_on(), {"tgt": "B,3,4", "memory": "B,5,4"},
                              [(torch.randn(2, 3, 4), torch.randn(2, 5, 4))]),
    "weight_norm_of_all": (normed(None), {"input": "B,4,H,W"}, [(IMAGE,)]),
}


@pytest.mark.parametrize("name", CASES)
def test_agree_with_pytorch(tmp_path, name):
    module, shapes, given = CASES[name]
    torch.save(module.eval(), tmp_path / "net.pt")
    sizes = [part for key, text in shapes.items() for part in ("--input-shape", f"{key}={text}")]
    done = run(tmp_path, "convert", "net.pt", "-o", "out", "--quantize", "fp32", *sizes)
    assert done.returncode == 0, done.stderr
    for tensors in given:
        expected = module(*tensors).detach().numpy()
        named = dict(zip(shapes, (tensor.numpy() for tensor in tensors), strict=True))
        lite = run_lite(tmp_path / "out/net_fp32.tflite", **named)
        for found in (lite, run_onnx(tmp_path / "out/net.onnx", **named)):
            np.testing.assert_allclose(found["output"], expected, atol=1e-5, rtol=1e-5)


def save_and_convert(folder, module, *arguments):
    torch.save(module, folder / "net.pt")
    return run(folder, "convert", "net.pt", "-o", "out", "--to", "onnx", *arguments)


def test_with_a_forward_of_their_own_are_refused(tmp_path):
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU()).eval()
    module[1].forward = nn.functional.gelu
    done = save_and_convert(tmp_path, module, "--input-shape", "input=B,3")
    assert done.returncode == 1
    assert "module '1' was given a forward of its own" in done.stderr
    assert "torch.export.save" in done.stderr


def test_of_torch_fx_are_told_how_to_be_saved(tmp_path):
    done = save_and_convert(tmp_path, torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 3), nn.ReLU()).eval()))
    assert done.returncode == 1
    assert "torch.export.save(torch.export.export(model.eval(), (example_input,))" in done.stderr


def test_of_exported_programs_are_told_how_to_be_saved(tmp_path):
    done = save_and_convert(tmp_path, torch.export.export(nn.Linear(3, 3).eval(), (torch.randn(2, 3),)))
    assert done.returncode == 1
    assert 'torch.export.save(program, "model.pt2")' in done.stderr


def test_in_training_mode_are_told_of_in_parts_too(tmp_path):
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval()
    module[1].train()
    done = save_and_convert(tmp_path, module, "--input-shape", "input=B,3")
    assert done.returncode == 0, done.stderr
    assert "module '1' was saved in training mode and is converted as in eval()" in done.stdout + done.stderr


ADVICE = {
    "1,4,100": nn.BatchNorm1d(4), "1,6": nn.LayerNorm(6), "1,3": nn.GRUCell(3, 4), "1,100,8": nn.TransformerEncoderLayer(8, 2),
    "1,784": nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), "1,3,100": nn.MaxPool1d(2), "1,3,16,64,64": nn.AvgPool3d(2),
}


@pytest.mark.parametrize("shape", ADVICE)
def test_advise_a_shape_that_they_take(tmp_path, shape):
    done = save_and_convert(tmp_path, ADVICE[shape].eval())
    assert f"={shape}\n" in done.stderr
    name = done.stderr.partition("--input-shape ")[2].partition("=")[0]
    done = save_and_convert(tmp_path, ADVICE[shape].eval(), "--input-shape", f"{name}={shape}")
    assert done.returncode == 0, done.stderr


def test_that_stand_in_many_places_are_looked_at_a_bounded_number_of_times(tmp_path):
    module = nn.Sequential(nn.ReLU())
    for _ in range(14):
        module = nn.Sequential(*[module] * 12)
    done = save_and_convert(tmp_path, module)
    assert "--input-shape input=1,3,224,224" in done.stderr


class Scaled(nn.Module):
    """Images of sizes that the network computes itself, as detectors resize theirs."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return nn.functional.interpolate(x, scale_factor=self.factor, mode="bilinear", recompute_scale_factor=True)


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5])
@pytest.mark.parametrize("form", ["exported", "traced", "scripted"])
def test_recomputed_factors_agree_with_pytorch(tmp_path, form, factor):
    module = Scaled(factor).eval()
    sizes = []
    if form == "exported":
        auto = torch.export.Dim.AUTO
        torch.export.save(torch.export.export(module, (IMAGE,), dynamic_shapes={"x": {2: auto, 3: auto}}), tmp_path / "net.pt2")
    else:
        saved = torch.jit.trace(module, IMAGE) if form == "traced" else torch.jit.script(module)
        saved.save(tmp_path / "net.pt")
        sizes = ["--input-shape", "x=2,4,H,W"]
    done = run(tmp_path, "convert", "net.pt2" if form == "exported" else "net.pt", "-o", "out", "--quantize", "fp32", *sizes)
    assert done.returncode == 0, done.stderr
    for x in (IMAGE, torch.randn(2, 4, 7, 12), torch.randn(2, 4, 30, 5)):
        expected = module(x).numpy()
        for found in (run_lite(tmp_path / "out/net_fp32.tflite", x=x.numpy()), run_onnx(tmp_path / "out/net.onnx", x=x.numpy())):
            np.testing.assert_allclose(list(found.values())[0], expected, atol=1e-5, rtol=1e-5)


class InPlace(nn.Module):
    """Operators in place whose schemas differ from those of their twins."""

    def forward(self, x):
        y = nn.functional.dropout(x * 1, 0.5, training=False, inplace=True)
        y = (y * 3).floor_divide_(torch.full((4,), 2.0))
        y = y.pow_(torch.full((4,), 2.0)) + x
        y **= 3
        return y


class Turning(nn.Module):
    """Rotary positions as complex numbers, moved to the device of what they turn."""

    def __init__(self):
        super().__init__()
        self.register_buffer("angles", torch.polar(torch.ones(6, 2), torch.rand(6, 2)))

    def forward(self, x):
        z = torch.view_as_complex(x.reshape(6, 2, 2))
        return torch.view_as_real(z * self.angles.to(x.device)).flatten(1)


class Sorted(nn.Module):
    """A mixture of experts over tokens that are sorted by expert: parts of counted lengths, joined again."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(4, 3)
        self.experts = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

    def forward(self, x):
        chosen = self.gate(x).argmax(-1)
        order = chosen.argsort()
        counts = nn.functional.one_hot(chosen, 3).sum(0).tolist()
        parts = [expert(part) for expert, part in zip(self.experts, x[order].split(counts, 0), strict=True)]
        return torch.zeros_like(x).index_add(0, order, torch.cat(parts) * self.gate(x).amax(-1, keepdim=True)[order])


class Windows(nn.Module):
    """Windows by strides over the memory of a tensor that was turned, and over that which a part is cut from."""

    def forward(self, x):
        return x.t().as_strided((3, 4), (4, 1)) + x[2:].as_strided((3, 4), (2, 1), 3)


PROGRAMS = {
    "windows": (Windows(), [torch.randn(6, 4), torch.randn(6, 4)]),
    "in_place": (InPlace(), [torch.rand(3, 4) * 5]),
    "turning": (Turning(), [torch.randn(6, 4), torch.randn(6, 4)]),
    "sorted": (Sorted(), [torch.randn(12, 4), torch.randn(12, 4)]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_of_exported_programs_agree_with_pytorch(tmp_path, name):
    module, given = PROGRAMS[name]
    torch.export.save(torch.export.export(module.eval(), (given[0],)), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    for x in given:
        expected = module(x).detach().numpy()
        for found in (run_lite(tmp_path / "out/net_fp32.tflite", x=x.numpy()), run_onnx(tmp_path / "out/net.onnx", x=x.numpy())):
            np.testing.assert_allclose(list(found.values())[0], expected, atol=1e-5, rtol=1e-5)
