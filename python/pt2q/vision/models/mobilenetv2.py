"""MobileNetV2 (Sandler et al. 2018) with torchvision's parameter names."""

from __future__ import annotations

from typing import Any

import pt2q
from pt2q import Tensor, nn
from pt2q.nn import functional as F
from pt2q.vision.models._api import Weights, load_weights


def _divisible(value: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Conv2dNormActivation(nn.Sequential):
    """Convolution, batch norm, ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> None:  # fmt: skip
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; with a residual connection where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand_ratio: int) -> None:
        super().__init__()
        hidden = round(inputs * expand_ratio)
        self.use_res_connect = stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(Conv2dNormActivation(inputs, hidden, kernel=1))
        layers += [
            Conv2dNormActivation(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, 1, 0, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


# expansion, output channels, repeats, stride of the first block
_STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]  # fmt: skip


class MobileNetV2(nn.Module):
    """Width-scalable MobileNetV2."""

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.2) -> None:  # fmt: skip
        super().__init__()
        channels = _divisible(32 * width_mult)
        self.last_channel = _divisible(1280 * max(1.0, width_mult))
        features: list[nn.Module] = [Conv2dNormActivation(3, channels, stride=2)]
        for expand, outputs, repeats, stride in _STAGES:
            outputs = _divisible(outputs * width_mult)
            for i in range(repeats):
                features.append(InvertedResidual(channels, outputs, stride if i == 0 else 1, expand))
                channels = outputs
        features.append(Conv2dNormActivation(channels, self.last_channel, kernel=1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes))  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = F.adaptive_avg_pool2d(x, (1, 1))
        x = pt2q.flatten(x, 1)
        return self.classifier(x)


class MobileNet_V2_Weights(Weights):
    IMAGENET1K_V1 = "mobilenet_v2-b0353104.pth"
    IMAGENET1K_V2 = "mobilenet_v2-7ebf99e0.pth"
    DEFAULT = IMAGENET1K_V2


def mobilenet_v2(*, weights: Any = None, pretrained: bool | None = None, **kwargs: Any) -> MobileNetV2:
    """MobileNetV2, 3.5 M parameters."""
    kwargs.pop("progress", None)
    model = MobileNetV2(**kwargs)
    load_weights(model, weights, pretrained, MobileNet_V2_Weights.DEFAULT.file_name)
    return model
