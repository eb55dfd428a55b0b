"""`--input-dtype`: what the written files take, and what the program gets of it."""

import subprocess

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime import InferenceSession

from program import TAPER, TIME_LIMIT, plain_environment

PIXELS = np.array([[200, 100, 3], [0, 255, 17]], np.uint8)


def run(folder, *arguments):
    command = [TAPER, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=plain_environment(), capture_output=True, text=True,
                          timeout=TIME_LIMIT, check=False)  # fmt: skip


def converted(folder, file, *flags):
    """What `taper convert` says, and the session of the ONNX file."""
    done = run(folder, "convert", file, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr, InferenceSession(str(folder / file.replace(".pt2", ".onnx").replace(".pt", ".onnx")))


class Square(torch.nn.Module):
    """Computes with integers where it gets them."""

    def forward(self, x):
        return x * x + x


class Pixels(torch.nn.Module):
    """Images through convolutions and linear layers, and ids through an embedding."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 2)
        self.table = torch.nn.Embedding(300, 2)

    def forward(self, image, ids):
        return self.linear(self.conv(image).mean((2, 3))) + self.table(ids).sum(1)


class Ids(torch.nn.Module):
    """Takes indices of several kinds."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.table = kind, torch.nn.Embedding(300, 2)

    def forward(self, ids):
        if self.kind == "embedding":
            return self.table(ids.reshape(-1))
        if self.kind == "index_select":
            return self.table.weight.index_select(0, ids.reshape(-1))
        if self.kind == "index":
            return self.table.weight[ids]
        if self.kind == "one_hot":
            return torch.nn.functional.one_hot(ids, 300).float()
        return torch.gather(self.table.weight, 0, ids)


class TestFilesThatTellTheDtype:
    """The files take what is given, and the program gets it as it was."""

    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("told")
        info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3])  # noqa: E731
        nodes = [helper.make_node("Mul", ["x", "x"], ["t"]), helper.make_node("Add", ["t", "x"], ["y"])]
        graph = helper.make_graph(nodes, "net", [info("x")], [info("y")])
        (folder / "onnx").mkdir()
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
                  folder / "onnx" / "net.onnx")  # fmt: skip
        example = torch.randn(2, 3)
        torch.jit.trace(Square(), example).save(folder / "net.pt")
        torch.export.save(torch.export.export(Square(), (example,)), folder / "net.pt2")
        return folder

    @pytest.mark.parametrize("file", ["onnx/net.onnx", "net.pt", "net.pt2"])
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "float16"])
    def test_cast_what_is_given(self, folder, file, dtype):
        done = run(folder, "convert", folder / file, "--input-dtype", f"x={dtype}")
        assert done.returncode == 0, done.stderr
        session = InferenceSession(str(folder / "net.onnx"))
        x = PIXELS.astype(dtype)
        assert session.get_inputs()[0].type == {"uint8": "tensor(uint8)", "int16": "tensor(int16)"}.get(
            dtype, "tensor(float16)"
        )
        (y,) = session.run(None, {"x": x})
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, x.astype(np.float32) ** 2 + x.astype(np.float32))


class TestFilesThatDoNot:
    def test_give_the_program_what_pytorch_would_get(self, tmp_path):
        torch.jit.script(Square()).save(tmp_path / "net.pt")
        said, session = converted(tmp_path, "net.pt", "--input-shape", "x=2,3", "--input-dtype", "x=uint8")
        assert "the program itself gets the input 'x' as uint8" in said
        expected = Square()(torch.from_numpy(PIXELS)).numpy()
        np.testing.assert_array_equal(session.run(None, {"x": PIXELS})[0], expected)

    def test_cast_images_and_keep_ids(self, tmp_path):
        network = Pixels().eval()
        torch.jit.script(network).save(tmp_path / "net.pt")
        flags = ["--input-shape", "image=1,3,5,5", "--input-shape", "ids=1,4", "--input-dtype", "image=uint8"]
        said, session = converted(tmp_path, "net.pt", *flags, "--input-dtype", "ids=int64")
        assert "the input 'image' is uint8 in the files and cast to float32" in said
        image = np.random.default_rng(1).integers(0, 256, (1, 3, 5, 5)).astype(np.uint8)
        ids = np.array([[3, 299, 0, 7]])
        expected = network(torch.from_numpy(image).float(), torch.from_numpy(ids)).detach().numpy()
        np.testing.assert_allclose(session.run(None, {"image": image, "ids": ids})[0], expected, rtol=1e-4, atol=1e-3)

    @pytest.mark.parametrize("layer", [torch.nn.Conv1d(3, 4, 3), torch.nn.Linear(6, 4), torch.nn.GRU(6, 4),
                                       torch.nn.BatchNorm1d(3), torch.nn.LayerNorm(6), torch.nn.ConvTranspose1d(3, 4, 3),
                                       torch.nn.AvgPool1d(2), torch.nn.GroupNorm(1, 3), torch.nn.Softmax(2)])  # fmt: skip
    def test_cast_where_layers_take_no_integers(self, tmp_path, layer):
        network = torch.nn.Sequential(layer) if not isinstance(layer, torch.nn.GRU) else layer
        torch.save(network.eval(), tmp_path / "net.pt")
        _, session = converted(tmp_path, "net.pt", "--input-shape", "input=2,3,6", "--input-dtype", "input=uint8")
        x = np.random.default_rng(2).integers(0, 256, (2, 3, 6)).astype(np.uint8)
        expected = network(torch.from_numpy(x).float())
        expected = expected[0] if isinstance(expected, tuple) else expected
        (y, *_) = session.run(None, {"input": x})
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-4, atol=1e-3)

    @pytest.mark.parametrize("kind", ["embedding", "index_select", "index", "one_hot", "gather"])
    def test_ask_for_the_dtype_of_indices(self, tmp_path, kind):
        network = Ids(kind).eval()
        torch.jit.script(network).save(tmp_path / "net.pt")
        flags = ["convert", "net.pt", "--input-shape", "ids=B,2", "--no-verify"]
        refused = run(tmp_path, *flags)
        assert refused.returncode == 1
        assert "expected integers; it comes from the input 'ids'" in refused.stderr
        assert "--input-dtype ids=int64" in refused.stderr
        assert not (tmp_path / "net_fp32.tflite").exists()
        for dtype in ("int64", "int32"):
            done = run(tmp_path, "convert", "net.pt", "--input-shape", "ids=B,2", "--input-dtype", f"ids={dtype}")
            assert done.returncode == 0, done.stderr
            ids = np.array([[3, 299], [0, 7]])
            expected = network(torch.from_numpy(ids)).detach().numpy()
            (y,) = InferenceSession(str(tmp_path / "net.onnx")).run(None, {"ids": ids.astype(dtype)})
            np.testing.assert_allclose(y, expected, rtol=1e-5)

    def test_widen_indices_that_are_narrow(self, tmp_path):
        torch.save(torch.nn.Embedding(300, 4), tmp_path / "module.pt")
        torch.jit.script(Ids("embedding")).save(tmp_path / "script.pt")
        for file, name in (("module.pt", "input"), ("script.pt", "ids")):
            done = run(tmp_path, "convert", file, "--input-shape", f"{name}=2,3", "--input-dtype", f"{name}=uint8")
            assert done.returncode == 0, done.stderr
