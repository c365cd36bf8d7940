"""Networks that ``pt2q.vision`` does not have: a sentence encoder, ViT-B/16, the dense part of DLRM.

Written in PyTorch's dialect; ``workloads.module_for`` reads this very file as PyTorch code for the peers.
"""

from __future__ import annotations

import pt2q
from pt2q import Tensor, nn
from pt2q.nn import functional as F


class EncoderLayer(nn.Module):
    """Transformer encoder layer; ``pre_norm`` as in ViT, else as in BERT."""

    def __init__(self, width: int, heads: int, hidden: int, pre_norm: bool, eps: float = 1e-5) -> None:
        super().__init__()
        self.heads, self.pre_norm = heads, pre_norm
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, x.shape[2] // self.heads).transpose(1, 2)

    def attend(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        y = F.scaled_dot_product_attention(q, k, v, bias)
        return self.output(y.transpose(1, 2).reshape(x.shape[0], x.shape[1], x.shape[2]))

    def feed(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        if self.pre_norm:
            x = x + self.attend(self.norm1(x), bias)
            return x + self.feed(self.norm2(x))
        x = self.norm1(x + self.attend(x, bias))
        return self.norm2(x + self.feed(x))


class SentenceEncoder(nn.Module):
    """The shape of all-MiniLM-L6: token ids [batch, length] to the mean of the last layer [batch, 384]."""

    def __init__(self, length: int = 128, width: int = 384, layers: int = 6, heads: int = 12, hidden: int = 1536, vocabulary: int = 30522) -> None:  # fmt: skip
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(*(EncoderLayer(width, heads, hidden, False) for _ in range(layers)))

    def forward(self, ids: Tensor) -> Tensor:
        return self.layers(self.norm(self.tokens(ids) + self.positions.weight)).mean(1)


class MiniLM(nn.Module):
    """all-MiniLM-L6-v2 itself: token ids and mask [batch, length] to unit vectors [batch, 384]."""

    def __init__(self, width: int = 384, layers: int = 6, heads: int = 12, hidden: int = 1536) -> None:
        super().__init__()
        self.tokens, self.positions, self.types = nn.Embedding(30522, width), nn.Embedding(512, width), nn.Embedding(2, width)  # fmt: skip
        self.norm = nn.LayerNorm(width, 1e-12)
        self.layers = nn.ModuleList([EncoderLayer(width, heads, hidden, False, 1e-12) for _ in range(layers)])

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        mask = mask.to(pt2q.float32)
        bias = (1.0 - mask)[:, None, None, :] * -10000.0
        x = self.norm(self.tokens(ids) + self.positions.weight[: ids.shape[1]] + self.types.weight[0])
        for layer in self.layers:
            x = layer(x, bias)
        mean = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return F.normalize(mean, dim=1)


# Names in the published weights, in the order in which they have to be replaced.
MINILM_NAMES = (("embeddings.word_embeddings", "tokens"), ("embeddings.position_embeddings", "positions"),
                ("embeddings.token_type_embeddings", "types"), ("embeddings.LayerNorm", "norm"),
                ("encoder.layer.", "layers."), ("attention.self.", ""), ("attention.output.dense", "output"),
                ("attention.output.LayerNorm", "norm1"), ("intermediate.dense", "up"),
                ("output.dense", "down"), ("output.LayerNorm", "norm2"))  # fmt: skip


class VisionTransformer(nn.Module):
    """ViT-B/16 at 224x224."""

    def __init__(self, width: int = 768, layers: int = 12, heads: int = 12, hidden: int = 3072, classes: int = 1000) -> None:  # fmt: skip
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(0.02 * pt2q.randn(1, 1, width))
        self.positions = nn.Parameter(0.02 * pt2q.randn(1, 197, width))
        self.layers = nn.Sequential(*(EncoderLayer(width, heads, hidden, True) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = pt2q.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.layers(x))[:, 0])


def _stack(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class DenseRanker(nn.Module):
    """The dense part of DLRM: 13 numbers and 351 pair interactions per row to one probability."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom, self.top = _stack(13, 512, 256, 128), _stack(479, 1024, 1024)
        self.output = nn.Linear(1024, 1)

    def forward(self, dense: Tensor, pairs: Tensor) -> Tensor:
        x = pt2q.cat([self.bottom(dense), pairs], 1)
        return pt2q.sigmoid(self.output(self.top(x)))


def minilm() -> nn.Module:
    return SentenceEncoder()


def minilm_masked() -> nn.Module:
    return MiniLM()


def vit_b16() -> nn.Module:
    return VisionTransformer()


def dlrm() -> nn.Module:
    return DenseRanker()
