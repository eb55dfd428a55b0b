"""Writes the programs that bench/convert converts: mobilenet.pt2 and bert.pt2 with random weights.

Their layers and sizes are those of MobileNetV2 and of BERT-base; nothing is downloaded.
"""

import math
import pathlib
import sys

import torch
from torch import nn


class Bottleneck(nn.Module):
    """An inverted residual: widen, filter each channel, narrow."""

    def __init__(self, inputs, outputs, stride, widening):
        super().__init__()
        wide = inputs * widening
        layers = []
        if widening != 1:
            layers += [nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNet(nn.Module):
    """3.5 million weights."""

    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
        channels = 32
        for widening, outputs, count, stride in self.STAGES:
            for i in range(count):
                layers.append(Bottleneck(channels, outputs, stride if i == 0 else 1, widening))
                channels = outputs
        layers += [nn.Conv2d(channels, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, image):
        return self.classifier(self.features(image).mean((2, 3)))


class Layer(nn.Module):
    """A layer of BERT."""

    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x, mask):
        batch, length, width = x.shape
        q, k, v = (
            layer(x).view(batch, length, self.heads, -1).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // self.heads) + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width)
        x = self.norm1(x + self.output(mixed))
        return self.norm2(x + self.down(nn.functional.gelu(self.up(x))))


class Bert(nn.Module):
    """109 million weights."""

    def __init__(self, width=768, heads=12, layers=12, words=30522, positions=512):
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.positions = nn.Embedding(positions, width)
        self.types = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Layer(width, heads, 4 * width) for _ in range(layers))
        self.pooler = nn.Linear(width, width)

    def forward(self, input_ids, attention_mask):
        places = torch.arange(input_ids.shape[1])
        x = self.norm(self.words(input_ids) + self.positions(places) + self.types(torch.zeros_like(input_ids)))
        mask = (1 - attention_mask[:, None, None, :].float()) * -1e4
        for layer in self.layers:
            x = layer(x, mask)
        return self.pooler(x[:, 0]).tanh()


def save(model, inputs, path):
    """Exports and saves one program."""
    with torch.no_grad():
        torch.export.save(torch.export.export(model.eval(), inputs), path)


def main(folder):
    torch.manual_seed(0)
    save(MobileNet(), (torch.rand(1, 3, 224, 224),), folder / "mobilenet.pt2")
    ids = torch.randint(0, 30522, (1, 128))
    save(Bert(), (ids, torch.ones_like(ids)), folder / "bert.pt2")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
