"""torch.nn.functional: thin spellings of operators of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pt2q
from pt2q import Tensor

_aten = pt2q.ops.aten


# --- convolution and linear ------------------------------------------------------------------------


def _conv(name: str, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, rest: Any) -> Any:
    packet = getattr(_aten, name)
    overload = packet.padding if isinstance(padding, str) else packet.default
    return overload(input, weight, bias, stride, padding, *rest)


def conv1d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:  # fmt: skip
    return _conv("conv1d", input, weight, bias, stride, padding, (dilation, groups))


def conv2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:  # fmt: skip
    return _conv("conv2d", input, weight, bias, stride, padding, (dilation, groups))


def conv3d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:  # fmt: skip
    return _conv("conv3d", input, weight, bias, stride, padding, (dilation, groups))


def conv_transpose1d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Any:  # fmt: skip
    return _aten.conv_transpose1d.default(input, weight, bias, stride, padding, output_padding, groups, dilation)  # fmt: skip


def conv_transpose2d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Any:  # fmt: skip
    return _aten.conv_transpose2d.input(input, weight, bias, stride, padding, output_padding, groups, dilation)  # fmt: skip


def conv_transpose3d(input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Any:  # fmt: skip
    return _aten.conv_transpose3d.input(input, weight, bias, stride, padding, output_padding, groups, dilation)  # fmt: skip


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    return _aten.linear.default(input, weight, bias)


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    return _aten.embedding.default(weight, input, -1 if padding_idx is None else padding_idx)


# --- activations -----------------------------------------------------------------------------------


def relu(input: Any, inplace: bool = False) -> Any:
    return (_aten.relu_ if inplace else _aten.relu).default(input)


def relu_(input: Any) -> Any:
    return _aten.relu_.default(input)


def relu6(input: Any, inplace: bool = False) -> Any:
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    return (_aten.hardtanh_ if inplace else _aten.hardtanh).default(input, min_val, max_val)


def hardswish(input: Any, inplace: bool = False) -> Any:
    return (_aten.hardswish_ if inplace else _aten.hardswish).default(input)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    del inplace  # same values
    return _aten.hardsigmoid.default(input)


def silu(input: Any, inplace: bool = False) -> Any:
    return (_aten.silu_ if inplace else _aten.silu).default(input)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    return (_aten.leaky_relu_ if inplace else _aten.leaky_relu).default(input, negative_slope)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    del inplace
    return _aten.elu.default(input, alpha)


def gelu(input: Any, approximate: str = "none") -> Any:
    return _aten.gelu.default(input, approximate=approximate)


def sigmoid(input: Any) -> Any:
    return _aten.sigmoid.default(input)


def tanh(input: Any) -> Any:
    return _aten.tanh.default(input)


def softmax(input: Any, dim: int = -1, dtype: Any = None) -> Any:
    return _aten.softmax.int(input, dim, dtype)


def log_softmax(input: Any, dim: int = -1, dtype: Any = None) -> Any:
    return _aten.log_softmax.int(input, dim, dtype)


# --- pooling ---------------------------------------------------------------------------------------


def max_pool1d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Any:  # fmt: skip
    return _aten.max_pool1d.default(input, kernel_size, [] if stride is None else stride, padding, dilation, ceil_mode)  # fmt: skip


def max_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Any:  # fmt: skip
    return _aten.max_pool2d.default(input, kernel_size, [] if stride is None else stride, padding, dilation, ceil_mode)  # fmt: skip


def avg_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None) -> Any:  # fmt: skip
    return _aten.avg_pool2d.default(input, kernel_size, [] if stride is None else stride, padding, ceil_mode, count_include_pad, divisor_override)  # fmt: skip


def _adaptive_size(input: Any, output_size: Any, spatial: int) -> list[int]:
    sizes = [output_size] * spatial if output_size is None or isinstance(output_size, int) else list(output_size)  # fmt: skip
    return [input.shape[i - spatial] if s is None else s for i, s in enumerate(sizes)]


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    return _aten.adaptive_avg_pool1d.default(input, _adaptive_size(input, output_size, 1))


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    return _aten.adaptive_avg_pool2d.default(input, _adaptive_size(input, output_size, 2))


# --- normalisation, dropout ------------------------------------------------------------------------


def batch_norm(input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Any:  # fmt: skip
    return _aten.batch_norm.default(input, weight, bias, running_mean, running_var, training, momentum, eps, True)  # fmt: skip


def layer_norm(input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:  # fmt: skip
    return _aten.layer_norm.default(input, list(normalized_shape), weight, bias, eps)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return _aten.group_norm.default(input, num_groups, weight, bias, eps)


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return (_aten.dropout_ if inplace else _aten.dropout).default(input, p, training)


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    norm = _aten.linalg_vector_norm.default(input, p, [dim], True)
    return input / norm.clamp_min(eps).expand_as(input)


# --- shape -----------------------------------------------------------------------------------------


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    return _aten.pad.default(input, list(pad), mode, value)


def interpolate(input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None) -> Any:  # fmt: skip
    """Nearest and bilinear resizing of 4-D inputs."""
    spatial = input.dim() - 2
    sizes = [size] * spatial if isinstance(size, int) else size
    scales = [float(scale_factor)] * spatial if isinstance(scale_factor, (int, float)) else scale_factor  # fmt: skip
    if mode == "nearest":
        return _aten.upsample_nearest2d.vec(input, sizes, scales)
    if mode == "bilinear":
        return _aten.upsample_bilinear2d.vec(input, sizes, bool(align_corners), scales)
    raise NotImplementedError(f"interpolate: mode '{mode}' is not supported: use 'nearest' or 'bilinear'")


def scaled_dot_product_attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None) -> Any:  # fmt: skip
    return _aten.scaled_dot_product_attention.default(query, key, value, attn_mask, dropout_p, is_causal, scale=scale)  # fmt: skip


# --- losses ----------------------------------------------------------------------------------------

_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def cross_entropy(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> Any:  # fmt: skip
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return _aten.cross_entropy_loss.default(input, target, weight, _REDUCTIONS[reduction], ignore_index, label_smoothing)  # fmt: skip


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    squared = (input - target) * (input - target)
    if reduction == "none":
        return squared
    return squared.mean() if reduction == "mean" else squared.sum()
