"""``torch.ao`` names: quantization lives in :mod:`pt2q.ao.quantization`."""

from __future__ import annotations

from pt2q import _lazy
from pt2q.ao import quantization as quantization

__all__ = ["quantization"]

__getattr__, __dir__ = _lazy.names(globals(), packages={"nn"})
