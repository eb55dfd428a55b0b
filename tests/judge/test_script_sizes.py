"""Programs of torch.jit.script whose sizes differ: between branches, in last parts, and of what grows in loops."""

from typing import Dict, List, Optional, Tuple  # noqa: UP035 - TorchScript's own names

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from runtimes import assert_files_agree
from test_convert import run

MODELS = {}


def network(shapes, *given):
    """Registers a class with the shapes of its inputs and those (or numbers) to compare at."""

    def add(model):
        MODELS[model.__name__] = (model, shapes, given)
        return model

    return add


OPEN = ("x=B,T,4",)
ONE = ("x=1,T,4",)
LENGTHS = (((2, 5, 4),), ((1, 1, 4),), ((3, 9, 4),), ((2, 8, 4),))


@network(OPEN, *LENGTHS)
class CutsLongOnes(nn.Module):
    """Sizes of branches: the simplest that says both."""

    def forward(self, x):
        if x.shape[1] > 4:
            y = x[:, :4]
        else:
            y = x
        return y * 2


@network(OPEN, *LENGTHS)
class KeepsTheLast(nn.Module):
    def forward(self, x):
        x = x[:, -4:] if x.size(1) > 4 else x
        return x.cumsum(1)


@network(OPEN, *LENGTHS)
class PadsShortOnes(nn.Module):
    def forward(self, x):
        if x.size(1) < 6:
            x = F.pad(x, (0, 0, 0, 6 - x.size(1)))
        return x + 1


@network(OPEN, *LENGTHS)
class PadsToWindows(nn.Module):
    """Pads to multiple."""

    def forward(self, x):
        pad = (4 - x.size(1) % 4) % 4
        if pad > 0:
            x = F.pad(x, (0, 0, 0, pad))
        y = x.view(x.size(0), -1, 4, 4).sum(2)
        return y


@network(OPEN, *LENGTHS)
class PadsOrCuts(nn.Module):
    def forward(self, x):
        if x.size(1) < 6:
            z = torch.zeros(x.size(0), 6 - x.size(1), 4)
            x = torch.cat([x, z], 1)
        elif x.size(1) > 6:
            x = x[:, :6]
        return x.flatten(1)


@network(OPEN, *LENGTHS)
class InterpolatesPositions(nn.Module):
    """Positions of which there are too few are interpolated."""

    def __init__(self):
        super().__init__()
        self.pe = nn.Parameter(torch.randn(1, 6, 4))

    def forward(self, x):
        T = x.size(1)
        if T <= self.pe.size(1):
            pe = self.pe[:, :T]
        else:
            pe = F.interpolate(self.pe.transpose(1, 2), size=T, mode="linear", align_corners=False).transpose(1, 2)
        return x + pe


