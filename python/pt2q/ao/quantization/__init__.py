"""Quantization under PyTorch's names (``torch.ao.quantization``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt2q import _lazy
from pt2q.ao.quantization import fake_quantize as fake_quantize
from pt2q.ao.quantization import observer as observer
from pt2q.ao.quantization.fake_quantize import *  # noqa: F403
from pt2q.ao.quantization.observer import *  # noqa: F403
from pt2q.ao.quantization.pt2e import *  # noqa: F403

if TYPE_CHECKING:  # what editors and type checkers see of the names below
    from pt2q.ao.quantization.fuse_modules import *  # noqa: F403
    from pt2q.ao.quantization.qconfig import *  # noqa: F403
    from pt2q.ao.quantization.quantization_mappings import *  # noqa: F403
    from pt2q.ao.quantization.quantize import *  # noqa: F403
    from pt2q.ao.quantization.stubs import *  # noqa: F403

_HERE = "pt2q.ao.quantization"
# Eager mode, which the PT2E flow does not need.
_EAGER = (
    f"{_HERE}.qconfig",
    f"{_HERE}.stubs",
    f"{_HERE}.fuse_modules",
    f"{_HERE}.quantization_mappings",
    f"{_HERE}.quantize",
)

__getattr__, __dir__ = _lazy.names(
    globals(),
    packages={"qconfig", "quantization_mappings", "quantize_pt2e", "quantizer", "stubs"},
    modules=_EAGER,
    functions={"fuse_modules", "quantize"},
)
