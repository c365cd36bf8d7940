"""pt2q observers and fake-quantizes as PyTorch modules."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.ao.quantization as torch_quantization

from pt2q import _core
from pt2q.interop._torch_tensors import tensor_from_torch, tensor_to_torch

_RANGE = ("quant_min", "quant_max", "reduce_range", "has_customized_qrange")
_AVERAGES = ("MovingAverageMinMaxObserver", "MovingAveragePerChannelMinMaxObserver")
_WITH_AXIS = ("PerChannelMinMaxObserver", "MovingAveragePerChannelMinMaxObserver")


def _name(value: Any) -> str:
    return str(value).rsplit(".", 1)[-1]


class _Unchanged(torch.nn.Module):
    """Stands for a derived observer: its parameters come from other observers when converting."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class ByPt2q(torch.nn.Module):
    """An observer that PyTorch lacks, the user's for example: pt2q observes, the tensor passes unchanged.

    Holds a copy of the observer; its buffers are the module's state under the names they have in pt2q.
    """

    def __init__(self, observer: Any) -> None:
        torch.nn.Module.__init__(self)
        self.observer = copy.deepcopy(observer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.observer(tensor_from_torch(x, copy=False))
        return x

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        scale, zero_point = self.observer.calculate_qparams()
        return tensor_to_torch(scale), tensor_to_torch(zero_point)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        if hasattr(self.observer, "state_dict"):
            for name, value in self.observer.state_dict().items():
                destination[prefix + name] = tensor_to_torch(value)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        own = {k[len(prefix) :]: tensor_from_torch(v, copy=False) for k, v in state_dict.items() if k.startswith(prefix)}
        if hasattr(self.observer, "state_dict"):
            self.observer.load_state_dict(own)


class _StraightThrough(torch.autograd.Function):
    """Values of a fake-quantize that runs in pt2q; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, observer: Any) -> torch.Tensor:
        return tensor_to_torch(observer(tensor_from_torch(x, copy=False))).to(x.device)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


def _switch(name: str) -> Any:
    def run(self: Any, enabled: bool = True) -> None:
        getattr(self.observer, name)(enabled)

    return run


class FakeByPt2q(ByPt2q, torch_quantization.FakeQuantizeBase):
    """A fake-quantize that PyTorch lacks, the user's for example.

    A class with a ``forward`` of its own has the values of that, and the straight-through gradient. With
    the ``forward`` of ``FakeQuantize``, pt2q observes and PyTorch's fake-quantize gives value and gradient.
    """

    def __init__(self, observer: Any) -> None:
        super().__init__(observer)
        own = next(c for c in type(observer).__mro__ if "forward" in vars(c))
        self.inherited = own.__module__.startswith("pt2q.") and isinstance(observer, _core.FakeQuantize)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.inherited:
            return _StraightThrough.apply(x, self.observer)  # type: ignore[no-any-return, no-untyped-call]
        observer = self.observer
        observer(tensor_from_torch(x, copy=False))
        if not bool(observer.fake_quant_enabled.item()):
            return x
        scale, zero_point = tensor_to_torch(observer.scale), tensor_to_torch(observer.zero_point)
        limits = (observer.quant_min, observer.quant_max)
        if observer.is_per_channel:
            return torch.fake_quantize_per_channel_affine(x, scale, zero_point, observer.ch_axis, *limits)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, *limits)

    enable_fake_quant = _switch("enable_fake_quant")
    enable_observer = _switch("enable_observer")


class LearnableFakeQuantize(torch_quantization.FakeQuantizeBase):
    """pt2q's LearnableFakeQuantize in PyTorch: scale and zero point are parameters.

    They exist once a batch was observed, here or in pt2q: make the optimizer after that. Then
    ``module.apply(enable_range_learning)`` of ``pt2q.interop.torch`` lets them be learned.
    """

    def __init__(self, observer: Any) -> None:
        super().__init__()
        self.activation_post_process = torch_observer(observer.activation_post_process)
        self.quant_min, self.quant_max = observer.quant_min, observer.quant_max
        self.use_grad_scaling = bool(observer.use_grad_scaling)
        self.dtype = getattr(torch, _name(observer.dtype))
        self.qscheme = getattr(torch, _name(observer.qscheme))
        self.ch_axis = observer.ch_axis
        self.register_buffer("learning_enabled", torch.zeros(1, dtype=torch.uint8))
        self.register_buffer("eps", torch.tensor([float(observer.eps.item())]))
        self.register_parameter("scale", None)
        self.register_parameter("zero_point", None)

    def _set(self, scale: torch.Tensor, zero_point: torch.Tensor) -> None:
        for name, value in (("scale", scale), ("zero_point", zero_point.float())):
            parameter = getattr(self, name)
            if parameter is None or parameter.shape != value.shape:
                learned = bool(self.get_buffer("learning_enabled"))
                self.register_parameter(name, torch.nn.Parameter(value.clone(), requires_grad=learned))
            else:
                parameter.data.copy_(value)

    def enable_range_learning(self, enabled: bool = True) -> None:
        """Lets scale and zero point be learned and stops the observer."""
        self.get_buffer("learning_enabled")[0] = int(enabled)
        if enabled:
            self.get_buffer("observer_enabled")[0] = 0
        for parameter in (self.scale, self.zero_point):
            if parameter is not None:
                parameter.requires_grad_(enabled)

    def enable_observer(self, enabled: bool = True) -> None:
        self.get_buffer("observer_enabled")[0] = int(enabled)
        if enabled:
            self.enable_range_learning(False)

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        scale = self.scale.detach().clamp(min=float(self.get_buffer("eps")))
        zero_point = self.zero_point.detach().round().clamp(self.quant_min, self.quant_max).long()
        return scale, zero_point

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(self.get_buffer("observer_enabled")) or self.scale is None:
            self.activation_post_process(x.detach())
            self._set(*self.activation_post_process.calculate_qparams())
        if not bool(self.get_buffer("fake_quant_enabled")):
            return x
        if self.qscheme in (torch.per_channel_symmetric, torch.per_tensor_symmetric):
            self.zero_point.data.zero_()
        factor = (x.numel() * self.quant_max) ** -0.5 if self.use_grad_scaling else 1.0
        limits = (self.quant_min, self.quant_max, factor)
        if self.qscheme in (torch.per_channel_symmetric, torch.per_channel_affine):
            return torch._fake_quantize_learnable_per_channel_affine(
                x, self.scale, self.zero_point, self.ch_axis, *limits
            )
        return torch._fake_quantize_learnable_per_tensor_affine(x, self.scale, self.zero_point, *limits)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        if prefix + "scale" in state_dict:
            self._set(state_dict[prefix + "scale"], state_dict[prefix + "zero_point"])
        super()._load_from_state_dict(state_dict, prefix, *rest)  # type: ignore[no-untyped-call]
        self.enable_range_learning(bool(self.get_buffer("learning_enabled")))


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


def _copy_range(observer: Any, module: torch.nn.Module) -> None:
    for attribute in _RANGE:
        if hasattr(observer, attribute) and hasattr(module, attribute):
            setattr(module, attribute, getattr(observer, attribute))


def _plain_observer(observer: Any, name: str) -> torch.nn.Module:
    module = getattr(torch_quantization, name)(**_observer_arguments(observer, name))
    _copy_range(observer, module)
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
    _copy_range(inner, module.activation_post_process)
    return module


def torch_observer(observer: Any) -> torch.nn.Module:
    """The PyTorch module of an observer or fake-quantize, without its state."""
    name = type(observer).__name__
    if observer._type_name() == "DerivedObserverOrFakeQuantize":
        return _Unchanged()
    fake = isinstance(observer, _core.FakeQuantizeBase)
    if type(observer) is _core.LearnableFakeQuantize:
        return LearnableFakeQuantize(observer)
    built_in = type(observer).__module__.startswith("pt2q.") and hasattr(torch_quantization, name)
    if built_in and not fake:
        return _plain_observer(observer, name)
    if built_in and type(observer.activation_post_process).__module__.startswith("pt2q."):
        return _fake_quantize(observer, name)
    return FakeByPt2q(observer) if fake else ByPt2q(observer)
