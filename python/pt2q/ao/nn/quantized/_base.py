"""What quantized modules share: a scale and zero point of the result, and PyTorch's names."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pt2q
from pt2q import _core
from pt2q.nn.modules.module import Module


def result_qparams(observer: Any) -> tuple[float, int, Any]:
    """Scale, zero point and dtype of the values an observer has seen."""
    scale, zero_point = observer.calculate_qparams()
    return float(scale), int(zero_point), quantized_dtype(observer.dtype)


_QUANTIZED = {"uint8": _core.quint8, "int8": _core.qint8, "int32": _core.qint32}


def quantized_dtype(dtype: Any) -> Any:
    """quint8 of uint8 and of quint8, and so on."""
    name = str(dtype).rsplit(".", 1)[-1].removeprefix("q")
    if name not in _QUANTIZED:
        raise AssertionError(f"activations must be quantized to 8 or 32 bits, got {dtype}")
    return _QUANTIZED[name]


def quantize_weight(weight: Any, mod: Any, kind: str) -> Any:
    """The int8 weight by the module's weight fake-quantizer (training), or by the weight observer of
    its qconfig, made now."""
    observer = getattr(mod, "weight_fake_quant", None) or mod.qconfig.weight()
    observer(weight)
    if observer.dtype is not _core.qint8:
        raise AssertionError(
            f"Weight observer must have dtype torch.qint8, got {str(observer.dtype).replace('pt2q', 'torch')} ({kind})"
        )
    scale, zero_point = observer.calculate_qparams()
    weight = weight.float()
    if observer.qscheme in (_core.per_tensor_affine, _core.per_tensor_symmetric):
        return _core.quantize_per_tensor(weight, scale, zero_point, _core.qint8)
    if observer.qscheme not in (_core.per_channel_affine, _core.per_channel_symmetric):
        raise ValueError(f"Unexpected qscheme {observer.qscheme} of a weight observer")
    # Scales stay float32: the rounding steps are then those of PyTorch's kernel.
    axis = observer.ch_axis
    return _core.quantize_per_channel(weight, scale, zero_point.long(), axis, _core.qint8)


class QuantizedModule(Module):
    """A module with ``scale`` and ``zero_point`` of its result. ``out_dtype`` None: as the input."""

    _label = ""  # PyTorch prints QuantizedConv2d

    def __init__(self, scale: float = 1.0, zero_point: int = 0) -> None:
        super().__init__()
        self.scale, self.zero_point = float(scale), int(zero_point)
        self.out_dtype: Any = None
        self.training = False

    def _take_output(self, module: Module) -> None:
        observer = module.activation_post_process
        self.scale, self.zero_point, self.out_dtype = result_qparams(observer)

    def _apply_op(self, op: Any, *inputs: Any) -> Any:
        return op(list(inputs), self.scale, self.zero_point, self.out_dtype)

    def _get_name(self) -> str:
        return self._label or f"Quantized{type(self).__name__}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Weights are never written: copies share them, and what was compiled for them."""
        made = object.__new__(type(self))
        memo[id(self)] = made
        made.__dict__.update(self.__dict__)
        for store in ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks"):
            made.__dict__[store] = self.__dict__[store].copy()
        return made

    # --- state: scale and zero_point are tensors in it, as PyTorch saves them -------------------

    def _own_state(self) -> dict[str, Any]:
        return {
            "scale": pt2q.tensor(self.scale),
            "zero_point": pt2q.tensor(self.zero_point),
        }

    def _load_own_state(self, state: dict[str, Any]) -> None:
        if "scale" in state:
            self.scale = float(state["scale"])
        if "zero_point" in state:
            self.zero_point = int(state["zero_point"])

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Any]:
        state: OrderedDict[str, Any] = super().state_dict(prefix=prefix, keep_vars=keep_vars)
        state.update({prefix + name: value for name, value in self._own_state().items()})
        return state
