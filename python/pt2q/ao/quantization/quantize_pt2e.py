"""The PyTorch 2 Export flow, at PyTorch's path: ``prepare_pt2e``, calibrate, ``convert_pt2e``; for
quantization-aware training ``prepare_qat_pt2e``, train with ``pt2q.interop.torch``, ``convert_pt2e``."""

from pt2q._core import convert_pt2e, prepare_pt2e, prepare_qat_pt2e

__all__ = ["convert_pt2e", "prepare_pt2e", "prepare_qat_pt2e"]
