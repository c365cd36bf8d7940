"""Observers: they collect statistics during calibration and give scales and zero points.

The classes are C++; derive from :class:`ObserverBase` or any other of them in Python.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from pt2q import _core
from pt2q._core import (
    AffineQuantizedMinMaxObserver,
    AffineQuantizedMovingAverageMinMaxObserver,
    AffineQuantizedObserverBase,
    AffineQuantizedPlaceholderObserver,
    FixedQParamsObserver,
    GridHistogramObserver,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    NoopObserver,
    ObserverBase,
    PerChannelMinMaxObserver,
    PlaceholderObserver,
    RecordingObserver,
    ReuseInputObserver,
    UniformQuantizationObserverBase,
    get_block_size,
)
from pt2q.ao.quantization._affine_types import (
    Granularity,
    MappingType,
    PerAxis,
    PerBlock,
    PerGroup,
    PerRow,
    PerTensor,
    PerToken,
    ZeroPointDomain,
)
from pt2q.ao.quantization._partial import _PartialWrapper as _PartialWrapper
from pt2q.ao.quantization._partial import with_args, with_callable_args

__all__ = [
    "default_affine_fixed_qparams_observer",
    "default_debug_observer",
    "default_dynamic_quant_observer",
    "default_fixed_qparams_range_0to1_observer",
    "default_fixed_qparams_range_neg1to1_observer",
    "default_float_qparams_observer",
    "default_float_qparams_observer_4bit",
    "default_histogram_observer",
    "default_observer",
    "default_per_channel_weight_observer",
    "default_placeholder_observer",
    "default_reuse_input_observer",
    "default_symmetric_fixed_qparams_observer",
    "default_weight_observer",
    "get_observer_state_dict",
    "load_observer_state_dict",
    "per_channel_weight_observer_range_neg_127_to_127",
    "weight_observer_range_neg_127_to_127",
    "AffineQuantizedMinMaxObserver",
    "AffineQuantizedMovingAverageMinMaxObserver",
    "AffineQuantizedObserverBase",
    "AffineQuantizedPlaceholderObserver",
    "FixedQParamsObserver",
    "Granularity",
    "GridHistogramObserver",
    "HistogramObserver",
    "MappingType",
    "MinMaxObserver",
    "MovingAverageMinMaxObserver",
    "MovingAveragePerChannelMinMaxObserver",
    "NoopObserver",
    "ObserverBase",
    "PerAxis",
    "PerBlock",
    "PerChannelMinMaxObserver",
    "PerGroup",
    "PerRow",
    "PerTensor",
    "PerToken",
    "PlaceholderObserver",
    "RecordingObserver",
    "ReuseInputObserver",
    "UniformQuantizationObserverBase",
    "ZeroPointDomain",
    "get_block_size",
]

for _base in (_core.ObserverBase, _core.AffineQuantizedObserverBase, _core.FakeQuantizeBase):
    _base.with_args = classmethod(with_args)
    _base.with_callable_args = classmethod(with_callable_args)

_with_args = with_args
_with_callable_args = with_callable_args
_ObserverBase = UniformQuantizationObserverBase


def _apply(self: Any, fn: Any) -> Any:
    """Calls ``fn`` on the inner observer, if there is one, then on ``self``; returns ``self``."""
    inner = getattr(self, "activation_post_process", None)
    if inner is not None:
        inner.apply(fn)
    fn(self)
    return self


def _named_modules(
    self: Any, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
) -> Iterator[tuple[str, Any]]:
    """What ``nn.Module.named_modules`` meets: the observer, then the one inside it."""
    memo = set() if memo is None else memo
    if remove_duplicate and id(self) in memo:
        return
    memo.add(id(self))
    yield prefix, self
    inner = getattr(self, "activation_post_process", None)
    if inner is not None:
        path = f"{prefix}.activation_post_process" if prefix else "activation_post_process"
        yield from inner.named_modules(memo, path, remove_duplicate)


_MODULE_MEMBERS = {
    "apply": _apply,
    "named_modules": _named_modules,
    "named_children": lambda self: iter(()),
    "children": lambda self: iter(()),
    "_parameters": property(lambda self: {}),
    "_buffers": property(lambda self: {k: v for k, v in self.named_buffers() if "." not in k}),
    "_modules": property(lambda self: {}),
    "_non_persistent": property(lambda self: set()),
    "_load_own_state": lambda self, state: self.load_state_dict(state),
}
for _name, _member in _MODULE_MEMBERS.items():
    setattr(_core._Observer, _name, _member)


def get_observer_state_dict(mod: Any) -> OrderedDict[str, Any]:
    """The entries of ``mod.state_dict()`` that belong to observers."""
    state = mod.state_dict()
    return OrderedDict((k, v) for k, v in state.items() if "activation_post_process" in k)


def load_observer_state_dict(mod: Any, obs_dict: Mapping[str, Any]) -> None:
    """Loads what :func:`get_observer_state_dict` returned into the observers of ``mod``.

    Raises:
        RuntimeError: an observer's entry is missing, or an entry belongs to no observer.
    """
    used = set()
    for name, module in mod.named_modules():
        if not isinstance(module, _core._Observer) or _inside_another(name, mod):
            continue
        prefix = f"{name}." if name else ""
        observer: Any = module
        state = {}
        for key in observer.state_dict():
            full = prefix + key
            if full not in obs_dict:
                if key == "eps" or key.endswith(".eps"):
                    continue  # PyTorch's first version did not save it
                raise RuntimeError(f"Missing keys for observer {full} in state_dict")
            state[key] = obs_dict[full]
            used.add(full)
        module.load_state_dict(state)
    for key in obs_dict:
        if key not in used and ("observer" in key or "activation_post_process" in key):
            raise RuntimeError(f"Unexpected keys for observer {key} in state_dict")


def _inside_another(name: str, mod: Any) -> bool:
    """Whether ``name`` is the observer inside a fake-quantize module, which loads it itself."""
    parent, _, last = name.rpartition(".")
    if last != "activation_post_process":
        return False
    return isinstance(dict(mod.named_modules()).get(parent), _core.FakeQuantizeBase)


default_observer = MinMaxObserver.with_args(quant_min=0, quant_max=127)
default_placeholder_observer = PlaceholderObserver
default_debug_observer = RecordingObserver
default_weight_observer = MinMaxObserver.with_args(
    dtype=_core.qint8, qscheme=_core.per_tensor_symmetric
)
weight_observer_range_neg_127_to_127 = MinMaxObserver.with_args(
    dtype=_core.qint8,
    qscheme=_core.per_tensor_symmetric,
    quant_min=-127,
    quant_max=127,
    eps=2**-12,
)
default_histogram_observer = HistogramObserver.with_args(quant_min=0, quant_max=127)
default_per_channel_weight_observer = PerChannelMinMaxObserver.with_args(
    dtype=_core.qint8, qscheme=_core.per_channel_symmetric
)
per_channel_weight_observer_range_neg_127_to_127 = PerChannelMinMaxObserver.with_args(
    dtype=_core.qint8,
    qscheme=_core.per_channel_symmetric,
    quant_min=-127,
    quant_max=127,
    eps=2**-12,
)
default_dynamic_quant_observer = PlaceholderObserver.with_args(
    dtype=_core.quint8, quant_min=0, quant_max=255, is_dynamic=True
)
default_float_qparams_observer = PerChannelMinMaxObserver.with_args(
    dtype=_core.quint8, qscheme=_core.per_channel_affine_float_qparams, ch_axis=0
)
default_float_qparams_observer_4bit = PerChannelMinMaxObserver.with_args(
    dtype=_core.quint4x2, qscheme=_core.per_channel_affine_float_qparams, ch_axis=0
)
default_fixed_qparams_range_neg1to1_observer = FixedQParamsObserver.with_args(
    scale=2.0 / 256.0, zero_point=128, dtype=_core.quint8, quant_min=0, quant_max=255
)
default_fixed_qparams_range_0to1_observer = FixedQParamsObserver.with_args(
    scale=1.0 / 256.0, zero_point=0, dtype=_core.quint8, quant_min=0, quant_max=255
)
default_symmetric_fixed_qparams_observer = default_fixed_qparams_range_neg1to1_observer
default_affine_fixed_qparams_observer = default_fixed_qparams_range_0to1_observer
default_reuse_input_observer = ReuseInputObserver
