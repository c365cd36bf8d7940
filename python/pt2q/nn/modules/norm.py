"""Normalisation layers."""

from __future__ import annotations

from typing import Any

import pt2q
from pt2q import Tensor
from pt2q.nn import functional as F
from pt2q.nn.modules.module import Module
from pt2q.nn.parameter import Parameter


class _BatchNorm(Module):
    """Normalises over all but the channel axis (1), with running statistics in eval mode."""

    _ndims: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        size = (num_features,)
        self.register_parameter("weight", Parameter(pt2q.ones(size)) if affine else None)
        self.register_parameter("bias", Parameter(pt2q.zeros(size)) if affine and bias else None)
        track = track_running_stats
        self.register_buffer("running_mean", pt2q.zeros(size) if track else None)
        self.register_buffer("running_var", pt2q.ones(size) if track else None)
        count = pt2q.zeros((), dtype=pt2q.int64)
        self.register_buffer("num_batches_tracked", count if track else None)
        if device is not None or dtype is not None:
            self.to(device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in self._ndims:
            wanted = " or ".join(f"{n}D" for n in self._ndims)
            raise ValueError(f"expected {wanted} input (got {input.dim()}D input)")
        training = self.training or not self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias,
                            training, momentum, self.eps)  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    _ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    _ndims = (4,)


class BatchNorm3d(_BatchNorm):
    _ndims = (5,)


class LayerNorm(Module):
    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        affine = elementwise_affine
        self.register_parameter("weight", Parameter(pt2q.ones(shape)) if affine else None)
        self.register_parameter("bias", Parameter(pt2q.zeros(shape)) if affine and bias else None)
        if device is not None or dtype is not None:
            self.to(device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class GroupNorm(Module):
    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError("num_channels must be divisible by num_groups")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine  # fmt: skip
        self.register_parameter("weight", Parameter(pt2q.ones((num_channels,))) if affine else None)
        self.register_parameter("bias", Parameter(pt2q.zeros((num_channels,))) if affine and bias else None)
        if device is not None or dtype is not None:
            self.to(device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, "
            f"affine={self.affine}, bias={self.bias is not None}"
        )
