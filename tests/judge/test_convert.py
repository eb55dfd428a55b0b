"""`taper convert` and `taper inspect` from end to end: real files of PyTorch, and what comes of them."""

import json
import subprocess
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch.fx.experimental.proxy_tensor import make_fx

from program import TAPER, TIME_LIMIT, plain_environment
from runtimes import relative_error, run_lite, run_onnx


class Mixed(torch.nn.Module):
    """Ids and floats in; floats and integers out."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(11, 6)
        self.head = torch.nn.Linear(6, 4)

    def forward(self, ids, weight):
        scores = self.head(self.words(ids)) * weight
        return {"scores": scores.relu(), "best": scores.argmax(-1)}


class Net(torch.nn.Module):
    """One input and one output."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))

    def forward(self, x):
        return self.layers(x).softmax(-1)


class ComputedPlaces(torch.nn.Module):
    """A loop over an open length that writes entries, from both ends."""

    def forward(self, x):
        rows = torch.zeros_like(x)
        total = torch.zeros_like(x[0])
        for t in range(x.size(0) - 1, -1, -1):
            total = total * 0.5 + x[t]
            rows[t] = total
            rows[-1 - t, 0] += x[-1 - t, 1]
        return rows


class SharedStorage(torch.nn.Module):
    """A branch and a loop that write to tensors of one storage."""

    def forward(self, x):
        y = x.clone()
        row = y[1]
        column = y[:, 0].reshape(-1)
        if bool(x.sum() > 0):
            row.mul_(2.0)
            column.add_(x[:, 1])
        else:
            y.sub_(x * 3)
        i = 0
        while i < 3 and bool(x.sum() > -5):
            y += 1.0
            column.mul_(0.5)
            i += 1
        return y + 0.0, row * 1, column * 1


class ChosenTensors(torch.nn.Module):
    """A branch in a loop that chooses what is written to; the loop replaces a tensor that it writes to, too."""

    def forward(self, x):
        p = x.clone()
        q = x * 2.0
        h = x.clone()
        n = 0
        while n < 3 and bool(p.sum() > -50):
            if bool(p.sum() > q.sum()):
                t = p
            else:
                t = q
            t.sub_(1.5)
            h[0] = float(n)
            h = torch.relu(h) * 1.25 + 0.5
            n += 1
        return p, q, h


class OpenWindows(torch.nn.Module):
    """A loop that ends where an open size or data says, and writes to parts that begin at its step."""

    def forward(self, x):
        out = torch.zeros_like(x)
        t = 0
        while t + 2 <= x.size(0) and bool(out.sum() < 12):
            out[t : t + 2] += x[t : t + 2].abs()
            t += 1
        return out + 0.5


class GrownList(torch.nn.Module):
    """Windows that begin at the step of a loop over an open length, in a list; entries that a mask picks."""

    def forward(self, x):
        parts = []
        state = (x[0] * 0, x[0] * 0)
        padded = torch.cat([x, x[:1]])
        for t in range(x.size(0)):
            state = (state[0] * 0.5 + padded[t : t + 2].sum(0), state[1] + state[0])
            parts.append(state[1])
        y = x.clone()
        y[x > 0] = y[x > 0] * 3.0
        return torch.stack(parts, 1), y + x[x > 0.75].sum()


def run(folder, *arguments, environment=None):
    """Runs `taper` in a folder."""
    return subprocess.run(
        [TAPER, *map(str, arguments)],
        cwd=folder,
        env=plain_environment() | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )


