"""Programs of torch.jit.script as people write decoders and recurrent networks: what the files compute is PyTorch's."""

from typing import Dict, List, NamedTuple, Optional, Tuple, Union  # noqa: UP035 - TorchScript's own names

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from runtimes import assert_files_agree
from test_convert import run

MODELS = {}


def network(shapes, *given):
    """Registers a class with the flags of its inputs and the shapes (or numbers) of inputs to compare at."""

    def add(model):
        MODELS[model.__name__] = (model, shapes, given)
        return model

    return add


OPEN = ("x=B,T,4",)
LENGTHS = (((2, 5, 4),), ((1, 1, 4),), ((3, 7, 4),))


@network(OPEN, *LENGTHS)
class UntilLongEnough(nn.Module):
    def forward(self, x):
        h = torch.zeros_like(x[:, 0])
        ys: List[Tensor] = []
        while len(ys) < x.size(1):
            h = torch.tanh(h + x[:, len(ys)])
            ys.append(h)
        return torch.stack(ys, 1)


@network(OPEN, *LENGTHS)
class CountsByHand(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = []
        h = x[:, 0]
        i, last = 0, x.size(1) - 1
        while i < x.size(1):
            h = torch.tanh(h + x[:, i] - x[:, last - i])
            ys += [h, h * 2]
            i += 1
        every_second: List[Tensor] = []
        i = last
        while i >= 0:
            every_second.append(x[:, i])
            i = i - 2
        return torch.stack(ys, 1), torch.stack(every_second, 1)


@network(OPEN, *LENGTHS)
class FromBehind(nn.Module):
    """Lists that grow before their first item, in place and anew."""

    def forward(self, x):
        ys: List[Tensor] = [x[:, 0]]
        zs: List[Tensor] = []
        for t in range(x.size(1) - 1, -1, -1):
            ys.insert(0, torch.tanh(ys[0] + x[:, t]) + ys[-1])
            zs = [x[:, t] * 2] + zs  # noqa: RUF005
        last = zs.pop()
        return torch.stack(ys, 1), torch.stack(zs + [last, last * 2], 1), last  # noqa: RUF005


@network(OPEN, *LENGTHS)
class ReadsItsItems(nn.Module):
    """The list is the state."""

    def forward(self, x):
        ys: List[Tensor] = [x[:, 0], x[:, 0] * 0]
        for t in range(x.size(1)):
            ys.append(torch.tanh(ys[-1] * 0.5 - ys[-2] * 0.3 + x[:, t] + ys[t // 2]))
        return torch.stack(ys[2:], 1)


@network(("x=1,T,4",), ((1, 5, 4),), ((1, 1, 4),))
class Tokens(nn.Module):
    """Greedy decoding into a list of numbers."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)

    def forward(self, x):
        tokens: List[int] = [4]
        for t in range(x.size(1)):
            before = self.embedding(torch.tensor([tokens[-1]]))[0]
            tokens.append(int((x[0, t] + before).argmax()))
        return torch.tensor(tokens)


@network(OPEN, *LENGTHS)
class BothBranchesAppend(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = []
        h = torch.zeros_like(x[:, 0])
        for t in range(x.size(1)):
            h = h + x[:, t]
            if bool(h.sum() > 0):
                ys.append(h)
            else:
                ys.append(h * 0)
        return torch.stack(ys, 1)


@network(OPEN, *LENGTHS)
class AppendsAtTimes(nn.Module):
    """One branch alone adds items, of which the data says how many there are: in a loop, and before it."""

    def forward(self, x):
        ys = [x[:, 0]]
        if bool(x[:, 0].sum() > 0):
            ys.append(x[:, 0] * 3)
        for t in range(x.size(1)):
            if bool(x[:, t].sum() > 0):
                ys.append(x[:, t])
                ys.append(x[:, t] * 2 + ys[-1] + len(ys))
        return torch.stack(ys, 1)


@network(("x=1,T,4",), ((1, 5, 4),), ((1, 9, 4),))
class CollapsesTokens(nn.Module):
    """Greedy decoding of CTC."""

    def forward(self, x):
        tokens: List[int] = []
        before = 0
        for t in range(x.size(1)):
            token = int(x[0, t].argmax())
            if token not in [0, before]:  # noqa: PLR6201
                tokens.append(token)
            before = token
        return torch.tensor(tokens)


@network(OPEN, *LENGTHS)
class NoStateAtFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        state: Optional[Tuple[Tensor, Tensor]] = None
        held: Dict[str, Tensor] = {}
        ys: List[Tensor] = []
        for t in range(x.size(1)):
            y, state = self.cells(x[:, t : t + 1], state)
            held["y"] = held["y"] * 0.5 + y if "y" in held else y
            ys.append(held["y"])
        return torch.cat(ys, 1)


@network(OPEN, *LENGTHS)
class PerhapsNone(nn.Module):
    """What is None until the data says otherwise, in a loop and after it."""

    def forward(self, x):
        held: Optional[Tensor] = None
        y = torch.zeros_like(x[:, 0])
        for t in range(x.size(1)):
            if bool(x[:, t].sum() > 0):
                held = x[:, t] * 2
            if held is not None:
                y = y * 0.5 + held
        if held is None:
            held = x[:, 0] - 1
        return y, held


class Step(NamedTuple):
    frame: Tensor
    stop: Tensor


@network(("x=1,T,4",), ((1, 5, 4),), ((1, 2, 4),))
class UntilItStops(nn.Module):
    """Tacotron's decoder: frames until a gate says stop, at most nine."""

    def __init__(self):
        super().__init__()
        self.cell, self.frame, self.gate = nn.GRUCell(3, 4), nn.Linear(4, 3), nn.Linear(4, 1)

    def step(self, h: Tensor) -> Step:
        return Step(self.frame(h), self.gate(h * 4))

    def forward(self, x):
        h, frame = x.mean(1), torch.zeros(1, 3)
        frames: List[Tensor] = []
        while True:
            h = self.cell(frame, h)
            frame, stop = self.step(h)
            frames.append(frame)
            if bool(torch.sigmoid(stop) > 0.5):  # noqa: SIM114
                break
            elif len(frames) == 9:  # noqa: RET508
                break
        return torch.stack(frames, 1)


@network(("x=B,6",), ((2, 6),), ((3, 6),))
class UntilAllAreDone(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.cell, self.out = nn.Embedding(6, 6), nn.GRUCell(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        h, token = x, torch.zeros(x.size(0), dtype=torch.long)
        done = token > 0
        tokens: List[Tensor] = []
        while len(tokens) < 8 and not bool(done.all()):
            h = self.cell(self.embedding(token), h)
            token = torch.where(done, 0, self.out(h).argmax(1))
            done = done | (token == 2)
            tokens.append(token)
        return torch.stack(tokens, 1)


@network(("x=2,6,4",), ((2, 6, 4), 3), ((2, 6, 4), 1), ((2, 6, 4), 6))
class AsOftenAsSaid(nn.Module):
    def forward(self, x, n: int):
        ys: List[Tensor] = []
        for t in range(n):
            ys.append(x[:, t] * 2)
        return torch.stack(ys, 1)


@network(OPEN, *LENGTHS)
class GrowsByCat(nn.Module):
    def forward(self, x):
        ys = x[:, :1]
        zs = torch.zeros(x.size(0), 4, 0)
        for t in range(x.size(1)):
            ys = torch.cat([ys, torch.tanh(ys[:, -1] + x[:, t]).unsqueeze(1)], 1)
            zs = torch.cat([x[:, t].unsqueeze(2) * ys.size(1), zs], -1)
        return ys, zs


@network(("x=2,T,4",), ((2, 5, 4), 3), ((2, 5, 4), 9), ((2, 5, 4), 0), ((2, 5, 4), -2))
class PartsThatMayBeCutShort(nn.Module):
    def forward(self, x, n: int):
        y = x.clone()
        y[:, n:] = 0.0
        y[:, :n] *= 2
        inside = max(0, min(n, x.size(1) - 1))
        return x[:, :n] * 3, x[:, n : n + 2].sum(1), x[:, inside : inside + 1].squeeze(1), y


@network(OPEN, *LENGTHS)
class WritesFromThereOn(nn.Module):
    """Prefixes and suffixes of each step's length."""

    def forward(self, x):
        y, out = x.clone(), torch.zeros_like(x)
        for t in range(x.size(1)):
            y[:, t:] += 1
            past = x[:, : t + 1]
            weights = (past @ x[:, t].unsqueeze(2)).softmax(1)
            out[:, t] = (weights * past).sum(1)
        return y, out


@network(OPEN, *LENGTHS)
class HoldsItsState(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.h = torch.zeros(1)

    def forward(self, x):
        self.h = torch.zeros(x.size(0), 4)
        for t in range(x.size(1)):
            if bool(x[:, t].sum() > -2):
                self.h = torch.tanh(self.linear(x[:, t]) + self.h)
        return self.h


@network(("x=2,4",), ((2, 4),))
class OneOfSeveralTypes(nn.Module):
    def forward(self, x: Union[Tensor, List[Tensor]]):
        if isinstance(x, Tensor):
            factors: List[float] = x[0].tolist()
            weights: List[List[int]] = torch.tensor([[1, 2], [3, 4]]).tolist()
            return x * factors[1] + factors[3] * weights[1][0]
        return torch.stack(x)


def compare(folder, program, given):
    arguments = [torch.randn(one) if isinstance(one, tuple) else one for one in given]
    expected = program(*[one.clone() if isinstance(one, Tensor) else one for one in arguments])
    named = {name: np.asarray(one) for name, one in zip(("x", "n"), arguments, strict=False)}
    assert_files_agree(folder, named, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_pytorch(tmp_path, name):
    torch.manual_seed(0)
    model, shapes, given = MODELS[name]
    program = torch.jit.script(model().eval())
    program.save(tmp_path / "net.pt")
    flags = [flag for shape in shapes for flag in ("--input-shape", shape)]
    done = run(tmp_path, "convert", "net.pt", *flags, "--quantize", "fp32")
    assert done.returncode == 0, done.stdout + done.stderr
    for one in given:
        for _ in range(2):
            compare(tmp_path, program, one)


class AppendsWhatItWritesTo(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = []
        h = torch.zeros_like(x[:, 0])
        for t in range(x.size(1)):
            h += x[:, t]
            ys.append(h)
        return torch.stack(ys, 1)


class EndsWhenItLikes(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = []
        while bool(x.sum() < 3):
            x = x * 2
            ys.append(x)
        return torch.stack(ys, 1)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (AppendsWhatItWritesTo, "may share elements with another tensor"),
        (EndsWhenItLikes, "it isn't known how often it runs at most"),
    ],
)
def test_says_what_it_refuses(tmp_path, model, said):
    torch.jit.script(model()).save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--input-shape", "x=B,T,4")
    assert done.returncode != 0
    assert said in done.stdout + done.stderr


class Rows(nn.Module):
    def forward(self, x):
        b, t, c = x.shape
        return x.reshape(b * t, c).cumsum(1).view(b, t, c)


class Steps(nn.Module):
    def forward(self, x):
        h = torch.zeros(1, 4)
        for t in range(5):
            h = torch.tanh(h + x[:, t])
        return h


def test_opens_axes_of_fixed_shapes(tmp_path):
    program = torch.jit.script(Rows())
    program.save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--input-shape", "x=2,5,4", "--dynamic", "x:1", "--quantize", "fp32")
    assert done.returncode == 0, done.stdout + done.stderr
    for shape in ((2, 5, 4), (2, 7, 4)):
        compare(tmp_path, program, (shape,))


@pytest.mark.parametrize(
    ("axis", "said"), [("x:1", "a loop that tracing unrolled"), ("x:2", "save torch.jit.script(model)")]
)
def test_says_why_a_traced_axis_stays_fixed(tmp_path, axis, said):
    torch.jit.trace(Steps(), torch.randn(2, 5, 4)).save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--dynamic", axis)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
