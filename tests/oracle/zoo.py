"""Small PyTorch models of the kinds people quantize; ``ZOO[name]()`` gives (model in eval mode, inputs).

Weights and batch-norm statistics are random but the same in every run.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Built = tuple[nn.Module, tuple[torch.Tensor, ...]]
ZOO: dict[str, Callable[[], Built]] = {}


def model(make: Callable[[], Built]) -> Callable[[], Built]:
    """Registers a builder, seeded by its name."""

    def build() -> Built:
        torch.manual_seed(zlib.crc32(make.__name__.encode()))
        net, inputs = make()
        return random_statistics(net).eval(), inputs

    ZOO[make.__name__] = build
    return build


def random_statistics(net: nn.Module) -> nn.Module:
    """Batch norms of a new model do nothing; give them what training would leave."""
    for m in net.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None:
            with torch.no_grad():
                m.running_mean.normal_(0, 0.1)
                m.running_var.uniform_(0.5, 1.5)
                if m.affine:
                    m.weight.uniform_(0.7, 1.3)
                    m.bias.uniform_(-0.2, 0.2)
    return net


def image(size: int = 16, channels: int = 3) -> tuple[torch.Tensor, ...]:
    return (torch.randn(2, channels, size, size),)


def conv_bn(i: int, o: int, k: int = 3, stride: int = 1, groups: int = 1, act: Any = None) -> nn.Sequential:
    parts: list[nn.Module] = [
        nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False),
        nn.BatchNorm2d(o),
    ]
    return nn.Sequential(*parts, *([act] if act is not None else []))


class BasicBlock(nn.Module):
    """The residual block of ResNet-18, with torchvision's names."""

    def __init__(self, i: int, o: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(o)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(o)
        self.downsample = None
        if stride != 1 or i != o:
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet(nn.Module):
    def __init__(self, width: int, blocks: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        stages, i = [], width
        for k, count in enumerate(blocks):
            o = width * 2**k
            stage = [BasicBlock(i, o, 2 if k else 1), *(BasicBlock(o, o) for _ in range(count - 1))]
            stages.append(nn.Sequential(*stage))
            i = o
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(i, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet18(width: int = 64, classes: int = 1000) -> nn.Module:
    return ResNet(width, (2, 2, 2, 2), classes)


@model
def resnet18_narrow() -> Built:
    return resnet18(8, 10), image(32)


class InvertedResidual(nn.Module):
    def __init__(self, i: int, o: int, stride: int, expand: int, act: Callable[[], nn.Module]) -> None:
        super().__init__()
        h = i * expand
        self.use_res = stride == 1 and i == o
        self.conv = nn.Sequential(
            conv_bn(i, h, 1, act=act()), conv_bn(h, h, 3, stride, h, act=act()), conv_bn(h, o, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.use_res else self.conv(x)


@model
def mobilenet_v2() -> Built:
    act = lambda: nn.ReLU6(inplace=True)  # noqa: E731
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act=act()),
        InvertedResidual(8, 8, 1, 2, act),
        InvertedResidual(8, 12, 2, 2, act),
        InvertedResidual(12, 12, 1, 2, act),
        conv_bn(12, 24, 1, act=act()),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(24, 10),
    ), image()  # fmt: skip


class SqueezeExcite(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.pool, self.fc1, self.fc2 = nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c // 2, 1), nn.Conv2d(c // 2, c, 1)
        self.act, self.gate = nn.ReLU(), nn.Hardsigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.fc2(self.act(self.fc1(self.pool(x)))))


@model
def mobilenet_v3() -> Built:
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act=nn.Hardswish(inplace=True)), SqueezeExcite(8),
        InvertedResidual(8, 8, 1, 2, nn.Hardswish), InvertedResidual(8, 12, 2, 2, nn.ReLU),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(12, 16), nn.Hardswish(), nn.Linear(16, 10),
    ), image()  # fmt: skip


@model
def efficientnet() -> Built:
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act=nn.SiLU(inplace=True)), InvertedResidual(8, 8, 1, 4, nn.SiLU), SqueezeExcite(8),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2, inplace=True), nn.Linear(8, 10),
    ), image()  # fmt: skip


class Fire(nn.Module):
    def __init__(self, i: int, s: int, e: int) -> None:
        super().__init__()
        self.squeeze, self.e1, self.e3 = nn.Conv2d(i, s, 1), nn.Conv2d(s, e, 1), nn.Conv2d(s, e, 3, padding=1)
        self.a, self.a1, self.a3 = nn.ReLU(inplace=True), nn.ReLU(inplace=True), nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(self.squeeze(x))
        return torch.cat([self.a1(self.e1(x)), self.a3(self.e3(x))], 1)


@model
def squeezenet() -> Built:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(8, 4, 8), Fire(16, 4, 8), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(16, 4, 8),
        nn.Dropout(), nn.Conv2d(16, 10, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(),
    ), image(32)  # fmt: skip


@model
def vgg() -> Built:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, 10),
    ), image()  # fmt: skip