def convert(folder, *arguments):
    """Converts, and returns the results of the one model."""
    done = run(folder, "convert", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((folder / "export_results.json").read_text(encoding="utf-8"))
    return next(value for value in results.values() if isinstance(value, dict))


@pytest.fixture
def mixed(tmp_path):
    """A program with open sizes."""
    torch.manual_seed(0)
    model = Mixed().eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    inputs = (torch.randint(0, 11, (2, 7)), torch.rand(2, 7, 1))
    shapes = ({0: batch}, {0: batch})
    path = tmp_path / "mixed.pt2"
    torch.export.save(torch.export.export(model, inputs, dynamic_shapes=shapes), path)
    return path


class TestExportedPrograms:
    def test_are_converted_to_all_formats_and_verified(self, mixed):
        results = convert(mixed.parent, "mixed.pt2")
        assert results["source_kind"] == "exported program"
        assert [entry["name"] for entry in results["input_types"]] == ["ids", "weight"]
        assert results["outputs"] == ["scores", "best"]
        for file in results["verification"]["files"].values():
            assert file["passed"]
            assert len(file["runs"]) == 2, "a second batch"

    def test_agree_with_pytorch(self, mixed):
        convert(mixed.parent, "mixed.pt2", "--no-verify", "--to", "tflite")
        torch.manual_seed(0)
        model = Mixed().eval()
        ids, weight = torch.randint(0, 11, (3, 7)), torch.rand(3, 7, 1)
        expected = model(ids, weight)
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

        interpreter = Interpreter(str(mixed.parent / "mixed_fp32.tflite"))
        runner = interpreter.get_signature_runner()
        outputs = runner(ids=ids.numpy(), weight=weight.numpy())
        assert relative_error(outputs["scores"], expected["scores"].detach().numpy()) < 1e-4
        assert np.array_equal(outputs["best"], expected["best"].numpy())

    def test_take_inputs_to_verify_with(self, mixed):
        arrays = {"ids": np.full((4, 7), 10), "weight": np.ones((4, 7, 1), np.float32)}
        np.savez(mixed.parent / "inputs.npz", **arrays)
        results = convert(mixed.parent, "mixed.pt2", "--to", "tflite", "--verify-input", "inputs.npz")
        runs = results["verification"]["files"]["tflite_fp32"]["runs"]
        assert [run["input_shapes"] for run in runs] == [[[4, 7], [4, 7, 1]]]
        np.savez(mixed.parent / "inputs.npz", ids=arrays["ids"])
        done = run(mixed.parent, "convert", "mixed.pt2", "--verify-input", "inputs.npz")
        assert done.returncode == 1
        assert "expected an array 'weight'" in done.stderr

    def test_are_frozen_by_static_and_by_shapes(self, mixed):
        results = convert(mixed.parent, "mixed.pt2", "--static", "--to", "tflite")
        assert len(results["verification"]["files"]["tflite_fp32"]["runs"]) == 1
        results = convert(mixed.parent, "mixed.pt2", "--input-shape", "ids=5,7", "--to", "tflite")
        assert results["input_types"][0]["shape"] == "[5, 7]"
        done = run(mixed.parent, "convert", "mixed.pt2", "--input-shape", "id=5,7")
        assert done.returncode == 1
        assert "ids" in done.stderr, "the inputs that there are"


class Function(torch.nn.Module):
    """A function as a program."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


CONSTANT = torch.tensor([[3.0, 1, 2], [0, 2, 1]])


class TestFunctions:
    """What small programs compute at sizes that they were not exported with."""

    FUNCTIONS = {
        "roll by more than there is": lambda x: x.roll(5, 1),
        "roll back by more than there is": lambda x: x.roll(-5, 1),
        "one result twice": lambda x: (x + 1,) * 2,
        "slice of nothing": lambda x: (torch.cat([x, x[:, :0]], 1), x[:, :0].sum(1)),
        "integers that wrap around": lambda x: (x.abs().clamp(max=2) * 100).to(torch.uint8) - 100,
        "axes that change places": lambda x: x.swapaxes(0, 1).swapdims(1, 0) * 2,
        "positions": lambda x: x + torch.arange(x.shape[1]),
        "every second position": lambda x: torch.arange(0, x.shape[1], 2),
        "a scale by the root of a size": lambda x: (x * x.shape[1] ** -0.5, x * (x.shape[1] / 2)),
        "a diagonal": lambda x: torch.einsum("bii->bi", x[:, None, :3] * x[:, :3, None]),
        "averages of what meets": lambda x: torch.zeros_like(x).scatter_reduce(1, (x > 0).long(), x, "mean"),
        "averages with what was there": lambda x: x.scatter_reduce(
            1, (x > 0).long(), x, "mean", include_self=False),
        "the largest, and all in order": lambda x: (x.topk(2, 1)[0], x.sort(1)[0]),
        "products of integers": lambda x: (x * 9).long() @ (x * 9).long().T,
        "constants beside results": lambda x: (x + 1, torch.ones(3), torch.tensor(2.5)),
        "scores with a mask": lambda x: (x.masked_fill(x > 0, float("-inf")), x),
        "a constant joined with itself": lambda x: (
            x * torch.cat([CONSTANT, CONSTANT, CONSTANT + 1]).sum(),
            torch.cat([torch.cat([CONSTANT, CONSTANT], 1)[:, :1].expand(2, x.shape[1]), x]),
        ),
        "logarithms near 1": lambda x: (torch.log1p(x * 1e-6), torch.atanh(x * 1e-5), torch.asinh(x * 1e-5)),
    }

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_agree_with_pytorch(self, tmp_path, name):
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

        model = Function(self.FUNCTIONS[name]).eval()
        sizes = {0: torch.export.Dim("batch", min=2), 1: torch.export.Dim("length", min=4)}
        program = torch.export.export(model, (torch.randn(4, 9),), dynamic_shapes={"x": sizes})
        torch.export.save(program, tmp_path / "net.pt2")
        for environment in ({}, {"TAPER_LITERT": "/nonexistent"}):
            done = run(tmp_path, "convert", "net.pt2", environment=environment)
            assert done.returncode == 0, done.stdout + done.stderr
        torch.manual_seed(0)
        for shape in ((3, 4), (2, 20), (2, 5)):
            x = torch.randn(shape)
            found = Interpreter(str(tmp_path / "net_fp32.tflite")).get_signature_runner()(x=x.numpy())
            expected = model(x)
            for i, tensor in enumerate(expected if isinstance(expected, tuple) else (expected,)):
                output = found["output" if i == 0 else f"output_{i}"]
                assert output.shape == tuple(tensor.shape)
                np.testing.assert_allclose(output, tensor.numpy(), rtol=1e-6)

    def test_free_batches_and_steps_of_attention(self, tmp_path):
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

        model = Function(torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)).eval()
        torch.export.save(torch.export.export(model, (torch.randn(1, 10, 16),)), tmp_path / "net.pt2")
        done = run(tmp_path, "convert", "net.pt2", "--dynamic", "x:0", "--dynamic", "x:1", "--to", "tflite")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "nothing proves that the size 'x_1'" in done.stderr
        assert "'x_0'" not in done.stderr, "a batch is proven"
        for shape in ((3, 7, 16), (1, 20, 16)):
            x = torch.randn(shape)
            found = Interpreter(str(tmp_path / "net_fp32.tflite")).get_signature_runner()(x=x.numpy())
            np.testing.assert_allclose(found["output"], model(x).detach().numpy(), atol=1e-4)

    def test_do_not_free_the_steps_of_a_loop(self, tmp_path):
        def running(x):
            total = x[:, 0]
            for step in range(1, x.shape[1]):
                total = torch.tanh(total + x[:, step])
            return total

        torch.export.save(torch.export.export(Function(running).eval(), (torch.randn(2, 7),)), tmp_path / "net.pt2")
        done = run(tmp_path, "convert", "net.pt2", "--dynamic", "x:1")
        assert done.returncode == 1
        assert "a loop that the export unrolled" in done.stderr

    def test_divide_by_a_freed_size_and_tell_of_what_stays(self, tmp_path):
        for name, function in {
            "mean": lambda x: x.sum(1) / x.shape[1],
            "scaled": lambda x: x.sum(1) * x.shape[1] ** 0.5,
        }.items():
            program = torch.export.export(Function(function).eval(), (torch.randn(2, 7),))
            torch.export.save(program, tmp_path / f"{name}.pt2")
        done = run(tmp_path, "convert", "mean.pt2", "--dynamic", "x:1", "--to", "tflite")
        assert done.returncode == 0
        assert "a literal 7 of div is taken as the freed size 'x_1'" in done.stderr
        done = run(tmp_path, "convert", "scaled.pt2", "--dynamic", "x:1", "--to", "tflite")
        assert "stays as it is, though it may come of the freed size 'x_1'" in done.stderr


class Halves(torch.nn.Module):
    """Reshapes by parts of an open size."""

    def forward(self, x):
        return x.reshape(x.shape[0], 3, x.shape[2] // 2, 2).sum(-1), x.view(x.shape[0], 3, 2, -1).mean(2)


class GlobalPools(torch.nn.Module):
    """Windows as large as the image."""

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x, x.size()[2:]), torch.nn.functional.max_pool2d(x, [x.size(2), 1])


class Unpooled(torch.nn.Module):
    """Values that go back to where the largest stood, and sums of windows."""

    def forward(self, x):
        functional = torch.nn.functional
        pooled, places = functional.max_pool2d(x, 3, 2, 1, ceil_mode=True, return_indices=True)
        columns = functional.unfold(x, 3, padding=1, stride=2)
        return pooled, places, functional.fold(columns, x.shape[2:], 3, padding=1, stride=2)


class Derived(torch.nn.Module):
    """Two inputs, one of which is one longer than twice the other."""

    def forward(self, x, y):
        return x[:, 1::2] + y


class Chosen(torch.nn.Module):
    """A branch by a size, an entry and a factor that inputs say."""

    def forward(self, x, n):
        y = torch.cond(x.shape[0] > 4, lambda x: x.sin(), lambda x: x * 2, (x,))
        k = n.item()
        torch._check(k >= 0)
        torch._check(k < x.shape[1])
        return y * n.item(), x.select(1, k), x.clamp(max=x.mean().item())


def runs_of(folder, stem):
    """The written TFLite and ONNX file as functions of inputs by name, which give outputs by name."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    lite = Interpreter(str(folder / f"{stem}_fp32.tflite")).get_signature_runner()
    session = onnxruntime.InferenceSession(str(folder / f"{stem}.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return (lambda inputs: lite(**inputs), lambda inputs: dict(zip(names, session.run(names, inputs), strict=True)))


class TestOpenSizes:
    """Programs whose sizes are open, at other sizes than those of the export."""

    AUTO = torch.export.Dim.AUTO
    STEPS = torch.export.Dim("steps", min=2)
    IMAGES = {"x": {0: AUTO, 2: AUTO, 3: AUTO}}
    CASES = {
        "halves": (Halves(), [(2, 3, 12)], {"x": {0: AUTO, 2: AUTO}}, [[(3, 3, 8)], [(1, 3, 18)]]),
        "unpooled": (Unpooled(), [(2, 3, 8, 9)], IMAGES, [[(1, 3, 7, 12)], [(3, 3, 10, 5)]]),
        "pairs": (Function(lambda x: x[:, ::2] * x[:, 1::2]), [(2, 6)], {"x": {0: AUTO, 1: AUTO}}, [[(3, 10)]]),
        "derived": (Derived(), [(2, 13), (2, 6)], {"x": {1: 2 * STEPS + 1}, "y": {1: STEPS}}, [[(2, 9), (2, 4)]]),
    }

    @pytest.mark.parametrize("name", CASES)
    def test_agree_with_pytorch(self, tmp_path, name):
        model, sizes, dynamic, others = self.CASES[name]
        inputs = tuple(torch.randn(size) for size in sizes)
        torch.export.save(torch.export.export(model, inputs, dynamic_shapes=dynamic), tmp_path / "net.pt2")
        done = run(tmp_path, "convert", "net.pt2", "--to", "onnx,tflite")
        assert done.returncode == 0, done.stdout + done.stderr
        for shapes in others:
            self.compare(tmp_path, model, dict(zip(dynamic, map(torch.randn, shapes), strict=True)))

    def test_need_no_guards_where_reshapes_tell(self, tmp_path):
        model, sizes, dynamic, others = self.CASES["halves"]
        inputs = tuple(torch.randn(size) for size in sizes)
        torch.export.save(torch.export.export(model, inputs, dynamic_shapes=dynamic), tmp_path / "whole.pt2")
        with zipfile.ZipFile(tmp_path / "whole.pt2") as whole, zipfile.ZipFile(tmp_path / "net.pt2", "w") as net:
            for name in whole.namelist():
                data = whole.read(name)
                if name.endswith("models/model.json"):
                    program = json.loads(data)
                    assert program.pop("guards_code"), "PyTorch 2.9 on"
                    data = json.dumps(program)
                net.writestr(name, data)
        done = run(tmp_path, "convert", "net.pt2", "--to", "onnx,tflite")
        assert done.returncode == 0, done.stdout + done.stderr
        self.compare(tmp_path, model, {"x": torch.randn(others[0][0])})

    @staticmethod
    def compare(folder, model, given):
        expected = model(**given)
        for found in (run_file({k: v.numpy() for k, v in given.items()}) for run_file in runs_of(folder, "net")):
            for i, tensor in enumerate(expected if isinstance(expected, tuple) else (expected,)):
                output = found["output" if i == 0 else f"output_{i}"]
                np.testing.assert_allclose(output, tensor.numpy(), rtol=1e-5, atol=1e-5)

    def test_that_only_inputs_tell_choose(self, tmp_path):
        model = Chosen()
        program = torch.export.export(
            model, (torch.randn(3, 6), torch.tensor(2)), dynamic_shapes={"x": {0: self.AUTO}, "n": None}
        )
        torch.export.save(program, tmp_path / "net.pt2")
        done = run(tmp_path, "convert", "net.pt2", "--to", "onnx,tflite")
        assert done.returncode == 0, done.stdout + done.stderr
        for rows, n in ((7, 5), (2, 0)):
            self.compare(tmp_path, model, {"x": torch.randn(rows, 6), "n": torch.tensor(n)})

    @pytest.mark.parametrize("scripted", [True, False])
    def test_global_pools_follow_the_image(self, tmp_path, scripted):
        model, x = GlobalPools(), torch.randn(1, 3, 8, 10)
        if scripted:
            torch.jit.save(torch.jit.script(model), tmp_path / "net.pt")
            options = ["net.pt", "--input-shape", "x=b,3,h,w"]
        else:
            torch.export.save(torch.export.export(model, (x,)), tmp_path / "net.pt2")
            options = ["net.pt2", *(flag for axis in (0, 2, 3) for flag in ("--dynamic", f"x:{axis}"))]
        done = run(tmp_path, "convert", *options, "--to", "onnx,tflite")
        assert done.returncode == 0, done.stdout + done.stderr
        assert scripted or "are taken as the whole axis" in done.stderr
        self.compare(tmp_path, model, {"x": torch.randn(2, 3, 5, 7)})


class TestModules:
    def test_are_found_in_what_a_training_run_saves(self, tmp_path):
        model = torch.nn.Sequential(torch.nn.Embedding(9, 5), torch.nn.Linear(5, 3))
        torch.save({"model": model, "epoch": 3}, tmp_path / "run.pt")
        done = run(tmp_path, "convert", "run.pt", "--input-shape", "input=2,5", "--input-dtype", "input=int64")
        assert done.returncode == 0, done.stderr
        assert "the module under 'model' is converted" in done.stderr

    def test_that_shorten_rows_in_their_table(self, tmp_path):
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

        model = torch.nn.Embedding(9, 5, max_norm=0.5)
        torch.save(model, tmp_path / "net.pt")
        done = run(tmp_path, "convert", "net.pt", "--input-shape", "input=2,5", "--to", "tflite")
        assert done.returncode == 0, done.stdout + done.stderr
        ids = torch.randint(0, 9, (2, 5))
        found = Interpreter(str(tmp_path / "net_fp32.tflite")).get_signature_runner()(input=ids.numpy())
        np.testing.assert_allclose(found["output"], model(ids).detach().numpy(), rtol=1e-5)


class TestWeights:
    """What files say of weights that are of no use."""

    @pytest.mark.parametrize("form", ["net.pt2", "net.pt", "net.ts"])
    def test_that_are_not_finite_are_named(self, tmp_path, form):
        model = Net().eval()
        model.layers.register_buffer("mask", torch.full((2, 2), -torch.inf))
        with torch.no_grad():
            model.layers[0].weight[1, 2] = torch.nan
            model.layers[2].bias[0] = torch.inf
        if form == "net.pt2":
            torch.export.save(torch.export.export(model, (torch.randn(2, 5),)), tmp_path / form)
        elif form == "net.ts":
            torch.jit.trace(model, torch.randn(2, 5)).save(tmp_path / form)
        else:
            torch.save(model.layers, tmp_path / form)
        shape = f"{'input' if form == 'net.pt' else 'x'}=2,5"
        done = run(tmp_path, "convert", form, "--input-shape", shape, "--no-verify", "--to", "tflite")
        assert done.returncode == 0, done.stderr
        found = done.stderr.split("weights are NaN or infinite: ")[1].splitlines()[0]
        assert "0.weight (1 of 40)" in found
        assert "2.bias (1 of 3)" in found
        assert "mask" not in found

    def test_with_the_compiler_of_torch_compile(self, tmp_path):
        torch.save(torch.compile(Net().eval()), tmp_path / "net.pt")
        done = run(tmp_path, "convert", "net.pt")
        assert done.returncode == 1
        assert "model._orig_mod" in done.stderr


class Attention(torch.nn.Module):
    """Self-attention of those that a mask leaves; padding before a sequence leaves rows without any."""

    def __init__(self, causal):
        super().__init__()
        self.causal = causal

    def forward(self, x, present):
        shape = (x.shape[0], 1, x.shape[1], x.shape[1])
        mask = present[:, None, None, :].expand(shape)
        if self.causal:
            mask = mask & torch.ones(shape[-2:], dtype=torch.bool).tril()
        return torch.nn.functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], mask)[:, 0]


class TestAttention:
    @pytest.mark.parametrize("causal", [False, True])
    def test_gives_zeros_where_a_mask_leaves_nothing(self, tmp_path, causal):
        torch.manual_seed(0)
        model = Attention(causal).eval()
        x = torch.rand(2, 5, 8)
        present = torch.tensor([[False, False, True, True, True], [False] * 5])
        expected = model(x, present)
        assert (expected[1] == 0).all(), "what PyTorch does"
        torch.export.save(torch.export.export(model, (x, present)), tmp_path / "net.pt2")
        np.savez(tmp_path / "inputs.npz", x=x.numpy(), present=present.numpy())
        results = convert(tmp_path, "net.pt2", "--verify-input", "inputs.npz")
        assert all(file["passed"] for file in results["verification"]["files"].values())
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

        runner = Interpreter(str(tmp_path / "net_fp32.tflite")).get_signature_runner()
        outputs = runner(x=x.numpy(), present=present.numpy())
        assert relative_error(outputs["output"], expected.numpy()) < 1e-4


class Saliency(torch.nn.Module):
    """How much each pixel and each weight counts for the score of the first class."""

    def __init__(self, x):
        super().__init__()
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, stride=2, padding=1), torch.nn.GroupNorm(2, 4), torch.nn.ReLU(),
            torch.nn.MaxPool2d(2), torch.nn.Conv2d(4, 6, 3, padding=1, groups=2), torch.nn.GELU(), torch.nn.AvgPool2d(2),
            torch.nn.Flatten(), torch.nn.LayerNorm(24), torch.nn.Linear(24, 5), torch.nn.LogSoftmax(-1),
        )  # fmt: skip
        weights = {name: value.detach() for name, value in network.named_parameters()}

        def score(weights, x):
            return torch.func.functional_call(network, weights, (x,))[:, 0].sum()

        self.weights = torch.nn.ParameterDict({name.replace(".", "_"): value for name, value in weights.items()})
        self.names = list(weights)
        self.step = make_fx(torch.func.grad(score, argnums=(0, 1)))(weights, x)

    def forward(self, x):
        weights = {name: self.weights[name.replace(".", "_")] for name in self.names}
        by_weight, by_pixel = self.step(weights, x)
        return {"pixels": by_pixel, **{f"layer_{name.replace('.', '_')}": value for name, value in by_weight.items()}}


