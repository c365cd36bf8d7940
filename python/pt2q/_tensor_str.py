"""Printing tensors as PyTorch prints them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pt2q import _core
from pt2q._core import Tensor


@dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


OPTIONS = _Options()
_ELLIPSIS = object()
_SILENT_DTYPES = (_core.float32, _core.int64, _core.bool)


def _edges(tensor: Tensor) -> Any:
    """Nested lists with only the outer items of every long dimension, and an ellipsis between."""
    if tensor.dim() == 0:
        return tensor.item()
    n, edge = tensor.shape[0], OPTIONS.edgeitems
    if n <= 2 * edge:
        return [_edges(tensor.select(0, i)) for i in range(n)]
    head = [_edges(tensor.select(0, i)) for i in range(edge)]
    return [*head, _ELLIPSIS, *(_edges(tensor.select(0, n - edge + i)) for i in range(edge))]


def _flat(items: Any) -> list[Any]:
    if items is _ELLIPSIS:
        return []
    if not isinstance(items, list):
        return [items]
    return [v for item in items for v in _flat(item)]


class _Formatter:
    """One width and one notation for all numbers of a tensor."""

    def __init__(self, values: list[Any], floating: bool) -> None:
        self.floating = floating
        self.integers = True
        self.scientific = False
        self.width = 1
        if not floating:
            self.width = max((len(str(v)) for v in values), default=1)
            return
        numbers = [v for v in values if math.isfinite(v) and v != 0]
        if numbers:
            self._choose(numbers)
            self.width = max(len(self._text(v)) for v in numbers)

    def _choose(self, numbers: list[float]) -> None:
        low, high = min(map(abs, numbers)), max(map(abs, numbers))
        self.integers = all(v == math.ceil(v) for v in numbers)
        self.scientific = high / low > 1000.0 or high > 1.0e8
        if not self.integers:
            self.scientific = self.scientific or low < 1.0e-4
        if OPTIONS.sci_mode is not None:
            self.scientific = OPTIONS.sci_mode

    def _text(self, value: Any) -> str:
        if not self.floating:
            return str(value)
        if self.scientific:
            return f"{value:.{OPTIONS.precision}e}"
        if self.integers:
            return f"{value:.0f}" + ("." if math.isfinite(value) else "")
        return f"{value:.{OPTIONS.precision}f}"

    def __call__(self, value: Any) -> str:
        return self._text(value).rjust(self.width)


def _nested(items: Any, depth: int, indent: int, formatter: _Formatter) -> str:
    if depth == 0:
        return formatter(items)
    if depth == 1:
        per_line = max(1, (OPTIONS.linewidth - indent) // (formatter.width + 2))
        texts = [" ..." if v is _ELLIPSIS else formatter(v) for v in items]
        lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = ["..." if v is _ELLIPSIS else _nested(v, depth - 1, indent + 1, formatter) for v in items]
    return "[" + ("," + "\n" * (depth - 1) + " " * (indent + 1)).join(parts) + "]"


def tensor_str(tensor: Tensor) -> str:
    suffixes = []
    if tensor._is_traced():
        return f"tensor(..., size={tuple(tensor.shape)}, dtype={tensor.dtype})"
    if tensor.device.type != "cpu":
        suffixes.append(f"device='{tensor.device}'")
    if tensor.numel() == 0:
        if tensor.dim() != 1:
            suffixes.append(f"size={tuple(tensor.shape)}")
        if tensor.dtype is not _core.float32:
            suffixes.append(f"dtype={tensor.dtype}")
        body = "[]"
    else:
        if tensor.dtype not in _SILENT_DTYPES:
            suffixes.append(f"dtype={tensor.dtype}")
        items = _edges(tensor) if tensor.numel() > OPTIONS.threshold else tensor.tolist()
        formatter = _Formatter(_flat(items), tensor.dtype.is_floating_point)
        body = _nested(items, tensor.dim(), len("tensor("), formatter)
    return "tensor(" + ", ".join([body, *suffixes]) + ")"
