"""Neural-network layers under PyTorch's names, for inference and calibration."""

import importlib
from typing import Any

from pt2q.nn import functional, init, modules
from pt2q.nn.modules import *  # noqa: F403
from pt2q.nn.modules import __all__ as _layers
from pt2q.nn.parameter import Parameter

__all__ = [*_layers, "Parameter", "functional", "init", "modules"]


def __getattr__(name: str) -> Any:
    """Quantized and fused modules, loaded when first used."""
    if name in ("intrinsic", "quantized"):
        return importlib.import_module(f"pt2q.nn.{name}")
    raise AttributeError(f"module 'pt2q.nn' has no attribute '{name}'")