class Sound(torch.nn.Module):
    """A spectrum that is turned and heard again, and what it was."""

    def __init__(self):
        super().__init__()
        self.register_buffer("window", torch.hann_window(32))
        self.turn = torch.nn.Parameter(torch.polar(torch.ones(17, 1), torch.rand(17, 1)))

    def forward(self, sound):
        spectrum = torch.stft(sound, 32, 8, window=self.window, return_complex=True)
        heard = torch.istft(spectrum * self.turn, 32, 8, window=self.window)
        return {"heard": heard, "spectrum": spectrum}


class TestSignalsAndGradients:
    def test_gradients_agree_with_pytorch(self, tmp_path):
        torch.manual_seed(3)
        x = torch.randn(2, 3, 16, 16)
        module = Saliency(x).eval()
        torch.export.save(torch.export.export(module, (x,)), tmp_path / "saliency.pt2")
        results = convert(tmp_path, "saliency.pt2")
        assert all(file["passed"] for file in results["verification"]["files"].values())
        expected = module(x)
        lite = run_lite(tmp_path / "saliency_fp32.tflite", x=x.numpy())
        other = run_onnx(tmp_path / "saliency.onnx", x=x.numpy())
        assert set(expected) == set(lite) == set(other)
        for name, value in expected.items():
            assert relative_error(lite[name], value.detach().numpy()) < 1e-4, name
            assert relative_error(other[name], value.detach().numpy()) < 1e-4, name

    @pytest.mark.parametrize("form", ["exported", "traced"])
    def test_spectra_agree_with_pytorch(self, tmp_path, form):
        torch.manual_seed(4)
        module = Sound().eval()
        path = tmp_path / ("sound.pt2" if form == "exported" else "sound.pt")
        if form == "exported":
            torch.export.save(torch.export.export(module, (torch.randn(2, 100),)), path)
        else:
            torch.jit.save(torch.jit.trace(module, (torch.randn(2, 100),), strict=False), path)
        results = convert(tmp_path, path.name)
        assert all(file["passed"] for file in results["verification"]["files"].values())
        assert any("'spectrum' is of complex numbers" in sentence for sentence in results["assumed"])
        sound = torch.randn(2, 100)
        expected = module(sound)
        for outputs in (run_lite(tmp_path / "sound_fp32.tflite", sound=sound.numpy()),
                        run_onnx(tmp_path / "sound.onnx", sound=sound.numpy())):  # fmt: skip
            assert relative_error(outputs["heard"], expected["heard"].detach().numpy()) < 1e-4
            spectrum = torch.view_as_real(expected["spectrum"]).detach().numpy()
            assert relative_error(outputs["spectrum"], spectrum) < 1e-4


