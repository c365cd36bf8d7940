"""XNNPACKQuantizer, at PyTorch's path."""

from pt2q._core import XNNPACKQuantizer, get_symmetric_quantization_config

__all__ = ["XNNPACKQuantizer", "get_symmetric_quantization_config"]
