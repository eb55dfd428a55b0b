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
    """A network of images after convert_pt2e: activations on one grid, weights on one for each channel."""

    def __init__(self):
        super().__init__()
        self.register_buffer("filter", integers(6, 3, 3, 3))
        self.register_buffer("filter_scale", torch.rand(6) * 0.01 + 0.002)
        self.register_buffer("filter_zero", torch.zeros(6, dtype=torch.int64))
        self.register_buffer("weight", integers(4, 6))
        self.bias = nn.Parameter(torch.randn(6))

    def forward(self, x):
        x = Q.dequantize_per_tensor(Q.quantize_per_tensor(x, 0.031, -5, *INT8), 0.031, -5, *INT8)
        filters = Q.dequantize_per_channel(self.filter, self.filter_scale, self.filter_zero, 0, -127, 127, torch.int8)
        y = nn.functional.conv2d(x, filters, self.bias, padding=1).relu()
        y = Q.dequantize_per_tensor(Q.quantize_per_tensor(y, 0.013, 3, *UINT8), 0.013, 3, *UINT8)
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
