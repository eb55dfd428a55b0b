"""Integers of 64 bits stay exact in TFLite, where many kernels know 32 bits alone."""

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from test_convert import run

LARGE = [-(2**50) + 12345, -(5 << 34) - 3, -3_000_000_000, -70_000, -7, -1, 0, 1, 3, 50_000, 2**31, 3_000_000_001,
         (5 << 40) + 17, 2**52 - 1]
OTHER = [2**40 - 1, 0xFF00FF00FF, -1, 123_456_789_012, 6, -(2**33), 5, 2**32, -9, 77, 2**31 - 1, 2**31, 2**45 + 1, -2]
SHIFTS = [3, 33, 1, 0, 2, 62, 5, 20, 40, 16, 31, 32, 7, 51]
BASES = [7000, -50_000, 3, -3, 10, 0, 0, 1, -1, -1, 2, -2, 1, 5]
EXPONENTS = [4, 3, 32, 31, 15, 0, 5, 90, 91, 90, 52, 51, -2, -1]
CASES = {
    "and": (lambda a, b: a & b, LARGE, OTHER),
    "or": (lambda a, b: a | b, LARGE, OTHER),
    "xor": (lambda a, b: a ^ b, LARGE, OTHER),
    "not": (lambda a, b: ~a + 0 * b, LARGE, OTHER),
    "shift_right": (lambda a, b: a >> b, LARGE, [3, 63, *SHIFTS[2:-1], 63]),
    "shift_left": (lambda a, b: a << b, [3, 1, 5, -7, 1, -1, 9, 2, 100, 0, 7, 1, 2, 1], SHIFTS[::-1]),
    "cube": (lambda a, b: a**3 + 0 * b, BASES, EXPONENTS),
    "pow": (torch.pow, BASES, EXPONENTS),
}


class Computed(torch.nn.Module):
    """A function of two tensors as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, a, b):
        return self.function(a, b)


@pytest.mark.parametrize("name", CASES)
def test_of_64_bits_are_exact(tmp_path, name):
    function, a, b = CASES[name]
    given = [torch.tensor(a), torch.tensor(b)]
    torch.export.save(torch.export.export(Computed(function), tuple(given)), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out", "--to", "tflite", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    runner = Interpreter(model_path=str(tmp_path / "out/net_fp32.tflite"), num_threads=1).get_signature_runner()
    (found,) = runner(a=given[0].numpy(), b=given[1].numpy()).values()
    np.testing.assert_array_equal(found, function(*given).numpy())
