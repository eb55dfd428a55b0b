"""Sets, graphs, tables, control flow."""

import torch
import torch.nn.functional as F
from torch import nn
from torch._higher_order_ops import while_loop

from zoo import ids, mask, network

BATCH = {"B": (2, 3)}


class DeepSets(nn.Module):
    def __init__(self):
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 16))
        self.rho = nn.Sequential(nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, elements, present):
        x = self.phi(elements) * present.unsqueeze(-1)
        mean = x.sum(1) / present.sum(1, keepdim=True)
        largest = x.masked_fill(~present.unsqueeze(-1), -1e4).amax(1)
        return self.rho(torch.cat([mean, largest], dim=-1))


@network(elements=("B", "N", 3), present=mask("B", "N"), sizes={"B": (2, 3), "N": (8, 11)})
def deep_sets():
    return DeepSets()


class TNet(nn.Module):
    def __init__(self, k=3):
        super().__init__()
        self.k = k
        self.conv = nn.Conv1d(k, 16, 1)
        self.fc = nn.Linear(16, k * k)

    def forward(self, x):
        y = F.relu(self.conv(x))
        y = torch.max(y, 2, keepdim=True)[0].view(-1, 16)
        identity = torch.eye(self.k).view(1, self.k * self.k).repeat(x.size(0), 1)
        return (self.fc(y) + identity).view(-1, self.k, self.k)


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.tnet = TNet()
        self.convs = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 24, 1))
        self.fc = nn.Linear(24, 4)

    def forward(self, points):
        transform = self.tnet(points)
        x = torch.bmm(points.transpose(2, 1), transform).transpose(2, 1)
        x = self.convs(x)
        x = torch.max(x, 2)[0]
        return F.log_softmax(self.fc(x), dim=-1), transform


@network(points=("B", 3, "N"), sizes={"B": (2, 3), "N": (12, 9)})
def pointnet():
    return PointNet()


class GraphConvolution(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x, adjacency):
        return torch.matmul(adjacency, torch.matmul(x, self.weight)) + self.bias


class Gcn(nn.Module):
    def __init__(self):
        super().__init__()
        self.gc1 = GraphConvolution(6, 12)
        self.gc2 = GraphConvolution(12, 4)

    def forward(self, features, adjacency):
        linked = (adjacency > 0).float()
        linked = linked + torch.eye(adjacency.size(-1))
        degree = linked.sum(-1).pow(-0.5)
        normal = degree.unsqueeze(-1) * linked * degree.unsqueeze(-2)
        return F.log_softmax(self.gc2(F.relu(self.gc1(features, normal)), normal), dim=-1)


@network(features=("N", 6), adjacency=("N", "N"), sizes={"N": (7, 10)})
def graph_convolutions():
    return Gcn()


class GraphAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.W = nn.Linear(5, 8, bias=False)
        self.a = nn.Linear(16, 1, bias=False)

    def forward(self, nodes, linked):
        h = self.W(nodes)
        count = h.size(0)
        pairs = torch.cat([h.repeat_interleave(count, dim=0), h.repeat(count, 1)], dim=1).view(count, count, 16)
        scores = F.leaky_relu(self.a(pairs).squeeze(-1), 0.2)
        scores = torch.where(linked, scores, torch.full_like(scores, -9e15))
        return F.elu(torch.softmax(scores, dim=1) @ h)


@network(nodes=(6, 5), linked=mask(6, 6))
def graph_attention():
    return GraphAttention()


class SplineLayer(nn.Module):
    """A Kolmogorov-Arnold layer with radial bases."""

    def __init__(self, inputs, outputs, grid=5):
        super().__init__()
        self.register_buffer("centers", torch.linspace(-2, 2, grid))
        self.norm = nn.LayerNorm(inputs)
        self.spline = nn.Linear(inputs * grid, outputs, bias=False)
        self.base = nn.Linear(inputs, outputs)

    def forward(self, x):
        basis = torch.exp(-(((self.norm(x).unsqueeze(-1) - self.centers) / 0.8) ** 2))
        return self.spline(basis.view(*x.shape[:-1], -1)) + self.base(F.silu(x))


@network(input=("B", 4), sizes=BATCH, forms=("pt2", "dynamic", "traced"))
def kan():
    return nn.Sequential(SplineLayer(4, 8), SplineLayer(8, 2))


class TabNet(nn.Module):
    """Numbers and categories of a table."""

    def __init__(self):
        super().__init__()
        self.embeddings = nn.ModuleList([nn.Embedding(10, 4), nn.Embedding(10, 3)])
        self.norm = nn.BatchNorm1d(5)
        self.layers = nn.Sequential(nn.Linear(12, 16), nn.Mish(), nn.Linear(16, 8), nn.CELU(), nn.Linear(8, 1))

    def forward(self, numbers, categories):
        parts = [embedding(categories[:, i]) for i, embedding in enumerate(self.embeddings)]
        return torch.sigmoid(self.layers(torch.cat([*parts, self.norm(numbers)], 1))).squeeze(1)


