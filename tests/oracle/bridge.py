"""Carrying tensors between PyTorch and pt2q in one process, and comparing them exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pt2q import _core

SCHEMES = (
    "per_tensor_affine",
    "per_tensor_symmetric",
    "per_channel_affine",
    "per_channel_symmetric",
    "per_channel_affine_float_qparams",
)


def name_of(dtype: Any) -> str:
    """'uint8' of torch.uint8 and of pt2q.uint8."""
    return str(dtype).rsplit(".", 1)[-1]


def to_pt2q(value: Any) -> Any:
    """The pt2q counterpart of a PyTorch tensor, dtype or scheme; anything else is returned."""
    if isinstance(value, torch.Tensor):
        if "float8" in name_of(value.dtype):  # DLPack has none; float32 holds every value
            return _core.from_dlpack(value.detach().to(torch.float32)).to(to_pt2q(value.dtype))
        return _core.from_dlpack(value.detach().clone())
    if isinstance(value, (torch.dtype, torch.qscheme)):
        return getattr(_core, name_of(value))
    return value


def to_torch(tensor: _core.Tensor) -> torch.Tensor:
    """The PyTorch counterpart of a pt2q tensor."""
    if "float8" in name_of(tensor.dtype):
        return torch.from_dlpack(tensor.to(_core.float32)).to(getattr(torch, name_of(tensor.dtype)))
    return torch.from_dlpack(tensor).clone()


def assert_same(got: Any, want: Any) -> None:
    """Same dtype, shape and values; NaN equals NaN and -0 equals 0."""
    if isinstance(want, (tuple, list)):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            assert_same(g, w)
        return
    assert name_of(got.dtype) == name_of(want.dtype)
    assert tuple(got.shape) == tuple(want.shape)
    a, b = to_torch(got).to(torch.float64).numpy(), want.detach().to(torch.float64).numpy()
    np.testing.assert_array_equal(a, b)


def plain(message: object) -> str:
    """An error text without pt2q's additions (operator, hint) and with single spaces."""
    text = str(message).split("\nHint:")[0].split(" (operator ")[0]
    return " ".join(text.split())
