"""``torch.ao`` names: quantization lives in :mod:`pt2q.ao.quantization`."""

from __future__ import annotations

from pt2q.ao import quantization as quantization

__all__ = ["quantization"]