class TestOperators:
    def test_all_of_core_aten_are_known(self, tmp_path):
        known = set(json.loads(run(tmp_path, "ops", "--json").stdout)["aten"])
        bases = {name.split(".")[0] for name in known}
        missing = []
        for full in torch._C._dispatch_get_all_op_names():  # noqa: SLF001  (there is no other list)
            namespace, _, name = full.partition("::")
            base, _, overload = name.partition(".")
            if namespace != "aten" or not hasattr(torch.ops.aten, base):
                continue
            packet = getattr(torch.ops.aten, base)
            overload = overload or "default"
            if overload not in packet.overloads() or torch.Tag.core not in getattr(packet, overload).tags:
                continue
            # Those that write into `out` go by the operator's name.
            if f"{base}.{overload}" not in known and not (overload == "out" and base in bases):
                missing.append(f"{base}.{overload}")
        assert not missing


class TestTorchScript:
    def test_traced_and_scripted_modules(self, tmp_path):
        torch.manual_seed(0)
        net = Net().eval()
        torch.jit.save(torch.jit.trace(net, torch.rand(2, 5)), tmp_path / "traced.pt")
        torch.jit.save(torch.jit.script(net), tmp_path / "scripted.pt")
        for name in ("traced", "scripted"):
            results = convert(tmp_path, f"{name}.pt", "--input-shape", "x=B,5")
            assert results["source_kind"] == "TorchScript"
            assert all(file["passed"] for file in results["verification"]["files"].values())

    @pytest.mark.parametrize(
        "module",
        [ComputedPlaces(), SharedStorage(), ChosenTensors(), OpenWindows(), GrownList()],
        ids=lambda module: type(module).__name__,
    )
    @pytest.mark.parametrize("shape", ["x=T,2", "x=3,2"])
    def test_what_is_written_in_branches_and_loops_is_kept(self, tmp_path, module, shape):
        program = torch.jit.script(module)
        torch.jit.save(program, tmp_path / "net.pt")
        results = convert(tmp_path, "net.pt", "--input-shape", shape)
        assert all(file["passed"] for file in results["verification"]["files"].values())
        x = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]])
        for given in (x, -x, *([torch.cat([x, x - 0.5])] if "T" in shape else [])):
            expected = program(given)
            expected = [expected] if isinstance(expected, torch.Tensor) else expected
            for outputs in (run_lite(tmp_path / "net_fp32.tflite", x=given.numpy()),
                            run_onnx(tmp_path / "net.onnx", x=given.numpy())):  # fmt: skip
                found = [outputs[name] for name in sorted(outputs)]
                for one, wanted in zip(found, expected, strict=True):
                    assert relative_error(one, wanted.numpy()) < 1e-5

    def test_shapes_that_are_missing_are_asked_for(self, tmp_path):
        torch.jit.save(torch.jit.script(Net().eval()), tmp_path / "net.pt")
        done = run(tmp_path, "convert", "net.pt")
        assert done.returncode == 1
        assert "--input-shape" in done.stderr


