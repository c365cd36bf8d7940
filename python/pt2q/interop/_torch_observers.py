"""pt2q observers and fake-quantizes as PyTorch modules."""

from __future__ import annotations

from typing import Any

import torch
import torch.ao.quantization as torch_quantization

from pt2q import _core

_RANGE = ("quant_min", "quant_max", "reduce_range", "has_customized_qrange")
_AVERAGES = ("MovingAverageMinMaxObserver", "MovingAveragePerChannelMinMaxObserver")
_WITH_AXIS = ("PerChannelMinMaxObserver", "MovingAveragePerChannelMinMaxObserver")


def _name(value: Any) -> str:
    return str(value).rsplit(".", 1)[-1]


class _Unchanged(torch.nn.Module):
    """Stands for a derived observer: its parameters come from other observers when converting."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class _ByPt2q(torch.nn.Module):
    """An observer class of the user's: pt2q observes, the tensor passes unchanged."""

    def __init__(self, observer: Any) -> None:
        super().__init__()
        self.observer = observer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.observer(_core.from_dlpack(x.detach().cpu().contiguous()))
        return x


def _observer_arguments(observer: Any, name: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {"dtype": getattr(torch, _name(observer.dtype))}
    if name in ("NoopObserver", "RecordingObserver"):
        return arguments
    arguments["qscheme"] = getattr(torch, _name(observer.qscheme))
    arguments["is_dynamic"] = bool(observer.is_dynamic)
    if name == "FixedQParamsObserver":
        arguments["scale"] = float(observer.scale)
        arguments["zero_point"] = int(observer.zero_point)
    elif name != "PlaceholderObserver":
        arguments["eps"] = float(observer.eps)
    if name in ("PlaceholderObserver", "FixedQParamsObserver"):
        arguments["quant_min"], arguments["quant_max"] = observer.quant_min, observer.quant_max
    if name in _AVERAGES:
        arguments["averaging_constant"] = float(observer.averaging_constant)
    if name in _WITH_AXIS:
        arguments["ch_axis"] = int(observer.ch_axis)
    if name == "HistogramObserver":
        arguments["bins"] = int(observer.bins)
    return arguments


def _plain_observer(observer: Any, name: str) -> torch.nn.Module:
    module = getattr(torch_quantization, name)(**_observer_arguments(observer, name))
    for attribute in _RANGE:
        if hasattr(observer, attribute) and hasattr(module, attribute):
            setattr(module, attribute, getattr(observer, attribute))
    return module


def _fake_quantize(observer: Any, name: str) -> torch.nn.Module:
    inner = observer.activation_post_process
    inner_name = type(inner).__name__
    arguments = _observer_arguments(inner, inner_name)
    observer_class = getattr(torch_quantization, inner_name)
    if name == "FixedQParamsFakeQuantize":
        module = torch_quantization.FixedQParamsFakeQuantize(observer_class.with_args(**arguments))
    else:
        arguments["quant_min"], arguments["quant_max"] = inner.quant_min, inner.quant_max
        module = getattr(torch_quantization, name)(observer=observer_class, **arguments)
    for attribute in _RANGE:
        if hasattr(inner, attribute) and hasattr(module.activation_post_process, attribute):
            setattr(module.activation_post_process, attribute, getattr(inner, attribute))
    return module


def torch_observer(observer: Any) -> torch.nn.Module:
    """The PyTorch module of an observer or fake-quantize, without its state.

    Raises:
        NotImplementedError: a fake-quantize class of the user's, or one that PyTorch lacks.
    """
    name = type(observer).__name__
    if observer._type_name() == "DerivedObserverOrFakeQuantize":
        return _Unchanged()
    fake = isinstance(observer, _core.FakeQuantizeBase)
    built_in = type(observer).__module__.startswith("pt2q.") and hasattr(torch_quantization, name)
    if built_in and fake and type(observer.activation_post_process).__module__.startswith("pt2q."):
        return _fake_quantize(observer, name)
    if built_in and not fake:
        return _plain_observer(observer, name)
    if fake:
        raise _core.NotImplementedError(
            f"{name} has no counterpart in torch.ao.quantization, so it cannot be trained there; "
            "use FakeQuantize or FusedMovingAvgObsFakeQuantize with a built-in observer"
        )
    return _ByPt2q(observer)
