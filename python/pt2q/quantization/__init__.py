"""``torch.quantization``: eager mode and TorchScript mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt2q import _lazy
from pt2q.ao.quantization import _EAGER
from pt2q.ao.quantization.fake_quantize import *  # noqa: F403
from pt2q.ao.quantization.observer import *  # noqa: F403

if TYPE_CHECKING:  # what editors and type checkers see of the names below
    from pt2q.ao.quantization import *  # noqa: F403
    from pt2q.ao.quantization.quantize_jit import *  # noqa: F403

# Loaded when first used: the PT2E flow is reached through this package too, and needs none of it.
__getattr__, __dir__ = _lazy.names(
    globals(),
    packages={"fake_quantize", "observer", "qconfig", "stubs"},
    modules=(*_EAGER, "pt2q.ao.quantization.quantize_jit"),
    functions={"quantize_jit"},
)