@network(numbers=("B", 5), categories=ids("B", 2, below=10), sizes=BATCH, forms=("pt2", "dynamic", "traced"))
def table_with_categories():
    return TabNet()


class TwoTowers(nn.Module):
    def __init__(self):
        super().__init__()
        self.users = nn.Embedding(50, 8)
        self.items = nn.Embedding(50, 8)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, user, items):
        u = F.normalize(self.users(user), dim=-1)
        v = F.normalize(self.items(items), dim=-1)
        scores = torch.einsum("bd,bnd->bn", u, v) + self.bias
        best, order = scores.sort(dim=-1, descending=True)
        return {"scores": scores, "best": best[:, :3], "order": order[:, :3]}


@network(user=ids("B"), items=ids("B", 6), sizes=BATCH)
def two_towers():
    return TwoTowers()


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = nn.Linear(6, 6)
        self.narrow = nn.Sequential(nn.Linear(6, 2), nn.Tanh(), nn.Linear(2, 6))

    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda y: self.wide(y).relu(), lambda y: self.narrow(y), (x,)) + x


@network(x=(3, 6), forms=("pt2",))
def cond_branches():
    return Branches()


class Iteration(nn.Module):
    """Steps until the state is large enough."""

    def __init__(self):
        super().__init__()
        self.step = nn.Linear(5, 5)

    def forward(self, x):
        def go_on(i, state):
            return (i < 10) & (state.abs().mean() < 2)

        def body(i, state):
            return i + 1, state + torch.tanh(self.step(state))

        steps, state = while_loop(go_on, body, (torch.zeros((), dtype=torch.int64), x))
        return state, steps


@network(x=(2, 5), forms=("pt2",))
def while_steps():
    return Iteration()


class ScriptedLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.step = nn.Linear(5, 5)

    def forward(self, x):
        count = 0
        while count < 6 and float(x.abs().mean()) < 2.0:
            x = x + torch.tanh(self.step(x))
            count += 1
        if bool(x.sum() > 0):
            return x
        return -x


@network(x=(2, 5), forms=("scripted",))
def scripted_loop():
    return ScriptedLoop()


class Counter(nn.Module):
    """Keeps a buffer, and writes in place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        y = self.fc(x - self.mean)
        y[:, 0] = 0
        y[:, 1:3] += 1
        return y.clamp_(-1, 1.5)


@network(x=("B", 4), sizes=BATCH, forms=("pt2", "dynamic", "traced"))
def in_place_buffers():
    return Counter()


class Integers(nn.Module):
    def forward(self, codes, shift):
        parity = torch.remainder(codes, 2)
        bits = torch.bitwise_and(codes, 7) ^ (codes >> 3)
        one_hot = F.one_hot(codes % 5, 5)
        return {
            "sum": (codes * 3 + shift) // 4,
            "parity": parity == 1,
            "bits": bits,
            "counts": one_hot.sum(1),
            "cumulative": codes.cumsum(1),
        }


@network(codes=ids("B", 7, below=64), shift=ids(1, below=8), sizes=BATCH)
def integer_arithmetic():
    return Integers()


class Sampler(nn.Module):
    """Warps an image by an affine transformation."""

    def __init__(self):
        super().__init__()
        self.localization = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))

    def forward(self, image):
        theta = torch.tanh(self.localization(image)).view(-1, 2, 3)
        grid = F.affine_grid(theta, [image.size(0), 1, 8, 8], align_corners=False)
        return F.grid_sample(image, grid, align_corners=False)


@network(image=("B", 1, 8, 8), sizes=BATCH)
def spatial_transformer():
    return Sampler()


class PhysicsNet(nn.Module):
    """A network of sines with Fourier features."""

    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, 8))
        self.layers = nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16)])
        self.out = nn.Linear(16, 3)

    def forward(self, coordinates):
        x = coordinates @ self.frequencies
        x = torch.cat([x.sin(), x.cos()], -1)
        for layer in self.layers:
            x = torch.sin(30 * layer(x) * 0.05)
        density, color = self.out(x).split([1, 2], dim=-1)
        return F.softplus(density), torch.sigmoid(color)


@network(coordinates=("N", 2), sizes={"N": (7, 12)})
def fourier_features():
    return PhysicsNet()


class Policy(nn.Module):
    """An actor-critic with two heads and a greedy action."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.Tanh())
        self.actor = nn.Linear(16, 4)
        self.critic = nn.Linear(16, 1)

    def forward(self, observation, allowed):
        x = self.body(observation)
        logits = self.actor(x).masked_fill(~allowed, -1e8)
        return {"action": logits.argmax(-1), "probabilities": logits.softmax(-1), "value": self.critic(x).squeeze(-1)}


@network(observation=("B", 6), allowed=mask("B", 4), sizes=BATCH)
def policy():
    return Policy()


