"""The CIFAR ResNets of He et al. 2015: 6n+2 layers, option-A shortcuts (no torchvision twin)."""

from __future__ import annotations

from typing import Any

import pt2q
from pt2q import Tensor, nn
from pt2q.nn import functional as F
from pt2q.vision.models._api import load_weights


class CifarBlock(nn.Module):
    """Two 3x3 convolutions; where shapes change the shortcut subsamples and pads channels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down = stride != 1 or inputs != outputs
        self.extra = outputs // 4

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.down:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    """ResNet for 32x32 images: three stages of ``blocks`` blocks with 16, 32, 64 channels."""

    def __init__(self, blocks: int, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, 1, blocks)
        self.layer2 = self._stage(16, 32, 2, blocks)
        self.layer3 = self._stage(32, 64, 2, blocks)
        self.linear = nn.Linear(64, num_classes)

    @staticmethod
    def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
        rest = [CifarBlock(outputs, outputs, 1) for _ in range(1, blocks)]
        return nn.Sequential(CifarBlock(inputs, outputs, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = F.adaptive_avg_pool2d(x, (1, 1))
        return self.linear(pt2q.flatten(x, 1))


def cifar_resnet20(*, weights: Any = None, **kwargs: Any) -> CifarResNet:
    """20 layers, 0.27 M parameters."""
    model = CifarResNet(3, **kwargs)
    load_weights(model, weights, None, "")
    return model


def cifar_resnet56(*, weights: Any = None, **kwargs: Any) -> CifarResNet:
    """56 layers, 0.85 M parameters."""
    model = CifarResNet(9, **kwargs)
    load_weights(model, weights, None, "")
    return model