class Mnist(nn.Module):
    """PyTorch's MNIST example: functional activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, 1), nn.Conv2d(8, 8, 3, 1)
        self.drop1, self.drop2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(8 * 36, 16), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        x = self.drop2(F.relu(self.fc1(torch.flatten(self.drop1(x), 1))))
        return F.log_softmax(self.fc2(x), dim=1)


@model
def mnist() -> Built:
    return Mnist(), image(16, 1)


class DenseLayer(nn.Module):
    def __init__(self, i: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.relu1, self.conv1 = nn.BatchNorm2d(i), nn.ReLU(inplace=True), nn.Conv2d(i, 8, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(8, growth, 3, padding=1, bias=False)

    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        y = self.conv1(self.relu1(self.norm1(torch.cat(parts, 1))))
        return self.conv2(self.relu2(self.norm2(y)))


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.layers = nn.ModuleList([DenseLayer(8 + 4 * k, 4) for k in range(3)])
        self.norm, self.pool, self.fc = nn.BatchNorm2d(20), nn.AvgPool2d(2), nn.Linear(20, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.stem(x)]
        for layer in self.layers:
            parts.append(layer(parts))
        x = self.pool(F.relu(self.norm(torch.cat(parts, 1)), inplace=True))
        return self.fc(F.adaptive_avg_pool2d(x, (1, 1)).flatten(1))


@model
def densenet() -> Built:
    return DenseNet(), image(8)


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = conv_bn(8, 4, 1, act=nn.ReLU())
        self.b = nn.Sequential(conv_bn(8, 4, 1, act=nn.ReLU()), conv_bn(4, 4, 3, act=nn.ReLU()))
        self.c = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_bn(8, 4, 1, act=nn.ReLU()))
        self.d = nn.Sequential(nn.AvgPool2d(3, 1, 1), conv_bn(8, 4, 1, act=nn.ReLU()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.a(x), self.b(x), self.c(x), self.d(x)], 1)


@model
def googlenet() -> Built:
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act=nn.ReLU()), Inception(), nn.Conv2d(16, 8, 1), nn.ReLU(), Inception(), nn.MaxPool2d(2),
        nn.Conv2d(16, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ), image()  # fmt: skip


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        act = nn.ReLU
        self.d1, self.d2 = conv_bn(3, 4, act=act()), conv_bn(4, 8, act=act())
        self.pool, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="nearest")
        self.e1, self.out = conv_bn(12, 4, act=act()), nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.d1(x)
        b = self.up(self.d2(self.pool(a)))
        return torch.sigmoid(self.out(self.e1(torch.cat([a, b], 1))))


@model
def unet() -> Built:
    return UNet(), image()


@model
def dcgan() -> Built:
    return nn.Sequential(
        nn.ConvTranspose2d(8, 8, 4, 1, 0, bias=False), nn.BatchNorm2d(8), nn.ReLU(True),
        nn.ConvTranspose2d(8, 4, 4, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(True),
        nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Tanh(),
    ), (torch.randn(2, 8, 1, 1),)  # fmt: skip


@model
def espcn() -> Built:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 4, 3, padding=1), nn.PixelShuffle(2)
    ), image(12, 1)


class Tcn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv1d(4, 8, 3, padding=2, dilation=2), nn.Conv1d(8, 8, 3, padding=1)
        self.skip, self.fc = nn.Conv1d(4, 8, 1), nn.Linear(8, 5)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.c2(self.relu(self.c1(x))) + self.skip(x))
        return self.fc(y.mean(-1))


@model
def tcn() -> Built:
    return Tcn(), (torch.randn(2, 4, 16),)


@model
def video() -> Built:
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(32, 5)
    ), (torch.randn(2, 2, 4, 4, 4),)


@model
def mlp_activations() -> Built:
    return nn.Sequential(
        nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.LeakyReLU(), nn.Linear(8, 8), nn.Tanh(),
        nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8), nn.GELU(approximate="tanh"), nn.Linear(8, 8), nn.Sigmoid(),
        nn.Linear(8, 8),
    ), (torch.randn(4, 8),)  # fmt: skip


@model
def conv_activations() -> Built:
    c = lambda: nn.Conv2d(4, 4, 3, padding=1)  # noqa: E731
    return nn.Sequential(
        c(), nn.ReLU(), c(), nn.Hardtanh(-0.5, 0.5), c(), nn.Hardswish(), c(), nn.ReLU6(), c(), nn.SiLU(),
        c(), nn.GELU(), c(), nn.LeakyReLU(), c(), nn.Sigmoid(), c(),
    ), image(8, 4)  # fmt: skip


class ResidualMlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(8, 8) for _ in range(4))
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.a(x) + x)
        y = self.b(y) + y
        return self.c(y) + self.d(y)


@model
def residual_mlp() -> Built:
    return ResidualMlp(), (torch.randn(4, 8),)


class Attention(nn.Module):
    def __init__(self, dim: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, d = x.shape
        q, k, v = (f(x).view(b, n, self.heads, d // self.heads).transpose(1, 2) for f in (self.q, self.k, self.v))
        p = torch.softmax(torch.matmul(q, k.transpose(-2, -1)) * (d // self.heads) ** -0.5, -1)
        return self.o(torch.matmul(p, v).transpose(1, 2).reshape(b, n, d))


class EncoderBlock(nn.Module):
    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.n1, self.n2, self.att = nn.LayerNorm(dim), nn.LayerNorm(dim), Attention(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.att(self.n1(x))
        return x + self.mlp(self.n2(x))


@model
def attention() -> Built:
    return Attention(), (torch.randn(2, 5, 8),)


class Vit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch, self.pos = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 16, 8))
        self.blocks, self.head = nn.Sequential(EncoderBlock(), EncoderBlock()), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2) + self.pos
        return self.head(self.blocks(x)[:, 0])


@model
def vit() -> Built:
    return Vit(), image()


class Bert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places, self.norm = nn.Embedding(20, 8), nn.Embedding(6, 8), nn.LayerNorm(8)
        self.block, self.pool, self.head = EncoderBlock(), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        return self.head(torch.tanh(self.pool(self.block(self.norm(x))[:, 0])))


@model
def bert() -> Built:
    return Bert(), (torch.randint(0, 20, (2, 6)),)


class Sdpa(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


@model
def fused_attention() -> Built:
    return Sdpa(), (torch.randn(2, 5, 8),)


class ConvNextBlock(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.dw, self.norm = nn.Conv2d(c, c, 7, padding=3, groups=c), nn.LayerNorm(c)
        self.a, self.act, self.b = nn.Linear(c, 2 * c), nn.GELU(), nn.Linear(2 * c, c)
        self.scale = nn.Parameter(torch.ones(c, 1, 1) * 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.b(self.act(self.a(self.norm(self.dw(x).permute(0, 2, 3, 1)))))
        return x + self.scale * y.permute(0, 3, 1, 2)


@model
def convnext() -> Built:
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, 4), ConvNextBlock(8), ConvNextBlock(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    ), image()


class TextCnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(30, 8)
        self.convs = nn.ModuleList([nn.Conv1d(8, 4, k) for k in (2, 3)])
        self.fc = nn.Linear(8, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.emb(ids).transpose(1, 2)
        return self.fc(torch.cat([torch.amax(F.relu(c(x)), 2) for c in self.convs], 1))


@model
def textcnn() -> Built:
    return TextCnn(), (torch.randint(0, 30, (2, 9)),)


class Recommender(nn.Module):
    """DLRM in small: two embeddings, dot products, two MLPs."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(20, 4), nn.Embedding(20, 4)
        self.bottom = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())

    def forward(self, dense: torch.Tensor, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        x = self.bottom(dense)
        u, i = self.users(user), self.items(item)
        return self.top(torch.cat([x, u * i, x * u], 1))


@model
def dlrm() -> Built:
    return Recommender(), (torch.randn(4, 6), torch.randint(0, 20, (4,)), torch.randint(0, 20, (4,)))


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enc, self.mu, self.var = nn.Linear(16, 8), nn.Linear(8, 4), nn.Linear(8, 4)
        self.dec, self.out = nn.Linear(4, 8), nn.Linear(8, 16)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h = F.relu(self.enc(x))
        mu, logvar = self.mu(h), self.var(h)
        z = mu + torch.exp(0.5 * logvar)
        return torch.sigmoid(self.out(F.relu(self.dec(z)))), mu, logvar


@model
def vae() -> Built:
    return Vae(), (torch.randn(2, 16),)


class ShuffleUnit(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        h = c // 2
        self.branch = nn.Sequential(
            conv_bn(h, h, 1, act=nn.ReLU(True)), conv_bn(h, h, 3, groups=h), conv_bn(h, h, 1, act=nn.ReLU(True))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, dim=1)
        y = torch.cat((a, self.branch(b)), dim=1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


@model
def shufflenet() -> Built:
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act=nn.ReLU(True)), nn.MaxPool2d(2), ShuffleUnit(8), ShuffleUnit(8),
        conv_bn(8, 16, 1, act=nn.ReLU(True)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    ), image()  # fmt: skip


@model
def regnet() -> Built:
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act=nn.ReLU()), conv_bn(8, 8, 3, groups=4, act=nn.ReLU()), SqueezeExcite(8),
        BasicBlock(8, 8), nn.AvgPool2d(2), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(64, 10),
    ), image()  # fmt: skip


class Arithmetic(nn.Module):
    """Additions and multiplications with constants, themselves and broadcasting."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.c1(x) * 1.5 + 0.5
        b = self.c2(a) * 2.0
        c = F.relu(a + b) * (a + a)
        d = torch.cat([c, c], 1).mean((2, 3), keepdim=True)
        return torch.cat([c, a], 1) * d


@model
def arithmetic() -> Built:
    return Arithmetic(), image(8)


class Yolo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(3, 8, 3, 2, act=nn.SiLU()), conv_bn(8, 8, 3, act=nn.SiLU())
        self.c, self.head = conv_bn(8, 8, 3, act=nn.SiLU()), nn.Conv2d(24, 6, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        y = x + self.c(self.b(x))
        p = self.pool(y)
        return self.head(torch.cat((y, p, self.pool(p)), 1)).flatten(2).permute(0, 2, 1)


@model
def yolo() -> Built:
    return Yolo(), image()
