"""Layers with int8 weights that take and give float tensors: activations are quantized at each call."""

from __future__ import annotations

from typing import Any

import pt2q
from pt2q import _core, nn
from pt2q.ao.nn.quantized import linear as nnq
from pt2q.ao.nn.quantized._base import quantize_weight

__all__ = ["Linear", "LinearReLU"]


class Linear(nnq.Linear):
    """y = x·Wᵀ + b; x is quantized to 7 bits by its own range at each call."""

    _relu = False

    def set_weight_bias(self, w: Any, b: Any) -> None:
        """Takes a qint8 weight and a float32 bias (or None)."""
        if not isinstance(w, _core.QuantizedTensor) or w.dtype is not _core.qint8:
            raise _core.TypeError("the weight of a quantized linear layer must be a qint8 tensor")
        self.__dict__.update(_weight=w, _bias=b)  # no parameters: state_dict has its own names
        self._dynamic = _core.DynamicLinear(w, None if b is None else pt2q.as_tensor(b), self._relu)

    def forward(self, x: Any) -> Any:
        return self._dynamic(x)

    def _get_name(self) -> str:
        return f"DynamicQuantized{type(self).__name__}"

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The quantized form of a float module with a ``qconfig``, or of a fused one."""
        del use_precomputed_fake_quant
        linear = mod[0] if isinstance(mod, nn.Sequential) else mod
        made = cls(linear.in_features, linear.out_features, linear.bias is not None)
        bias = None if linear.bias is None else linear.bias.float()
        made.set_weight_bias(quantize_weight(linear.weight, mod, "Linear"), bias)
        return made

    def extra_repr(self) -> str:
        scheme = str(self._weight.qscheme()).replace("pt2q", "torch")
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"dtype=torch.qint8, qscheme={scheme}"
        )


class LinearReLU(Linear):
    _relu = True
