"""``prepare_pt2e``, ``prepare_qat_pt2e`` and ``convert_pt2e``, at torchao's path."""

from pt2q._core import convert_pt2e, prepare_pt2e, prepare_qat_pt2e

__all__ = ["convert_pt2e", "prepare_pt2e", "prepare_qat_pt2e"]
