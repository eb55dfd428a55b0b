"""Networks on sound."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from zoo import network

STEPS = {"B": (2, 1), "T": (24, 37)}


class SpeechEncoder(nn.Module):
    """Convolutions that halve the frames twice, sinusoids, a Transformer: as in Whisper."""

    def __init__(self, mels=8, dim=16):
        super().__init__()
        self.conv1 = nn.Conv1d(mels, dim, 3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        scale = torch.exp(-math.log(10000) / (dim // 2 - 1) * torch.arange(dim // 2))
        angles = torch.arange(64)[:, None] * scale[None, :]
        self.register_buffer("positions", torch.cat([angles.sin(), angles.cos()], dim=1))
        layer = nn.TransformerEncoderLayer(dim, 2, 32, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)

    def forward(self, mel):
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).permute(0, 2, 1)
        x = x + self.positions[: x.shape[1]]
        return self.norm(self.encoder(x))


@network(mel=("B", 8, "T"), sizes=STEPS, most=120)
def speech_encoder():
    return SpeechEncoder()


class FeedForward(nn.Sequential):
    def __init__(self, dim):
        super().__init__(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.SiLU(), nn.Dropout(0.1), nn.Linear(2 * dim, dim)
        )


class ConvolutionModule(nn.Module):
    def __init__(self, dim, kernel=5):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.pointwise1 = nn.Conv1d(dim, 2 * dim, 1)
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.batch_norm = nn.BatchNorm1d(dim)
        self.pointwise2 = nn.Conv1d(dim, dim, 1)

    def forward(self, x):
        x = self.norm(x).transpose(1, 2)
        x = F.glu(self.pointwise1(x), dim=1)
        x = F.silu(self.batch_norm(self.depthwise(x)))
        return self.pointwise2(x).transpose(1, 2)


class Conformer(nn.Module):
    def __init__(self, dim=12):
        super().__init__()
        self.first = FeedForward(dim)
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, 3, batch_first=True)
        self.convolution = ConvolutionModule(dim)
        self.second = FeedForward(dim)
        self.last = nn.LayerNorm(dim)

    def forward(self, x):
        x = x + 0.5 * self.first(x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.convolution(x)
        return self.last(x + 0.5 * self.second(x))


@network(x=("B", "T", 12), sizes=STEPS)
def conformer_block():
    return Conformer()


class Spectrogram(nn.Module):
    """Power in frequency bands, by convolutions with sines and cosines."""

    def __init__(self, size=16, hop=4):
        super().__init__()
        steps = torch.arange(size)[None, :] * torch.arange(size // 2 + 1)[:, None] * (2 * math.pi / size)
        window = torch.hann_window(size)
        self.register_buffer("cosines", (steps.cos() * window)[:, None])
        self.register_buffer("sines", (steps.sin() * window)[:, None])
        self.hop = hop

    def forward(self, wave):
        x = F.pad(wave.unsqueeze(1), (8, 8), mode="reflect")
        real = F.conv1d(x, self.cosines, stride=self.hop)
        imaginary = F.conv1d(x, self.sines, stride=self.hop)
        return torch.log10(torch.clamp(real**2 + imaginary**2, min=1e-6))


@network(wave=("B", "T"), sizes={"B": (2, 1), "T": (64, 90)})
def spectrogram():
    return Spectrogram()


class KeywordSpotter(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, (5, 3), (2, 1), (2, 1)), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 12, 1), nn.ReLU(), nn.AvgPool2d((1, 2)),
        )  # fmt: skip
        self.gru = nn.GRU(12 * 4, 10, batch_first=True)
        self.fc = nn.Linear(20, 6)

    def forward(self, mfcc):
        x = self.features(mfcc.unsqueeze(1))
        x, _ = self.gru(x.permute(0, 2, 1, 3).flatten(2))
        return self.fc(torch.cat([x.mean(1), x.max(1)[0]], dim=1))


@network(mfcc=("B", 20, 8), sizes={"B": (2, 3)})
def keyword_spotter():
    return KeywordSpotter()


class Vocoder(nn.Module):
    """Upsamples frames to samples, with weight normalisation."""

    def __init__(self):
        super().__init__()
        self.enter = nn.utils.parametrizations.weight_norm(nn.Conv1d(6, 8, 3, padding=1))
        self.up = nn.ModuleList([nn.ConvTranspose1d(8, 8, 4, 2, 1), nn.ConvTranspose1d(8, 4, 8, 4, 2)])
        self.out = nn.Conv1d(4, 1, 3, padding=1)

    def forward(self, mel):
        x = self.enter(mel)
        for up in self.up:
            x = up(F.leaky_relu(x, 0.1))
        return torch.tanh(self.out(x))


@network(mel=("B", 6, "T"), sizes={"B": (2, 1), "T": (9, 14)}, forms=("pt2", "dynamic", "traced"))
def vocoder():
    return Vocoder()
