"""Transformers written by hand and with PyTorch's modules."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from zoo import ids, mask, network

STEPS = {"B": (2, 3), "T": (9, 14)}


class Encoder(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.embedding = nn.Embedding(50, dim)
        layer = nn.TransformerEncoderLayer(dim, 4, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.fc = nn.Linear(dim, 5)

    def forward(self, tokens, padding):
        x = self.embedding(tokens) * math.sqrt(16)
        return self.fc(self.encoder(x, src_key_padding_mask=~padding))


@network(tokens=ids("B", "T"), padding=mask("B", "T"), sizes=STEPS)
def transformer_encoder():
    return Encoder()


class Translator(nn.Module):
    def __init__(self, dim=16, tokens=40):
        super().__init__()
        self.source = nn.Embedding(tokens, dim)
        self.target = nn.Embedding(tokens, dim)
        self.transformer = nn.Transformer(dim, 2, 1, 1, 32, dropout=0.0, batch_first=True)
        self.out = nn.Linear(dim, tokens)

    def forward(self, source, target):
        steps = target.size(1)
        causal = torch.triu(torch.full((steps, steps), float("-inf")), diagonal=1)
        return self.out(self.transformer(self.source(source), self.target(target), tgt_mask=causal, tgt_is_causal=True))


@network(source=ids("B", "S", below=40), target=ids("B", "T", below=40), sizes={"B": (2, 3), "S": (8, 6), "T": (7, 10)})
def translator():
    return Translator()


def rotate_half(x):
    left, right = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat((-right, left), dim=-1)


class RotaryAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)
        inverse = 1.0 / (10000 ** (torch.arange(0, self.head_dim, 2).float() / self.head_dim))
        self.register_buffer("inverse_frequencies", inverse, persistent=False)

    def forward(self, x):
        batch, steps, dim = x.shape
        q, k, v = self.qkv(x).split(dim, dim=-1)
        q, k, v = (t.view(batch, steps, self.heads, self.head_dim).transpose(1, 2) for t in (q, k, v))
        positions = torch.arange(steps, device=x.device).float()
        angles = torch.outer(positions, self.inverse_frequencies)
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos(), angles.sin()
        q = q * cos + rotate_half(q) * sin
        k = k * cos + rotate_half(k) * sin
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).contiguous().view(batch, steps, dim))


class RmsNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class GptBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.norm2 = RmsNorm(dim), RmsNorm(dim)
        self.attention = RotaryAttention(dim, heads)
        self.gate = nn.Linear(dim, 2 * dim, bias=False)
        self.up = nn.Linear(dim, 2 * dim, bias=False)
        self.down = nn.Linear(2 * dim, dim, bias=False)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class RotaryGpt(nn.Module):
    def __init__(self, dim=16, tokens=50):
        super().__init__()
        self.embedding = nn.Embedding(tokens, dim)
        self.blocks = nn.ModuleList(GptBlock(dim, 2) for _ in range(2))
        self.norm = RmsNorm(dim)
        self.head = nn.Linear(dim, tokens, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


@network(tokens=ids("B", "T"), sizes=STEPS, forms=("pt2", "dynamic", "traced"))
def gpt_rotary():
    return RotaryGpt()


class CausalSelfAttention(nn.Module):
    """As in nanoGPT, with the mask as a buffer."""

    def __init__(self, dim=16, heads=4, block=32):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(dim, 3 * dim)
        self.c_proj = nn.Linear(dim, dim)
        self.register_buffer("bias", torch.tril(torch.ones(block, block)).view(1, 1, block, block))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(C, dim=2)
        k = k.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        q = q.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        v = v.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
        att = F.softmax(att, dim=-1)
        y = (att @ v).transpose(1, 2).contiguous().view(B, T, C)
        return self.c_proj(y)


class NanoGpt(nn.Module):
    def __init__(self, dim=16, tokens=50, block=32):
        super().__init__()
        self.wte = nn.Embedding(tokens, dim)
        self.wpe = nn.Embedding(block, dim)
        self.ln = nn.LayerNorm(dim)
        self.attention = CausalSelfAttention(dim, 4, block)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.head = nn.Linear(dim, tokens, bias=False)

    def forward(self, idx):
        pos = torch.arange(0, idx.size(1), dtype=torch.long, device=idx.device)
        x = self.wte(idx) + self.wpe(pos)
        x = x + self.attention(self.ln(x))
        x = x + self.mlp(x)
        return self.head(x[:, [-1], :])


@network(idx=ids("B", "T"), sizes=STEPS, most=32)
def nano_gpt():
    return NanoGpt()


class RelativeBiasAttention(nn.Module):
    """As in T5: a bias per head and bucket of distances, no scale."""

    def __init__(self, dim=16, heads=2, buckets=8):
        super().__init__()
        self.heads, self.buckets = heads, buckets
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, dim, bias=False)
        self.o = nn.Linear(dim, dim, bias=False)
        self.relative_attention_bias = nn.Embedding(buckets, heads)

    def position_bias(self, steps: int):
        positions = torch.arange(steps)
        distance = positions[None, :] - positions[:, None]
        half = self.buckets // 2
        bucket = (distance > 0).long() * half
        distance = torch.abs(distance)
        exact = half // 2
        large = exact + (torch.log(distance.float() / exact + 1e-6) / math.log(16 / exact) * (half - exact)).long()
        large = torch.clamp(large, max=half - 1)
        bucket = bucket + torch.where(distance < exact, distance, large)
        return self.relative_attention_bias(bucket).permute(2, 0, 1).unsqueeze(0)

    def forward(self, x, mask):
        batch, steps, dim = x.shape
        shape = (batch, steps, self.heads, dim // self.heads)
        q = self.q(x).view(shape).transpose(1, 2)
        k = self.k(x).view(shape).transpose(1, 2)
        v = self.v(x).view(shape).transpose(1, 2)
        scores = torch.matmul(q, k.transpose(3, 2)) + self.position_bias(steps)
        scores = scores + (1.0 - mask[:, None, None, :].to(x.dtype)) * -1e9
        y = torch.matmul(F.softmax(scores.float(), dim=-1).type_as(scores), v)
        return self.o(y.transpose(1, 2).reshape(batch, steps, dim))


@network(x=("B", "T", 16), mask=mask("B", "T"), sizes=STEPS)
def t5_relative_bias():
    return RelativeBiasAttention()


class CrossAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(4, 16))
        self.attention = nn.MultiheadAttention(16, 4, kdim=10, vdim=10, batch_first=True)
        self.norm = nn.LayerNorm(16)

    def forward(self, features):
        queries = self.queries.unsqueeze(0).repeat(features.size(0), 1, 1)
        found, weights = self.attention(queries, features, features)
        return self.norm(found + queries), weights


@network(features=("B", "T", 10), sizes=STEPS)
def perceiver_attention():
    return CrossAttention()


class DecoderLayer(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerDecoderLayer(16, 2, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, 2, norm=nn.LayerNorm(16))

    def forward(self, target, memory):
        causal = nn.Transformer.generate_square_subsequent_mask(target.size(1))
        return self.decoder(target, memory, tgt_mask=causal, tgt_is_causal=True)


@network(target=("B", "T", 16), memory=("B", "S", 16), sizes={"B": (2, 3), "T": (7, 10), "S": (8, 5)})
def transformer_decoder():
    return DecoderLayer()


class LinearAttention(nn.Module):
    def __init__(self, dim=12, heads=3):
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * dim)

    def forward(self, x):
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.to_qkv(x).chunk(3, dim=-1))
        q, k = F.elu(q) + 1, F.elu(k) + 1
        context = torch.einsum("bhnd,bhne->bhde", k, v)
        norm = torch.einsum("bhnd,bhd->bhn", q, k.sum(dim=2))
        out = torch.einsum("bhnd,bhde->bhne", q, context) / norm.unsqueeze(-1)
        return out.transpose(1, 2).flatten(2)


@network(x=("B", "T", 12), sizes=STEPS, forms=("pt2", "dynamic", "traced"))
def linear_attention():
    return LinearAttention()


class MixtureOfExperts(nn.Module):
    def __init__(self, dim=8, experts=4):
        super().__init__()
        self.gate = nn.Linear(dim, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, 16), nn.GELU(), nn.Linear(16, dim)) for _ in range(experts)
        )

    def forward(self, x):
        scores, chosen = torch.topk(self.gate(x), 2, dim=-1)
        weights = torch.zeros(x.shape[0], x.shape[1], 4).scatter(-1, chosen, scores.softmax(-1))
        outputs = torch.stack([expert(x) for expert in self.experts], dim=-2)
        return (weights.unsqueeze(-1) * outputs).sum(dim=-2)


@network(x=("B", "T", 8), sizes=STEPS)
def mixture_of_experts():
    return MixtureOfExperts()
