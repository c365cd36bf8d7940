"""Neural-network layers under PyTorch's names, for inference and calibration."""

from pt2q import _lazy
from pt2q.nn import functional, init, modules
from pt2q.nn.modules import *  # noqa: F403
from pt2q.nn.modules import __all__ as _layers
from pt2q.nn.parameter import Parameter

__all__ = [*_layers, "Parameter", "functional", "init", "modules"]

__getattr__, __dir__ = _lazy.names(globals(), packages={"intrinsic", "quantized"})
