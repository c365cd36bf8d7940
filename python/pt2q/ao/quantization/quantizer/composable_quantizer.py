"""ComposableQuantizer, at PyTorch's path."""

from pt2q._core import ComposableQuantizer

__all__ = ["ComposableQuantizer"]
