"""Fused layers for quantization-aware training. A batch norm is folded into the fake-quantized weight."""

from __future__ import annotations

from typing import Any

import pt2q
from pt2q import nn
from pt2q.ao.nn import intrinsic as nni
from pt2q.ao.nn import qat as nnqat
from pt2q.nn.parameter import Parameter

__all__ = [
    "ConvBn1d",
    "ConvBn2d",
    "ConvBn3d",
    "ConvBnReLU1d",
    "ConvBnReLU2d",
    "ConvBnReLU3d",
    "ConvReLU1d",
    "ConvReLU2d",
    "ConvReLU3d",
    "LinearBn1d",
    "LinearReLU",
    "freeze_bn_stats",
    "update_bn_stats",
]


class _ThenReLU(nni._ObservedAsOne):
    def forward(self, input: Any) -> Any:
        return nn.functional.relu(super().forward(input))  # type: ignore[misc]


class ConvReLU1d(_ThenReLU, nnqat.Conv1d):
    _FLOAT_MODULE: Any = nni.ConvReLU1d


class ConvReLU2d(_ThenReLU, nnqat.Conv2d):
    _FLOAT_MODULE: Any = nni.ConvReLU2d


class ConvReLU3d(_ThenReLU, nnqat.Conv3d):
    _FLOAT_MODULE: Any = nni.ConvReLU3d


class LinearReLU(_ThenReLU, nnqat.Linear):
    _FLOAT_MODULE: Any = nni.LinearReLU


class _WithBatchNorm(nni._ObservedAsOne):
    """The layer runs with weight · γ / σ fake-quantized; dividing its result by γ / σ gives what the
    batch norm takes, so that its statistics are those of the float model."""

    _RELU = False
    freeze_bn = False
    bn: Any
    # Of the layer this is mixed into:
    weight: Any
    bias: Any
    weight_fake_quant: Any
    training: bool
    _convolve: Any
    _FUNCTION: Any

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The training form of a fused float module that has a ``qconfig``; parameters are shared."""
        made = super().from_float(mod)  # type: ignore[misc]
        fake_quant = made._modules.pop("weight_fake_quant")
        made.bn = mod[1]
        made._modules["weight_fake_quant"] = fake_quant  # as PyTorch's state dicts are ordered
        return made

    def _factor(self) -> Any:
        return self.bn.weight / pt2q.sqrt(self.bn.running_var + self.bn.eps)

    def _forward_scaled(self, run: Any) -> Any:
        """``run(weight)`` is the layer without its bias."""
        factor = self._factor()
        out_first = [-1] + [1] * (self.weight.dim() - 1)
        scaled = self.weight_fake_quant(self.weight * factor.reshape(out_first))
        y = run(scaled)
        channels = [1, -1] + [1] * (y.dim() - 2)
        y = y / factor.reshape(channels)
        if self.bias is not None:
            y = y + self.bias.reshape(channels)
        y = self.bn(y)
        return nn.functional.relu(y) if self._RELU else y

    def folded(self) -> tuple[Any, Any]:
        """Weight and bias with the batch norm in them, as conversion takes them."""
        factor = self.bn.weight * pt2q.rsqrt(self.bn.running_var + self.bn.eps)
        bias = pt2q.zeros_like(self.bn.running_mean) if self.bias is None else self.bias
        weight = self.weight * factor.reshape([-1] + [1] * (self.weight.dim() - 1))
        return Parameter(weight), Parameter((bias - self.bn.running_mean) * factor + self.bn.bias)

    def freeze_bn_stats(self) -> Any:
        """From now on the batch norm uses its running statistics in training too."""
        self.freeze_bn = True
        self.bn.training = False
        return self

    def update_bn_stats(self) -> Any:
        self.freeze_bn = False
        self.bn.training = self.training
        return self

    def train(self, mode: bool = True) -> Any:
        super().train(mode)  # type: ignore[misc]
        if self.freeze_bn:
            self.bn.training = False
        return self


class _ConvBn(_WithBatchNorm):
    def forward(self, input: Any) -> Any:
        return self._forward_scaled(lambda w: self._convolve(self._FUNCTION, input, w, None))


class ConvBn1d(_ConvBn, nnqat.Conv1d):
    _FLOAT_MODULE: Any = nni.ConvBn1d


class ConvBn2d(_ConvBn, nnqat.Conv2d):
    _FLOAT_MODULE: Any = nni.ConvBn2d


class ConvBn3d(_ConvBn, nnqat.Conv3d):
    _FLOAT_MODULE: Any = nni.ConvBn3d


class ConvBnReLU1d(ConvBn1d):
    _FLOAT_MODULE: Any = nni.ConvBnReLU1d
    _RELU = True


class ConvBnReLU2d(ConvBn2d):
    _FLOAT_MODULE: Any = nni.ConvBnReLU2d
    _RELU = True


class ConvBnReLU3d(ConvBn3d):
    _FLOAT_MODULE: Any = nni.ConvBnReLU3d
    _RELU = True


class LinearBn1d(_WithBatchNorm, nnqat.Linear):
    _FLOAT_MODULE: Any = nni.LinearBn1d

    def forward(self, input: Any) -> Any:
        return self._forward_scaled(lambda w: nn.functional.linear(input, w))


def freeze_bn_stats(mod: Any) -> None:
    """For ``model.apply``: batch norms of fused layers use their running statistics."""
    if isinstance(mod, _WithBatchNorm):
        mod.freeze_bn_stats()


def update_bn_stats(mod: Any) -> None:
    if isinstance(mod, _WithBatchNorm):
        mod.update_bn_stats()