class Beside(torch.nn.Module):
    """A result that is as long as the batch, beside one that is always the same."""

    def __init__(self):
        super().__init__()
        self.scales = torch.nn.Parameter(torch.randn(4))

    def forward(self, x):
        number = torch.arange(x.size(0)).float()[:, None]
        return torch.cat([x, number], 1), self.scales * 2


class Steps(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(4, 6, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0]


class LeastSquares(torch.nn.Module):
    def forward(self, x, y):
        return torch.linalg.lstsq(x, y)[0]


class TestFiles:
    def test_of_longer_sequences_are_no_larger(self, tmp_path):
        network = Steps().eval()
        sizes = []
        for steps in (50, 2000):
            torch.jit.trace(network, torch.randn(1, steps, 4)).save(tmp_path / f"net{steps}.pt")
            convert(tmp_path, f"net{steps}.pt", "--input-shape", f"x=1,{steps},4")
            sizes.append((tmp_path / f"net{steps}_fp32.tflite").stat().st_size)
        assert abs(sizes[1] - sizes[0]) < 200

    @pytest.mark.parametrize("shape", ["x=B,4", "x=3,4"])
    def test_hold_results_that_are_always_the_same(self, tmp_path, shape):
        network = Beside()
        torch.jit.script(network).save(tmp_path / "net.pt")
        convert(tmp_path, "net.pt", "--input-shape", shape)
        x = torch.randn(3, 4)
        for outputs in (
            run_lite(tmp_path / "net_fp32.tflite", x=x.numpy()),
            run_onnx(tmp_path / "net.onnx", x=x.numpy()),
        ):
            found = [outputs[name] for name in sorted(outputs)]
            for one, wanted in zip(found, network(x), strict=True):
                assert np.allclose(one, wanted.detach().numpy(), atol=1e-6)

    def test_say_where_their_channels_are(self, tmp_path):
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU()).eval()
        x = torch.randn(1, 3, 9, 8)
        torch.export.save(torch.export.export(network, (x,)), tmp_path / "net.pt2")
        results = convert(tmp_path, "net.pt2", "--io-layout", "nhwc")
        assert "input 'input' is [1, 9, 8, 3], output 'output' is [1, 7, 6, 5]" in json.dumps(results)
        found = run_lite(tmp_path / "net_fp32.tflite", input=x.permute(0, 2, 3, 1).numpy())
        wanted = network(x).permute(0, 2, 3, 1).detach().numpy()
        assert relative_error(next(iter(found.values())), wanted) < 1e-5

    def test_that_cannot_be_written_name_the_nearest_form(self, tmp_path):
        torch.jit.script(LeastSquares()).save(tmp_path / "net.pt")
        done = run(tmp_path, "convert", "net.pt", "--input-shape", "x=5,4", "--input-shape", "y=5,2")
        assert done.returncode == 1
        assert "torch.linalg.pinv(A) @ B converts" in done.stderr


