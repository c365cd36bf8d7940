"""Tensors between pt2q and PyTorch."""

from __future__ import annotations

import torch

from pt2q import _core


def tensor_to_torch(tensor: _core.Tensor) -> torch.Tensor:
    """A copy as a PyTorch tensor."""
    return torch.from_dlpack(tensor).clone()


def tensor_from_torch(tensor: torch.Tensor, copy: bool = True) -> _core.Tensor:
    """As a pt2q Tensor; without ``copy`` on the same memory where it is dense and on the CPU."""
    tensor = tensor.detach().cpu().contiguous()
    return _core.from_dlpack(tensor.clone() if copy else tensor)
