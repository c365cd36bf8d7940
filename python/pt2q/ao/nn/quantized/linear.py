"""Quantized linear layers."""

from __future__ import annotations

from typing import Any

import pt2q
from pt2q import _core, nn
from pt2q.ao.nn.quantized._base import QuantizedModule, quantize_weight


class Linear(QuantizedModule):
    """y = x·Wᵀ + b with an int8 weight [out_features, in_features] and a float bias."""

    _unary = ""

    def __init__(self, in_features: int, out_features: int, bias_: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        weight = _core.quantize_per_tensor(pt2q.zeros((out_features, in_features)), 1.0, 0, _core.qint8)
        self.set_weight_bias(weight, pt2q.zeros((out_features,)) if bias_ else None)

    def set_weight_bias(self, w: Any, b: Any) -> None:
        """Takes a qint8 weight and a float32 bias (or None)."""
        if not isinstance(w, _core.QuantizedTensor) or w.dtype is not _core.qint8:
            raise _core.TypeError("the weight of a quantized linear layer must be a qint8 tensor")
        self.__dict__.update(_weight=w, _bias=b)  # no parameters: state_dict has its own names
        self._op = _core.QuantizedOp("aten.linear.default", [None, None, b], self._unary)
        self._op.set_weight(1, w)

    def weight(self) -> Any:
        return self._weight

    def bias(self) -> Any:
        return self._bias

    def forward(self, x: Any) -> Any:
        return self._apply_op(self._op, x)

    def _own_state(self) -> dict[str, Any]:
        return {
            **super()._own_state(),
            "_packed_params.dtype": _core.qint8,
            "_packed_params._packed_params": (self._weight, self._bias),
        }

    def _load_own_state(self, state: dict[str, Any]) -> None:
        super()._load_own_state(state)
        if "_packed_params._packed_params" in state:
            self.set_weight_bias(*state["_packed_params._packed_params"])

    @classmethod
    def from_float(cls, mod: Any) -> Any:
        """The quantized form of an observed float module, or of a fused one."""
        linear = mod[0] if isinstance(mod, nn.Sequential) else mod
        weight, bias = mod.folded() if hasattr(mod, "folded") else (linear.weight, linear.bias)
        made = cls(linear.in_features, linear.out_features, bias is not None)
        made.set_weight_bias(
            quantize_weight(weight, mod, "Linear"), None if bias is None else bias.float()
        )
        made._take_output(mod)
        return made

    def extra_repr(self) -> str:
        scheme = str(self._weight.qscheme()).replace("pt2q", "torch")
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"scale={self.scale}, zero_point={self.zero_point}, qscheme={scheme}"
        )


class LinearReLU(Linear):
    _unary = "aten.relu.default"
