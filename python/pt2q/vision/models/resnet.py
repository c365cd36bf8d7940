"""ResNet (He et al. 2015) with torchvision's parameter names."""

from __future__ import annotations

from typing import Any

import pt2q
from pt2q import Tensor, nn
from pt2q.vision.models._api import Weights, load_weights


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def _conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a residual connection."""

    expansion = 1

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None) -> None:  # fmt: skip
        super().__init__()
        self.conv1 = _conv3x3(inplanes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided), 1x1 convolutions with a residual connection."""

    expansion = 4

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None) -> None:  # fmt: skip
        super().__init__()
        self.conv1 = _conv1x1(inplanes, planes)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3x3(planes, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = _conv1x1(planes, planes * self.expansion)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """Stem, four stages of blocks, global average pool, classifier."""

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], layers: list[int], num_classes: int = 1000) -> None:  # fmt: skip
        super().__init__()
        self.inplanes = 64
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0], 1)
        self.layer2 = self._make_layer(block, 128, layers[1], 2)
        self.layer3 = self._make_layer(block, 256, layers[2], 2)
        self.layer4 = self._make_layer(block, 512, layers[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _make_layer(self, block: Any, planes: int, blocks: int, stride: int) -> nn.Sequential:
        downsample = None
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = nn.Sequential(
                _conv1x1(self.inplanes, planes * block.expansion, stride),
                nn.BatchNorm2d(planes * block.expansion),
            )
        layers = [block(self.inplanes, planes, stride, downsample)]
        self.inplanes = planes * block.expansion
        layers += [block(self.inplanes, planes) for _ in range(1, blocks)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.avgpool(x)
        x = pt2q.flatten(x, 1)
        return self.fc(x)


class ResNet18_Weights(Weights):
    IMAGENET1K_V1 = "resnet18-f37072fd.pth"
    DEFAULT = IMAGENET1K_V1


class ResNet34_Weights(Weights):
    IMAGENET1K_V1 = "resnet34-b627a593.pth"
    DEFAULT = IMAGENET1K_V1


class ResNet50_Weights(Weights):
    IMAGENET1K_V1 = "resnet50-0676ba61.pth"
    IMAGENET1K_V2 = "resnet50-11ad3fa6.pth"
    DEFAULT = IMAGENET1K_V2


class ResNet101_Weights(Weights):
    IMAGENET1K_V1 = "resnet101-63fe2227.pth"
    IMAGENET1K_V2 = "resnet101-cd907fc2.pth"
    DEFAULT = IMAGENET1K_V2


class ResNet152_Weights(Weights):
    IMAGENET1K_V1 = "resnet152-394f9c45.pth"
    IMAGENET1K_V2 = "resnet152-f82ba261.pth"
    DEFAULT = IMAGENET1K_V2


def _resnet(block: Any, layers: list[int], weights: Any, pretrained: Any, file: Weights, kwargs: Any) -> ResNet:  # fmt: skip
    kwargs.pop("progress", None)
    model = ResNet(block, layers, **kwargs)
    load_weights(model, weights, pretrained, file.file_name)
    return model


def resnet18(*, weights: Any = None, pretrained: bool | None = None, **kwargs: Any) -> ResNet:
    """ResNet-18, 11.7 M parameters."""
    return _resnet(BasicBlock, [2, 2, 2, 2], weights, pretrained, ResNet18_Weights.DEFAULT, kwargs)


def resnet34(*, weights: Any = None, pretrained: bool | None = None, **kwargs: Any) -> ResNet:
    """ResNet-34, 21.8 M parameters."""
    return _resnet(BasicBlock, [3, 4, 6, 3], weights, pretrained, ResNet34_Weights.DEFAULT, kwargs)


def resnet50(*, weights: Any = None, pretrained: bool | None = None, **kwargs: Any) -> ResNet:
    """ResNet-50, 25.6 M parameters."""
    return _resnet(Bottleneck, [3, 4, 6, 3], weights, pretrained, ResNet50_Weights.DEFAULT, kwargs)


def resnet101(*, weights: Any = None, pretrained: bool | None = None, **kwargs: Any) -> ResNet:
    """ResNet-101, 44.5 M parameters."""
    return _resnet(Bottleneck, [3, 4, 23, 3], weights, pretrained, ResNet101_Weights.DEFAULT, kwargs)  # fmt: skip


def resnet152(*, weights: Any = None, pretrained: bool | None = None, **kwargs: Any) -> ResNet:
    """ResNet-152, 60.2 M parameters."""
    return _resnet(Bottleneck, [3, 8, 36, 3], weights, pretrained, ResNet152_Weights.DEFAULT, kwargs)  # fmt: skip
