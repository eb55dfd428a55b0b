"""Programs that PyTorch's quantisation of exported programs (pt2e) writes: judged against PyTorch."""

import numpy as np
import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers the operators
from torch import nn

from runtimes import run_lite, run_onnx
from test_convert import run

torch.manual_seed(0)
Q = torch.ops.quantized_decomposed
INT8 = (-128, 127, torch.int8)
UINT8 = (0, 255, torch.uint8)


def integers(*shape, least=-127, most=127):
    return torch.randint(least, most + 1, shape, dtype=torch.int8)


class Static(nn.Module):
    """A network of images after convert_pt2e: activations on one grid, weights on one for each channel. Its sums are
    exact in float32, so that no kernel's order of adding moves a value to another step."""

    def __init__(self):
        super().__init__()
        self.register_buffer("filter", integers(6, 3, 3, 3))
        self.register_buffer("filter_scale", 2.0 ** torch.randint(-9, -6, (6,)))
        self.register_buffer("filter_zero", torch.zeros(6, dtype=torch.int64))
        self.register_buffer("weight", integers(4, 6))
        self.bias = nn.Parameter(torch.randint(-64, 65, (6,)) / 256)

    def forward(self, x):
        x = Q.dequantize_per_tensor(Q.quantize_per_tensor(x, 1 / 32, -5, *INT8), 1 / 32, -5, *INT8)
        filters = Q.dequantize_per_channel(self.filter, self.filter_scale, self.filter_zero, 0, -127, 127, torch.int8)
        y = nn.functional.conv2d(x, filters, self.bias, padding=1).relu()
        y = Q.dequantize_per_tensor(Q.quantize_per_tensor(y, 1 / 64, 3, *UINT8), 1 / 64, 3, *UINT8)
        y = nn.functional.adaptive_avg_pool2d(y, 1).flatten(1)
        return nn.functional.linear(y, Q.dequantize_per_tensor(self.weight, 0.02, 0, -127, 127, torch.int8))


class Dynamic(nn.Module):
    """A linear layer whose input has the grid that it asks for."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", integers(5, 8))

    def forward(self, x):
        scale, zero = Q.choose_qparams.tensor(x, -128, 127, 1e-7, torch.int8)
        steps = Q.quantize_per_tensor.tensor(x, scale, zero, *INT8)
        y = Q.dequantize_per_tensor.tensor(steps, scale, zero, *INT8)
        return nn.functional.linear(y, Q.dequantize_per_tensor(self.weight, 0.02, 3, *INT8)), steps


class Symmetric(nn.Module):
    def forward(self, x):
        scale, zero = Q.choose_qparams_symmetric.tensor(x, 0, 255, 1e-7, torch.uint8)
        bounds = torch.tensor(10), torch.tensor(240)
        steps = Q.quantize_per_tensor.tensor2(x, scale, zero, *bounds, torch.uint8)
        return Q.dequantize_per_tensor.tensor2(steps, scale, zero, *bounds, torch.uint8), steps


class Rows(nn.Module):
    """Rows with grids of their own by a matrix whose rows have one for each group of entries."""

    def __init__(self, shifted):
        super().__init__()
        self.shifted = shifted
        self.register_buffer("weight", integers(5, 8, least=-8, most=7))
        self.register_buffer("scales", torch.rand(5, 2) * 0.1 + 0.02)
        self.register_buffer("zeros", torch.randint(-2, 3, (5, 2)) if shifted else None)

    def forward(self, x):
        if self.shifted:
            scales, zeros = Q.choose_qparams_per_token_asymmetric(x, torch.int8)
        else:
            scales, zeros = Q.choose_qparams_per_token(x, torch.int8)
        steps = Q.quantize_per_token(x, scales, zeros, *INT8)
        y = Q.dequantize_per_token(steps, scales, zeros, *INT8, torch.float32)
        weight = Q.dequantize_per_channel_group(self.weight, self.scales, self.zeros, -8, 7, torch.int8, 4, torch.float32)
        return nn.functional.linear(y, weight), steps


class Simulated(nn.Module):
    """What training sees, and the integers of it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scales", torch.rand(8) * 0.1 + 0.01)
        self.register_buffer("zeros", torch.randint(0, 9, (8,), dtype=torch.int32))

    def forward(self, x):
        y = Q.fake_quant_per_channel(x, self.scales, self.zeros, 1, -128, 127)
        steps = Q.quantize_per_channel(x, self.scales, self.zeros, 1, *INT8)
        groups = Q.quantize_per_channel_group(x[:2], self.scales.reshape(2, 4), self.zeros.reshape(2, 4), *INT8, 2)
        return y, steps, groups, Q.convert_element_type.no_fuse(y, torch.int32)


