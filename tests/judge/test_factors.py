"""Factors of matrices in programs: what PyTorch gives, or, where signs and order are free, what gives the matrix back."""

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from runtimes import run_onnx
from test_convert import run
from test_numbers import Alone

torch.manual_seed(0)


def of_svd(a):
    u, s, v = torch.linalg.svd(a, full_matrices=False)
    return s, (u * s[..., None, :]) @ v, u.mT @ u, v @ v.mT


def of_eigh(a):
    values, vectors = torch.linalg.eigh(a)
    return values, (vectors * values[..., None, :]) @ vectors.mT, vectors.mT @ vectors


def symmetric(*shape):
    x = torch.randn(shape)
    return (x + x.mT) / 2


CASES = {
    "equal_eigenvalues": (of_eigh, torch.diag(torch.tensor([2.0, 2.0, -1.0, 0.0]))),
    "qr_complete": (lambda a: tuple(torch.linalg.qr(a, mode="complete")), torch.randn(5, 3)),
    "rank": (torch.linalg.matrix_rank, torch.stack([torch.randn(5, 2) @ torch.randn(2, 5), torch.randn(5, 5)])),
    "rank_within": (lambda a: torch.linalg.matrix_rank(a, rtol=0.5), torch.diag(torch.tensor([3.0, 2.0, 1.0]))),
    "pinv_of_rank_2": (lambda a: torch.linalg.pinv(a, rtol=1e-3), torch.randn(5, 2) @ torch.randn(2, 4)),
}
for shape in ((4, 4), (2, 5, 3), (3, 3, 6), (9, 7)):
    CASES[f"qr_{shape}"] = (lambda a: tuple(torch.linalg.qr(a)), torch.randn(shape))
    CASES[f"svd_{shape}"] = (of_svd, torch.randn(shape))
    CASES[f"svdvals_{shape}"] = (torch.linalg.svdvals, torch.randn(shape))
    CASES[f"pinv_{shape}"] = (torch.linalg.pinv, torch.randn(shape))
for shape in ((2, 4, 4), (5, 5), (8, 8), (1, 1)):
    CASES[f"eigh_{shape}"] = (of_eigh, symmetric(*shape))
    CASES[f"eigvalsh_{shape}"] = (torch.linalg.eigvalsh, symmetric(*shape))


@pytest.mark.parametrize("name", CASES)
def test_agree_with_pytorch(tmp_path, name):
    function, x = CASES[name]
    torch.export.save(torch.export.export(Alone(function), (2 * x,)), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out", "--to", "tflite,onnx", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    expected = function(x)
    expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    runner = Interpreter(model_path=str(tmp_path / "out/net_fp32.tflite"), num_threads=1).get_signature_runner()
    for found in (runner(x=x.numpy()), run_onnx(tmp_path / "out/net.onnx", x=x.numpy())):
        values = [found[key] for key in sorted(found)]
        for one, other in zip(values, expected, strict=True):
            np.testing.assert_allclose(one, other.numpy(), atol=2e-5, rtol=1e-4)


def test_full_factors_of_other_than_squares_are_refused_with_what_to_do(tmp_path):
    program = torch.export.export(Alone(lambda a: tuple(torch.linalg.svd(a))), (torch.randn(5, 3),))
    torch.export.save(program, tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out")
    assert done.returncode == 1
    assert "full_matrices=False" in done.stderr


COMPLEX = {
    "adjoint": lambda a: a.mH,
    "hermitian": lambda a: a.adjoint(),
    "rsqrt": torch.rsqrt,
    "inverse": torch.linalg.inv,
}


@pytest.mark.parametrize("name", COMPLEX)
def test_of_complex_numbers_agree_with_pytorch(tmp_path, name):
    function = COMPLEX[name]
    x = torch.randn(2, 3, 3, dtype=torch.complex64)
    torch.export.save(torch.export.export(Alone(function), (2 * x,)), tmp_path / "net.pt2")
    done = run(tmp_path, "convert", "net.pt2", "-o", "out", "--to", "tflite", "--quantize", "fp32")
    assert done.returncode == 0, done.stderr
    runner = Interpreter(model_path=str(tmp_path / "out/net_fp32.tflite"), num_threads=1).get_signature_runner()
    (found,) = runner(x=torch.view_as_real(x).numpy()).values()
    np.testing.assert_allclose(found, torch.view_as_real(function(x).resolve_conj()).numpy(), atol=2e-5, rtol=1e-4)
