"""XPUInductorQuantizer, at PyTorch's path."""

from pt2q._core import XPUInductorQuantizer, get_default_xpu_inductor_quantization_config

__all__ = ["XPUInductorQuantizer", "get_default_xpu_inductor_quantization_config"]