ROWS = [torch.randn(3, 8), torch.randn(6, 8) * 7, torch.rand(2, 8) + 3]
PROGRAMS = {
    "static": (Static(), [torch.randn(2, 3, 9, 8), torch.randn(5, 3, 9, 8) * 3]),
    "dynamic": (Dynamic(), ROWS),
    "symmetric": (Symmetric(), ROWS),
    "rows": (Rows(False), ROWS),
    "shifted_rows": (Rows(True), ROWS),
    "simulated": (Simulated(), ROWS),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_agree_with_pytorch(tmp_path, name):
    module, given = PROGRAMS[name]
    batch = torch.export.Dim("batch", min=2)
    torch.export.save(torch.export.export(module.eval(), (given[0],), dynamic_shapes=({0: batch},)), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    for x in given:
        expected = module(x)
        expected = [expected] if isinstance(expected, torch.Tensor) else expected
        for found in (run_lite(tmp_path / "out/net_fp32.tflite", x=x.numpy()), run_onnx(tmp_path / "out/net.onnx", x=x.numpy())):
            for result, wanted in zip(found.values(), expected, strict=True):
                np.testing.assert_allclose(result, wanted.detach().numpy(), atol=1e-5, rtol=1e-5)


class Block(nn.Module):
    def __init__(self, channels, size, scale):
        super().__init__()
        weight = torch.randn(size, channels, 3, 3) / (channels * 9) ** 0.5 * 1.4
        scales = weight.abs().amax((1, 2, 3)) / 127
        self.register_buffer("weight", (weight / scales.view(-1, 1, 1, 1)).round().to(torch.int8))
        self.register_buffer("scales", scales)
        self.register_buffer("zeros", torch.zeros(size, dtype=torch.int64))
        self.scale = scale

    def forward(self, x):
        weight = Q.dequantize_per_channel(self.weight, self.scales, self.zeros, 0, -127, 127, torch.int8)
        y = nn.functional.conv2d(x, weight, padding=1).relu()
        return Q.dequantize_per_tensor(Q.quantize_per_tensor(y, self.scale, -128, *INT8), self.scale, -128, *INT8)


class Ended(nn.Module):
    def forward(self, x):
        return Q.dequantize_per_tensor(Q.quantize_per_tensor(x, 0.011, 3, *INT8), 0.011, 3, *INT8)


@pytest.mark.parametrize("simulated", [False, True])
def test_are_verified_up_to_steps_of_their_own(tmp_path, simulated):
    """Of the many values of deep networks some lie so near to an edge that a kernel's last digit decides their step."""
    torch.manual_seed(2)
    deep = nn.Sequential(Block(3, 32, 0.02), *[Block(32, 32, 0.02 + 0.001 * i) for i in range(11)],
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1000)).eval()
    if simulated:
        deep.append(torch.ao.quantization.FakeQuantize(observer=torch.ao.quantization.MinMaxObserver))
        deep[-1].scale[0], deep[-1].zero_point[0] = 0.011, 128
        deep[-1].disable_observer()
    else:
        deep.append(Ended())
    x = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        deep(x)
        if simulated:
            torch.jit.trace(deep, x).save(tmp_path / "net.pt")
        else:
            torch.export.save(torch.export.export(deep, (x,)), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt" if simulated else "net.pt2", "-o", "out", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
