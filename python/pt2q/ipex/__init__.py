"""The names of Intel Extension for PyTorch that its quantization guide uses."""

from pt2q.ipex import quantization as quantization

__all__ = ["quantization"]
