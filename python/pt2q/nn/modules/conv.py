"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any

import pt2q
from pt2q import Tensor
from pt2q.nn import functional as F
from pt2q.nn import init
from pt2q.nn.modules.module import Module
from pt2q.nn.modules.utils import ntuple
from pt2q.nn.parameter import Parameter


class _ConvNd(Module):
    """Weights [out, in/groups, *kernel] ([in, out/groups, *kernel] when transposed), bias [out]."""

    _spatial = 2
    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        output_padding: Any = 0,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        modes = {"zeros", "reflect", "replicate", "circular"}
        if padding_mode not in modes:
            raise ValueError(f"padding_mode must be one of {modes}, but got '{padding_mode}'")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"Invalid padding string {padding!r}, should be one of 'valid', 'same'")
        n = self._spatial
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = ntuple(kernel_size, n), ntuple(stride, n)
        self.padding = padding if isinstance(padding, str) else ntuple(padding, n)
        self.dilation, self.output_padding = ntuple(dilation, n), ntuple(output_padding, n)
        self.padding_mode = padding_mode
        if self._transposed:
            shape = (in_channels, out_channels // groups, *self.kernel_size)
        else:
            shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(pt2q.empty(shape, dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(pt2q.empty((out_channels,), dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0,) * self._spatial:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self._spatial:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * self._spatial:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def _forward(self, function: Any, input: Tensor) -> Tensor:
        return self._convolve(function, input, self.weight, self.bias)

    def _convolve(self, function: Any, input: Tensor, weight: Any, bias: Any) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            if isinstance(padding, str):
                total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(self.dilation, self.kernel_size)]  # fmt: skip
                sides = [(t // 2, t - t // 2) for t in total]
            else:
                sides = [(p, p) for p in padding]
            flat = [p for side in reversed(sides) for p in side]
            input = F.pad(input, flat, mode=self.padding_mode)
            padding = (0,) * self._spatial
        return function(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_ConvNd):
    _spatial = 1

    def forward(self, input: Tensor) -> Tensor:
        return self._forward(F.conv1d, input)


class Conv2d(_ConvNd):
    def forward(self, input: Tensor) -> Tensor:
        return self._forward(F.conv2d, input)


class Conv3d(_ConvNd):
    _spatial = 3

    def forward(self, input: Tensor) -> Tensor:
        return self._forward(F.conv3d, input)


class _ConvTransposeNd(_ConvNd):
    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, padding_mode, device, dtype, output_padding)  # fmt: skip

    def _transpose(self, function: Any, input: Tensor) -> Tensor:
        return function(input, self.weight, self.bias, self.stride, self.padding,
                        self.output_padding, self.groups, self.dilation)  # fmt: skip


class ConvTranspose1d(_ConvTransposeNd):
    _spatial = 1

    def forward(self, input: Tensor) -> Tensor:
        return self._transpose(F.conv_transpose1d, input)


class ConvTranspose2d(_ConvTransposeNd):
    def forward(self, input: Tensor) -> Tensor:
        return self._transpose(F.conv_transpose2d, input)


class ConvTranspose3d(_ConvTransposeNd):
    _spatial = 3

    def forward(self, input: Tensor) -> Tensor:
        return self._transpose(F.conv_transpose3d, input)