class TestOnnx:
    def test_a_small_model(self, tmp_path):
        weight = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [1.0, 2, 3, 4, 5, 6])
        nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])
        graph = helper.make_graph(nodes, "small", [x], [y], [weight])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
                  tmp_path / "net.onnx")  # fmt: skip
        done = run(tmp_path, "convert", "net.onnx")
        assert done.returncode == 1
        assert "is the file that is converted" in done.stderr
        (tmp_path / "out").mkdir()
        done = run(tmp_path, "convert", "net.onnx", "-o", "out")
        assert done.returncode == 0, done.stderr
        results = json.loads((tmp_path / "out/export_results.json").read_text(encoding="utf-8"))["net"]
        assert all(file["passed"] for file in results["verification"]["files"].values())


class TestStateDicts:
    def test_of_unknown_networks_are_outlined(self, tmp_path):
        torch.save(Net().state_dict(), tmp_path / "net.pt")
        done = run(tmp_path, "convert", "net.pt")
        assert done.returncode == 1
        lines = [line.strip() for line in done.stderr.splitlines()]
        assert "layers" in lines
        assert "0 Linear 5 -> 8 weight [8, 5], bias [8] float32" in " ".join(done.stderr.split())
        assert "torch.export.save(program, \"model.pt2\")" in lines
        assert max(map(len, lines)) < 500
        found = json.loads((tmp_path / "export_results.json").read_text(encoding="utf-8"))["net"]["found"]
        assert found["parts"][0]["parts"][0]["kind"] == "Linear 5 -> 8"
        shown = run(tmp_path, "inspect", "net.pt")
        assert shown.returncode == 0
        assert "Linear 8 -> 3" in shown.stdout
        every = run(tmp_path, "inspect", "-v", "net.pt").stdout
        assert "weight" in every
        assert "[3, 8] float32" in every


