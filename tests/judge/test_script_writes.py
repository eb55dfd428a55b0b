"""Programs of torch.jit.script that write to what others hold too: what grows in loops, items of lists, parts."""

import time
from typing import List  # noqa: UP035 - TorchScript's own name

import pytest
import torch
from torch import Tensor, nn

from test_convert import run
from test_script_sizes import compare

CONVERTED = {}
REFUSED = {}
LENGTHS = ((2, 5, 4), (1, 1, 4), (3, 9, 4), (2, 8, 4))


def converted(model):
    CONVERTED[model.__name__] = model
    return model


def refused(said):
    def add(model):
        REFUSED[model.__name__] = (model, said)
        return model

    return add


SHARES = "may share elements"
ITEM = "an item of a list is written to"


@converted
class HalvesWhatGrows(nn.Module):
    def forward(self, x):
        y = x[:, :1]
        for t in range(x.size(1)):
            y = torch.cat([y, x[:, t : t + 1]], 1)
            y.mul_(0.5)
        return y, x


@converted
class ClampsAndReadsWhatGrows(nn.Module):
    def forward(self, x):
        y = x[:, :1].clone()
        s = x[:, 0] * 0
        for t in range(x.size(1)):
            y = torch.cat([y, x[:, t : t + 1]], 1)
            y.clamp_(-0.1, 0.1)
            s = s + y.sum(1)
        return s


@converted
class FillsWhatGrowsByAMask(nn.Module):
    def forward(self, x):
        y = x[:, :1] * 1
        z = x[:, :1] * 1
        for t in range(x.size(1)):
            y = torch.cat([y, x[:, t : t + 1]], 1)
            z = torch.cat([z, x[:, t : t + 1]], 1)
            y.masked_fill_(y < 0, 0.0)
            z[z < 0] = 0.5
        return y, z


@converted
class SetsPartsOfWhatGrows(nn.Module):
    def forward(self, x):
        y = x[:, :1].clone()
        z = x[:, :1].clone()
        for t in range(x.size(1)):
            y = torch.cat([y, x[:, t : t + 1]], 1)
            y[:, :-1] = y[:, :-1] + 1.0
            z = torch.cat([z, x[:, t : t + 1]], 1)
            z[:, :, 0] = 1.0
        return y, z


@converted
class SetsEntriesOfWhatGrows(nn.Module):
    """Entries of iterations before."""

    def forward(self, x):
        y = x[:, :1].clone()
        for t in range(x.size(1)):
            y = torch.cat([y, x[:, t : t + 1]], 1)
            y[:, 0] = 5.0
            y[:, -2].add_(1)
        return y


@converted
class SeesWhatIsWrittenByAnotherName(nn.Module):
    def forward(self, x):
        y = x[:, :1] * 1
        s = x[:, 0] * 0
        for t in range(x.size(1)):
            y = torch.cat([y, x[:, t : t + 1]], 1)
            z = y
            part = y[:, 1:]
            y += 1
            part *= 2
            s = s + z.sum(1)
        return s, y


@converted
class WritesToWhatGrowsInABranch(nn.Module):
    def forward(self, x):
        y = x[:, :1] * 1
        for t in range(x.size(1)):
            y = torch.cat([y, x[:, t : t + 1]], 1)
            if bool(x[0, t, 0] > 0):
                y.mul_(0.5)
        return y


@converted
class WritesToWhatGrowsInFront(nn.Module):
    def forward(self, x):
        y = x[:, :1] * 1
        for t in range(x.size(1)):
            y = torch.cat([x[:, t : t + 1], y], 1)
            y.mul_(0.5)
        return y


