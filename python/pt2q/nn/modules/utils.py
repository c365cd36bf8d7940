"""Argument helpers of the layer classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def ntuple(value: Any, n: int) -> tuple[Any, ...]:
    """``value`` repeated n times, or the n given values."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        values = tuple(value)
        if len(values) == 1:
            return values * n
        if len(values) != n:
            raise ValueError(f"expected 1 or {n} values, got {len(values)}: {values}")
        return values
    return (value,) * n
