"""What is no number, infinite or zero: programs give in TFLite what PyTorch gives."""

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from test_convert import run
from test_integers import Computed

NAN = float("nan")
ROWS = torch.tensor([[3.0, 1.0, NAN, 7.0, 2.0], [1.0, 4.0, 2.0, 4.0, 3.0], [NAN, 1.0, 5.0, NAN, 0.5]])
CASES = {
    "cummax": (lambda x: tuple(torch.cummax(x, 1)), ROWS),
    "cummin": (lambda x: tuple(torch.cummin(x, 1)), ROWS),
    "median": (lambda x: tuple(torch.median(x, 1)), ROWS),
    "median_of_all": (lambda x: torch.median(x), ROWS),
    "quantile": (lambda x: torch.quantile(x, torch.tensor([0.25, 0.5]), 1), ROWS),
    "rsqrt": (torch.rsqrt, torch.tensor([0.0, 1.0, 4.0, float("inf"), 0.0, 0.25, 16.0, 0.0])),
    "rsqrt_of_sum": (lambda x: torch.rsqrt(x + 0.5), torch.tensor([0.0, 1.0, 4.0])),
}


@pytest.mark.parametrize("name", CASES)
def test_agree_with_pytorch(tmp_path, name):
    function, x = CASES[name]
    torch.export.save(torch.export.export(Alone(function), (torch.rand_like(x) + 0.5,)), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out", "--to", "tflite", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    runner = Interpreter(model_path=str(tmp_path / "out/net_fp32.tflite"), num_threads=1).get_signature_runner()
    found = runner(x=x.numpy())
    expected = function(x)
    expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    assert len(found) == len(expected)
    for one, other in zip(sorted(found.items()), expected, strict=True):
        np.testing.assert_allclose(one[1], other.numpy(), rtol=1e-5)


class Alone(Computed):
    """A function of one tensor as a module."""

    def forward(self, x):
        return self.function(x)
