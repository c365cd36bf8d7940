"""Quantized activations and normalisations: the float operator between integers."""

from __future__ import annotations

from typing import Any

from pt2q import _core, nn
from pt2q.ao.nn.quantized._base import QuantizedModule
from pt2q.nn import functional as F
from pt2q.nn.modules.module import Module


def _own_stores(source: Any) -> Any:
    """The same tensors in a module of its own, without observers."""
    kept: Any = object.__new__(type(source))
    kept.__dict__.update(source.__dict__)
    for store in ("_parameters", "_buffers"):
        kept.__dict__[store] = source.__dict__[store].copy()
    kept.__dict__["_modules"] = {}
    return kept


class _Wrapped(QuantizedModule):
    """A float module whose operator runs on integers; the float module's text is shown."""

    _op_name = ""
    _unary = ""

    def __init__(self, source: Module, arguments: list[Any]) -> None:
        super().__init__()
        self.__dict__["_source"] = source
        self._op = _core.QuantizedOp(self._op_name, arguments, self._unary)

    def forward(self, input: Any) -> Any:
        return self._apply_op(self._op, input)

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> Any:
        state = self._source.state_dict(prefix=prefix, keep_vars=keep_vars)
        state.update(super().state_dict(prefix=prefix, keep_vars=keep_vars))
        return state

    def _load_own_state(self, state: dict[str, Any]) -> None:
        super()._load_own_state(state)
        own = {k: v for k, v in state.items() if k not in ("scale", "zero_point")}
        if own:
            self.__dict__["_source"] = _own_stores(self._source)
            self._source.load_state_dict(own, assign=True)
            self._op = _core.QuantizedOp(self._op_name, self._arguments(self._source), self._unary)

    @classmethod
    def _arguments(cls, source: Any) -> list[Any]:
        return [None]

    @classmethod
    def from_float(cls, mod: Any) -> Any:
        source = mod[0] if isinstance(mod, nn.Sequential) else mod
        made = cls(_own_stores(source), cls._arguments(source))
        made._take_output(mod)
        return made

    def extra_repr(self) -> str:
        return str(self._source.extra_repr())


class LeakyReLU(_Wrapped):
    _op_name = "aten.leaky_relu.default"

    @classmethod
    def _arguments(cls, source: Any) -> list[Any]:
        return [None, source.negative_slope]


class Hardswish(_Wrapped):
    _op_name = "aten.hardswish.default"


class ELU(_Wrapped):
    _op_name = "aten.elu.default"

    @classmethod
    def _arguments(cls, source: Any) -> list[Any]:
        return [None, source.alpha]

    def _own_state(self) -> dict[str, Any]:
        return {}  # PyTorch does not save them either


class LayerNorm(_Wrapped):
    _op_name = "aten.layer_norm.default"

    @classmethod
    def _arguments(cls, source: Any) -> list[Any]:
        return [None, list(source.normalized_shape), source.weight, source.bias, source.eps]


class GroupNorm(_Wrapped):
    _op_name = "aten.group_norm.default"

    @classmethod
    def _arguments(cls, source: Any) -> list[Any]:
        return [None, source.num_groups, source.weight, source.bias, source.eps]


class BatchNorm2d(_Wrapped):
    _op_name = "aten.batch_norm.default"

    @classmethod
    def _arguments(cls, source: Any) -> list[Any]:
        s = source
        return [None, s.weight, s.bias, s.running_mean, s.running_var, False, 0.0, s.eps, False]


class BatchNorm3d(BatchNorm2d):
    pass


class BNReLU2d(BatchNorm2d):
    _unary = "aten.relu.default"


class BNReLU3d(BNReLU2d):
    pass


class ReLU6(Module):
    """Clips at 6; keeps the input's scale and zero point."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.relu6(input, self.inplace)

    @classmethod
    def from_float(cls, mod: Any) -> ReLU6:
        return cls(mod.inplace)

    def _get_name(self) -> str:
        return "QuantizedReLU6"


class Dropout(nn.Dropout):
    """Passes quantized tensors on unchanged."""

    def forward(self, input: Any) -> Any:
        return input

    @classmethod
    def from_float(cls, mod: Any) -> Dropout:
        return cls(mod.p, mod.inplace)

    def _get_name(self) -> str:
        return "QuantizedDropout"
