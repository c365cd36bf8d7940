"""The PyTorch 2 Export flow, at PyTorch's path: ``prepare_pt2e``, calibrate, ``convert_pt2e``."""

from pt2q._core import convert_pt2e, prepare_pt2e

__all__ = ["convert_pt2e", "prepare_pt2e"]
