"""Quantized modules under PyTorch's names: what ``torch.quantization.convert`` swaps in.

They take and give :class:`pt2q.QuantizedTensor`; every layer runs on integer kernels.
"""

from __future__ import annotations

from typing import Any

import pt2q
from pt2q import _core
from pt2q.ao.nn.quantized._base import result_qparams
from pt2q.ao.nn.quantized.activation import (
    ELU,
    BatchNorm2d,
    BatchNorm3d,
    Dropout,
    GroupNorm,
    Hardswish,
    LayerNorm,
    LeakyReLU,
    ReLU6,
)
from pt2q.ao.nn.quantized.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from pt2q.ao.nn.quantized.functional_modules import FloatFunctional, QFunctional
from pt2q.ao.nn.quantized.linear import Linear
from pt2q.nn.modules.module import Module

__all__ = [
    "ELU",
    "BatchNorm2d",
    "BatchNorm3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DeQuantize",
    "Dropout",
    "FloatFunctional",
    "GroupNorm",
    "Hardswish",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "QFunctional",
    "Quantize",
    "ReLU6",
]


class Quantize(Module):
    """Rounds a float tensor to integers with ``scale`` and ``zero_point``."""

    def __init__(self, scale: float, zero_point: int, dtype: Any) -> None:
        super().__init__()
        self.register_buffer("scale", pt2q.tensor([float(scale)]))
        self.register_buffer("zero_point", pt2q.tensor([int(zero_point)]))
        self.dtype = dtype

    def forward(self, X: Any) -> Any:
        return _core.quantize_per_tensor(X, self.scale, self.zero_point, self.dtype)

    @classmethod
    def from_float(cls, mod: Any) -> Quantize:
        if not hasattr(mod, "activation_post_process"):
            raise AssertionError("Quantize.from_float needs a module with an activation_post_process")
        return cls(*result_qparams(mod.activation_post_process))

    def extra_repr(self) -> str:
        dtype = str(self.dtype).replace("pt2q", "torch")
        return f"scale={self.scale}, zero_point={self.zero_point}, dtype={dtype}"


class DeQuantize(Module):
    """Integers to float32."""

    def forward(self, Xq: Any) -> Any:
        return Xq.dequantize()

    @classmethod
    def from_float(cls, mod: Any) -> DeQuantize:
        del mod
        return cls()