@converted
class WritesToAnOlderItem(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = [x[:, 0].clone()]
        for t in range(x.size(1)):
            ys.append(x[:, t] * 1)
            ys[0].add_(1)
            ys[-2].mul_(0.5)
        return torch.stack(ys, 1)


@converted
class SetsWhatItAppended(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = []
        for t in range(x.size(1)):
            ys.append(x[:, t])
            ys[-1] = x[:, t] * 2
        return torch.stack(ys, 1)


@converted
class WritesToOneOfMany(nn.Module):
    """Which all are one tensor."""

    def forward(self, x):
        h = x[:, 0] * 1
        ys = [h] * x.size(1)
        for t in range(x.size(1)):
            ys[t] += x[:, t]
        ys[0].mul_(0.5)
        h.add_(1)
        return torch.stack(ys, 1), h


@converted
class CountsPartsFromTheEnd(nn.Module):
    def forward(self, x):
        parts = x.split(4, 1)
        s = x[:, 0] * 0
        for i in range(len(parts)):
            s = s * 0.5 + parts[-1 - i].sum(1)
        return s + parts[-1].sum(1)


@converted
class CountsWhatIsShorterAtTheEnd(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = []
        for i in range(0, x.size(1), 4):
            ys.append(x[:, i : i + 4])
        return torch.cat(ys, 1) * len(ys)


def bump(x: Tensor) -> bool:
    x.add_(1)
    return x.size(1) < 100


@converted
class ConditionThatWrites(nn.Module):
    def forward(self, x):
        x = x * 1
        if x.size(1) > 3 and bump(x):
            y = x * 2
        else:
            y = x
        return y


@refused(SHARES)
class WritesToWhatUnevenPartsAreCutFrom(nn.Module):
    def forward(self, x):
        x = x * 1
        ys: List[Tensor] = []
        for i in range(0, x.size(1), 4):
            ys.append(x[:, i : i + 4])
        x.add_(1)
        return torch.cat(ys, 1)


@refused(SHARES)
class WritesMeanwhileToWhatUnevenPartsAreCutFrom(nn.Module):
    def forward(self, x):
        x = x * 1
        ys: List[Tensor] = []
        for i in range(0, x.size(1), 4):
            ys.append(x[:, i : i + 4])
            x[:, 0].add_(1)
        return torch.cat(ys, 1)


@refused(SHARES)
class WritesAfterALoopThatEndsItself(nn.Module):
    def forward(self, x):
        x = x * 1
        ys: List[Tensor] = []
        i = 0
        while i < x.size(1) and bool(x[0, 0, 0] < 1e9):
            ys.append(x[:, i])
            i += 1
        x.add_(1)
        return torch.stack(ys, 1)


@refused(SHARES)
class WritesToWhatAListBeginsWith(nn.Module):
    def forward(self, x):
        x = x * 1
        ys: List[Tensor] = [x[:, 0]]
        for t in range(x.size(1)):
            ys.append(x[:, t] * 2)
        x.add_(1)
        return torch.stack(ys, 1)


@converted
class WritesToWhatATensorMayBe(nn.Module):
    """Of one step, y is a part of x."""

    def forward(self, x):
        x = x * 1
        y = x[:, :1]
        for t in range(1, x.size(1)):
            y = torch.cat([y, x[:, t : t + 1]], 1)
        y.add_(1)
        return x


@converted
class WritesBeforeItGrows(nn.Module):
    """The first iteration writes to x."""

    def forward(self, x):
        x = x * 1
        y = x[:, :1]
        s = x[:, 0] * 0
        for t in range(x.size(1)):
            y.mul_(0.5)
            y = torch.cat([y, x[:, t : t + 1]], 1)
            s = s + y.sum(1)
        return s, x


@refused(ITEM)
class AppendsToMany(nn.Module):
    def forward(self, x):
        h = x[:, 0] * 1
        ys = [h] * x.size(1)
        ys.append(x[:, 0] * 2)
        h.add_(1)
        return torch.stack(ys, 1)


@refused(ITEM)
class JoinsMany(nn.Module):
    def forward(self, x):
        h = x[:, 0] * 1
        ys = [h] * x.size(1) + [x[:, 0] * 2]
        h.add_(1)
        return torch.stack(ys, 1)


@refused(ITEM)
class WritesToWhatItPops(nn.Module):
    def forward(self, x):
        h = x[:, 0] * 1
        ys: List[Tensor] = []
        if bool(x.sum() > -1e9):
            ys.append(h)
        t = ys.pop()
        t.add_(1)
        return h


@converted
class WritesToTheFirstItem(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = []
        for t in range(x.size(1)):
            ys.append(x[:, t] * 1)
            ys[0].add_(1)
        return torch.stack(ys, 1)


@refused("holds something else after an iteration")
class SetsAnOlderItem(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = [x[:, 0]]
        for t in range(x.size(1)):
            ys.append(x[:, t])
            ys[0] = x[:, t] * 2
        return torch.stack(ys, 1)


@refused("different sizes")
class PartsThatLeaveGaps(nn.Module):
    def forward(self, x):
        s = x[:, 0] * 0
        ys: List[Tensor] = []
        for i in range(0, x.size(1), 4):
            s = s + x[:, i : i + 4].sum(1)
            ys.append(x[:, i : i + 3])
        return torch.cat(ys, 1) + s.unsqueeze(1)


@refused("in a way that can't be followed")
class WritesToAPlaceThatIsComputed(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = []
        for t in range(x.size(1)):
            ys.append(x[:, t] * 1)
            ys[t // 2].add_(1)
        return torch.stack(ys, 1)


@refused("at a place that depends on data")
class SetsAPlaceThatIsComputed(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = [x[:, 0]]
        for t in range(x.size(1)):
            ys.append(x[:, t])
            ys[t] = x[:, t] * 2
        return torch.stack(ys, 1)


@refused("'is_contiguous'")
class AsksForTheOrderOfElements(nn.Module):
    def forward(self, x):
        if x.size(1) > 4:
            y = x[:, :4].transpose(1, 2).contiguous().transpose(1, 2) * 1
        else:
            y = x * 1
        if y.is_contiguous():
            y = y + 1
        return y


@converted
class ReplacesParts(nn.Module):
    def forward(self, x):
        ys = x.split(4, 1)
        for t in range(x.size(1)):
            ys = [x[:, t : t + 1] * 2, x[:, t : t + 1]]
        return ys[0]


@refused("changes in a loop")
class ReplacesWhatABranchFilled(nn.Module):
    def forward(self, x):
        ys = [x[:, 0]]
        if bool(x.sum() > 0):
            ys.append(x[:, 0] * 2)
        for t in range(x.size(1)):
            ys = ys + [x[:, t] * 2]  # noqa: RUF005
        return torch.stack(ys, 1)


@refused("in the other")
class ManyBranchesOnSizes(nn.Module):
    def forward(self, x):
        y = x
        for i in range(14):
            if y.size(1) > 3 + i:
                y = y[:, 1:]
        return y


@pytest.mark.parametrize("name", CONVERTED)
def test_agrees_with_pytorch(tmp_path, name):
    torch.manual_seed(0)
    program = torch.jit.script(CONVERTED[name]().eval())
    program.save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--input-shape", "x=B,T,4", "--quantize", "fp32")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are right where" not in done.stdout + done.stderr
    for shape in LENGTHS:
        for _ in range(2):
            compare(tmp_path, program, (shape,))


@pytest.mark.parametrize("name", REFUSED)
def test_says_what_it_refuses(tmp_path, name):
    model, said = REFUSED[name]
    torch.jit.script(model()).save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--input-shape", "x=B,T,4")
    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    assert len(done.stderr) < 1000


class TakesTheSecondPart(nn.Module):
    def forward(self, x):
        return x.split(4, 1)[1].sum(1)


def test_says_how_many_parts_it_takes_for_granted(tmp_path):
    program = torch.jit.script(TakesTheSecondPart())
    program.save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--input-shape", "x=B,T,4", "--quantize", "fp32")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "there are 2 parts at least" in done.stdout + done.stderr
    compare(tmp_path, program, ((2, 9, 4),))


class PadsWhatGrows(nn.Module):
    def forward(self, x):
        y = x[:, :1]
        for t in range(x.size(1)):
            z = torch.cat([y, torch.zeros(1, 20000, 4)], 1)
            y = torch.cat([y, x[:, t : t + 1] + z.sum()], 1)
        return y


def test_does_not_add_many_entries_one_by_one(tmp_path):
    torch.jit.script(PadsWhatGrows()).save(tmp_path / "net.pt")
    begin = time.monotonic()
    done = run(tmp_path, "inspect", "net.pt", "--input-shape", "x=1,T,4", "--graph")
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - begin < 5
    assert len(done.stdout) < 100000
