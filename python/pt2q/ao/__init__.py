"""``torch.ao`` names: quantization lives in :mod:`pt2q.ao.quantization`."""

from __future__ import annotations

import importlib
from typing import Any

from pt2q.ao import quantization as quantization

__all__ = ["quantization"]


def __getattr__(name: str) -> Any:
    if name == "nn":
        return importlib.import_module("pt2q.ao.nn")
    raise AttributeError(f"module 'pt2q.ao' has no attribute '{name}'")