@network(("x=1,3,H,W",), ((1, 3, 8, 8),), ((1, 3, 9, 13),), ((1, 3, 16, 10),))
class PadsSkipConnections(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1, self.d2 = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.o = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        a = self.d1(x).relu()
        b = self.d2(F.max_pool2d(a, 2)).relu()
        u = self.up(b)
        dy = a.size(2) - u.size(2)
        dx = a.size(3) - u.size(3)
        if dy > 0 or dx > 0:
            u = F.pad(u, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.o(torch.cat([a, u], 1))


@network(OPEN, *LENGTHS)
class HalvesLongEvenOnes(nn.Module):
    def forward(self, x):
        if x.size(1) > 4 and x.size(1) % 2 == 0:
            x = x[:, ::2]
        return x * 2


@network(OPEN, *LENGTHS)
class UntilItIsSure(nn.Module):
    """Also of one step alone."""

    def forward(self, x):
        i = 0
        done = False
        h = torch.zeros_like(x[:, 0])
        while i < x.size(1) and not done:
            h = torch.tanh(h + x[:, i])
            done = bool(h.abs().sum() > 3)
            i += 1
        return h, i + h.sum()


@network(OPEN, *LENGTHS)
class StreamsParts(nn.Module):
    """Streaming chunker with state."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 3, batch_first=True)

    def forward(self, x):
        ys: List[Tensor] = []
        h = torch.zeros(1, x.size(0), 3)
        for i in range(0, x.size(1), 4):
            y, h = self.gru(x[:, i:i + 4], h)
            ys.append(y)
        return torch.cat(ys, 1)


@network(OPEN, *LENGTHS)
class AttendsWithinParts(nn.Module):
    """Chunked local attention, residual."""

    def __init__(self):
        super().__init__()
        self.a = nn.MultiheadAttention(4, 2, batch_first=True)
        self.n = nn.LayerNorm(4)

    def forward(self, x):
        outs: List[Tensor] = []
        for c in x.split(4, dim=1):
            y, _ = self.a(c, c, c)
            outs.append(self.n(c + y))
        return torch.cat(outs, dim=1) + x


@network(OPEN, *LENGTHS)
class TwoOfEachPart(nn.Module):
    def forward(self, x):
        outs: List[Tensor] = []
        for i in range(0, x.size(1), 3):
            c = x[:, i:min(i + 3, x.size(1))]
            outs.append(c * 2)
            outs.append(c.flip(1))
        return torch.cat(outs, 1).cumsum(1)


@network(OPEN, *LENGTHS)
class UpsamplesParts(nn.Module):
    """Vocoder: each chunk is upsampled."""

    def __init__(self):
        super().__init__()
        self.u = nn.ConvTranspose1d(4, 2, 4, 2, 1)

    def forward(self, x):
        outs = torch.jit.annotate(List[Tensor], [])
        t = 0
        while t < x.size(1):
            outs.append(self.u(x[:, t:t + 4].transpose(1, 2)))
            t += 4
        return torch.cat(outs, dim=-1)


@network(OPEN, *LENGTHS)
class StatesOfParts(nn.Module):
    def forward(self, x):
        h = torch.zeros(x.size(0), 4)
        for p in x.split(4, 1):
            h = torch.tanh(h + p.mean(1))
        return h


@network(OPEN, *LENGTHS)
class ConvolvesParts(nn.Module):
    """Streaming conv with left context."""

    def __init__(self):
        super().__init__()
        self.c = nn.Conv1d(4, 4, 3)

    def forward(self, x):
        ctx = torch.zeros(x.size(0), 2, 4)
        outs: List[Tensor] = []
        for i in range(0, x.size(1), 4):
            c = torch.cat([ctx, x[:, i:i + 4]], 1)
            outs.append(self.c(c.transpose(1, 2)).transpose(1, 2))
            ctx = c[:, -2:]
        return torch.cat(outs, 1)


@network(OPEN, *LENGTHS)
class FillsARepeatedList(nn.Module):
    def forward(self, x):
        T = x.size(1)
        ys = [torch.zeros(x.size(0), 4)] * T
        for t in range(T):
            ys[t] = x[:, t] * 2
        return torch.stack(ys, 1)


@network(OPEN, *LENGTHS)
class FillsFromBehind(nn.Module):
    def forward(self, x):
        T = x.size(1)
        ys: List[Tensor] = [x[:, 0]] * T
        h = torch.zeros_like(x[:, 0])
        for t in range(T - 1, -1, -1):
            h = torch.tanh(h + x[:, t])
            ys[t] = h
        return torch.stack(ys, 1)


@network(OPEN, *LENGTHS)
class FillsNumbers(nn.Module):
    def forward(self, x):
        best = [0.0] * x.size(1)
        for t in range(x.size(1)):
            best[t] = float(x[0, t].sum())
        return torch.tensor(best)


@network(("x=2,6,4", "n="), ((2, 6, 4), 3), ((2, 6, 4), 1), ((2, 6, 4), 6))
class AsManyAsATensorSays(nn.Module):
    def forward(self, x, n):
        ys: List[Tensor] = []
        while len(ys) < int(n):
            ys.append(x[:, len(ys)] * 2)
        return torch.stack(ys, 1)


@network(ONE, ((1, 5, 4),), ((1, 2, 4),), ((1, 9, 4),))
class PushesAndPops(nn.Module):
    """Stack machine: push if positive else pop."""

    def forward(self, x):
        stack: List[Tensor] = [torch.zeros(1, 4)]
        for t in range(x.size(1)):
            if bool(x[0, t].sum() > 0):
                stack.append(x[:, t] + stack[-1])
            elif len(stack) > 1:
                stack.pop()
        return stack[-1]


@network(ONE, ((1, 5, 4),), ((1, 2, 4),), ((1, 9, 4),))
class ShiftReduce(nn.Module):
    def __init__(self):
        super().__init__()
        self.red = nn.Linear(8, 4)

    def forward(self, x):
        stack: List[Tensor] = [torch.zeros(1, 4), torch.zeros(1, 4)]
        for t in range(x.size(1)):
            stack.append(x[:, t])
            if bool(x[0, t, 0] > 0) and len(stack) > 2:
                r = stack.pop()
                l = stack.pop()
                stack.append(torch.tanh(self.red(torch.cat([l, r], 1))))
        return stack[-1]


@network(OPEN, *LENGTHS)
class CachesKeys(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        k = torch.zeros(x.size(0), 0, 4)
        v = torch.zeros(x.size(0), 0, 4)
        out = torch.zeros_like(x)
        for t in range(x.size(1)):
            c = x[:, t:t + 1]
            k = torch.cat([k, self.k(c)], 1)
            v = torch.cat([v, self.v(c)], 1)
            s = torch.bmm(self.q(c), k.transpose(1, 2))
            out[:, t] = torch.bmm(s.softmax(-1), v).squeeze(1)
        return out


@network(OPEN, *LENGTHS)
class CachesOfLayers(nn.Module):
    """List of per-layer tuples of caches."""

    def __init__(self):
        super().__init__()
        self.q = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
        self.k = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])

    def forward(self, x):
        B = x.size(0)
        past: List[Tuple[Tensor, Tensor]] = []
        for _ in range(2):
            past.append((torch.zeros(B, 2, 0, 2), torch.zeros(B, 2, 0, 2)))
        outs: List[Tensor] = []
        for t in range(x.size(1)):
            h = x[:, t:t + 1]
            for i, (ql, kl) in enumerate(zip(self.q, self.k)):
                q = ql(h).view(B, 1, 2, 2).transpose(1, 2)
                kv = kl(h).view(B, 1, 2, 2).transpose(1, 2)
                k = torch.cat([past[i][0], kv], dim=2)
                v = torch.cat([past[i][1], kv * 2], dim=2)
                past[i] = (k, v)
                w = torch.matmul(q, k.transpose(-1, -2)) / 1.4
                h = h + torch.matmul(w.softmax(-1), v).transpose(1, 2).reshape(B, 1, 4)
            outs.append(h)
        return torch.cat(outs, 1)


@network(OPEN, *LENGTHS)
class CachesInAttributes(nn.Module):
    """Module holds its cache in Optional attributes."""
    k: Optional[Tensor]
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(4, 4)
        self.k = None

    def step(self, c):
        k = self.l(c)
        pk = self.k
        if pk is not None:
            k = torch.cat([pk, k], 1)
        self.k = k
        return F.scaled_dot_product_attention(c, k, k)

    def forward(self, x):
        self.k = None
        ys: List[Tensor] = []
        for t in range(x.size(1)):
            ys.append(self.step(x[:, t:t + 1]))
        return torch.cat(ys, 1)


@network(OPEN, *LENGTHS)
class CachesInDicts(nn.Module):
    """Fairseq style incremental state: cat of prev_key."""

    def __init__(self):
        super().__init__()
        self.q, self.k = nn.Linear(4, 4), nn.Linear(4, 4)

    def step(self, c: Tensor, st: Dict[str, Tensor]):
        k = self.k(c)
        if "k" in st:
            k = torch.cat([st["k"], k], 1)
        st["k"] = k
        return torch.bmm(torch.softmax(torch.bmm(self.q(c), k.transpose(1, 2)), -1), k)

    def forward(self, x):
        st: Dict[str, Tensor] = {}
        ys: List[Tensor] = []
        for t in range(x.size(1)):
            ys.append(self.step(x[:, t:t + 1], st))
        return torch.cat(ys, 1)


@network(OPEN, *LENGTHS)
class AttendsToItsPast(nn.Module):
    """List of history, stacked in the loop."""

    def __init__(self):
        super().__init__()
        self.l = nn.Linear(8, 4)

    def forward(self, x):
        hs: List[Tensor] = [x[:, 0]]
        for t in range(x.size(1)):
            m = torch.stack(hs, 1)
            a = (m @ x[:, t].unsqueeze(2)).softmax(1)
            c = (a * m).sum(1)
            hs.append(torch.tanh(self.l(torch.cat([c, x[:, t]], 1))))
        return torch.stack(hs[1:], 1)


@network(ONE, ((1, 5, 4),), ((1, 1, 4),), ((1, 9, 4),))
class RunsLayersOverAll(nn.Module):
    """Runs the whole layer over what's been generated until eos."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True)
        self.out = nn.Linear(4, 7)
        self.emb = nn.Embedding(7, 4)

    def forward(self, x):
        toks: Tensor = torch.zeros(1, 1, dtype=torch.long)
        i = 0
        done = False
        while i < 8 and not done:
            h = self.layer(torch.cat([x, self.emb(toks)], 1))
            nxt = self.out(h[:, -1]).argmax(-1, keepdim=True)
            toks = torch.cat([toks, nxt], 1)
            done = bool((nxt == 5).all())
            i += 1
        return toks


@network(OPEN, *LENGTHS)
class NormalizesByThePast(nn.Module):
    def forward(self, x):
        seen = x[:, :1]
        out = torch.zeros_like(x)
        for t in range(x.size(1)):
            seen = torch.cat([seen, x[:, t:t + 1]], dim=1)
            out[:, t] = (x[:, t] - seen.mean(1)) / (seen.std(1) + 1.0)
        return out


@network(OPEN, *LENGTHS)
class MasksWhatGrows(nn.Module):
    def forward(self, x):
        toks = x[:, :1]
        for i in range(x.size(1)):
            T = toks.size(1)
            m = torch.triu(torch.full((T, T), float("-inf")), 1)
            y = (toks @ toks.transpose(1, 2) + m).softmax(-1) @ toks
            toks = torch.cat([toks, y[:, -1:] + x[:, i:i + 1]], 1)
        return toks


@network(ONE, ((1, 5, 4),), ((1, 2, 4),), ((1, 9, 4),))
class FeedsAllTokensBack(nn.Module):
    """Int tokens in python list fed back whole."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(6, 4)
        self.out = nn.Linear(4, 6)

    def forward(self, x):
        toks: List[int] = [1]
        for i in range(x.size(1)):
            e = self.emb(torch.tensor(toks)).mean(0) + x[0, i]
            toks.append(int(self.out(e).argmax()))
        return torch.tensor(toks)


@network(("x=1,T,5",), ((1, 5, 5),), ((1, 1, 5),), ((1, 9, 5),))
class BeamSearch(nn.Module):
    def forward(self, x):
        K = 3
        lp = torch.log_softmax(x[0], -1)
        score, tok = lp[0].topk(K)
        seqs = tok.unsqueeze(1)
        for t in range(1, x.size(1)):
            tot = score.unsqueeze(1) + lp[t].unsqueeze(0)
            score, flat = tot.view(-1).topk(K)
            prev = flat // 5
            nxt = flat % 5
            seqs = torch.cat([seqs[prev], nxt.unsqueeze(1)], 1)
        return seqs, score


@network(("x=1,T,5",), ((1, 5, 5),), ((1, 1, 5),), ((1, 9, 5),))
class BeamSearchWithCache(nn.Module):
    """Beam search reorders a KV cache."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(5, 4)
        self.out = nn.Linear(4, 5)

    def forward(self, x):
        K = 3
        score = torch.zeros(K)
        tok = torch.zeros(K, dtype=torch.long)
        cache = torch.zeros(K, 0, 4)
        for t in range(x.size(1)):
            e = self.emb(tok).unsqueeze(1)
            cache = torch.cat([cache, e], 1)
            h = (torch.bmm(e, cache.transpose(1, 2)).softmax(-1) @ cache).squeeze(1)
            lp = torch.log_softmax(self.out(h) + x[0, t], -1)
            tot = (score.unsqueeze(1) + lp + torch.arange(3).unsqueeze(1) * 0.01).view(-1)
            score, flat = tot.topk(K)
            tok = flat % 5
            cache = cache.index_select(0, flat // 5)
        return score, cache.sum(1)


@network(("x=B,T",), ((2, 5),), ((1, 1),), ((3, 9),), ((4, 2),))
class AppendsWhatMasksPick(nn.Module):
    """Branches that append as many entries as there are, to one list."""

    def forward(self, x):
        ys: List[Tensor] = [x.flatten()]
        if bool(x.sum() > 0):
            ys.append(x[x > 0])
        else:
            ys.append(x[x < -1] * 2)
        return torch.cat(ys)


def compare(folder, program, given):
    """At sizes and numbers, of which a tensor stands for those of rank 0."""
    arguments = [torch.randn(one) if isinstance(one, tuple) else torch.tensor(one) for one in given]
    expected = program(*[one.clone() for one in arguments])
    named = {name: np.asarray(one) for name, one in zip(("x", "n"), arguments, strict=False)}
    assert_files_agree(folder, named, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_pytorch(tmp_path, name):
    torch.manual_seed(0)
    model, shapes, given = MODELS[name]
    program = torch.jit.script(model().eval())
    program.save(tmp_path / "net.pt")
    flags = [flag for shape in shapes for flag in ("--input-shape", shape)]
    if "n=" in shapes:
        flags += ["--input-dtype", "n=int64"]
    done = run(tmp_path, "convert", "net.pt", *flags, "--quantize", "fp32")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are right where" not in done.stdout + done.stderr
    for one in given:
        for _ in range(2):
            compare(tmp_path, program, one)


class UsesUnevenParts(nn.Module):
    def forward(self, x):
        ys: List[Tensor] = [torch.zeros(x.size(0), 0, 4)]
        for i in range(0, x.size(1), 4):
            ys.append(x[:, i : i + 4] + torch.cat(ys, 1).sum(1, keepdim=True))
        return torch.cat(ys, 1)


class ReordersWhatIsShorter(nn.Module):
    def forward(self, x):
        cache = x[:, :1]
        for t in range(x.size(1)):
            cache = torch.cat([cache, x[:, t : t + 1]], 1)
            if t > 2:
                cache = cache[:, 1:]
        return cache


class TwoKindsOfParts(nn.Module):
    """What is joined is not what follows one another."""

    def forward(self, x):
        ys: List[Tensor] = []
        for i in range(0, x.size(1), 4):
            ys.append(x[:, i // 2 : i // 2 + 3] * x[:, i : i + 4].mean(1, keepdim=True))
        return torch.cat(ys, 1)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (UsesUnevenParts, "different sizes is used in the loop"),
        (ReordersWhatIsShorter, "after an iteration"),
        (TwoKindsOfParts, "different sizes"),
    ],
)
def test_says_what_it_refuses(tmp_path, model, said):
    torch.jit.script(model()).save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--input-shape", "x=B,T,4")
    assert done.returncode != 0
    assert said in done.stdout + done.stderr


class FoldsPatches(nn.Module):
    """Rounds sizes up as traced programs do: as tensors."""

    def forward(self, x):
        rows = torch.ceil(x.shape[2] / 2).to(torch.int64)
        columns = torch.ceil(x.shape[3] / 2).to(torch.int64)
        x = F.interpolate(x, size=(rows * 2, columns * 2), mode="bilinear", align_corners=False)
        patches = x.reshape(x.shape[0] * x.shape[1] * rows, 2, columns, 2).transpose(1, 2)
        return patches.reshape(x.shape[0], x.shape[1], rows * columns, 4).softmax(2)


def test_follows_sizes_that_are_rounded_as_tensors(tmp_path):
    program = torch.jit.trace(FoldsPatches(), torch.randn(1, 3, 6, 8), check_trace=False)
    program.save(tmp_path / "net.pt")
    done = run(tmp_path, "convert", "net.pt", "--dynamic", "x:2", "--dynamic", "x:3", "--quantize", "fp32")
    assert done.returncode == 0, done.stdout + done.stderr
    for shape in ((1, 3, 6, 8), (1, 3, 7, 4), (1, 3, 10, 13)):
        compare(tmp_path, program, (shape,))
