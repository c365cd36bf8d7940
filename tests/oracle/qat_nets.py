"""The networks of the tests of quantization-aware training; ``shape`` is that of the input."""

from __future__ import annotations

import torch
import zoo
from torch import nn


class ConvBn(nn.Module):
    CONVS = {
        (1, False): nn.Conv1d,
        (2, False): nn.Conv2d,
        (1, True): nn.ConvTranspose1d,
        (2, True): nn.ConvTranspose2d,
    }

    def __init__(self, dim: int = 2, bias: bool = True, relu: bool = True, transposed: bool = False, **kwargs):
        super().__init__()
        self.conv = self.CONVS[dim, transposed](3, 4, 3, bias=bias, **kwargs)
        self.bn = (nn.BatchNorm1d if dim == 1 else nn.BatchNorm2d)(4)
        self.relu = nn.ReLU() if relu else nn.Identity()
        self.shape = (2, 3, 8) if dim == 1 else (2, 3, 8, 8)

    def forward(self, x):
        return self.relu(self.bn(self.conv(x)))


class TwoConvs(nn.Module):
    """A residual block: two conv-bn with and without bias, an addition, and a layer without bn."""

    shape = (2, 3, 8, 8)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, stride=1)
        self.bn2 = nn.BatchNorm2d(4)
        self.conv3 = nn.Conv2d(4, 2, 1)
        self.fc = nn.Linear(2, 3)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()  # the peer refuses one used twice

    def forward(self, x):
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)) + y)
        return self.fc(self.conv3(y).mean((2, 3)))


class TwoBranches(nn.Module):
    """Convolutions first, their batch norms later."""

    shape = (2, 3, 8, 8)

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3, bias=False)
        self.bna, self.bnb = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        return self.bna(a) + self.bnb(b)


class InvertedResidual(zoo.InvertedResidual):
    """A block of MobileNetV2: expansion, depthwise, projection, all with batch norm, and the shortcut."""

    shape = (2, 3, 8, 8)

    def __init__(self):
        super().__init__(3, 3, 1, 2, nn.ReLU6)


class DigitsNet(nn.Module):
    shape = (32, 1, 8, 8)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, stride=2)
        self.bn2 = nn.BatchNorm2d(32)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()  # the peer refuses one used twice
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(32 * 16, 10)

    def forward(self, x):
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.fc(self.drop(x.flatten(1)))


class Sigmoid(nn.Module):
    shape = (2, 3, 8, 8)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return torch.sigmoid(self.conv(x))


class BlockAndLinear(nn.Module):
    shape = (2, 3, 8, 8)

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.block(x).mean((2, 3)))


class Nested(nn.Module):
    def forward(self, pair, *, scale):
        return {"sum": (pair[0] + pair[1]) * scale, "parts": [pair[0], pair[1]]}


MODELS = {
    "conv1d": lambda: ConvBn(1),
    "conv1d without bias": lambda: ConvBn(1, bias=False, relu=False),
    "conv2d": lambda: ConvBn(2),
    "conv2d without bias": lambda: ConvBn(2, bias=False),
    "conv2d without relu": lambda: ConvBn(2, relu=False),
    "conv2d literal arguments": lambda: ConvBn(2, stride=2, padding=1, dilation=1),
    "transposed 1d": lambda: ConvBn(1, transposed=True),
    "transposed 2d without bias": lambda: ConvBn(2, bias=False, relu=False, transposed=True, stride=2),
    "residual block": TwoConvs,
    "two branches": TwoBranches,
    "inverted residual": InvertedResidual,
}


def seeded(name: str) -> nn.Module:
    torch.manual_seed(sum(map(ord, name)))
    module = MODELS[name]()
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            nn.init.normal_(part.running_mean)
    return module