class TestInspect:
    def test_tells_what_a_program_is(self, mixed):
        shown = run(mixed.parent, "inspect", "mixed.pt2")
        assert shown.returncode == 0, shown.stderr
        assert "ids  int64 [" in shown.stdout
        as_json = json.loads(run(mixed.parent, "inspect", "--json", "mixed.pt2").stdout)
        assert as_json["parameters"] == 11 * 6 + 6 * 4 + 4
        assert "graph" in run(mixed.parent, "inspect", "--graph", "mixed.pt2").stdout

    def test_tells_of_arrays(self, tmp_path):
        np.savez(tmp_path / "x.npz", a=np.zeros((2, 3), np.int64))
        assert "a  int64 [2, 3]" in run(tmp_path, "inspect", "x.npz").stdout


@pytest.mark.parametrize("bound,runs", [(40.0, 2), (1e6, 1)])
def test_both_branches_are_verified_or_named(tmp_path, bound, runs):
    """Uniform numbers reach neither bound."""
    net = Function(lambda x: torch.cond(x.sum() > bound, lambda x: 2 * x + 1, lambda x: x.relu(), (x,)))
    torch.export.save(torch.export.export(net, (torch.randn(2, 4),)), tmp_path / "net.pt2")
    results = convert(tmp_path, "net.pt2", "--to", "tflite,savedmodel", "--quantize", "fp32")
    for file in results["verification"]["files"].values():
        assert len(file["runs"]) == runs
    assert any("never ran" in each for each in results["warnings"]) == (runs == 1)


def test_loops_are_verified_without_a_turn_and_with_several(tmp_path):
    class Loop(torch.nn.Module):
        def forward(self, x, n):
            for _ in range(int(n)):
                x = torch.tanh(x + 1)
            return x

    torch.jit.script(Loop()).save(tmp_path / "net.pt")
    flags = ["--input-shape", "x=4", "--input-shape", "n=", "--input-dtype", "n=int64", "--to", "tflite", "--quantize", "fp32"]
    results = convert(tmp_path, "net.pt", *flags)
    assert not any("never ran" in each for each in results["warnings"])
    assert len(results["verification"]["files"]["tflite_fp32"]["runs"]) >= 2
