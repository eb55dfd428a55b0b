"""Networks on images."""

import torch
import torch.nn.functional as F
from torch import nn

from zoo import network

BATCH = {"B": (2, 3)}


@network(input=("B", 1, 28, 28), sizes=BATCH)
def digits_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16 * 7 * 7, 10),
        nn.LogSoftmax(dim=1),
    )


class DoubleConv(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    def __init__(self, channels=8):
        super().__init__()
        self.enter = DoubleConv(3, channels)
        self.down1 = DoubleConv(channels, 2 * channels)
        self.down2 = DoubleConv(2 * channels, 4 * channels)
        self.up1 = nn.ConvTranspose2d(4 * channels, 2 * channels, 2, stride=2)
        self.join1 = DoubleConv(4 * channels, 2 * channels)
        self.up2 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.join2 = DoubleConv(3 * channels, channels)
        self.head = nn.Conv2d(channels, 2, 1)

    def forward(self, image):
        first = self.enter(image)
        second = self.down1(F.max_pool2d(first, 2))
        third = self.down2(F.max_pool2d(second, 2))
        x = self.join1(torch.cat([self.up1(third), second], dim=1))
        x = self.join2(torch.cat([self.up2(x), first], dim=1))
        return self.head(x)


@network(image=("B", 3, 16, 16), sizes=BATCH)
def unet():
    return UNet()


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expand):
        super().__init__()
        hidden = inputs * expand
        self.use_residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x):
        if self.use_residual:
            return x + self.layers(x)
        return self.layers(x)


@network(input=("B", 3, 32, 32), sizes=BATCH)
def mobilenet_v2():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(inplace=True),
        InvertedResidual(8, 8, 1, 2),
        InvertedResidual(8, 16, 2, 4),
        InvertedResidual(16, 16, 1, 4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(1),
        nn.Linear(16, 10),
    )


class ChannelsLastNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x):
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(0.5 * torch.ones(dim))

    def forward(self, x):
        residual = x
        x = self.dwconv(x).permute(0, 2, 3, 1)
        x = self.pwconv2(self.act(self.pwconv1(self.norm(x))))
        return residual + (self.gamma * x).permute(0, 3, 1, 2)


@network(input=("B", 3, 32, 32), sizes=BATCH)
def convnext():
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=4), ChannelsLastNorm(16), ConvNeXtBlock(16), ConvNeXtBlock(16), nn.AvgPool2d(8)
    )


class ViT(nn.Module):
    def __init__(self, dim=32, patch=8, size=32, depth=2, heads=4):
        super().__init__()
        self.patches = nn.Conv2d(3, dim, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.positions = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, dim))
        layer = nn.TransformerEncoderLayer(
            dim, heads, 2 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(dim, 5)

    def forward(self, image):
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.head(self.encoder(x)[:, 0])


@network(image=("B", 3, 32, 32), sizes=BATCH)
def vision_transformer():
    return ViT()


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.layers = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 16, 2))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.layers(self.stem(x))
        x = F.adaptive_avg_pool2d(x, (1, 1))
        return self.fc(torch.flatten(x, 1))


@network(x=("B", 3, 32, 32), sizes=BATCH)
def resnet():
    return ResNet()


class SqueezeExcite(nn.Module):
    def __init__(self, channels, reduced):
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x):
        scale = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(F.silu(self.reduce(scale))))


@network(input=("B", 3, 16, 16), sizes=BATCH)
def efficientnet_block():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.SiLU(),
        nn.Conv2d(16, 16, 5, padding=2, groups=16),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        SqueezeExcite(16, 4),
        nn.Conv2d(16, 24, 1),
        nn.Hardswish(),
    )


class SuperResolution(nn.Module):
    def __init__(self, factor=3):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, padding=2)
        self.conv2 = nn.Conv2d(16, 8, 3, padding=1)
        self.conv3 = nn.Conv2d(8, factor**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, x):
        return self.shuffle(self.conv3(torch.tanh(self.conv2(torch.tanh(self.conv1(x))))))


@network(x=("B", 1, 12, 10), sizes=BATCH)
def super_resolution():
    return SuperResolution()


@network(x=("B", 1, "H", "W"), sizes={"B": (2, 1), "H": (12, 9), "W": (10, 14)})
def super_resolution_any_size():
    return SuperResolution(2)


class Generator(nn.Module):
    def __init__(self, latent=16, features=8):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(latent, 2 * features, 4, 1, 0, bias=False),
            nn.BatchNorm2d(2 * features),
            nn.ReLU(True),
            nn.ConvTranspose2d(2 * features, features, 4, 2, 1, bias=False),
            nn.BatchNorm2d(features),
            nn.LeakyReLU(0.2, True),
            nn.ConvTranspose2d(features, 3, 3, 2, 1, output_padding=1),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.main(z[:, :, None, None])


@network(z=("B", 16), sizes=BATCH)
def gan_generator():
    return Generator()


class Hourglass(nn.Module):
    def __init__(self, depth, channels):
        super().__init__()
        self.skip = nn.Conv2d(channels, channels, 3, padding=1)
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels))
        self.inner = Hourglass(depth - 1, channels) if depth > 1 else nn.Conv2d(channels, channels, 1)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x):
        return self.skip(x) + self.up(self.inner(self.down(x)))


