"""Quantized convolutions: int8 weight, float bias, result with a scale and zero point."""

from __future__ import annotations

from typing import Any

import pt2q
from pt2q import _core, nn
from pt2q.ao.nn.quantized._base import QuantizedModule, quantize_weight
from pt2q.nn.modules.utils import ntuple


def _numeric_padding(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(padding, str):
        return tuple(padding)
    if padding == "valid":
        return (0,) * len(kernel)
    total = [d * (k - 1) for k, d in zip(kernel, dilation)]
    if any(t % 2 for t in total):
        raise _core.NotImplementedError(
            "a quantized convolution with padding='same' needs odd kernels: pad explicitly"
        )
    return tuple(t // 2 for t in total)


class _ConvNd(QuantizedModule):
    _spatial = 2
    _transposed = False
    _unary = ""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", output_padding: Any = 0) -> None:  # fmt: skip
        super().__init__()
        if padding_mode != "zeros":
            raise _core.NotImplementedError(
                f"quantized convolutions pad with zeros, not padding_mode={padding_mode!r}"
            )
        n = self._spatial
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = ntuple(kernel_size, n), ntuple(stride, n)
        self.dilation, self.output_padding = ntuple(dilation, n), ntuple(output_padding, n)
        self.padding = _numeric_padding(
            padding if isinstance(padding, str) else ntuple(padding, n), self.kernel_size, self.dilation
        )
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        weight = pt2q.zeros((first, second // groups, *self.kernel_size))
        self.set_weight_bias(
            _core.quantize_per_tensor(weight, 1.0, 0, _core.qint8),
            pt2q.zeros((out_channels,)) if bias else None,
        )

    def set_weight_bias(self, w: Any, b: Any) -> None:
        """Takes a qint8 weight and a float32 bias (or None)."""
        if not isinstance(w, _core.QuantizedTensor) or w.dtype is not _core.qint8:
            raise _core.TypeError("the weight of a quantized convolution must be a qint8 tensor")
        self.__dict__.update(_weight=w, _bias=b)  # no parameters: state_dict has its own names
        tail: list[Any] = [list(self.stride), list(self.padding)]
        if self._transposed:
            name = f"aten.conv_transpose{self._spatial}d." + ("default" if self._spatial == 1 else "input")
            tail += [list(self.output_padding), self.groups, list(self.dilation)]
        else:
            name = f"aten.conv{self._spatial}d.default"
            tail += [list(self.dilation), self.groups]
        self._op = _core.QuantizedOp(name, [None, None, b, *tail], self._unary)
        self._op.set_weight(1, w)

    def weight(self) -> Any:
        return self._weight

    def bias(self) -> Any:
        return self._bias

    def forward(self, input: Any) -> Any:
        if len(input.shape) != self._spatial + 2:
            shape = "`(N, C, " + {1: "L", 2: "H, W", 3: "D, H, W"}[self._spatial] + ")`"
            raise ValueError(f"Input shape must be {shape}!")
        return self._apply_op(self._op, input)

    def _own_state(self) -> dict[str, Any]:
        return {"weight": self._weight, "bias": self._bias, **super()._own_state()}

    def _load_own_state(self, state: dict[str, Any]) -> None:
        super()._load_own_state(state)
        if "weight" in state:
            self.set_weight_bias(state["weight"], state.get("bias"))

    @classmethod
    def _of(cls, conv: Any, observed: Any) -> Any:
        folds = hasattr(observed, "folded")
        weight, bias = observed.folded() if folds else (conv.weight, conv.bias)
        made = cls(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,
            conv.dilation, conv.groups, bias is not None, conv.padding_mode,
            getattr(conv, "output_padding", 0),
        )  # fmt: skip
        made.set_weight_bias(
            quantize_weight(weight, observed, type(conv).__name__), None if bias is None else bias.float()
        )
        made._take_output(observed)
        return made

    @classmethod
    def from_float(cls, mod: Any) -> Any:
        """The quantized form of an observed float module, or of a fused one."""
        conv = mod[0] if isinstance(mod, nn.Sequential) else mod
        return cls._of(conv, mod)

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, scale={self.scale}, zero_point={self.zero_point}"
        )
        if any(self.padding):
            text += f", padding={self.padding}"
        if any(d != 1 for d in self.dilation):
            text += f", dilation={self.dilation}"
        if any(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text if self._bias is not None else text + ", bias=False"


class Conv1d(_ConvNd):
    _spatial = 1


class Conv2d(_ConvNd):
    _spatial = 2


class Conv3d(_ConvNd):
    _spatial = 3


class ConvTranspose1d(_ConvNd):
    _spatial, _transposed = 1, True


class ConvTranspose2d(_ConvNd):
    _spatial, _transposed = 2, True


class ConvTranspose3d(_ConvNd):
    _spatial, _transposed = 3, True


class ConvReLU1d(Conv1d):
    _unary = "aten.relu.default"


class ConvReLU2d(Conv2d):
    _unary = "aten.relu.default"


class ConvReLU3d(Conv3d):
    _unary = "aten.relu.default"
