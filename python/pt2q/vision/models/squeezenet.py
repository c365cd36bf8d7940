"""SqueezeNet 1.1 (Iandola et al. 2016) with torchvision's parameter names."""

from __future__ import annotations

from typing import Any

import pt2q
from pt2q import Tensor, nn
from pt2q.vision.models._api import Weights, load_weights


class Fire(nn.Module):
    """1x1 squeeze, then 1x1 and 3x3 expansions side by side."""

    def __init__(self, inplanes: int, squeeze: int, expand1x1: int, expand3x3: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inplanes, squeeze, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze, expand1x1, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze, expand3x3, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        return pt2q.cat(
            [
                self.expand1x1_activation(self.expand1x1(x)),
                self.expand3x3_activation(self.expand3x3(x)),
            ],
            1,
        )


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1."""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()

        def pool() -> nn.MaxPool2d:
            return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)

        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=3, stride=2),
            nn.ReLU(inplace=True),
            pool(),
            Fire(64, 16, 64, 64),
            Fire(128, 16, 64, 64),
            pool(),
            Fire(128, 32, 128, 128),
            Fire(256, 32, 128, 128),
            pool(),
            Fire(256, 48, 192, 192),
            Fire(384, 48, 192, 192),
            Fire(384, 64, 256, 256),
            Fire(512, 64, 256, 256),
        )
        final = nn.Conv2d(512, num_classes, kernel_size=1)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout), final, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(final.weight, mean=0.0, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return pt2q.flatten(self.classifier(self.features(x)), 1)


class SqueezeNet1_1_Weights(Weights):
    IMAGENET1K_V1 = "squeezenet1_1-b8a52dc0.pth"
    DEFAULT = IMAGENET1K_V1


def squeezenet1_1(*, weights: Any = None, pretrained: bool | None = None, **kwargs: Any) -> SqueezeNet:
    """SqueezeNet 1.1, 1.2 M parameters."""
    kwargs.pop("progress", None)
    model = SqueezeNet(**kwargs)
    load_weights(model, weights, pretrained, SqueezeNet1_1_Weights.DEFAULT.file_name)
    return model