@network(input=("B", 3, 16, 16), sizes=BATCH)
def hourglass():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Hourglass(3, 8), nn.Conv2d(8, 4, 1), nn.Softplus())


class FeaturePyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 8, 3, 2, 1)
        self.c2 = nn.Conv2d(8, 16, 3, 2, 1)
        self.p1 = nn.Conv2d(8, 8, 1)
        self.p2 = nn.Conv2d(16, 8, 1)
        self.boxes = nn.Conv2d(8, 4, 3, padding=1)
        self.scores = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, image):
        c1 = F.relu(self.c1(image))
        c2 = F.relu(self.c2(c1))
        p2 = self.p2(c2)
        p1 = self.p1(c1) + F.interpolate(p2, size=c1.shape[-2:], mode="nearest")
        boxes, scores = [], []
        for level in (p1, p2):
            boxes.append(self.boxes(level).flatten(2).transpose(1, 2))
            scores.append(self.scores(level).flatten(2).transpose(1, 2).sigmoid())
        return {"boxes": torch.cat(boxes, 1), "scores": torch.cat(scores, 1)}


@network(image=("B", 3, 16, 16), sizes=BATCH)
def feature_pyramid():
    return FeaturePyramid()


class MixerBlock(nn.Module):
    def __init__(self, tokens, channels):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.token_mix = nn.Sequential(nn.Linear(tokens, 24), nn.GELU(), nn.Linear(24, tokens))
        self.channel_mix = nn.Sequential(nn.Linear(channels, 24), nn.GELU(approximate="tanh"), nn.Linear(24, channels))

    def forward(self, x):
        x = x + self.token_mix(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channel_mix(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.blocks = nn.Sequential(MixerBlock(16, 16), MixerBlock(16, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, image):
        x = self.stem(image)
        x = x.reshape(x.size(0), x.size(1), -1).permute(0, 2, 1)
        return self.head(self.blocks(x).mean(dim=1))


@network(image=("B", 3, 16, 16), sizes=BATCH)
def mlp_mixer():
    return Mixer()


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.ELU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ELU(), nn.Flatten(), nn.Linear(256, 8)
        )
        self.decoder = nn.Sequential(
            nn.Linear(8, 256),
            nn.Unflatten(1, (16, 4, 4)),
            nn.ConvTranspose2d(16, 8, 2, 2),
            nn.SELU(),
            nn.ConvTranspose2d(8, 1, 2, 2),
            nn.Sigmoid(),
        )

    def forward(self, x):
        code = self.encoder(x)
        return self.decoder(code), code


@network(x=("B", 1, 16, 16), sizes=BATCH)
def autoencoder():
    return Autoencoder()


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 16))

    def forward(self, left, right):
        a = F.normalize(self.features(left), dim=1)
        b = F.normalize(self.features(right), dim=1)
        return (a - b).pow(2).sum(1).sqrt(), F.cosine_similarity(a, b)


@network(left=("B", 1, 16, 16), right=("B", 1, 16, 16), sizes=BATCH)
def siamese():
    return Siamese()


class DenseBlock(nn.Module):
    def __init__(self, inputs, growth, layers):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(inputs + i * growth), nn.ReLU(), nn.Conv2d(inputs + i * growth, growth, 3, padding=1)
            )
            for i in range(layers)
        )

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


@network(input=("B", 3, 12, 12), sizes=BATCH)
def densenet():
    return nn.Sequential(DenseBlock(3, 4, 3), nn.Conv2d(15, 8, 1), nn.AvgPool2d(2, 2), nn.InstanceNorm2d(8, affine=True))


class ShuffleUnit(nn.Module):
    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1), nn.ReLU(), nn.Conv2d(half, half, 3, padding=1, groups=half), nn.GroupNorm(2, half)
        )

    def forward(self, x):
        left, right = x.chunk(2, dim=1)
        x = torch.cat((left, self.branch(right)), dim=1)
        batch, channels, height, width = x.size()
        x = x.view(batch, 2, channels // 2, height, width)
        return torch.transpose(x, 1, 2).contiguous().view(batch, -1, height, width)


@network(input=("B", 8, 10, 10), sizes=BATCH)
def shufflenet():
    return nn.Sequential(ShuffleUnit(8), nn.ReflectionPad2d(1), ShuffleUnit(8), nn.AdaptiveMaxPool2d((3, 3)))


class EqualSizes(nn.Module):
    """Every size is the same: a layout chosen by matching sizes would go wrong."""

    def __init__(self, size=6):
        super().__init__()
        self.conv = nn.Conv2d(size, size, 3, padding=1)
        self.linear = nn.Linear(size, size)

    def forward(self, x):
        x = self.conv(x)
        x = self.linear(x) + x.transpose(1, 3)
        return x.softmax(dim=1) + self.conv(x.permute(0, 2, 3, 1)).mean(dim=2, keepdim=True)


@network(x=(6, 6, 6, 6))
def equal_sizes():
    return EqualSizes()


class VideoNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 8, (3, 3, 3), padding=1)
        self.norm = nn.BatchNorm3d(8)
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.head = nn.Linear(8, 4)

    def forward(self, clip):
        x = self.pool(F.relu(self.norm(self.conv(clip))))
        return self.head(x.mean([2, 3, 4]))


@network(clip=("B", 3, 4, 8, 8), sizes=BATCH)
def video_conv3d():
    return VideoNet()
