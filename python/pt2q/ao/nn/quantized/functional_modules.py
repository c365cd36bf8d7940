"""Operators that need a scale of their own: as modules, so that they can be observed."""

from __future__ import annotations

from typing import Any

import pt2q
from pt2q import _core
from pt2q.ao.nn.quantized._base import QuantizedModule
from pt2q.nn import Identity
from pt2q.nn.modules.module import Module


class FloatFunctional(Module):
    """add, mul, cat ... whose results are observed. Call its methods, not the module."""

    def __init__(self) -> None:
        super().__init__()
        self.activation_post_process: Any = Identity()

    def forward(self, x: Any) -> Any:
        raise RuntimeError(
            "FloatFunctional is not intended to use the 'forward'. Please use the underlying operation"
        )

    def _observed(self, result: Any) -> Any:
        return self.activation_post_process(result)

    def add(self, x: Any, y: Any) -> Any:
        return self._observed(pt2q.add(x, y))

    def add_scalar(self, x: Any, y: float) -> Any:
        return pt2q.add(x, y)

    def mul(self, x: Any, y: Any) -> Any:
        return self._observed(pt2q.mul(x, y))

    def mul_scalar(self, x: Any, y: float) -> Any:
        return pt2q.mul(x, y)

    def cat(self, x: Any, dim: int = 0) -> Any:
        return self._observed(pt2q.cat(x, dim))

    def add_relu(self, x: Any, y: Any) -> Any:
        return self._observed(pt2q.relu(pt2q.add(x, y)))

    def matmul(self, x: Any, y: Any) -> Any:
        return self._observed(pt2q.matmul(x, y))


class QFunctional(QuantizedModule):
    """The quantized form of FloatFunctional; results have its scale and zero point."""

    def __init__(self) -> None:
        super().__init__()
        self.activation_post_process: Any = Identity()
        self._ops: dict[str, Any] = {}

    def _get_name(self) -> str:
        return "QFunctional"

    def extra_repr(self) -> str:
        return f"scale={self.scale}, zero_point={self.zero_point}"

    def forward(self, x: Any) -> Any:
        raise RuntimeError("Functional is not intended to use the 'forward'. Please use the underlying operation")

    def _operate(self, key: str, op: str, arguments: list[Any], inputs: Any, unary: str = "") -> Any:
        found = self._ops.get(key)
        if found is None:
            found = self._ops[key] = _core.QuantizedOp(op, arguments, unary)
        return self._apply_op(found, *inputs)

    def add(self, x: Any, y: Any) -> Any:
        return self._operate("add", "aten.add.Tensor", [None, None], (x, y))

    def mul(self, x: Any, y: Any) -> Any:
        return self._operate("mul", "aten.mul.Tensor", [None, None], (x, y))

    def matmul(self, x: Any, y: Any) -> Any:
        return self._operate("matmul", "aten.matmul.default", [None, None], (x, y))

    def add_relu(self, x: Any, y: Any) -> Any:
        return self._operate("add_relu", "aten.add.Tensor", [None, None], (x, y), "aten.relu.default")

    def cat(self, x: Any, dim: int = 0) -> Any:
        return self._operate(f"cat {dim}", "aten.cat.default", [None, dim], x)

    def add_scalar(self, x: Any, y: float) -> Any:
        """The integers move and, where the zero point would leave the range, are rescaled."""
        low, high = _integer_range(x)
        zero_point = x.q_zero_point() - round(y / x.q_scale())
        if low <= zero_point <= high:
            return _core._make_per_tensor_quantized_tensor(x.int_repr(), x.q_scale(), zero_point)
        span = (high - low) * x.q_scale()
        bottom = min((low - zero_point) * x.q_scale(), 0.0)
        top = max((high - zero_point) * x.q_scale(), 0.0)
        scale = max(top - bottom, span) / (high - low)
        moved = low if bottom == 0.0 else high
        return _core.QuantizedOp("aten.add.Tensor", [None, y])([x], scale, moved, None)

    def mul_scalar(self, x: Any, y: float) -> Any:
        """The scale changes; the integers are mirrored for a negative factor."""
        if y == 0.0:
            return _core.QuantizedOp("aten.mul.Tensor", [None, 0.0])([x], 1.0, x.q_zero_point(), None)
        scale = x.q_scale() * abs(y)
        if y > 0:
            return _core._make_per_tensor_quantized_tensor(x.int_repr(), scale, x.q_zero_point())
        low, high = _integer_range(x)
        return _core.QuantizedOp("aten.mul.Tensor", [None, y])([x], scale, low + high - x.q_zero_point(), None)

    @classmethod
    def from_float(cls, mod: FloatFunctional) -> QFunctional:
        if type(mod) is not FloatFunctional:
            raise AssertionError("QFunctional.from_float expects an instance of FloatFunctional")
        made = cls()
        made._take_output(mod)
        return made


def _integer_range(x: Any) -> tuple[int, int]:
    info = pt2q.iinfo(x.int_repr().dtype)
    return info.min, info.max
