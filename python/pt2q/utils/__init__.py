"""Utilities under PyTorch's names."""

from pt2q.utils import data

__all__ = ["data"]
